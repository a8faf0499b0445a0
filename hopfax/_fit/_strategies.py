"""Ways from a sequence of memories to a network that may show it.

- `design`: a transition matrix from theory, for a cycle in closed form, else by linear programming.
- `surrogate`: least squares on the event map of the singular limit, from the network as it is.
- `gradient`: descent through true trajectories, window by window, from the network as it is.
- `refine`: least squares on the true switch times, from the best network so far.

Each takes a `Task` and returns what it has `Made`. Whether that shows the sequence is for
`_proof.look` to say; `fit_sequence` runs the strategies one after the other until it does.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import FitWarning, hushed
from .._types import ArrayLike
from ..constraints import AbstractConstraint, Masked, Simplex
from ..losses import AbstractLoss, Events, Recording, event_map, order as order_loss, switch_times
from ..theory.sequential import critical_gain
from ._automaton import memory_span
from ._choice import Optimizer, adam
from ._design import design_cycle, handover
from ._fit import fit
from ._identify import Identifiability, with_all_free
from ._moving import Moving, of_rates, slope
from ._proof import ROUNDS, look
from ._result import FitResult
from ._trial import Forced, OfNetwork, Replayed, Trial
from ._variables import variables_of

DWELL = 1.3  # in slow time constants, where the target has no times
_DWELLS = (DWELL, 1.0, 1.6, 0.8, 2.0)
_IDLE = 12  # steps of the refinement that may bring next to nothing
_MARGIN = 0.5  # of the surrogate
_LEARNT = 3  # rounds of a cycle whose times are fitted
_TRIED = 12  # designs for the same dwells
_SAFE = 1.1  # a gain that far above the critical one of an endless chain is left as it is


class Made(NamedTuple):
    """What a strategy has found, and the fit by which, if it was one.

    Where there are more memories than items, `items` tells which each memory shows; and where it is
    known that a sequence is left somewhere, `lengths` how many of its entries are to be looked at.
    A network that predicts has the inverse temperature `beta` of its saliencies. `known`: which
    entries of the matrix the times decide.
    """

    trial: Trial
    fit: FitResult | None
    items: np.ndarray | None = None
    lengths: list[int] | None = None
    beta: float | None = None
    known: Identifiability | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """What is asked of `fit_sequence`: a network, what it shall show, and what may be changed."""

    network: Moving
    targets: list[Events]
    saliency: Float[Array, "S P"] | None
    where: Callable | None
    constraint: Any
    sigma: ArrayLike
    absolute_sigma: bool
    progress: bool | Literal["auto"]
    prior: AbstractLoss | None = None

    @property
    def timed(self) -> bool:
        """Whether the times of the targets are known."""
        return self.targets[0].time is not None

    @property
    def P(self) -> int:
        """How many memories the network has."""
        return self.network.patterns.P

    @functools.cached_property
    def dwell(self) -> float:
        """The mean dwell of the targets that have times."""
        return float(np.nanmean(np.concatenate([np.asarray(e.dwells) for e in self.targets])))

    @functools.cached_property
    def tau(self) -> float:
        """The largest slow time constant."""
        return float(np.max(np.asarray(self.network.tau)))

    @functools.cached_property
    def gain(self) -> float:
        """The inverse of the saliency at which a memory ends, by which those of a design are
        divided."""
        return slope(self.network)

    @functools.cached_property
    def delay(self) -> float:
        """How long a handover takes, in slow time constants. Of rates it is not known: they fall
        and rise at once, but a bias lets the next memory begin before the last one ends."""
        if of_rates(self.network):
            return 0.0
        bias = self.gain * float(np.mean(np.asarray(self.network.bias)))
        return handover(self.tau, bias)

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


def design(task: Task, chain: bool = False) -> Made | None:
    """The network with a designed transition matrix: without times the first that shows the target,
    which is the one of least norm, with times the one that keeps them best. None if there is no
    design.

    `chain`: only with entries of transitions that the target makes. They are few, and what they
    cannot do for times with errors, more entries would only do for these errors.
    """
    best, most = None, (-1.0, -math.inf)
    for gains, starts in _designs(task, chain):
        trial = designed(task, gains, starts)
        score, error = look(trial, task.targets)
        merit = score, -error if math.isfinite(error) else -math.inf
        if merit > most:
            best, most = trial, merit
        if score == 1.0 and not task.timed:
            break
    return None if best is None else Made(best, None)


def chained(task: Task) -> bool:
    """Whether a design by linear programming could do with the transitions that the target makes:
    if it has times, and every memory one successor."""
    return task.timed and not _once(task) and memory_span(task.targets) == 1


def designed(task: Task, gains: ArrayLike, starts: ArrayLike) -> Trial:
    """The network with these gains (P, P), from these saliencies (S, P), which are for hard tanh of
    unit gain."""
    kappa = np.broadcast_to(np.asarray(task.network.kappa), (task.P,))
    if not (kappa > 0).all():
        raise ValueError("`network.kappa` must be positive for a design of `transition`.")
    dtype = task.network.patterns.xi.dtype
    transition = np.asarray(gains) / task.gain / kappa[:, None]
    network = eqx.tree_at(lambda n: n.transition, task.network, jnp.asarray(transition, dtype))
    starts = jnp.asarray(np.asarray(starts) / task.gain, dtype)
    return Trial(network, starts if task.saliency is None else task.saliency)


def _designs(task: Task, chain: bool = False) -> Iterator[tuple[ArrayLike, ArrayLike]]:
    """Gains and starts, for hard tanh of unit gain."""
    if _once(task):
        events = task.targets[0]
        yield _cycle(task, events, np.asarray(events.memory).tolist())
    else:
        yield from _programmed(task, chain)


def _once(task: Task) -> bool:
    """Whether the target is a cycle that passes every memory once, which has a closed form."""
    events = task.targets[0]
    memory = np.asarray(events.memory).tolist()
    alone = len(task.targets) == 1 and task.network.tau.ndim == 0
    return alone and events.cycle and len(set(memory)) == len(memory)


def _cycle(task: Task, events: Events, memory: list[int]) -> tuple[Array, Array]:
    """Gains and starts of a cycle that passes every memory once, in closed form. Without times the
    gain is the network's own if that suffices."""
    if task.timed:
        dwell: Any = np.asarray(events.dwells) / task.tau
        designed = design_cycle(memory, dwell, P=task.P, delay=task.delay)
        return designed.kappa * designed.transition, designed.saliency
    gain = chain_gain(task)
    Z = gain * 0.5 * (1 + np.sqrt(1 - 4 / gain))  # that of an endless chain is close enough
    designed = design_cycle(memory, np.log(Z), P=task.P)
    return gain * designed.transition, designed.saliency


def chain_gain(task: Task) -> float:
    """A gain that sustains any chain: the network's own if it does, else 5."""
    kappa = task.network.kappa
    enough = _SAFE * float(critical_gain())
    kept = kappa.ndim == 0 and task.gain * float(kappa) >= enough
    return task.gain * float(kappa) if kept else 5.0


def _programmed(task: Task, chain: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gains and starts by linear programming, those of least norm first.

    An order alone is met by many matrices. The sum of squares of the gains is their norm, because
    one large entry counts for more than many small ones, so that the largest stays small.
    """
    # SciPy's optimisers take as long to import as all the rest.
    from ._gains import Gains, design_gains

    taus = np.broadcast_to(np.asarray(task.network.tau), (task.P,))
    starts = None if task.saliency is None else np.asarray(task.saliency) * task.gain
    counts = [events.switches[0].size for events in task.targets]
    if task.timed:
        stays = [_stays(e, c) for e, c in zip(task.targets, counts, strict=True)]
        choices = [stays]
    else:
        choices = [[np.full(c, T * task.tau) for c in counts] for T in _DWELLS]
    found: list[Gains] = []
    for dwells in choices:
        designs = design_gains(
            task.targets, dwells, task.P, taus=taus, delay=task.delay, saliency=starts, chain=chain
        )
        found += designs[:_TRIED]
    for gains, saliency, _ in sorted(found, key=lambda one: float(np.linalg.norm(one.gains))):
        yield gains, saliency


def _stays(events: Events, count: int) -> np.ndarray:
    """The dwells before the switches, and that of the last memory if it is known."""
    stays = np.asarray(events.dwells)[:count]
    last = None if events.cycle else events.last_stay
    return stays if last is None else np.append(stays, last)


def surrogate(task: Task, starts: int, key: jax.Array | None) -> Made:
    """Least squares on the event map; `starts` and `key` as in `hopfax.fit`."""
    trial = Trial(task.network, task.starts())
    options = dict(delay=task.delay * task.tau, sigma=0.1 * task.tau, margin=_MARGIN)
    losses = [
        event_map(_opened(task, events), saliency=z, **options)
        for events, z in zip(task.targets, trial.saliency, strict=True)
    ]
    with hushed(FitWarning):  # an order alone leaves much undetermined
        forced = Forced(tuple(losses))
        result = _fitted(task, trial, forced, _variable(task), starts=starts, key=key)
    # Its residuals are margins, not errors of observations.
    unknown = dict(stderr=None, covariance=None, undetermined=None, goodness=None)
    return Made(result.model, dataclasses.replace(result, **unknown))


def _opened(task: Task, events: Events) -> Events:
    """An open sequence with times; where there are none, with dwells that sustain it."""
    events = events.repeated(ROUNDS) if events.cycle else events
    if task.timed:
        return events
    return Events(events.memory, np.arange(events.memory.size) * DWELL * task.tau)


def gradient(task: Task, best: Trial | None, optimizer: Optimizer, steps: int | None) -> Made:
    """Window by window through true trajectories, until the target is shown.

    It begins with the network as it is if all of `transition` is fitted, and else from the `best`
    so far.
    """
    trial = best if best is not None else Trial(task.network, task.starts())
    where, constraint = _variable(task)
    if task.where is None and constraint is None:
        columns = np.asarray(task.network.transition)
        stochastic = (columns >= 0).all() and np.abs(columns.sum(0) - 1).max() < 1e-3
        constraint = Simplex() if stochastic else None
        trial = Trial(task.network, trial.saliency)

    def shown(progress) -> bool:
        return look(progress.model, task.targets)[0] == 1.0

    loss = OfNetwork(order_loss(task.targets, P=task.P))
    with hushed(FitWarning):  # columns of memories that are not in the target
        result = _fitted(
            task,
            trial,
            loss,
            (where, constraint),
            optimizer=adam(0.1) if optimizer is None else optimizer,
            steps=400 if steps is None else steps,
            callback=shown,
        )
    return Made(result.model, result)


def refine(task: Task, trial: Trial, steps: int | None) -> Made:
    """Least squares on the true switch times, from a trial that shows some of the target.

    Where the entries are our choice, those of a trial that it uses are fitted, and errors hold with
    all of them free. With a prior nothing is open: all are fitted.
    """
    recordings = []
    for events, z in zip(task.targets, trial.saliency, strict=True):
        events = events.repeated(_LEARNT) if events.cycle else events
        recordings.append(_recorded(task, events, z))
    loss = Replayed(tuple(recordings), task.prior)
    if task.where is not None or task.prior is not None:
        own = task.where is not None
        variable = _variable(task) if own else _entries(task, trial, all_of_them=True)
        result = _fitted(task, trial, loss, variable, steps=steps, patience=_IDLE)
        return Made(result.model, result)
    variable = _entries(task, trial, all_of_them=False)
    with hushed(FitWarning):  # not all of them may matter
        result = _fitted(task, trial, loss, variable, steps=steps, patience=_IDLE)
    small = Trial(result.model.network.merged(), result.model.saliency)
    where, constraint = _entries(task, trial, all_of_them=True)
    result, known = with_all_free(result, small, loss, where, constraint)
    return Made(result.model, result, known=known)


def _recorded(task: Task, events: Events, saliency: Float[Array, " P"]) -> Recording:
    """The loss of the times of an open sequence: of its switches, to which the end of the last
    memory belongs, whoever follows, and until when that stays at least."""
    order, times = events.switches
    sigma = jnp.asarray(task.sigma, task.network.patterns.xi.dtype)
    assert times is not None and events.time is not None
    if events.end is not None and order.size < events.memory.size:
        order, times = (
            jnp.append(order, jnp.full(1, -1, order.dtype)),
            jnp.append(times, events.end),
        )
        if sigma.ndim and sigma.size == times.size - 1:
            sigma = jnp.append(sigma, sigma[-1:])
    begin = events.time[0]
    until = None if events.until is None else events.until - begin
    start = dict(saliency=saliency)
    return switch_times(times - begin, init=start, order=order, until=until, sigma=sigma)


def _variable(task: Task) -> tuple[Callable, Any]:
    """What is fitted, and under which constraint."""
    if task.where is not None:
        where = task.where
        return (lambda t: where(t.network)), task.constraint
    return (lambda t: t.network.transition), task.constraint


def _entries(task: Task, trial: Trial, *, all_of_them: bool) -> tuple[Callable, Any]:
    """Those entries of the matrix that a trial uses, or all, and unless the starts are given the
    saliency of the memory that each sequence begins with."""
    used = np.asarray(trial.network.transition) != 0
    free: AbstractConstraint = Masked(used | all_of_them)
    if task.saliency is not None:
        return (lambda t: t.network.transition), free
    first = np.zeros(trial.saliency.shape, dtype=bool)
    first[np.arange(len(task.targets)), [int(e.memory[0]) for e in task.targets]] = True
    return (lambda t: (t.network.transition, t.saliency)), (free, Masked(first))


def _fitted(
    task: Task, trial: Trial, loss: AbstractLoss, variable: tuple[Callable, Any], **options: Any
) -> FitResult:
    """`fit` of a trial, with one neuron for each class of equal ones unless patterns are fitted."""
    where, constraint = variable
    own = any("patterns" in name for name in variables_of(trial, where, None)[0].names)
    small = trial.network if own else trial.network.merged()
    found = fit(
        Trial(small, trial.saliency),
        loss,
        where=where,
        constraint=constraint,
        absolute_sigma=task.absolute_sigma,
        progress=task.progress,
        **options,
    )
    labels = tuple(label.removeprefix("network.") for label in found.labels)
    result = dataclasses.replace(found, labels=labels)
    if own:
        return result
    patterns = trial.network.patterns
    whole = eqx.tree_at(lambda t: t.network.patterns, result.model, patterns)
    return dataclasses.replace(result, model=whole)
