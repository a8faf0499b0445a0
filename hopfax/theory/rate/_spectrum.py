"""Eigenvalues of the weights, and the contraction they certify."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._errors import as_count, check_option
from ..._programs import jitted
from ..._rate_activations import AbstractRateActivation
from ..._types import ArrayLike
from .._parameters import floats
from ._design import check_phi, checked_design
from ._plane import root


class Spectrum(NamedTuple):
    r"""Eigenvalues of W: `kappa` `multiplicity` times, `upper` and `lower` once; all others are 0.

    `largest`: the greatest of them (`kappa` counts only where `multiplicity` is not 0).

    **Example:**

    ```python
    found = hx.theory.rate.spectrum(hx.Logistic(), -0.3, 0.95, 0.2, 0.4, P=5)
    found.multiplicity, found.kappa  # 4, 1.2500
    found.upper, found.lower  # 5.8463, 0.5701
    ```
    """

    kappa: Float[Array, "..."]
    upper: Float[Array, "..."]
    lower: Float[Array, "..."]
    largest: Float[Array, "..."]
    multiplicity: int


def spectrum(
    phi: AbstractRateActivation,
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    r: ArrayLike = None,
    P: int = 1,
    learning: str = "covariance",
) -> Spectrum:
    r"""Eigenvalues of the weights.

    Projection, or covariance with r = q: $\kappa$ P times and $\gamma$ once. Covariance in general:
    $\kappa$ P - 1 times and the two eigenvalues of

    $$\begin{pmatrix} \alpha (d + (P-1) c) & \alpha \sqrt P (q - \beta) \\
    \gamma \sqrt P (q - \beta) & \gamma \end{pmatrix}, \qquad
    d = q - 2 \beta q + \beta^2, \quad c = r q - 2 \beta q + \beta^2.$$

    **Arguments:** `phi`, `a`, `b`, `q`, `r`: as in `design`. `P`: the number of memories.
    `learning`: "covariance", or "projection", for which r does not matter.

    **Returns:** a `Spectrum`, broadcast over a, b, q and r.

    **Raises:** ValueError as `design` does, and for another `learning` or P < 1.

    Derived here for the design of arXiv:2411.07388.

    **Example:**

    ```python
    hx.theory.rate.spectrum(hx.Logistic(), -0.3, 0.95, 0.2, 0.4, P=5).largest  # 5.8463
    ```
    """
    P = as_count(P, "P", most=2**31 - 1)
    check_option(learning, "learning", ("covariance", "projection"))
    stored = checked_design(phi, a, b, q, r if learning == "covariance" else None)
    return Spectrum(*_spectrum(stored, P), P - 1)


@jitted
def _spectrum(stored, P):
    made, q, r = stored.made, stored.q, stored.r
    beta = made.beta
    first = made.alpha * (q + (P - 1) * r * q + P * (beta**2 - 2 * beta * q))
    off = made.alpha * made.gamma * P * (q - beta) ** 2
    gap = root((first - made.gamma) ** 2 / 4 + off)
    upper, lower = ((first + made.gamma) / 2 + sign * gap for sign in (1, -1))
    largest = jnp.maximum(made.kappa, upper) if P > 1 else upper
    return made.kappa, upper, lower, largest


def contraction_rate(phi: AbstractRateActivation, eigenvalue: ArrayLike) -> Float[Array, "..."]:
    r"""Rate at which any two trajectories approach each other, for symmetric weights:
    $1 - \rho \lambda^+$.

    **Arguments:** `phi`: its gain $\rho$ is the greatest slope. `eigenvalue`: $\lambda$, the
    greatest of W (`spectrum(...).largest`).

    **Returns:** a lower bound of the rate, in a Euclidean norm adapted to W and for every constant
    input. Where it is positive there is one equilibrium, globally exponentially stable. Where it is
    not, nothing follows.

    A network that stores a memory is never certified: by the mean value theorem
    $\rho \ge (\phi_b - \phi_a)/(b - a) = 1/\kappa$, and $\kappa$ is an eigenvalue.
    Centorrino, Gokhale, Davydov, Russo, Bullo 2023, arXiv:2302.13452.

    **Example:**

    ```python
    hx.theory.rate.contraction_rate(hx.Logistic(), np.array([0.1, -3.0]))  # 0.52, 1.0
    ```
    """
    check_phi(phi)
    (eigenvalue,) = floats(eigenvalue=eigenvalue)
    return 1 - phi.gain.astype(eigenvalue.dtype) * jnp.maximum(eigenvalue, 0.0)


def contraction_rate_max_norm(phi: AbstractRateActivation, weights: ArrayLike) -> Float[Array, ""]:
    r"""Rate at which any two trajectories approach each other in the maximum norm:

    $$1 - \max_i \Big[ \rho \Big( W_{ii} + \sum_{j \ne i} |W_{ij}| \Big) \Big]^+.$$

    This is $-\mu_\infty(J)$, the logarithmic norm of the Jacobian with its sign changed, at those
    slopes $\phi' \in [0, \rho]$ that make it smallest. The weights need not be symmetric.

    **Arguments:** `phi`: its gain $\rho$ is the greatest slope. `weights`: W, shape (N, N).

    **Returns:** a lower bound of the rate; what follows from it is said in `contraction_rate`.

    **Raises:** ValueError if `weights` is not square.

    Centorrino, Gokhale, Davydov, Russo, Bullo 2023, arXiv:2302.13452.

    **Example:**

    ```python
    hx.theory.rate.contraction_rate_max_norm(hx.Logistic(), [[0.0, -0.1], [0.1, 0.0]])  # 0.52
    ```
    """
    check_phi(phi)
    (weights,) = floats(weights=weights)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise ValueError(f"`weights` must have shape (N, N), got {weights.shape}.")
    own = jnp.diagonal(weights)
    row = own + abs(weights).sum(1) - abs(own)
    return 1 - phi.gain.astype(weights.dtype) * jnp.maximum(row.max(), 0.0)
