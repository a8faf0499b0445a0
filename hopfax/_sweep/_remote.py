"""Blocks computed by other processes, which see the same store.

A task that is sent to a worker is small: the job without its arrays, and the number of a block. The
worker reads the arrays from the store, compiles the program once, and writes the block into the
store; only the block's record comes back. Nothing is lost with a worker that dies.
"""

import concurrent.futures
import dataclasses
import threading
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ._job import Record
from ._locks import worker
from ._manifest import Manifest
from ._program import Program
from ._recipe import Programs, Work
from ._store import Store

_RETRIES = 3  # of a block whose worker died, by Dask


class Remote(NamedTuple):
    """A job as it is sent to a worker."""

    path: str  # of the store
    run: str  # the name under which the sweep holds the store
    hash: str  # of the sweep's configuration
    static: Work  # without its arrays
    arrays: Work  # zeros in the places of its arrays
    key_kind: str | None  # of the sweep's PRNG key, whose numbers travel as an array
    x64: bool
    cache: str | None  # the folder of compiled programs

    def __call__(self, k: int) -> Record:
        """Compute and store block `k`, unless that has been done, and return how it went."""
        with jax.enable_x64(self.x64):  # of this thread alone, which may be one of the user's
            opened = _opened(self)
            done = opened.store.done(opened.manifest, k)
            if done is not None:  # by a worker that died before it could say so
                return done
            blocks = opened.manifest.blocks
            outputs, record = opened.job.block(blocks, k, opened.program, lambda: False)
        with worker(opened.store.path, self.run):
            opened.store.write(opened.manifest, k, outputs, record)
        return record


class _Opened(NamedTuple):
    """A job that is ready to run in this process."""

    store: Store
    manifest: Manifest
    job: Any  # a `Job` or a `Loop`, which takes the program that it has made
    program: Program | Programs


_here: dict[tuple[str, str], _Opened] = {}
_opening = threading.Lock()


def pack(job: Work, store: Store, manifest: Manifest, run: str) -> Remote:
    """The job for other processes, workers of the run of that name; puts its arrays into the
    store."""
    kind = None
    if job.key is not None:
        kind = str(jr.key_impl(job.key))
        job = eqx.tree_at(lambda job: job.key, job, jr.key_data(job.key))
    arrays, static = eqx.partition(job, _is_array)
    store.keep_inputs(manifest, [np.asarray(leaf) for leaf in jax.tree.leaves(arrays)])
    options = jax.config
    return Remote(
        str(store.path.resolve()),
        run,
        manifest.hash,
        static,
        jax.tree.map(lambda _: 0, arrays),
        kind,
        bool(options.read("jax_enable_x64")),
        getattr(options, "jax_compilation_cache_dir"),  # noqa: B009  `read` refuses it
    )


def _opened(remote: Remote) -> _Opened:
    """The job, ready to run in this process; compiled at the first call for each sweep."""
    with _opening:
        place = (remote.path, remote.hash)
        if place not in _here:
            _configure(remote)
            store = Store(remote.path)
            manifest = store.manifest()
            if manifest is None or manifest.hash != remote.hash:
                raise RuntimeError(f"the sweep in {remote.path} was replaced while it ran")
            job = _unpacked(remote, store)
            _here.clear()  # a worker goes through one sweep after the other
            _here[place] = _Opened(store, manifest, job, job.program(jax.local_devices()))
        return _here[place]


def _configure(remote: Remote) -> None:
    """Use the folder of compiled programs of the process that began, if there is none here."""
    if remote.cache and not getattr(jax.config, "jax_compilation_cache_dir"):  # noqa: B009
        jax.config.update("jax_compilation_cache_dir", remote.cache)


def _unpacked(remote: Remote, store: Store) -> Work:
    """The job, with its arrays from the store."""
    leaves, structure = jax.tree.flatten(remote.arrays)
    arrays = jax.tree.unflatten(structure, store.inputs(len(leaves)))
    job: Work = eqx.combine(arrays, remote.static)
    held = eqx.filter(job.function, _is_array)
    function = eqx.combine(jax.tree.map(jnp.asarray, held), job.function)
    key = job.key
    if remote.key_kind is not None:
        key = jr.wrap_key_data(jnp.asarray(key), impl=remote.key_kind)
    return dataclasses.replace(job, function=function, key=key)


def executor_of(executor: Any) -> concurrent.futures.Executor:
    """The executor itself, or that of a Dask client.

    **Raises:** TypeError for anything else; ValueError for processes made by `fork`.
    """
    if hasattr(executor, "get_executor"):  # a dask.distributed.Client
        return executor.get_executor(pure=False, retries=_RETRIES)
    if not isinstance(executor, concurrent.futures.Executor):
        raise TypeError(
            "`executor` must be a concurrent.futures.Executor or a dask.distributed.Client, got "
            f"{type(executor).__name__}."
        )
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "`executor` starts processes by fork, in which JAX hangs; make it with "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")).'
        )
    return executor


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)
