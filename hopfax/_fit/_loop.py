"""The loop of a fit: steps inside one compiled program, and what is done between its calls.

A `Job` is what is fitted and how, a `Carry` where the fit is. `advance` makes steps until a limit,
all starts side by side. `watch` calls it again and again, and looks in between: progress bar,
callback, checkpoint.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .._interrupt import until_stopped
from .._programs import jitted
from .._progress import progress as bar
from .._types import ArrayLike
from . import _checkpoint
from ._batches import drawn
from ._result import CONVERGED, FLAT, INTERRUPTED, NONFINITE, STALLED, STEPS, STOPPED, History
from ._steppers import ByLeastSquares, ByOptax, Problem
from ._variables import Vectors, first as first_of

TRACED = 64  # parameters up to which every step's values are kept
_EVERY = 20  # steps between two looks from outside


class Progress(NamedTuple):
    """What a callback is told."""

    step: int
    loss: float
    model: Any


class Settings(eqx.Module):
    """When a fit ends, and how many starts and rows of data it has."""

    steps: int = eqx.field(static=True)
    patience: int = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    batch: int | None = eqx.field(static=True)
    starts: int = eqx.field(static=True)


class Job(eqx.Module):
    """What is fitted, and how."""

    problem: Problem
    stepper: ByOptax | ByLeastSquares
    data: Any
    key: Array
    spread: Float[Array, ""]
    settings: Settings


class Carry(eqx.Module):
    """Where a fit is; with a leading axis of starts if there are several.

    - `vectors`, `state`: the free parameters, and what the optimiser remembers.
    - `best`, `least`: the parameters with the least loss so far, and that loss.
    - `since`: steps since the loss has last fallen enough.
    - `step`, `status`: steps made, and how the fit ended (-1 while it goes on).
    - `trace`: the history of all steps.
    """

    vectors: Vectors
    state: Any
    best: Vectors
    least: Float[Array, "..."]
    since: Int[Array, "..."]
    step: Int[Array, "..."]
    status: Int[Array, "..."]
    trace: History


def begin(job: Job) -> Carry:
    """Before the first step, at all starts; the first one is the given model."""
    starts = job.settings.starts
    first = first_of(job.problem.variables)
    if starts == 1:
        return start_at(job, first)
    flat, back = ravel_pytree(first)
    moved = job.spread * jr.normal(jr.fold_in(job.key, 1), (starts, flat.size), flat.dtype)
    return eqx.filter_vmap(lambda v: _start(job, back(v)))(flat + moved.at[0].set(0.0))


def evaluated(job: Job, vectors: Vectors) -> tuple[Array, Array]:
    """The residuals and their derivatives somewhere, for least squares from one start.

    It is the program of the fit that computes them: one of their own takes as long to compile.
    """
    first = advance(job, start_at(job, vectors), jnp.asarray(1, jnp.int32)).state.f_info
    return first.residual, first.jac.as_matrix()


@jitted
def start_at(job: Job, vectors: Vectors) -> Carry:
    """Before the first step, at one start."""
    return _start(job, vectors)


def _start(job: Job, vectors: Vectors) -> Carry:
    settings, dtype = job.settings, job.problem.variables.dtype
    n = job.problem.variables.size
    blank = jnp.full(settings.steps, jnp.nan, dtype)
    values = jnp.full((settings.steps, n), jnp.nan, dtype) if n <= TRACED else None
    zero = jnp.zeros((), jnp.int32)
    return Carry(
        vectors,
        job.stepper.init(job.problem, vectors, _batch(job, zero)),
        vectors,
        jnp.asarray(jnp.inf, dtype),
        zero,
        zero,
        zero - 1,
        History(blank, blank, values),
    )


def _batch(job: Job, step: ArrayLike) -> Any:
    """The data for one step."""
    return drawn(job.data, job.settings.batch, job.key, step)


@jitted
def advance(job: Job, carry: Carry, limit: Int[Array, ""]) -> Carry:
    """Steps until `limit`, or until all starts have ended."""
    if job.settings.starts == 1:
        return _loop(job, carry, limit)
    return eqx.filter_vmap(lambda one: _loop(job, one, limit))(carry)


def _loop(job: Job, carry: Carry, limit: Int[Array, ""]) -> Carry:
    """`advance` of one start."""
    dynamic, static = eqx.partition(carry, eqx.is_array)

    def going(dynamic):
        carry = eqx.combine(dynamic, static)
        return (carry.status < 0) & (carry.step < limit)

    def body(dynamic):
        return eqx.filter(_one(job, eqx.combine(dynamic, static)), eqx.is_array)

    return eqx.combine(jax.lax.while_loop(going, body, dynamic), static)


def _one(job: Job, carry: Carry) -> Carry:
    """One step, what it says about the end, and the history with it."""
    problem, settings = job.problem, job.settings
    data = _batch(job, carry.step)
    step = job.stepper.step(problem, carry.vectors, carry.state, data)
    loss = jnp.where(jnp.isfinite(step.loss), step.loss, jnp.inf).astype(carry.least.dtype)
    better = loss < carry.least
    enough = loss < carry.least - settings.tolerance * jnp.abs(carry.least)
    since = jnp.where(enough | (carry.step == 0), 0, carry.since + 1)
    # One bad or flat batch does not end a fit: the next one has other data.
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
    return Carry(step.vectors, step.state, best, least, since, carry.step + 1, status, trace)


def watch(
    job: Job,
    carry: Carry,
    finish: Callable[[Carry], Any],
    callback: Callable[[Progress], Any] | None,
    checkpoint: str | os.PathLike[str] | None,
    show: bool | Literal["auto"],
) -> Carry:
    """`advance` to the end, a few steps at a time.

    **Arguments:** `finish`: the model of a carry, for the callback. `checkpoint`: a file from which
    the fit goes on, and which is written after every few steps. `show`: a progress bar.

    Ctrl-C ends it, too; KeyboardInterrupt if no step has been made.

    **Raises:** FileNotFoundError if the folder of `checkpoint` does not exist; see
    `_checkpoint.read` for the file.
    """
    file = None if checkpoint is None else pathlib.Path(checkpoint)
    config = {}
    if file is not None:
        if not file.parent.is_dir():
            raise FileNotFoundError(f"`checkpoint`: there is no folder {file.parent}.")
        config = _checkpoint.identity({"fit": job})
        carry = _checkpoint.read(file, config, carry)
    limit, made = job.settings.steps, int(np.max(carry.step))
    with until_stopped() as stopped, bar(limit, "step", show, done=made) as shown:
        while (np.asarray(carry.status) < 0).any():
            stopped.check()
            before = int(np.max(carry.step))
            until = min(before + _EVERY, limit)
            carry = advance(job, carry, jnp.asarray(until, jnp.int32))
            made = int(np.max(carry.step))
            loss = float(np.min(carry.least))
            shown.set_postfix_str(f"loss {loss:.4g}")
            shown.update(made - before)
            if file is not None:
                _checkpoint.write(file, config, carry)
            if callback is None:
                continue
            if callback(Progress(made, loss, finish(carry))):
                return _ended(carry, STOPPED)
    if stopped.pressed:
        if made == 0:
            raise KeyboardInterrupt("the fit was interrupted before its first step.")
        return _ended(carry, INTERRUPTED)
    return carry


def _ended(carry: Carry, status: int) -> Carry:
    """With this status wherever the fit still went on."""
    ended = jnp.where(carry.status < 0, jnp.asarray(status, jnp.int32), carry.status)
    return eqx.tree_at(lambda c: c.status, carry, ended)


def best(job: Job, carry: Carry) -> Vectors:
    """The parameters with the least loss of all starts."""
    if job.settings.starts == 1:
        return carry.best
    winner = jnp.argmin(carry.least)
    return jax.tree.map(lambda leaf: leaf[winner], carry.best)
