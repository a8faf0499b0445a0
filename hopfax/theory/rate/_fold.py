r"""Where the branch of equilibria that starts in the memory ends as the saliency falls.

Without inputs the mean current does not depend on the saliency $\sigma$. With
$G_\gamma(y) = y - \gamma \phi(y)$ and the currents y, z of the two groups, its balance is a curve,

$$H(y, z) = q G_\gamma(y) + (1-q) G_\gamma(z) = 0, \qquad
\sigma = \frac{y - z}{\kappa\, (\phi(y) - \phi(z))}.$$

The curve is followed from the memory, (b, a) at $\sigma = 1$, in the direction in which $\sigma$
falls, with small steps along the tangent that Newton's method takes back to the curve. When the
next step would make $\sigma$ rise, or the groups equal, the step is halved until it vanishes: there
the branch ends. The search is frozen; derivatives are those of the end itself, which solves the
equations of `_Walk.conditions`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from ..._programs import jitted
from ..._rate_activations import (
    AbstractRateActivation,
    HardSigmoid,
    RectifiedTanh,
    ThresholdLinear,
)
from ..._roots import implicit_point, implicit_root

_MOST_STEPS = 4096


@jitted
def fold(phi, kappa, gamma, q, a, b):
    """Saliency at which the branch of the memory ends, and the two currents there; or NaN."""
    walk = _Walk(*stop_gradient((phi, kappa, gamma, q)))
    begin = stop_gradient(jnp.stack([b, a]))
    known = jnp.isfinite(jnp.stack([kappa, gamma, *begin])).all() & (phi.gain > 0)
    begin = jnp.where(known, begin, jnp.arange(2.0, dtype=begin.dtype)[::-1])
    length = begin[0] - begin[1]
    # The direction along the curve is kept: the tangent has H > 0 on one side all along, in the
    # corners of a piecewise-smooth activation as well.
    sense = jnp.where(walk.rises(begin), -1.0, 1.0).astype(begin.dtype)

    def falls(point):
        """Whether the branch goes on: the groups still differ, and the saliency still falls."""
        return (point[0] > point[1]) & (walk.rises(point) == (sense < 0))

    def move(state):
        point, _, steps, _ = state
        size = walk.step(point, length)
        new = walk.advance(point, sense * size)
        on = falls(new)
        return jnp.where(on, new, point), size, steps + 1, on

    start = (begin, length, 0, known)
    point, size, _, on = jax.lax.while_loop(lambda s: s[3] & (s[2] < _MOST_STEPS), move, start)

    def halve(_, state):
        point, size = state
        new = walk.advance(point, sense * size / 2)
        return jnp.where(falls(new), new, point), size / 2

    point, _ = jax.lax.fori_loop(0, 60, halve, (point, size))
    saliency, currents = walk.at_fold(phi, kappa, gamma, q, stop_gradient(point))
    found = known & ~on & (saliency > 0)
    return jnp.where(found, saliency, jnp.nan), jnp.where(found, currents, jnp.nan)


class _Walk(eqx.Module):
    """The curve $H(y, z) = 0$. A point is the pair (y, z)."""

    phi: AbstractRateActivation
    kappa: jax.Array
    gamma: jax.Array
    q: jax.Array

    def balance(self, point):
        """The function H, which vanishes on the curve."""
        weights = jnp.stack([self.q, 1 - self.q])
        return (weights * (point - self.gamma * self.phi(point))).sum()

    def gradient(self, point):
        """The gradient of H."""
        weights = jnp.stack([self.q, 1 - self.q])
        return weights * (1 - self.gamma * self.phi.slope(point))

    def tangent(self, point):
        """The unit vector along the curve."""
        across = self.gradient(point)
        along = jnp.stack([-across[1], across[0]])
        return along / jnp.sqrt(jnp.maximum((along**2).sum(), jnp.finfo(point.dtype).tiny))

    def rises(self, point):
        """Whether the saliency grows along the tangent (its logarithm, where the groups differ)."""
        ahead = self.tangent(point)
        rates, slopes = self.phi(point), self.phi.slope(point) * ahead
        difference = rates[0] - rates[1]
        change = (ahead[0] - ahead[1]) * difference
        return change > (slopes[0] - slopes[1]) * (point[0] - point[1])

    def step(self, point, length):
        """Length of a step: small against the memory and, near the steep part of phi, against the
        width of that, which larger steps would cross at once."""
        rho, start = self.phi.gain.astype(point.dtype), self.phi.threshold.astype(point.dtype)
        outside = jnp.maximum(start - point, point - start - 1 / rho)
        distance = jnp.maximum(outside - 1 / rho, 0.0).min()
        return jnp.minimum(length / 128, (1 / rho + 2 * distance) / 32)

    def advance(self, point, size):
        """The point after a step along the tangent and four Newton steps back to the curve."""

        def back(_, point):
            across = self.gradient(point)
            square = jnp.maximum((across**2).sum(), jnp.finfo(point.dtype).tiny)
            return point - self.balance(point) * across / square

        return jax.lax.fori_loop(0, 4, back, point + size * self.tangent(point))

    def corner(self, point):
        """Which of the two currents sits at a kink of phi, if any, to which it then keeps."""
        rho, start = self.phi.gain.astype(point.dtype), self.phi.threshold.astype(point.dtype)
        scaled = rho * (point - start)
        corners = {HardSigmoid: (0.0, 1.0), RectifiedTanh: (0.0,), ThresholdLinear: (0.0,)}
        found = jnp.zeros(2, bool)
        for corner in corners.get(type(self.phi), ()):
            near = abs(scaled - corner) < 1e-6
            found = jnp.where(found.any(), found, near.at[1].set(near[1] & ~near[0]))
        return found

    def turn(self, point):
        """The slope of the logarithm of the saliency along the curve, up to a positive factor."""
        across = self.gradient(point)
        ahead = jnp.stack([-across[1], across[0]])
        rates, slopes = self.phi(point), self.phi.slope(point) * ahead
        change = (ahead[0] - ahead[1]) * (rates[0] - rates[1])
        return change - (slopes[0] - slopes[1]) * (point[0] - point[1])

    def conditions(self, corner, merged, scaled, point):
        """What holds at the end of the branch: the balance, and either that a current stays at its
        kink or that the saliency is smallest."""
        rho, start = self.phi.gain.astype(point.dtype), self.phi.threshold.astype(point.dtype)
        kept = jnp.where(corner[1], point[1], point[0])
        held = rho * (kept - start) - jnp.where(corner[1], scaled[1], scaled[0])
        second = jnp.where(corner.any() | merged, held, self.turn(point))
        return jnp.stack([self.balance(point), second])

    def at_fold(self, phi, kappa, gamma, q, point):
        """The saliency and the currents at the end of the branch, with their derivatives with
        respect to phi, kappa, gamma and q."""
        rho, start = self.phi.gain.astype(point.dtype), self.phi.threshold.astype(point.dtype)
        # In the uniform state, where the groups have become equal, the secant is 0/0 and the
        # saliency is that of the tangent.
        merged = rho * (point[0] - point[1]) < 1e-5
        facts = stop_gradient((self.corner(point), merged, rho * (point - start)))
        walk = _Walk(phi, kappa, gamma, q)
        currents = implicit_point(eqx.Partial(_conditions, walk, *facts), point)
        rates = phi(currents)
        secant = (currents[0] - currents[1]) / jnp.where(merged, 1.0, rates[0] - rates[1])
        middle = implicit_root(eqx.Partial(_own_balance, phi, gamma), (point[0] + point[1]) / 2)
        slope = phi.slope(middle)
        uniform = 1 / jnp.where(slope > 0, slope, jnp.nan)
        # If they meet at a kink of phi, each has the slope of its own side of it, and the tangent
        # is that of the curve.
        steep = self.phi.slope(point) > 0
        at_kink = steep[0] != steep[1]
        slopes = jnp.where(steep, phi.gain, 0.0)
        across = (1 - gamma * slopes) * jnp.stack([q, 1 - q])
        change = across[1] * slopes[0] + across[0] * slopes[1]
        uniform = jnp.where(at_kink, across.sum() / jnp.where(at_kink, change, 1.0), uniform)
        middle = jnp.where(at_kink, phi.threshold + jnp.where(steep[0], 0, 1 / phi.gain), middle)
        saliency = jnp.where(merged, jnp.where(merged, uniform, 1.0), secant) / kappa
        return saliency, jnp.where(merged, middle, currents)


def _conditions(walk, corner, merged, scaled, point):
    return walk.conditions(corner, merged, scaled, point)


def _own_balance(phi, gamma, current):
    """Zero in the uniform state."""
    return current - gamma * phi(current)
