"""Compiled programs, and how many of them a process keeps.

JAX compiles a program for every new shape of its arguments and keeps it for as long as the process
lives. On Linux a compiled program consists of several hundred memory maps, of which a process may
have `vm.max_map_count`, usually 65,530: a run of `simulate` takes about 600, so that after some
hundred shapes the compiler finds none left and ends the process by a segmentation fault.

So the programs are let go of in time:

    compiled       a listener counts whatever this process compiles, by hopfax or not
    `tidy`         is called wherever hopfax is about to run a program; it returns at once unless
                   something has been compiled since it last looked, and then counts the maps
    beyond a share of the limit, all compiled programs are released, and the user is told once

They take memory, too, 40 to 60 MB a run of `simulate`: they are also released where there are many
of them and the process has grown by a large part of the machine's memory.

A program that is running is held by whoever runs it, so that releasing it in another thread changes
nothing; what is needed again is compiled again, to the same program. Without /proc/self/maps, on
other systems, nothing is done.
"""

import contextlib
import ctypes
import functools
import gc
import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jaxlib.version
import numpy as np

from ._cache import traced_folder
from ._errors import in_words, machine_memory, warn
from ._traced import kept_traced
from ._types import is_concrete

_Function = TypeVar("_Function", bound=Callable)

_EVENT = "/jax/core/compile/backend_compile_duration"
#: The part of the limit at which programs are released. The rest is for programs that are compiled
#: before hopfax looks again, for libraries, and for what other packages map.
_SHARE = 0.4
#: The part of the machine's memory by which the process may grow, and the part of the limit from
#: which on there are so many programs that releasing them helps.
_GROWTH, _MANY = 0.1, 0.1
#: Linux's own limit. Where it has been raised, the memory that the programs take is still bounded.
_USUAL = 65530


#: How XLA compiles for a CPU: the parts of a program run one after another. Where they were ordered
#: so that several threads may run them at once, least squares went astray in one of 700 fits on a
#: busy machine with two cores (another trial step, all at once and by much; jaxlib 0.10.2), and
#: nothing was faster.
IN_TURN: dict[str, Any] = {"xla_cpu_enable_concurrency_optimized_scheduler": False}
#: And, of what is called by itself, the older emitters of fused loops, where jaxlib has both: those
#: of 0.10 take 40 % off the time to compile, and add 10 % to that of a long run.
_OPTIONS = dict(IN_TURN)
if jaxlib.version.__version__.startswith("0.10."):
    _OPTIONS["xla_cpu_use_fusion_emitters"] = False


class _Kept:
    """How much was compiled, and what was seen of it: one record for the process."""

    compiled = 0  # programs so far
    seen = 0  # of these, when the maps were last counted
    left = 0  # maps that were still there after the last release
    memory = 0  # and bytes
    told = False  # whether the user has been told
    lock = threading.Lock()
    caches: list[Callable[[], Any]] = []


def _count(event: str, duration_secs: float, **_: Any) -> None:
    del duration_secs
    if event == _EVENT:
        _Kept.compiled += 1


jax.monitoring.register_event_duration_secs_listener(_count)


def jitted(function: _Function) -> _Function:
    """`equinox.filter_jit` of a function, which looks first whether too many programs are kept.
    What is called by itself, not from within another program, is compiled with `_OPTIONS`; both
    share what was traced."""
    jit: Any = eqx.filter_jit
    inside = jit(function)
    alone = jit(lambda *args, **kwargs: inside(*args, **kwargs), compiler_options=_OPTIONS)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        tidy()
        return (alone if _is_alone(args, kwargs) else inside)(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


def traced_once(function: _Function, static: tuple[int, ...] = ()) -> _Function:
    """A part of programs that is traced once for equal shapes, however often it stands in them.

    What is written into a program is the same: its operations, not a call. `static` are the places
    of arguments that are no arrays. To be called from within a program only."""
    return jax.jit(function, static_argnums=static, inline=True)  # pyright: ignore


def kept(function: _Function) -> _Function:
    """`jitted` for a function of the theory, of positional arguments and with arrays as outputs,
    that is also kept traced (`hopfax._traced`) where programs are kept at all."""
    traced: Any = jitted(function)
    name = f"{function.__module__}.{function.__qualname__}"
    programs: dict[Any, Any] = {}
    kept_in(programs.clear)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        if traced_folder() is None or not _is_alone(args):
            return traced(*args)
        tidy()
        arrays, static = eqx.partition(args, eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        structs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in leaves]
        weak = tuple(getattr(a, "weak_type", False) for a in leaves)
        place = (tuple(structs), weak, structure, static, bool(jax.config.read("jax_enable_x64")))
        if any(weak) or any(leaf.devices() != {jax.devices()[0]} for leaf in leaves):
            return traced(*args)
        if place not in programs:

            def plain(arrays):
                return function(*eqx.combine(arrays, static))

            shapes = jax.tree.unflatten(structure, structs)
            found = kept_traced(name, plain, static, (shapes,))
            programs[place] = jax.jit(found, compiler_options=_OPTIONS)
        return programs[place](arrays)

    return call  # pyright: ignore[reportReturnType]


def _is_alone(*trees: Any) -> bool:
    """As `is_outermost`, on a CPU."""
    return jax.default_backend() == "cpu" and is_outermost(*trees)


def is_outermost(*trees: Any) -> bool:
    """Whether a call is no part of a traced program, a `vmap` or a derivative."""
    arrays = [leaf for leaf in jax.tree.leaves(trees) if isinstance(leaf, jax.Array)]
    if not all(map(is_concrete, arrays)):
        return False
    return is_concrete(jax.lax.full((), 0, np.int32))  # in a program nothing is known


def kept_in(clear: Callable[[], Any]) -> None:
    """Programs are also kept in a cache of hopfax's own, which `clear` empties."""
    _Kept.caches.append(clear)


def tidy() -> None:
    """Release all compiled programs if they take a large part of the memory maps that this process
    may have. To be called before a program is run; costs nothing if nothing has been compiled."""
    if _Kept.compiled == _Kept.seen or not _Kept.lock.acquire(blocking=False):
        return
    try:
        _Kept.seen = _Kept.compiled
        limit, left = _limit(), _Kept.left
        # A share of what programs can take: what no release brings back, such as mapped files,
        # must not cause one at every look.
        share = _SHARE
        if _memory() - _Kept.memory > _GROWTH * machine_memory():
            share = _MANY
        if limit and _maps() > left + share * (limit - left):
            _release(limit)
    finally:
        _Kept.lock.release()


def _release(limit: int) -> None:
    before, memory = _maps(), _memory()
    for clear in _Kept.caches:
        clear()
    jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only the C library of GNU has it
        ctypes.CDLL(None).malloc_trim(0)  # else freed memory stays with the process
    _Kept.left, _Kept.memory = _maps(), _memory()
    if not _Kept.told:
        _Kept.told = True
        warn(
            f"compiled programs took {before:,} of the {limit:,} memory maps that Linux allows a "
            f"process (it crashes where they run out), in {in_words(memory)} of memory; all were "
            f"released, which left {_Kept.left:,} and {in_words(_Kept.memory)}, and what is used "
            "again is compiled again. Every new shape of the arguments (number of save times, "
            "neurons, memories) is a program of its own, compiled for seconds: give many runs one "
            "shape, batch them by jax.vmap, or use hopfax.sweep.",
            RuntimeWarning,
        )


def _limit() -> int:
    """The number of memory maps that may be used; 0 where there is no such limit."""
    try:
        return min(int(pathlib.Path("/proc/sys/vm/max_map_count").read_text()), _USUAL)
    except (OSError, ValueError):
        return 0


def _memory() -> int:
    """Bytes of memory that this process has now; 0 where that is unknown."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _maps() -> int:
    """The number of memory maps of this process; 0 where that is unknown."""
    try:
        return pathlib.Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0
