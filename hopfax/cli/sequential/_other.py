"""`hopfax run --model` of a network of another kind than two timescales, in continuous time."""

from typing import Any

from .. import _runs
from .._inputs import input_of, start_of
from .._limits import check_noise, check_positive
from .._machine import precision
from .._models import load_flow
from .._settings import changed

_HORIZON = 40.0  # in time constants: the slow ones, where there are some


def run(asked: Any) -> int:
    """Run the network of --model, print, write."""
    for name in changed(asked, ("saliency0", "order")):
        raise ValueError(f"`{name}` is of networks of two timescales; this one has --init.")
    horizon = _HORIZON if asked.horizon is None else asked.horizon
    check_positive("horizon", horizon)
    check_noise(asked.noise)
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
        found = _runs.flow(network, state, horizon, asked.noise, asked.seed, **inputs)
        return _runs.finish(found, place, asked.image_shape, asked)


_INPUTS = ("stimulus", "current")
