"""States of rest, all that there are or that a search finds, with names, shares and spectra."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _status
from .._errors import as_count, as_key, as_number, check_at_least
from .._programs import jitted
from .._report import Report, Reported
from .._simulate import simulate
from .._types import Input, State
from ..networks import AbstractFlow, Inputs
from ._cells import Rests, rests_of
from ._reduced import Given, checked, checked_inputs, left_out, reduced, tolerance
from ._steady import SteadyState, solved

_SAME = 1e-6  # relative distance below which two states are one
_STEPS = 128  # of Newton's method from each start
_RETRIEVED = 0.5  # the overlap of a memory that is retrieved
_MIXED = 0.25  # the least overlap of a part of a mixture
_SILENT = 1e-3  # below it no memory is there
_LISTED = 24


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RestStates(Reported):
    """The states of rest of a network, stable ones first, by their share.

    - `states`: each a `SteadyState`; `names` of them: "memory 0", "-memory 0" (its negative),
      "mixture 0 1 2", "silent" (no overlap), "spurious" (overlaps, but none above 1/4). "continuum
      of dimension 2" is one of a surface of states of rest, in the middle of it.
    - `shares`: (K,) the part of the random starts whose runs end there; `unsettled`: the part whose
      runs come to rest nowhere within the horizon.
    - `energies`: (K,) where the network has an energy, else None.
    - `exact`: whether these are all that there are; else a search found them.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.Tanh(2.0))
    found = hx.dynamics.rest_states(network, network.init(weights=[1.0, 0.0]), count=32)
    found.names  # memory 0, -memory 0, memory 1, -memory 1, mixtures, silent
    ```
    """

    states: Sequence[SteadyState]
    names: Sequence[str]
    shares: np.ndarray
    unsettled: float
    energies: np.ndarray | None
    exact: bool = False

    def _report(self) -> Report:
        rows = []
        for k in range(min(len(self.states), _LISTED)):
            state = self.states[k]
            kind = "stable" if state.stable else f"unstable in {state.spectrum.unstable}"
            text = f"{kind}, share {self.shares[k]:.3f}"
            if self.energies is not None:
                text += f", energy {self.energies[k]:.6g}"
            rows.append((self.names[k], text))
        tail = [f"  and {len(self.states) - _LISTED} more"] if len(self.states) > _LISTED else []
        if self.unsettled:
            tail.append(f"  {self.unsettled:.3f} of the runs did not come to rest")
        title = f"{len(self.states)} states of rest"
        return Report(f"all {title}" if self.exact else title, rows, tail=tail)


def rest_states(
    network: AbstractFlow,
    like: State,
    *,
    count: int = 256,
    size: float = 1.5,
    horizon: float = 200.0,
    stimulus: Input = None,
    current: Input = None,
    key: jax.Array | None = None,
) -> RestStates:
    r"""All states of rest of a small network with hard tanh; else those that a search finds.

    `count` random starts are simulated in the smallest exact form, and where they come to rest is
    refined by Newton's method: these are the attractors, and their shares are those of the basins
    among such starts. Newton's method alone, from the same starts, from each memory, its negative
    and mixtures of up to three, finds unstable states beside them. There may be more: a search
    proves nothing about what it did not find.

    With hard tanh and couplings that do not change (no slow equation) the flow is linear in each
    cell of neurons that are saturated or not, so that a cell holds one state of rest, none, or,
    where its equation is singular, a continuum of them. For up to 8 classes of neurons, which
    four memories have, all $3^8$ cells are solved, and nothing is missed (`exact`). A continuum
    is told once for each cell.

    **Arguments:**

    - `network`: the network. `like`: any state of it, which tells the form (`weights` for the span
      of the memories).
    - `count`: how many random starts: entries drawn evenly from -`size` to `size`.
    - `horizon`: how long each is simulated, in fast time constants.
    - `stimulus`, `current`: constant inputs, (N,).
    - `key`: for the random starts; by default `jax.random.key(0)`.

    **Returns:** `RestStates`.

    **Raises:** ValueError/TypeError for bad arguments.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.HardTanh(2.0))
    found = hx.dynamics.rest_states(network, network.init(weights=[1.0, 0.0]), count=32)
    found.exact, len(found.states)  # True, 9
    found.shares[:4].sum()  # 1: all runs end in a memory or its negative
    ```
    """
    like = checked(network, like, "like")
    given = checked_inputs(network, stimulus, current)
    count, size = as_count(count, "count"), as_number(size, "size")
    check_at_least(size, "size", 0.0, strict=True)
    horizon = as_number(horizon, "horizon")
    check_at_least(horizon, "horizon", 0.0, strict=True)
    key = jax.random.key(0) if key is None else as_key(key)
    form = reduced(network, like, given)
    shape, dtype = (count, form.start.size), form.start.dtype
    draws = jax.random.uniform(key, shape, dtype, -size, size)
    ends, settled = _ends(network, like, given, draws, jnp.asarray(horizon, dtype))
    known = rests_of(form)
    other = known.vectors if known else np.r_[draws, _structured(form, network.patterns.P)]
    found = _all(network, like, given, jnp.concatenate([ends, jnp.asarray(other, dtype)]))
    vectors, good = np.asarray(found[0]), np.asarray(found[1].converged)
    index = _distinct(vectors, good) if known is None else [*range(count, len(vectors))]
    shares = np.zeros(len(index))
    belongs = _belonging(vectors[:count], vectors[index], known)
    rested = np.asarray(settled) & good[:count] & (belongs >= 0)
    np.add.at(shares, belongs[rested], 1.0 / count)
    states = [jax.tree.map(lambda leaf, k=k: leaf[k], found[1]) for k in index]
    names = [_named(states[k], k, known) for k in range(len(index))]
    order = sorted(range(len(index)), key=lambda k: (not states[k].stable, -shares[k], index[k]))
    states, names = [states[k] for k in order], [names[k] for k in order]
    energies = _energies(network, states, given)
    unsettled = float(1 - rested.mean())
    return RestStates(states, names, shares[order], unsettled, energies, known is not None)


@jitted
def _ends(network, like, given, draws, horizon) -> tuple[Float[Array, "B n"], Array]:
    """Where the runs of random starts end, and whether they have come to rest."""

    def end(u):
        form = reduced(network, like, given)
        run = simulate(
            network,
            form.state(u),
            jnp.stack([jnp.zeros_like(horizon), horizon]),
            stimulus=given.stimulus,
            current=given.current,
            throw=False,
        )
        last = reduced(network, run.final, given)
        still = jnp.abs(last.rate(last.start)).max() < jnp.sqrt(tolerance(u.dtype))
        return last.start, still & (run.status == _status.OK)

    return jax.lax.map(end, draws, batch_size=64)


@jitted
def _all(network, like, given, vectors):
    """Newton's method from many vectors."""

    def one(u):
        form = reduced(network, like, given)
        return solved(form, u, left_out(network, form), _STEPS)

    return jax.lax.map(one, vectors, batch_size=64)


def _structured(form: Any, P: int) -> np.ndarray:
    """Starts at each memory, its negative, and mixtures of two and three; and at zero."""
    n = form.start.size
    if n % P:
        return np.zeros((1, n))
    few = range(min(P, 8))
    sets = [{j} for j in range(P)]
    sets += [{i, j} for i in few for j in few if i < j]
    sets += [{i, j, k} for i in few for j in few for k in few if i < j < k]
    rows = [np.zeros(n)]
    for members in sets:
        row = np.zeros((n // P, P))
        row[:, sorted(members)] = 1.0 / len(members)
        rows += [row.ravel(), -row.ravel()]
    return np.stack(rows)


def _distinct(vectors: np.ndarray, good: np.ndarray) -> list[int]:
    """The first of each group of equal vectors."""
    kept: list[int] = []
    for k in np.flatnonzero(good):
        if not kept or _nearest(vectors[k][None], vectors[kept])[0] < 0:
            kept.append(int(k))
    return kept


def _nearest(vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Which of `to` each vector is; -1 for none."""
    if not len(to):
        return np.full(len(vectors), -1)
    distance = np.abs(vectors[:, None] - to[None]).max(-1)
    scale = np.maximum(1.0, np.abs(to).max(-1))
    best = np.argmin(distance / scale, axis=1)
    near = distance[np.arange(len(vectors)), best] < _SAME * scale[best]
    return np.where(near, best, -1)


def _belonging(vectors: np.ndarray, to: np.ndarray, known: Rests | None) -> np.ndarray:
    """Which of `to` each vector is, or in which continuum of those `known` it lies; -1 for none."""
    belongs = _nearest(vectors, to)
    if known:
        for k in np.flatnonzero(known.dimensions).tolist():
            belongs[(belongs < 0) & known.holds(vectors, k)] = k
    return belongs


def _named(state: SteadyState, place: int, known: Rests | None) -> str:
    """What a state is, also if it is one of a continuum."""
    if known and known.dimensions[place]:
        return f"continuum of dimension {known.dimensions[place]}"
    return name_of(np.asarray(state.overlaps))


def name_of(overlaps: np.ndarray) -> str:
    """What a state is, by its overlaps."""
    sizes = np.abs(overlaps)
    if sizes.max() < _SILENT:
        return "silent"
    parts = np.flatnonzero(sizes > _MIXED)
    if not parts.size:
        return "spurious"
    top = int(np.argmax(sizes))
    if parts.size == 1 or (sizes[top] > _RETRIEVED and np.sort(sizes)[-2] < sizes[top] / 2):
        return f"{'-' if overlaps[top] < 0 else ''}memory {top}"
    signed = [f"{'-' if overlaps[k] < 0 else ''}{k}" for k in parts]
    return f"mixture {' '.join(signed)}"


def _energies(
    network: AbstractFlow, states: Sequence[SteadyState], given: Given
) -> np.ndarray | None:
    inputs = Inputs(given.stimulus, given.current)
    try:
        return np.array([float(network.energy(state.state, inputs)) for state in states])
    except (ValueError, NotImplementedError):
        return None
