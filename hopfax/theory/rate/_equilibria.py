r"""All equilibria of the planar system of a rate memory.

With currents $y$ (active group) and $z$ (silent group), $G_k(y) = y - k \phi(y)$ and the couplings
of `_plane.Couplings`, equilibria are the solutions of

$$G_A(y) = u_S + B \phi(z), \qquad G_E(z) = u_C + C \phi(y).$$

They are looked for in currents and not in rates, as each current has one rate, but a rate at which
$\phi$ is flat has many currents.

Piecewise-linear activations: in each pair of straight pieces the system is linear, and its solution
counts if it lies in that pair. A singular system may have a whole line of them.

Smooth activations: the second equation gives up to three z for each y, one on each monotone piece
(*branch*) of $G_E$. Along these curves the residual of the first equation is evaluated on nodes:

1. a change of sign between two nodes is an equilibrium;
2. where the residual has turned back between two nodes without a change of sign, its turning point
   is found by bisection. If the sign differs there, two equilibria lie between the nodes.

Each is then found by bisection, and refined by two Newton steps. All of that is frozen; derivatives
are those of the solution.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from ..._programs import jitted
from ..._rate_activations import HardSigmoid, Logistic, RectifiedTanh, ThresholdLinear, steepest
from ..._roots import implicit_point
from .._search import bisect
from ._plane import couplings, eigenvalues

#: Nodes of each of the three families of the scan.
NODES = 160
#: Equilibria that are looked for, if not more are asked for: two groups of three rates each.
ROOM = 9
#: Turning points that are looked for between nodes.
EXTREMA = 12
#: Bisections of z on a branch, to machine precision.
ROUNDS = 48
#: Bisections of y between two nodes; Newton's method takes over.
OUTER = 28
PIECEWISE_LINEAR = (HardSigmoid, ThresholdLinear)


@jitted
def equilibria(phi, kappa, gamma, q, inputs, memory, most):
    """Rates (most, 2) and eigenvalues (most, 2) by rising active rate, which places are taken
    (most,), how many isolated equilibria there are, also beyond `most`, and whether there is a
    continuum besides. If there are more than `most`, those nearest to the memory, whose currents
    are `memory`, are kept.
    """
    between = couplings(kappa, gamma, q)
    known = jnp.isfinite(jnp.stack([*between, *inputs])).all() & (phi.gain > 0)
    safe = [jnp.where(known, v, 0.0) for v in (*between, *inputs)]
    between, inputs = type(between)(*safe[:4]), tuple(safe[4:])
    find = _cells if isinstance(phi, PIECEWISE_LINEAR) else _scan
    y, z, there, count, continuum = find(phi, between, inputs, max(most, ROOM))
    # A memory whose current is at a kink may be where two branches end, and no scan finds that.
    off = jnp.maximum(*map(abs, _residual(phi, between, inputs, *memory)))
    apart = jnp.maximum(abs(phi(y) - phi(memory[0])), abs(phi(z) - phi(memory[1])))
    new = off < 1e3 * jnp.finfo(y.dtype).eps * (abs(memory[0]) + abs(memory[1]))
    new = new & ~continuum & ~(there & (apart < jnp.finfo(y.dtype).eps ** 0.4)).any()
    y, z = jnp.append(y, memory[0]), jnp.append(z, memory[1])
    there, count = jnp.append(there, new) & known, count + new.astype(count.dtype)
    s, c = phi(y), phi(z)
    first, second = eigenvalues(between, steepest(phi, y), steepest(phi, z))
    far = stop_gradient(jnp.maximum(abs(s - phi(memory[0])), abs(c - phi(memory[1]))))
    near = jnp.argsort(jnp.where(there, far, jnp.inf))[:most]
    order = near[jnp.argsort(stop_gradient(jnp.where(there, s, jnp.inf))[near])]
    found = jnp.where(there[:, None], jnp.stack([s, c, first, second], 1), jnp.nan)[order]
    short = max(most - len(found), 0)
    found = jnp.pad(found, ((0, short), (0, 0)), constant_values=jnp.nan)
    exists = ~jnp.isnan(found[:, 0])
    return found[:, :2], found[:, 2:], exists, jnp.where(known, count, 0), continuum & known


def _residual(phi, between, inputs, y, z):
    A, B, C, E = between
    return y - A * phi(y) - B * phi(z) - inputs[0], z - C * phi(y) - E * phi(z) - inputs[1]


# Piecewise linear: one linear system in each cell


def _cells(phi, between, inputs, most):
    """The solution of each pair of straight pieces (a cell), and whether a singular cell holds a
    continuum of them.

    All comparisons allow for rounding. A determinant that vanishes but for that would put a single
    equilibrium somewhere on a line of them, and one at a kink would be found in both cells that
    meet there, or in none.
    """
    A, B, C, E = between
    rho, start = phi.gain.astype(A.dtype), phi.threshold.astype(A.dtype)
    slopes, offsets, ends = _pieces(phi.ceiling, rho, start)
    first, second = (at.ravel() for at in np.indices((len(slopes), len(slopes))))
    low1, high1, low2, high2 = ends[first], ends[first + 1], ends[second], ends[second + 1]
    parts1 = (A * offsets[first], B * offsets[second])
    parts2 = (C * offsets[first], E * offsets[second])
    right1, right2 = inputs[0] + sum(parts1), inputs[1] + sum(parts2)
    a11, a12 = 1 - A * slopes[first], -B * slopes[second]
    a21, a22 = -C * slopes[first], 1 - E * slopes[second]
    rounding = 32 * jnp.finfo(A.dtype).eps
    size = (1 + abs(A * slopes[first])) * (1 + abs(E * slopes[second])) + abs(a12 * a21)
    determinant = a11 * a22 - a12 * a21
    regular = abs(determinant) > rounding * size
    divide = jnp.where(regular, determinant, 1.0)
    y = (a22 * right1 - a12 * right2) / divide
    z = (a11 * right2 - a21 * right1) / divide
    sums1 = abs(inputs[0]) + sum(map(abs, parts1)) + abs(start)
    sums2 = abs(inputs[1]) + sum(map(abs, parts2)) + abs(start)
    scale = (1 + abs(a11) + abs(a12) + abs(a21) + abs(a22)) * (sums1 + sums2)
    slack = jnp.minimum(rounding * (scale / abs(divide) + 1 / rho), 1e-3 / rho)
    inside = (y >= low1 - slack) & (y <= high1 + slack)
    there = regular & inside & (z >= low2 - slack) & (z <= high2 + slack)
    y, z = jnp.clip(y, low1, high1), jnp.clip(z, low2, high2)
    gap = jnp.maximum(abs(y[:, None] - y), abs(z[:, None] - z))
    same = gap <= 2 * jnp.maximum(slack[:, None], slack)
    earlier = jnp.tri(len(y), k=-1, dtype=bool) & there
    there = there & ~(same & earlier).any(1)
    far = 4 + sum(map(abs, between)) * (1 + rho) + scale.max()
    boxes = [jnp.clip(end, -far, far) for end in (low1, high1, low2, high2)]
    rows = ((a11, a12, right1), (a21, a22, right2))
    line = ~regular & _meet(rows, boxes, rounding * scale)
    # Where a line leaves its cell, it ends in a solution of the next one.
    beside = (y[:, None] >= low1 - slack[:, None]) & (y[:, None] <= high1 + slack[:, None])
    beside = beside & (z[:, None] >= low2 - slack[:, None]) & (z[:, None] <= high2 + slack[:, None])
    off = abs(a11 * y[:, None] + a12 * z[:, None] - right1)
    off = off + abs(a21 * y[:, None] + a22 * z[:, None] - right2)
    there = there & ~(line & beside & (off <= 8 * (rounding * scale + slack[:, None]))).any(1)
    return y, z, there, there.sum(), line.any()


def _pieces(ceiling, rho, start):
    """Slopes and offsets of the straight pieces of phi, and the currents between them."""
    zero, infinity, end = jnp.zeros_like(rho), jnp.full_like(rho, jnp.inf), start + 1 / rho
    ends = [-infinity, start, infinity]
    slopes, offsets = [zero, rho], [zero, -rho * start]
    if ceiling == 1.0:
        ends, slopes, offsets = [*ends[:2], end, infinity], [*slopes, zero], [*offsets, zero + 1]
    return map(jnp.stack, (slopes, offsets, ends))


def _meet(rows, box, rounding):
    """Whether the line that both equations describe, if they are one and the same, passes through
    the inside of a box."""
    (a11, a12, right1), (a21, a22, right2) = rows
    one = abs(a11 * right2 - a21 * right1) + abs(a12 * right2 - a22 * right1)
    upper = abs(a11) + abs(a12) >= abs(a21) + abs(a22)
    p, r, right = (jnp.where(upper, u, v) for u, v in zip(*rows, strict=True))
    low1, high1, low2, high2 = box
    least = jnp.minimum(p * low1, p * high1) + jnp.minimum(r * low2, r * high2) - right
    most = jnp.maximum(p * low1, p * high1) + jnp.maximum(r * low2, r * high2) - right
    all_of_it = abs(least) + abs(most) <= 4 * rounding  # both equations are 0 = 0
    crossed = (least < -rounding) & (most > rounding)
    return (one <= 4 * rounding) & (crossed | all_of_it)


# Smooth: a scan along the three branches of z at given y


def _folds(phi, E):
    """The two turning points of $G_E$, and its values there: it rises up to the first current,
    falls to the second and rises again."""
    rho, start = phi.gain.astype(E.dtype), phi.threshold.astype(E.dtype)
    steep = E * rho > 1
    ratio = jnp.where(steep, E * rho, 1.0)
    if isinstance(phi, RectifiedTanh):
        first, second = start, start + jnp.arccosh(jnp.sqrt(ratio)) / rho
    else:
        small = 1 / (2 * ratio * (1 + jnp.sqrt(1 - 1 / ratio)))  # the lower rate of slope 1/E
        first = phi.inverse(small)
        second = 2 * start + 1 / rho - first
    return first, second, first - E * phi(first), second - E * phi(second)


def _scan(phi, between, inputs, most):
    """Brackets on the curves, bisection in each, and two Newton steps: see the head of the file."""
    frozen = stop_gradient((phi, between, inputs))
    curve = _Curve(*frozen, _folds(frozen[0], frozen[1].E))
    branch, low, high, sign, there, count = _brackets(curve, most)

    def signed(y):
        return sign * curve.residual(y, curve.follow(branch, y)[0])

    y = bisect(signed, low, high, OUTER)
    z = curve.follow(branch, y)[0]
    y, z = jnp.where(there, y, 0.0), jnp.where(there, z, 0.0)
    for _ in range(2):
        y, z = stop_gradient(_polish(phi, between, inputs, y, z))
    function = eqx.Partial(_both_residuals, phi, between, inputs)
    y, z = jax.vmap(lambda point: implicit_point(function, point))(jnp.stack([y, z], 1)).T
    return y, z, there, count, jnp.asarray(False)


def _both_residuals(phi, between, inputs, point):
    return jnp.stack(_residual(phi, between, inputs, *point))


def _brackets(curve, most):
    """Up to `most` intervals in which the residual changes sign once: branch, ends, the sign at the
    upper end, which places are taken, and how many intervals there are at all."""
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
    return *(part[index] for part in (branch, low, high, sign)), there, count


def _polish(phi, between, inputs, y, z):
    """One Newton step, unless it is large: next to a fold the residual is mere rounding, divided by
    a determinant that vanishes, and the step would leave the equilibrium."""
    A, B, C, E = between
    slope1, slope2 = (phi.slope(v) for v in (y, z))
    a11, a12, a21, a22 = 1 - A * slope1, -B * slope2, -C * slope1, 1 - E * slope2
    determinant = a11 * a22 - a12 * a21
    determinant = jnp.where(determinant == 0, 1.0, determinant)
    first, second = _residual(phi, between, inputs, y, z)
    dy = (a22 * first - a12 * second) / determinant
    dz = (a11 * second - a21 * first) / determinant
    small = jnp.sqrt(jnp.finfo(y.dtype).eps)
    near = (abs(dy) < small) & (abs(dz) < small)
    return jnp.where(near, y - dy, y), jnp.where(near, z - dz, z)


class _Curve(eqx.Module):
    r"""The points (y, z) with $G_E(z) = u_C + C \phi(y)$: up to three z for each y.

    Branches 0 and 2 are the rising pieces of $G_E$ below and above its turning points `turns`,
    branch 1 is the falling piece between them.
    """

    phi: Logistic | RectifiedTanh
    between: tuple
    inputs: tuple
    turns: tuple

    def nodes(self):
        """Currents y between which the scan looks. They are dense where phi is steep, at y or at z,
        since evenly spaced ones would step over two equilibria there; and they hold the ends of the
        branches, as an equilibrium beyond the last node of a branch would be missed."""
        A, B, C, E = self.between
        phi = self.phi
        rho, start = phi.gain.astype(A.dtype), phi.threshold.astype(A.dtype)
        pad = 0.01 + 0.01 * (abs(A) + abs(B))
        low = self.inputs[0] + jnp.minimum(A, 0.0) + jnp.minimum(B, 0.0) - pad
        high = self.inputs[0] + jnp.maximum(A, 0.0) + jnp.maximum(B, 0.0) + pad
        steep = start + jnp.asarray(np.linspace(-4.0, 5.0, NODES), A.dtype) / rho
        first, second, _, _ = self.turns
        z = jnp.concatenate([steep, first[None], second[None]])
        divide = jnp.where(C == 0, 1.0, C)
        rate = jnp.where(C == 0, 0.5, (z - E * phi(z) - self.inputs[1]) / divide)
        inside = (rate > 0) & (rate < 1)
        others = jnp.where(inside, phi.inverse(jnp.where(inside, rate, 0.5)), low)
        kink = jnp.stack([start, start + 1e-9 / rho])
        even = jnp.linspace(low, high, NODES)
        return jnp.sort(jnp.clip(jnp.concatenate([even, steep, others, kink]), low, high))

    def follow(self, branch, y):
        """The current z on a branch, by bisection between bounds that hold it, and whether the
        branch reaches y. The slack keeps an end of a branch that rounding moved outside."""
        C, E = self.between[2:]
        first, second, at_first, at_second = self.turns
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
        return _residual(self.phi, self.between, self.inputs, y, z)[0]

    def rises(self, branch, y, z):
        """Whether the residual of the first equation grows with y along the curve. It has the sign
        of the determinant of the whole system, which vanishes where two equilibria merge, turned
        around on the falling branch."""
        A, B, C, E = self.between
        slope1, slope2 = self.phi.slope(y), self.phi.slope(z)
        determinant = (1 - A * slope1) * (1 - E * slope2) - B * C * slope1 * slope2
        return (determinant > 0) != (branch == 1)
