"""Rate memories that obey Dale's law: excitatory weights and one global inhibitory unit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from ..._errors import as_float, check_at_least, check_finite
from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation, steepest
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar
from ._design import checked_design
from ._plane import certain, couplings, root
from ._weights import (
    Memories,
    at_memory,
    checked_index,
    checked_memories,
    factors,
    general_eigenvalues,
    greatest_of_all,
)


class DaleEigenvalues(NamedTuple):
    r"""Eigenvalues of the Jacobian of rates and inhibitory unit, on the span of the weights and the
    unit; all others are -1.

    `eigenvalues`: by falling real part, shape (P+2,), complex. `greatest`: the largest real part of
    the whole Jacobian, `stable` whether it is negative by more than rounding. `residual`: as in
    `MemoryEigenvalues`. If the memory is no equilibrium, the eigenvalues are NaN and `stable` is
    False.

    **Example:**

    ```python
    xi = hx.patterns.balanced(0.2, 25).xi
    found = hx.theory.rate.dale_eigenvalues(xi, hx.Logistic(), -0.3, 0.95, 0, tau=5.0)
    found.eigenvalues.shape, found.stable  # (8,), True
    ```
    """

    eigenvalues: Inexact[Array, " P+2"]
    greatest: Float[Array, ""]
    stable: Bool[Array, ""]
    residual: Float[Array, ""]


def dale_inhibition(
    xi: ArrayLike,
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    learning: str = "projection",
) -> Float[Array, ""]:
    r"""Smallest strength c of a global inhibitory unit for which all other weights are excitatory.

    $$c = N \max(0, -\min_{ij} W_{ij}), \qquad W_E = W + \frac cN 1 1^T \ge 0.$$

    **Arguments:** as in `memory_eigenvalues`.

    **Returns:** c; for the balanced set it is $\max(0, \kappa - \gamma)$. The cost is $P n^2$ for n
    distinct columns of `xi`; under `jit`, where columns cannot be compared, n = N.

    **Raises:** as `memory_eigenvalues` does.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    xi = hx.patterns.balanced(0.2, 25).xi
    hx.theory.rate.dale_inhibition(xi, hx.Logistic(), -0.3, 0.95)  # 1.5000 = kappa - gamma
    ```
    """
    return _inhibition(checked_memories(xi, phi, a, b, learning))


def dale_jacobian(
    xi: ArrayLike,
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    mu: int | Int[Array, ""],
    tau: ArrayLike,
    inhibition: ArrayLike = None,
    learning: str = "projection",
) -> Float[Array, "n n"]:
    r"""Jacobian at a memory of the network with excitatory weights and one inhibitory unit.

    $$\dot x = -x + \phi(W_E x - c\, y\, 1 + u), \quad \tau_I \dot y = -y + \langle x \rangle,
    \qquad J = \begin{pmatrix} -1 + D_\phi W_E & -c D_\phi 1 \\ 1^T / (N \tau_I) & -1/\tau_I
    \end{pmatrix}.$$

    **Arguments:** `xi`, `phi`, `a`, `b`, `mu`, `learning`: as in `memory_eigenvalues`. `tau`:
    $\tau_I > 0$. `inhibition`: c; by default that of `dale_inhibition`.

    **Returns:** the whole matrix, n = N + 1, neurons first; NaN in the rows of neurons if the
    memory is no equilibrium. For its eigenvalues alone `dale_eigenvalues` is cheaper.

    **Raises:** ValueError for `tau` <= 0 or `inhibition` < 0, and as `memory_eigenvalues` does.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    xi = hx.patterns.balanced(0.2, 25).xi
    J = hx.theory.rate.dale_jacobian(xi, hx.Logistic(), -0.3, 0.95, 0, tau=5.0)
    J.shape, J[-1, -1], J[-1, 0]  # (26, 26), -0.2, 0.008
    ```
    """
    return _jacobian(*_arguments(xi, phi, a, b, mu, tau, inhibition, learning))


def dale_eigenvalues(
    xi: ArrayLike,
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    mu: int | Int[Array, ""],
    tau: ArrayLike,
    inhibition: ArrayLike = None,
    learning: str = "projection",
) -> DaleEigenvalues:
    r"""Exact linear stability with an inhibitory unit, from a (P+2) x (P+2) matrix.

    With the factors of the weights, $W = F^T K F$ (`memory_eigenvalues`), take perturbations
    $D_\phi F^T g$ of the rates and $h / \sqrt N$ of the unit. With $M = F D_\phi F^T$ and e the
    unit vector of the constant row of F, the Jacobian of `dale_jacobian` acts on (g, h) as

    $$\begin{pmatrix} -1 + (K + c\, e e^T) M & -c\, e \\ e^T M / \tau_I & -1/\tau_I \end{pmatrix}.$$

    **Arguments:** as in `dale_jacobian`.

    **Returns:** a `DaleEigenvalues`. In the limit $\tau_I \to 0$ these are the eigenvalues of
    `memory_eigenvalues` and $-1/\tau_I$.

    **Raises:** as `dale_jacobian` does.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    xi = hx.patterns.balanced(0.2, 25).xi
    found = hx.theory.rate.dale_eigenvalues(xi, hx.Logistic(), -0.3, 0.95, 0, tau=5.0)
    found.greatest  # -0.2001: the unit is the slowest part
    ```
    """
    memories, mu, tau, c = _arguments(xi, phi, a, b, mu, tau, inhibition, learning)
    values, residual = _eigenvalues(memories, mu, tau, c)
    greatest = greatest_of_all(values, memories.xi.shape[1])
    return DaleEigenvalues(values, greatest, certain(-greatest), residual)


def _arguments(xi, phi, a, b, mu, tau, inhibition, learning):
    memories = checked_memories(xi, phi, a, b, learning)
    mu = checked_index(mu, memories)
    tau = _positive(tau, "tau", memories.xi.dtype, strict=True)
    if inhibition is None:
        return memories, mu, tau, _inhibition(memories)
    return memories, mu, tau, _positive(inhibition, "inhibition", memories.xi.dtype, strict=False)


def _positive(value, name, dtype, strict):
    value = as_float(value, name, dtype)
    check_scalar(value, name)
    check_finite(value, name)
    check_at_least(value, name, 0.0, strict=strict)
    return value


def _inhibition(memories: Memories) -> Array:
    """The smallest c with W + c/N >= 0. Neurons with equal columns have equal weights, so that the
    distinct columns are enough."""
    columns = memories.xi
    if is_concrete(columns):
        columns = jnp.asarray(np.unique(np.asarray(columns), axis=1))
    return _inhibition_of(memories, columns)


@jitted
def _inhibition_of(memories, columns):
    xi, stored, learning = memories
    made, (_, K) = stored.made, factors(memories)
    if learning == "pseudo_inverse":
        rows = made.silent + (made.active - made.silent) * columns
    else:
        rows = columns - (made.beta if learning == "covariance" else stored.q)
    rows = jnp.concatenate([rows, jnp.ones((1, columns.shape[1]), xi.dtype)])
    left = K.T @ rows  # N W_ij = left_i . rows_j
    lowest = jax.lax.map(lambda row: (row @ rows).min(), left.T, batch_size=256).min()
    return jnp.maximum(-lowest, 0.0)


@jitted
def _eigenvalues(memories, mu, tau, c):
    F, K = factors(memories)
    slopes, residual = at_memory(memories, F, K, mu)
    M = (F * slopes) @ F.T
    size, dtype = len(K), memories.xi.dtype
    last = jnp.zeros(size, dtype).at[-1].set(1.0)
    excitation = (K + c * last[:, None] * last) @ M - jnp.eye(size, dtype=dtype)
    top = jnp.concatenate([excitation, -c * last[:, None]], 1)
    bottom = jnp.append(M[-1], -1.0)[None] / tau
    return general_eigenvalues(jnp.concatenate([top, bottom])), residual


@jitted
def _jacobian(memories, mu, tau, c):
    F, K = factors(memories)
    N, dtype = memories.xi.shape[1], memories.xi.dtype
    slopes = at_memory(memories, F, K, mu)[0][:, None]
    excitation = slopes * (F.T @ K @ F + c / N) - jnp.eye(N, dtype=dtype)
    top = jnp.concatenate([excitation, -c * slopes], 1)
    bottom = jnp.append(jnp.full(N, 1 / N, dtype), -1.0)[None] / tau
    return jnp.concatenate([top, bottom])


# Where a memory starts to oscillate


def critical_inhibition(
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    inhibition: ArrayLike = None,
) -> Float[Array, "..."]:
    r"""Critical inhibitory time constant: above it a stored memory loses stability through a Hopf
    bifurcation.

    The unit couples to the planar block alone (r = q or projection). Let t and $\delta$ be trace
    and determinant of that block of the Jacobian, and t', $\delta'$ those for $\gamma + c$ in place
    of $\gamma$. The three eigenvalues solve
    $\tau z^3 + (1 - \tau t') z^2 + (\tau \delta' - t) z + \delta = 0$. By the criterion of Hurwitz
    a pair of them crosses the imaginary axis at the smallest positive root of

    $$-t' \delta' \tau^2 + (\delta' + t t' - \delta)\, \tau - t = 0.$$

    A memory that is stable while the unit stands still is stable for every $\tau_I$. This holds for
    any P and symmetric weights: $1 + \tau z$ and the response
    $c\, e^T M (z + 1 - K' M)^{-1} e$ of the excitatory network (notation of `dale_eigenvalues`,
    $K' = K + c\, e e^T$) are positive real, so their sum has no zero with Re z >= 0. It applies to
    each stable memory of the balanced set with the smallest c, for which the eigenvalues of the
    block are $\kappa \phi' - 1$.

    **Arguments:** `phi`, `a`, `b`, `q`: as in `design`. `inhibition`: c; by default
    $\max(0, \kappa - \gamma)$, that of the balanced set.

    **Returns:** the critical $\tau_I$, broadcast over a, b, q and c. It is infinite where the
    memory is stable for all $\tau_I$, and NaN where it is not stable in the plane to begin with.
    Perturbations outside the plane do not change the unit. Differentiable.

    **Raises:** ValueError for `inhibition` < 0, and as `design` does.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    phi = hx.Logistic(1.25, 0.1)
    hx.theory.rate.critical_inhibition(phi, -0.2, 0.95, 0.2)  # inf: stable for all of them
    hx.theory.rate.critical_inhibition(phi, -0.2, 0.95, 0.2, inhibition=41.0)  # 0.1373
    ```
    """
    stored = checked_design(phi, a, b, q)
    if inhibition is None:
        c = jnp.maximum(stored.made.kappa - stored.made.gamma, 0.0)
    else:
        c = as_float(inhibition, "inhibition", stored.q.dtype)
        check_at_least(c, "inhibition", 0.0, strict=False)
    return _critical_inhibition(stored, c)


@jitted
def _critical_inhibition(stored, c):
    phi, a, b, q, _, made = stored
    silent, active = steepest(phi, a), steepest(phi, b)

    def block(gamma):
        between = couplings(made.kappa, gamma, q)
        trace = active * between.A + silent * between.E
        return trace - 2, 1 - trace + active * silent * made.kappa * gamma

    trace, determinant = block(made.gamma)
    trace_E, determinant_E = block(made.gamma + c)
    second = -trace_E * determinant_E
    first = determinant_E + trace * trace_E - determinant
    tau = _smallest_positive_root(second, first, -trace)
    return jnp.where(certain(-trace) & certain(determinant), tau, jnp.nan)


def _smallest_positive_root(second, first, zeroth):
    """Smallest positive root of second x^2 + first x + zeroth with zeroth > 0, or infinity."""
    square = first**2 - 4 * second * zeroth
    gap = root(square)
    # 2 zeroth / (-first +- gap): no cancellation in either root, and regular for second = 0
    parts = (-first + gap, -first - gap)
    roots = [jnp.where(p > 0, 2 * zeroth / jnp.where(p > 0, p, 1.0), jnp.inf) for p in parts]
    return jnp.where(square >= 0, jnp.minimum(*roots), jnp.inf)
