"""Rate memories, live: retrieval from a cue, beside the equilibria in the plane of the memory."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._programs import kept
from .._rate_activations import Logistic
from .._simulate import simulate
from ..networks import RateMemory
from ..theory import rate as theory
from ._memories import Memories
from ._model import PLAIN, THEORY, Dot, Frames, Knob, Line, Panel, Row, Shown, View, failure, span

_SAVES, _HORIZON = 241, 24.0
_B = 0.95  # current of active neurons
_ORDER = ("gain", "threshold", "a", "input", "cue")


def _rates(t, state, network):
    return network.rates(state)


@kept
def _run(learning, patterns, values):
    """One run from a cue of memory 0, for values in the order of `_ORDER`."""
    gain, threshold, a, drive, cue = values
    phi = Logistic(gain, threshold)
    network = RateMemory(patterns, a=a, b=_B, activation=phi, learning=learning)
    state = network.init(weights=cue * jnp.eye(patterns.P)[0])
    ts = jnp.linspace(0.0, _HORIZON, _SAVES)
    current = drive * patterns.pattern(0)
    run = simulate(network, state, ts, current=current, observe=_rates, throw=False)
    xi, counts = patterns.pattern(0), patterns.counts
    groups = jnp.stack([xi * counts / (xi @ counts), (1 - xi) * counts / ((1 - xi) @ counts)])
    return ts, run.overlaps, run.observed, run.observed @ groups.T, run.status


@kept
def _theory(q, values):
    """States of rest in the plane of memory 0, and the saliency below which it is none."""
    gain, threshold, a, drive, _ = values
    phi = Logistic(gain, threshold)
    found = theory.planar_equilibria(phi, a, _B, q, input_active=drive)
    made = theory.design(phi, a, _B, q)
    critical = theory.critical_saliency_planar(phi, a, _B, q).saliency
    overlaps = (found.active - found.silent) / (made.active - made.silent)
    return found.active, found.silent, found.stable, overlaps, critical


def compute(memories: Memories, settings: Mapping[str, Any], whole: bool = True) -> Shown:
    """One run and the states of rest beside it."""
    del whole  # all of it is quick
    values = jnp.asarray([float(settings[name]) for name in _ORDER])
    classes = memories.by_column
    learning = "projection" if memories.even else "pseudo_inverse"
    run = _run(learning, classes.patterns, values)
    ts, overlaps, seen, groups, status = jax.tree.map(np.asarray, run)
    q = float(np.mean(np.asarray(memories.active.xi[0])))
    told = [np.asarray(part) for part in _theory(jnp.asarray(np.float64(q), values.dtype), values)]
    active, silent, stable, levels, critical = told
    there = np.isfinite(active)
    held = levels[there & stable]
    final = float(overlaps[-1, 0])
    nearest = float(held[np.argmin(abs(held - final))]) if held.size else float("nan")
    what = "retrieved" if final > 0.5 else "not retrieved"
    rows = (
        Row("overlap with memory 0 at rest", nearest, final),
        Row("stable states in its plane", float(held.size), f"memory 0 is {what}"),
        Row("critical saliency", float(critical), ""),
    )
    frames = Frames(seen, classes.index, classes.sign, 0.0, 1.0, signs=False)
    points = list(zip(active[there], silent[there], stable[there], strict=True))
    return Shown(
        (*_over_time(ts, overlaps, groups, held), _plane(groups, points)),
        rows,
        failure(int(status)) or f"Memory 0 is {what}: its overlap is {final:.3f} at the end.",
        _notes(memories, learning),
        ts,
        "time constants",
        overlaps,
        frames,
        int(status),
    )


def _over_time(ts: Any, overlaps: Any, groups: Any, held: np.ndarray) -> tuple[Panel, ...]:
    xs, numbers = (0.0, _HORIZON), range(overlaps.shape[1])
    lines = [Line(ts, overlaps[:, mu], mu) for mu in numbers]
    lines += [Line(np.array(xs), np.full(2, level), THEORY) for level in held]
    ys = span(overlaps, held, least=(0.0, 1.0))
    title = "Overlaps; dashed: stable states in the plane of memory 0"
    rates = tuple(Line(ts, groups[:, k], (0, PLAIN)[k]) for k in range(2))
    unit = (0.0, 1.0)
    return (
        Panel(title, "time", "overlap", tuple(lines), xs, ys, timed=True),
        Panel(
            "Mean rates of the neurons active in memory 0, and of the others (grey)",
            *("time", "rate", rates, xs, span(groups, least=unit)),
            timed=True,
        ),
    )


def _plane(groups: np.ndarray, points: list[Any]) -> Panel:
    """The plane of the two groups: this run, and all states of rest."""
    dots = tuple(Dot(float(x), float(y), THEORY, bool(held)) for x, y, held in points)
    ends = (Dot(float(groups[0, 0]), float(groups[0, 1]), 0, filled=False),)
    lines = (Line(groups[:, 0], groups[:, 1], 0),)
    unit = (0.0, 1.0)
    return Panel(
        "Plane of memory 0: this run, stable (filled) and unstable states of rest",
        "rate of active neurons",
        "rate of silent neurons",
        lines,
        span(groups[:, 0], [dot.x for dot in dots], least=unit),
        span(groups[:, 1], [dot.y for dot in dots], least=unit),
        dots + ends,
    )


def _notes(memories: Memories, learning: str) -> tuple[str, ...]:
    notes = ["The critical saliency is that of input-driven synapses without an input current."]
    if learning == "pseudo_inverse":
        notes.append(
            "The memories have different activities, so the weights are those of the "
            "pseudo-inverse; the theory is for equal ones."
        )
    return tuple(notes)


VIEW = View(
    "rate",
    "firing-rate memory",
    "Rates follow dx/dt = -x + phi(W x + u), where W holds the active neurons of a memory at the "
    "current b = 0.95 and the silent ones at a. The start is memory 0 at a part of its rates.",
    (
        Knob("gain", "gain of the activation", 1.0, 12.0, 0.1, 4.8),
        Knob("threshold", "threshold current", 0.0, 1.0, 0.01, 0.2),
        Knob("a", "current a of silent neurons", -0.8, 0.4, 0.01, -0.3),
        Knob("input", "input to the neurons of memory 0", -0.5, 1.0, 0.01, 0.0),
        Knob("cue", "cue: part of memory 0 at the start", 0.0, 1.0, 0.01, 0.5),
    ),
    (),
    tuple(range(2, 11)),
    4,
    compute,
)
