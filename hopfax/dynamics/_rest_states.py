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
from .._misc import wilson
from .._programs import jitted
from .._report import Report, Reported
from .._simulate import simulate
from .._types import Input, State
from ..networks import AbstractFlow, Inputs
from ._cells import Rests, rests_of
from ._reduced import Given, Reduced, checked, checked_inputs, left_out, reduced, tolerance
from ._steady import SteadyState, solved

_SAME = 1e-6  # relative distance below which two states are one
_STEPS = 128  # of Newton's method from each start
_LISTED = 24
_LEVEL = 0.95  # of the confidence intervals of shares


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RestStates(Reported):
    """The states of rest of a network, stable ones first, by their share.

    - `states`: each a `SteadyState`; `names` of them: "memory 0", "-memory 0" (its negative),
      "mixture 0 1 2", "silent" (no overlap), "spurious" (overlaps, but none above 1/4); "continuum
      of dimension 2" is one of a surface of states of rest, in the middle of it. States of
      firing rates are named by which neurons are active: those of a memory, or of any, most or all
      of a "mixture", or none ("silent"), or all ("saturated"); "weak memory 0" has the shape of the
      memory at less than half its rates, as the saddle at the edge of its basin; "uniform" is
      neither silent nor saturated; "spurious" all else.
    - `shares`: (K,) the part of the starts whose runs end there; `intervals`: (K, 2) Wilson's 95 %
      confidence intervals of these; `unsettled`: the part whose runs come to rest nowhere within
      the horizon.
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
    intervals: np.ndarray
    unsettled: float
    energies: np.ndarray | None
    exact: bool = False

    def _report(self) -> Report:
        rows = []
        for k in range(min(len(self.states), _LISTED)):
            state = self.states[k]
            kind = "stable" if state.stable else f"unstable in {state.spectrum.unstable}"
            low, high = self.intervals[k]
            text = f"{kind}, share {self.shares[k]:.3f} ({low:.3f} to {high:.3f})"
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
    size: float | None = None,
    starts: State | None = None,
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
    - `count`: how many random starts: entries of that form drawn evenly from -`size` to `size`, by
      default 1.5; rates from 0 to `size`, by default 1. In classes of equal neurons each class has
      one draw, whatever its size.
    - `starts`: states to start from in place of random ones, with one leading axis, as `jax.vmap`
      of `network.init` makes them: the shares are those of the basins among these.
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
    horizon = as_number(horizon, "horizon")
    check_at_least(horizon, "horizon", 0.0, strict=True)
    key = jax.random.key(0) if key is None else as_key(key)
    form = reduced(network, like, given)
    dtype = form.start.dtype
    if starts is None:
        draws = _drawn(network, form, as_count(count, "count"), size, key)
    else:
        draws = _given(network, like, given, starts)
    count = len(draws)
    ends, settled = _ends(network, like, given, draws, jnp.asarray(horizon, dtype))
    known = rests_of(form)
    other = known.vectors if known else np.r_[draws, _structured(form, network)]
    found = _all(network, like, given, jnp.concatenate([ends, jnp.asarray(other, dtype)]))
    vectors, good = np.asarray(found[0]), np.asarray(found[1].converged)
    index = _distinct(vectors, good) if known is None else [*range(count, len(vectors))]
    hits = np.zeros(len(index))
    belongs = _belonging(vectors[:count], vectors[index], known)
    rested = np.asarray(settled) & good[:count] & (belongs >= 0)
    np.add.at(hits, belongs[rested], 1.0)
    states = [jax.tree.map(lambda leaf, k=k: leaf[k], found[1]) for k in index]
    names = [_named(network, states[k], k, known) for k in range(len(index))]
    order = sorted(range(len(index)), key=lambda k: (not states[k].stable, -hits[k], index[k]))
    states, hits = [states[k] for k in order], hits[order]
    names = [names[k] for k in order]
    intervals = np.stack(wilson(hits, count, _LEVEL), axis=-1)
    unsettled, energies = float(1 - rested.mean()), _energies(network, states, given)
    exact = known is not None
    return RestStates(states, names, hits / count, intervals, unsettled, energies, exact)


def _drawn(
    network: AbstractFlow, form: Reduced, count: int, size: float | None, key: jax.Array
) -> Float[Array, "B n"]:
    """Random vectors of the form; rates are not negative."""
    size = (1.0 if network.nonnegative else 1.5) if size is None else as_number(size, "size")
    check_at_least(size, "size", 0.0, strict=True)
    draws = jax.random.uniform(key, (count, form.start.size), form.start.dtype, -size, size)
    if network.nonnegative:
        neurons = form.vector(jax.tree.map(jnp.zeros_like, form.core), main=1.0)
        draws = jnp.where(neurons > 0, jnp.abs(draws), draws)
    return draws


def _given(network: AbstractFlow, like: State, given: Given, starts: Any) -> Float[Array, "B n"]:
    """The vectors of a batch of states. **Raises:** ValueError for what is no such batch."""
    leaves, wanted = jax.tree.leaves(starts), jax.tree.leaves(like)
    same = jax.tree.structure(starts) == jax.tree.structure(like)
    same = same and [jnp.shape(leaf)[1:] for leaf in leaves] == [leaf.shape for leaf in wanted]
    many = {jnp.shape(leaf)[:1] for leaf in leaves}
    if not same or len(many) != 1 or many == {(0,)}:
        raise ValueError(
            "`starts` must be states of the form of `like` with one leading axis, as "
            "jax.vmap(lambda w: network.init(weights=w))(rows) makes them."
        )
    first = checked(network, jax.tree.map(lambda leaf: leaf[0], starts), "starts")
    form = reduced(network, first, given)
    if form.start.size != reduced(network, like, given).start.size:
        raise ValueError("`starts` must be states of the exact form that `like` has.")
    return jax.vmap(lambda state: reduced(network, state, given).start)(starts)


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
        # Of all neurons: classes without any have no rate in a full state.
        rate = network.vector_field(horizon, run.final, Inputs(given.stimulus, given.current))
        most = jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(rate)]).max()
        still = most < jnp.sqrt(tolerance(u.dtype))
        return last.start, still & (run.status == _status.OK)

    return jax.lax.map(end, draws, batch_size=64)


@jitted
def _all(network, like, given, vectors):
    """Newton's method from many vectors."""

    def one(u):
        form = reduced(network, like, given)
        return solved(form, u, left_out(network, form), _STEPS)

    return jax.lax.map(one, vectors, batch_size=64)


def _structured(form: Reduced, network: AbstractFlow) -> np.ndarray:
    """Starts at each memory, its negative, and mixtures of two and three; and at zero. Of rates
    those of all neurons, and of neurons that are active in any, most or all parts of a mixture."""
    P, sites, shape = network.patterns.P, form.system.sites, form.core.main.shape
    xi = np.eye(P) if sites is None else np.asarray(sites.xi)
    if shape != xi.shape[1:]:
        return np.zeros((1, form.start.size))
    few = range(min(P, 8))
    sets = [{j} for j in range(P)]
    sets += [{i, j} for i in few for j in few if i < j]
    sets += [{i, j, k} for i in few for j in few for k in few if i < j < k]
    none = jax.tree.map(jnp.zeros_like, form.core)
    rows = [form.vector(none)]
    if network.nonnegative:
        rows.append(form.vector(none, main=1.0))
    for members in sets:
        part = np.zeros(P)
        part[sorted(members)] = 1.0 / len(members)
        mean = part @ xi
        levels = np.unique(mean[mean > 0]) if network.nonnegative else np.zeros(0)
        mains = [mean >= level for level in levels] or [mean, -mean]
        for main in mains:
            slow = part if network.nonnegative or main is mean else -part
            rows.append(form.vector(none, main=main, slow=slow))
    return np.unique(np.stack([np.asarray(row) for row in rows]), axis=0)


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


def _named(network: AbstractFlow, state: SteadyState, place: int, known: Rests | None) -> str:
    """What a state is, also if it is one of a continuum."""
    if known and known.dimensions[place]:
        return f"continuum of dimension {known.dimensions[place]}"
    return network.resting(state.state)


def _energies(
    network: AbstractFlow, states: Sequence[SteadyState], given: Given
) -> np.ndarray | None:
    inputs = Inputs(given.stimulus, given.current)
    try:
        return np.array([float(network.energy(state.state, inputs)) for state in states])
    except (ValueError, NotImplementedError):
        return None
