r"""Folds in two parameters: the curve on which a branch of states or orbits turns back.

Beside $F(u, p, q) = 0$ a fold has a singular Jacobian $F_u$. One number says so (Griewank & Reddien
1984; Govaerts 2000): with fixed vectors b and c the bordered system

    ( F_u  b ) (phi)   ( 0 )
    ( c^T  0 ) ( g ) = ( 1 )

is regular also where $F_u$ has one zero eigenvalue, and $g = 0$ there and only there. So a fold is
a solution of n + 1 equations F = 0, g = 0 in (u, p), which is followed in q like any other; b and c
are the null vectors at the point before. With $\psi$ of the transposed system the derivative of
$g$ is

$$g_z = -\psi \cdot F_{uz}\, \phi, \qquad z = u, p, q,$$

where $F_{uz} \phi$ is the change of all first derivatives along $\phi$. It is a central difference
of them: second derivatives through a run cost more to compile than all else here. The equations
themselves have no such error, and they decide what is a solution; only Newton's steps have it.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._errors import as_count, check_type
from .._types import ArrayLike, Input
from ._branch import Rest, interval, part_of, seen
from ._continuation import (
    AbstractEquation,
    Curve,
    Settings,
    Slope,
    follow,
    product,
    solutions,
    without,
)
from ._curves import Branch, Special
from ._parameter import Pair, as_maker, made
from ._reduced import Given, checked, checked_inputs, left_out, reduced, tolerance
from ._shooting import Shooting, relabelling

_REGULAR = 1e-3  # of the largest singular value of F_u: a fold has a smaller one
_UPRIGHT = 1e-4  # the part of p in a direction in which q turns back, below which it is a cusp
#: What happens where a branch has, beside the fold, another eigenvalue at the edge of stability.
_BESIDE = {
    "Hopf point": "fold-Hopf point",
    "period doubling": "fold-flip point",
    "Neimark-Sacker point": "fold-Neimark-Sacker point",
}


class _Folds(AbstractEquation):
    """Folds of an equation of two parameters. A vector is (u, p)."""

    def __init__(self, equation: AbstractEquation, eps: float):
        self.equation, self.neutral = equation, equation.neutral
        # Shorter than is usual: where the orbit begins near an event of hard tanh, g bends within
        # 1e-5 of it. Steps of Newton's method bear an error of 1e-6 from rounding.
        self.shift = eps**0.45

    def slope(self, u: np.ndarray, p: np.ndarray, memory: np.ndarray, lanes: np.ndarray) -> Slope:
        """F and g, and their derivatives by (u, p) and q."""
        v, both, n = u[:, :-1], _both(u, p), u.shape[1] - 1
        own, left, right = np.split(memory, [-2 * n, -n], axis=1)
        here = self.equation.slope(v, both, own, lanes)
        matrix = _framed(here.by_state, left, right)
        one = np.zeros((len(u), n + 1))
        one[:, n] = 1.0
        phi = solutions(matrix, one)
        psi = solutions(matrix.transpose(0, 2, 1), one)
        size = np.maximum(1.0, np.abs(v).max(1)) / np.linalg.norm(phi[:, :n], axis=1)
        shift = np.nan_to_num(self.shift * size, posinf=0.0)[:, None]
        along = shift * np.nan_to_num(phi[:, :n])
        ends = [self.equation.slope(v + s * along, both, own, lanes) for s in (1.0, -1.0)]
        change = (_all(ends[0]) - _all(ends[1])) / (2 * shift[:, :, None])
        gradient = -np.einsum("bi,bij->bj", psi[:, :n], change)
        whole = np.concatenate([_all(here), gradient[:, None]], axis=1)
        residual = np.concatenate([here.residual, phi[:, n:]], axis=1)
        return Slope(residual, whole[:, :, : n + 1], whole[:, :, n + 1])

    def remembered(self, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        """What the equation itself remembers, and left and right null vectors."""
        v, both = u[:, :-1], _both(u, p)
        own = self.equation.remembered(v, both)
        here = self.equation.slope(v, both, own, np.ones(len(u), bool))
        square = np.nan_to_num(here.by_state)
        left, _, right = np.linalg.svd(square)
        left, right = left[:, :, -1], right[:, -1]
        # Their signs are those of one orientation: else g, and what tells of branch points, would
        # change its sign from step to step.
        sign = np.linalg.slogdet(_framed(square, left, right))[0]
        return np.concatenate([own, left * sign[:, None], right], axis=1)

    def spectrum(self, slope: Slope) -> np.ndarray:
        """That of the equation, without the eigenvalue which is critical at a fold."""
        inner = slope.by_state[:, :-1, :-1]
        own = Slope(slope.residual[:, :-1], inner, slope.by_state[:, :-1, -1])
        return without(self.equation.spectrum(own), self.neutral)

    def unstable(self, spectrum: np.ndarray) -> np.ndarray:
        """How many others are unstable."""
        return self.equation.unstable(spectrum)

    def tests(self, spectrum: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
        """A second eigenvalue becomes critical, or others leave the stable side."""
        found = {"Bogdanov-Takens point": (product(spectrum - self.neutral), 1)}
        others = self.equation.tests(spectrum)
        return found | {_BESIDE[kind]: test for kind, test in others.items()}


def _framed(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Matrices with a column and a row around them, and 0 in the corner."""
    B, n = left.shape
    whole = np.zeros((B, n + 1, n + 1))
    whole[:, :n, :n], whole[:, :n, n], whole[:, n, :n] = matrix, left, right
    return whole


def _both(u: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.stack([u[:, -1], q], axis=1)


def _all(slope: Slope) -> np.ndarray:
    """Derivatives by u and both parameters, (B, n, n + 2)."""
    return np.concatenate([slope.by_state, slope.by_parameter], axis=2)


def fold_curve(
    make: Any,
    fold: Special,
    between: ArrayLike,
    *,
    stimulus: Input = None,
    current: Input = None,
    step: float = 0.1,
    max_steps: int = 300,
) -> Branch:
    r"""A fold as a second parameter varies: a threshold as a function of it.

    At a fold of a branch of states of rest or of orbits, $F(u, p, q) = 0$ has a singular Jacobian
    $F_u$. Both conditions together, the second one as the bordered scalar $g$ of Govaerts (2000,
    Numerical Methods for Bifurcations of Dynamical Equilibria, ch. 3), are followed by
    pseudo-arclength continuation in $(u, p, q)$ (Keller 1977), so that no search is repeated: the
    gain at which a sequence is born, over $\tau$ or over the bias, is one call. Every point is
    converged to the tolerance of a branch. On the way are named

    - *cusps*, where two folds meet and end; the curve goes on along the other one;
    - *turning points*, where only the second parameter turns back: there the branch itself has a
      branch point or begins as an isolated loop;
    - *branch points* of the curve, *Bogdanov-Takens points* (a second eigenvalue is 0, a second
      multiplier 1), *fold-Hopf*, *fold-flip* and *fold-Neimark-Sacker points*.

    **Arguments:**

    - `make`: a function of two numbers that returns a network: that in which the fold is one, and
      the second parameter. `hopfax.dynamics.along(network, "kappa", "tau")`, or your own.
    - `fold`: a fold of `branch` or `orbit_branch` at the second parameter's begin, among their
      `special` points; `end` of a `critical_gain`; `fold(k)` of another such curve.
    - `between`: where the second parameter begins, and towards where it goes.
    - `stimulus`, `current`: constant inputs, (N,), of states of rest.
    - `step`, `max_steps`: as of `branch`.

    **Returns:** a `Branch` over the second parameter, whose `threshold` is the first one. It says
    where and why it ends: with hard tanh it may be that steps become very short and `max_steps` are
    made, where an event meets the moment of the orbit that is solved for, since $g$ bends there.
    Begin anew with the `end` of a `critical_gain` further on.

    **Raises:** ValueError/TypeError for bad arguments, also for a fold that is none at
    `between[0]`. A corner of a piecewise linear equation, as that of hard tanh at rest, has no
    singular Jacobian and cannot be followed.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
    born = hx.dynamics.critical_gain(network)
    make = hx.dynamics.along(network, "kappa", "tau")
    found = hx.dynamics.fold_curve(make, born.end, (100.0, 50.0), step=0.5)
    found.parameter, found.threshold  # tau from 100 to 50, and the critical gains
    ```
    """
    make, (first, second) = as_maker(make, 2)
    begin, end = interval(between)
    steps, length = as_count(max_steps, "max_steps"), part_of(step)
    check_type(fold, "fold", Special, "a fold, as among the special points of a branch")
    if fold.kind != "fold":
        raise ValueError(f"`fold` must be a fold, but is a {fold.kind}.")
    network = made(make, fold.parameter, begin)
    template, dtype = checked(network, fold.state, "fold.state"), network.patterns.dtype
    given, pair = checked_inputs(network, stimulus, current), Pair(make)
    orbits, width = fold.returns is not None, len(fold.vector)
    if orbits and given != Given():
        raise ValueError("`stimulus` and `current` are for states of rest; orbits have none.")
    u, times = fold.vector, np.arange(width) == (width - 1 if orbits else -1)
    if orbits:
        u = np.append(u[:-1], 1.0)
        places = relabelling(reduced(network, template, Given()), fold.order)
        own: AbstractEquation = Shooting(pair, template, places, float(fold.returns or 1.0), dtype)
    else:
        others = left_out(network, reduced(network, template, given))
        own = Rest(pair, template, given, others, dtype)
    size = max(1.0, float(np.sqrt((u[~times] ** 2).mean())))
    metric = np.where(times, 1.0, 1 / ((~times).sum() * size**2))
    metric = np.append(metric, 1 / max(1.0, abs(fold.parameter)) ** 2)
    equation = _Folds(own, float(np.finfo(dtype).eps))
    start = np.append(u, fold.parameter)[None]
    _check_singular(own, start, begin)
    tol = tolerance(dtype) * size
    curves = follow(equation, start, Settings((begin, end), length, steps, tol, metric))
    for curve in curves:
        _name_turns(equation, curve, metric)

    def look(vectors: np.ndarray, q: np.ndarray) -> tuple[Any, Any, Any]:
        inner = vectors[:, : width - orbits]
        both = jnp.asarray(_both(vectors, q), dtype)
        return seen(pair, template, given, jnp.asarray(inner, dtype), both)

    scale = fold.returns if orbits else None
    return Branch.of(second, curves, look, scale=scale, order=fold.order, threshold=first)


def _check_singular(equation: AbstractEquation, start: np.ndarray, begin: float) -> None:
    """ValueError unless the Jacobian is nearly singular at the start."""
    u, both = start[:, :-1], _both(start, np.array([begin]))
    slope = equation.slope(u, both, equation.remembered(u, both), np.array([True]))
    sizes = np.linalg.svd(np.nan_to_num(slope.by_state[0]), compute_uv=False)
    if not sizes[-1] < _REGULAR * sizes[0]:
        raise ValueError(
            f"`fold` is none of make({start[0, -1]:.6g}, {begin:.6g}): the Jacobian is regular "
            f"there, its smallest singular value {sizes[-1]:.3g} of {sizes[0]:.3g}. It must be a "
            "fold at between[0]; a corner of a piecewise linear equation, as of hard tanh at rest, "
            "is none that can be followed."
        )


def _name_turns(equation: _Folds, curve: Curve, metric: np.ndarray) -> None:
    """Tell cusps, at which both parameters turn back, from turning points of the second one."""
    curve.ended = curve.ended.replace("a fold between", "a cusp or turning point between")
    for k, (kind, x, spectrum) in enumerate(curve.special):
        if kind == "fold":
            u, q = x[None, :-1], x[-1:]
            slope = equation.slope(u, q, equation.remembered(u, q), np.array([True]))
            direction = np.linalg.svd(slope.by_state[0])[2][-1]
            part = direction[-1] / np.sqrt((direction**2 * metric).sum())
            name = "cusp" if abs(part) * np.sqrt(metric[-1]) < _UPRIGHT else "turning point"
            curve.special[k] = (name, x, spectrum)
