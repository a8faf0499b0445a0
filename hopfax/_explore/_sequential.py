"""Networks of two timescales, live: a cycle of memories, beside its threshold and its dwell."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._programs import kept
from .._simulate import simulate
from ..networks import TwoTimescaleHopfield, cyclic
from ..observables import REGIMES, classify, switch_times
from ..theory import sequential as theory
from ._memories import Memories
from ._model import THEORY, Choice, Dot, Frames, Knob, Line, Panel, Row, Shown, View, failure, span

_SAVES = 401
_GAINS = (0.0, 12.0)
_CURVE = 49  # gains at which the dwell is drawn
#: Overlap of two memories up to which the theory takes them for orthogonal.
_ORTHOGONAL = 1e-6
_ALIKE = 0.2  # and from which on the Hebbian rule mixes them
_ORDER = ("kappa", "tau", "bias", "start", "horizon")


def _rates(t, state, network):
    return network.rates(state)


@kept
def _run(readout, learning, patterns, values):
    """One run, its switches and its regime, for values in the order of `_ORDER`."""
    kappa, tau, bias, start, horizon = values
    P = patterns.P
    how: Any = dict(readout=readout, learning=learning)
    network = TwoTimescaleHopfield(patterns, cyclic(P), kappa=kappa, tau=tau, bias=bias, **how)
    ts = horizon * tau * jnp.linspace(0.0, 1.0, _SAVES)
    state = network.init(saliency=start * jnp.eye(P)[0])
    run = simulate(network, state, ts, observe=_rates, throw=False)
    seen = run.overlaps, run.saliency, run.observed
    return ts, *seen, run.status, switch_times(run), classify(run)


@kept
def _limit(P: int, values):
    """Critical gain, dwell and its curve over the gain for widely separated timescales, and the
    first switch at this separation: all closed forms, or nearly so."""
    kappa, tau, bias, start, _ = values
    gains = jnp.linspace(*_GAINS, _CURVE)
    dwells = tau * jnp.log(theory.fixed_points(jnp.append(gains, kappa), P).upper)
    first = theory.switch_time(start, kappa, tau, bias)
    return theory.critical_gain(P) * jnp.ones(()), first, dwells[-1], gains, dwells[:-1]


@functools.lru_cache(maxsize=256)
def _at_tau(P: int, kappa: float, tau: float, bias: float) -> tuple[float, float]:
    """Critical gain and dwell at this separation; NaN where they are not derived."""
    if theory.domain(P, tau, bias, kappa):
        return math.nan, math.nan
    return _threshold(P, tau, bias), float(theory.dwell_time(kappa, tau, P, bias))


@functools.lru_cache(maxsize=256)
def _threshold(P: int, tau: float, bias: float) -> float:
    return float(theory.critical_gain(P, tau=tau, bias=bias))


def compute(memories: Memories, settings: Mapping[str, Any], whole: bool = True) -> Shown:
    """One run and what the theory says of it; without the numbers at this separation of the
    timescales, which take longer than the run, unless the `whole` is asked for."""
    kappa, tau, bias, start, horizon = (float(settings[name]) for name in _ORDER)
    values, P = jnp.asarray([kappa, tau, bias, start, horizon]), memories.P
    classes = memories.by_sign
    run = _run(settings["readout"], settings["learning"], classes.patterns, values)
    ts, overlaps, saliency, seen, status, switches, regime = jax.tree.map(np.asarray, run)
    limit, first, dwell, *curve = (np.asarray(part) for part in _limit(P, values))
    threshold, stay = _at_tau(P, kappa, tau, bias) if whole else (None, None)
    switches = switches[np.isfinite(switches)]
    stays = np.diff(switches)[-3:]
    measured = float(stays.mean()) if stays.size else math.nan
    name = REGIMES[int(regime)]
    rows = (
        Row("critical gain at this tau", threshold, f"{name} at {kappa:g}"),
        Row("critical gain, tau to infinity", float(limit), ""),
        Row("first switch", float(first), float(switches[0]) if switches.size else math.nan),
        Row("dwell at this tau", stay, measured),
        Row("dwell, tau to infinity", float(dwell), measured),
    )
    edge = float(limit) if threshold is None or math.isnan(threshold) else threshold
    panels = (
        *_over_time(ts / tau, overlaps, saliency),
        _dwells(curve, tau, edge, kappa, measured),
    )
    outcome = failure(int(status)) or f"Outcome of this run: {name}."
    frames = Frames(seen, classes.index, classes.sign)
    told = (panels, rows, outcome, _notes(memories, settings))
    return Shown(*told, ts / tau, "tau", overlaps, frames, int(status))


def _over_time(t: np.ndarray, overlaps: np.ndarray, saliency: np.ndarray) -> tuple[Panel, ...]:
    xs, numbers = (0.0, float(t[-1])), range(overlaps.shape[1])
    lines = tuple(Line(t, overlaps[:, mu], mu) for mu in numbers)
    low = span(overlaps, least=(0.0, 1.0))
    slow = tuple(Line(t, saliency[:, mu], mu) for mu in numbers)
    edge = Line(np.array(xs), np.ones(2), THEORY)
    title = "Saliencies; below the dashed line a memory has no well"
    return (
        Panel("Overlaps with the memories", "t / tau", "overlap", lines, xs, low, timed=True),
        Panel(
            *(title, "t / tau", "saliency", (*slow, edge), xs),
            ys=span(saliency, least=(0.0, 2.0)),
            timed=True,
        ),
    )


def _dwells(curve: Any, tau: float, threshold: float, kappa: float, measured: float) -> Panel:
    """The dwell over the gain, the threshold, and this run."""
    gains, dwells = curve[0], curve[1] / tau
    ys = span(dwells, measured / tau, least=(0.0, 1.0))
    border = Line(np.array([threshold, threshold]), np.array(ys), THEORY)
    dots = (Dot(kappa, measured / tau, 0),) if math.isfinite(measured) else ()
    title = "Dwell: theory for tau to infinity (dashed), threshold, this run (dot)"
    lines = (Line(gains, dwells, THEORY), border)
    return Panel(title, "gain kappa", "dwell / tau", lines, _GAINS, ys, dots)


def _notes(memories: Memories, settings: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if words := theory.domain(memories.P, settings["tau"], settings["bias"], settings["kappa"]):
        notes.append(words.partition(": ")[0] + ", but the limit of separate timescales.")
    if memories.crosstalk > _ORTHOGONAL:
        notes.append(
            "The theory is for orthogonal memories; these overlap each other by up to "
            f"{memories.crosstalk:.2f}."
        )
    if memories.crosstalk > _ALIKE and settings["learning"] == "hebbian":
        notes.append("Memories so alike mix; the pseudo-inverse rule keeps them apart.")
    if settings["readout"] != "linear":
        notes.append("The theory is for the linear readout.")
    return tuple(notes)


VIEW = View(
    "sequential",
    "sequence of memories (two timescales)",
    "A fast field retrieves the memory with a large saliency; the retrieved memory loses its own "
    "saliency and charges that of the next one in the cycle.",
    (
        Knob("kappa", "gain kappa", *_GAINS, 0.05, 5.0),
        Knob("tau", "slow time constant tau", 5.0, 200.0, 1.0, 50.0),
        Knob("bias", "bias that seeds the next memory", 0.0, 0.05, 0.001, 0.01),
        Knob("start", "start saliency of memory 0", 0.0, 10.0, 0.1, 4.0),
        Knob("horizon", "length of the run, in tau", 2.0, 40.0, 1.0, 12.0),
    ),
    (
        Choice("readout", "readout of overlaps", ("linear", "abs", "square", "relu")),
        Choice("learning", "learning rule", ("hebbian", "pseudo_inverse")),
    ),
    tuple(range(2, 11)),
    4,
    compute,
)
