"""`hopfax theory`: the exact numbers of sequential retrieval."""

import dataclasses
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from .. import _options
from .._console import number, say, table
from .._families import Family
from .._machine import Precision
from .._models import check_alone, load_kind

_MOST = 10_000  # memories: times grow as their square
_SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10, math.inf)


@dataclasses.dataclass(frozen=True)
class Theory:
    """Print what theory predicts: critical gains, saliencies, dwells and basins.

    For orthogonal memories that call each other in a cycle, with hard tanh. The critical gain 4 is
    that of an endless chain at infinitely separated timescales; every finite cycle needs less.
    Example: hopfax theory --kappa 4 5 6 --memories 4 --tau 100
    """

    network: Family = "sequential"
    """Family of networks; each has options of its own."""
    kappa: tuple[float, ...] = (5.0,)
    """Gains to tabulate."""
    memories: int = 4
    """Memories in the cycle."""
    tau: float | None = None
    """Slow over fast time constant; adds the numbers at this finite separation."""
    bias: float = 0.01
    """Input along every memory that seeds the transitions; matters at finite tau."""
    precision: Precision = "float64"
    """Floating-point precision."""
    model: pathlib.Path | None = None
    """A saved network of two timescales, from which all these numbers are taken."""
    classes: _options.Classes = None
    config: _options.Config = None

    def __call__(self) -> int:
        """Print the tables."""
        check_alone(self, ("kappa", "memories", "tau", "bias"))
        if self.model is not None:
            return self._of_model()()
        if self.memories < 2:
            raise ValueError(f"`memories` must be at least 2, got {self.memories}.")
        if self.memories > _MOST:
            raise ValueError(
                f"`memories` must be at most {_MOST}, got {self.memories}; a longer cycle differs "
                "from the endless chain in no digit."
            )
        if not self.kappa or not all(math.isfinite(kappa) for kappa in self.kappa):
            raise ValueError(f"`kappa` must list finite gains, got {list(self.kappa)}.")
        if self.tau is not None:  # checked before anything is printed
            _check_finite(self)
        elif self.bias != type(self).bias:
            raise ValueError("`bias` matters at a finite separation alone; give `tau`, too.")
        say(critical_gains())
        say()
        say(at_gains(self.kappa, self.memories))
        if self.tau is not None:
            say()
            say(at_separation(self.kappa, self.memories, self.tau, self.bias))
        return 0

    def _of_model(self) -> "Theory":
        """These options with the numbers of the network in a file.

        **Raises:** ValueError for options that it has, or a network that the theory is not for.
        """
        network = load_kind(self, _fits, "a TwoTimescaleHopfield")
        hx.theory.sequential.critical_gain(network)  # which says for what there is no theory
        if np.trace(np.asarray(network.transition)):
            raise ValueError("`model`: its memories call themselves; these tables are without.")
        kappa, tau, bias = (
            float(np.ravel(value)[0]) for value in (network.kappa, network.tau, network.bias)
        )
        say(f"{self.model}: P = {network.patterns.P}, kappa = {kappa:g}, tau = {tau:g}\n")
        return dataclasses.replace(
            self,
            model=None,
            classes=None,
            kappa=(kappa,),
            memories=network.patterns.P,
            tau=tau,
            bias=bias,
        )


def _fits(network: Any) -> bool:
    return isinstance(network, hx.TwoTimescaleHopfield)


def _check_finite(settings: Theory) -> None:
    if settings.memories < 3:
        raise ValueError(
            "`memories` must be at least 3 with a finite `tau`: two memories charge each other "
            "during the handover, for which there is no theory. Simulate them: hopfax sweep."
        )
    if not settings.tau or not (1 < settings.tau < math.inf):
        raise ValueError(f"`tau` must be finite and above 1, got {settings.tau}.")
    if not (0 < settings.bias < math.inf):
        raise ValueError(f"`bias` must be finite and above 0, got {settings.bias}.")


def critical_gains() -> str:
    """Critical gain and the saliency there, for cycles of every size."""
    rows = []
    for P in _SIZES:
        gain = hx.theory.sequential.critical_gain(P)
        # At the fold the fixed points meet where the map's slope is 1; up to P = 3 at Z = 1.
        rows.append((_size(P), number(gain, 6), number(_fold(P), 6)))
    text = table(("memories P", "critical kappa", "Z there"), rows)
    return f"Critical gain of a cycle, tau -> infinity\n\n{text}"


def _fold(P: int | float) -> float:
    """Saliency at which a cycle's gain is least: 1 = sum of j q^(j+1) with q = 1/Z."""
    if P == math.inf:
        return 2.0
    slopes = [float(j) for j in range(int(P) - 2, 0, -1)] + [0.0, -1.0]  # in powers of q, from P-1
    roots = np.roots(slopes)
    real = roots[np.abs(roots.imag) < 1e-9].real
    inside = real[(real > 0) & (real < 1 - 1e-9)]
    return float(1 / inside.max()) if inside.size else 1.0


def at_gains(gains: tuple[float, ...], P: int) -> str:
    """Steady saliency, dwell, period and basin edge at each gain, for infinite separation."""
    kappa = jnp.asarray(gains, dtype=float)
    blocks = []
    for size in (P, math.inf):
        points = hx.theory.sequential.fixed_points(kappa, size)
        edge = hx.theory.sequential.basin_edge(kappa, size)
        escape = hx.theory.sequential.escape_time(points.upper, 1.0)
        columns: list[Any] = [kappa, points.upper, points.lower, edge, escape]
        head = ["kappa", "Z*", "unstable Z", "basin edge", "dwell / tau"]
        if size != math.inf:
            columns.append(size * escape)
            head.append("period / tau")
        rows = [[number(value) for value in row] for row in zip(*columns, strict=True)]
        name = "an endless chain" if size == math.inf else f"a cycle of {P} memories"
        blocks.append(f"At given gains, {name}, tau -> infinity\n\n{table(head, rows)}")
    note = (
        "Z* is the saliency with which a memory takes over, the dwell is the time tau ln Z* till\n"
        "it escapes, the basin edge the smallest Z0 for which the sequence from z(0) = Z0 e_0\n"
        "lasts, inf where none does. A dash: no sequence sustains itself."
    )
    return "\n\n".join([*blocks, note])


def at_separation(gains: tuple[float, ...], P: int, tau: float, bias: float) -> str:
    """Critical gain, dwell, period and basin edge at a finite separation, or a sentence."""
    name = f"A cycle of {P} memories at tau = {tau:g}, bias {bias:g}"
    kappa = jnp.asarray(gains, dtype=float)
    if sentence := hx.theory.sequential.domain(P, tau, bias, kappa):
        return f"{name}\n\n{sentence}"
    gain = hx.theory.sequential.critical_gain(P, tau=tau, bias=bias)
    dwell = hx.theory.sequential.dwell_time(kappa, tau, P, bias)
    # Under a trace an edge that is not derived is NaN, so that the others are told.
    edge = jax.vmap(lambda k: hx.theory.sequential.basin_edge(k, P, tau=tau, bias=bias))(kappa)
    below = bool((jnp.isnan(edge) & ~jnp.isnan(dwell)).any())
    note = "\n\nA dash beside a dwell: the edge lies below 0.8, where it is not derived."
    columns = (kappa, edge, dwell, dwell / tau, P * dwell)
    head = ("kappa", "basin edge", "dwell", "dwell / tau", "period")
    rows = [[number(value) for value in row] for row in zip(*columns, strict=True)]
    error = number(hx.theory.sequential.error_band(bias), 2)
    return (
        f"{name}, times in fast time constants\n\n"
        f"critical kappa  {number(gain)}, to {error}: it was found at most so much too large\n\n"
        f"{table(head, rows)}{note if below else ''}"
    )


def _size(P: int | float) -> str:
    return "infinity" if P == math.inf else str(int(P))
