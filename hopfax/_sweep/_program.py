"""Many runs side by side: lanes in tiles of fixed width, tiles in one compiled program.

    lanes      0 1 2 3 | 4 5 6 7 | 8 9 10 11 | ...     tile k holds lanes k*width to (k+1)*width - 1
    one call   device 0: tiles 0, 2, 4, ...            a loop over up to `strip` tiles each,
               device 1: tiles 1, 3, 5, ...            every tile one `vmap` over its lanes

How many lanes are computed together decides how the compiler vectorises them, and with it the last
bits of the results. So a lane is always computed with the same neighbours: a tile has a fixed
width, its boundaries depend only on the numbers of its lanes, and a call repeats the same program
for one tile after the other. The bits of a lane therefore do not depend on how many others run, in
which order, on how many devices, or in which process.

The loop over tiles is part of the program because a call costs about as much as a tenth of a tile.
Its number of turns is an argument, so that the last call of a run does not compute tiles twice.
"""

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec

from .._programs import IN_TURN, kept_in, tidy
from .._traced import kept_traced

if TYPE_CHECKING:
    Device: TypeAlias = Any  # its package has no types
else:
    Device = jax.Device

#: Folded into the key of every sweep: a user who also folds numbers into the same key gets other,
#: independent random numbers. (The letters "hop" in ASCII.)
_TAG = 0x686F70
_WIDTH = {"cpu": 256}
_WIDE = 65536
_STRIP = {"cpu": 8}  # tiles of one call and device; 1 where a tile is wide
_KEPT = 16  # compiled programs that a process remembers


def tile_width() -> int:
    """How many lanes are computed together: 256 on a CPU, 65536 on any other device."""
    return _WIDTH.get(jax.default_backend(), _WIDE)


class Program:
    """A function of one lane, compiled for tiles of lanes.

    **Arguments:**

    - `function`: a pure function `function(values, key) -> outputs` of one lane that is a pytree:
      its arrays are arguments of the compiled program, so that other values compile nothing anew.
    - `values`: shape and dtype of every value of a lane.
    - `key`: one PRNG key for all lanes, or None; a lane draws from
      `fold_in(fold_in(key, tag), number)`.
    - `tile`: how many lanes a tile has.
    - `devices`: where to compute; each device has a share of the tiles and its own loop over them.
    """

    def __init__(
        self,
        function: Callable,
        values: Mapping[str, jax.ShapeDtypeStruct],
        key: jax.Array | None,
        tile: int,
        devices: Sequence[Device],
    ):
        begin = time.perf_counter()
        tidy()
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
        """The shape and dtype of every output of one lane, in the tree that `function` returns."""
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), self._compiled.out_info
        )

    @property
    def memory(self) -> int:
        """Bytes that one call needs, as the compiler reports them; 0 if it reports none."""
        found = self._compiled.memory_analysis()
        names = ("temp_size_in_bytes", "output_size_in_bytes", "argument_size_in_bytes")
        return sum(int(getattr(found, name, 0)) for name in names)

    def run(
        self,
        values: Mapping[str, np.ndarray],
        numbers: np.ndarray,
        stop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Compute whole tiles of lanes.

        **Arguments:** `values`: of every lane, the lanes along the first axis. `numbers`: what is
        folded into the key of each lane; as many as fill whole tiles. `stop`: is asked before every
        call, so that a run ends soon after Ctrl-C.

        **Returns:** the outputs as NumPy arrays, with the lanes along the first axis.

        **Raises:** Stopped, once `stop` returns True.
        """
        tiles = len(numbers) // self.tile
        places = len(self.devices) * self.strip
        parts = []
        for first in range(0, tiles, places):
            if stop():
                raise Stopped
            count = min(places, tiles - first)
            # Tile `first + k` goes to device `k mod devices`: all have about as many tiles, and
            # each has a part of a region of the grid that is expensive.
            # A call that is not full repeats its last tile in the places that no loop reaches.
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
    """Raised between two calls of a program that was told to stop."""


def _lanes_of(out: Any, tiles: np.ndarray) -> Any:
    """The outputs of a call for some of its tiles, all lanes along one axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[tiles].reshape(-1, *leaf.shape[2:]), out)


class _Hashed:
    """A tree of hashable leaves as the key of a cache, compared by its structure and leaves."""

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, structure = jax.tree.flatten(tree)
        self._key = (tuple(leaves), structure)
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Hashed) and self._key == other._key


def signature(tree: Any) -> tuple[_Hashed, _Hashed]:
    """What decides which program a function is compiled to: all but the values of its arrays."""
    arrays, static = eqx.partition(tree, eqx.is_array)
    structs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arrays)
    return _Hashed(static), _Hashed(structs)


def strip_of(static: _Hashed) -> Callable:
    """The program of one device, by the static parts of the function: the first `counts` tiles, one
    after the other; zeros for the others."""

    def tile(fixed, values, numbers):
        arrays, key = fixed
        function = eqx.combine(arrays, static.tree)

        def lane(value, number):
            own = None if key is None else jr.fold_in(jr.fold_in(key, _TAG), number)
            return function(value, own)

        return jax.vmap(lane)(values, numbers)

    tile = jax.jit(tile)  # or it would be traced twice: for its shapes and in the loop

    def strip(fixed, values, numbers, counts):
        first = jax.tree.map(lambda leaf: leaf[0], (values, numbers))
        shapes = jax.eval_shape(tile, fixed, *first)
        out = jax.tree.map(lambda s: jnp.zeros((numbers.shape[0], *s.shape), s.dtype), shapes)

        def step(k, out):
            here = jax.tree.map(lambda leaf: leaf[k], (values, numbers))
            new = tile(fixed, *here)
            return jax.tree.map(lambda all, one: all.at[k].set(one), out, new)

        return lax.fori_loop(0, counts[0], step, out)

    return strip


@functools.lru_cache(maxsize=_KEPT)
def _compiled(
    static: _Hashed, structs: _Hashed, devices: tuple[Device, ...], x64: bool
) -> jax.stages.Compiled:
    """The compiled program for a function's static parts and the shapes of its arguments.

    Kept here, since `jax.jit` would trace a new closure anew at every sweep.
    """
    del x64  # only part of the cache's key: the same shapes give another program
    home, strip = jax.default_device(devices[0]), strip_of(static)
    if len(devices) == 1:
        program = strip
        if devices[0].platform == jax.default_backend():  # which programs are kept for
            with home:
                program = kept_traced("sweep", strip, static.tree, structs.tree)
    else:
        mesh = Mesh(np.array(devices), ("device",), axis_types=(AxisType.Auto,))
        split = PartitionSpec("device")
        program = jax.shard_map(
            strip,
            mesh=mesh,
            in_specs=(PartitionSpec(), split, split, split),
            out_specs=split,
            check_vma=False,
        )
    options = IN_TURN if devices[0].platform == "cpu" else None
    with home:
        return jax.jit(program).lower(*structs.tree).compile(options)


kept_in(_compiled.cache_clear)


def workers_of(devices: Sequence[Device]) -> int:
    """How many threads keep `devices` busy.

    One for each core that this process may use where they are one CPU. Otherwise two, one of which
    can write a block while the other computes.
    """
    if devices[0].platform != "cpu" or len(devices) > 1:
        return 2
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
