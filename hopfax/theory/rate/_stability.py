"""Stability of a memory in the plane of its groups, and of the balanced set in all directions."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation, steepest
from ..._types import ArrayLike
from ._design import Stored, checked_design
from ._plane import certain, couplings, eigenvalues


class Stability(NamedTuple):
    r"""Stability of a memory in the plane of its groups; NaN and False where no design exists.

    `kappa`, `gamma`: as in `Design`. `slope_silent`, `slope_active`: $\phi'(a), \phi'(b)$, at a
    kink those of the steeper side.
    `trace`, `determinant`: T and $\Delta$ of $D_\phi W$ in the plane. `block`: the greater
    eigenvalue of the Jacobian there, negative where it is stable. `sufficient`: the published
    condition for stability (any P). `unstable`: the published condition for instability (any P).
    `unstable_active`: a simpler condition for instability, from the active group alone (any P).

    **Example:**

    ```python
    found = hx.theory.rate.stability(hx.Logistic(), -0.3, 0.95, 0.2)
    found.block, found.sufficient, found.unstable  # -0.9999, True, False
    ```
    """

    kappa: Float[Array, "..."]
    gamma: Float[Array, "..."]
    slope_silent: Float[Array, "..."]
    slope_active: Float[Array, "..."]
    trace: Float[Array, "..."]
    determinant: Float[Array, "..."]
    block: Float[Array, "..."]
    sufficient: Bool[Array, "..."]
    unstable: Bool[Array, "..."]
    unstable_active: Bool[Array, "..."]


class BalancedSpectrum(NamedTuple):
    r"""Eigenvalues of the Jacobian at a memory of the balanced set.

    `block`: the two of the plane, shape (..., 2), the greater one first. `active`:
    $\kappa \phi'(b) - 1$, once. `silent`: $\kappa \phi'(a) - 1$, P - 2 times. All others are -1.
    `greatest`: the largest of all, `stable` whether it is negative by more than rounding.

    **Example:**

    ```python
    found = hx.theory.rate.balanced_spectrum(hx.Logistic(), 0.1, 0.95, 0.2)
    found.greatest, found.stable  # -0.5695, True
    ```
    """

    block: Float[Array, "... 2"]
    active: Float[Array, "..."]
    silent: Float[Array, "..."]
    greatest: Float[Array, "..."]
    stable: Bool[Array, "..."]


def stability(phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, q: ArrayLike) -> Stability:
    r"""Stability of a memory against perturbations of its active and of its silent group.

    On span$\{1_S, 1_{S^c}\}$, with $d = \phi'$, $D_\phi W$ acts as

    $$\begin{pmatrix} d_b (\gamma q + \kappa (1-q)) & d_b (\gamma - \kappa)(1-q) \\
    d_a (\gamma - \kappa) q & d_a (\gamma (1-q) + \kappa q) \end{pmatrix}, \qquad
    \Delta = d_a d_b \kappa \gamma,$$

    with real eigenvalues. They are below 1 if and only if $1 - T + \Delta > 0$ and $T < 2$.
    Conditions for any P: stable if $\max(d_a, d_b) \max(\kappa, \gamma) < 1$; unstable if

    $$q (\gamma - \kappa)(d_b - d_a) - (1 - d_b \kappa)(1 - d_a \gamma) > 0
    \quad \text{(published), or if} \quad d_b (\gamma q + \kappa (1-q)) > 1.$$

    The published condition is $1 - T + \Delta < 0$: a single eigenvalue above 1. The other one
    finds cases with two eigenvalues above 1 as well.

    **Arguments:** as in `design`, with r = q or for projection.

    **Returns:** a `Stability`, broadcast over a, b and q. A negative `block` means stability for
    P = 1; for more memories it is necessary, not sufficient.

    **Raises:** ValueError as `design` does.

    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388, for the first two conditions; the
    block and the last condition are derived here.

    **Example:**

    ```python
    hx.theory.rate.stability(hx.Logistic(), np.array([-0.3, 0.1]), 0.95, 0.2).block
    # -0.9999, -0.5695: silent neurons near the threshold make a memory less stable
    ```
    """
    return plane_stability(checked_design(phi, a, b, q))


@jitted
def plane_stability(stored: Stored) -> Stability:
    phi, a, b, q, _, made = stored
    kappa, gamma = made.kappa, made.gamma
    silent, active = (jnp.where(made.exists, steepest(phi, v), jnp.nan) for v in (a, b))
    between = couplings(kappa, gamma, q)
    trace = active * between.A + silent * between.E
    determinant = active * silent * kappa * gamma
    block = eigenvalues(between, active, silent)[0]
    sufficient = certain(1 - jnp.maximum(active, silent) * jnp.maximum(kappa, gamma))
    lost = q * (gamma - kappa) * (active - silent)
    unstable = certain(lost - (1 - active * kappa) * (1 - silent * gamma))
    return Stability(
        kappa,
        gamma,
        silent,
        active,
        trace,
        determinant,
        jnp.where(made.exists, block, jnp.nan),
        sufficient,
        unstable,
        certain(active * between.A - 1),
    )


def balanced_spectrum(
    phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, q: ArrayLike
) -> BalancedSpectrum:
    r"""All eigenvalues of the Jacobian at a memory of the balanced set, in closed form.

    The balanced set has $P = 1 + 1/q$ memories with r = q: a core of $q^2 N$ neurons that are
    active in all memories, and $q (1-q) N$ blocks of P neurons, in each of which neuron $\mu$ is
    active in memory $\mu$ alone. A memory does not change when the P - 1 silent neurons of a block
    are permuted, in all blocks at once. On vectors of these silent neurons that depend only on the
    place in the block and have mean 0, $D_\phi W$ is $\kappa \phi'(a)$; on the vector that tells
    the core from the other active neurons it is $\kappa \phi'(b)$; what remains is the planar block
    of `stability`.

    **Arguments:** as in `design`. The set exists where 1/q is a whole number; in between the
    formula interpolates.

    **Returns:** a `BalancedSpectrum`, broadcast over a, b and q.

    **Raises:** ValueError as `design` does.

    Set: Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388; spectrum derived here.

    **Example:**

    ```python
    found = hx.theory.rate.balanced_spectrum(hx.Logistic(), 0.1, 0.95, 0.2)
    found.block, found.active, found.silent  # [-0.5695, -0.9999], -0.9999, -0.6825
    ```
    """
    return balanced(checked_design(phi, a, b, q))


@jitted
def balanced(stored: Stored) -> BalancedSpectrum:
    phi, a, b, q, _, made = stored
    silent, active = steepest(phi, a), steepest(phi, b)
    block = jnp.stack(eigenvalues(couplings(made.kappa, made.gamma, q), active, silent), -1)
    active, silent = made.kappa * active - 1, made.kappa * silent - 1
    block = jnp.where(made.exists[..., None], block, jnp.nan)
    greatest = jnp.maximum(block[..., 0], jnp.maximum(active, silent))
    return BalancedSpectrum(block, active, silent, greatest, certain(-greatest))
