r"""The planar system of a rate memory: all its equilibria, and the fold of the memory's branch.

With currents $y$ (active group) and $z$ (silent group), $G_k(y) = y - k \phi(y)$ and the couplings
of `_rate_design.Planar`, equilibria are the solutions of

$$G_A(y) = u_S + B \phi(z), \qquad G_E(z) = u_C + C \phi(y).$$

Nothing is lost where $\phi$ is flat, as every rate belongs to one current here and not the other
way round. Results are frozen and take one Newton step that is differentiated.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from .._rate_activations import (
    AbstractRateActivation,
    HardSigmoid,
    Logistic,
    RectifiedTanh,
    ThresholdLinear,
)
from ._rate_design import eigenvalues, planar
from ._search import bisect

#: Nodes of each of the three families of the scan; turning points looked for between them;
#: bisections of z on a branch, and of y between nodes, where Newton's method takes over.
NODES, EXTREMA, ROUNDS, OUTER = 160, 12, 48, 28
PIECEWISE_LINEAR = (HardSigmoid, ThresholdLinear)


@eqx.filter_jit
def equilibria(phi, kappa, gamma, q, inputs, most):
    """Rates (most, 2), eigenvalues (most, 2), whether there is one (most,), and how many at all."""
    couplings = planar(kappa, gamma, q)
    known = jnp.isfinite(jnp.stack([*couplings, *inputs])).all() & (phi.gain > 0)
    safe = [jnp.where(known, v, 0.0) for v in (*couplings, *inputs)]
    couplings, inputs = type(couplings)(*safe[:4]), tuple(safe[4:])
    find = _cells if isinstance(phi, PIECEWISE_LINEAR) else _scan
    y, z, there, count = find(phi, couplings, inputs, most)
    there = there & known
    s, c = phi(y), phi(z)
    first, second = eigenvalues(couplings, phi.slope(y), phi.slope(z))
    order = jnp.argsort(stop_gradient(jnp.where(there, s, jnp.inf)))
    found = jnp.where(there[:, None], jnp.stack([s, c, first, second], 1), jnp.nan)[order]
    short = max(most - len(found), 0)
    found = jnp.pad(found, ((0, short), (0, 0)), constant_values=jnp.nan)[:most]
    return found[:, :2], found[:, 2:], ~jnp.isnan(found[:, 0]), jnp.where(known, count, 0)


def _residual(phi, couplings, inputs, y, z):
    A, B, C, E = couplings
    return y - A * phi(y) - B * phi(z) - inputs[0], z - C * phi(y) - E * phi(z) - inputs[1]


# Piecewise linear: one linear system in each cell


def _cells(phi, couplings, inputs, most):
    """One candidate in each pair of straight pieces; a singular one (a continuum) has none."""
    A, B, C, E = couplings
    rho, start = phi.gain.astype(A.dtype), phi.threshold.astype(A.dtype)
    zero, infinity = jnp.zeros_like(A), jnp.full_like(A, jnp.inf)
    end = start + 1 / rho
    pieces = [
        (zero, zero, -infinity, start),
        (-rho * start, rho, start, end),
    ]  # offset, slope, ends
    if phi.ceiling == 1.0:
        pieces.append((zero + 1, zero, end, infinity))
    else:
        pieces[1] = (*pieces[1][:3], infinity)
    found = []
    for offset1, slope1, low1, high1 in pieces:
        for offset2, slope2, low2, high2 in pieces:
            right1 = inputs[0] + A * offset1 + B * offset2
            right2 = inputs[1] + C * offset1 + E * offset2
            a11, a12, a21, a22 = 1 - A * slope1, -B * slope2, -C * slope1, 1 - E * slope2
            determinant = a11 * a22 - a12 * a21
            regular = determinant != 0
            divide = jnp.where(regular, determinant, 1.0)
            y = (a22 * right1 - a12 * right2) / divide
            z = (a11 * right2 - a21 * right1) / divide
            inside = (y >= low1) & (y < high1) & (z >= low2) & (z < high2)
            found.append((y, z, regular & inside))
    y, z, there = (jnp.stack(part) for part in zip(*found, strict=True))
    return y, z, there, there.sum()


# Smooth: a scan along the three branches of z at given y


def _folds(phi, E):
    """Where $G_E$ turns: it rises up to the first current, and again from the second on."""
    rho, start = phi.gain.astype(E.dtype), phi.threshold.astype(E.dtype)
    steep = E * rho > 1
    ratio = jnp.where(steep, E * rho, 1.0)
    if isinstance(phi, RectifiedTanh):
        width = jnp.arccosh(jnp.where(steep, ratio, 2.0)) / rho
        return start, start + jnp.where(steep, width, 0.0)
    centre = start + 1 / (2 * rho)
    small = 1 / (2 * ratio * (1 + jnp.sqrt(1 - 1 / ratio)))  # the lower rate of slope 1/E
    width = jnp.where(steep, centre - phi.inverse(jnp.where(steep, small, 0.25)), 0.0)
    return centre - width, centre + width


def _scan(phi, couplings, inputs, most):
    """Sign changes of the residual along the curves, and pairs of roots between two nodes."""
    curve = _Curve(*stop_gradient((phi, couplings, inputs)))
    nodes = curve.nodes()
    n, branches = len(nodes), jnp.arange(3)[:, None]
    z, allowed = curve.follow(branches, nodes)
    positive = curve.residual(nodes, z) > 0  # (3, nodes)
    rising = curve.rises(branches, nodes, z)
    cell = allowed[:, 1:] & allowed[:, :-1]
    change = cell & (positive[:, 1:] != positive[:, :-1])
    turn = cell & ~change & (rising[:, 1:] != rising[:, :-1])
    turn = turn & (rising[:, 1:] == positive[:, 1:])  # towards zero and back

    def ends(mask, size):
        index = jnp.nonzero(mask.ravel(), size=size, fill_value=-1)[0]
        branch, at = jnp.maximum(index, 0) // (n - 1), jnp.maximum(index, 0) % (n - 1)
        return branch, nodes[at], nodes[at + 1], positive[branch, at + 1], index >= 0

    branch, low, high, up, there = ends(change, most)
    branch2, low2, high2, up2, there2 = ends(turn, EXTREMA)

    def turned(y):
        return jnp.where(curve.rises(branch2, y, curve.follow(branch2, y)[0]) == up2, 1.0, -1.0)

    middle = bisect(turned, low2, high2, OUTER)
    crossed = (curve.residual(middle, curve.follow(branch2, middle)[0]) > 0) != up2
    branch = jnp.concatenate([branch, branch2, branch2])
    low = jnp.concatenate([low, low2, middle])
    high = jnp.concatenate([high, middle, high2])
    sign = jnp.where(jnp.concatenate([up, ~up2, up2]), 1.0, -1.0)
    crossed = there2 & crossed
    index = jnp.concatenate([there, crossed, crossed])
    index = jnp.nonzero(index, size=most, fill_value=-1)[0]
    there, count = index >= 0, change.sum() + 2 * crossed.sum()
    branch, low, high, sign = (part[index] for part in (branch, low, high, sign))

    def signed(y):
        return sign * curve.residual(y, curve.follow(branch, y)[0])

    y = bisect(signed, low, high, OUTER)
    z = curve.follow(branch, y)[0]
    y, z = jnp.where(there, y, 0.0), jnp.where(there, z, 0.0)
    y, z = stop_gradient(_polish(phi, couplings, inputs, y, z))
    return *_polish(phi, couplings, inputs, y, z), there, count


def _polish(phi, couplings, inputs, y, z):
    """One Newton step, unless it leads away: next to a fold rounding is all there is."""
    A, B, C, E = stop_gradient(couplings)
    slope1, slope2 = (stop_gradient(phi.slope(v)) for v in (y, z))
    a11, a12, a21, a22 = 1 - A * slope1, -B * slope2, -C * slope1, 1 - E * slope2
    determinant = a11 * a22 - a12 * a21
    determinant = jnp.where(determinant == 0, 1.0, determinant)
    first, second = _residual(phi, couplings, inputs, stop_gradient(y), stop_gradient(z))
    dy = (a22 * first - a12 * second) / determinant
    dz = (a11 * second - a21 * first) / determinant
    small = jnp.sqrt(jnp.finfo(y.dtype).eps)
    near = (abs(dy) < small) & (abs(dz) < small)
    # where the step is refused its value is dropped and its derivative kept
    back = jnp.where(near, 0.0, 1.0)
    return y - dy + back * stop_gradient(dy), z - dz + back * stop_gradient(dz)


class _Curve(eqx.Module):
    r"""The points (y, z) with $G_E(z) = u_C + C \phi(y)$: up to three z for each y."""

    phi: Logistic | RectifiedTanh
    couplings: tuple
    inputs: tuple

    def turns(self):
        E = self.couplings[3]
        first, second = _folds(self.phi, E)
        return first, second, first - E * self.phi(first), second - E * self.phi(second)

    def nodes(self):
        """Currents y, dense where phi is steep at y or at z, with the ends of the branches."""
        A, B, C, E = self.couplings
        phi = self.phi
        rho, start = phi.gain.astype(A.dtype), phi.threshold.astype(A.dtype)
        pad = 0.01 + 0.01 * (abs(A) + abs(B))
        low = self.inputs[0] + jnp.minimum(A, 0.0) + jnp.minimum(B, 0.0) - pad
        high = self.inputs[0] + jnp.maximum(A, 0.0) + jnp.maximum(B, 0.0) + pad
        steep = start + jnp.asarray(np.linspace(-4.0, 5.0, NODES), A.dtype) / rho
        first, second, _, _ = self.turns()
        z = jnp.concatenate([steep, first[None], second[None]])
        divide = jnp.where(C == 0, 1.0, C)
        rate = jnp.where(C == 0, 0.5, (z - E * phi(z) - self.inputs[1]) / divide)
        inside = (rate > 0) & (rate < 1)
        others = jnp.where(inside, phi.inverse(jnp.where(inside, rate, 0.5)), low)
        kink = jnp.stack([start, start + 1e-9 / rho])
        even = jnp.linspace(low, high, NODES)
        return jnp.sort(jnp.clip(jnp.concatenate([even, steep, others, kink]), low, high))

    def follow(self, branch, y):
        """z on a branch, and whether the branch reaches y."""
        C, E = self.couplings[2:]
        first, second, at_first, at_second = self.turns()
        w = self.inputs[1] + C * self.phi(y)
        slack = 16 * jnp.finfo(w.dtype).eps * (1 + abs(w) + abs(E))
        below, above = w <= at_first + slack, w >= at_second - slack
        allowed = jnp.where(branch == 0, below, jnp.where(branch == 1, below & above, above))
        allowed = allowed & ((branch != 1) | (second > first))
        low = jnp.where(branch == 0, w + jnp.minimum(E, 0.0) - slack, second)
        high = jnp.where(branch == 2, w + jnp.maximum(E, 0.0) + slack, first)
        low = jnp.where(branch == 0, jnp.minimum(low, first), low)
        high = jnp.where(branch == 2, jnp.maximum(high, second), high)
        # the middle branch falls: from its upper end down
        z = bisect(lambda z: z - E * self.phi(z) - w, low, high, ROUNDS)
        return z, allowed

    def residual(self, y, z):
        return _residual(self.phi, self.couplings, self.inputs, y, z)[0]

    def rises(self, branch, y, z):
        """Whether the residual grows with y: by the determinant, which vanishes at folds."""
        A, B, C, E = self.couplings
        slope1, slope2 = self.phi.slope(y), self.phi.slope(z)
        determinant = (1 - A * slope1) * (1 - E * slope2) - B * C * slope1 * slope2
        return (determinant > 0) != (branch == 1)


# The fold of the memory's branch


@eqx.filter_jit
def fold(phi, kappa, gamma, q, a, b):
    r"""Saliency at which the branch that starts in the memory at saliency 1 ends, or NaN.

    Without inputs the mean current does not depend on the saliency, and its balance is the curve

    $$H(y, z) = q G_\gamma(y) + (1-q) G_\gamma(z) = 0, \qquad
    \sigma = \frac{y - z}{\kappa\, (\phi(y) - \phi(z))}.$$

    It is followed from (b, a) in the direction in which the saliency falls, up to its minimum.
    """
    walk = _Walk(*stop_gradient((phi, kappa, gamma, q)))
    begin = stop_gradient(jnp.stack([b, a]))
    known = jnp.isfinite(jnp.stack([kappa, gamma, *begin])).all() & (phi.gain > 0)
    begin = jnp.where(known, begin, jnp.arange(2.0, dtype=begin.dtype)[::-1])
    length = begin[0] - begin[1]
    ahead = walk.tangent(begin)
    ahead = jnp.where(walk.slope(begin, ahead) > 0, -ahead, ahead)

    def on(state):
        _, _, _, steps, falling = state
        return falling & (steps < 4096)

    def move(state):
        point, ahead, _, steps, _ = state
        size = walk.step(point, length)
        new, turned = walk.advance(point, ahead, size)
        falling = walk.falls(new, turned)
        point, ahead = jnp.where(falling, new, point), jnp.where(falling, turned, ahead)
        return point, ahead, size, steps + 1, falling

    start = (begin, ahead, length, 0, walk.falls(begin, ahead) & known)
    point, ahead, size, _, falling = jax.lax.while_loop(on, move, start)

    def halve(_, state):
        point, ahead, size = state
        size = size / 2
        new, turned = walk.advance(point, ahead, size)
        falling = walk.falls(new, turned)
        return jnp.where(falling, new, point), jnp.where(falling, turned, ahead), size

    point, ahead, _ = jax.lax.fori_loop(0, 60, halve, (point, ahead, size))
    saliency = walk.at_fold(phi, kappa, gamma, q, stop_gradient(point))
    found = known & ~falling & (saliency > 0)
    return jnp.where(found, saliency, jnp.nan), jnp.where(found, point, jnp.nan)


class _Walk(eqx.Module):
    phi: AbstractRateActivation
    kappa: jax.Array
    gamma: jax.Array
    q: jax.Array

    def balance(self, point):
        weights = jnp.stack([self.q, 1 - self.q])
        return (weights * (point - self.gamma * self.phi(point))).sum()

    def gradient(self, point):
        weights = jnp.stack([self.q, 1 - self.q])
        return weights * (1 - self.gamma * self.phi.slope(point))

    def tangent(self, point):
        across = self.gradient(point)
        along = jnp.stack([-across[1], across[0]])
        return along / jnp.sqrt(jnp.maximum((along**2).sum(), jnp.finfo(point.dtype).tiny))

    def slope(self, point, ahead):
        """Sign of the change of the saliency (its logarithm, where the groups differ)."""
        rates, slopes = self.phi(point), self.phi.slope(point) * ahead
        difference = rates[0] - rates[1]
        return (ahead[0] - ahead[1]) * difference - (slopes[0] - slopes[1]) * (point[0] - point[1])

    def falls(self, point, ahead):
        """Whether the branch goes on: the groups still differ, and the saliency still falls."""
        return (point[0] > point[1]) & (self.slope(point, ahead) < 0)

    def step(self, point, length):
        """Small against the memory and, near the steep part, against that."""
        rho, start = self.phi.gain.astype(point.dtype), self.phi.threshold.astype(point.dtype)
        outside = jnp.maximum(start - point, point - start - 1 / rho)
        distance = jnp.maximum(outside - 1 / rho, 0.0).min()
        return jnp.minimum(length / 128, (1 / rho + 2 * distance) / 32)

    def advance(self, point, ahead, size):
        new = point + size * ahead
        for _ in range(4):
            across = self.gradient(new)
            square = jnp.maximum((across**2).sum(), jnp.finfo(point.dtype).tiny)
            new = new - self.balance(new) * across / square
        along = self.tangent(new)
        return new, jnp.where((along * ahead).sum() < 0, -along, along)

    def at_fold(self, phi, kappa, gamma, q, point):
        """The saliency there; one scaled current is frozen and the other follows from the balance.

        At a smooth minimum either will do. In a corner the current in the corner is the one.
        """
        rho, start = self.phi.gain.astype(point.dtype), self.phi.threshold.astype(point.dtype)
        scaled = rho * (point - start)
        across = abs(self.gradient(point))
        corners = {HardSigmoid: (0.0, 1.0), RectifiedTanh: (0.0,), ThresholdLinear: (0.0,)}
        first = across[1] >= across[0]  # freeze the first
        for corner in corners.get(type(self.phi), ()):
            near = abs(scaled - corner) < 1e-6
            first = jnp.where(near[0], True, jnp.where(near[1], False, first))
        moving = phi.threshold.astype(point.dtype) + scaled / phi.gain.astype(point.dtype)
        weights = jnp.stack([q, 1 - q])
        keep = jnp.where(first, jnp.array([True, False]), jnp.array([False, True]))
        mixed = jnp.where(keep, moving, point)
        left = (weights * (mixed - gamma * phi(mixed))).sum()
        divide = jnp.where(first, self.gradient(point)[1], self.gradient(point)[0])
        correction = left / jnp.where(divide == 0, 1.0, divide)
        currents = jnp.where(keep, mixed, mixed - correction)
        rates = phi(currents)
        return (currents[0] - currents[1]) / (kappa * (rates[0] - rates[1]))
