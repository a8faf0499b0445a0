"""The search for the global minimum, where a fit from the given start ended in a false one.

What is compared with a run over several dwells has many minima: the run is late or early by a
part of a dwell, and every small change makes it worse. So

    1. for a trace of saliencies the slow equation is solved for the parameters without a run (see
       `_matching`), and least squares goes on from there, first with half of the data;
    2. for few parameters the loss alone, which is cheap, is computed at many points around the
       start, all in one compiled program, and least squares goes on from the best of these;
    3. from the start it takes a few steps with the first part of the data, then with an eighth
       more, and so on up to all of them: a short run cannot be late by much, and one that is right
       so far is nearly right a little later.

The first result that describes the data is the result of the fit. Where overlaps are compared, it
has minima beside it that describe them as well: between switches overlaps do not move, so the loss
depends on the few saves within one, and has steps where a switch passes a save. Least squares then
starts again from four standard errors to either side, along each axis of the covariance, as long as
that leads to a lower minimum.

A bent valley (see `_parabola`) may have a lower end which no residual tells of: where the first
result describes the data, but lies in one, least squares goes on from whatever lies lower two
standard errors aside and, for up to eight parameters, from the best of the many points.

The program of least squares is that of the first fit, because data that are hidden, as NaN, leave
all shapes as they are.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._interrupt import until_stopped
from .._programs import jitted
from .._progress import progress as bar
from .._types import is_concrete
from ..losses._terms import AbstractTerm, DwellTimes, Path, SwitchTimes
from ._loop import Carry, Job, Progress, advance, start_at
from ._matching import matched
from ._parabola import Rise, rise_of
from ._result import INTERRUPTED, STOPPED, FitResult, poor
from ._steppers import ByLeastSquares, Problem
from ._variables import Variables, Vectors

Points = tuple[Float[Array, "points _"], ...]  # many vectors

_REACH = 0.4  # of the points around the start, as a logarithm: factors of 0.67 to 1.5
_POINTS = {1: 256, 2: 512}  # for so many parameters
_MOST = 1024  # points for more
_SCANNED = 4  # parameters up to which so many points cover what is around the start
_BENT = 8  # and up to which they may meet the other end of a bent valley; so many of them are tried
_TURNS = 3
_BATCH = 128  # that run side by side
_REFINED = 8  # of the points
_GROWTH, _PARTS = 1.12, 28  # each part of the data is so much longer than the one before
_FEWEST = 4  # times of which a part of the data consists
_BRIEF = 5  # steps with a part of the data: more lead astray what it does not determine
_ASIDE = 4.0  # standard errors beside a minimum is where others are looked for
_BRIEF_HOP = 40  # steps from there, before it is known whether they lead anywhere
_BETTER = 1e-2  # by which another minimum must be lower
_HOPS = 8  # at most, from one minimum to the next; each as long as it leads lower
_ENDED = ("stopped", "interrupted")


def nearer(job: Job, carry: Carry) -> Carry:
    """Before the first step, at the given start or, where that is closer to the data, at the
    parameters that give a trace of saliencies its slopes.

    Few parameters are spared the compilation: a search soon finds where they must begin.
    """
    here = all(is_concrete(leaf) for leaf in jax.tree.leaves((carry, job.problem, job.data)))
    few = job.problem.variables.size <= _SCANNED
    near = None if few or not here or not _by_least_squares(job) else _near(job)
    if near is None:
        return carry
    one = jnp.asarray(1, jnp.int32)
    other = start_at(job, near)
    closer = advance(job, other, one).least < advance(job, carry, one).least
    return other if bool(closer) else carry


def searched(
    job: Job,
    result: FitResult,
    judged: Callable[[Carry], FitResult],
    callback: Callable[[Progress], Any] | None,
    show: bool | Literal["auto"],
) -> tuple[FitResult, Rise | None]:
    """The result of the fit from the given start, or, if that is poor, the best of a search; and
    how the loss rises beside it.

    **Arguments:** `judged`: the result of a carry. `callback`, `show`: as in `hopfax.fit`.
    """
    if not _by_least_squares(job) or result.ending in _ENDED:
        return result, None
    first, rise = result, rise_of(job, result)
    bent = rise is not None and (rise.off or _lower(rise, result))
    if not (bent or _terms(job) and (poor(result) or _uneven(job))):
        return result, rise
    losses = [result.loss]

    def now() -> FitResult:
        return result

    with until_stopped() as stopped, bar(2 + _REFINED + _HOPS, "start", show) as shown:
        for carry in _tries(job, now, rise if bent else None):
            stopped.check()
            other = judged(carry)
            losses.append(other.loss)
            result = other if other.loss < result.loss else result
            shown.set_postfix_str(f"loss {float(result.loss):.4g}")
            shown.update(1)
            told = Progress(int(other.steps), float(result.loss), result.model)
            if callback is not None and callback(told):
                result = _ended(result, STOPPED)
                break
    if stopped.pressed:
        result = _ended(result, INTERRUPTED)
    rise = rise if result is first else rise_of(job, result)
    return dataclasses.replace(result, losses=jnp.stack(losses)), rise


def _ended(result: FitResult, status: int) -> FitResult:
    return dataclasses.replace(result, status=jnp.asarray(status, jnp.int32))


def _lower(rise: Rise, result: FitResult) -> bool:
    """Whether the loss is lower beside a minimum."""
    return rise.lowest < float(result.loss) - _BETTER


def _tries(job: Job, now: Callable[[], FitResult], rise: Rise | None) -> Iterator[Carry]:
    """Fits from elsewhere until one is good, and then from beside it. `now`: the best so far.
    `rise`: how the loss rises there, if that is no parabola."""
    if rise is not None:
        yield from _along(job, rise, _lower(rise, now()))
    if _terms(job) and poor(now()):
        for carry in _fits(job):
            yield carry
            if not poor(now()):
                break
    for _ in range(_HOPS if _uneven(job) else 0):
        carry = _beside(job, now())
        if carry is None:
            break
        yield carry


def _along(job: Job, rise: Rise, lower: bool) -> Iterator[Carry]:
    """Fits that may end elsewhere in a bent valley."""
    if lower:
        yield _refined(job, (), rise.there)
    if _terms(job) and job.problem.variables.size <= _BENT:
        for vectors in itertools.islice(_points(job, _with_part(job, 0.5)), _TURNS):
            yield _refined(job, (), vectors)


# Small minima side by side


def _uneven(job: Job) -> bool:
    """Whether the bottom of the valley is uneven: overlaps change within switches alone, and few
    saves fall into one."""
    return any(isinstance(term, Path) and term.of == "overlaps" for term in _terms(job))


def _beside(job: Job, result: FitResult) -> Carry | None:
    """The best minimum that is reached from a few standard errors beside the one that was found, if
    it is better."""
    if result.scale is None:
        return None
    free, limit = np.asarray(result.scale.free), jnp.asarray(_BRIEF_HOP, jnp.int32)
    _, back = ravel_pytree(job.problem.variables.start())
    known = np.isfinite(np.asarray(result.scale.stderr))
    covariance = np.where(known[:, None] & known, np.asarray(result.scale.covariance), 0.0)
    best, least = None, float(result.loss)
    sizes, axes = np.linalg.eigh(covariance)
    for size, axis in zip(sizes, axes.T, strict=True):
        if size <= 0:
            continue
        far = min(_ASIDE * np.sqrt(size), _REACH * (1 + np.linalg.norm(axis * free)))
        for sign in (-1, 1):
            start = back(jnp.asarray(free + sign * far * axis, job.problem.variables.dtype))
            carry = advance(job, start_at(job, start), limit)
            if float(carry.least) < least - _BETTER:
                best, least = carry, float(carry.least)
    if best is None:
        return None
    return advance(job, best, jnp.asarray(job.settings.steps, jnp.int32))


# Elsewhere


def _fits(job: Job) -> Iterator[Carry]:
    """Fits from other starts, each as it ended, the most promising first."""
    given, half = job.problem.variables.start(), _with_part(job, 0.5)
    near = _near(job)
    if near is not None:
        for parts in ((half,), ()):
            yield _refined(job, parts, near)
    if job.problem.variables.size <= _SCANNED:
        for vectors in _points(job, half):
            yield _refined(job, [half], vectors)
    yield _refined(job, _parts(job), given)


def _near(job: Job) -> Vectors | None:
    """The parameters that give a trace of saliencies its slopes; None if there is no trace."""
    slopes = matched(job.problem)
    if slopes is None:
        return None
    start = job.problem.variables.start()
    return _refined(eqx.tree_at(lambda j: j.problem, job, slopes), (), start).best


def _by_least_squares(job: Job) -> bool:
    return isinstance(job.stepper, ByLeastSquares) and job.settings.batch is None


def _refined(job: Job, parts: Iterable[Job], vectors: Vectors) -> Carry:
    """The fit from a start, by way of parts of the data."""
    limit = min(_BRIEF, job.settings.steps)
    for part in parts:
        vectors = advance(part, start_at(part, vectors), jnp.asarray(limit, jnp.int32)).best
    return advance(job, start_at(job, vectors), jnp.asarray(job.settings.steps, jnp.int32))


def _points(job: Job, half: Job) -> Iterator[Vectors]:
    """The points around the start with the least loss, in turns of all the data and of half."""
    many = _around(job.problem.variables)
    orders = [np.argsort(np.asarray(_losses(one.problem, many, one.data))) for one in (job, half)]
    taken: set[int] = set()
    for k in np.stack(orders, axis=1).ravel().tolist():
        if k not in taken:
            taken.add(k)
            yield tuple(points[k] for points in many)
        if len(taken) == _REFINED:
            return


@jitted
def _losses(problem: Problem, many: Points, data: Any) -> Float[Array, " points"]:
    """The loss at many points; infinite where it is no number."""
    found = jax.lax.map(lambda one: problem.number(one, data), many, batch_size=_BATCH)
    return jnp.where(jnp.isfinite(found), found, jnp.inf)


def _around(variables: Variables) -> Points:
    """Points around the start: every parameter times a factor, or, where it is zero, plus a share
    of the largest one of its array."""
    from scipy.stats import qmc  # late: it takes half a second to import

    size = variables.size
    points = _POINTS.get(size, _MOST)
    draws = qmc.Sobol(size, rng=np.random.default_rng(0)).random(points)
    moves = jnp.asarray(_REACH * (2 * draws - 1), variables.dtype)
    values = variables.values(variables.start())

    def free(move: Float[Array, " n"]) -> Vectors:
        found, at = [], 0
        for k, value in enumerate(values):
            entries = variables.entries[k]
            here = move[at : at + entries.size].astype(value.dtype)
            at += entries.size
            old = value.ravel()[entries]
            new = jnp.where(old == 0, here * jnp.max(jnp.abs(value)), old * jnp.exp(here))
            moved = value.ravel().at[entries].set(new).reshape(value.shape)
            found.append(variables.constraints[k].free(moved, variables.names[k]).ravel()[entries])
        return tuple(found)

    return jax.vmap(free)(moves)


# Growing windows


def _parts(job: Job) -> Iterator[Job]:
    """The fit with the first part of its data, the smallest one first."""
    longest = max(_length(term) for term in _terms(job))
    for share in _GROWTH ** np.arange(-_PARTS, 0.0):
        if share * longest >= _FEWEST:
            yield _with_part(job, float(share))


def _with_part(job: Job, share: float) -> Job:
    def parts(one: Job) -> Any:
        return one.problem.loss, one.problem.model, one.data

    def early(node: Any) -> Any:
        return _early(node, share) if _is_term(node) else node

    hidden = jax.tree.map(early, parts(job), is_leaf=_is_term)
    return eqx.tree_at(parts, job, hidden, is_leaf=lambda node: node is None)


def _is_term(node: Any) -> bool:
    return isinstance(node, AbstractTerm)


def _terms(job: Job) -> list[AbstractTerm]:
    parts = (job.problem.loss, job.problem.model, job.data)
    parts = jax.tree.leaves(parts, is_leaf=_is_term)
    return [part for part in parts if _is_term(part)]


def _length(term: AbstractTerm) -> int:
    """How many times were observed."""
    if isinstance(term, Path):
        return term.ts.shape[-1]
    return term.count()


def _early(term: AbstractTerm, share: float) -> AbstractTerm:
    """What was observed at first; the rest is hidden."""

    def cut(values: Array, axis: int) -> Array:
        length = values.shape[axis]
        late = jnp.arange(length) >= max(int(share * length), 1)
        return jnp.where(late[:, None] if axis == -2 else late, jnp.nan, values)

    if isinstance(term, Path):
        return eqx.tree_at(lambda t: t.values, term, cut(term.values, -2))
    if isinstance(term, SwitchTimes):
        return eqx.tree_at(lambda t: t.time, term, cut(term.time, -1))
    if isinstance(term, DwellTimes):
        return eqx.tree_at(lambda t: t.dwell, term, cut(term.dwell, -1))
    return term
