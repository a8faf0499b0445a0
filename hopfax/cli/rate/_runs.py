"""What `hopfax sweep --network rate --axis` computes: runs of a network, over any axes."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ...observables import classify
from .. import _axes, _output
from .._machine import precision
from .._memories import digest, path_of
from .._models import check_alone
from .._picture import require
from .._sweeping import Work, outcomes, swept
from . import _networks
from ._points import ACTIVATIONS, REFERENCE, VALUES

PICTURE = "sweep.png"
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
_OF_DIAGRAMS = ("points", "simulate")


def check(asked: Any) -> None:
    """ValueError for options that mean nothing to a sweep over axes."""
    for name in _OF_DIAGRAMS:
        if getattr(asked, name) != getattr(type(asked), name):
            raise ValueError(f"`{name}` is for diagrams of the theory; an --axis has its COUNT.")
    check_alone(asked, _networks.OF_THE_MODEL)
    for name in VALUES:
        value = getattr(asked, name)
        if value is not None and (len(value) != 1 or not math.isfinite(value[0])):
            raise ValueError(f"`{name}` is one number with --axis; --axis {name} sweeps it.")
    check_run(asked)
    _output.check(asked)


def check_run(asked: Any) -> None:
    """ValueError for numbers that no run can have."""
    if not 0 <= asked.noise < math.inf:
        raise ValueError(f"`noise` must be finite and >= 0, got {asked.noise:g}.")
    if not 0 < asked.horizon < math.inf:
        raise ValueError(f"`horizon` must be finite and > 0, got {asked.horizon:g}.")
    if not 0 < asked.q < 1:
        raise ValueError(f"`q` must lie between 0 and 1, got {asked.q:g}.")


def check_diagram(asked: Any) -> None:
    """ValueError for an option that means nothing without --axis."""
    for name in OWN:
        if getattr(asked, name) != getattr(type(asked), name):
            raise ValueError(
                f"`{name}` is of runs, which --axis sweeps; diagrams are of balanced memories."
            )


def sweep(asked: Any) -> int:
    """The whole command."""
    check(asked)
    require()  # rather now than after the computation
    with precision(asked.precision):
        return _swept(asked)


def _swept(asked: Any) -> int:
    grid = grid_of(asked)
    task = task_of(asked, grid)
    noisy = bool(asked.noise) or "noise" in grid
    if asked.seed and not noisy and asked.patterns not in ("random", "sparse"):
        if not asked.patterns.startswith("correlated:") and "correlation" not in grid:
            raise ValueError("`seed` is of noise and of random memories, of which there are none.")
    key = jax.random.key(asked.seed) if noisy else None
    how = {name: getattr(asked, name) for name in ("chunk", "overwrite", "resume")}
    return swept(
        asked, Work(task, grid, key, **how), _place(asked, task), PICTURE, labelled, outcomes
    )


def _place(asked: Any, task: Any) -> _output.Output:
    """The output folder; its settings say also which memories they meant."""
    other = {}
    if not _networks.is_named(asked.patterns):
        other["patterns"] = str(path_of(asked.patterns).resolve())
    for name in ("model", "classes"):
        if (file := getattr(asked, name)) is not None:
            other[name] = str(file.resolve())
    if isinstance(task, hx.Recipe):
        return _output.Output.of(asked, **other)
    found = task.network.patterns
    which = f"memories: {found.P} of {found.N} neurons, sha256 {digest(found.xi)[:16]}"
    return _output.Output.of(asked, which, **other)


def grid_of(asked: Any) -> dict[str, Any]:
    """The axes that are asked for. **Raises:** ValueError naming the option."""
    grid = _axes.grid_of(asked.axis, (*_WHOLE, "seed"), _WORDS, _ALIASES)
    made = [name for name in grid if name in _MADE]
    if made and asked.model is not None:
        raise ValueError(f"`axis`: {made[0]} says how a network is made; that of --model is made.")
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
    plain = dict(out=None, config=None, axis=())
    return hx.Recipe(Retrieval(dataclasses.replace(asked, **plain), inputs))


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
        chosen = {
            "memories": memories,
            "neurons": neurons,
            "seed": pattern_seed,
            "patterns": None if correlation is None else f"correlated:{correlation}",
            "q": q,
            "active": active,
            "learning": learning,
            "activation": activation,
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        return point(dataclasses.replace(self.asked, **given), self.inputs)


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
