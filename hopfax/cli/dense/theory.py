"""`hopfax theory --network dense`: the exact numbers of dense memories."""

import dataclasses
import math
import pathlib
from typing import Any

import jax.numpy as jnp

import hopfax as hx

from ...theory import dense
from .. import _options
from .._console import number, say, table
from .._families import Family
from .._machine import Precision
from .._models import check_alone, load_kind
from .._settings import changed
from ._points import INTERACTIONS, check_order


@dataclasses.dataclass(frozen=True)
class Theory:
    """Print what theory predicts of dense memories: capacities, and exponential loads.

    Capacities are those of the replica-symmetric theory at zero temperature; trajectories retrieve
    beyond them for a while (hopfax reproduce dense). Exponential loads are ln M / N at which a
    state of overlap m is put right in one step. Example: hopfax theory --network dense --orders 2 3
    """

    network: Family = "dense"
    """Family of networks; each has options of its own."""
    orders: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    """Orders n of the interaction to tabulate."""
    overlaps: tuple[float, ...] = (1.0, 0.9, 0.8, 0.6, 0.4)
    """Overlaps m for the exponential loads."""
    rate: float = 1.0
    """Rate lambda of the exponential interaction exp(lambda xi.h)."""
    precision: Precision = "float64"
    """Floating-point precision."""
    model: pathlib.Path | None = None
    """A saved dense memory: its interaction and its load, in place of `orders` and `rate`."""
    classes: _options.Classes = None
    config: _options.Config = None

    def __call__(self) -> int:
        """Print the tables."""
        check_alone(self, ("orders", "rate"))
        if not self.overlaps or not all(0 <= m <= 1 for m in self.overlaps):
            raise ValueError(f"`overlaps` must lie in [0, 1], got {list(self.overlaps)}.")
        if self.model is not None:
            return self._of_model()
        if not self.orders or min(self.orders) < 2:
            raise ValueError(f"`orders` must be at least 2, got {list(self.orders)}.")
        for order in self.orders:
            check_order(order, "power", self.precision)
        if not 0 < self.rate < math.inf:
            raise ValueError(f"`rate` must be finite and above 0, got {self.rate:g}.")
        say(capacities(self.orders))
        say()
        say(exponential_loads(self.overlaps, self.rate))
        return 0

    def _of_model(self) -> int:
        """Print what is known of the network in a file."""
        network = load_kind(self, _fits, "a dense memory")
        interaction, patterns = network.interaction, network.patterns
        P, N, kind = patterns.P, patterns.N, type(interaction).__name__
        exponential = isinstance(interaction, hx.Exponential)
        if changed(self, ["overlaps"]) and not exponential:
            raise ValueError(f"`overlaps` are of exponential loads, which {kind} has none of.")
        say(f"{self.model}: {kind}, {P} memories of {N} neurons\n")
        if exponential:
            load_now = math.log(P) / N
            say(f"exponential load ln M / N = {load_now:.6g}\n")
            say(exponential_loads(self.overlaps, float(interaction.rate)))
            return 0
        found = dense.capacity(interaction)  # which says for what it is not derived
        order = interaction.order  # type: ignore[attr-defined]
        alpha = P / float(N) ** (order - 1)
        rows = [
            ("load alpha = M / N^(n-1)", number(alpha, 6)),
            ("replica-symmetric capacity alpha_c", number(found.load, 6)),
            ("the same scaled, alpha'_c", number(found.scaled, 6)),
            ("overlap there, m*", number(found.overlap, 6)),
        ]
        say(table((f"order {order}, independent memories", ""), rows))
        return 0


def _fits(network: Any) -> bool:
    return isinstance(network, hx.DenseMemory | hx.DenseFlow)


def capacities(orders: tuple[int, ...]) -> str:
    """Capacity and the overlap there, of power and n-body interactions."""
    rows = []
    for n in orders:
        power = dense.capacity(INTERACTIONS["power"](n))
        many = dense.capacity(INTERACTIONS["many_body"](n))
        loads = (f"{float(end.load):.6g}" for end in (power, many))
        rows.append((str(n), number(power.overlap, 6), number(power.scaled, 6), *loads))
    head = ("order n", "m*", "alpha'_c", "alpha_c, power", "alpha_c, n-body")
    note = (
        "alpha' = alpha K(1), alpha = M / N^(n-1); K(1) is (2n-3)!! for power, (n-1)! for n-body;\n"
        "m* is the overlap of the last retrieval state. n = 2 is the classical network, resummed."
    )
    return f"Replica-symmetric capacity\n\n{table(head, rows)}\n\n{note}"


def exponential_loads(overlaps: tuple[float, ...], rate: float) -> str:
    """One-step thresholds of the exponential interaction."""
    found = dense.exponential_load(jnp.asarray(overlaps, dtype=float), rate)
    rows = [
        (
            number(m, 2),
            *(number(x, 6) for x in (one, energy, bound)),
            "a few" if frozen else "many",
        )
        for m, one, frozen, energy, bound in zip(overlaps, *found, strict=True)
    ]
    head = ("m", "one step", "free energy", "rigorous bound", "memories in the noise")
    title = f"Exponential loads ln M / N, lambda = {rate:g}"
    note = "A dash: the bound is proved for lambda = 1 alone."
    return f"{title}\n\n{table(head, rows)}" + ("" if rate == 1 else f"\n\n{note}")
