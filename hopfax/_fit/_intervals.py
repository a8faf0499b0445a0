r"""Confidence intervals of fitted parameters.

Errors are symmetric on the scale on which a parameter is free: of a `Positive` one in its logarithm
$u = \ln v$. There the interval is $u \pm q\,s$, with the standard error $s$ of the free entry and a
quantile $q$, of the normal distribution where the errors of the data are known and of Student's $t$
with the remaining degrees of freedom where they were estimated. The ends are mapped back, so that
an interval of a positive parameter is positive, and asymmetric.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._errors import as_number
from ._variables import Variables

_HALVINGS = 60  # of the search for a quantile, whose bracket spans 40 powers of ten


class Interval(NamedTuple):
    """The ends of confidence intervals; infinite, or at the bound of the constraint, where the data
    set no limit.

    **Example:**

    ```python
    found = hx.fit(
        {"a": jnp.array(1.0)},
        lambda model: model["a"] - jnp.array([1.0, 2.0, 3.0]),
        where=lambda model: model["a"],
        progress=False,
    )
    low, high = found.interval(0.95)  # -0.48, 4.48
    ```
    """

    low: Float[Array, "..."]
    high: Float[Array, "..."]


class Scale(eqx.Module):
    """A fit on the scale on which its parameters are free.

    - `variables`: what is fitted. `free`: the free entries at the end, as one vector.
    - `stderr`, `covariance`: of the free entries.
    - `left`: degrees of freedom from which the errors of the data were estimated, infinite where
      they are known.
    """

    variables: Variables
    free: Float[Array, " n"]
    stderr: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    left: Float[Array, ""]

    def parameters(self, free: Float[Array, " n"]) -> Float[Array, " n"]:
        """The fitted entries that belong to free ones."""
        _, back = ravel_pytree(self.variables.start())
        return self.variables.moving(back(free))

    def apart(self) -> Array:
        """Which entries depend on their own free entry alone; those of a `Simplex` do not."""
        slope = jax.jacfwd(self.parameters)(self.free)
        return (slope - jnp.diag(jnp.diagonal(slope)) == 0).all(axis=1)

    def at(self, k: Array, free: Float[Array, ""]) -> Float[Array, ""]:
        """Entry `k` of the parameters where its free entry has another value."""
        return self.parameters(self.free.at[k].set(free))[k]


def check_level(level: float) -> float:
    """`level` as a float; ValueError unless it lies between 0 and 1."""
    level = as_number(level, "level")
    if not 0 < level < 1:
        hint = f" Did you mean {level / 100:g}?" if 1 < level < 100 else ""
        raise ValueError(f"`level` must lie between 0 and 1, as 0.95, but is {level:g}.{hint}")
    return level


def interval_of(scale: Scale, stderr: Float[Array, " n"], level: float) -> Interval:
    """The intervals of all entries, whose standard errors are `stderr`: everything possible where
    one is infinite, also if no data are left to tell the noise by."""
    q = quantile(level, scale.left)

    def reach(stderr):
        return jnp.where(jnp.isinf(stderr), jnp.inf, q * stderr)

    value = scale.parameters(scale.free)
    # Entries of a column that sums to one are free together: the logit is the scale of each alone.
    share = (value > 0) & (value < 1)
    inside = jnp.where(share, value, 0.5)
    width = reach(stderr) / (inside * (1 - inside))
    logit = jnp.log(inside) - jnp.log1p(-inside)
    apart = scale.apart()
    entries = jnp.arange(value.size)

    def end(sign):
        plain = jax.vmap(scale.at)(entries, scale.free + sign * reach(scale.stderr))
        joint = jnp.where(share, jax.nn.sigmoid(logit + sign * width), value + sign * reach(stderr))
        return jnp.where(apart, plain, joint)

    low, high = end(-1), end(1)
    return Interval(jnp.minimum(low, high), jnp.maximum(low, high))


def quantile(level: float, left: Float[Array, ""]) -> Float[Array, ""]:
    r"""The $q$ with $P(|t| \le q)$ = `level` for Student's $t$ with `left` degrees of freedom; for
    infinitely many the normal distribution. NaN for none."""
    left = jnp.asarray(left)
    normal = jax.scipy.special.ndtri(jnp.asarray((1 + level) / 2, left.dtype))
    freedom = jnp.where(left > 0, left, 1.0)

    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2
        tail = freedom / (freedom + jnp.exp(2 * middle))
        outside = jax.scipy.special.betainc(freedom / 2, jnp.full_like(tail, 0.5), tail)
        return (
            jnp.where(outside > 1 - level, middle, ends[0]),
            jnp.where(outside > 1 - level, ends[1], middle),
        )

    ends = (jnp.full_like(left, -20.0), jnp.full_like(left, 70.0))
    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
    student = jnp.where(left > 0, jnp.exp((low + high) / 2), jnp.nan)
    return jnp.where(left < _MANY, student, normal)


_MANY = 1e6  # degrees of freedom from which Student's distribution is taken for the normal one
