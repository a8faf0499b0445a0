"""The theory of a dense memory at one point, and simulations of it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ... import _status
from ..._errors import check_memory
from ..._programs import jitted
from ...theory import dense

Interaction: TypeAlias = Literal["power", "many_body"]
#: The interactions by their names on the command line.
INTERACTIONS: dict[Interaction, Callable[[int], hx.AbstractInteraction]] = {
    "power": hx.Power,
    "many_body": hx.ManyBody,
}
#: Points computed together: wider tiles leave the caches of a CPU.
TILE = 16


def scale(interaction: hx.AbstractInteraction) -> float:
    """K(1), by which the scaled load is larger than M / N^(n-1)."""
    with jax.ensure_compile_time_eval():  # also where it is called under a trace
        return float(dense.kernel(interaction)(jnp.ones(())))


def check_order(order: int, interaction: Interaction, precision: str = "float64") -> None:
    """ValueError for an order whose K(1) (see `kernel`) is too large for this precision."""
    size = math.lgamma(order)  # the logarithm of (n - 1)!
    if interaction == "power":  # or of (2n - 3)!!
        size = math.lgamma(2 * order - 1) - (order - 1) * math.log(2) - math.lgamma(order)
    try:
        with jax.enable_x64(precision == "float64"):
            dense.kernel(INTERACTIONS[interaction](order))(jnp.ones(()))
    except ValueError as error:
        raise ValueError(
            f"`orders`: K(1) of order {order} is about 10^{size / math.log(10):.3g}, too large for "
            f"{precision}."
        ) from error


def check_simulation(order: int, interaction: Interaction, load: float, N: int) -> None:
    """ValueError for more memories at a scaled load than fit into memory, a bit a neuron."""
    number = math.log(load / scale(INTERACTIONS[interaction](order))) + (order - 1) * math.log(N)
    size = math.exp(min(number + math.log(N / 8), 700.0))
    what = f"10^{number / math.log(10):.3g} memories of {N} neurons at order {order}"
    check_memory("simulate", int(size), what)


class Effective(eqx.Module):
    r"""The overlap after `steps` steps of the effective neuron, over scaled load and start.

    A function that `hopfax.sweep` takes; `error` is the standard error over the scrambles.
    """

    interaction: Interaction
    order: int
    steps: int
    paths: int
    scrambles: int
    seed: int

    def run(self, load: Any, m0: Any) -> Any:
        """The overlaps of all steps at one point."""
        model = INTERACTIONS[self.interaction](self.order)
        numbers: Any = dict(paths=self.paths, scrambles=self.scrambles, seed=self.seed)
        return dense.solve_gfa(model, load / scale(model), m0, self.steps, **numbers)

    def __call__(self, load: Any, m0: Any) -> dict[str, Any]:
        """The outputs at one point."""
        found = self.run(load, m0)
        overlap, error = found.overlap[-1], found.error[-1]
        good = jnp.isfinite(overlap) & jnp.isfinite(error)
        status = jnp.where(good, _status.OK, _status.NONFINITE)
        return {"overlap": overlap, "error": error, "status": status}


def memories(key: jax.Array, interaction: Any, load: float, N: int) -> Any:
    """Random memories at a scaled load, in bits."""
    M = max(round(load / scale(interaction) * N ** (interaction.order - 1)), 1)
    return hx.patterns.pack(hx.GeneratedPatterns(key, M, N))


def starts(key: jax.Array, patterns: Any, m0: Any) -> tuple[Any, np.ndarray]:
    """States as close as can be to overlaps `m0` (runs,), run i with memory i (modulo their
    number), and their true overlaps."""
    flips = np.rint((1 - np.asarray(m0)) / 2 * patterns.N).astype(int)
    keys = jr.split(key, len(flips))
    states = [
        patterns.corrupt(k, i % patterns.P, int(f))
        for i, (k, f) in enumerate(zip(keys, flips, strict=True))
    ]
    return jnp.stack(states), 1 - 2 * flips / patterns.N


def recall(network: Any, states: Any, steps: int) -> np.ndarray:
    """Overlaps (runs, steps + 1) of runs from `starts`, each with its own memory."""
    return np.asarray(_recall(network, states, steps))


@jitted
def _recall(network, states, steps):
    runs = states.shape[0]
    own = jnp.arange(runs) % network.patterns.P

    def run(spins, mu):
        target = network.patterns.pattern(mu)
        watch = _OwnOverlap(target)
        state = network.init(spins)
        return hx.iterate(network, state, steps, track=[0], observe=watch, throw=False).observed

    return jax.vmap(run)(states, own)


class _OwnOverlap(eqx.Module):
    target: Any

    def __call__(self, t, state, network):
        return jnp.dot(self.target, state.spins) / self.target.shape[0]


class Steps(eqx.Module):
    """The overlaps of `Effective` after each step."""

    of: Effective

    def __call__(self, load: Any, m0: Any) -> dict[str, Any]:
        """The run at one point."""
        found = self.of.run(load, m0).overlap
        return {"ts": jnp.arange(found.shape[0], dtype=found.dtype), "overlaps": found[:, None]}


class Orders(eqx.Module):
    """Makes `Steps` of an order."""

    of: Effective

    def __call__(self, order: int) -> Steps:
        """What is computed at this order."""
        return Steps(dataclasses.replace(self.of, order=order))


def labelled(dataset: Any, point: Effective) -> Any:
    """A sweep of `point` with what its reader needs to know."""
    asked = {"interaction": point.interaction, "steps": point.steps}
    asked |= {"paths": point.paths, "scrambles": point.scrambles, "seed": point.seed}
    dataset = dataset.assign_attrs(title="retrieval diagram of a dense memory", **asked)
    dataset["load"].attrs["long_name"] = "scaled load alpha' = alpha K(1), alpha = M / N^(n-1)"
    dataset["m0"].attrs["long_name"] = "overlap of the start"
    dataset["overlap"].attrs["long_name"] = f"overlap after {point.steps} steps"
    dataset["error"].attrs["long_name"] = "standard error of it over scrambles"
    return dataset
