"""One point of a phase diagram of the balanced set."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._rate_activations import AbstractRateActivation, Logistic, steepest
from ..._types import ArrayLike
from .._parameters import check_scalar, floats
from ._design import Stored, solve
from ._plane import certain
from ._stability import balanced


class Phase(NamedTuple):
    r"""Whether a design of the balanced set stores stably; NaN where there is no design.

    `kappa`, `gamma`: as in `Design`. `eigenvalue`: the greatest one of the Jacobian at a memory,
    `stable` whether it is negative by more than rounding. `margin`:
    $1 - \max(\phi'(a), \phi'(b)) \max(\kappa, \gamma)$, positive where the sufficient condition of
    `stability` holds. `storage`: -1 no design, 0 unstable, 1 stable, 2 stable and the sufficient
    condition says so.

    **Example:**

    ```python
    found = hx.theory.rate.phase(4.8, 0.2, -0.3, 0.95)
    found.storage, found.eigenvalue, found.margin  # 2, -0.9998, 0.9998
    ```
    """

    kappa: Float[Array, "..."]
    gamma: Float[Array, "..."]
    eigenvalue: Float[Array, "..."]
    stable: Bool[Array, "..."]
    margin: Float[Array, "..."]
    storage: Int[Array, "..."]


def phase(
    gain: ArrayLike,
    threshold: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike = 0.2,
    activation: type[AbstractRateActivation] = Logistic,
) -> Phase:
    r"""Whether a design stores stably, at one point of a phase diagram.

    By the closed form of `balanced_spectrum`. A single globally stable memory is not among the
    answers: the P memories of the set are equilibria side by side.

    **Arguments:** `gain`, `threshold`: $\rho, I^*$, scalars. `a`, `b`, `q`: as in `design`. A value
    out of range is not an error here, so that a diagram may extend beyond where designs exist.
    `activation`: the class of $\phi$.

    **Returns:** a `Phase`. All arguments but the last are plain numbers: `jax.vmap` and
    `hopfax.sweep` take the function over any of them.

    **Raises:** TypeError if `activation` is no class of rate activations.

    Betteti, Baggio, Bullo, Zampieri 2025, arXiv:2411.07388, and derived here.

    **Example:**

    ```python
    b = jnp.array([-0.5, 0.3, 0.95])
    jax.vmap(lambda b: hx.theory.rate.phase(4.8, 0.2, -0.3, b).storage)(b)  # -1, 0, 2
    ```
    """
    if not (isinstance(activation, type) and issubclass(activation, AbstractRateActivation)):
        raise TypeError(
            "`activation` must be a class of rate activations, as hopfax.Logistic, but is "
            f"{activation!r}."
        )
    gain, threshold, a, b, q = floats(gain=gain, threshold=threshold, a=a, b=b, q=q)
    check_scalar(gain, "gain")
    check_scalar(threshold, "threshold")
    fine = (gain > 0) & (gain < jnp.inf) & (abs(threshold) < jnp.inf)
    phi = activation(  # type: ignore[call-arg]
        jnp.where(fine, gain, 1.0), jnp.where(fine, threshold, 0.0)
    )
    made = solve(phi, a, b, q, q)
    exists = made.exists & fine
    kappa, gamma = (jnp.where(exists, part, jnp.nan) for part in (made.kappa, made.gamma))
    made = made._replace(kappa=kappa, gamma=gamma, exists=exists)
    values = balanced(Stored(phi, a, b, q, q, made))
    slopes = jnp.maximum(steepest(phi, a), steepest(phi, b))
    margin = 1 - slopes * jnp.maximum(kappa, gamma)
    storage = jnp.where(values.stable, jnp.where(certain(margin), 2, 1), 0)
    storage = jnp.where(exists, storage, -1).astype(jnp.int32)
    return Phase(kappa, gamma, values.greatest, values.stable, margin, storage)
