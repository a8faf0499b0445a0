r"""Profile likelihoods: how well the data can be met at each value of one parameter.

One free entry is held at a value $w$ and all others are fitted again. Twice the rise of the loss,

$$D(w) = 2 \big[\min_{u:\,u_k = w} L(u) - L(\hat u)\big],$$

is compared with the quantiles of $\chi^2$ with one degree of freedom, or, where the errors of the
data are estimated from the residuals, $D / \hat s^2$ with those of $F(1, \nu)$; $\hat s^2$ is the
reduced chi-squared. Unlike a standard error this needs no parabola: where the likelihood falls off
on one side alone, or not at all, the profile shows it.

The values are reached by walking outwards from the best one, both ways side by side: each fit
begins where the last two let expect that the other entries go. A step in which the profile rises by
much is halved, so that a fit does not lose its valley; one in which it hardly rises is doubled.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._errors import FitWarning, warn
from .._programs import jitted
from .._progress import progress as bar
from .._report import Report, Reported
from ..losses import value
from ._choice import levenberg_marquardt
from ._intervals import Interval, Scale, check_level, quantile
from ._steppers import AbstractProblem, ByLeastSquares, Problem
from ._variables import Vectors

_RISE = 0.5  # of the root of the deviance that one step may bring, in standard errors
_TRIES = 40  # fits on either side; a profile that has not risen by then is open there
_SMALL = 1e-9  # steps are not halved below this, so that a wall ends the walk
_STEPS = 40  # of least squares at one value
_BETTER = 1e-2  # a fall of the deviance that counts as another minimum


class Origin(eqx.Module):
    """What a fit was made of, for the fits of a profile. `whole`: whether its errors hold for what
    it fitted alone, and not with further entries free."""

    problem: Problem
    data: Any
    tolerance: float = eqx.field(static=True)
    whole: bool = eqx.field(static=True, default=True)


class Profile(Reported, eqx.Module):
    r"""How well the data can be met at each value of one parameter.

    - `label`: which parameter. `best`: its fitted value.
    - `values`: (G,) the values tried, in order. `deviance`: (G,) $D$, in units of the variance of
      the data, with all other parameters fitted again; zero at the best value.
    - `others`: (G, n) all fitted entries, at each of the values.
    - `left`: degrees of freedom from which the errors of the data were estimated, or infinity.

    Barndorff-Nielsen, Cox 1994, *Inference and Asymptotics*, section 3.4; Raue et al. 2009,
    doi:10.1093/bioinformatics/btp358.

    **Example:**

    ```python
    found = hx.fit(
        {"a": jnp.zeros(2)},
        lambda model: jnp.array([1.0, 2.0, 2.1, 1.8]) - model["a"][jnp.array([0, 1, 1, 0])],
        where=lambda model: model["a"],
        progress=False,
    )
    profile = found.profile("a[1]")
    profile.interval(0.95)  # 0.82, 3.28: two numbers judge the errors
    ```
    """

    label: str = eqx.field(static=True)
    best: Float[Array, ""]
    values: Float[Array, " G"]
    deviance: Float[Array, " G"]
    others: Float[Array, "G n"]
    left: Float[Array, ""]
    free: Float[Array, " G"]
    scale: Scale
    entry: int = eqx.field(static=True)

    def bound(self, level: float = 0.95) -> Float[Array, ""]:
        """The root of the deviance at the ends of the interval of this level."""
        return quantile(check_level(level), self.left)

    def interval(self, level: float = 0.95) -> Interval:
        """Where the deviance stays below its quantile at `level`.

        **Returns:** `low` and `high`; an end that the profile does not reach is where the values of
        the parameter end: infinity, or the bound of its constraint.

        **Raises:** ValueError for a `level` that does not lie between 0 and 1.
        """
        bound = float(self.bound(level))
        free, roots = np.asarray(self.free), np.sqrt(np.maximum(np.asarray(self.deviance), 0.0))
        middle = int(np.argmin(roots))
        low = _crossing(free[: middle + 1][::-1], roots[: middle + 1][::-1], bound)
        high = _crossing(free[middle:], roots[middle:], bound)
        ends = [self._value(end, side) for end, side in ((low, -np.inf), (high, np.inf))]
        return Interval(*(jnp.asarray(end, self.best.dtype) for end in sorted(ends)))

    def _value(self, free: float | None, side: float) -> float:
        """The parameter at an end of an interval; None for an end that was not reached."""
        k = jnp.asarray(self.entry)
        if bool(self.scale.apart()[self.entry]) or free is None:
            free = side if free is None else free
            return float(self.scale.at(k, jnp.asarray(free, self.best.dtype)))
        return float(np.interp(free, np.asarray(self.free), np.asarray(self.values)))

    def _report(self) -> Report:
        low, high = (float(end) for end in self.interval())
        return Report(
            f"{self.label} = {float(self.best):.8g}, 95 % between {low:.6g} and {high:.6g}"
        )


def _crossing(free: np.ndarray, roots: np.ndarray, bound: float) -> float | None:
    """Where the root of the deviance first passes the bound, going outwards; None if nowhere."""
    beyond = np.flatnonzero(~(roots <= bound))  # a run that failed is no value to keep
    if beyond.size == 0:
        return None
    after = int(beyond[0])
    if after == 0 or not np.isfinite(roots[after]):
        return float(free[after])
    share = (bound - roots[after - 1]) / (roots[after] - roots[after - 1])
    return float(free[after - 1] + share * (free[after] - free[after - 1]))


class _Side:
    """A walk outwards from the best value, in the free entry, with all others fitted again."""

    def __init__(self, scale: Scale, entry: int, step: float):
        self.free = [float(scale.free[entry])]
        self.roots = [0.0]
        self.others = [np.asarray(scale.free)]
        with np.errstate(all="ignore"):
            slope = np.asarray(scale.covariance[:, entry] / scale.covariance[entry, entry])
        self.slope = np.where(np.isfinite(slope), slope, 0.0)
        self.step = step
        self.tries = 0

    def ended(self, bound: float) -> bool:
        """Whether the level has been passed, or the walk has gone on for long enough."""
        return self.roots[-1] > bound or self.tries >= _TRIES

    def next(self, entry: int) -> np.ndarray:
        """Where the next fit begins: as the last two points, or the linear model, let expect."""
        start = self.others[-1] + self.step * self.slope
        start[entry] = self.free[-1] + self.step
        return start

    def take(self, entry: int, others: np.ndarray, root: float, bound: float) -> None:
        """A step is kept unless the profile rises by too much in it: then half of it is tried."""
        self.tries += 1
        rise = root - self.roots[-1]
        small = abs(self.step) <= _SMALL * (1 + abs(self.free[-1]))
        if not (-_RISE <= rise <= _RISE * max(bound, 1.0) or small):  # or beyond a ridge
            self.step *= 0.5 if np.isfinite(rise) and rise < 4 * bound else 0.125
            return
        self.slope = (others - self.others[-1]) / (others[entry] - self.free[-1])
        self.free.append(float(others[entry]))
        self.roots.append(root if np.isfinite(root) else np.inf)
        self.others.append(others)
        if abs(rise) < _RISE / 2:
            self.step *= 2.0


def profile_of(
    origin: Origin, scale: Scale, loss: Array, label: str, entry: int, level: float
) -> Profile:
    """The profile of the free entry `entry`, far enough for intervals at `level`."""
    least = float(loss)
    left, bound = float(scale.left), float(quantile(level, scale.left))
    if not np.isinf(left) and not (left > 0 and least > 0):
        raise ValueError(
            "the errors of the data are estimated from the residuals, but the fit leaves none, so "
            "that there is no profile. Give `sigma` to the loss and absolute_sigma=True to the fit."
        )
    unit = 1.0 if np.isinf(left) else 2 * least / left
    width = float(scale.stderr[entry])
    first = _RISE * min(width if 0 < width < np.inf else 1.0, 1.0 + abs(float(scale.free[entry])))
    sides = [_Side(scale, entry, sign * first) for sign in (-1.0, 1.0)]
    lowest = 0.0
    while not all(side.ended(bound) for side in sides):
        start = np.stack([side.next(entry) for side in sides])
        losses, there = _held(origin, jnp.asarray(start, scale.free.dtype), jnp.asarray(entry))
        for side, end, others in zip(sides, np.asarray(losses), np.asarray(there), strict=True):
            deviance = 2 * (float(end) - least) / unit
            lowest = min(lowest, deviance) if np.isfinite(deviance) else lowest
            if not side.ended(bound):
                side.take(entry, others, float(np.sqrt(max(deviance, 0.0))), bound)
    dtype = scale.free.dtype
    free, roots, others = (
        jnp.asarray(np.concatenate([low[:0:-1], high]), dtype)
        for low, high in zip(*((s.free, s.roots, s.others) for s in sides), strict=True)
    )
    parameters = jax.vmap(scale.parameters)(others)
    values, best = parameters[:, entry], scale.parameters(scale.free)[entry]
    if lowest < -_BETTER:
        _warn_of_another(label)
    return Profile(label, best, values, roots**2, parameters, scale.left, free, scale, entry)


def ends_of(
    origin: Origin,
    scale: Scale,
    loss: Array,
    labels: tuple[str, ...],
    entries: np.ndarray,
    linear: Interval,
    level: float,
    progress: bool | Literal["auto"],
) -> Interval:
    """`linear` intervals with those of the profile in place of these `entries`. `progress`: whether
    to show a bar."""
    low, high = (np.array(end) for end in linear)
    with bar(len(entries), "profile", progress) as shown:
        for k in map(int, entries):
            own = profile_of(origin, scale, loss, labels[k], k, level).interval(level)
            low[k], high[k] = (float(end) for end in own)
            shown.update(1)
    return Interval(jnp.asarray(low), jnp.asarray(high))


def _warn_of_another(label: str) -> None:
    warn(
        f"the profile of {label} met a smaller loss than the fit: the fit ended in another "
        "minimum. Fit again from the best of `others`, or with more `starts`.",
        FitWarning,
    )


class _Held(AbstractProblem):
    """A problem in which one free entry is held; what is fitted is one vector of the others."""

    whole: Problem
    entry: Array
    at: Float[Array, ""]

    def others(self) -> Array:
        """The places of the entries that are fitted."""
        places = jnp.arange(self.whole.variables.size - 1)
        return jnp.where(places < self.entry, places, places + 1)

    def full(self, others: Float[Array, " m"]) -> Float[Array, " n"]:
        """All free entries."""
        blank = jnp.zeros(others.size + 1, others.dtype)
        return blank.at[self.others()].set(others).at[self.entry].set(self.at)

    def output(self, vectors: Vectors, data: Any) -> Float[Array, "..."]:
        """The residuals."""
        return self.whole.output(self._split(vectors), data)

    def jacobian(self, vectors: Vectors, data: Any) -> tuple[Array, Array]:
        """The residuals and their derivatives by the entries that are fitted."""
        residuals, jacobian = self.whole.jacobian(self._split(vectors), data)
        return residuals, jacobian[:, self.others()]

    def _split(self, vectors: Vectors) -> Vectors:
        _, back = ravel_pytree(self.whole.variables.start())
        return back(self.full(vectors[0]))


@jitted
def _held(
    origin: Origin, start: Float[Array, "G n"], entry: Array
) -> tuple[Float[Array, " G"], Float[Array, "G n"]]:
    """The least losses with one entry held where each start has it, and all entries there."""

    def one(start):
        held = _Held(origin.problem, entry, start[entry])
        others = start[held.others()]
        if others.size:
            others = _least(held, others, origin)
        return value(held.output((others,), origin.data)), held.full(others)

    return jax.vmap(one)(start)


def _least(held: Any, others: Float[Array, " m"], origin: Origin) -> Float[Array, " m"]:
    """The entries at the end of least squares, of those at which it was."""
    stepper = ByLeastSquares(levenberg_marquardt(origin.tolerance))
    state = stepper.init(held, (others,), origin.data)
    dynamic, static = eqx.partition(state, eqx.is_array)
    infinite = jnp.asarray(jnp.inf, others.dtype)

    def going(carry):
        return (carry[-1] < _STEPS) & ~carry[-2]

    def body(carry):
        vectors, state, best, least, _, number = carry
        step = stepper.step(held, vectors, eqx.combine(state, static), origin.data)
        loss = jnp.where(jnp.isfinite(step.loss), step.loss, jnp.inf)
        best = jnp.where(loss < least, step.at[0], best)
        state = eqx.filter(step.state, eqx.is_array)
        return step.vectors, state, best, jnp.minimum(loss, least), step.done, number + 1

    carry = ((others,), dynamic, others, infinite, jnp.zeros((), bool), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(going, body, carry)[2]
