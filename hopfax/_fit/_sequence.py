"""From a sequence of memories to a network that shows it: start, refine, prove."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._engines import Auto, Diffrax, EventDriven
from .._errors import FitWarning, as_float, check_option, check_shape
from .._simulate import simulate
from .._trajectory import Trajectory
from ..constraints import AbstractConstraint, Masked, Simplex
from ..losses import (
    AbstractLoss,
    Events,
    Recording,
    check_memories,
    event_map,
    events_of,
    order as order_loss,
    switch_times,
)
from ..networks import TwoTimescaleHopfield, check_kind
from ..observables import switch_times as switches_of, visited
from ..theory.sequential import critical_gain
from ._design import design_cycle, design_gains, handover
from ._fit import adam, fit
from ._result import FitResult
from ._variables import variables_of

Strategy = Literal["auto", "design", "surrogate", "gradient"]

_DWELLS = (1.3, 1.0, 1.6, 0.8, 2.0)  # in slow time constants, where the target has no times
_LONGEST = 2.5  # a dwell that long, in slow time constants, is one too long
_IDLE = 12  # steps of the refinement that may bring next to nothing
_ROUNDS = 2  # of a cycle that are looked at
_MARGIN = 0.5  # of the surrogate
_LEARNT = 3  # of a cycle whose times are fitted
_TRIED = 12  # designs for the same dwells
_SAFE = 1.1  # a gain that far above the critical one of an endless chain is left as it is
_RESTLESS = 0.05  # of a dwell: times that a design misses by more are refined


class Trial(eqx.Module):
    """What is fitted: a network and where its sequences start."""

    network: TwoTimescaleHopfield
    saliency: Float[Array, "S P"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a fit: what it was, how much of the target its result shows, the largest error
    of a switch time (NaN without times), and how long it took."""

    name: str
    score: float
    error: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class SequenceFit:
    """A network that shows a sequence.

    - `network`; `saliency`: (S, P), where each target starts: `network.init(saliency=...)`.
    - `score`: the share of transitions that a simulation made as the target says, up to the first
      wrong one, the worst sequence counting. `reproduced`: all of them.
    - `error`: the largest difference of a switch time from the target, in fast time constants.
    - `stages`: what was tried, in order; the result is that of the best one.
    - `fit`: the `FitResult` of the refinement, with standard errors; None if there was none.
    """

    network: TwoTimescaleHopfield
    saliency: Float[Array, "S P"]
    score: float
    error: float
    stages: tuple[Stage, ...]
    fit: FitResult | None

    @property
    def reproduced(self) -> bool:
        """Whether every transition is as in the target."""
        return self.score == 1.0

    def __str__(self) -> str:
        lines = [f"{self.score:.0%} of the transitions reproduced"]
        if np.isfinite(self.error):
            lines[0] += f", switch times within {self.error:.3g}"
        for stage in self.stages:
            error = f", times within {stage.error:.3g}" if np.isfinite(stage.error) else ""
            lines.append(f"  {stage.name}: {stage.score:.0%}{error} ({stage.seconds:.1f} s)")
        return "\n".join(lines + ([str(self.fit)] if self.fit is not None else []))


def fit_sequence(
    network: TwoTimescaleHopfield,
    target: Any,
    *,
    strategy: Strategy = "auto",
    where: Callable | None = None,
    constraint: Any = None,
    saliency: Any = None,
    sigma: Any = 1.0,
    absolute_sigma: bool = False,
    optimizer: Any = None,
    steps: int | None = None,
    starts: int = 1,
    key: jax.Array | None = None,
    progress: bool | Literal["auto"] = "auto",
) -> SequenceFit:
    r"""Make a network show a sequence of memories, and prove it by simulation.

    Three ways to a network, each followed by a look at what it really does:

    - **design**: closed form for a cycle (`design_cycle`); else the smallest gains that lead along
      the target in the singular limit, by linear programming. Memories may occur many times: which
      successor comes next is then decided by what earlier memories have left behind.
    - **surrogate**: least squares on the event map of the singular limit, forced along the target
      (`losses.event_map`), from the network as it is.
    - **gradient**: through true trajectories, window by window (`losses.order`), from the network
      as it is, until a simulation shows the target.

    "auto" designs (or, if only some parameters are to be fitted, takes the surrogate) and falls
    back on the next. In all of them a target with times is then refined by least squares on the
    network's own, exact switch times, with standard errors.

    **Arguments:**

    - `network`: with the memories and whatever is known; `transition` need not be.
    - `target`: `hopfax.Events`, a list of them (that share the network), or an order such as
        [0, 2, 1], read as a cycle.
    - `where`: what to fit of the network, as in `hopfax.fit`. Default: `transition`; in the
        refinement only the entries that the design has used, and the first saliencies.
    - `constraint`: as in `hopfax.fit`, for `where`.
    - `saliency`: (P,) or (S, P), where the sequences start, if it is known. Otherwise it is part of
        the design: a cycle is steady from the beginning, an open sequence starts from one memory.
    - `sigma`, `absolute_sigma`: standard deviation of the times, as in `hopfax.fit`.
    - `optimizer`: of the strategy "gradient" (`optax.adam(0.1)`).
    - `steps`: the most, of that (400) and of the refinement (200).
    - `starts`, `key`: of the surrogate, as in `hopfax.fit`.

    **Returns:** a `SequenceFit`. If no strategy reproduces the target it is the best one, with a
    FitWarning.

    **Raises:** ValueError/TypeError naming the argument.

    Theory of the singular limit: Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.
    """
    why = ": only that one moves by itself"
    check_kind(network, TwoTimescaleHopfield, why=why)
    check_option(strategy, "strategy", ("auto", "design", "surrogate", "gradient"))
    if strategy == "design" and where is not None:
        raise ValueError("`where` is not for strategy='design', which sets `transition`.")
    targets = events_of(target)
    P = network.patterns.P
    for events in targets:
        check_memories(events, P)
    timed = [events.time is not None for events in targets]
    if any(timed) and not all(timed):
        raise ValueError("`target`: either all sequences have times, or none.")
    given = None
    if saliency is not None:
        given = as_float(saliency, "saliency", network.patterns.xi.dtype)
        given = jnp.broadcast_to(given, (len(targets), P)) if given.shape == (P,) else given
        check_shape(given, "saliency", (len(targets), P), "(sequences, P)")
    work = _Work(network, targets, given, where, constraint, sigma, absolute_sigma, progress)
    run = {
        "design": lambda: work.design(),
        "surrogate": lambda: work.surrogate(starts, key),
        "gradient": lambda: work.gradient(optimizer, steps),
    }
    names = [strategy] if strategy != "auto" else ["surrogate", "gradient"]
    if strategy == "auto" and where is None:
        names = ["design", *names]
    for name in names:
        work.attempt(name, run[name])
        if all(timed):
            work.attempt("refinement", lambda: work.refine(steps))
        if work.best is not None and work.best.score == 1.0:
            break
    return work.result()


@dataclasses.dataclass
class _Found:
    trial: Trial
    score: float
    error: float
    fit: FitResult | None = None


class _Work:
    """The stages of one call of `fit_sequence`, and the best that they have found."""

    def __init__(
        self, network, targets, saliency, where, constraint, sigma, absolute_sigma, progress
    ):
        self.network, self.targets, self.saliency = network, targets, saliency
        self.where, self.constraint, self.progress = where, constraint, progress
        self.sigma, self.absolute = sigma, absolute_sigma
        self.timed = targets[0].time is not None
        self.P = network.patterns.P
        self.tau = float(np.max(np.asarray(network.tau)))
        self.gain = _gain(network)
        bias = self.gain * float(np.mean(np.asarray(network.bias)))
        self.delay = handover(self.tau, bias)  # in slow time constants
        self.best: _Found | None = None
        self.stages: list[Stage] = []

    def attempt(self, name: str, make: Callable[[], tuple[Trial, FitResult | None] | None]) -> None:
        """Run one stage and look at what it has found."""
        begin = time.perf_counter()
        made = make()
        if made is None:
            self.stages.append(Stage(name, 0.0, float("nan"), time.perf_counter() - begin))
            return
        trial, result = made
        score, error = self.look(trial)
        self.stages.append(Stage(name, score, error, time.perf_counter() - begin))
        found, best = _Found(trial, score, error, result), self.best
        closer = best is not None and score == best.score and not error > best.error
        if best is None or score > best.score or closer:
            self.best = found

    def result(self) -> SequenceFit:
        """The best, with a warning if that is not good."""
        best = self.best
        if best is None:  # a design that does not exist, and nothing else was asked for
            best = _Found(Trial(self.network, self.starts()), 0.0, float("nan"))
        if best.score < 1:
            warnings.warn(
                f"only {best.score:.0%} of the target's transitions are reproduced. A memory with "
                "several successors needs a history that tells them apart and does not lie far "
                "back (two or three dwells); dwells must be longer than the handover "
                f"({self.delay * self.tau:.3g} fast time constants).",
                FitWarning,
                stacklevel=3,
            )
        return SequenceFit(
            best.trial.network,
            best.trial.saliency,
            best.score,
            best.error,
            tuple(self.stages),
            best.fit,
        )

    def starts(self) -> Float[Array, "S P"]:
        """Saliencies to begin with, where no design gives them."""
        if self.saliency is not None:
            return self.saliency
        dtype = self.network.patterns.xi.dtype
        rows = np.zeros((len(self.targets), self.P))
        for s, events in enumerate(self.targets):
            rows[s, int(events.memory[0])] = 4.0
            if self.timed:
                stay = float(events.dwells[0]) / self.tau - self.delay
                rows[s, int(events.memory[0])] = np.exp(max(stay, 0.1)) / self.gain
        return jnp.asarray(rows, dtype)

    # The three strategies

    def design(self) -> tuple[Trial, None] | None:
        """The network with a designed transition matrix: the first that does it, or keeps time
        best."""
        best, most = None, (-1.0, -math.inf)
        for gains, starts in self._designs():
            trial = self._designed(gains, starts)
            score, error = self.look(trial)
            merit = score, -error if math.isfinite(error) else -math.inf
            if merit > most:
                best, most = trial, merit
            if score == 1.0 and not self.timed:
                break
        return None if best is None else (best, None)

    def _designed(self, gains: Any, starts: Any) -> Trial:
        kappa = np.broadcast_to(np.asarray(self.network.kappa), (self.P,))
        if not (kappa > 0).all():
            raise ValueError("`network.kappa` must be positive for a design of `transition`.")
        dtype = self.network.patterns.xi.dtype
        transition = np.asarray(gains) / self.gain / kappa[:, None]
        network = eqx.tree_at(lambda n: n.transition, self.network, jnp.asarray(transition, dtype))
        starts = jnp.asarray(np.asarray(starts) / self.gain, dtype)
        return Trial(network, starts if self.saliency is None else self.saliency)

    def _designs(self) -> Iterator[tuple[Any, Any]]:
        """Gains and starts, for hard tanh of unit gain."""
        events = self.targets[0]
        memory = np.asarray(events.memory).tolist()
        once = len(self.targets) == 1 and events.cycle and len(set(memory)) == len(memory)
        if once and self.network.tau.ndim == 0:
            yield self._cycle(events, memory)
        else:
            yield from self._programmes()

    def _cycle(self, events: Events, memory: list[int]) -> tuple[Array, Array]:
        """A cycle that passes every memory once, in closed form. Without times the gain is the
        network's own if that suffices."""
        if self.timed:
            dwell: Any = np.asarray(events.dwells) / self.tau
            designed = design_cycle(memory, dwell, P=self.P, delay=self.delay)
            return designed.kappa * designed.transition, designed.saliency
        kappa = self.network.kappa
        enough = _SAFE * float(critical_gain())
        kept = kappa.ndim == 0 and self.gain * float(kappa) >= enough
        gain = self.gain * float(kappa) if kept else 5.0
        Z = gain * 0.5 * (1 + np.sqrt(1 - 4 / gain))  # that of an endless chain is close enough
        designed = design_cycle(memory, np.log(Z), P=self.P)
        return gain * designed.transition, designed.saliency

    def _programmes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """By linear programming; what leads most clearly and keeps time best comes first."""
        taus = np.broadcast_to(np.asarray(self.network.tau), (self.P,))
        starts = None if self.saliency is None else np.asarray(self.saliency) * self.gain
        counts = [events.switches[0].size for events in self.targets]
        if self.timed:
            stays = [np.asarray(e.dwells)[:c] for e, c in zip(self.targets, counts, strict=True)]
            choices = [stays]
        else:
            choices = [[np.full(c, T * self.tau) for c in counts] for T in _DWELLS]
        for dwells in choices:
            found = design_gains(
                self.targets, dwells, self.P, taus=taus, delay=self.delay, saliency=starts
            )
            for designed in found[:_TRIED]:
                yield designed.gains, designed.saliency

    def surrogate(self, starts: int, key: Any) -> tuple[Trial, FitResult]:
        """Least squares on the event map."""
        trial = Trial(self.network, self.starts())
        options = dict(delay=self.delay * self.tau, sigma=0.1 * self.tau, margin=_MARGIN)
        losses = [
            event_map(self._timed(events), saliency=z, **options)
            for events, z in zip(self.targets, trial.saliency, strict=True)
        ]
        with warnings.catch_warnings():  # an order alone leaves much undetermined
            warnings.simplefilter("ignore", FitWarning)
            forced = _Forced(tuple(losses))
            result = self._fit(trial, forced, self._variable(None), starts=starts, key=key)
        # Its residuals are margins, not errors of observations.
        unknown = dict(stderr=None, covariance=None, undetermined=None)
        return result.model, dataclasses.replace(result, **unknown)

    def _timed(self, events: Events) -> Events:
        """An open sequence with times; where there are none, with dwells that sustain it."""
        events = events.repeated(_ROUNDS) if events.cycle else events
        if self.timed:
            return events
        return Events(events.memory, np.arange(events.memory.size) * _DWELLS[0] * self.tau)

    def gradient(self, optimizer: Any, steps: int | None) -> tuple[Trial, FitResult]:
        """Window by window through true trajectories, until the target is shown."""
        trial = self.best.trial if self.best is not None else Trial(self.network, self.starts())
        where, constraint = self._variable(None)
        if self.where is None and constraint is None:
            columns = np.asarray(self.network.transition)
            stochastic = (columns >= 0).all() and np.abs(columns.sum(0) - 1).max() < 1e-3
            constraint = Simplex() if stochastic else None
            trial = Trial(self.network, trial.saliency)

        def shown(progress) -> bool:
            return self.look(progress.model)[0] == 1.0

        loss = _OfNetwork(order_loss(self.targets, P=self.P))
        with warnings.catch_warnings():  # columns of memories that are not in the target
            warnings.simplefilter("ignore", FitWarning)
            result = self._fit(
                trial,
                loss,
                (where, constraint),
                optimizer=adam(0.1) if optimizer is None else optimizer,
                steps=400 if steps is None else steps,
                callback=shown,
            )
        return result.model, result

    # Refinement and proof

    def refine(self, steps: int | None) -> tuple[Trial, FitResult] | None:
        """Least squares on the true switch times, from the best so far."""
        if self.best is None or self.best.score == 0:
            return None
        trial = self.best.trial
        recordings = []
        for events, z in zip(self.targets, trial.saliency, strict=True):
            events = events.repeated(_LEARNT) if events.cycle else events
            order, times = events.switches
            assert times is not None and events.time is not None
            recordings.append(
                switch_times(
                    times - events.time[0], init=dict(saliency=z), order=order, sigma=self.sigma
                )
            )
        replayed = _Replay(tuple(recordings))
        with warnings.catch_warnings():
            if self.where is None:  # which of the entries that the design used matter is our affair
                warnings.simplefilter("ignore", FitWarning)
            result = self._fit(trial, replayed, self._variable(trial), steps=steps, patience=_IDLE)
        return result.model, result

    def _variable(self, trial: Trial | None) -> tuple[Callable, Any]:
        """What is fitted, and under which constraint; of `trial` only the entries it uses."""
        if self.where is not None:
            where = self.where
            return (lambda t: where(t.network)), self.constraint
        if trial is None:
            return (lambda t: t.network.transition), self.constraint
        used = np.asarray(trial.network.transition) != 0
        free: AbstractConstraint = Masked(used)
        if self.saliency is not None:
            return (lambda t: t.network.transition), free
        first = np.zeros(trial.saliency.shape, dtype=bool)
        first[np.arange(len(self.targets)), [int(e.memory[0]) for e in self.targets]] = True
        return (lambda t: (t.network.transition, t.saliency)), (free, Masked(first))

    def _fit(self, trial: Trial, loss: Any, variable, **options: Any) -> FitResult:
        """`fit`, with classes of equal neurons in place of neurons unless those are fitted."""
        where, constraint = variable
        own = any("patterns" in name for name in variables_of(trial, where, None)[0].names)
        small = trial.network if own else trial.network.merged()
        found = fit(
            Trial(small, trial.saliency),
            loss,
            where=where,
            constraint=constraint,
            absolute_sigma=self.absolute,
            progress=self.progress,
            **options,
        )
        labels = tuple(label.removeprefix("network.") for label in found.labels)
        result = dataclasses.replace(found, labels=labels)
        if own:
            return result
        patterns = trial.network.patterns
        whole = eqx.tree_at(lambda t: t.network.patterns, result.model, patterns)
        return dataclasses.replace(result, model=whole)

    def look(self, trial: Trial) -> tuple[float, float]:
        """How much of the target a simulation shows, and the largest error of a switch time."""
        scores, errors = [], []
        for events, z in zip(self.targets, trial.saliency, strict=True):
            shown = replay(trial.network, z, events)
            score, error = compare(shown, events)
            scores.append(score)
            errors.append(error)
        return min(scores), float(np.max(errors))


def replay(network: TwoTimescaleHopfield, saliency: Any, events: Events) -> Trajectory:
    """The network's own run, long enough to show a sequence (a cycle twice)."""
    tau = float(np.max(np.asarray(network.tau)))
    count = events.switches[0].size * (_ROUNDS if events.cycle else 1)
    end = (count + 1) * _LONGEST * tau
    if events.time is not None:
        last = float(events.end if events.end is not None else events.time[-1])
        whole = last - float(events.time[0])
        end = (_ROUNDS if events.cycle else 1) * whole + 3 * whole / events.memory.size
    slots = 1 << max(2 * count, 32).bit_length()
    method = Auto(EventDriven(switches=slots), Diffrax(switches=slots))
    ts = jnp.array([0.0, end], network.patterns.xi.dtype)
    return simulate(network, network.init(saliency=saliency), ts, method=method, throw=False)


def compare(run: Trajectory, events: Events) -> tuple[float, float]:
    """The share of transitions that are as they should be, up to the first that is not; and the
    largest error of their times (NaN without times or if some are missing)."""
    target = events.repeated(_ROUNDS) if events.cycle else events
    wanted, seen = np.asarray(target.memory), np.asarray(visited(run))
    if events.cycle:
        wanted = np.append(wanted, wanted[0])
    count = min(len(wanted), len(seen))
    right = np.cumprod(wanted[:count] == seen[:count]).sum()
    score = max(right - 1, 0) / (len(wanted) - 1)
    if events.time is None or score < 1:
        return float(score), float("nan")
    times = target.switches[1]
    assert times is not None and target.time is not None
    found = np.asarray(switches_of(run))[: times.size]
    return 1.0, float(np.abs(found - np.asarray(times - target.time[0])[: found.size]).max())


def _gain(network: TwoTimescaleHopfield) -> float:
    return float(network.activation.slope(jnp.zeros((), network.patterns.dtype)))


class _OfNetwork(AbstractLoss):
    """A loss of a network, for a trial."""

    loss: AbstractLoss

    def __call__(self, network: Any, *, derivative="reverse"):
        return self.loss(network.network, derivative=derivative)


class _Forced(AbstractLoss):
    """Event maps of several sequences, each from the trial's start."""

    losses: tuple[Any, ...]

    def __call__(self, network: Any, *, derivative="reverse"):
        parts = []
        for loss, saliency in zip(self.losses, network.saliency, strict=True):
            started = eqx.tree_at(lambda one: one.saliency, loss, saliency)
            parts.append(started(network.network, derivative=derivative))
        return jnp.concatenate(parts)


class _Replay(AbstractLoss):
    """Recordings of several sequences, each from the trial's start."""

    recordings: tuple[Recording, ...]

    def __call__(self, network: Any, *, derivative="reverse"):
        parts = []
        for recording, saliency in zip(self.recordings, network.saliency, strict=True):
            started = eqx.tree_at(lambda one: one.init["saliency"], recording, saliency)
            parts.append(started(network.network, derivative=derivative))
        return jnp.concatenate(parts)
