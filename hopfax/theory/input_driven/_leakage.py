"""Correlated memories: what a stimulus gives to others, and what memories do to each other."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._activations import HardTanh
from ..._errors import check_bool, check_shape, check_type
from ..._programs import jitted
from ..._types import ArrayLike
from .._told import takes_network
from . import _network
from ._arguments import check_saliencies, finite_floats, slope_at_zero


class Leakage(NamedTuple):
    r"""What a mixture of correlated memories does as a stimulus.

    `saliency`: (P,), $\alpha = C c$, what it gives to each memory. `undone`: (P,), $C^{-1} c$, the
    weights of the stimulus whose saliencies are $c$. `independent`: whether the memories are
    linearly independent, as that needs; `undone` is NaN where not.

    **Example:**

    ```python
    found = hx.theory.input_driven.leakage([[1.0, 0.25], [0.25, 1.0]], [2.0, 0.0])
    found.saliency, found.undone  # [2, 0.5], [2.1333, -0.5333]
    ```
    """

    saliency: Float[Array, " P"]
    undone: Float[Array, " P"]
    independent: Bool[Array, ""]


class CorrelatedRetrieval(NamedTuple):
    r"""Each memory of a correlated set, under one stimulus; all arrays have shape (P,).

    `saliency`: $\alpha$. `margin`: the least field of a neuron in the direction of the memory,
    $h_\mu$. `bound`: a lower bound on the margin that the Gram matrix alone gives. `exists`:
    whether the memory is an equilibrium, which is then stable. `factor`: the factor above which the
    stimulus has to be multiplied for that; infinite where no factor helps.

    **Example:**

    ```python
    xi = hx.patterns.hadamard(3, 16).xi.at[1, :2].multiply(-1.0)
    found = hx.theory.input_driven.correlated_retrieval(xi, [1.5, 0.5, 0.0])
    found.exists, found.margin  # [True, False, False], [1.5, 0.4688, -0.25]
    ```
    """

    saliency: Float[Array, " P"]
    margin: Float[Array, " P"]
    bound: Float[Array, " P"]
    exists: Bool[Array, " P"]
    factor: Float[Array, " P"]


@takes_network(_network.gram)
def leakage(gram: ArrayLike, weights: ArrayLike) -> Leakage:
    r"""What the stimulus $u = \sum_\mu c_\mu \xi^\mu$ gives to correlated memories, and the
    stimulus that undoes it.

    $\alpha_\nu = \xi^\nu \cdot u / N$ is $\alpha = C c$ with the Gram matrix
    $C_{\mu\nu} = \xi^\mu \cdot \xi^\nu / N$: a memory that is not in the stimulus gets the saliency
    $\sum_\mu C_{\nu\mu} c_\mu$. With the weights $C^{-1} c$, the *pseudo-inverse* stimulus
    $u = N\, \Xi^+ c$, it is exactly $\alpha = c$.

    **Arguments:** `gram`: $C$, (P, P), symmetric. `weights`: $c$, (P,). Memories or a network,
    given first, stand for their Gram matrix.

    **Returns:** a `Leakage`. Exact for any memories and any number of neurons. Differentiable.

    **Raises:** ValueError for other shapes, or numbers that are not finite.

    Saliencies: Betteti, Baggio, Bullo, Zampieri, Science Advances 2025, arXiv:2411.05849. The
    pseudo-inverse: Personnaz, Guyon, Dreyfus, J. Physique Lett. 46 (1985); its use for a stimulus
    is derived here.

    **Example:**

    ```python
    patterns = hx.patterns.correlated(jax.random.key(0), 3, 64, 0.3)
    found = hx.theory.input_driven.leakage(patterns, [2.0, 0.0, 0.0])
    patterns.overlap(patterns.field(found.undone))  # 2, 0, 0
    ```
    """
    gram, weights = finite_floats(gram=gram, weights=weights)
    check_saliencies(weights, "weights")
    check_shape(gram, "gram", (len(weights),) * 2, "(P, P)")
    return _leakage(gram, weights)


@jitted
def _leakage(gram, weights):
    least = jnp.linalg.eigvalsh(gram)[0]
    independent = least > len(weights) * jnp.finfo(gram.dtype).eps * jnp.trace(gram)
    safe = jnp.where(independent, gram, jnp.eye(len(weights), dtype=gram.dtype))
    undone = jnp.where(independent, jnp.linalg.solve(safe, weights), jnp.nan)
    return Leakage(gram @ weights, undone, independent)


@takes_network(_network.memories)
def correlated_retrieval(
    xi: ArrayLike,
    weights: ArrayLike,
    activation: HardTanh = HardTanh(),
    *,
    leaks: bool = True,
    gram: ArrayLike | None = None,
) -> CorrelatedRetrieval:
    r"""Which memories of a correlated set are stable under the stimulus
    $u = \sum_\mu c_\mu \xi^\mu$.

    In the state in which all neurons are saturated along memory $\mu$ the overlaps are
    $m_\nu = C_{\nu\mu}$, and the field of neuron i in the direction of the memory is

    $$\xi^\mu_i x_i = \alpha_\mu
    + \sum_{\nu \ne \mu} \alpha_\nu C_{\nu\mu}\, \xi^\mu_i \xi^\nu_i .$$

    With hard tanh of gain g this is an equilibrium if and only if its least value, the *margin*
    $h_\mu$, exceeds $1/g$; then all eigenvalues of the Jacobian are -1. The margin is at least
    $\alpha_\mu - \sum_{\nu \ne \mu} |\alpha_\nu C_{\nu\mu}|$, and equal to it where all
    combinations of signs occur, as with two memories. It grows in proportion to the stimulus, so
    that the memory exists from the factor $1/(g\, h_\mu)$ on.

    **Arguments:**

    - `xi`: (P, N), the memories, with entries 1 and -1.
    - `weights`: $c$, (P,).
    - `activation`: a hard tanh.
    - `leaks`: whether the stimulus is $u$, with $\alpha = C c$; False for the pseudo-inverse
        stimulus of `leakage`, with $\alpha = c$.
    - `gram`: $C$, where `xi` holds one neuron of each class and they do not count the same.

    An `InputDrivenHopfield`, or memories, given first, stand for `xi`, `gram` and `activation`.

    **Returns:** a `CorrelatedRetrieval`. Exact for any memories and any number of neurons, with
    self-couplings and Hebbian learning. Where a memory does not exist in this form, a state near
    it, with some neurons not saturated, may still be stable. (With pseudo-inverse learning the
    theory of orthogonal memories holds as it is: `retrieval`.)

    **Raises:** ValueError for other shapes, or numbers that are not finite; TypeError for another
    activation.

    Derived here for the model of Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849.

    **Example:**

    ```python
    patterns = hx.patterns.correlated(jax.random.key(0), 2, 64, 0.3)
    found = hx.theory.input_driven.correlated_retrieval(patterns, [1.0, 0.0])
    found.factor  # from which amplitudes on each memory is stable
    ```
    """
    check_type(activation, "activation", HardTanh, "a hard tanh, of which this is derived")
    check_bool(leaks, "leaks")
    xi, weights = finite_floats(xi=xi, weights=weights)
    check_saliencies(weights, "weights")
    if xi.ndim != 2 or xi.shape[0] != len(weights):
        raise ValueError(
            f"`xi` must have shape (P, N) with P = {len(weights)} as `weights` has it, but has "
            f"shape {xi.shape}."
        )
    if gram is None:
        gram = xi @ xi.T / xi.shape[1]
    (gram,) = finite_floats(gram=gram)
    check_shape(gram, "gram", (len(weights),) * 2, "(P, P)")
    return _correlated(xi, gram.astype(xi.dtype), weights, leaks, activation)


@jitted
def _correlated(xi, gram, weights, leaks, activation):
    alpha = jnp.where(leaks, gram @ weights, weights)
    margin = (xi * ((alpha[:, None] * gram).T @ xi)).min(1)
    shares = alpha[:, None] * gram  # what memory nu gives to the field in memory mu
    own = jnp.diag(shares)
    bound = own - (abs(shares).sum(0) - abs(own))
    slope = slope_at_zero(activation, margin)
    holds = margin > 0
    factor = jnp.where(holds, 1 / (slope * jnp.where(holds, margin, 1.0)), jnp.inf)
    return CorrelatedRetrieval(alpha, margin, bound, slope * margin > 1, factor)
