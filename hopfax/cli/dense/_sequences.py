"""`hopfax reproduce sequences`: dense memories that each call the next one."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ...plots._axes import COLOURS
from ...theory import dense
from .._claims import Claim, Outcome, claim
from .._machine import precision
from .._picture import new_figure
from . import _points
from ._measured import Averaged

#: Order, neurons, scaled load and starts: below capacity, near it, and above.
CASES = (
    (2, 2048, 0.20, (0.9, 0.5, 0.3)),
    (2, 2048, 0.30, (0.9,)),
    (3, 512, 0.20, (0.8, 0.4)),
    (3, 512, 0.30, (0.9,)),
)
#: What is written beside the claims.
FIGURES = ("sequences",)
TABLES = ()
STEPS, REALISATIONS, RUNS = 8, 10, 4
PRINTED = 0.269  # the capacity of order 2 in print
WHOLE, TRIES = 64, 200  # neurons, and sequences, of which it is seen whether all of it is recalled


@dataclasses.dataclass(frozen=True)
class Sequence(Averaged):
    """Overlaps with the memory that is due, means over the runs of each realisation."""

    order: int
    neurons: int
    load: float
    start: float
    overlaps: np.ndarray  # (realisations, steps + 1)
    theory: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Runs through sequences; how many of `TRIES` sequences of `length` memories were recalled
    without any error, and how many the theory says."""

    runs: list[Sequence]
    capacity: float
    length: int
    whole: int
    chance: float


def reproduce() -> Outcome:
    """Claims and the figure."""
    found = measured()
    return Outcome(list(claims(found)), {"sequences": figure(found)})


def measured() -> Sequences:
    """Simulations in float32, and the theory beside them."""
    runs = [run for case in CASES for run in _runs(*case)]
    law = hx.Power(3)
    length = dense.error_free_capacity(law, WHOLE, keep_diagonal=True)
    chance = float(dense.transition_recall(law, WHOLE, length, keep_diagonal=True).sequence)
    keys = jr.split(jr.key(WHOLE), TRIES)
    with precision("float32"):
        whole = int(jax.jit(jax.vmap(_recalled, (0, None)), static_argnums=1)(keys, length).sum())
    capacity = float(dense.sequence_capacity(hx.Power(2)).load)
    return Sequences(runs, capacity, length, whole, chance)


def _runs(order: int, N: int, load: float, starts: tuple[float, ...]) -> list[Sequence]:
    law = hx.Power(order)
    every = np.repeat(starts, RUNS)
    rows, true, M = [], every, 1
    with precision("float32"):
        for r in range(REALISATIONS):
            memories, cues = jr.split(jr.fold_in(jr.key(order), r))
            patterns = _points.memories(memories, law, load, N)
            states, true = _points.starts(cues, patterns, every)
            rows.append(_followed(patterns, law, states).reshape(len(starts), RUNS, -1).mean(1))
            M = patterns.P
    alpha = M / N ** (order - 1)  # what has been simulated, to the last memory
    found = []
    for k, m0 in enumerate(true[::RUNS]):
        theory = np.asarray(dense.sequence_trajectory(law, alpha, float(m0), STEPS).overlap)
        overlaps = np.stack([row[k] for row in rows])
        found.append(Sequence(order, N, load, float(m0), overlaps, theory))
    return found


def _followed(patterns: Any, law: Any, states: Any) -> np.ndarray:
    """Overlaps of runs, the k-th from memory k, with the memory that is due, (runs, steps + 1)."""
    network = hx.DenseMemory(patterns, law, transition="cyclic", keep_diagonal=True)
    track = [mu % patterns.P for mu in range(len(states) + STEPS)]

    def run(spins):
        return hx.iterate(network, network.init(spins), STEPS, track=track).overlaps

    found = np.asarray(jax.vmap(run)(states))
    times = np.arange(STEPS + 1)
    return np.stack([found[k][times, k + times] for k in range(len(states))])


def _recalled(key: jax.Array, length: int) -> Any:
    """Whether a sequence of random memories is recalled without an error, each from the one before
    it."""
    xi = jr.rademacher(key, (length, WHOLE), jnp.float32)
    patterns = hx.Patterns(xi, binary=True)
    network = hx.DenseMemory(patterns, hx.Power(3), transition="cyclic", keep_diagonal=True)
    after = jax.vmap(lambda h: network.step(hx.SpinState(h)).spins)(xi)
    return (after == jnp.roll(xi, -1, axis=0)).all()


def claims(found: Sequences) -> Iterator[Claim]:
    """What theory and simulation say of sequences."""
    for run in found.runs:
        where = f"n = {run.order}, alpha' = {run.load:g} from m0 = {run.start:.2f}"
        for t in (1, 3, STEPS):
            yield claim(
                f"m({t}), {where}",
                run.theory[t],
                run.mean[t],
                4 * float(run.spread[t]) + 0.5 / run.neurons**0.5,
                "4 standard errors over realisations, and a shift of 0.5/sqrt(N) at finite N",
                f"cycle of random memories, N = {run.neurons}, {where}, {REALISATIONS} sets of "
                f"memories with {RUNS} runs each (keys fold_in(n, r)); the overlap with the memory "
                "that is due at step t",
            )
    yield claim(
        "capacity, n = 2",
        PRINTED,
        found.capacity,
        5e-4,
        "the digits in print (Düring, Coolen, Sherrington 1998)",
        "fold of m = erf(x), alpha = erf(x)^2 / 2x^2 - (2/pi) exp(-2x^2)",
    )
    yield claim(
        f"share of {found.length} memories recalled without any error",
        found.chance,
        found.whole / TRIES,
        3 * (found.chance * (1 - found.chance) / TRIES) ** 0.5 + 0.05,
        f"3 standard errors of {TRIES} sequences, and 0.05 for the approximation",
        f"n = 3, N = {WHOLE}, all transitions of each cycle",
    )


def figure(found: Sequences) -> Any:
    """Overlaps with the memory that is due, theory and simulation."""
    drawn = new_figure(figsize=(9.2, 3.8))
    axes = drawn.subplots(1, 2, sharey=True)
    t = np.arange(STEPS + 1)
    for ax, order in zip(axes, (2, 3), strict=True):
        some = [run for run in found.runs if run.order == order]
        for run, colour in zip(some, COLOURS, strict=False):
            label = rf"$\alpha' = {run.load:g}$, $m_0 = {run.start:.1f}$"
            ax.plot(t, run.theory, "-", color=colour, lw=1.4, label=label)
            points: dict[str, Any] = dict(fmt="o", ms=4, mfc="white", capsize=2, lw=1)
            ax.errorbar(t, run.mean, run.spread, color=colour, **points)
        title = f"n = {order}, N = {some[0].neurons}: theory (lines), simulation"
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel="step $t$", xlim=(-0.3, STEPS + 0.3), ylim=(-0.02, 1.02))
        ax.grid(color="0.93")
        ax.legend(fontsize="small", loc="lower left")
    axes[0].set_ylabel("overlap with the memory that is due")
    return drawn
