"""Dense memories in discrete time as the commands' options describe them."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ...theory import dense
from .._memories import memories_of, options_named
from .._models import load_map

#: What a model has already.
OF_THE_MODEL = ("patterns", "memories", "neurons", "transpose", "image_shape", "threshold")
OF_THE_MODEL += ("interaction", "temperature")
UPDATES = ("parallel", "cyclic", "random")
TRANSITIONS = ("none", "cyclic", "chain")
LEARNING = ("hebbian", "pseudo_inverse")
_ORDERS: dict[str, Callable[[Any], Any]] = {
    "power": hx.Power,
    "rectified_power": hx.RectifiedPower,
    "many_body": hx.ManyBody,
}
_NUMBERS: dict[str, Callable[[float], Any]] = {"exponential": hx.Exponential, "softmax": hx.Softmax}
_PLAIN: dict[str, Any] = {"quadratic": hx.Quadratic}
NAMES = (*_PLAIN, *_ORDERS, *_NUMBERS, "simplicial")
_FORMS = (
    "quadratic, power:3, rectified_power:3, many_body:3, exponential:1, softmax:1 or "
    "simplicial:2=0.5,3=1 (a weight for each order)"
)


def name_of(text: str) -> str:
    """The name of the interaction that a text means."""
    return text.partition(":")[0]


def interaction_of(text: str) -> Any:
    """The interaction that a text such as "power" (of order 3) or "power:4" means.

    **Raises:** ValueError for any other.
    """
    name, colon, value = text.partition(":")
    try:
        if name in _ORDERS:
            number = (
                float(value) if name == "rectified_power" and colon else int(value if colon else 3)
            )
            return _ORDERS[name](number)
        if name in _NUMBERS:
            number = float(value) if colon else 1.0
            if 0 < number < math.inf:
                return _NUMBERS[name](number)
        if name == "simplicial":
            pairs = (pair.split("=") for pair in value.split(","))
            return hx.Simplicial({int(order): float(weight) for order, weight in pairs})
        if name in _PLAIN and not colon:
            return _PLAIN[name]()
    except ValueError as error:
        raise ValueError(f"`interaction` must be {_FORMS}, got {text!r}: {error}") from error
    raise ValueError(f"`interaction` must be {_FORMS}, got {text!r}.")


def memory_of(asked: Any, shown: bool = False) -> tuple[Any, tuple[int, int] | None]:
    """The network, and the height and width of the images that its memories are, if they are.

    **Raises:** ValueError or OSError naming the option at fault.
    """
    if asked.model is not None:
        return load_map(asked.model, asked.classes), asked.image_shape if shown else None
    patterns, shape = memories_of(asked, shown)
    beta = 1 / asked.temperature if asked.temperature else None
    found = interaction_of(asked.interaction)
    calls = None if asked.transition == "none" else asked.transition
    how: Any = dict(transition=calls, beta=beta, update=asked.update, learning=asked.learning)
    with options_named({"beta": "temperature"}):
        made = hx.DenseMemory(patterns, found, **how)
    return made, shape


def due(network: Any, memory: Any, steps: int) -> Any:
    """The memory in which a run from `memory` is to be so many steps later: of a cycle or a chain
    the one that many places on, else the same."""
    around = closed(network)
    if around is None or not isinstance(network, hx.DenseMemory):
        return memory
    last = network.patterns.P - 1
    return (memory + steps) % (last + 1) if around else jnp.minimum(memory + steps, last)


def theory_of(asked: Any, network: Any, flips: int) -> np.ndarray | None:
    """The overlaps with the memory that is due, at each step of a run from a memory with so many
    signs changed, as the theory of infinite size has them; None where it does not hold: of
    memories that are not random, do not call each other in turn, or move one neuron at a time."""
    random = asked.model is None and asked.patterns == "random" and asked.update == "parallel"
    if not random or closed(network) is None or asked.learning != "hebbian":
        return None
    N, P, found = network.patterns.N, network.patterns.P, network.interaction
    try:
        order = dense.kernel(found).order
    except ValueError:  # whose noise is not Gaussian
        return None
    m0, load = 1 - 2 * flips / N, P / float(N) ** (order - 1)
    run = dense.sequence_trajectory(found, load, m0, asked.steps, beta=network.beta)
    return np.asarray(run.overlap)


def closed(network: Any) -> bool | None:
    """Whether the memories call each other in a cycle; False for a chain, None for others."""
    return getattr(getattr(network, "transition", None), "closed", None)


def check_run(asked: Any) -> None:
    """ValueError for numbers that no run can have."""
    if not 0 <= asked.temperature < math.inf:
        raise ValueError(f"`temperature` must be finite and >= 0, got {asked.temperature:g}.")
    if asked.steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {asked.steps}.")


def check_start(start: float, memory: int, P: int) -> None:
    """ValueError for a start that there is not."""
    if not -1 <= start <= 1:
        raise ValueError(f"`start` must lie in [-1, 1], got {start:g}.")
    if not 0 <= memory < P:
        raise ValueError(f"`memory` must be one of the {P} memories, from 0 on, got {memory}.")
