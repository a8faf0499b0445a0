"""Fit: from a model and a loss to the model with the least of it."""

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._errors import (
    FitWarning,
    as_count,
    as_float,
    as_key,
    as_number,
    as_real,
    check_array,
    check_at_least,
    check_bool,
    check_callable,
    check_option,
    check_path,
    check_shape,
    warn,
)
from .._programs import jitted
from .._progress import check_progress
from .._types import is_concrete
from ..losses import Recording, joint
from ..networks import AbstractFlow, merged
from ..patterns import Patterns
from ._certainty import Certainty, certainty_of
from ._choice import Optimizer, choose
from ._loop import TRACED, Carry, Job, Progress, Settings, advance, begin, best, watch
from ._parabola import Rise, rise_of
from ._profile import Origin
from ._result import (
    CONVERGED,
    ENDINGS,
    INTERRUPTED,
    POOR,
    FitResult,
    listed,
    lost,
    poor,
    undetermined,
    vague,
)
from ._search import nearer, searched
from ._steppers import ByLeastSquares, ByOptax, Problem
from ._variables import Variables, moving, variables_of

_PATH = "].noise"  # ends the name of a recording's noise
_BESIDE = 1.001  # times a memory is another, if its values are real numbers
_SEEN = 5.0  # standard errors, from which on a path is taken to be that of the data
_SURE = 512  # parameters up to which the Gauss-Newton matrix is made at the end


def fit(
    model: Any,
    loss: Callable,
    *,
    where: Callable,
    constraint: Any = None,
    data: Any = None,
    batch_size: int | None = None,
    optimizer: Optimizer = None,
    steps: int | None = None,
    patience: int | None = None,
    tolerance: float = 1e-6,
    starts: int | Literal["auto"] = "auto",
    spread: float = 0.5,
    key: jax.Array | None = None,
    derivative: Literal["auto", "forward", "reverse"] = "auto",
    absolute_sigma: bool = False,
    callback: Callable[[Progress], Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | Literal["auto"] = "auto",
) -> FitResult:
    r"""Minimise a loss over some arrays of a model, by gradients through its trajectories.

    It works under `jit` and `vmap`: many fits side by side are `eqx.filter_vmap` of a function that
    calls `fit` (then without `callback`, `checkpoint` and warnings).

    **Arguments:**

    - `model`: a network, or any pytree that the loss understands, e.g. `(network, recording)` for
        `losses.joint`, by which the start and the inputs of a run are fitted.
    - `loss`: one of `hopfax.losses`, or a function `loss(model)`, `loss(model, data)` that returns
        residuals (an array; $\frac12 \sum r^2$ is minimised) or a number.
    - `where`: the arrays to fit, e.g. `lambda net: net.kappa` or
        `lambda net: (net.kappa, net.transition)`. Memories that are fitted (`net.patterns.xi`)
        become real-valued.
    - `constraint`: one of `hopfax.constraints`, or a projection such as those of
        `optax.projections`; one for all, or one for each array of `where`.
    - `data`: passed to the loss. With a `batch_size`, every step sees only so many entries along
        the leading axis of its arrays, drawn anew (this needs a `key`).
    - `optimizer`: optax's or, for residuals, a Gauss-Newton solver of optimistix. Default:
        Levenberg-Marquardt for residuals, `optax.adam(0.05)` for a number, projections or batches.
    - `steps`: the most steps (200, with optax 1000).
    - `patience`: stop when the loss has not fallen by the fraction `tolerance` for so many steps
        (optax). `tolerance` is also that of least squares, in parameters and residuals.
    - `starts`: how many starting points are fitted side by side; the best result is kept. The
        first is the given model, in the others the free parameters are moved by normal deviates of
        size `spread`, for which a `key` is needed. "auto" starts from one point and searches on
        from others if the result may be a false minimum (see below), without a `key` and with the
        same result at every call.
    - `derivative`: "auto" takes forward mode for at most 16 parameters and for least squares, else
        reverse mode. A loss of your own is differentiated in reverse mode unless you say "forward";
        its call of `simulate` must say the same.
    - `absolute_sigma`: whether the standard deviations in the residuals are known. Otherwise only
        their ratios count: all are scaled so that the reduced chi-squared is one, as in
        `scipy.optimize.curve_fit`.
    - `callback`: called every few steps with `Progress(step, loss, model)`, and after each further
        start of a search; stops if it returns True.
    - `checkpoint`: a file that keeps the state of a long fit. The same call goes on from it; a call
        with other arrays, functions or settings is refused. Functions count with their code and the
        values that they reach, so it holds for one version of Python.
    - `progress`: show a bar, on a terminal or in a notebook; elsewhere a line every ten seconds
        says how far it is, with True also one at the end.

    With `starts="auto"` and more than four parameters, a trace of saliencies is fitted from the
    parameters that give it its slopes, if these are closer to the data than the given ones. Runs
    that are early or late by a part of a dwell make false minima, so least squares on a recording
    of `hopfax.losses` goes on by itself:

    - after a poor fit (see `goodness` of the result) from other points, until a fit is good: from
        the parameters that give a trace of saliencies its slopes; for at most four parameters, from
        the best of up to 1024 points within factors of 0.67 to 1.5 of the start; and from the start
        with growing parts of the data;
    - for overlaps, which have small minima side by side, from four standard errors beside what was
        found, as long as that leads lower;
    - after a good fit in a bent valley (its loss is no parabola where the standard errors reach)
        from lower points along it and, for at most eight parameters, from three of the 1024.

    Ctrl-C ends the fit, which returns the best so far, with the status "interrupted" and without
    errors; a `checkpoint` goes on from there.

    **Returns:** a `FitResult`.

    **Raises:** ValueError/TypeError naming the argument; ConfigMismatch or LoadError for a
    `checkpoint` of another fit or a damaged one. Warns (FitWarning) if the gradient is exactly
    zero, if the loss is not finite, if the data leave a parameter undetermined, or determine it so
    little that its standard error is larger than its value, and if two standard errors away the
    loss rises by more than six times as much as they say.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.switch_times([32.0, 63.0], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]))
    found = hx.fit(network, loss, where=lambda net: net.kappa, progress=False)
    found.model.kappa, found.stderr  # 5.56, 0.47
    ```
    """
    check_option(derivative, "derivative", ("auto", "forward", "reverse"))
    tolerance = _checked_kinds(loss, data, where, tolerance, absolute_sigma, callback, progress)
    if checkpoint is not None:
        check_path(checkpoint, "checkpoint")
    auto = isinstance(starts, str) and starts == "auto"
    starts = 1 if auto else as_count(starts, "starts")
    steps, patience, batch_size = (
        None if count is None else as_count(count, name, most=2**31 - 1)
        for name, count in (("steps", steps), ("patience", patience), ("batch_size", batch_size))
    )
    outer, labels = variables_of(model, where, constraint)
    if any("patterns" in name for name in outer.names):
        model = _real_valued(model)
        _check_memories(model)
        outer, labels = variables_of(model, where, constraint)
    network = smaller(model, loss, outer)
    variables = outer if network is model else variables_of(network, where, constraint)[0]
    stepper, forward, residual = choose(
        network, loss, variables, data, batch_size, optimizer, tolerance, derivative
    )
    limit = (1000 if isinstance(stepper, ByOptax) else 200) if steps is None else steps
    _check(starts, batch_size, key, spread)
    _check_room(limit, starts, variables)
    problem = Problem(network, loss, variables, forward)
    settings = Settings(limit, patience or limit + 1, tolerance, batch_size, starts)
    key = jr.key(0) if key is None else as_key(key)
    job = Job(problem, stepper, data, key, jnp.asarray(spread, variables.dtype), settings)
    carry = begin(job)
    if auto:
        carry = nearer(job, carry)

    def finish(carry: Carry) -> Any:
        return outer.put(model, best(job, carry))

    def judged(carry: Carry) -> FitResult:
        return _result(job, carry, residual, absolute_sigma, finish(carry), labels)

    if not all(is_concrete(leaf) for leaf in jax.tree.leaves((carry, problem, data))):
        if callback is not None or checkpoint is not None:
            raise ValueError("`callback` and `checkpoint` are not for a fit under jit or vmap.")
        return judged(advance(job, carry, jnp.asarray(limit, jnp.int32)))
    result = judged(watch(job, carry, finish, callback, checkpoint, progress))
    if auto:
        result, rise = searched(job, result, judged, callback, progress)
    else:
        rise = rise_of(job, result)
    _warn(result, rise)
    return result if rise is None else dataclasses.replace(result, bent=rise.off)


def _checked_kinds(
    loss: Any,
    data: Any,
    where: Any,
    tolerance: Any,
    absolute_sigma: Any,
    callback: Any,
    progress: Any,
) -> float:
    """The tolerance; TypeError/ValueError naming what is of another kind than it must be."""
    check_callable(loss, "loss", "one of hopfax.losses, or a function of the model")
    if data is not None:
        _check_data(loss, data)
    check_callable(where, "where", "a function of the model, as lambda net: net.kappa")
    check_bool(absolute_sigma, "absolute_sigma")
    check_progress(progress)
    if callback is not None:
        check_callable(callback, "callback", "a function of the progress")
    tolerance = as_number(tolerance, "tolerance")
    check_at_least(tolerance, "tolerance", 0.0, strict=True)
    return tolerance


def _check_data(loss: Any, data: Any) -> None:
    """TypeError/ValueError unless `loss` takes data and these are no masked or other odd arrays."""
    try:
        inspect.signature(loss).bind(None, data)
    except TypeError:
        raise TypeError("`data` is given, but `loss` takes the model alone.") from None
    except ValueError:  # it does not say what it takes
        pass
    for leaf in jax.tree.leaves(data):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind != "c":
            as_real(leaf, "data")


def _check(starts: int, batch_size: int | None, key: jax.Array | None, spread: float) -> None:
    """ValueError naming what cannot be."""
    if (starts > 1 or batch_size is not None) and key is None:
        raise ValueError("`key` is needed for several `starts` and for a `batch_size`.")
    moved = as_float(spread, "spread")
    check_shape(moved, "spread", (), "()")
    check_at_least(moved, "spread", 0.0, strict=False)


def _check_room(steps: int, starts: int, variables: Variables) -> None:
    """ValueError unless the history of all steps, and all starts, fit into memory."""
    size, each = variables.size, variables.dtype.itemsize
    check_array(
        "the history", each * (2 + (size if size <= TRACED else 0)), steps=steps, starts=starts
    )
    check_array("the parameters", 3 * each, starts=starts, n=size)


def smaller(model: Any, loss: Callable[..., Any], variables: Variables) -> Any:
    """The model with one neuron for each class of equal ones, where the loss cannot tell the
    difference; else the model itself.

    This is done here, before anything is traced: inside a compiled program the patterns are not
    known, and classes of many neurons cannot be found.
    """
    network, seen = model if loss is joint and isinstance(model, tuple) else (model, loss)
    if not isinstance(seen, Recording):
        return model
    if any("patterns" in name for name in variables.names) or not seen.sees_classes_only:
        return model
    return (merged(network), seen) if loss is joint else merged(network)


def _real_valued(model: Any) -> Any:
    """The model with patterns that may hold any real numbers, because they are fitted."""

    def loosened(node):
        if not isinstance(node, Patterns):
            return node
        return Patterns(node.xi, binary=False, counts=node.counts, check_patterns=False)

    return jax.tree.map(loosened, model, is_leaf=lambda node: isinstance(node, Patterns))


def _check_memories(model: Any) -> None:
    """ValueError for a network whose memories cannot move, because its domain forbids the values
    beside those that they have."""
    for network in filter(_is_flow, jax.tree.leaves(model, is_leaf=_is_flow)):
        if is_concrete(network.patterns.xi):
            with jax.ensure_compile_time_eval():  # also where the fit itself is traced
                xi = network.patterns.xi * _BESIDE
                fine = bool(_allowed(eqx.tree_at(lambda n: n.patterns.xi, network, xi)))
            if not fine:
                raise ValueError(
                    f"`where` selects patterns.xi, but a {type(network).__name__} allows no "
                    "values beside those that its memories have (of firing rates entries 0 and 1): "
                    "no gradient leads from one set to another. Compare the losses of candidates."
                )


def _is_flow(node: Any) -> bool:
    return isinstance(node, AbstractFlow)


@jitted
def _allowed(network: AbstractFlow) -> Array:
    """Whether the domain of the network allows its memories."""
    held = [bound.holds() for bound in network.domain() if bound.name == "patterns.xi"]
    return jnp.stack([jnp.asarray(True), *held]).all()


def _result(
    job: Job,
    carry: Carry,
    residual: bool,
    absolute: bool,
    model: Any,
    labels: tuple[str, ...],
) -> FitResult:
    """What the fit returns: of the best start, with its errors if they can be had."""
    problem = job.problem
    variables = problem.variables
    vectors = best(job, carry)
    winner = jnp.argmin(carry.least)
    several = job.settings.starts > 1
    sure = found = scale = None
    # Whoever presses Ctrl-C does not wait for another program to be compiled.
    stopped = is_concrete(carry.status) and bool((carry.status == INTERRUPTED).any())
    status = carry.status[winner] if several else carry.status
    if not stopped and residual and variables.size <= _SURE and job.settings.batch is None:
        sure, found, scale = certainty_of(job, vectors, absolute, status == CONVERGED)
        if problem.loss is joint:
            sure = _of_paths(sure, moving(variables, vectors), labels)
    if found is not None:
        status = jnp.where(found.poor & (status == CONVERGED), POOR, status)
    method = job.stepper
    method = type(method.solver).__name__ if isinstance(method, ByLeastSquares) else "optax"
    here = all(is_concrete(leaf) for leaf in jax.tree.leaves((carry, problem, job.data)))
    return FitResult(
        model=model,
        loss=carry.least[winner] if several else carry.least,
        losses=jnp.atleast_1d(carry.least),
        status=status,
        steps=carry.step[winner] if several else carry.step,
        values=moving(variables, vectors),
        stderr=None if sure is None else sure.stderr,
        covariance=None if sure is None else sure.covariance,
        undetermined=None if sure is None else sure.undetermined,
        goodness=found,
        trace=carry.trace,
        labels=labels,
        derivative="forward" if problem.forward else "reverse",
        method=method,
        scale=scale,
        origin=Origin(problem, job.data, job.settings.tolerance) if here else None,
    )


def _of_paths(sure: Certainty, values: Float[Array, " n"], labels: tuple[str, ...]) -> Certainty:
    """The errors, infinite for the noise of a recording that the data do not show.

    It is the strength of noise along one path. Data that have another path determine it no more
    than data without noise: what comes out is zero but for a few standard errors.
    """
    along = np.array([label.endswith(_PATH) for label in labels])
    lost = jnp.asarray(along) & ~(jnp.abs(values) > _SEEN * sure.stderr)
    either = lost[:, None] | lost[None, :]
    return Certainty(
        jnp.where(lost, jnp.inf, sure.stderr),
        jnp.where(either, jnp.nan, sure.covariance),
        sure.undetermined | lost,
        sure.left,
    )


def _warn(result: FitResult, rise: Rise | None) -> None:
    """Says what is wrong with a result: a gradient of zero, no number, nothing determined, or
    errors that the `rise` of the loss does not bear out."""
    ending = ENDINGS[int(result.status)]
    if ending == "flat" and float(result.trace.gradient.ravel()[0]) == 0 and float(result.loss) > 0:
        _say(
            "the gradient is exactly zero at the start, so nothing can be learned from there: no "
            "save falls within a transition, or nothing moves (a uniform or locking transition "
            "matrix, a missing seed). Fit `losses.order` or `losses.saliency_path` first, or let "
            "hopfax.fit_sequence choose a start."
        )
        return
    if ending == "interrupted":
        _say("the fit was interrupted; what was best so far is returned.")
    if ending == "nonfinite":
        _say("the loss or its gradient is not finite; what was best before is returned.")
    if ending in ("converged, poor fit", "stalled") and poor(result):
        tried = result.losses.size
        of = f"the best of the minima that were found from {tried} starts" if tried > 1 else "this"
        _say(
            f"the model does not fit the data: {result.goodness}. Either {of} is a false minimum: "
            "try another start, or more of them (starts=16, spread=0.1, key=jax.random.key(0)); or "
            "something else made the data, or their standard deviations are larger than was said. "
            "Standard errors would mean nothing and are NaN."
        )
    if (text := undetermined(result)) is not None:
        _say(text)
    if any(label.endswith(_PATH) for label in lost(result)):
        _say(
            "the data do not show the noise of this `key`. A run that was not simulated with "
            "it has a path of its own, which no other tells anything of. The strength of such "
            "noise is seen in the mean of many neurons: fit `activation.std` of "
            "hopfax.GaussianAverage, which is noise / sqrt(2)."
        )
    if little := vague(result):
        _say(
            f"the data hardly determine {listed(little)}: a standard error is larger than the "
            "value itself. What they tell may be a combination of several entries; "
            "hopfax.identifiability of the fitted model and the same loss says which. Fit fewer "
            "entries, add what is known of them (hopfax.losses.prior), or record what depends on "
            "each alone."
        )
    if rise is not None and rise.off:
        _say(
            f"the loss is no parabola where the standard errors reach: {rise.away:g} of them away "
            f"it rises by {rise.ratios.min():.2g} to {rise.ratios.max():.2g} times as much as they "
            "say. They may be far off (`interval` of the result takes the `profile` instead), and "
            "a lower minimum may lie further along the valley: try another start, or more of them "
            "(starts=16, spread=0.1, key=jax.random.key(0))."
        )


def _say(text: str) -> None:
    warn(text, FitWarning)
