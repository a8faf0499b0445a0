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
from . import _networks, _options as own
from ._points import INTERACTIONS, check_order, scale

#: Options of sequences alone, and of memories at rest alone.
_MOVING, _RESTING = ("loads", "start", "steps"), ("overlaps", "rate")
_MOST_NEURONS = 10_000  # more take minutes


@dataclasses.dataclass(frozen=True)
class Theory:
    """Print what theory predicts of dense memories: capacities, and exponential loads.

    Capacities are those of the replica-symmetric theory at zero temperature; trajectories retrieve
    beyond them for a while (hopfax reproduce dense). Exponential loads are ln M / N at which a
    state of overlap m is put right in one step. Example: hopfax theory --network dense --orders 2 3

    With --transition, of memories that each call the next: capacities, the edge of the basin, the
    overlap at which a sequence goes on, and how it gets there. With --neurons also how many
    memories are recalled without any error.
    Example: hopfax theory --network dense --transition cyclic --orders 2 3 --neurons 200
    """

    network: Family = "dense"
    """Family of networks; each has options of its own."""
    orders: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    """Orders n of the interaction to tabulate."""
    overlaps: tuple[float, ...] = (1.0, 0.9, 0.8, 0.6, 0.4)
    """Overlaps m for the exponential loads."""
    rate: float = 1.0
    """Rate lambda of the exponential interaction exp(lambda xi.h)."""
    transition: own.Transition = "none"
    loads: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.25)
    """Scaled loads alpha' = alpha K(1) of sequences."""
    start: float = 0.8
    """Overlap of the start of a sequence with its memory."""
    steps: int = 5
    """Steps of a sequence."""
    neurons: int | None = None
    """How many neurons have the networks whose errors are counted (up to 10,000)."""
    precision: Precision = "float64"
    """Floating-point precision."""
    model: pathlib.Path | None = None
    """A saved dense memory: its interaction, its load and the probability that it errs, in place of
    `orders`, `rate` and `transition`."""
    classes: _options.Classes = None
    config: _options.Config = None

    def __call__(self) -> int:
        """Print the tables."""
        check_alone(self, ("orders", "rate", "transition", "loads", "start", "steps", "neurons"))
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
        others = _MOVING if self.transition == "none" else _RESTING
        if name := next(iter(changed(self, others)), None):
            what = "of sequences, --transition cyclic" if name in _MOVING else "of memories at rest"
            raise ValueError(f"`{name}` is {what}; leave it out.")
        if self.neurons is not None and not 2 <= self.neurons <= _MOST_NEURONS:
            raise ValueError(f"`neurons` must be 2 to {_MOST_NEURONS}, got {self.neurons}.")
        say("\n\n".join(self._tables()))
        return 0

    def _tables(self) -> list[str]:
        found = [capacities(self.orders, self.transition != "none")]
        if self.transition == "none":
            found.append(exponential_loads(self.overlaps, self.rate))
        else:
            if not self.loads or not all(0 < load < math.inf for load in self.loads):
                raise ValueError(f"`loads` must be finite and above 0, got {list(self.loads)}.")
            if not -1 <= self.start <= 1:
                raise ValueError(f"`start` must lie in [-1, 1], got {self.start:g}.")
            if self.steps < 1:
                raise ValueError(f"`steps` must be at least 1, got {self.steps}.")
            found.append(sequences(self.orders, self.loads, self.start, self.steps))
        if self.neurons is not None:
            found.append(error_free(self.orders, self.neurons, self.transition != "none"))
        return found

    def _of_model(self) -> int:
        """Print what is known of the network in a file."""
        network = load_kind(self, _fits, "a dense memory")
        interaction, patterns = network.interaction, network.patterns
        P, N, kind = patterns.P, patterns.N, type(interaction).__name__
        exponential = isinstance(interaction, hx.Exponential)
        if changed(self, ["overlaps"]) and not exponential:
            raise ValueError(f"`overlaps` are of exponential loads, which {kind} has none of.")
        moving = getattr(network, "transition", None) is not None
        if moving and _networks.closed(network) is None:
            raise ValueError("`model` calls its memories in no cycle or chain: not derived.")
        say(f"{self.model}: {kind}, {P} memories of {N} neurons\n")
        errors = _errors(network, moving)
        if exponential:
            load_now = math.log(P) / N
            say(f"exponential load ln M / N = {load_now:.6g}\n")
            say(exponential_loads(self.overlaps, float(interaction.rate)))
            if errors:
                say(f"\n{table(('random memories', ''), errors)}")
            return 0
        # either of which says for what it is not derived
        found = (dense.sequence_capacity if moving else dense.capacity)(interaction)
        order = interaction.order  # type: ignore[attr-defined]
        alpha = P / float(N) ** (order - 1)
        name = "capacity of sequences" if moving else "replica-symmetric capacity"
        rows = [
            ("load alpha = M / N^(n-1)", number(alpha, 6)),
            (f"{name} alpha_c", number(found.load, 6)),
            ("the same scaled, alpha'_c", number(found.scaled, 6)),
            ("overlap there, m*", number(found.overlap, 6)),
        ]
        say(table((f"order {order}, independent memories", ""), [*rows, *errors]))
        return 0


def _fits(network: Any) -> bool:
    return isinstance(network, hx.DenseMemory | hx.DenseFlow)


def _errors(network: Any, moving: bool) -> list[tuple[str, str]]:
    """How probable errors of one step are, where it is known: rows of a table."""
    P, N = network.patterns.P, network.patterns.N
    plain = isinstance(network, hx.DenseMemory) and network.signs and network.beta is None
    plain = plain and network.learning == "hebbian" and network.update == "parallel"
    if not plain or N > _MOST_NEURONS or (network.keep_diagonal and not moving):
        return []
    if moving:
        kept = network.keep_diagonal
        found = dense.transition_recall(network.interaction, N, P, keep_diagonal=kept)
        return [
            ("a neuron errs in a transition, with probability", number(found.error)),
            ("a transition is without error", number(found.transition)),
            ("all of the sequence is", number(found.sequence)),
        ]
    found = dense.exact_recall(network.interaction, N, P)
    return [
        ("a neuron errs at a memory, with probability", number(found.error)),
        ("a memory is a fixed point", number(found.recall)),
    ]


def sequences(orders: tuple[int, ...], loads: tuple[float, ...], start: float, steps: int) -> str:
    """How sequences go on at scaled loads: edge, stationary overlap, and the overlaps of a run."""
    rows = []
    for n in orders:
        law = INTERACTIONS["power"](n)
        alpha = jnp.asarray(loads, float) / scale(law)
        fixed = dense.sequence_fixed_points(law, alpha)
        run = dense.sequence_trajectory(law, alpha, start, steps).overlap
        for load, edge, m, path in zip(loads, fixed.edge, fixed.stable, run, strict=True):
            overlaps = (number(x) for x in path[1:])
            rows.append((str(n), f"{load:g}", number(edge), number(m), *overlaps))
    head = ("order n", "alpha'", "edge m0", "m, lasting", *(f"m({t + 1})" for t in range(steps)))
    note = (
        "m is the overlap with the memory that is due, the same for power and n-body at one\n"
        "alpha'. A dash: above capacity a sequence fades."
    )
    return f"Sequences from m0 = {start:g}\n\n{table(head, rows)}\n\n{note}"


def error_free(orders: tuple[int, ...], N: int, moving: bool) -> str:
    """How many memories are recalled without any error."""
    kinds = {"transition": "a transition", "sequence": "the sequence"}
    kinds = kinds if moving else {"memory": "a fixed point"}
    rows = []
    for n in orders:
        laws = (INTERACTIONS["power"](n), INTERACTIONS["many_body"](n))
        found = (dense.error_free_capacity(law, N, what=what) for law in laws for what in kinds)
        rows.append((str(n), *map(str, found)))
    head = [f"{name}, {law}" for law in ("power", "n-body") for name in kinds.values()]
    title = f"Memories M recalled without any error with probability 1/2, N = {N}"
    return f"{title}\n\n{table(('order n', *head), rows)}"


def capacities(orders: tuple[int, ...], moving: bool = False) -> str:
    """Capacity and the overlap there, of power and n-body interactions, at rest or moving."""
    rows, capacity = [], dense.sequence_capacity if moving else dense.capacity
    for n in orders:
        power = capacity(INTERACTIONS["power"](n))
        many = capacity(INTERACTIONS["many_body"](n))
        loads = (f"{float(end.load):.6g}" for end in (power, many))
        rows.append((str(n), number(power.overlap, 6), number(power.scaled, 6), *loads))
    head = ("order n", "m*", "alpha'_c", "alpha_c, power", "alpha_c, n-body")
    note = (
        "alpha' = alpha K(1), alpha = M / N^(n-1); K(1) is (2n-3)!! for power, (n-1)! for n-body;\n"
        "m* is the overlap of the last retrieval state. n = 2 is the classical network, resummed."
    )
    title = "Capacity for sequences" if moving else "Replica-symmetric capacity"
    return f"{title}\n\n{table(head, rows)}\n\n{note}"


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
