"""Dense memories, live: recall from a damaged memory, beside its first step and the capacity."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._interactions import Power
from .._iterate import iterate
from .._programs import kept
from ..networks import DenseMemory
from ..theory import dense as theory
from ._memories import Memories
from ._model import (
    PLAIN,
    THEORY,
    Choice,
    Dot,
    Frames,
    Knob,
    Line,
    Panel,
    Row,
    Shown,
    View,
    failure,
    span,
)

_STEPS = 12
_TRACKED = 8  # memories whose overlaps are drawn
_CURVE = 81
_ORTHOGONAL = 1e-6  # overlaps that count as none


def _spins(t, state, network):
    return state.spins


@kept
def _run(order: int, warm: bool, patterns, values, seed):
    """One recall of memory 0, of whose signs some are changed; `warm`: at a temperature."""
    start, temperature = values
    cue, noise = jr.split(jr.key(seed))
    beta = 1 / temperature if warm else None
    network = DenseMemory(patterns, Power(order), beta=beta)
    rank = jr.permutation(cue, patterns.N)
    flips = jnp.round((1 - start) / 2 * patterns.N).astype(rank.dtype)
    target = patterns.pattern(0)
    state = network.init(jnp.where(rank < flips, -target, target))
    tracked = list(range(min(patterns.P, _TRACKED)))
    how: Any = dict(key=noise if warm else None, track=tracked, observe=_spins)
    run = iterate(network, state, _STEPS, throw=False, progress=False, **how)
    return run.overlaps, run.observed, run.status, run.counters["moved"]


@kept
def _first_step(order: int, N: int, M: int, m):
    return theory.finite_first_step(Power(order), N, M, m)


def compute(memories: Memories, settings: Mapping[str, Any], whole: bool = True) -> Shown:
    """One recall and what the theory says of it."""
    del whole  # all of it is quick
    order, temperature = int(settings["order"]), float(settings["temperature"])
    values = jnp.asarray([float(settings["start"]), temperature])
    given = (memories.signs, values, jnp.asarray(np.int32(settings["seed"])))
    run = _run(order, temperature > 0, *given)
    overlaps, seen, status, moved = jax.tree.map(np.asarray, run)
    P, N = memories.P, memories.N
    grid = np.append(np.linspace(0.0, 1.0, _CURVE), abs(overlaps[0, 0]))
    after = np.asarray(_first_step(order, N, P, jnp.asarray(np.minimum(grid, 1.0))))
    predicted = float(after[-1] * np.sign(overlaps[0, 0]) ** (order - 1))
    most = float(theory.capacity(Power(order)).load) * float(N) ** (order - 1)
    rest = "at rest" if moved == 0 else f"{int(moved)} neurons changed in the last step"
    held = "recalled" if overlaps[-1, 0] > 0.9 else "not recalled"
    rows = (
        Row("memories that can be stored", most, f"{P} are stored"),
        Row("overlap after one step", predicted, float(overlaps[1, 0])),
    )
    frames = Frames(seen, np.arange(N), np.ones(N))
    return Shown(
        (_over_time(overlaps), _steps(grid[:-1], after[:-1], overlaps)),
        rows,
        failure(int(status)) or f"Memory 0 is {held}; {rest}.",
        _notes(memories, temperature),
        np.arange(_STEPS + 1.0),
        "steps",
        overlaps,
        frames,
        int(status),
    )


def _over_time(overlaps: np.ndarray) -> Panel:
    steps = np.arange(len(overlaps), dtype=float)
    lines = tuple(Line(steps, overlaps[:, mu], mu) for mu in range(overlaps.shape[1]))
    ys = span(overlaps, least=(0.0, 1.0))
    xs = (0.0, float(_STEPS))
    return Panel("Overlaps with the memories", "step", "overlap", lines, xs, ys, timed=True)


def _steps(start: np.ndarray, after: np.ndarray, overlaps: np.ndarray) -> Panel:
    """The overlap after one step over the one before it, and the first steps of this run."""
    m = overlaps[:, 0]
    dots = tuple(Dot(float(m[k]), float(m[k + 1]), 0, filled=k == 0) for k in range(3))
    lines = (Line(start, after, THEORY), Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), PLAIN))
    return Panel(
        "One step: theory of the first (dashed), of this run the first (dot) and two later ones",
        "overlap before the step",
        "overlap after it",
        lines,
        span(m, least=(0.0, 1.0)),
        span(m, after, least=(0.0, 1.0)),
        dots,
    )


def _notes(memories: Memories, temperature: float) -> tuple[str, ...]:
    notes = []
    if temperature:
        notes.append("The theory is for temperature zero.")
    if memories.crosstalk < _ORTHOGONAL:
        notes.append("The theory is for independent random memories; these are orthogonal.")
    elif memories.pictures:
        notes.append(
            "The theory is for independent random memories; these overlap each other by up to "
            f"{memories.crosstalk:.2f}."
        )
    return tuple(notes)


VIEW = View(
    "dense",
    "dense memory (discrete time)",
    "All neurons are signs and updated at once; memories interact through the power n of their "
    "overlap with the state. The start is memory 0 with some signs changed.",
    (
        Knob("start", "overlap of the start with memory 0", 0.0, 1.0, 0.01, 0.4),
        Knob("temperature", "temperature", 0.0, 1.5, 0.01, 0.0),
        Knob("seed", "which signs are changed (seed)", 0, 50, 1, 0),
    ),
    (Choice("order", "order n of the interaction", ("2", "3", "4", "5", "6")),),
    (2, 4, 8, 10, 16, 32, 64, 128, 256),
    64,
    compute,
)
