r"""The design: from the currents of silent and of active neurons to $\alpha, \beta, \gamma$.

Nothing in this package looks at a network. A public function checks its arguments once, with
`checked_design`, and hands the result down as a `Stored`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._errors import check_finite
from ..._programs import jitted
from ..._rate_activations import (
    AbstractRateActivation,
    HardSigmoid,
    Logistic,
    RectifiedTanh,
    ThresholdLinear,
    least_gap,
)
from ..._types import ArrayLike, is_concrete
from .._parameters import check_scalar, floats


class Design(NamedTuple):
    r"""The weights that `design` finds; NaN where no design exists.

    `alpha`, `beta`, `gamma`: $\alpha, \beta, \gamma$. `kappa`: $\kappa$, the inverse secant slope
    of $\phi$ between the two currents. `silent`, `active`: the rates $\phi_a, \phi_b$. `mean`: $m$,
    the mean rate in a memory. `exists`: whether there is such a design.

    **Example:**

    ```python
    made = hx.theory.rate.design(hx.Logistic(), -0.3, 0.95, 0.2)
    made.kappa, made.gamma  # 1.2500, -0.2500: the background inhibits
    made.silent, made.active  # 0.0000, 1.0000
    ```
    """

    alpha: Float[Array, "..."]
    beta: Float[Array, "..."]
    gamma: Float[Array, "..."]
    kappa: Float[Array, "..."]
    silent: Float[Array, "..."]
    active: Float[Array, "..."]
    mean: Float[Array, "..."]
    exists: Bool[Array, "..."]


class Stored(NamedTuple):
    """A design together with what it was made from, all of one dtype."""

    phi: AbstractRateActivation
    a: Float[Array, "..."]
    b: Float[Array, "..."]
    q: Float[Array, "..."]
    r: Float[Array, "..."]
    made: Design


def design(
    phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike = None
) -> Design:
    r"""Weights for which re-scaled memories are equilibria, with currents a and b.

    With $D = \phi_b - \phi_a$ and $m = (1-q) \phi_a + q \phi_b$,

    $$\alpha = \frac{b - a}{q (1 - r) D}, \qquad
    \beta = \frac{q\,((1 - r) \phi_a + r \phi_b)}{m}, \qquad
    \gamma = \frac{(1 - \beta) a + \beta b}{m}, \qquad \kappa = \frac{b - a}{D}.$$

    **Arguments:**

    - `phi`: the activation $\phi$.
    - `a`, `b`: currents of silent and of active neurons, a < b.
    - `q`: activity of the memories, the fraction of active neurons, in (0, 1).
    - `r`: overlap of two memories, the number of neurons active in both over q N, in [0, 1). By
        default q, the mean overlap of independent memories.

    **Returns:** a `Design`, broadcast over a, b, q and r. Where values are not known, under `jit`,
    a design that does not exist is NaN.

    **Raises:** ValueError for a >= b, for q or r out of range, and if $\phi_b - \phi_a$ is no
    more than the root of the precision (1.5e-8 in float64): such rates are not told apart.

    Assumes that all memories have the same activity and any two of them the same overlap. Betteti,
    Baggio, Bullo, Zampieri 2025, arXiv:2411.07388.

    **Example:**

    ```python
    made = hx.theory.rate.design(hx.Logistic(), -0.3, 0.95, 0.2, 0.4)
    made.alpha, made.beta, made.gamma  # 10.4168, 0.4000, 0.9999
    ```
    """
    return checked_design(phi, a, b, q, r).made


@jitted
def solve(phi, a, b, q, r) -> Design:
    """The design without checks: NaN where an argument is out of range."""
    exists = (a < b) & (q > 0) & (q < 1) & (r >= 0) & (r < 1)
    exists = exists & (abs(a) < jnp.inf) & (abs(b) < jnp.inf)
    q, r = jnp.where(exists, q, 0.5), jnp.where(exists, r, 0.5)
    silent, active = phi(a), phi(b)
    exists = exists & (active - silent > least_gap(a.dtype))
    silent, active = jnp.where(exists, silent, 0.0), jnp.where(exists, active, 1.0)
    mean = (1 - q) * silent + q * active
    kappa = (b - a) / (active - silent)
    beta = q * ((1 - r) * silent + r * active) / mean
    gamma = ((1 - beta) * a + beta * b) / mean
    alpha = kappa / (q * (1 - r))
    parts = (alpha, beta, gamma, kappa, silent, active, mean)
    return Design(*(jnp.where(exists, part, jnp.nan) for part in parts), exists=exists)


# Checks


def checked_design(
    phi: AbstractRateActivation, a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike = None
) -> Stored:
    """The design of these arguments; ValueError if they are known and there is none."""
    check_phi(phi)
    values = {"a": a, "b": b, "q": q} | ({} if r is None else {"r": r})
    a, b, q, *rest = floats(**values)
    r = rest[0] if rest else q
    for name, value in (("a", a), ("b", b)):
        check_finite(value, name)
    _check_order(a, b)
    _check_range(q, "q", "the activity of the memories, in (0, 1)", q > 0)
    if rest:
        _check_range(r, "r", "the overlap of memories in units of q N, in [0, 1)", r >= 0)
    stored = Stored(phi, a, b, q, r, solve(phi, a, b, q, r))
    _check_rates(stored)
    return stored


def checked_scalars(phi, a, b, q) -> Stored:
    """As `checked_design`, for scalars and an activation whose turning points are known."""
    stored = checked_design(phi, a, b, q)
    check_known(phi)
    for name in ("a", "b", "q"):
        check_scalar(getattr(stored, name), name)
    return stored


def check_phi(phi: AbstractRateActivation) -> None:
    if not isinstance(phi, AbstractRateActivation):
        raise TypeError(
            f"`phi` must be a rate activation, as hopfax.Logistic(), but is {type(phi).__name__}."
        )
    for name, value in (("gain", phi.gain), ("threshold", phi.threshold)):
        check_scalar(value, f"phi.{name}")


def check_known(phi: AbstractRateActivation) -> None:
    """TypeError for an activation whose turning points are not known in closed form."""
    known = (Logistic, RectifiedTanh, HardSigmoid, ThresholdLinear)
    if not isinstance(phi, known):
        names = ", ".join(kind.__name__ for kind in known)
        raise TypeError(
            f"`phi` must be one of {names}, whose turning points are known, but is "
            f"{type(phi).__name__}."
        )


def _check_order(a, b):
    if not _all_concrete(a, b) or not bool((a >= b).any()):
        return
    first, second = (part.ravel() for part in np.broadcast_arrays(*map(np.asarray, (a, b))))
    at = np.argmax(first >= second)
    raise ValueError(
        "`a`, the current of silent neurons, must be below `b`, that of active ones, but "
        f"a = {first[at]:g} and b = {second[at]:g}."
    )


def _check_range(value, name, meaning, above):
    if is_concrete(value) and not bool((above & (value < 1)).all()):
        bad = np.asarray(value)[~np.asarray(above & (value < 1))].ravel()[0]
        raise ValueError(f"`{name}` must be {meaning}, but is {bad:g}.")


def _check_rates(stored):
    phi, a, b, q, r, made = stored
    if not _all_concrete(a, b, q, r, phi.gain, phi.threshold) or bool(made.exists.all()):
        return
    bad = np.argmin(np.ravel(made.exists))
    silent, active = (np.ravel(jnp.broadcast_to(phi(v), made.exists.shape))[bad] for v in (a, b))
    raise ValueError(
        f"`a` and `b` must lead to different rates, but phi(a) = {silent:g} and phi(b) = "
        f"{active:g}, which differ by less than {least_gap(a.dtype):.2g}: put the threshold of "
        "`phi` between them."
    )


def _all_concrete(*values):
    return all(map(is_concrete, values))
