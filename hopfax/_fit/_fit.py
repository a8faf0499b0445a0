"""Fit: from a model and a loss to the model with the least of it."""

import functools
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .._errors import FitWarning, check_at_least, check_option
from .._progress import progress as bar
from .._types import is_concrete
from ..losses import Recording
from ..networks import merged
from ..patterns import Patterns, as_key
from . import _checkpoint
from ._result import (
    CONVERGED,
    ENDINGS,
    FLAT,
    NONFINITE,
    STALLED,
    STEPS,
    STOPPED,
    FitResult,
    History,
    certainty,
)
from ._steppers import ByLeastSquares, ByOptax, Problem, derivative_matters
from ._variables import Variables, Vectors, variables_of

_FEW = 16  # parameters up to which forward derivatives cost less than reverse ones
_TRACED = 64  # parameters up to which every step's values are kept
_SURE = 512  # parameters up to which the Gauss-Newton matrix is made at the end
_EVERY = 20  # steps between two looks from outside


class Progress(NamedTuple):
    """What a callback is told."""

    step: int
    loss: float
    model: Any


def fit(
    model: Any,
    loss: Callable,
    *,
    where: Callable,
    constraint: Any = None,
    data: Any = None,
    batch_size: int | None = None,
    optimizer: Any = None,
    steps: int | None = None,
    patience: int | None = None,
    tolerance: float = 1e-6,
    starts: int = 1,
    spread: float = 0.5,
    key: jax.Array | None = None,
    derivative: Literal["auto", "forward", "reverse"] = "auto",
    absolute_sigma: bool = False,
    callback: Callable[[Progress], Any] | None = None,
    checkpoint: Any = None,
    progress: bool | Literal["auto"] = "auto",
) -> FitResult:
    r"""Minimise a loss over some arrays of a model, by gradients through its trajectories.

    Works under `jit` and `vmap`: a batch of fits is `eqx.filter_vmap` of a function that calls it
    (then without `callback`, `checkpoint` and warnings).

    **Arguments:**

    - `model`: a network, or any pytree that the loss understands, e.g. `(network, recording)`.
    - `loss`: one of `hopfax.losses`, or a function `loss(model)`, `loss(model, data)` that returns
        residuals (an array; $\frac12 \sum r^2$ is minimised) or a number.
    - `where`: the arrays to fit, e.g. `lambda net: net.kappa` or `lambda net: (net.kappa,
        net.transition)`. Memories that are fitted (`net.patterns.xi`) become real-valued.
    - `constraint`: one of `hopfax.constraints`, or a projection such as those of
        `optax.projections`; one for all, or one for each array of `where`.
    - `data`: passed to the loss. With `batch_size`, so many entries of its leading axis, drawn anew
        at every step (needs `key`).
    - `optimizer`: optax's or, for residuals, a least-squares solver of optimistix. Default:
        Levenberg-Marquardt for residuals, `optax.adam(0.05)` for a number, projections or batches.
    - `steps`: the most steps (200, with optax 1000).
    - `patience`: stop when the loss has not fallen by the fraction `tolerance` for so many steps
        (optax). `tolerance` is also that of least squares, in parameters and residuals.
    - `starts`: run so many starts side by side and keep the best: the given one, and others whose
        free parameters are moved by normal deviates of size `spread`. Needs `key`.
    - `derivative`: forward mode for at most 16 parameters and for least squares, else reverse. A
        loss of your own is differentiated in reverse unless you say "forward"; its call of
        `simulate` must say the same.
    - `absolute_sigma`: take the residuals' standard deviations at their word. Otherwise they are
        scaled so that the reduced chi-squared is one, as in `scipy.optimize.curve_fit`.
    - `callback`: called every few steps with `Progress(step, loss, model)`; stops if it returns
        True.
    - `checkpoint`: a file that keeps the state of a long fit. The same call goes on from it. (It is
        told from others by all arrays and settings, but functions count by their names alone.)
    - `progress`: show a bar; "auto": on a terminal.

    **Returns:** a `FitResult`.

    **Raises:** ValueError/TypeError naming the argument; ConfigMismatch or LoadError for a
    `checkpoint` of another fit or a damaged one. Warns (FitWarning) if the gradient is exactly
    zero, if the loss is not finite, and if the data leave a parameter undetermined.
    """
    check_option(derivative, "derivative", ("auto", "forward", "reverse"))
    outer, labels = variables_of(model, where, constraint)
    if any("patterns" in name for name in outer.names):
        model = _real_valued(model)
        outer, labels = variables_of(model, where, constraint)
    network = _smaller(model, loss, outer)
    variables = outer if network is model else variables_of(network, where, constraint)[0]
    stepper, forward, residual = _stepper(
        network, loss, variables, data, batch_size, optimizer, tolerance, derivative
    )
    limit = (1000 if isinstance(stepper, ByOptax) else 200) if steps is None else steps
    if limit < 1 or starts < 1:
        raise ValueError(f"`steps` and `starts` must be at least 1, got {limit} and {starts}.")
    if patience is not None and patience < 1:
        raise ValueError(f"`patience` must be at least 1, got {patience}.")
    if (starts > 1 or batch_size is not None) and key is None:
        raise ValueError("`key` is needed for several `starts` and for a `batch_size`.")
    check_at_least(jnp.asarray(spread, float), "spread", 0.0, strict=False)
    problem = Problem(network, loss, variables, forward)
    settings = _Settings(limit, patience or limit + 1, tolerance, batch_size, starts)
    key = jr.key(0) if key is None else as_key(key)
    job = _Job(problem, stepper, data, key, jnp.asarray(spread, _dtype(variables)), settings)
    carry = _begin(job)

    def finish(carry):
        return outer.put(model, _best(job, carry))

    here = all(is_concrete(leaf) for leaf in jax.tree.leaves((carry, problem, data)))
    if here:
        carry = _by_and_by(job, carry, finish, callback, checkpoint, progress)
    else:
        if callback is not None or checkpoint is not None:
            raise ValueError("`callback` and `checkpoint` are not for a fit under jit or vmap.")
        carry = _advance(job, carry, jnp.asarray(limit, jnp.int32))
    result = _result(job, carry, residual, absolute_sigma, finish, labels)
    if here:
        _warn(result)
    return result


class _Settings(eqx.Module):
    steps: int = eqx.field(static=True)
    patience: int = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    batch: int | None = eqx.field(static=True)
    starts: int = eqx.field(static=True)


class _Job(eqx.Module):
    problem: Problem
    stepper: ByOptax | ByLeastSquares
    data: Any
    key: Array
    spread: Float[Array, ""]
    settings: _Settings


class _Carry(eqx.Module):
    """Where a fit is; with a leading axis of starts if there are several."""

    vectors: Vectors
    state: Any
    best: Vectors
    least: Float[Array, "..."]
    since: Int[Array, "..."]
    step: Int[Array, "..."]
    status: Int[Array, "..."]
    trace: History


def _dtype(variables: Variables) -> Any:
    return variables.base[0].dtype


@functools.lru_cache(maxsize=8)
def adam(rate: float) -> Any:
    """Adam, one object a rate: programs are told apart by it."""
    import optax  # takes a fifth of the time that importing the library may take

    return optax.adam(rate)


def _levenberg_marquardt(tolerance: float) -> optx.AbstractLeastSquaresSolver:
    """Optimistix', which trusts its model more only where that is right to 1 %; 25 % will do."""
    solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
    search = optx.ClassicalTrustRegion(high_cutoff=0.75)
    return eqx.tree_at(lambda s: s.search, solver, search)


def _stepper(model, loss, variables, data, batch_size, optimizer, tolerance, derivative):
    """The stepper, whether derivatives are forward, and whether the loss returns residuals."""
    projects = any(project is not None for project in variables.projections)
    if batch_size is not None:
        sizes = {jnp.shape(leaf)[:1] for leaf in _arrays(data)}
        if len(sizes) != 1 or sizes == {()} or not 1 <= batch_size <= next(iter(sizes))[0]:
            raise ValueError(
                "`batch_size` must lie between 1 and the length of `data`'s leading axis, got "
                f"{batch_size} and axes {sorted(sizes)}."
            )
        data = _rows(data, jnp.arange(batch_size, dtype=jnp.int32))
    known = derivative_matters(loss)
    forward = derivative == "forward" or (derivative == "auto" and known and variables.size <= _FEW)
    probe = Problem(model, loss, variables, forward)
    shape = eqx.filter_eval_shape(probe.output, variables.start(), data).shape
    residual = shape != ()
    least = isinstance(optimizer, optx.AbstractLeastSquaresSolver)
    if least and (projects or not residual or batch_size is not None):
        raise ValueError(
            "`optimizer`: least squares needs a loss that returns residuals, all data at once, and "
            "reparametrisations (hopfax.constraints) in place of projections."
        )
    if optimizer is None:
        if residual and not projects and batch_size is None:
            optimizer = _levenberg_marquardt(tolerance)
        else:
            optimizer = adam(0.05)
    if isinstance(optimizer, optx.AbstractLeastSquaresSolver):
        if derivative == "auto" and known:
            forward = variables.size <= max(_FEW, 4 * shape[0])
        return ByLeastSquares(optimizer), forward, True
    import optax

    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "`optimizer` must be an optax optimizer or an optimistix least-squares solver, got "
            f"{type(optimizer).__name__}."
        )
    return ByOptax(optimizer), forward, residual


def _smaller(model: Any, loss: Any, variables: Variables) -> Any:
    """The model with classes of equal neurons in place of neurons where nothing can tell the
    difference. (Under a trace patterns are not known, and classes of many cannot be found.)"""
    if not isinstance(loss, Recording):
        return model
    if any("patterns" in name for name in variables.names) or not loss.sees_classes_only:
        return model
    return merged(model)


def _real_valued(model: Any) -> Any:
    """With patterns that no longer promise to be +-1, because they are fitted."""

    def loosened(node):
        if not isinstance(node, Patterns):
            return node
        return Patterns(node.xi, binary=False, counts=node.counts, check_patterns=False)

    return jax.tree.map(loosened, model, is_leaf=lambda node: isinstance(node, Patterns))


def _begin(job: _Job) -> _Carry:
    starts = job.settings.starts
    first = job.problem.variables.projected(job.problem.variables.start())
    if starts == 1:
        return _start(job, first)
    flat, back = ravel_pytree(first)
    moved = job.spread * jr.normal(jr.fold_in(job.key, 1), (starts, flat.size), flat.dtype)
    return eqx.filter_vmap(lambda v: _start(job, back(v)))(flat + moved.at[0].set(0.0))


def _start(job: _Job, vectors: Vectors) -> _Carry:
    settings, dtype = job.settings, _dtype(job.problem.variables)
    n = job.problem.variables.size
    blank = jnp.full(settings.steps, jnp.nan, dtype)
    values = jnp.full((settings.steps, n), jnp.nan, dtype) if n <= _TRACED else None
    zero = jnp.zeros((), jnp.int32)
    return _Carry(
        vectors,
        job.stepper.init(job.problem, vectors, _batch(job, zero)),
        vectors,
        jnp.asarray(jnp.inf, dtype),
        zero,
        zero,
        zero - 1,
        History(blank, blank, values),
    )


def _batch(job: _Job, step) -> Any:
    size = job.settings.batch
    if size is None:
        return job.data
    count = _arrays(job.data)[0].shape[0]
    chosen = jr.choice(jr.fold_in(jr.fold_in(job.key, 2), step), count, (size,), replace=False)
    return _rows(job.data, chosen)


def _arrays(data: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(data) if eqx.is_array_like(leaf)]


def _rows(data: Any, chosen: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[chosen] if eqx.is_array_like(leaf) else leaf, data)


@eqx.filter_jit
def _advance(job: _Job, carry: _Carry, limit) -> _Carry:
    """Steps until `limit`, or until all starts have ended."""
    if job.settings.starts == 1:
        return _loop(job, carry, limit)
    return eqx.filter_vmap(lambda one: _loop(job, one, limit))(carry)


def _loop(job: _Job, carry: _Carry, limit) -> _Carry:
    dynamic, static = eqx.partition(carry, eqx.is_array)

    def going(dynamic):
        carry = eqx.combine(dynamic, static)
        return (carry.status < 0) & (carry.step < limit)

    def body(dynamic):
        return eqx.filter(_one(job, eqx.combine(dynamic, static)), eqx.is_array)

    return eqx.combine(jax.lax.while_loop(going, body, dynamic), static)


def _one(job: _Job, carry: _Carry) -> _Carry:
    problem, settings = job.problem, job.settings
    data = _batch(job, carry.step)
    step = job.stepper.step(problem, carry.vectors, carry.state, data)
    loss = jnp.where(jnp.isfinite(step.loss), step.loss, jnp.inf).astype(carry.least.dtype)
    better = loss < carry.least
    enough = loss < carry.least - settings.tolerance * jnp.abs(carry.least)
    since = jnp.where(enough | (carry.step == 0), 0, carry.since + 1)
    finite = jnp.isfinite(step.loss) & jnp.isfinite(step.gradient)
    lost = ~finite & (settings.batch is None)
    flat = finite & (step.gradient == 0) & (settings.batch is None)
    status = jnp.asarray(-1, jnp.int32)
    status = jnp.where(carry.step + 1 >= settings.steps, STEPS, status)
    status = jnp.where(since >= settings.patience, STALLED, status)
    status = jnp.where(lost, NONFINITE, status)
    status = jnp.where(step.done, CONVERGED, jnp.where(flat, FLAT, status))
    trace, row = carry.trace, carry.step
    values = trace.values
    if values is not None:
        values = values.at[row].set(problem.variables.moving(step.at).astype(values.dtype))
    trace = History(
        trace.loss.at[row].set(step.loss.astype(trace.loss.dtype)),
        trace.gradient.at[row].set(step.gradient.astype(trace.gradient.dtype)),
        values,
    )
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), step.at, carry.best)
    least = jnp.where(better, loss, carry.least)
    return _Carry(step.vectors, step.state, best, least, since, carry.step + 1, status, trace)


def _by_and_by(job: _Job, carry: _Carry, finish, callback, checkpoint, show) -> _Carry:
    """`_advance`, with looks from outside in between."""
    file = None if checkpoint is None else pathlib.Path(checkpoint)
    config = {}
    if file is not None:
        if not file.parent.is_dir():
            raise FileNotFoundError(f"`checkpoint`: there is no folder {file.parent}.")
        config = _checkpoint.identity({"fit": job})
        carry = _checkpoint.read(file, config, carry)
    limit = job.settings.steps
    with bar(limit, "step", show, done=int(jnp.max(carry.step))) as shown:
        while bool((carry.status < 0).any()):
            before = int(jnp.max(carry.step))
            until = min(before + _EVERY, limit)
            carry = _advance(job, carry, jnp.asarray(until, jnp.int32))
            made = int(jnp.max(carry.step))
            shown.update(made - before)
            loss = float(jnp.min(carry.least))
            shown.set_postfix_str(f"loss {loss:.4g}")
            if file is not None:
                _checkpoint.write(file, config, carry)
            if callback is None:
                continue
            if callback(Progress(made, loss, finish(carry))):
                ended = jnp.where(carry.status < 0, STOPPED, carry.status)
                return eqx.tree_at(lambda c: c.status, carry, ended)
    return carry


def _best(job: _Job, carry: _Carry) -> Vectors:
    """The best parameters of the best start."""
    if job.settings.starts == 1:
        return carry.best
    winner = jnp.argmin(carry.least)
    return jax.tree.map(lambda leaf: leaf[winner], carry.best)


def _result(
    job: _Job, carry: _Carry, residual: bool, absolute: bool, finish, labels: tuple[str, ...]
) -> FitResult:
    problem = job.problem
    variables = problem.variables
    best = _best(job, carry)
    winner = jnp.argmin(carry.least)
    several = job.settings.starts > 1
    sure = None
    if residual and variables.size <= _SURE and job.settings.batch is None:
        sure = _certainty(problem, best, job.data, absolute)
    method = job.stepper
    method = type(method.solver).__name__ if isinstance(method, ByLeastSquares) else "optax"
    return FitResult(
        model=finish(carry),
        loss=carry.least[winner] if several else carry.least,
        losses=jnp.atleast_1d(carry.least),
        status=carry.status[winner] if several else carry.status,
        steps=carry.step[winner] if several else carry.step,
        values=variables.moving(best),
        stderr=None if sure is None else sure.stderr,
        covariance=None if sure is None else sure.covariance,
        undetermined=None if sure is None else sure.undetermined,
        trace=carry.trace,
        labels=labels,
        derivative="forward" if problem.forward else "reverse",
        method=method,
    )


@eqx.filter_jit
def _certainty(problem: Problem, vectors: Vectors, data: Any, absolute: bool):
    """Derivatives of adaptive steps have noise: other steps have others. How much is seen from
    steps that begin a little beside."""
    flat, back = ravel_pytree(vectors)
    aside = jnp.finfo(flat.dtype).eps ** 0.75 * (1 + jnp.abs(flat))
    both = jnp.stack([flat, flat + aside])
    residuals, jacobian = jax.lax.map(lambda v: problem.jacobian(back(v), data), both)
    residuals, (jacobian, other) = residuals[0], jacobian
    slope = jax.jacfwd(lambda v: problem.variables.moving(back(v)))(flat)
    fine = jnp.isfinite(jacobian).all() & jnp.isfinite(residuals).all()
    jacobian = jnp.where(fine, jacobian, 0.0)
    noise = jnp.where(jnp.isfinite(other), other - jacobian, 0.0)
    return certainty(residuals, jacobian, noise, slope, absolute)


def _warn(result: FitResult) -> None:
    ending = ENDINGS[int(result.status)]
    if ending == "flat" and float(result.trace.gradient.ravel()[0]) == 0 and float(result.loss) > 0:
        _say(
            "the gradient is exactly zero at the start, so nothing can be learned from there: no "
            "save falls within a transition, or nothing moves (a uniform or locking transition "
            "matrix, a missing seed). Fit `losses.order` or `losses.saliency_path` first, or let "
            "hopfax.fit_sequence choose a start."
        )
        return
    if ending == "nonfinite":
        _say("the loss or its gradient is not finite; what was best before is returned.")
    if result.undetermined is not None and bool(result.undetermined.any()):
        lost = [label for k, label in enumerate(result.labels) if bool(result.undetermined[k])]
        more = f" and {len(lost) - 6} more" if len(lost) > 6 else ""
        _say(
            f"the data do not determine {', '.join(lost[:6])}{more}: their standard errors are "
            "infinite, and their values one choice of many. A column of `transition` is seen only "
            "while its memory is active, and an entry only if it makes a difference."
        )


def _say(text: str) -> None:
    warnings.warn(text, FitWarning, stacklevel=4)
