r"""Closed form of the motion while every neuron is saturated.

Then overlaps stand still, $z$ relaxes towards $\zeta = D f(m)$ at its rates $\rho$, and

$$z = \zeta + (z_0 - \zeta)\, e^{-\rho t}, \qquad
y = \bar y + (y_0 - \bar y)\, e^{-t} + m \circ (z_0 - \zeta) \circ \varphi_\rho(t), \qquad
\varphi_\rho(t) = \frac{e^{-\rho t} - e^{-t}}{1 - \rho},$$

whatever the length of the plateau. Where $\rho = 1$, $\varphi = t e^{-t}$.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._series import Law, contract


class Plateau(eqx.Module):
    """The coefficients of the two exponentials."""

    rest: Float[Array, "Q B"]  # where y would come to rest
    fast: Float[Array, "Q B"]  # y0 - rest
    lag: Float[Array, "P B"]  # of phi
    target: Float[Array, "P B"]
    slow: Float[Array, "P B"]  # z0 - target
    rate: Float[Array, "#P L"]

    def at(self, t):
        """(y, z) a time `t` after the start."""
        y, _ = self.motion(t)
        return y, self.target + self.slow * jnp.exp(-self.rate * t)

    def motion(self, t):
        """y and its time derivative."""
        decay = jnp.exp(-t)
        phi = lagged(self.rate, t)
        y = self.rest + self.fast * decay
        slope = -self.fast * decay
        lag, lag_slope = self.lag * phi, self.lag * (jnp.exp(-self.rate * t) - phi)
        if y.shape[0] == lag.shape[0]:
            return y + lag, slope + lag_slope
        P = lag.shape[0]
        return y.at[:P].add(lag), slope.at[:P].add(lag_slope)


def plateau(y, z, m, slope, law: Law) -> Plateau:
    """The motion from the state (y, z) with constant overlaps `m`."""
    target = law.target(m, slope)
    lag = m * (z - target)
    rest = m * target + law.bias
    if law.mix is not None:
        rest = rest + contract(law.mix, m)
    if law.push.shape[0]:
        rest = jnp.concatenate([rest, jnp.broadcast_to(law.push, y[rest.shape[0] :].shape)])
    return Plateau(rest, y - rest, lag, target, z - target, law.rate)


def lagged(rate, t):
    r"""$\varphi_\rho(t)$, exact to rounding for every $\rho \ge 0$, 1 included."""
    gap = jnp.abs(1 - rate)
    return jnp.exp(-jnp.minimum(rate, 1.0) * t) * t * _mean_decay(gap * t)


def _mean_decay(x):
    """(1 - exp(-x)) / x, with derivatives that stay exact at 0."""
    small = x < 1e-2
    safe = jnp.where(small, 1.0, x)
    series = 1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6 * (1 - x / 7)))))
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)
