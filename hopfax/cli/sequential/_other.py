"""`hopfax run --model` of a network of another kind than two timescales, in continuous time."""

from typing import Any

import jax

from .. import _runs
from .._inputs import input_of, start_of
from .._machine import precision
from .._models import load_flow

_HORIZON = 40.0  # in time constants: the slow ones, where there are some


def run(asked: Any) -> int:
    """Run the network of --model, print, write."""
    for name in ("saliency0", "order"):
        if getattr(asked, name) != getattr(type(asked), name):
            raise ValueError(f"`{name}` is of networks of two timescales; this one has --init.")
    if asked.horizon is not None and not 0 < asked.horizon < float("inf"):
        raise ValueError(f"`horizon` must be > 0, got {asked.horizon:g}.")
    if not 0 <= asked.noise < float("inf"):
        raise ValueError(f"`noise` must be finite and >= 0, got {asked.noise:g}.")
    place = _runs.place_of(asked)
    with precision(asked.precision):
        network = load_flow(asked.model, asked.classes)
        first = [1.0 if mu == 0 else 0.0 for mu in range(network.patterns.P)]
        given = start_of(asked.init, {"weights": first})
        try:
            state = network.init(**given)
        except TypeError as error:
            raise ValueError(f"`init`: {error}; --init NAME VALUES gives what it needs.") from error
        inputs = {name: input_of(network, getattr(asked, name), name) for name in _INPUTS}
        noise = asked.noise or None
        key = None if noise is None else jax.random.key(asked.seed)
        horizon = _HORIZON if asked.horizon is None else asked.horizon
        found = _runs.flow(network, state, horizon, noise=noise, key=key, **inputs)
        return _runs.finish(found, place, asked.image_shape, asked)


_INPUTS = ("stimulus", "current")
