"""The energies of two wells in one stimulus, and of the saddle between them."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import check_at_least
from ..._programs import jitted
from ..._types import ArrayLike
from .._told import takes_network
from . import _network
from ._amplitude import amplitude as amplitude_of
from ._arguments import check_activation, finite_floats, inverse_size
from ._competition import checked_part
from ._plane import energy, saddle


class Barrier(NamedTuple):
    r"""Energies per neuron, that of the origin being 0.

    `first`, `second`: at the two memories; `first_exists`, `second_exists`: whether they are
    equilibria, NaN where not. `saddle`: at the mixture between them; `overlaps`: (..., 2), its
    overlaps with the two; `from_first`, `from_second`: the height of the saddle above each well.
    `exists`: whether both memories are stable, so that there is a saddle between them; these are
    NaN where not.

    **Example:**

    ```python
    found = hx.theory.input_driven.barrier(0.5, 4.0)
    found.first, found.saddle, found.from_first  # -0.5, -0.25, 0.25
    ```
    """

    first: Float[Array, "..."]
    second: Float[Array, "..."]
    saddle: Float[Array, "..."]
    overlaps: Float[Array, "... 2"]
    from_first: Float[Array, "..."]
    from_second: Float[Array, "..."]
    first_exists: Bool[Array, "..."]
    second_exists: Bool[Array, "..."]
    exists: Bool[Array, "..."]


@takes_network(_network.pair)
def barrier(
    s: ArrayLike,
    amplitude: ArrayLike,
    activation: AbstractActivation = HardTanh(),
    *,
    N: int | float = math.inf,
) -> Barrier:
    r"""Energies of two memories, and of the saddle between them, under the stimulus
    $u = A\, [(1-s)\, \xi^1 + s\, \xi^2]$.

    The energy per neuron that the fast flow descends is

    $$\frac EN = \frac1N \sum_i \int_0^{\psi(x_i)} \psi^{-1}(v)\, dv
    - \frac12 \sum_\mu \alpha_\mu m_\mu^2 .$$

    Whatever is at rest is a mixture $x = a_1 \xi^1 + a_2 \xi^2$ of the two. Where both memories are
    stable, the saddle is the mixture in which the neurons that agree in both memories, of field p,
    are active, and those that do not have the field q,

    $$p = \tfrac{\alpha_1 + \alpha_2}{2} \psi(p) + \tfrac{\alpha_1 - \alpha_2}{2} \psi(q), \qquad
    q = \tfrac{\alpha_1 - \alpha_2}{2} \psi(p) + \tfrac{\alpha_1 + \alpha_2}{2} \psi(q) .$$

    Hard tanh of gain g: $q = -(\alpha_1 - \alpha_2)/(g (\alpha_1 + \alpha_2) - 2)$, and

    $$\frac{E_\mu}N = -\frac{\alpha_\mu - 1/g}{2}, \qquad
    \frac{E_{saddle} - E_\mu}N = \frac{(\alpha_\mu - 1/g)^2}{2\,(\alpha_1 + \alpha_2 - 2/g)} .$$

    **Arguments:**

    - `s`: the part of memory 2, from 0 to 1.
    - `amplitude`: $A > 0$.
    - `activation`: $\psi$, concave on the positive side.
    - `N`: the number of neurons without self-couplings, as in `retrieval`: $\alpha_\mu - A/N$
        stands in place of $\alpha_\mu$.

    An `InputDrivenHopfield` of orthogonal memories, given first, stands for activation and `N`.

    **Returns:** a `Barrier`, broadcast over `s` and `amplitude`, and exact for any number of
    neurons, as long as no other memory is in the stimulus. Differentiable. A barrier is no rate:
    additive noise does not sample $e^{-E/T}$ of this energy, so escape times do not follow from it.

    **Raises:** ValueError for `s` outside [0, 1] or an amplitude that is not positive, and for a
    network whose memories are not orthogonal; TypeError for no activation.

    Energy: Hopfield, PNAS 81 (1984), and Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849; saddle and barriers are derived here.

    **Example:**

    ```python
    hx.theory.input_driven.barrier(0.6, 4.0).from_first  # 0.09 = (1.6 - 1)^2 / (2 (4 - 2))
    hx.theory.input_driven.barrier(0.8, 4.0).exists  # False: memory 1 is no equilibrium
    ```
    """
    s, amplitude = finite_floats(s=s, amplitude=amplitude)
    check_activation(activation)
    check_at_least(amplitude, "amplitude", 0.0, strict=True)
    amplitude = jnp.where(amplitude > 0, amplitude, jnp.nan)
    return _barrier(checked_part(s), amplitude, inverse_size(N), activation)


@jitted
def _barrier(s, A, share, activation):
    s, A = jnp.broadcast_arrays(s, A)
    alpha, beta = A * (1 - s - share), A * (s - share)
    first, first_exists = _well(alpha, activation)
    second, second_exists = _well(beta, activation)
    overlaps, fields, exists = saddle(alpha, beta, activation)
    mixed = energy(jnp.maximum(alpha, beta), jnp.minimum(alpha, beta), fields, activation)
    mixed = jnp.where(exists, mixed, jnp.nan)
    overlaps = jnp.where(exists[..., None], overlaps, jnp.nan)
    heights = mixed - first, mixed - second
    there = first_exists, second_exists, exists
    return Barrier(first, second, mixed, overlaps, *heights, *there)


def _well(alpha, activation):
    """Energy of a memory, and whether it is an equilibrium."""
    a, exists = amplitude_of(alpha, activation)
    value = energy(alpha, 0 * alpha, jnp.stack([a, a], -1), activation)
    return jnp.where(exists, value, jnp.nan), exists
