"""What `hopfax sweep` computes: the point that its options describe, or a recipe of points."""

import dataclasses
from typing import Any, get_args

import equinox as eqx
import numpy as np

import hopfax as hx

from ..._serialise import notes
from .. import _axes
from .._inputs import coefficients, start_of
from .._memories import memories_of, named
from .._models import load_flow
from .._settings import bare, chosen
from ._networks import ACTIVATIONS, Readout, activation_of

_SAVES = 100  # over the horizon; they decide the regime
#: Other words for axes.
_ALIASES = {"P": "memories", "N": "neurons", "saliency": "init.saliency[0]"}
#: Axes of which points are made, one after the other: whole numbers, words, and numbers.
_WHOLE = ("memories", "neurons", "pattern_seed")
_WORDS = {
    "learning": ("hebbian", "pseudo_inverse"),
    "readout": get_args(Readout),
    "activation": tuple(ACTIVATIONS),
}
_MADE = (*_WHOLE, *_WORDS, "correlation")
#: Names of axes that no point knows.
WORDS = (*_MADE, *_ALIASES, "seed")
#: What a model has already.
OF_THE_MODEL = ("patterns", "memories", "neurons", "transpose", "image_shape", "threshold")
OF_THE_MODEL += ("kappa", "tau", "bias", "readout", "learning", "activation")
#: Gain and start saliency of memory 0 where one of them is not swept.
KAPPA, SALIENCY = 5.0, 4.0


def fixed(asked: Any) -> Any:
    """The options with one gain and one start saliency, as --axis leaves them.

    **Raises:** ValueError for more of them, or for points that belong to no axis.
    """
    given = {}
    for name, usual in (("kappa", KAPPA), ("saliency", SALIENCY)):
        value = getattr(asked, name)
        if len(value) != 1 and value != getattr(type(asked), name):
            raise ValueError(f"`{name}` is one number with --axis; --axis {name} sweeps it.")
        given[name] = value if len(value) == 1 else (usual,)
    if asked.points != type(asked).points:
        raise ValueError("`points` is for gain and start saliency; an --axis has its COUNT.")
    return dataclasses.replace(asked, **given)


def grid_of(asked: Any) -> dict[str, Any]:
    """The axes that are asked for by --axis.

    **Raises:** ValueError naming the option.
    """
    grid = _axes.grid_of(asked.axis, (*_WHOLE, "seed"), _WORDS, _ALIASES)
    _axes.made_axes(grid, _MADE, asked)
    if "correlation" in grid and not (named(asked.patterns) and asked.patterns != "digits"):
        raise ValueError("`axis`: correlation is of memories that are made up, not of --patterns.")
    return grid


def task(asked: Any, memories: Any, grid: dict[str, Any]) -> Any:
    """The point, or a recipe if some axes are of what it is made of."""
    if any(name in _MADE for name in grid):
        inputs = tuple((name, "0") for name, *_ in asked.axis if ".weights" in name)
        return hx.Recipe(Cycle(bare(asked, axis=inputs)))
    return point(asked, memories)


class Cycle(eqx.Module):
    """Makes the point of a cycle of memories, with some of its options changed."""

    asked: Any

    def __call__(
        self,
        memories: int | None = None,
        neurons: int | None = None,
        pattern_seed: int | None = None,
        correlation: float | None = None,
        learning: str | None = None,
        readout: str | None = None,
        activation: str | None = None,
    ) -> hx.Point:
        """The point. `correlation` makes memories anew; `activation` keeps the gain."""
        _, _, gain = self.asked.activation.partition(":")
        kept = activation if not (activation and gain) else f"{activation}:{gain}"
        asked = chosen(
            self.asked,
            correlation,
            memories=memories,
            neurons=neurons,
            seed=pattern_seed,
            learning=learning,
            readout=readout,
            activation=kept,
        )
        return point(asked, cycle_memories(asked))


def cycle_memories(asked: Any) -> hx.Patterns:
    """The memories, at least two of them."""
    memories, _ = memories_of(asked)
    if memories.P < 2:
        name = "patterns" if asked.memories is None else "memories"
        raise ValueError(f"`{name}` must be at least 2 memories for a sequence, got 1.")
    return memories


def point(asked: Any, memories: Any) -> hx.Point:
    """The point that the options describe."""
    network, axes = _network(asked, memories), [name for name, *_ in asked.axis]
    return hx.Point(
        network,
        _start(asked, network),
        np.linspace(0.0, asked.horizon, _SAVES + 1),
        per_tau=network.slow_constant() is not None,
        noise=asked.noise if asked.noise else None,
        stimulus=coefficients(asked.stimulus, "stimulus", network.patterns.P, axes),
        current=coefficients(asked.current, "current", network.patterns.P, axes),
    )


def _start(asked: Any, network: Any) -> dict[str, Any]:
    """The arguments of `init`: as --init has them, or else memory 0 alone, salient where there are
    saliencies."""
    return start_of(asked.init, _usual_start(asked, network))


def _usual_start(asked: Any, network: Any) -> dict[str, Any]:
    P = network.patterns.P
    start = np.eye(P)[0]
    if network.slow_constant() is None:
        return {"weights": start}
    start = asked.saliency[0] * start
    if asked.model is not None and asked.saliency == (SALIENCY,):
        noted = np.ravel(notes(asked.model).get("saliency0", start))
        start = noted if noted.size == P else start  # as `hopfax fit` wrote it
    return {"saliency": start}


def _network(asked: Any, memories: Any) -> Any:
    if asked.model is not None:
        return load_flow(asked.model, asked.classes)
    return hx.TwoTimescaleHopfield(
        memories,
        hx.cyclic(memories.P),
        kappa=asked.kappa[0],
        tau=asked.tau,
        bias=asked.bias,
        readout=asked.readout,
        activation=activation_of(asked.activation),
        learning=asked.learning,
    )
