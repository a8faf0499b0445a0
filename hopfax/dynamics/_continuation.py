r"""Pseudo-arclength continuation: solutions of $F(u, p) = 0$ along a curve, through its folds.

A curve is followed in $x = (u, p)$ by steps along its tangent $t$, each corrected by Newton's
method on $F = 0$ and $t \cdot (x - x_{guess}) = 0$ (Keller 1977), so that a fold, where $p$ turns
back, is a point like any other. Between two points the tests below change their sign where
something happens; there the length of the step is refined until the point is known to rounding:

    fold           the parameter's part of the tangent
    branch point   the determinant of the corrector's matrix: another curve crosses
    others         what the equation's own spectrum tells (`AbstractEquation.tests`)

Many curves (lanes) are followed at once, each with its own step, and end each for itself; special
points are refined when all curves are known, many at once. The equation is the compiled part; these
few numbers are NumPy's.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_CORRECTIONS = 10  # Newton steps for a point
_STRAIGHT = 0.95  # the least cosine between tangents of neighbouring points
_EXACT = 1e-4  # of the tolerance: below it nothing is left to correct
_KINK = 1e-3  # of the largest step: below it a turn is a kink, which no shorter step smooths
_REFINED = 90  # steps of the search for a special point: bisection alone needs 50
_ASIDE = (0.5, 0.37, 0.63, 0.2, 0.8)  # parts of an interval that are tried where others fail
_CLOSE = 1e-5  # the part of a step to which a special point has to be enclosed
_TRIED = 10  # of these in a row
_GROWTH, _SHRINK = 1.5, 0.4
_SAME = 1e-4  # the distance below which a fold and a branch point are one


class Slope(NamedTuple):
    r"""An equation at B points: $F$ (B, n), $\partial_u F$ (B, n, n), $\partial_p F$ (B, n)."""

    residual: np.ndarray
    by_state: np.ndarray
    by_parameter: np.ndarray

    def chosen(self, mask: np.ndarray, other: "Slope") -> "Slope":
        """Lane by lane, these where `mask`, else those of `other`."""

        def one(a, b):
            return np.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return Slope(*map(one, self, other))


class AbstractEquation(abc.ABC):
    r"""$F(u, p) = 0$ for B lanes at once, and what its derivatives tell of stability.

    `neutral`: the eigenvalue of a perturbation that neither grows nor decays."""

    neutral: float

    @abc.abstractmethod
    def slope(self, u: np.ndarray, p: np.ndarray, memory: np.ndarray, lanes: np.ndarray) -> Slope:
        """$F$ and its derivatives at (B, n) and (B,), for those of the lanes that are asked for.
        `memory`: what `remembered` returned at an earlier point of each."""

    @abc.abstractmethod
    def spectrum(self, slope: Slope) -> np.ndarray:
        """Eigenvalues or multipliers, (B, k) complex."""

    @abc.abstractmethod
    def unstable(self, spectrum: np.ndarray) -> np.ndarray:
        """How many of them are unstable, (B,)."""

    @abc.abstractmethod
    def tests(self, spectrum: np.ndarray) -> Mapping[str, tuple[np.ndarray, int]]:
        """For each kind of special point that the spectrum tells: a function that changes its sign
        there, as sign and logarithm (2, B), and by how many the unstable then change."""

    def remembered(self, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        """What the equation wants to know of the point before, (B, k)."""
        return np.zeros((len(u), 0))


@dataclasses.dataclass
class Curve:
    """One curve: its points in order, what happened on it, and why it ends.

    `size`: n + 1. `special`: (kind, x, spectrum) of each special point, in order.
    """

    size: int
    points: list[np.ndarray] = dataclasses.field(default_factory=list)
    spectra: list[np.ndarray] = dataclasses.field(default_factory=list)
    special: list[tuple[str, np.ndarray, np.ndarray]] = dataclasses.field(default_factory=list)
    ended: str = ""


class Settings(NamedTuple):
    """How curves are followed: from `between[0]` towards `between[1]`, in steps of at most `step`
    of that interval, `most` of them; `until` a special point of that kind, if given. `metric`:
    what the squares of the n entries of a state count beside that of p."""

    between: tuple[float, float]
    step: float
    most: int
    tol: float
    metric: np.ndarray
    until: str | None = None


class _At(NamedTuple):
    """Points of all lanes: x (B, n + 1), tangents, slopes there, what is computed of them, and what
    the equation remembers of the points before."""

    x: np.ndarray
    tangent: np.ndarray
    slope: Slope
    spectrum: np.ndarray
    memory: np.ndarray

    def chosen(self, mask: np.ndarray, other: "_At") -> "_At":
        column = mask[:, None]
        return _At(
            np.where(column, self.x, other.x),
            np.where(column, self.tangent, other.tangent),
            self.slope.chosen(mask, other.slope),
            np.where(column, self.spectrum, other.spectrum),
            np.where(column, self.memory, other.memory),
        )

    def lane(self, lane: int) -> "_At":
        """One lane."""
        return _joined([self], [lane])


class _Bracket(NamedTuple):
    """Two neighbouring points of a lane, between which a test changes its sign."""

    lane: int
    kind: str
    here: _At
    there: _At


def follow(equation: AbstractEquation, u: np.ndarray, settings: Settings) -> list[Curve]:
    """Follow the curves from the states `u` (B, n) at the begin of the interval on."""
    with np.errstate(all="ignore"):  # of lanes that have ended, and of failed trials
        return _Walk(equation, settings, len(u)).run(u)


class _Walk:
    """The state of a continuation."""

    def __init__(self, equation: AbstractEquation, settings: Settings, lanes: int):
        self.equation, self.settings = equation, settings
        begin, end = settings.between
        self.width, self.heading = abs(end - begin), float(np.sign(end - begin))
        self.metric = np.append(settings.metric, 1.0 / self.width**2)
        self.curves = [Curve(len(self.metric)) for _ in range(lanes)]
        self.alive = np.ones(lanes, bool)
        self.longest = settings.step
        self.length = np.full(lanes, settings.step / 4)
        self.brackets: list[_Bracket] = []

    def run(self, u: np.ndarray) -> list[Curve]:
        """All curves to their ends."""
        begin, _ = self.settings.between
        x = np.concatenate([u, np.full((len(u), 1), begin)], axis=1)
        memory = self.equation.remembered(x[:, :-1], x[:, -1])
        here, fine, _ = self.fixed(x, memory, self.alive)
        for lane in _places(~fine):
            self.end(lane, f"no solution was found near the start, at {begin:.6g}")
        first = np.zeros_like(x)
        first[:, -1] = self.heading * self.width
        here = self.seen(here, first)
        self.record(here, self.alive)
        for _ in range(self.settings.most):
            if not self.alive.any():
                break
            here = self.advance(here)
        for lane in _places(self.alive):
            self.end(lane, f"{self.settings.most} steps were made; `max_steps` allows more")
        self.refine()
        return self.curves

    def end(self, lane: int, why: str) -> None:
        """A curve ends."""
        self.alive[lane] = False
        self.curves[lane].ended = why

    def record(self, here: _At, lanes: np.ndarray) -> None:
        """Points of these lanes are kept."""
        for lane in _places(lanes):
            self.curves[lane].points.append(here.x[lane].copy())
            self.curves[lane].spectra.append(here.spectrum[lane].copy())

    def advance(self, here: _At) -> _At:
        """One step of every lane that has not ended: accepted, or tried again shorter."""
        there, fine, rounds = self.stepped(here, self.length, self.alive)
        turned = (here.tangent * self.metric * there.tangent).sum(1)
        short = self.length <= _KINK * self.longest
        accepted = self.alive & fine & ((turned > _STRAIGHT) | short)
        rejected = self.alive & ~accepted
        self.length = np.where(rejected, self.length * _SHRINK, self.length)
        for lane in _places(rejected & (self.length < 1e-10 * self.longest)):
            at = here.x[lane, -1]
            self.end(lane, f"no next point was found from {at:.10g} on, in steps however short")
        begin, end = self.settings.between
        outside = accepted & (self.heading * (there.x[:, -1] - end) > 0)
        back = accepted & (self.heading * (there.x[:, -1] - begin) < 0)
        crossed = outside | back
        if crossed.any():
            there = self.at_bound(here, there, outside, back)
        self.bracket(here, there, accepted)
        self.record(there, accepted & self.alive)
        for lane in _places(crossed & self.alive):
            side = end if outside[lane] else begin
            self.end(lane, f"it leaves the interval at {side:.6g}")
        easy = accepted & (rounds <= 3) & (turned > 1 - (1 - _STRAIGHT) / 4)
        longer = np.minimum(self.length * _GROWTH, self.longest)
        self.length = np.where(easy, longer, self.length)
        memory = self.equation.remembered(there.x[:, :-1], there.x[:, -1])
        return there._replace(memory=memory).chosen(accepted, here)

    def at_bound(self, here: _At, there: _At, outside: np.ndarray, back: np.ndarray) -> _At:
        """The points where curves leave the interval, in place of those beyond it."""
        begin, end = self.settings.between
        bound = np.where(outside, end, begin)
        part = (bound - here.x[:, -1]) / (there.x[:, -1] - here.x[:, -1])
        part = np.where(np.isfinite(part), np.clip(part, 0, 1), 1.0)
        x = here.x + part[:, None] * (there.x - here.x)
        x[:, -1] = bound
        crossed = outside | back
        last, fine, _ = self.fixed(x, here.memory, crossed)
        last = self.seen(last, here.tangent)
        return last.chosen(crossed & fine, there)

    # Corrections

    def fixed(
        self, x: np.ndarray, memory: np.ndarray, lanes: np.ndarray
    ) -> tuple[_At, np.ndarray, np.ndarray]:
        """Solutions at the parameters of x."""
        row = np.zeros_like(x)
        row[:, -1] = 1.0
        return self.corrected(x, row, memory, lanes)

    def stepped(
        self, here: _At, length: np.ndarray, lanes: np.ndarray
    ) -> tuple[_At, np.ndarray, np.ndarray]:
        """The points at these lengths along the tangents."""
        guess = here.x + length[:, None] * here.tangent
        row = here.tangent * self.metric
        there, fine, rounds = self.corrected(guess, row, here.memory, lanes)
        return self.seen(there, here.tangent), fine, rounds

    def corrected(
        self, guess: np.ndarray, row: np.ndarray, memory: np.ndarray, lanes: np.ndarray
    ) -> tuple[_At, np.ndarray, np.ndarray]:
        """Newton's method on F = 0 and row . (x - guess) = 0, for the given lanes, to where the
        residual does not become smaller; at a fold or a branch point a residual that is only small
        is met far away."""
        x, fine = guess.copy(), np.zeros(len(guess), bool)
        rounds, before = np.full(len(guess), _CORRECTIONS), np.full(len(guess), np.inf)
        slope = kept = self.equation.slope(x[:, :-1], x[:, -1], memory, lanes)
        tol = self.settings.tol
        for k in range(_CORRECTIONS):
            size = np.abs(slope.residual).max(1)
            exact = (size < _EXACT * tol) | (size > before / 4)
            solved = lanes & ~fine & (size < tol) & exact
            kept, rounds = slope.chosen(solved, kept), np.where(solved, k, rounds)
            fine |= solved
            open_ = lanes & ~fine
            if not open_.any() or k + 1 == _CORRECTIONS:
                break
            off = ((x - guess) * row).sum(1, keepdims=True)
            change = solutions(_bordered(slope, row), np.concatenate([slope.residual, off], axis=1))
            change = np.where(np.isfinite(change), change, 0.0)
            x, before = np.where(open_[:, None], x - change, x), size
            slope = self.equation.slope(x[:, :-1], x[:, -1], memory, open_)
        spectrum = np.zeros((len(x), 0), complex)
        return _At(x, row, kept, spectrum, memory), fine, rounds

    def seen(self, here: _At, along: np.ndarray) -> _At:
        """Points with their tangents, in the direction of `along`, and spectra."""
        right = np.zeros_like(here.x)
        right[:, -1] = 1.0
        tangent = solutions(_bordered(here.slope, along * self.metric), right)
        size = np.sqrt((tangent**2 * self.metric).sum(1, keepdims=True))
        tangent = np.where(np.isfinite(tangent / size), tangent / size, along)
        spectrum = self.equation.spectrum(here.slope)
        return _At(here.x, tangent, here.slope, spectrum, here.memory)

    # Special points

    def tests(self, here: _At) -> dict[str, tuple[np.ndarray, int]]:
        """The functions that change sign at special points, as sign and logarithm (2, B)."""
        part = here.tangent[:, -1]
        crossing = np.linalg.slogdet(_bordered(here.slope, here.tangent * self.metric))
        return {
            "fold": (np.stack([np.sign(part), np.log(np.abs(part))]), 0),
            "branch point": (np.stack(crossing), 0),
            **self.equation.tests(here.spectrum),
        }

    def bracket(self, here: _At, there: _At, lanes: np.ndarray) -> None:
        """Keep what happened between two points of each lane, to be refined; end a curve that was
        to be followed until then."""
        before, after = self.tests(here), self.tests(there)
        change = np.abs(
            self.equation.unstable(there.spectrum) - self.equation.unstable(here.spectrum)
        )
        for kind, (values, jump) in after.items():
            found = lanes & self.alive & (before[kind][0][0] * values[0] < 0)
            found &= change >= jump
            for lane in _places(found):
                pair = here.lane(lane), there.lane(lane)
                self.brackets.append(_Bracket(lane, kind, *pair))
                if kind == self.settings.until:
                    self.end(lane, f"a {kind}, as asked")

    def refine(self) -> None:
        """Locate all special points, those of one kind together."""
        lanes = len(self.curves)
        found: list[tuple[int, _At] | None] = [None] * len(self.brackets)
        for kind in {bracket.kind for bracket in self.brackets}:
            own = [k for k, bracket in enumerate(self.brackets) if bracket.kind == kind]
            for first in range(0, len(own), lanes):
                part = own[first : first + lanes]
                filled = part + part[:1] * (lanes - len(part))
                here = _joined([self.brackets[k].here for k in filled])
                there = _joined([self.brackets[k].there for k in filled])
                at, fine = self.located(here, there, np.arange(lanes) < len(part), kind)
                for place, k in enumerate(part):
                    if fine[place]:
                        found[k] = place, at
        for bracket, result in zip(self.brackets, found, strict=True):
            curve = self.curves[bracket.lane]
            if result is None:
                ends = [f"{point.x[0, -1]:.6g}" for point in (bracket.here, bracket.there)]
                curve.ended += f"; a {bracket.kind} between {ends[0]} and {ends[1]} was not located"
                continue
            place, at = result
            x, spectrum = at.x[place].copy(), at.spectrum[place].copy()
            last = bracket.kind == self.settings.until
            if last:
                curve.points.append(x)
                curve.spectra.append(spectrum)
            _keep(curve, bracket.kind, x, spectrum, self.metric)

    def located(
        self, here: _At, there: _At, lanes: np.ndarray, kind: str
    ) -> tuple[_At, np.ndarray]:
        """Where a test changes its sign, by the Illinois form of regula falsi in the length of the
        step, with a bisection in each third."""

        def value(at: _At, level: np.ndarray) -> np.ndarray:
            sign, size = self.tests(at)[kind][0]
            return sign * np.exp(np.clip(size - level, -600, 600))

        level = np.nan_to_num(self.tests(here)[kind][0][1])
        low, left, right = np.zeros(len(lanes)), here, there
        high = ((there.x - here.x) * self.metric * here.tangent).sum(1)
        at_low, at_high = value(here, level), value(there, level)
        whole, open_ = np.maximum(np.abs(high), 1e-300), lanes.copy()
        failures = np.zeros(len(lanes), int)
        for k in range(_REFINED):
            part = np.where(k % 3 == 2, 0.5, at_low / (at_low - at_high))
            part = np.where(np.isfinite(part) & (part > 0) & (part < 1), part, 0.5)
            part = np.where(failures > 0, np.asarray(_ASIDE)[failures % len(_ASIDE)], part)
            middle = low + part * (high - low)
            # From the chord of the nearest two: along the tangent of a point further away another
            # curve that crosses here may be nearer.
            guess = left.x + part[:, None] * (right.x - left.x)
            row = here.tangent * self.metric
            at, corrected, _ = self.corrected(guess, row, here.memory, open_)
            at = self.seen(at, here.tangent)
            failures = np.where(corrected, 0, failures + 1)
            new, good = value(at, level), open_ & corrected
            same, other = good & (new * at_low > 0), good & ~(new * at_low > 0)
            left, right = at.chosen(same, left), at.chosen(other, right)
            at_high = np.where(same, at_high / 2, np.where(other, new, at_high))
            at_low = np.where(same, new, np.where(other, at_low / 2, at_low))
            low, high = np.where(same, middle, low), np.where(other, middle, high)
            open_ &= (np.abs(high - low) > 1e-14 * whole) & (at_high != 0) & (failures < _TRIED)
            if not open_.any():
                break
        first, last = value(left, level), value(right, level)
        part = np.nan_to_num(first / (first - last))[:, None]
        # Where curves cross no point can be corrected: it lies on the chord of the nearest two.
        chord = left.x + np.clip(part, 0, 1) * (right.x - left.x)
        close = (np.abs(high - low) <= _CLOSE * whole) | (at_high == 0)
        return right.chosen(part[:, 0] > 0.5, left)._replace(x=chord), lanes & close


def _keep(curve: Curve, kind: str, x: np.ndarray, spectrum: np.ndarray, metric: np.ndarray) -> None:
    """A special point of a curve. Where a pitchfork is met on its own branch the parameter turns
    back, too: a branch point, which is known better as a fold, since points near it are hardly to
    be corrected where curves cross."""
    for k, (other, at, values) in enumerate(curve.special):
        distance = np.sqrt((((x - at) ** 2) * metric).sum())
        if {kind, other} == {"fold", "branch point"} and distance < _SAME:
            best = (x, spectrum) if kind == "fold" else (at, values)
            curve.special[k] = ("branch point", *best)
            return
    curve.special.append((kind, x, spectrum))


def _joined(parts: Sequence[_At], lanes: Sequence[int] | None = None) -> _At:
    """Lanes of several, one after another; of each the first unless `lanes` says which."""
    chosen = [0] * len(parts) if lanes is None else lanes

    def join(*arrays):
        return np.stack([array[lane] for array, lane in zip(arrays, chosen, strict=True)])

    slope = Slope(*map(join, *[part.slope for part in parts]))
    others = [
        join(*[getattr(part, name) for part in parts])
        for name in ("x", "tangent", "spectrum", "memory")
    ]
    return _At(others[0], others[1], slope, *others[2:])


def _places(mask: np.ndarray) -> list[int]:
    """The places that are true."""
    return np.flatnonzero(mask).tolist()


def _bordered(slope: Slope, row: np.ndarray) -> np.ndarray:
    top = np.concatenate([slope.by_state, slope.by_parameter[:, :, None]], axis=2)
    return np.concatenate([top, row[:, None, :]], axis=1)


def solutions(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions lane by lane; NaN for lanes whose matrix is singular or not finite."""
    good = np.asarray(np.isfinite(matrix).all((1, 2)) & np.isfinite(right).all(1))
    safe = np.where(good[:, None, None], matrix, np.eye(matrix.shape[-1]))
    try:
        found = np.linalg.solve(safe, right[..., None])[..., 0]
    except np.linalg.LinAlgError:
        found = np.stack([_one(a, b) for a, b in zip(safe, right, strict=True)])
    return np.where(good[:, None], found, np.nan)


def _one(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return np.full_like(right, np.nan)


def product(factors: np.ndarray) -> np.ndarray:
    """The real product of factors that come in conjugate pairs, as sign and logarithm (2, B)."""
    sizes = np.log(np.abs(factors)).sum(1)
    sign = np.sign(np.cos(np.angle(factors).sum(1)))
    return np.stack([sign, sizes])


def without(values: np.ndarray, one: float) -> np.ndarray:
    """The values of each lane, (B, k - 1), but the one that is nearest to this."""
    nearest = np.abs(values - one).argmin(1)
    kept = np.arange(values.shape[1]) != nearest[:, None]
    return values[kept].reshape(len(values), -1)


def pairs(values: np.ndarray, of: Callable[[Any, Any], Any]) -> np.ndarray:
    """A function of every two values of a lane, (B, k (k - 1) / 2)."""
    first, second = np.triu_indices(values.shape[1], 1)
    return of(values[:, first], values[:, second])
