"""What `hopfax sweep --network rate --axis` computes: runs of a network, over any axes."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ...observables import classify
from .. import _axes, _output
from .._limits import check_noise, check_positive
from .._memories import absolute, are_random, check_seed_used, described
from .._models import check_alone
from .._settings import bare, chosen
from .._sweeping import PICTURE, Work, check_axes, check_where, noise_key, outcomes, swept
from . import _networks
from ._points import ACTIVATIONS, REFERENCE, VALUES

_SAVES = 100
#: Other words for axes.
_ALIASES = {"P": "memories", "N": "neurons"}
_ALIASES |= {"cue": "init.weights[0]", "input": "current.weights[0]"}
#: Axes of which points are made, one after the other.
_WHOLE = ("memories", "neurons", "pattern_seed")
_WORDS = {"learning": _networks.LEARNING, "activation": tuple(ACTIVATIONS)}
_MADE = (*_WHOLE, *_WORDS, "correlation", "q", "active")
#: Options of sweeps over --axis alone, and those of diagrams alone.
OWN = ("patterns", "memories", "transpose", "image_shape", "grey", "active", "learning", "noise")
OWN += ("init", "current", "stimulus", "horizon", "model", "classes")
_OF_DIAGRAMS = {name: "an --axis has its COUNT" for name in ("points", "simulate")}


def check(asked: Any) -> None:
    """ValueError for options that mean nothing to a sweep over axes."""
    check_axes(asked, _OF_DIAGRAMS)
    check_alone(asked, _networks.OF_THE_MODEL)
    for name in VALUES:
        value = getattr(asked, name)
        if value is not None and (len(value) != 1 or not math.isfinite(value[0])):
            raise ValueError(f"`{name}` is one number with --axis; --axis {name} sweeps it.")
    check_run(asked, [name for name, *_ in asked.axis])
    check_where(asked)


def check_run(asked: Any, axes: Any = ()) -> None:
    """ValueError for numbers that no run can have, and for a seed of nothing; `axes`: those of a
    sweep."""
    check_noise(asked.noise)
    check_positive("horizon", asked.horizon)
    if not 0 < asked.q < 1:
        raise ValueError(f"`q` must lie between 0 and 1, got {asked.q:g}.")
    drawn = asked.patterns == "sparse" or are_random(asked.patterns)
    check_seed_used(asked.seed, bool(asked.noise) or drawn or "noise" in axes)


def sweep(asked: Any) -> int:
    """The whole command."""
    check(asked)
    return swept(asked, lambda: _work(asked))


def _work(asked: Any) -> Work:
    grid = grid_of(asked)
    task, key = task_of(asked, grid), noise_key(asked, grid)
    which = () if isinstance(task, hx.Recipe) else (described(task.network.patterns),)
    output = _output.Output.of(asked, *which, **absolute(asked, _networks.is_named))
    words = (*_MADE, *_ALIASES, "seed")
    return Work(asked, task, grid, key, output, PICTURE, labelled, outcomes, words)


def grid_of(asked: Any) -> dict[str, Any]:
    """The axes that are asked for. **Raises:** ValueError naming the option."""
    grid = _axes.grid_of(asked.axis, (*_WHOLE, "seed"), _WORDS, _ALIASES)
    _axes.made_axes(grid, _MADE, asked)
    sets = asked.patterns in _networks.SETS
    if "q" in grid and not sets:
        raise ValueError("`axis`: q is of balanced and sparse memories, not of --patterns.")
    if "active" in grid and (_networks.is_named(asked.patterns) and asked.patterns != "digits"):
        raise ValueError("`axis`: active is of images and files of --patterns.")
    if "correlation" in grid and not asked.patterns.startswith("correlated:"):
        raise ValueError("`axis`: correlation is of --patterns correlated:RHO.")
    return grid


def task_of(asked: Any, grid: dict[str, Any]) -> Any:
    """The point, or a recipe if some axes are of what it is made of."""
    if not any(name in _MADE for name in grid):
        return point(asked, tuple(grid))
    inputs = tuple(name for name in grid if ".weights" in name)
    return hx.Recipe(Retrieval(bare(asked, axis=()), inputs))


class Retrieval(eqx.Module):
    """Makes the point of a rate memory, with some of its options changed."""

    asked: Any
    inputs: tuple[str, ...]

    def __call__(
        self,
        memories: int | None = None,
        neurons: int | None = None,
        pattern_seed: int | None = None,
        correlation: float | None = None,
        q: float | None = None,
        active: float | None = None,
        learning: str | None = None,
        activation: str | None = None,
    ) -> hx.Point:
        """The point. `correlation` makes memories anew."""
        asked = chosen(
            self.asked,
            correlation,
            memories=memories,
            neurons=neurons,
            seed=pattern_seed,
            q=q,
            active=active,
            learning=learning,
            activation=activation,
        )
        return point(asked, self.inputs)


def values_of(asked: Any) -> dict[str, float]:
    """Gain, threshold and currents, where each is one number."""
    given = {name: getattr(asked, name) for name in VALUES}
    return {k: REFERENCE[k] if v is None else float(np.ravel(v)[0]) for k, v in given.items()}


def point(asked: Any, axes: tuple[str, ...]) -> hx.Point:
    """The point that the options describe."""
    found = None if asked.model is not None else _networks.memories(asked)[0]
    network: Any = _networks.network(asked, found, values_of(asked))
    return hx.Point(
        network,
        _networks.start(asked, network),
        np.linspace(0.0, asked.horizon, _SAVES + 1),
        observe=retrieval,
        per_tau=network.slow_constant() is not None,
        noise=asked.noise or None,
        **_networks.inputs(asked, network, axes),
    )


def retrieval(run: Any) -> dict[str, Any]:
    """What became of memory 0, and of the others."""
    last = run.overlaps[-1]
    others = jnp.abs(last[1:]).max(initial=0.0)
    return {"regime": classify(run), "cued_overlap": last[0], "other_overlap": others}


def labelled(dataset: Any) -> Any:
    """The dataset with what its reader needs to know."""
    dataset["cued_overlap"].attrs["long_name"] = "overlap with memory 0 at the end"
    dataset["other_overlap"].attrs["long_name"] = "greatest overlap with another memory at the end"
    return dataset
