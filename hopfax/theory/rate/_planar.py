"""The planar system of a memory: its equilibria, and whether one of them attracts everything."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._errors import as_count, as_float, check_array, check_finite
from ..._rate_activations import AbstractRateActivation
from ..._types import ArrayLike
from .._parameters import check_scalar
from .._told import takes_network
from . import _network
from ._design import Stored, checked_scalars
from ._equilibria import equilibria
from ._plane import certain


class PlanarEquilibria(NamedTuple):
    """The equilibria of the planar system by rising `active` rate; NaN in places left over.

    `active`, `silent`: rates of the two groups, shape (most,). `eigenvalues`: of the planar
    Jacobian, (most, 2), the greater one first. `exists`, `stable`: (most,). `count`: how many there
    are, also beyond `most`. `continuum`: whether there is a continuum of equilibria besides, as of
    piecewise-linear activations at special parameters; no point of it is listed or counted.

    **Example:**

    ```python
    found = hx.theory.rate.planar_equilibria(hx.HardSigmoid(), -0.3, 0.95, 0.2)
    found.count, found.stable[:3]  # 3, [True, False, True]
    ```
    """

    active: Float[Array, " most"]
    silent: Float[Array, " most"]
    eigenvalues: Float[Array, "most 2"]
    exists: Bool[Array, " most"]
    stable: Bool[Array, " most"]
    count: Int[Array, ""]
    continuum: Bool[Array, ""]


class GlobalStability(NamedTuple):
    r"""Whether every trajectory of the planar system ends in the memory.

    `stable`: the verdict: there is one equilibrium, it is stable, and its overlap lies within
    1/2 of 1. `single`: there is one equilibrium, and no continuum. `overlap`: the greatest
    $(s - c)/(\phi_b - \phi_a)$ of an equilibrium; 1 in the memory as stored, 0 in a uniform state.

    **Example:**

    ```python
    found = hx.theory.rate.globally_stable(hx.HardSigmoid(), -0.3, 0.95, 0.2)
    found.stable, found.single, found.overlap  # False, False, 1.0
    ```
    """

    stable: Bool[Array, ""]
    single: Bool[Array, ""]
    overlap: Float[Array, ""]


@takes_network(_network.memory)
def planar_equilibria(
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    saliency: ArrayLike = 1.0,
    input_active: ArrayLike = 0.0,
    input_silent: ArrayLike = 0.0,
    most: int = 9,
) -> PlanarEquilibria:
    r"""All equilibria in which the active neurons of a memory fire at one rate, s, and all others
    at one rate, c.

    With mean rate $m = q s + (1-q) c$ and saliency $\sigma$,

    $$\dot s = -s + \phi(\gamma m + \sigma \kappa (1-q)(s-c) + u_S), \qquad
    \dot c = -c + \phi(\gamma m - \sigma \kappa q (s-c) + u_C).$$

    For P = 1 the neurons of a group synchronise and every trajectory converges to one of these
    equilibria. For P > 1 (r = q or projection) they are equilibria of the network, among others. If
    one is unstable here, it is unstable in the network; stability here is not enough.

    Piecewise-linear activations: one linear system in each pair of straight pieces. Otherwise a
    scan of the current of the active group along up to three branches of that of the silent one,
    with sign changes and turning points of the residual, and bisection. Two equilibria that are
    about to vanish in a saddle-node bifurcation are told apart down to a distance of about 1e-7. A
    continuum of equilibria (a singular linear system) is left out, and `continuum` says so; a
    memory that lies on it is not stable.

    **Arguments:**

    - `phi`, `a`, `b`, `q`: as in `design`, scalars; one of the four activations of `hopfax`.
    - `saliency`: $\sigma$, 1 for the plain network.
    - `input_active`, `input_silent`: $u_S, u_C$.
    - `most`: places for equilibria, a Python int. If there are more, those nearest to the memory as
      stored are kept.

    A `RateMemory` or `InputDrivenRateMemory`, given first, stands for what it has of these.

    **Returns:** a `PlanarEquilibria`, accurate to 1e-12 in float64. Differentiable. At a kink of
    the activation its slope is that of the steeper side.

    **Raises:** ValueError as `design` does; TypeError for another activation.

    Derived here for the network of arXiv:2411.07388.

    **Example:**

    ```python
    found = hx.theory.rate.planar_equilibria(hx.HardSigmoid(), -0.3, 0.95, 0.2)
    found.active[:3]  # 0, 0.2697, 1: silence, the saddle between them, the memory
    found.silent[:3]  # 0, 0, 0
    ```
    """
    stored = checked_scalars(phi, a, b, q)
    drive = _checked_drive(stored, saliency, input_active, input_silent)
    check_array("the equilibria", 64, most=as_count(most, "most"))
    return _equilibria(stored, drive, as_count(most, "most"))


@takes_network(_network.memory)
def globally_stable(
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    saliency: ArrayLike = 1.0,
    input_active: ArrayLike = 0.0,
    input_silent: ArrayLike = 0.0,
) -> GlobalStability:
    r"""Whether a single memory attracts every start.

    The planar system descends an energy, so if it has a single equilibrium, and that is stable, it
    attracts everything. (Rates of threshold-linear neurons may grow without limit: then there is
    either a saddle beside the stable equilibrium, or the single equilibrium is unstable.)

    **Arguments:** as in `planar_equilibria`.

    A `RateMemory` or `InputDrivenRateMemory`, given first, stands for what it has of these.

    **Returns:** a `GlobalStability`, exact for P = 1. For more memories False holds for the network
    as well, True does not: without input the other memories are equilibria too.

    **Raises:** as `planar_equilibria` does.

    Derived here for the network of arXiv:2411.07388.

    **Example:**

    ```python
    phi, design = hx.HardSigmoid(), (-0.3, 0.95, 0.2)
    hx.theory.rate.globally_stable(phi, *design).stable  # False: silence is stable too
    hx.theory.rate.globally_stable(phi, *design, input_active=0.3).stable  # True
    ```
    """
    stored = checked_scalars(phi, a, b, q)
    drive = _checked_drive(stored, saliency, input_active, input_silent)
    found, made = _equilibria(stored, drive, 9), stored.made
    overlaps = (found.active - found.silent) / (made.active - made.silent)
    overlap = jnp.where(found.exists, overlaps, -jnp.inf).max()
    overlap = jnp.where(found.count > 0, overlap, jnp.nan)
    single = (found.count == 1) & ~found.continuum
    held = single & (abs(overlap - 1) < 0.5) & found.stable.any()
    return GlobalStability(held, single, overlap)


class _Drive(NamedTuple):
    """What acts on the planar system from outside."""

    saliency: Float[Array, ""]
    input_active: Float[Array, ""]
    input_silent: Float[Array, ""]


def _checked_drive(stored, saliency, input_active, input_silent) -> _Drive:
    """All of it as finite scalars of the dtype of the design."""
    values = zip((saliency, input_active, input_silent), _Drive._fields, strict=True)
    drive = _Drive(*(as_float(value, name, stored.q.dtype) for value, name in values))
    for name, value in zip(drive._fields, drive, strict=True):
        check_scalar(value, name)
        check_finite(value, name)
    return drive


def _equilibria(stored: Stored, drive: _Drive, most: int) -> PlanarEquilibria:
    phi, _, _, q, _, made = stored
    memory = (stored.b, stored.a)
    rates, values, exists, count, continuum = equilibria(
        phi, drive.saliency * made.kappa, made.gamma, q, drive[1:], memory, most
    )
    stable = exists & certain(-values[:, 0])
    return PlanarEquilibria(rates[:, 0], rates[:, 1], values, exists, stable, count, continuum)
