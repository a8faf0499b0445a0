"""One run of memories in sequence, and what the theory predicts for it."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

import hopfax as hx

from ..._errors import check_memory

#: Images in a film strip.
FRAMES = 14
_SAVES = 100  # saves per slow time constant
#: Overlap of two memories up to which the theory takes them for orthogonal.
ORTHOGONAL = 1e-6
_TRANSITIONS = 64  # as many as a run's log keeps


@dataclasses.dataclass(frozen=True)
class Result:
    """One run, what was predicted for it, and the dwells' images."""

    network: hx.TwoTimescaleHopfield
    trajectory: hx.Trajectory
    start: np.ndarray
    visited: list[int]
    switches: np.ndarray  # in fast time constants, like all times here
    predicted: np.ndarray
    escapes: np.ndarray
    frame_times: np.ndarray
    frames: np.ndarray  # (F, N) firing rates
    regime: str


def _method(network: hx.TwoTimescaleHopfield, apart: float, noisy: bool) -> Any:
    """How to integrate: where saves are so far apart that handovers fall between them, so that the
    run can be looked at there, too."""
    if apart > 1.0 and not noisy and isinstance(network.activation, hx.HardTanh):
        return hx.EventDriven(dense=True)
    return "auto"


def _rates(t, state, network):
    """The firing rates, saved so that dwells can be shown as images."""
    return network.activation(state.field)


def simulate(
    network: hx.TwoTimescaleHopfield, start: np.ndarray, horizon: float, noise: float, seed: int
) -> Result:
    """Run the network from these saliencies for so many slow time constants.

    **Arguments:** `noise`: its strength, 0 for none. `seed`: of the noise.
    """
    tau = float(np.max(np.asarray(network.tau)))
    span = horizon * tau
    noisy = noise != 0.0
    saves = int(math.ceil(_SAVES * horizon)) + 1
    P, N = network.patterns.xi.shape
    check_memory("horizon", 8 * saves * (N + 2 * P), f"{saves} states of {N} neurons")
    trajectory = hx.simulate(
        network,
        network.init(saliency=start),
        np.linspace(0.0, span, saves),
        noise=noise if noisy else None,
        key=jax.random.key(seed) if noisy else None,
        observe=_rates,
        max_steps=65536 + (int(24 * span) if noisy else 0),
        method=_method(network, span / (saves - 1), noisy),
    )
    switches = np.asarray(hx.observables.switch_times(trajectory))
    predicted, escapes = _predict(network, start, span, noisy)
    edges = np.concatenate([[0.0], switches, [span]])
    middles = (edges[1:] + edges[:-1])[:FRAMES] / 2
    nearest = np.argmin(np.abs(np.asarray(trajectory.ts)[:, None] - middles), axis=0)
    return Result(
        network,
        trajectory,
        start,
        np.asarray(hx.observables.visited(trajectory)).tolist(),
        switches,
        predicted,
        escapes,
        middles,
        np.asarray(trajectory.observed)[nearest],
        hx.observables.REGIMES[int(hx.observables.classify(trajectory))],
    )


def crosstalk(patterns: hx.Patterns) -> float:
    """The largest overlap of two memories."""
    gram = np.array(patterns.gram(), dtype=float)
    np.fill_diagonal(gram, 0.0)
    return float(np.abs(gram).max(initial=0.0))


def _predict(network, start, span: float, noisy: bool) -> tuple[np.ndarray, np.ndarray]:
    """Switch times at finite tau where a theory exists, and escape times in the singular limit.

    Both are for hard tanh, a linear readout, the diagonal kept and no noise; switches also need
    orthogonal memories, and escapes those or the pseudo-inverse rule. Those within the run.
    """
    kappa, tau, bias = (np.asarray(x) for x in (network.kappa, network.tau, network.bias))
    activation, transition = network.activation, np.asarray(network.transition)
    none, theory = np.empty(0), hx.theory.sequential
    exact = network.keep_diagonal and network.readout == "linear" and not noisy
    apart = crosstalk(network.patterns) < ORTHOGONAL
    if not exact or not isinstance(activation, hx.HardTanh):
        return none, none
    if not apart and network.learning == "hebbian":
        return none, none
    gain = 1.0 if activation.gain is None else float(activation.gain)
    path = theory.itinerary(transition, gain * kappa, tau, gain * start, _TRANSITIONS)
    escapes = np.asarray(path.time)[1:]
    escapes = escapes[escapes <= span]  # and no NaN
    called = transition[:, int(np.argmax(start))]
    simple = kappa.ndim == tau.ndim == bias.ndim == 0 and tau > 1 and bias > 0
    simple = simple and np.sum(start != 0) == 1 and set(transition.ravel().tolist()) <= {0.0, 1.0}
    simple = simple and called.sum() == 1 and np.all(transition.sum(0) <= 1)
    if not simple or not apart or transition.trace() > 0:
        return none, escapes
    k, b, Z0 = gain * float(kappa), gain * float(bias), gain * float(start.max())
    first = float(theory.switch_time(Z0, k, float(tau), b))
    length = int(np.any(transition, axis=1).sum())
    if not math.isfinite(first) or theory.domain(length, float(tau), b, k):
        return np.asarray([first] if math.isfinite(first) else []), escapes
    dwell = float(theory.dwell_time(k, float(tau), length, b))
    later = np.arange(1, _TRANSITIONS) * dwell if math.isfinite(dwell) else none
    times = np.concatenate([[first], first + later])
    return times[times <= span], escapes
