"""`hopfax theory --network rate`: the exact numbers of firing-rate memories."""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

import hopfax as hx

from ...theory import rate
from .. import _options
from .._console import number, say, table
from .._families import Family
from .._machine import Precision
from .._models import check_alone, load_kind
from ._points import ACTIVATIONS, ACTIVITY, REFERENCE, Kind


@dataclasses.dataclass(frozen=True)
class Theory:
    """Print what theory predicts of rate memories: design, stability, states of rest, thresholds.

    The network is dx/dt = -x + phi(W x + u); a and b are the currents that W holds silent and
    active neurons at. Stability is that of a memory of the balanced set, P = 1 + 1/q; states of
    rest are those in the plane of one memory, all there are for P = 1.
    Example: hopfax theory --network rate --threshold 0.2 --a 0.1 --input-active 0.3
    """

    network: Family = "rate"
    """Family of networks; each has options of its own."""
    threshold: tuple[float, ...] = (0.2, 0.5, 0.8)
    """Threshold currents I* of the activation to tabulate."""
    gain: float = REFERENCE["gain"]
    """Gain rho of the activation, its greatest slope."""
    a: float = REFERENCE["a"]
    """Current of silent neurons."""
    b: float = REFERENCE["b"]
    """Current of active neurons."""
    q: float = ACTIVITY
    """Activity, the share of active neurons in a memory."""
    overlap: float | None = None
    """Overlap r of two memories in units of q N, for the weights (default: q, as of independent
    ones)."""
    activation: Kind = "logistic"
    """Activation from currents to rates."""
    saliency: float = 1.0
    """Saliency of the memory, for its states of rest."""
    input_active: float = 0.0
    """Input to the active neurons of the memory, for its states of rest."""
    input_silent: float = 0.0
    """Input to all other neurons, for its states of rest."""
    input: float | None = None
    """An input to the active neurons: what `input_active` is, and for every threshold the saliency
    that the memory needs under it, and the least input that leaves it alone."""
    model: pathlib.Path | None = None
    """A saved rate memory, from which activation, currents and activity are taken."""
    precision: Precision = "float64"
    """Floating-point precision."""
    classes: _options.Classes = None
    config: _options.Config = None

    def __call__(self) -> int:
        """Print the tables."""
        check_alone(self, ("threshold", "gain", "a", "b", "q", "overlap", "activation"))
        if self.model is not None:
            return self._of_model()()
        if self.input is not None:
            if self.input_active or not math.isfinite(self.input):
                raise ValueError("`input` must be finite, and is `input_active`: give one of them.")
            driven = dataclasses.replace(self, input=None, input_active=self.input)
            status = driven()
            say("\n" + with_input(driven))
            return status
        if not self.threshold or not all(map(math.isfinite, self.threshold)):
            raise ValueError(f"`threshold` must list finite numbers, got {list(self.threshold)}.")
        say("\n\n".join([design(self), stability(self), rest(self), thresholds(self)]))
        return 0

    def _of_model(self) -> "Theory":
        """These options with the numbers of the network in a file.

        **Raises:** ValueError for options that it has, or a network that the theory is not for.
        """
        network = load_kind(self, _fits, "a rate memory")
        theory: Any = rate.critical_saliency_planar
        theory(network)  # which says for what there is no theory
        phi, xi = network.activation, np.asarray(network.patterns.xi)
        names = {kind: name for name, kind in ACTIVATIONS.items()}
        if type(phi) not in names:
            raise ValueError(f"`model`: of {type(phi).__name__} there are no tables.")
        P, N = xi.shape
        say(f"{self.model}: {P} memories of {N} neurons\n")
        numbers = {name: float(getattr(network, name)) for name in ("a", "b")}
        found: dict[str, Any] = {"gain": float(phi.gain), "threshold": (float(phi.threshold),)}
        found["q"] = float(network.patterns.mean(network.patterns.xi)[0])
        found |= {"activation": names[type(phi)], "model": None, "classes": None}
        return dataclasses.replace(self, **numbers, **found)


def _fits(network: Any) -> bool:
    return isinstance(network, hx.AbstractRateMemory)


def _activations(settings: Theory) -> list[Any]:
    made = ACTIVATIONS[settings.activation]
    return [made(settings.gain, threshold) for threshold in settings.threshold]


def _head(settings: Theory) -> str:
    kind = settings.activation.replace("_", " ")
    return (
        f"{kind}, rho = {settings.gain:g}, a = {settings.a:g}, b = {settings.b:g}, "
        f"q = {settings.q:g}"
    )


def design(settings: Theory) -> str:
    """Weights and rates at every threshold."""
    rows = []
    for phi in _activations(settings):
        found = rate.design(phi, settings.a, settings.b, settings.q, settings.overlap)
        parts = (found.silent, found.active, found.kappa, found.gamma, found.alpha, found.beta)
        rows.append((f"{float(phi.threshold):g}", *(number(part, 6) for part in parts)))
    head = ("I*", "phi(a)", "phi(b)", "kappa", "gamma", "alpha", "beta")
    r = settings.q if settings.overlap is None else settings.overlap
    return f"Design: {_head(settings)}, r = {r:g}\n\n{table(head, rows)}"


def stability(settings: Theory) -> str:
    """Slopes, conditions and eigenvalues at every threshold."""
    rows = []
    for phi in _activations(settings):
        plane = rate.stability(phi, settings.a, settings.b, settings.q)
        full = rate.balanced_spectrum(phi, settings.a, settings.b, settings.q)
        slopes = (plane.slope_silent, plane.slope_active)
        margin = 1 - max(map(float, slopes)) * max(float(plane.kappa), float(plane.gamma))
        rows.append(
            (
                f"{float(phi.threshold):g}",
                *(number(value) for value in (*slopes, margin, plane.block)),
                number(full.greatest),
                "yes" if full.stable else "no",
            )
        )
    head = ("I*", "phi'(a)", "phi'(b)", "margin", "plane", "balanced set", "stable")
    note = (
        "margin: 1 - max(phi'(a), phi'(b)) max(kappa, gamma); positive is sufficient. plane: the\n"
        "greatest eigenvalue of the Jacobian at a single memory (P = 1); balanced set: at one of\n"
        "1 + 1/q memories. Negative is stable."
    )
    return f"Stability of a memory\n\n{table(head, rows)}\n\n{note}"


def rest(settings: Theory) -> str:
    """All states of rest in the plane of a memory, at every threshold."""
    inputs = (settings.saliency, settings.input_active, settings.input_silent)
    rows = []
    for phi in _activations(settings):
        found = rate.planar_equilibria(phi, settings.a, settings.b, settings.q, *inputs)
        made = rate.design(phi, settings.a, settings.b, settings.q)
        for k in np.flatnonzero(np.asarray(found.exists)):
            s, c = float(found.active[k]), float(found.silent[k])
            overlap = (s - c) / float(made.active - made.silent)
            cells = (s, c, overlap, found.eigenvalues[k, 0])
            stable = "stable" if found.stable[k] else "unstable"
            text = (number(cell) for cell in cells)
            rows.append((f"{float(phi.threshold):g}", *text, stable))
    head = ("I*", "active rate", "silent rate", "overlap", "eigenvalue", "in the plane")
    s, u, v = inputs
    title = (
        f"States of rest in the plane of a memory, saliency {s:g}, inputs {u:g} (active), "
        f"{v:g} (silent)"
    )
    return f"{title}\n\n{table(head, rows)}"


def thresholds(settings: Theory) -> str:
    """Critical saliency and critical time constant of inhibition at every threshold."""
    numbers = (settings.a, settings.b, settings.q)
    rows = []
    for phi in _activations(settings):
        closed = rate.critical_saliency(phi, *numbers)
        exact = rate.critical_saliency_planar(phi, *numbers)
        tau = rate.critical_inhibition(phi, *numbers)
        parts = (closed.gain, closed.saliency, exact.saliency, tau)
        rows.append((f"{float(phi.threshold):g}", *(number(part, 6) for part in parts)))
    head = ("I*", "g*", "s_c, silent at 0", "s_c, exact", "critical tau_I")
    note = (
        "s_c: saliency below which the input-driven network has no such memory, for silent rates\n"
        "0 (gamma <= 0) and exactly. tau_I: time constant of an inhibitory unit (Dale's law) from\n"
        "which on the memory oscillates away. A dash: none."
    )
    return f"Thresholds\n\n{table(head, rows)}\n\n{note}"


_MOST = 4.0  # input up to which the least one is sought
_HALVINGS = 40


def with_input(settings: Theory) -> str:
    """Thresholds under the input to the active neurons: the saliency at which the memory ends, and
    the input from which on nothing else is stable."""
    u, v, numbers = settings.input_active, settings.input_silent, (settings.a, settings.b)
    rows = []
    for phi in _activations(settings):
        design = (phi, *numbers, settings.q)
        made = rate.design(*design)

        def held(s: float, design: Any = design, made: Any = made) -> bool:
            found = rate.planar_equilibria(*design, s, u, v)
            apart = (found.active - found.silent) / (made.active - made.silent)
            return bool((found.exists & found.stable & (abs(apart - 1) < 0.5)).any())

        def alone(u: float, design: Any = design) -> bool:
            return bool(rate.globally_stable(*design, settings.saliency, u, v).stable)

        needed = _first(held, 0.0, 1.0)
        least = _first(alone, 0.0, _MOST)
        is_alone = "yes" if alone(u) else "no"
        rows.append((f"{float(phi.threshold):g}", number(needed, 6), is_alone, number(least, 6)))
    head = ("I*", "s_c under the input", "alone", "least input that leaves it alone")
    note = (
        "s_c: saliency from which on the memory is a stable state of rest in its plane, with an\n"
        "overlap within 1/2 of 1 (0: the input alone holds it). alone: nothing else is stable\n"
        f"there under the input. Least input: by bisection, up to {_MOST:g}. A dash: none."
    )
    return f"With an input of {u:g} to the active neurons\n\n{table(head, rows)}\n\n{note}"


def _first(true: Any, low: float, high: float) -> float:
    """Where a statement that holds at `high` begins to hold, by bisection; NaN if it does not."""
    if true(low):
        return low
    if not true(high):
        return math.nan
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if true(middle) else (middle, high)
    return high
