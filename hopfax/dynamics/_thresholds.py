"""The gain at which a sequence is born: the end of the stable orbit, exactly."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _status
from .._errors import SimulationError, check_option
from .._report import Report, Reported
from .._types import Network, State, is_concrete
from ..networks import TwoTimescaleHopfield, TwoTimescaleRateMemory, check_kind
from ._curves import Branch, Special
from ._fold_near import fold_near
from ._orbit import Orbit, orbit
from ._orbit_branch import orbit_branch
from ._reduced import checked, reduced
from ._shooting import relabelling

_CLIMBS = 6  # gains that are tried for a first orbit
_CLIMB = 1.3  # the factor between them
_BELOW = 1e-3  # how far below the end of an orbit is looked for another one, relative
_ORBITS = 6  # orbits that are followed, one after another
_LOWEST = 0.2  # of the gain of the first orbit: how far down it is looked


class _Gains(eqx.Module):
    """A network as a function of its mean gain; unequal gains keep their ratios."""

    network: Network

    def __call__(self, value: Any) -> Network:
        gains = self.network.kappa
        ratio = gains / jnp.mean(gains)
        return eqx.tree_at(lambda n: n.kappa, self.network, value * ratio)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Threshold(Reported):
    """Where the sequence of a network begins, in its gain.

    - `gain`: the lowest gain of a stable orbit; the mean gain where gains are unequal, which keep
      their ratios. Differentiable in the network.
    - `network`: whose threshold it is.
    - `end`: what happens there, a special point: a fold, a period doubling, ...
    - `orbit`: the stable orbit that it was followed from.
    - `branches`: the branches of orbits, the last one that which ends lowest; their folds are all
      that were met.
    - `below`: what a simulation does just below, in words.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
    found = hx.dynamics.critical_gain(network)
    found.gain  # 3.2169484849
    found.end.kind  # fold
    ```
    """

    gain: Float[Array, ""]
    network: Network
    end: Special
    orbit: Orbit
    branches: Sequence[Branch]
    below: str

    def near(
        self, network: Network, *, derivative: Literal["reverse", "forward"] = "reverse"
    ) -> Float[Array, ""]:
        r"""The same threshold of a network that differs in its parameters, without a search.

        Newton's method on the equations of the fold, from this one: works under `jax.jit`, and has
        derivatives in every parameter, so that a loss can hold a network at a distance from its
        threshold while it is fitted. Where one leap fails, all parameters are moved together in
        smaller ones. A fold that lies beyond another one, or on another orbit, is not found, and
        whether the sequence dies below is not looked at.

        **Arguments:**

        - `network`: of the same family, sizes and options.
        - `derivative`: in which mode it can be differentiated, "reverse" or "forward".

        **Returns:** its critical gain, NaN within a program where none was found.

        **Raises:** ValueError if this threshold is no fold, or for another kind of network;
        `SimulationError` where none was found and values are at hand.

        **Example:**

        ```python
        patterns = hx.patterns.hadamard(4, 16)
        network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
        found = hx.dynamics.critical_gain(network)
        other = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=90.0, bias=0.01)
        found.near(other)  # 3.1973741
        ```
        """
        if self.end.kind != "fold":
            raise ValueError(
                f"the sequence ends in a {self.end.kind}; only a fold can be followed to other "
                "networks, and has derivatives. Call critical_gain for each network."
            )
        check_option(derivative, "derivative", ("reverse", "forward"))
        check_kind(network, type(self.network))
        mine, others = (jax.tree.map(jnp.shape, one) for one in (self.network, network))
        if jax.tree.structure(mine) != jax.tree.structure(others) or mine != others:
            raise ValueError(
                "`network` must have the sizes and options of the network whose threshold this is; "
                f"got {network}, not like {self.network}."
            )
        dtype, end = network.patterns.dtype, self.end
        with jax.ensure_compile_time_eval():
            places = relabelling(reduced(self.network, end.state), end.order)
        u, time, gain = (
            jnp.asarray(value, dtype) for value in (end.vector[:-1], end.returns, end.parameter)
        )
        gains = _Gains(self.network), _Gains(network)
        found = fold_near(*gains, end.state, places, u, time, gain, derivative)
        if is_concrete(found) and not np.isfinite(found):
            raise SimulationError(
                f"the fold at {end.parameter:.6g} could not be followed to this network: on the "
                "way it ends, or an event bends it sharply. Search anew by critical_gain.",
                _status.SOLVER_FAILED,
            )
        return found

    def _report(self) -> Report:
        value = f"{float(self.gain):.12g}" if is_concrete(self.gain) else str(self.gain)
        rows = [("critical gain", value), ("what happens there", self.end.kind)]
        folds = [f"{fold:.10g}" for branch in self.branches for fold in branch.folds()]
        if len(folds) > 1:
            rows.append(("folds that were met", ", ".join(folds)))
        return Report("", [*rows, ("just below", self.below)])


def critical_gain(
    network: Network,
    start: State | None = None,
    *,
    horizon: float | None = None,
    step: float = 0.05,
    until: str | None = None,
) -> Threshold:
    r"""The gain $\kappa_c$ below which a network of two timescales has no stable sequence.

    No asymptotics: at any $\tau$, bias and transition matrix the sequence is a closed orbit, and
    $\kappa_c$ is where that orbit meets an unstable one and ends (a fold), or loses its stability
    before. A stable orbit is simulated, at the network's gain or a higher one, and followed
    downwards (`orbit_branch`). Just below its end a run begins on it: if the run settles on another
    orbit, that one is followed in its turn, until a run dies. `hopfax.theory.sequential.
    critical_gain` is the limit of this for $\tau \to \infty$ and a vanishing bias; of rate memories
    it is that times their critical saliency (`hopfax.theory.rate.critical_saliency_planar`).

    The derivative of $\kappa_c$ in every parameter comes from the implicit function theorem: with
    the left null vector $w$ of the orbit's equations $F$ at the fold, $d\kappa_c = -w \cdot
    \partial_\theta F\, d\theta / w \cdot \partial_\kappa F$. So `jax.grad` of a function of this
    one works; `jax.jit` does not, as the search decides by values: `Threshold.near` does.

    **Arguments:**

    - `network`: a `TwoTimescaleHopfield` or `TwoTimescaleRateMemory`. Unequal gains keep their
      ratios.
    - `start`: where the sequence begins; by default the saliency of memory 0 is the gain.
    - `horizon`: as of `hopfax.dynamics.orbit`.
    - `step`: the longest step of the branch, as a part of 80 % of the gain.
    - `until`: "fold" to leave out the unstable orbits behind a fold, which costs less; by default
      they are in `branches`, with the folds that they meet.

    **Returns:** a `Threshold`.

    **Raises:** ValueError/TypeError for bad arguments; `SimulationError` if no stable orbit is
    found, at the gain of the network or up to 3.7 times it, or if its end is not met.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
    hx.dynamics.critical_gain(network).gain  # 3.2169484849, in the limit 3.6107
    ```
    """
    check_kind(network, (TwoTimescaleHopfield, TwoTimescaleRateMemory))
    check_option(until, "until", (None, "fold"))
    traced = network
    network = jax.tree.map(jax.lax.stop_gradient, network)
    if not all(map(is_concrete, jax.tree.leaves(network))):
        raise TypeError(
            "`network` is traced: critical_gain decides by values and works outside of jax.jit and "
            "jax.vmap only; jax.grad and jax.jvp of it are fine."
        )
    if start is not None:
        start = checked(network, start, "start")
    make, dtype = _Gains(network), network.patterns.dtype
    gain, first = _first(network, start, horizon)
    branches: list[Branch] = []
    current, at = first, gain
    while True:
        reached = orbit_branch(make, current, (at, _LOWEST * gain), step=step, until=until)
        branches.append(reached)
        end = _end(reached)
        if end is None:
            raise SimulationError(
                f"the orbit was not followed to its end: from a gain of {at:.6g} on it loses its "
                f"stability at no special point that was met; {reached.ended}.",
                _status.SOLVER_FAILED,
            )
        at = end.parameter * (1 - _BELOW)
        further = orbit(make(at), end.state, horizon=horizon, throw=False)
        if not (further.converged and further.stable):
            below = "the sequence dies"
        elif len(branches) == _ORBITS:
            below = f"there is another stable orbit; {_ORBITS} were followed"
        else:
            current = further
            continue
        found = Threshold(jnp.asarray(end.parameter, dtype), network, end, first, branches, below)
        if all(map(is_concrete, jax.tree.leaves(traced))):
            return found
        return dataclasses.replace(found, gain=found.near(traced))


def _first(network: Network, start: State | None, horizon: Any) -> tuple[float, Orbit]:
    """The lowest gain that was tried at which there is a stable orbit, and that orbit."""
    make, gain = _Gains(network), float(jnp.mean(network.kappa))
    if not gain > 0:
        raise ValueError("`network` has no gain: `kappa` must be > 0 to begin with.")
    for k in range(_CLIMBS):
        here = make(jnp.asarray(gain * _CLIMB**k, network.patterns.dtype))
        begin = start
        if begin is None:
            saliency = jnp.zeros(network.patterns.P, network.patterns.dtype)
            begin = here.init(saliency=saliency.at[0].set(gain * _CLIMB**k))
        found = orbit(here, begin, horizon=horizon, throw=False)
        if found.converged and found.stable:
            return gain * _CLIMB**k, found
    raise SimulationError(
        f"no stable sequence was found at gains from {gain:.4g} to "
        f"{gain * _CLIMB ** (_CLIMBS - 1):.4g}, so there is no threshold to follow it to. Look at "
        "a run: `transition` may be no cycle, `bias` 0, or the sequence not periodic; `start` and "
        "`horizon` say where to look.",
        _status.SOLVER_FAILED,
    )


def _end(branch: Branch) -> Special | None:
    """The special point at which a stable branch loses its stability: next to the last stable point
    of its first part, or the first unstable one."""
    lost = np.flatnonzero(~branch.stable)
    if not lost.size:  # it may end in the fold itself, where rounding says which
        return next((p for p in branch.special if (p.vector == branch.vectors[-1]).all()), None)
    around = {int(lost[0]) - 1, int(lost[0])}
    for point in branch.special:
        distance = np.abs(branch.vectors - point.vector).sum(1)
        if around & set(np.argsort(distance)[:2].tolist()):
            return point
    return None
