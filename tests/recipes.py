"""Recipes of sweeps that other processes import, too."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx


def cycle(P, N=16, correlation=0.0, learning="hebbian"):
    """A cycle of memories, each size of which is a program of its own."""
    patterns = hx.patterns.correlated(jax.random.key(0), P, N, correlation)
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(P), kappa=5.0, tau=20.0, bias=0.05, readout="abs", learning=learning
    )
    start = dict(saliency=4.0 * np.eye(P)[0])
    return hx.Point(network, start, np.linspace(0.0, 80.0, 5), observe=last)


def last(run):
    """The saliencies at the end, one a memory, and the number of switches."""
    return {"z": run.final.saliency, "switches": run.switches.count}


class Dice(eqx.Module):
    """The faces of a die, whose number is a shape."""

    sides: int = eqx.field(static=True)
    first: int = 0
    dtype: type = eqx.field(static=True, default=int)

    def __call__(self, shift=0):
        return {"faces": (jnp.arange(self.sides) + self.first + shift).astype(self.dtype)}


def dice(sides, kind="fair", seed=0):
    """A recipe of a function that may have no axes of its own."""
    return {"fair": Dice(sides, seed), "loaded": Dice(1, seed)}[kind]


def even(sides):
    """A recipe that refuses some values."""
    if sides % 2:
        raise ValueError(f"sides must be even, got {sides}.")
    return Dice(sides)


def usual(sides=2):
    """A recipe that needs to be told nothing."""
    return Dice(sides)


def nothing(sides):
    """A recipe that makes no point."""
    return sides


def mixed(sides):
    """A recipe of points that differ in more than shapes."""
    return Dice(sides, 0, int if sides == 2 else float)


def walk(scale, key):
    """A step to either side, which sometimes fails."""
    x = scale * jax.random.normal(key)
    failed = jnp.where(jnp.abs(x) > 1.8 * scale, 3, 0)
    return {"x": x, "up": x > 0, "above": jnp.where(x > 0, x, jnp.nan), "status": failed}


class Luck(eqx.Module):
    """A number that is drawn, of whatever is made."""

    def __call__(self, shift, key):
        return {"drawn": jax.random.uniform(key) + shift}


def luck(draw):
    """A recipe whose points are all the same."""
    del draw
    return Luck()
