"""Many runs side by side: lanes in tiles of fixed width, tiles in one compiled program.

A lane is computed with the other lanes of its tile and with nothing else, and a tile's boundaries
depend on nothing but the global index of its lanes. So the bits of a lane do not depend on how many
others run, in which order, on how many devices, or in which process.
"""

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec

_TAG = 0x686F70  # folded into every sweep's key, so that a user's own use of it stays independent
_WIDTH = {"cpu": 256}
_WIDE = 65536
_STRIP = {"cpu": 8}  # tiles of one call for each device: a call costs as much as a tenth of a tile
_KEPT = 16  # compiled programs of a process


def tile_width() -> int:
    """Lanes computed together, by kind of device: 256 on a CPU, 65536 on anything else."""
    return _WIDTH.get(jax.default_backend(), _WIDE)


class Program:
    """`function(value, key)` for tiles of lanes, compiled once.

    **Arguments:**

    - `function`: a pytree and pure function of one lane: `function(values, key) -> outputs`.
    - `values`: shape and dtype of every value of a lane.
    - `key`: one PRNG key for all lanes, or None; a lane draws from
      `fold_in(fold_in(key, tag), number)`.
    - `tile`: lanes of a tile.
    - `devices`: each runs tiles of its own, in a loop of its own.
    """

    def __init__(
        self,
        function: Callable,
        values: Mapping[str, jax.ShapeDtypeStruct],
        key: jax.Array | None,
        tile: int,
        devices: Sequence[Any],
    ):
        begin = time.perf_counter()
        arrays, static = eqx.partition(function, eqx.is_array)
        self.tile, self.devices = tile, tuple(devices)
        self.strip = _STRIP.get(self.devices[0].platform, 1)
        self._fixed = (arrays, key)
        places = len(self.devices) * self.strip
        structs = (
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self._fixed),
            {
                name: jax.ShapeDtypeStruct((places, tile, *value.shape), value.dtype)
                for name, value in values.items()
            },
            jax.ShapeDtypeStruct((places, tile), np.dtype("uint32")),
            jax.ShapeDtypeStruct((len(self.devices),), np.dtype("int32")),
        )
        self._types = {name: value.dtype for name, value in values.items()}
        wide = bool(jax.config.read("jax_enable_x64"))
        self._compiled = _compiled(_Hashed(static), _Hashed(structs), self.devices, wide)
        self.compile_seconds = time.perf_counter() - begin

    @property
    def outputs(self) -> Any:
        """Shape and dtype of every output of one lane."""
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), self._compiled.out_info
        )

    @property
    def memory(self) -> int:
        """Bytes that a call works in, as the compiler reports them (0 if it does not)."""
        found = self._compiled.memory_analysis()
        names = ("temp_size_in_bytes", "output_size_in_bytes", "argument_size_in_bytes")
        return sum(int(getattr(found, name, 0)) for name in names)

    def run(
        self,
        values: Mapping[str, np.ndarray],
        numbers: np.ndarray,
        stop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Outputs of whole tiles of lanes, as NumPy arrays with the lanes first.

        **Arguments:** `values`, `numbers`: what each lane is given, and what is folded into its
        key. `stop`: asked before every call; if it says so, `Stopped` is raised.
        """
        tiles = len(numbers) // self.tile
        places = len(self.devices) * self.strip
        parts = []
        for first in range(0, tiles, places):
            if stop():
                raise Stopped
            count = min(places, tiles - first)
            # Tile `first + k` goes to device `k mod devices`, so that all have about as many.
            order = np.arange(places).reshape(self.strip, -1).T.ravel()
            chosen = first + np.minimum(order, count - 1)
            lanes = (chosen[:, None] * self.tile + np.arange(self.tile)).ravel()
            shape = (places, self.tile)
            inputs = {
                name: value[lanes].reshape(*shape, *value.shape[1:]).astype(self._types[name])
                for name, value in values.items()
            }
            counts = (order.reshape(len(self.devices), -1) < count).sum(1).astype(np.int32)
            drawn = numbers[lanes].reshape(shape).astype(np.uint32)
            out = self._compiled(self._fixed, inputs, drawn, counts)
            parts.append(_lanes_of(out, np.argsort(order)[:count]))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


class Stopped(Exception):
    """A run was told to stop between two calls."""


def _lanes_of(out: Any, tiles: np.ndarray) -> Any:
    """The lanes of some tiles of a call's output, in one row."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[tiles].reshape(-1, *leaf.shape[2:]), out)


class _Hashed:
    """A tree of hashable leaves, hashable itself."""

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, structure = jax.tree.flatten(tree)
        self._key = (tuple(leaves), structure)
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Hashed) and self._key == other._key


@functools.lru_cache(maxsize=_KEPT)
def _compiled(static: _Hashed, structs: _Hashed, devices: tuple[Any, ...], x64: bool) -> Any:
    home = jax.default_device(devices[0])
    del x64  # the context of the trace, like everything here a part of the cache's key

    def tile(fixed, values, numbers):
        arrays, key = fixed
        function = eqx.combine(arrays, static.tree)

        def lane(value, number):
            own = None if key is None else jr.fold_in(jr.fold_in(key, _TAG), number)
            return function(value, own)

        return jax.vmap(lane)(values, numbers)

    tile = jax.jit(tile)  # traced once, for its shapes and for the loop

    def strip(fixed, values, numbers, counts):
        """The tiles of one device: the first `counts` of them."""
        first = jax.tree.map(lambda leaf: leaf[0], (values, numbers))
        shapes = jax.eval_shape(tile, fixed, *first)
        out = jax.tree.map(lambda s: jnp.zeros((numbers.shape[0], *s.shape), s.dtype), shapes)

        def step(k, out):
            here = jax.tree.map(lambda leaf: leaf[k], (values, numbers))
            new = tile(fixed, *here)
            return jax.tree.map(lambda all, one: all.at[k].set(one), out, new)

        return lax.fori_loop(0, counts[0], step, out)

    program = strip
    if len(devices) > 1:
        mesh = Mesh(np.array(devices), ("device",), axis_types=(AxisType.Auto,))
        split = PartitionSpec("device")
        program = jax.shard_map(
            strip,
            mesh=mesh,
            in_specs=(PartitionSpec(), split, split, split),
            out_specs=split,
            check_vma=False,
        )
    with home:
        return jax.jit(program).lower(*structs.tree).compile()


def workers_of(devices: Sequence[Any]) -> int:
    """Threads that keep `devices` busy: one a core for a CPU, two (one may write) elsewhere."""
    if devices[0].platform != "cpu" or len(devices) > 1:
        return 2
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
