"""From a sequence of memories to a network that shows it: make one, look at it, refine, prove."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx
from jaxtyping import Array, Float, Int

from .._errors import (
    FitWarning,
    as_count,
    as_float,
    as_key,
    check_at_least,
    check_bool,
    check_option,
    check_shape,
    check_type,
    warn,
)
from .._progress import check_progress
from .._types import ArrayLike
from ..losses import Events
from ..losses._events import events_of
from ..losses._order import check_memories
from ..networks import TwoTimescaleHopfield, TwoTimescaleRateMemory
from ._choice import Optimizer
from ._contexts import contexts
from ._listening import listened, predicting
from ._memory import LARGER, Memory, plan
from ._moving import Moving, of_rates
from ._proof import look, without_end
from ._result import FitResult
from ._strategies import Made, Task, design, gradient, refine, surrogate
from ._trial import Trial
from ._variables import check_constraint

Strategy = Literal["auto", "design", "surrogate", "gradient"]

_FAR = 4.0  # sigma: an error of a time that no noise explains
_LATE = 0.1  # of a mean dwell: the same, where sigma is not known


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a fit of a sequence.

    - `name`: of the strategy, or "refinement".
    - `score`: how much of the target its result shows.
    - `error`: the largest error of a switch time, NaN without times.
    - `seconds`: how long it took.
    """

    name: str
    score: float
    error: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class SequenceFit:
    """A network that shows a sequence.

    - `network`: the network. `saliency`: (S, P), where each sequence starts:
      `network.init(saliency=...)`.
    - `memory`: what tells the network where in a sequence it is, "transition", "contexts" or
      "suffixes". `reason`: why that was taken.
    - `items`: (P,) which of the given memories each memory of `network` shows: but with
      "transition" it holds several copies of one. `observables.visited(run, items=...)` reads a
      run.
    - `score`: the share of the target's transitions that a simulation made, up to the first wrong
      one; of several sequences that of the worst. `reproduced`: whether it made all of them.
    - `error`: the largest difference of a switch time from the target, in fast time constants, that
      of its `end` included; NaN if the target has no times. `deviation`: in units of `sigma`.
    - `stages`: what was tried, in order. The result is that of the best one.
    - `fit`: the `FitResult` by which the network was found, with standard errors if it was the
      refinement; None for a design.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    found = hx.fit_sequence(network, [0, 2, 1, 3], strategy="design", progress=False)
    found.reproduced, found.score  # True, 1
    found.stages[0].name  # 'design'
    state = found.network.init(saliency=found.saliency[0])
    ```
    """

    network: Moving
    saliency: Float[Array, "S P"]
    score: float
    error: float
    deviation: float
    stages: tuple[Stage, ...]
    fit: FitResult | None
    memory: Memory
    reason: str
    items: Int[Array, " P"]

    @property
    def reproduced(self) -> bool:
        """Whether every transition is as in the target; of the times, `error` says."""
        return self.score == 1.0

    def listen(self, memory: ArrayLike, dwell: ArrayLike | None = None) -> np.ndarray:
        r"""How strongly each item is expected next, after each entry of a sequence that is heard.

        The network is led along the sequence: of the copies of an item that is heard, the one that
        the memory before calls most becomes active, and stays so for its dwell. That is taken in
        the limit $\tau \to \infty$, in which saliencies have a closed form. With
        `memory="suffixes"` a softmax of the result, times one inverse temperature, gives
        probabilities.

        **Arguments:** `memory`: (K,) the items that are heard. `dwell`: how long each lasts, one
        for all or (K,), in fast time constants (default: 1.3 slow ones).

        **Returns:** (K, I), row k after entry k: the saliency of each item, which is the largest of
        its copies; minus infinity for an item that no memory shows.

        **Raises:** ValueError/TypeError naming the argument.

        **Example:**

        ```python
        network = hx.TwoTimescaleHopfield(
            hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
        )
        tune = hx.Events([0, 1, 0, 2] * 4)
        found = hx.fit_sequence(network, tune, memory="suffixes", progress=False)
        found.listen([0, 1, 0]).argmax(axis=1)  # 1, 0, 2
        ```
        """
        return listened(self.network, np.asarray(self.items), memory, dwell)

    def __str__(self) -> str:
        kept = "is reproduced" if self.reproduced else "is not reproduced"
        lines = [f"the order {kept}: {self.score:.0%} of the transitions"]
        if np.isfinite(self.error):
            lines.append(f"the times are off by {_off(self.error, self.deviation)}")
        patterns = self.network.patterns
        why = "" if self.reason == "as asked" else f", {self.reason}"
        lines.append(f"  memory: {self.memory}{why}")
        if self.memory in LARGER:
            lines.append(f"  {patterns.P} memories of {patterns.N} neurons")
        for stage in self.stages:
            known = np.isfinite(stage.error)
            error = f", times within {stage.error:.3g} fast time constants" if known else ""
            lines.append(f"  {stage.name}: {stage.score:.0%}{error} ({stage.seconds:.1f} s)")
        return "\n".join(lines + ([str(self.fit)] if self.fit is not None else []))


def _off(error: float, deviation: float) -> str:
    """How far times are off, in words."""
    return f"{error:.3g} fast time constants at most, {deviation:.3g} sigma"


def fit_sequence(
    network: Moving,
    target: Any,
    *,
    strategy: Strategy = "auto",
    memory: Literal["auto"] | Memory = "auto",
    where: Callable | None = None,
    constraint: Any = None,
    saliency: ArrayLike | None = None,
    sigma: ArrayLike = 1.0,
    absolute_sigma: bool = False,
    optimizer: Optimizer = None,
    steps: int | None = None,
    starts: int = 1,
    key: jax.Array | None = None,
    progress: bool | Literal["auto"] = "auto",
) -> SequenceFit:
    r"""Make a network show a sequence of memories, and prove it by simulation.

    What tells the network where in a sequence it is, is `memory`:

    - **transition**: nothing but the memories that there are. Where one has several successors, the
      saliencies that earlier ones have left behind decide, which reaches back two or three.
    - **contexts**: a memory of its own for every item in every context that matters, so that a
      sequence of any length becomes a chain or cycle of memories. The network is larger: of the
      states that the smallest deterministic automaton of the target needs (for an open sequence as
      many as it has entries, for a cycle its least period; sequences that end alike share their
      end), each is a memory, the item's pattern beside an orthogonal code on further neurons. There
      are as many of these as the patterns have, or a power of 2 that is no less than the states.
      Its learning rule is the pseudo-inverse, its bias so small that all neurons leave saturation
      nearly at once; so if a run has noise, give it `readout="abs"` or "square", for which the sign
      of a seed does not matter. Also an item that follows itself is shown. With times, gains are
      corrected until the network's own switch times are right; there are no standard errors, and
      when the last memory of an open sequence gives way is designed, but not proved.
    - **suffixes**: to predict rather than to repeat. The contexts are those of a prediction suffix
      tree: the ends of histories of up to eight items after which probabilities differ. Each calls
      what may come next by its logarithm of probability: by itself the network goes on with the
      most probable item, and `SequenceFit.listen` tells what it expects of a sequence that it
      hears. A target that this does not repeat is no reason for a warning.

    "auto" takes the transition if every memory has one successor, tries it first in up to twelve
    transitions of which each depends on up to three items, and else takes contexts; the result says
    why.

    With the memories that there are, there are three strategies. What each finds is simulated, to
    see what it really does:

    - **design**: closed form for a cycle (`design_cycle`); else the smallest gains that lead along
      the target in the singular limit, by linear programming. Memories may occur many times: which
      successor comes next is then decided by the saliencies that earlier memories have left behind.
    - **surrogate**: least squares on the saliencies of the singular limit, taken along the target
      (`losses.event_map`), from the network as it is.
    - **gradient**: gradient descent through true trajectories, window by window (`losses.order`),
      from the network as it is, until a simulation shows the target.

    "auto" begins with the design (or, if only some parameters are to be fitted, with the
    surrogate), and goes on to the next strategy while the target is not shown. If the target has
    times, least squares on the network's own, exact switch times follow, with standard errors.

    **Arguments:**

    - `network`: a network with the memories, and with all that is known of its parameters. For a
        `TwoTimescaleRateMemory` there are the transition between the memories that it has, the
        design and, with times, the refinement: its saliencies follow the same map, with the
        critical saliency (`theory.rate.critical_saliency_planar`) in place of 1.
    - `target`: `hopfax.Events`, a list of them (one network shall show all), or an order such as
        [0, 2, 1], read as a cycle.
    - `strategy`: which are tried, see above.
    - `memory`: "auto", "transition", "contexts" or "suffixes", see above. What is said of the
        network as it is (`where`, `constraint`, `saliency`, the strategies "surrogate" and
        "gradient") means "transition".
    - `where`: what to fit of the network, as in `hopfax.fit`. Default: `transition`; with times, in
        the end, only its entries that are not zero, and the saliencies of the first memories.
    - `constraint`: as in `hopfax.fit`, for `where`.
    - `saliency`: (P,) or (S, P), where the sequences start, if it is known. Otherwise it is part of
        the design: a cycle is steady from the beginning, an open sequence starts from one memory.
    - `sigma`, `absolute_sigma`: standard deviation of the times, as in `hopfax.fit`.
    - `optimizer`: of the strategy "gradient" (`optax.adam(0.1)`).
    - `steps`: the most steps, of the strategy "gradient" (400) and of the refinement (200).
    - `starts`, `key`: of the surrogate, as in `hopfax.fit`.
    - `progress`: show a bar; "auto": on a terminal.

    **Returns:** a `SequenceFit`. If no strategy reproduces the target it is the best one, with a
    FitWarning.

    **Raises:** ValueError/TypeError naming the argument.

    Theory of the singular limit: Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    found = hx.fit_sequence(network, [0, 2, 1, 3], strategy="design", progress=False)
    found.network.transition[2, 0]  # 1: from memory 0 to memory 2

    tune = hx.Events([0, 0, 1, 0, 0, 1, 0, 0, 2])  # a history of six decides what comes
    found = hx.fit_sequence(network, tune, progress=False)
    found.memory, found.network.patterns.P  # 'contexts', 9
    start = found.network.init(saliency=found.saliency[0])
    run = hx.simulate(found.network, start, jnp.array([0.0, 400.0]))
    hx.observables.visited(run, items=found.items)  # 0, 0, 1, 0, 0, 1, 0, 0, 2
    ```
    """
    kinds = (TwoTimescaleHopfield, TwoTimescaleRateMemory)
    moving = "a TwoTimescaleHopfield or TwoTimescaleRateMemory: only these move by themselves"
    check_type(network, "network", kinds, moving)
    check_option(strategy, "strategy", ("auto", "design", "surrogate", "gradient"))
    check_option(memory, "memory", ("auto", "transition", "contexts", "suffixes"))
    _check_options(sigma, absolute_sigma, steps, starts, key, progress)
    if optimizer is not None:
        kinds = (optax.GradientTransformation, optx.AbstractLeastSquaresSolver)
        check_type(optimizer, "optimizer", kinds, "one of optax")
    check_constraint(constraint)
    if strategy == "design" and where is not None:
        raise ValueError("`where` is not for strategy='design', which sets `transition`.")
    targets = _targets(target, network.patterns.P)
    given = _given(saliency, network, len(targets))
    task = Task(network, targets, given, where, constraint, sigma, absolute_sigma, progress)
    names, reasons = plan(task, memory, strategy)
    search = _Search(task, reasons)
    run = {
        "design": lambda: design(task),
        "surrogate": lambda: surrogate(task, starts, key),
        "gradient": lambda: gradient(task, search.trial, optimizer, steps),
        "contexts": lambda: contexts(task),
        "suffixes": lambda: predicting(task),
    }
    for name in names:
        search.attempt(name, run[name])
        if task.timed and name not in LARGER:
            search.attempt("refinement", lambda: search.refined(steps))
        if search.score == 1.0:
            break
    return search.result()


def _check_options(
    sigma: Any, absolute_sigma: Any, steps: Any, starts: Any, key: Any, progress: Any
) -> None:
    """TypeError/ValueError naming what cannot be, whichever strategy will use it."""
    sigma = as_float(sigma, "sigma")
    check_at_least(sigma, "sigma", 0.0, strict=True)
    if sigma.ndim > 1 or not sigma.size:
        raise ValueError(f"`sigma` must be a scalar or one for each time, got {sigma.shape}.")
    check_bool(absolute_sigma, "absolute_sigma")
    as_count(starts, "starts")
    if steps is not None:
        as_count(steps, "steps", most=2**31 - 1)
    if key is not None:
        as_key(key)
    check_progress(progress)


def _targets(target: Any, P: int) -> list[Events]:
    """The sequences, checked: memories that there are, and times for all or none."""
    targets = events_of(target)
    for events in targets:
        check_memories(events, P)
    timed = [events.time is not None for events in targets]
    if any(timed) and not all(timed):
        raise ValueError("`target`: either all sequences have times, or none.")
    return targets


def _given(saliency: ArrayLike | None, network: Moving, S: int) -> Float[Array, "S P"] | None:
    """The saliencies at the starts, one row a sequence."""
    if saliency is None:
        return None
    P = network.patterns.P
    given = as_float(saliency, "saliency", network.patterns.xi.dtype)
    given = jnp.broadcast_to(given, (S, P)) if given.shape == (P,) else given
    check_shape(given, "saliency", (S, P), "(sequences, P)")
    return given


@dataclasses.dataclass
class _Found:
    """What a strategy has made, and what a simulation of it has shown."""

    made: Made
    score: float
    error: float
    memory: Memory


class _Search:
    """The stages of one call of `fit_sequence`, and the best trial that they have found."""

    def __init__(self, task: Task, reasons: dict[Memory, str]):
        self.task, self.reasons = task, reasons
        self.best: _Found | None = None
        self.stages: list[Stage] = []

    @property
    def trial(self) -> Trial | None:
        """The best trial so far."""
        return None if self.best is None else self.best.made.trial

    @property
    def score(self) -> float:
        """How much of the target it shows."""
        return 0.0 if self.best is None else self.best.score

    def attempt(self, name: str, make: Callable[[], Made | None]) -> None:
        """Run one stage and look at what it has made."""
        begin = time.perf_counter()
        made = make()
        if made is None:
            self.stages.append(Stage(name, 0.0, float("nan"), time.perf_counter() - begin))
            return
        targets = self.task.targets
        if made.items is not None:
            targets = [without_end(events) for events in targets]
        score, error = look(made.trial, targets, made.items, made.lengths)
        self.stages.append(Stage(name, score, error, time.perf_counter() - begin))
        best = self.best
        closer = best is not None and score == best.score and not error > best.error
        if best is None or score > best.score or closer:
            self.best = _Found(made, score, error, name if name in LARGER else "transition")

    def refined(self, steps: int | None) -> Made | None:
        """The best trial, refined; None if it shows nothing of the target."""
        if self.best is None or self.best.score == 0:
            return None
        return refine(self.task, self.best.made.trial, steps)

    def result(self) -> SequenceFit:
        """The best, with a warning if that does not show the target."""
        best, task = self.best, self.task
        if best is None:  # a design that does not exist, and nothing else was asked for
            made = Made(Trial(task.network, task.starts()), None)
            best = _Found(made, 0.0, float("nan"), "transition")
        if best.score < 1 and best.memory != "suffixes":  # which is there to predict
            larger = "" if of_rates(task.network) else ", or memory='contexts'"
            why = (
                "A memory with several successors needs a history that tells them apart and does "
                f"not lie far back (two or three dwells){larger}; dwells"
            )
            warn(
                f"only {best.score:.0%} of the target's transitions are reproduced. "
                f"{why if best.memory == 'transition' else 'Dwells'} must be longer than the "
                f"handover ({task.delay * task.tau:.3g} fast time constants).",
                FitWarning,
            )
        deviation = best.error / float(np.max(np.asarray(task.sigma)))
        if deviation > _FAR and (task.absolute_sigma or best.error > _LATE * task.dwell):
            warn(
                "the order is reproduced, but the times are off by "
                f"{_off(best.error, deviation)}, where a mean dwell lasts {task.dwell:.3g}. Fit "
                "more parameters (`where`), or look whether the first memories, `tau` and the unit "
                "of the times are right.",
                FitWarning,
            )
        trial, fit, items, _ = best.made
        return SequenceFit(
            trial.network,
            trial.saliency,
            best.score,
            best.error,
            deviation,
            tuple(self.stages),
            fit,
            best.memory,
            self.reasons[best.memory],
            jnp.asarray(np.arange(task.P) if items is None else items, jnp.int32),
        )
