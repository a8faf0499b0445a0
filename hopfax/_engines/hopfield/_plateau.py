r"""Closed form of the motion on a plateau, where every neuron is saturated.

There the overlaps stand still, $z$ relaxes towards $\zeta = D f(m)$ at its rates $\rho$, and

$$z = \zeta + (z_0 - \zeta)\, e^{-\rho t}, \qquad
y = \bar y + (y_0 - \bar y)\, e^{-t} + m \circ (z_0 - \zeta) \circ \varphi_\rho(t), \qquad
\varphi_\rho(t) = \frac{e^{-\rho t} - e^{-t}}{1 - \rho},$$

so that one step covers a plateau of any length: the cost of a run does not grow with $\tau$.
Where z feeds y, $F z$ stands in place of $m \circ z$.
The usual form, a sum of $e^{-\rho t}$ and $e^{-t}$, has coefficients with $1 - \rho$ in the
denominator, which grow without bound and cancel as $\rho \to 1$ (an error of $10^{-7}$ at
$\tau = 1 + 10^{-9}$). $\varphi_\rho$ stays bounded; it is $t e^{-t}$ at $\rho = 1$.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._series import Law, contract


class Plateau(eqx.Module):
    """The coefficients of the exponentials and of $\\varphi_\\rho$, which is called the lag."""

    rest: Float[Array, "Q B"]  # where y would come to rest
    fast: Float[Array, "Q B"]  # y0 - rest, the coefficient of exp(-t)
    lag: Float[Array, "P B"]  # the coefficient of the lag, by which y follows z
    target: Float[Array, "P B"]  # where z would come to rest
    slow: Float[Array, "P B"]  # z0 - target, the coefficient of exp(-rate t)
    rate: Float[Array, "#P L"]

    def at(self, t):
        """(y, z) a time `t` after the start."""
        y, _ = self.y_and_slope(t)
        return y, self.target + self.slow * jnp.exp(-self.rate * t)

    def y_and_slope(self, t):
        """y and its time derivative, a time `t` after the start."""
        decay = jnp.exp(-t)
        phi = lagged(self.rate, t)
        y = self.rest + self.fast * decay
        slope = -self.fast * decay
        lag, lag_slope = self.lag * phi, self.lag * (jnp.exp(-self.rate * t) - phi)
        if y.shape[0] == lag.shape[0]:
            return y + lag, slope + lag_slope
        # Only coefficients in the patterns follow z; those of extra directions come after them.
        P = lag.shape[0]
        return y.at[:P].add(lag), slope.at[:P].add(lag_slope)


def plateau(y, z, m, slope, law: Law) -> Plateau:
    """The motion from the state (y, z) while the overlaps stay `m`; `slope` is that of the readout
    for their signs."""
    target = law.target(m, slope)
    lag = law.pushed(m, z - target)  # where z feeds y it has one rate, that of the lag
    rest = law.pushed(m, target) + law.bias
    if law.mix is not None:
        rest = rest + contract(law.mix, m)
    if law.push.shape[0]:
        rest = jnp.concatenate([rest, jnp.broadcast_to(law.push, y[rest.shape[0] :].shape)])
    return Plateau(rest, y - rest, lag, target, z - target, law.rate)


def lagged(rate, t):
    r"""$\varphi_\rho(t)$, exact to rounding for every $\rho \ge 0$, 1 included.

    $\varphi_\rho(t) = e^{-\min(\rho, 1) t}\, t\, (1 - e^{-x}) / x$ with $x = |1 - \rho|\, t$: no
    difference of two nearly equal exponentials is taken, and none overflows."""
    gap = jnp.abs(1 - rate)
    return jnp.exp(-jnp.minimum(rate, 1.0) * t) * t * _mean_decay(gap * t)


def _mean_decay(x):
    """(1 - exp(-x)) / x, with derivatives that stay exact at 0."""
    # Its value would be right by expm1 down to tiny x; its derivative, a difference of two terms
    # of size 1/x, would not. Below 0.01 seven terms of the power series reach rounding.
    small = x < 1e-2
    safe = jnp.where(small, 1.0, x)  # a division by 0 in the other branch would make gradients NaN
    series = 1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6 * (1 - x / 7)))))
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)
