"""Many runs side by side: lanes in tiles of fixed width, each tile one compiled program.

The tile boundaries depend on nothing but the global index of a lane, so its bits do not depend on
how many others run, in which order, or where.
"""

import concurrent.futures
import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

_TAG = 0x686F70  # folded into every sweep's key, so that a user's own use of it stays independent
_WIDTH = {"cpu": 256}
_WIDE = 65536


def tile_width() -> int:
    """Lanes computed together, by kind of device: 256 on a CPU, 65536 on anything else."""
    return _WIDTH.get(jax.default_backend(), _WIDE)


@eqx.filter_jit
def _run_tile(function: Callable, values: dict[str, jax.Array], lanes: jax.Array, key: Any) -> Any:
    def one(value, lane):
        lane_key = None if key is None else jr.fold_in(jr.fold_in(key, _TAG), lane)
        return function(value, lane_key)

    return jax.vmap(one)(values, lanes)


def output_shapes(function: Callable, values: dict[str, np.ndarray], key: Any) -> Any:
    """Shape and dtype of every output of one lane, without running it."""
    structs = {
        name: jax.ShapeDtypeStruct(value.shape[1:], jnp.asarray(value[:0]).dtype)
        for name, value in values.items()
    }
    return eqx.filter_eval_shape(function, structs, key)


def run_lanes(
    function: Callable,
    values: dict[str, np.ndarray],
    *,
    key: Any,
    tile: int,
    done: Callable[[Any], None],
) -> Any:
    """`function(value, key)` for every lane of `values` (leading axis), as NumPy arrays.

    `done` is told every finished tile's output. On a CPU as many tiles run at a time as there are
    cores.
    """
    n = len(next(iter(values.values())))

    def run(start: int) -> Any:
        # The last tile is padded by repeating its last lane, so that all have one shape.
        lanes = np.minimum(np.arange(start, start + tile), n - 1)
        inputs = {name: jnp.asarray(value[lanes]) for name, value in values.items()}
        out = _run_tile(function, inputs, jnp.asarray(lanes, jnp.uint32), key)
        out = jax.tree.map(lambda leaf: np.asarray(leaf)[: n - start], out)
        done(out)
        return out

    starts = range(0, n, tile)
    workers = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    if workers == 1 or len(starts) < 3:
        tiles = [run(start) for start in starts]
    else:
        tiles = [run(starts[0])]  # compiles
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            tiles += list(pool.map(run, starts[1:]))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *tiles)
