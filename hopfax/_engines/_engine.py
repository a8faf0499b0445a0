"""The choice of an engine for a run."""

from collections.abc import Callable

import jax

from .._errors import check_memory
from .._trajectory import Trajectory
from .._types import Input
from ..networks import HardTanhLaw, RateSystem
from . import _diffrax, hopfield, kinks
from ._diffrax import Noise
from ._methods import Auto, Diffrax, EventDriven
from ._task import Settings, Task


def integrate(
    task: Task,
    settings: Settings,
    method: Auto | Diffrax | EventDriven,
    private: Noise,
    inputs: tuple[Input, Input],
    observe: Callable | None = None,
    event: Callable | None = None,
) -> Trajectory:
    """Integrate a run by the engine that `method` names, or under `Auto` by the exact engine that
    knows its law of motion, if there is one, else by diffrax. `inputs`: stimulus and current.

    **Raises:** ValueError if an exact engine is asked for and cannot integrate this run.
    """

    def by_diffrax(method: Diffrax, name: str = "diffrax") -> Trajectory:
        whole = _diffrax.complete(method, task, private, inputs, single=event is not None)
        if whole.dense and settings.max_steps is not None:
            state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(task.core))
            check_memory("max_steps", 4 * state * settings.max_steps, "dense output of every step")
        return _diffrax.run(task, settings, whole, private, observe, event, name)

    if isinstance(method, Diffrax):
        return by_diffrax(method)
    law = task.system.law(task.core)
    reason = _obstacle(private, event) or (law if isinstance(law, str) else None)
    if reason is not None:
        if isinstance(method, Auto):
            return by_diffrax(method.steps)
        raise ValueError(
            f'`method=EventDriven(...)` cannot integrate this run: {reason}. "auto" takes diffrax.'
        )
    exact = method.exact if isinstance(method, Auto) else method
    if isinstance(law, HardTanhLaw):
        return hopfield.run(task, settings, exact, observe)
    assert isinstance(task.system, RateSystem)  # the one whose law is a KinkLaw
    return by_diffrax(kinks.by_kinks(exact, task.system), "event-driven")


def _obstacle(private: Noise, event: Callable | None) -> str | None:
    """Why no exact engine can integrate a run, whatever its law."""
    if private.strength is not None:
        return "`noise` has no events"
    if event is not None:
        return "a user's `event` stops a run at the end of a step, and exact steps are long"
    return None
