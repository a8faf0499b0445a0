"""What `hopfax sweep --network dense --axis` computes: runs of a network, over any axes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from .. import _axes, _output
from .._memories import absolute, described
from .._models import check_alone
from .._settings import bare, chosen
from .._sweeping import PICTURE, Work, check_axes, check_where, outcomes, swept
from . import _networks

#: Other words for axes.
_ALIASES = {"P": "memories", "N": "neurons", "m0": "start"}
#: Axes of which networks are made, one after the other.
_WHOLE = ("memories", "neurons", "pattern_seed", "order")
_WORDS = {"interaction": _networks.NAMES[:-1], "update": _networks.UPDATES}
_WORDS |= {"transition": _networks.TRANSITIONS, "learning": _networks.LEARNING}
_MADE = (*_WHOLE, *_WORDS, "correlation")
_SEEN = 4096  # memories whose overlaps are kept over time
_INSIDE = ("start", "memory", "temperature", "rate", "beta", "seed")
#: Options of sweeps over --axis alone.
OWN = ("patterns", "memories", "neurons", "transpose", "image_shape", "threshold", "temperature")
OWN += ("update", "transition", "learning", "start", "memory", "model", "classes")
#: Options of diagrams alone, and what there is in their place.
_OF_DIAGRAMS = {
    name: "with --axis there is an axis of its own"
    for name in ("orders", "load", "m0", "points", "paths", "scrambles", "simulate")
}
_OF_DIAGRAMS["orders"] = "with --axis there is --interaction power:4, or --axis order"
_OF_DIAGRAMS["m0"] = "with --axis there is --start"


def check(asked: Any) -> None:
    """ValueError for options that mean nothing to a sweep over axes."""
    check_axes(asked, _OF_DIAGRAMS)
    check_alone(asked, (*_networks.OF_THE_MODEL, "update", "transition", "learning"))
    _networks.check_run(asked)
    check_where(asked)


def sweep(asked: Any) -> int:
    """The whole command."""
    check(asked)
    return swept(asked, lambda: _work(asked))


def _work(asked: Any) -> Work:
    grid = grid_of(asked)
    task, which = task_of(asked, grid)
    output = _output.Output.of(asked, *which, **absolute(asked))
    key = jax.random.key(asked.seed)
    return Work(asked, task, grid, key, output, PICTURE, labelled, outcomes)


def grid_of(asked: Any) -> dict[str, Any]:
    """The axes that are asked for. **Raises:** ValueError naming the option."""
    grid = _axes.grid_of(asked.axis, (*_WHOLE, "seed", "memory"), _WORDS, _ALIASES)
    for name in grid:
        if name not in (*_MADE, *_INSIDE):
            known = ", ".join((*_INSIDE, *_MADE))
            raise ValueError(f"`axis`: there is no {name!r} of dense memories, but {known}.")
    _axes.made_axes(grid, _MADE, asked)
    if "correlation" in grid and not asked.patterns.startswith("correlated:"):
        raise ValueError("`axis`: correlation is of --patterns correlated:RHO.")
    names = grid.get("interaction", [_networks.name_of(asked.interaction)])
    if asked.model is None:
        _check_own(grid, names)
    for name, low, high in (("start", -1.0, 1.0), ("temperature", 0.0, np.inf)):
        if name in grid and not all((grid[name] >= low) & (grid[name] <= high)):
            raise ValueError(f"`axis`: {name} must lie from {low:g} to {high:g}.")
    if "start" in grid and asked.start != type(asked).start:
        raise ValueError("`start` is swept by --axis start; leave out one of them.")
    return grid


def _check_own(grid: dict[str, Any], names: Any) -> None:
    """ValueError for an axis of an interaction that has no such number."""
    of = {"order": ("power", "rectified_power", "many_body")}
    of |= {"rate": ("exponential",), "beta": ("softmax",)}
    for axis, having in of.items():
        if axis in grid and (lacking := [name for name in names if name not in having]):
            raise ValueError(f"`axis`: {axis} is of {', '.join(having)}, not of {lacking[0]}.")


def task_of(asked: Any, grid: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """What is computed at every point, or a recipe; and the lines about it in the settings."""
    zero = "temperature" in grid and bool((grid["temperature"] == 0).any())
    if any(name in _MADE for name in grid):
        return hx.Recipe(Made(bare(asked, axis=()), zero)), ()
    recall = _recall(asked, zero)
    patterns, most = recall.network.patterns, int(np.max(grid.get("memory", 0)))
    if most >= patterns.P or np.min(grid.get("memory", 0)) < 0:
        raise ValueError(f"`axis`: memory goes from 0 to {patterns.P - 1}, got {most}.")
    if recall.network.beta is None and "temperature" in grid and not recall.network.signs:
        raise ValueError("`axis`: temperature is of signs; graded neurons have none.")
    if not hasattr(patterns, "xi"):
        return recall, ()
    return recall, (described(patterns),)


def _recall(asked: Any, zero: bool) -> "Recall":
    network, _ = _networks.memory_of(asked)
    _networks.check_start(asked.start, asked.memory, network.patterns.P)
    return Recall(network, asked.start, asked.memory, asked.steps, zero)


class Made(eqx.Module):
    """Makes a dense memory, with some of its options changed."""

    asked: Any
    zero: bool

    def __call__(
        self,
        memories: int | None = None,
        neurons: int | None = None,
        pattern_seed: int | None = None,
        correlation: float | None = None,
        interaction: str | None = None,
        order: int | None = None,
        update: str | None = None,
        transition: str | None = None,
        learning: str | None = None,
    ) -> "Recall":
        """What runs it. `correlation` makes memories anew; `interaction` keeps no number."""
        name = interaction or self.asked.interaction
        asked = chosen(
            self.asked,
            correlation,
            memories=memories,
            neurons=neurons,
            seed=pattern_seed,
            interaction=name if order is None else f"{_networks.name_of(name)}:{order}",
            update=update,
            transition=transition,
            learning=learning,
        )
        return _recall(asked, self.zero)


class Recall(eqx.Module):
    """A run from a memory some of whose signs are changed; a function that `hopfax.sweep` takes.

    `zero`: whether a temperature may be 0, which is then computed beside.
    """

    network: Any
    start: float
    memory: int
    steps: int = eqx.field(static=True)
    zero: bool = eqx.field(static=True)

    def __call__(
        self,
        start: Any = None,
        memory: Any = None,
        temperature: Any = None,
        rate: Any = None,
        beta: Any = None,
        *,
        key: jax.Array,
    ) -> dict[str, Any]:
        """The overlaps at the end with the memory that is due, that of the start or where it leads,
        and with any other one, how many neurons moved in the last step, and the status."""
        where = (start, memory, temperature, rate, beta)
        return self.read(self._outputs, *where, key=key)

    def read(
        self,
        reader: Any,
        start: Any,
        memory: Any,
        temperature: Any,
        rate: Any,
        beta: Any,
        *,
        key: jax.Array,
    ) -> dict[str, Any]:
        """What `reader(network, spins, memory, key)` returns, and whether the memory is there."""
        memory = jnp.asarray(self.memory if memory is None else memory)
        cue, noise = jr.split(key)
        network = _with_number(self.network, rate, beta)
        patterns = network.patterns
        target = patterns.pattern(memory)
        share = (1 - (self.start if start is None else start)) / 2
        rank = jr.permutation(cue, patterns.N)
        flips = jnp.round(share * patterns.N).astype(rank.dtype)
        spins = jnp.where(rank < flips, -target, target)
        if temperature is None:
            found = reader(network, spins, memory, noise)
        else:
            warm = jnp.where(temperature > 0, temperature, 1.0).astype(spins.dtype)
            found = reader(_at(network, 1 / warm), spins, memory, noise)
            if self.zero:
                cold = reader(_at(network, None), spins, memory, noise)
                found = jax.tree.map(lambda a, b: jnp.where(temperature > 0, a, b), found, cold)
        inside = (memory >= 0) & (memory < patterns.P)
        return found | {"status": jnp.where(inside, found["status"], 4)}

    def over_time(self, network: Any, spins: Any, memory: Any, key: jax.Array) -> dict[str, Any]:
        """The overlaps with all memories (of very many, with the first ones) at every step."""
        del memory
        state, key_of = network.init(spins), key if network.random else None
        track = list(range(min(network.patterns.P, _SEEN)))
        run = hx.iterate(network, state, self.steps, key=key_of, track=track, throw=False)
        return {"ts": run.ts, "overlaps": run.overlaps, "status": run.status}

    def _outputs(self, network: Any, spins: Any, memory: Any, key: jax.Array) -> dict[str, Any]:
        key_of = key if network.random else None
        state = network.init(spins)
        run = hx.iterate(network, state, self.steps, key=key_of, track=[0], throw=False)
        overlaps = network.overlaps(run.final)
        due = _networks.due(network, memory, self.steps)
        same = jnp.arange(overlaps.size, dtype=due.dtype) == due
        others = jnp.where(same, 0.0, jnp.abs(overlaps))
        found = {"cued_overlap": overlaps[due], "other_overlap": others.max()}
        return found | {"moved": run.counters["moved"], "status": run.status}


class Watched(eqx.Module):
    """The runs of `Recall`, as overlaps over the steps."""

    of: Recall

    def __call__(
        self,
        start: Any = None,
        memory: Any = None,
        temperature: Any = None,
        rate: Any = None,
        beta: Any = None,
        *,
        key: jax.Array,
    ) -> dict[str, Any]:
        """The run at one point."""
        return self.of.read(self.of.over_time, start, memory, temperature, rate, beta, key=key)


class MadeWatched(eqx.Module):
    """Makes `Watched`, as `Made` makes `Recall`."""

    of: Made

    def __call__(
        self,
        memories: int | None = None,
        neurons: int | None = None,
        pattern_seed: int | None = None,
        correlation: float | None = None,
        interaction: str | None = None,
        order: int | None = None,
        update: str | None = None,
        transition: str | None = None,
        learning: str | None = None,
    ) -> Watched:
        """What runs it."""
        sizes = (memories, neurons, pattern_seed, correlation)
        return Watched(self.of(*sizes, interaction, order, update, transition, learning))


def watched(task: Any) -> Any:
    """What `task_of` returns, whose runs are kept over time."""
    if not isinstance(task, hx.Recipe):
        return Watched(task)
    made: Any = task.make
    return hx.Recipe(MadeWatched(made))


def _at(network: Any, beta: Any) -> Any:
    """The network at another temperature."""
    return eqx.tree_at(lambda n: n.beta, network, beta, is_leaf=lambda leaf: leaf is None)


def _with_number(network: Any, rate: Any, beta: Any) -> Any:
    """The network with another rate, or inverse temperature, of its interaction."""
    if rate is None and beta is None:
        return network
    name, value = ("rate", rate) if beta is None else ("beta", beta)
    return eqx.tree_at(lambda n: getattr(n.interaction, name), network, value)


def labelled(dataset: Any) -> Any:
    """The dataset with what its reader needs to know."""
    names = {
        "cued_overlap": "overlap with the memory of the start, or where it leads, at the end",
        "other_overlap": "greatest overlap with another memory, at the end",
        "moved": "neurons that the last step changed",
    }
    for name, text in names.items():
        dataset[name].attrs["long_name"] = text
    return dataset
