"""Points of sweeps that other processes import, too."""

import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import zoo

import hopfax as hx

GRID = {"x": np.linspace(0.0, 3.0, 24), "y": np.linspace(1.0, 2.0, 16)}  # 384 points
OPTIONS = dict(tile=8, chunk=64, progress=False)
BLOCKS = 6


def wave(x, y):
    """Cheap to compile; scalars, a vector, whole numbers and booleans; fails for x = 1 exactly."""
    value = jnp.sin(x * y)
    return {
        "value": value,
        "powers": value ** jnp.arange(3.0),
        "sign": jnp.sign(value).astype(jnp.int8),
        "large": value > 0.5,
        "status": jnp.where(x == GRID["x"][8], 3, 0),
    }


def draw(scale, key):
    """A normal number, to be told by its key."""
    return scale * jr.normal(key)


def network_point(**options):
    """A cycle of three memories, integrated event by event."""
    network, _ = zoo.cycle(bias=0.02)
    return hx.Point(network, dict(saliency=[4.0, 0.0, 0.0]), np.linspace(0.0, 80.0, 5), **options)


NETWORK_GRID = {"kappa": np.linspace(2.0, 7.0, 20), "init.saliency[0]": np.linspace(1.5, 5.0, 16)}
NETWORK_OPTIONS = dict(tile=16, progress=False)  # 320 points, 20 tiles


def use_double():
    """What tests/conftest.py does, for a process of one's own."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def dies_once(block, flag):
    """From now on, the first process that is about to store a block kills itself.

    `flag`: a file that it makes before, so that no other process does the same.
    """
    from hopfax._sweep import _store

    write = _store.Store.write

    def dying(self, manifest, k, outputs, record):
        if k == block:
            try:
                Path(flag).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        write(self, manifest, k, outputs, record)

    _store.Store.write = dying


def files_of(store):
    """Every file of a store that holds data or says what they are, with its content."""
    kept = [f for f in Path(store).rglob("*") if f.is_file() and "lock" not in f.name]
    kept = [f for f in kept if f.parent.name != "done" and f.name != "inputs.npz"]
    return {str(f.relative_to(store)): f.read_bytes() for f in kept}
