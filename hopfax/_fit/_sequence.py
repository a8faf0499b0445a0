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

from .._errors import (
    FitWarning,
    check_option,
    check_type,
    warn,
)
from .._interrupt import until_stopped
from .._progress import progress as bar
from .._types import ArrayLike
from ..losses import AbstractLoss
from ..networks import TwoTimescaleHopfield, TwoTimescaleRateMemory
from ._asked import check_options, check_prior, given_starts, targets_of
from ._choice import Optimizer
from ._contexts import contexts
from ._listening import predicting
from ._memory import LARGER, Memory, branches, plan, skipped
from ._moving import Moving, of_rates
from ._proof import look, without_end
from ._shown import SequenceFit, Stage, off
from ._strategies import Made, Task, chained, design, gradient, refine, surrogate
from ._trial import Trial
from ._variables import check_constraint

Strategy = Literal["auto", "design", "surrogate", "gradient"]

_FAR = 4.0  # sigma: an error of a time that no noise explains
_LATE = 0.1  # of a mean dwell: the same, where sigma is not known
_EXACT = 1e-6  # of a mean dwell: times that are met


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
    prior: AbstractLoss | None = None,
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
      nearly at once; next to it noise is strong, so if a run has noise, give the network
      `readout="abs"` or "square", for which the sign of a seed does not matter (`simulate` warns
      of that). Also an item that follows itself is shown. With times, gains are
      corrected until the network's own switch times are right; there are no standard errors, and
      when the last memory of an open sequence gives way is designed, but not proved.
    - **suffixes**: to predict rather than to repeat. The contexts are those of a prediction suffix
      tree: the ends of histories of up to eight items after which probabilities differ. Each calls
      what may come next by its logarithm of probability: by itself the network goes on with the
      most probable item, and `SequenceFit.probabilities` tells what it expects of a sequence that
      it hears. A target that this does not repeat is no reason for a warning.

    "auto" takes the transition if every memory has one successor, tries it first in up to twelve
    transitions of which each depends on up to three items, and else takes contexts; the result says
    why.

    With the memories that there are, there are three strategies. What each finds is simulated, to
    see what it really does:

    - **design**: closed form for a cycle (`design_cycle`); else the smallest gains that lead along
      the target in the singular limit, by linear programming. If it has times, and every memory one
      successor, only these transitions are there at first, and others only if the times are then
      missed by more than looks like noise. Memories may occur many times: which
      successor comes next is then decided by the saliencies that earlier memories have left behind.
      Many matrices show one order: of the designs that a simulation proves, it is the one with the
      least sum of squares, so that no entry is large.
    - **surrogate**: least squares on the saliencies of the singular limit, taken along the target
      (`losses.event_map`), from the network as it is.
    - **gradient**: gradient descent through true trajectories, window by window (`losses.order`),
      from the network as it is, until a simulation shows the target.

    "auto" begins with the design (or, if only some parameters are to be fitted, with the
    surrogate), and goes on to the next strategy while the target is not shown. If the target has
    times, least squares on the network's own, exact switch times follow, with standard errors.
    Times decide few entries of a matrix, and leave others open: those that the design does without
    stay zero, and `SequenceFit.known` says which entries, and which combinations, are known.

    **Arguments:**

    - `network`: a network with the memories, and with all that is known of its parameters. For a
        `TwoTimescaleRateMemory` there are the transition between the memories that it has, the
        design and, with times, the refinement: its saliencies follow the same map, with the
        critical saliency (`theory.rate.critical_saliency_planar`) in place of 1.
    - `target`: `hopfax.Events`, a list of them (one network shall show all), or an order such as
        [0, 2, 1], read as a cycle.
    - `strategy`: which are tried, see above.
    - `memory`: "auto", "transition", "contexts" or "suffixes", see above. What is said of the
        network as it is (`where`, `constraint`, `saliency`, `prior`, the strategies "surrogate"
        and "gradient") means "transition".
    - `where`: what to fit of the network, as in `hopfax.fit`. Default: `transition`; with times, in
        the end, only its entries that are not zero, and the saliencies of the
        first memories.
    - `constraint`: as in `hopfax.fit`, for `where`.
    - `saliency`: (P,) or (S, P), where the sequences start, if it is known. Otherwise it is part of
        the design: a cycle is steady from the beginning, an open sequence starts from one memory.
    - `sigma`, `absolute_sigma`: standard deviation of the times, as in `hopfax.fit`.
    - `prior`: what is known of the network beside the times, as `losses.prior(lambda net:
        net.transition, 0.0, sigma=0.5)` (Gaussian), `losses.sparsity` or a sum of both. All entries
        of the transition are then fitted, from the design, and errors are those of the posterior.
        It needs times and `absolute_sigma=True`.
    - `optimizer`: of the strategy "gradient" (`optax.adam(0.1)`).
    - `steps`: the most steps, of the strategy "gradient" (400) and of the refinement (200).
    - `starts`, `key`: of the surrogate, as in `hopfax.fit`.
    - `progress`: whether to show bars, as in `hopfax.fit`.

    Ctrl-C ends the search, which returns the best network so far, with a FitWarning; before there
    is any, it raises KeyboardInterrupt.

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
    check_options(sigma, absolute_sigma, steps, starts, key, progress)
    if optimizer is not None:
        kinds = (optax.GradientTransformation, optx.AbstractGaussNewton)
        check_type(optimizer, "optimizer", kinds, "one of optax")
    check_constraint(constraint)
    if strategy == "design" and where is not None:
        raise ValueError("`where` is not for strategy='design', which sets `transition`.")
    targets = targets_of(target, network.patterns.P)
    check_prior(prior, targets, absolute_sigma)
    if memory == "auto" and (gap := skipped(targets)):
        warn(gap, FitWarning)
    given = given_starts(saliency, network, len(targets))
    task = Task(network, targets, given, where, constraint, sigma, absolute_sigma, progress, prior)
    names, reasons = plan(task, memory, strategy)
    search = _Search(task, reasons)
    if "design" in names and chained(task):
        names = ["chain", *names]
    run = {
        "chain": lambda: design(task, chain=True),
        "design": lambda: design(task),
        "surrogate": lambda: surrogate(task, starts, key),
        "gradient": lambda: gradient(task, search.trial, optimizer, steps),
        "contexts": lambda: contexts(task),
        "suffixes": lambda: predicting(task),
    }
    with until_stopped() as stopped, bar(len(names), "strategy", progress) as shown:
        for name in names:
            shown.set_postfix_str(name)
            search.attempt("design" if name == "chain" else name, run[name])
            stopped.check()
            if task.timed and name not in LARGER:
                shown.set_postfix_str("refinement")
                search.attempt("refinement", lambda: search.refined(steps))
                stopped.check()
            shown.update(1)
            if search.score == 1.0 and (name != "chain" or search.enough):
                break
    return search.result(stopped.pressed)


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
        self.latest: _Found | None = None
        self.stages: list[Stage] = []

    @property
    def trial(self) -> Trial | None:
        """The best trial so far."""
        return None if self.best is None else self.best.made.trial

    @property
    def score(self) -> float:
        """How much of the target it shows."""
        return 0.0 if self.best is None else self.best.score

    @property
    def enough(self) -> bool:
        """Whether the times are met, or missed by what looks like noise."""
        best, task = self.best, self.task
        if best is None or best.error <= _EXACT * task.dwell:
            return best is not None
        found = None if best.made.fit is None else best.made.fit.goodness
        if found is None or not np.isfinite(found.p_value) or found.poor:
            return False
        return task.absolute_sigma or best.error <= _LATE * task.dwell

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
        self.latest = _Found(made, score, error, name if name in LARGER else "transition")
        if best is None or score > best.score or closer:
            self.best = self.latest

    def refined(self, steps: int | None) -> Made | None:
        """The latest trial, refined, or the best one if that shows more; None if it shows nothing
        of the target."""
        best, latest = self.best, self.latest
        if best is None or latest is None or best.score == 0:
            return None
        chosen = best if best.score > latest.score else latest
        return refine(self.task, chosen.made.trial, steps)

    def result(self, interrupted: bool) -> SequenceFit:
        """The best, with a warning if that does not show the target. KeyboardInterrupt if Ctrl-C
        came before there was any."""
        best, task = self.best, self.task
        if interrupted:
            if best is None:
                raise KeyboardInterrupt("the search was interrupted before it had found a network.")
            warn("the search was interrupted; the best network so far is returned.", FitWarning)
        if best is None:  # a design that does not exist, and nothing else was asked for
            made = Made(Trial(task.network, task.starts()), None)
            best = _Found(made, 0.0, float("nan"), "transition")
        if best.score < 1 and best.memory != "suffixes":  # which is there to predict
            larger = "" if of_rates(task.network) else ", or memory='contexts'"
            several = branches(task.targets)
            named = f" ({several})" if several else ""
            why = (
                f"A memory with several successors{named} needs a history that tells them apart "
                f"and does not lie far back (two or three dwells){larger}; dwells"
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
                f"{off(best.error, deviation)}, where a mean dwell lasts {task.dwell:.3g}. Fit "
                "more parameters (`where`), or look whether the first memories, `tau` and the unit "
                "of the times are right.",
                FitWarning,
            )
        made = best.made
        return SequenceFit(
            made.trial.network,
            made.trial.saliency,
            best.score,
            best.error,
            deviation,
            tuple(self.stages),
            made.fit,
            best.memory,
            self.reasons[best.memory],
            jnp.asarray(np.arange(task.P) if made.items is None else made.items, jnp.int32),
            interrupted,
            made.beta,
            made.known,
        )
