r"""Which parameters a data set decides, and which it leaves open.

At a model the residuals are taken as linear in the parameters, $r + J\,\delta v$. A direction of
parameter space that is a right singular vector of $J$ with singular value $s$ has the standard
error $1/s$, in units of that of the data. Of a matrix this says more than standard errors of its
entries can, because what is open is mostly a combination: of two entries that are only seen one
after the other, the sum is known and the difference is not.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from .._errors import as_number, check_at_least, check_callable
from .._programs import jitted
from .._report import Report, Reported
from ._choice import choose
from ._result import FitResult, poor
from ._steppers import Problem, derivative_matters
from ._variables import Variables, variables_of

_ONCE = 256  # entries up to which a Jacobian that is wanted once is made in forward mode
_SHOWN = 12  # lines of the report
_LITTLE = 1e-3  # and below which it is not even mentioned that there is one
_PART = 0.2  # share of an entry in a combination from which on the report names it


class Identifiability(Reported, eqx.Module):
    r"""What a data set says of each entry, and of their combinations.

    - `labels`: a name for each of the n entries.
    - `errors`: (n,) the standard error of each entry with all others free, infinite where the data
      say nothing. `known`: (n,) where it is at most `within`.
    - `sizes`: (n,) standard errors of the combinations, the best known first; `directions`: (n, n)
      their coefficients, one combination a row.
    - `rank`: how many combinations are known to `within`.

    **Example:**

    ```python
    known = hx.identifiability(
        {"a": jnp.array([1.0, 2.0, 3.0])},
        lambda model: jnp.array([model["a"][0] - 1.0, model["a"][1] + model["a"][2] - 5.0]),
        where=lambda model: model["a"],
        within=1.0,
    )
    known.rank, known.known  # 2; True, False, False
    print(known)  # ... a[1], a[2]: known together as 0.71 a[1] +0.71 a[2] +- 0.71
    ```
    """

    labels: tuple[str, ...] = eqx.field(static=True)
    errors: Float[Array, " n"]
    known: Bool[Array, " n"]
    sizes: Float[Array, " n"]
    directions: Float[Array, "n n"]
    within: float = eqx.field(static=True)

    @property
    def covariance(self) -> Float[Array, "n n"]:
        """The covariance matrix with all entries free, NaN for those of which the data say
        nothing."""
        finite = jnp.isfinite(self.sizes)
        spread = jnp.where(finite, self.sizes, 0.0)[:, None] * self.directions
        open_ = jnp.isinf(self.errors)
        return jnp.where(open_[:, None] | open_[None, :], jnp.nan, spread.T @ spread)

    @property
    def rank(self) -> int:
        """How many combinations the data determine to `within`."""
        return int((self.sizes <= self.within).sum())

    def _report(self) -> Report:
        n = len(self.labels)
        known = np.flatnonzero(np.asarray(self.known))
        lines = [
            f"{known.size} of {n} entries have errors of at most {self.within:.3g}, and "
            f"{self.rank} of {n} combinations"
        ]
        lines += [f"  {self.labels[k]}: +- {float(self.errors[k]):.2g}" for k in known[:_SHOWN]]
        if known.size > _SHOWN:
            lines.append(f"  and {known.size - _SHOWN} more")
        for names, text in self._groups()[:_SHOWN]:
            lines.append(f"  {', '.join(names)}: {text}")
        return Report(lines[0], head=lines[1:])

    def _error(self, combination: np.ndarray) -> float:
        """The standard error of a combination of the entries."""
        part = np.square(np.asarray(self.directions) @ combination)
        sizes = np.asarray(self.sizes)
        blind = ~np.isfinite(sizes)
        if part[blind].sum() > np.finfo(sizes.dtype).eps ** 0.25 * part.sum():
            return float("inf")
        return float(np.sqrt(part[~blind] @ np.square(sizes[~blind])))

    def _groups(self) -> list[tuple[list[str], str]]:
        """The entries that are not known, by the combinations in which the data see them."""
        open_ = np.flatnonzero(~np.asarray(self.known))
        seen = np.asarray(self.directions)[: self.rank]
        found, blind = [], []
        shares = np.zeros((0, open_.size))
        if open_.size:
            # What the known combinations say of open entries: a basis of few terms each.
            shares = _few_terms(seen[:, open_])
            blind = [
                self.labels[k]
                for k, column in zip(open_, shares.T, strict=True)
                if not (np.abs(column) > _PART).any()
            ]
        for row in shares:
            mine = np.flatnonzero(np.abs(row) > _PART)
            terms = " ".join(f"{row[m]:+.2g} {self.labels[open_[m]]}" for m in mine)
            names = [self.labels[open_[m]] for m in mine]
            rest = " and a little of others" if (np.abs(row) > _LITTLE).sum() > mine.size else ""
            whole = np.zeros(len(self.labels))
            whole[open_] = row
            error = f"+- {self._error(whole):.2g}"
            known = f"known together as {terms.removeprefix('+')}{rest} {error}"
            alone = f"known to {error} but for a little of other entries, which are open"
            found.append((names, known if mine.size > 1 else alone))
        if blind:
            more = [f"{len(blind) - _SHOWN} more"] if len(blind) > _SHOWN else []
            found.append(([*blind[:_SHOWN], *more], "the data say nothing of them"))
        return found


def _few_terms(rows: np.ndarray) -> np.ndarray:
    """A basis of the span of `rows`, reduced so that every row has an entry where all others are
    zero, and in which it is large.

    By Gauss-Jordan elimination with complete pivoting: the pivot is the largest entry that is left.
    With the first one that is not zero two rows could be alike in all but their small pivots.
    """
    rows = rows.copy()
    columns: list[int] = []
    while len(columns) < min(rows.shape):
        done = len(columns)
        left = np.abs(rows[done:])
        best, column = np.unravel_index(int(np.argmax(left)), left.shape)
        if left[best, column] < 1e-3:
            break
        rows[[done, done + best]] = rows[[done + best, done]]
        rows[done] /= rows[done, column]
        others = np.arange(rows.shape[0]) != done
        rows[others] -= rows[others, column : column + 1] * rows[done]
        rows[others, column] = 0.0  # exactly, so that no later pivot is there
        columns.append(int(column))
    rows = rows[np.argsort(columns)] if columns else rows[:0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def identifiability(
    model: Any,
    loss: Callable,
    *,
    where: Callable,
    constraint: Any = None,
    data: Any = None,
    within: float | None = None,
) -> Identifiability:
    r"""What a data set decides of the parameters of a model, and what it leaves open.

    From the singular values of the whole Jacobian of the residuals, by all entries that `where`
    selects, at the model as it is. Give it a fitted model, and more entries than were fitted: the
    errors of a fit hold for the entries that were free in it, all others being right.

    **Arguments:** `model`, `loss`, `where`, `constraint`, `data`: as in `hopfax.fit`; the residuals
    must be in units of the standard deviation of the data (`sigma`). `within`: the standard error
    up to which an entry, or a combination, counts as known; default a tenth of the largest entry.

    **Returns:** an `Identifiability`; printed, it says what is known in words.

    **Raises:** ValueError/TypeError naming the argument; ValueError for a loss that is a number.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    seen = hx.losses.switch_times([31.0, 61.0], init=start, sigma=0.1)
    known = hx.identifiability(network, seen, where=lambda net: (net.kappa, net.tau))
    known.rank  # 2
    ```
    """
    check_callable(loss, "loss", "one of hopfax.losses, or a function of the model")
    check_callable(where, "where", "a function of the model, as lambda net: net.transition")
    variables, labels = variables_of(model, where, constraint)
    made = choose(model, loss, variables, data, None, None, 1e-6, "auto")
    if not made.residual:
        raise ValueError("`loss` must return residuals (an array), but returns a number.")
    problem = Problem(model, loss, variables, made.forward or _once_forward(loss, variables))
    jacobian, values = jacobian_of(problem, data)
    within = as_number(_share_of(values) if within is None else within, "within")
    check_at_least(within, "within", 0.0, strict=True)
    return of_jacobian(jacobian, labels, within)


def with_all_free(
    result: FitResult, model: Any, loss: Callable, where: Callable, constraint: Any
) -> tuple[FitResult, Identifiability | None]:
    """A fit of some entries with the errors that they have where all that `where` selects are free,
    and what the data say of all.

    Errors of a fit are conditional: they hold if everything that was not fitted is right. Where
    which entries are fitted was a choice, nothing says that it is. Nothing is known if the fit is
    poor.

    **Arguments:** `result`: the fit, of entries whose values are free themselves. `model`: as it
    was fitted. `loss`: of the fit. `where`, `constraint`: all entries, named as in the fit but for
    a prefix of the path.
    """
    if result.scale is None or result.stderr is None or poor(result):
        return result, None
    variables, labels = variables_of(model, where, constraint)
    labels = tuple(label.removeprefix("network.") for label in labels)
    made = choose(model, loss, variables, None, None, None, 1e-6, "auto")
    forward = made.forward or _once_forward(loss, variables)
    jacobian, values = jacobian_of(Problem(model, loss, variables, forward), None)
    # Of residuals whose scale is not known, that by which they are of size one.
    left = float(result.scale.left)
    size = math.sqrt(2 * float(result.loss) / left) if 0 < left < math.inf else 1.0
    within = _share_of(values)
    known = of_jacobian(jacobian / size if size > 0 else jacobian, labels, within)
    mine = np.array([labels.index(label) for label in result.labels])
    covariance = known.covariance[np.ix_(mine, mine)]
    stderr = known.errors[mine]
    stderr = stderr if left > 0 else jnp.where(jnp.isinf(stderr), stderr, jnp.nan)
    covariance = covariance if left > 0 else jnp.full_like(covariance, jnp.nan)
    own = dataclasses.replace(result.scale, stderr=stderr, covariance=covariance)
    certain = dict(stderr=stderr, covariance=covariance, undetermined=jnp.isinf(stderr), scale=own)
    origin = result.origin and dataclasses.replace(result.origin, whole=False)
    return dataclasses.replace(result, **certain, origin=origin), known


def _once_forward(loss: Callable, variables: Variables) -> bool:
    """Whether derivatives that are wanted once are had sooner in forward mode: it takes half a run
    for every entry, but its program is compiled in a third of the time that reverse mode's takes,
    which is seconds."""
    return derivative_matters(loss) and variables.size <= _ONCE


def _share_of(values: Float[Array, " n"]) -> float:
    """The error up to which entries count as known where nothing else is said: a tenth of the
    largest."""
    within = 0.1 * float(jnp.max(jnp.abs(values)))
    return within if within > 0 else 0.1


@jitted
def jacobian_of(problem: Problem, data: Any) -> tuple[Float[Array, "r n"], Float[Array, " n"]]:
    """Derivatives of the residuals by the fitted entries, in their own units, and the entries."""
    vectors = problem.variables.start()
    flat, back = ravel_pytree(vectors)
    _, jacobian = problem.jacobian(vectors, data)
    slope = jax.jacfwd(lambda v: problem.variables.moving(back(v)))(flat)
    # Where entries are tied (a Simplex) the slope has no inverse: what cannot move is not asked.
    jacobian = jacobian @ jnp.linalg.pinv(slope)
    return jnp.where(jnp.isfinite(jacobian), jacobian, 0.0), problem.variables.moving(vectors)


def of_jacobian(
    jacobian: Float[Array, "r n"], labels: tuple[str, ...], within: float
) -> Identifiability:
    """The errors and combinations that belong to a Jacobian."""
    J = np.asarray(jacobian, float)
    n = J.shape[1]
    _, sizes, rows = np.linalg.svd(J, full_matrices=len(J) < J.shape[1])
    sizes = np.concatenate([sizes, np.zeros(n - sizes.size)])
    floor = np.finfo(np.asarray(jacobian).dtype).eps ** 0.75 * max(float(sizes.max()), 1e-300)
    with np.errstate(divide="ignore"):
        sds = np.where(sizes > floor, 1 / np.maximum(sizes, 1e-300), np.inf)
    share = np.square(rows)
    finite = np.where(np.isfinite(sds), sds, 0.0)
    errors = np.sqrt(np.square(finite) @ share)
    lost = share[~np.isfinite(sds)].sum(axis=0) > np.finfo(np.asarray(jacobian).dtype).eps ** 0.25
    errors = np.where(lost, np.inf, errors)
    dtype = np.asarray(jacobian).dtype
    return Identifiability(
        labels,
        jnp.asarray(errors, dtype),
        jnp.asarray(errors <= within),
        jnp.asarray(sds, dtype),
        jnp.asarray(rows, dtype),
        within,
    )
