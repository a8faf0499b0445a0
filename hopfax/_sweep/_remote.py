"""Blocks computed by other processes, which see the same store and are told a number."""

import concurrent.futures
import threading
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._lanes import Program
from ._job import Job, Record
from ._store import Manifest, Store

_RETRIES = 3  # by Dask, of a block whose worker died


class Remote(NamedTuple):
    """A job as it travels: its arrays stay in the store, so a task is small."""

    path: str
    hash: str
    static: Any
    arrays: Any  # where they belong in it
    key_kind: str | None
    x64: bool
    cache: str | None

    def __call__(self, k: int) -> Record:
        """Compute and store block `k`, unless that has been done; how it went."""
        opened = _opened(self)
        done = opened.store.done(opened.manifest, k)
        if done is not None:  # by a worker that died before it could say so
            return done
        blocks = opened.manifest.blocks
        outputs, record = opened.job.block(blocks, k, opened.program, lambda: False)
        opened.store.write(opened.manifest, k, outputs, record)
        return record


class _Opened(NamedTuple):
    store: Store
    manifest: Manifest
    job: Job
    program: Program


_here: dict[tuple[str, str], _Opened] = {}
_opening = threading.Lock()


def pack(job: Job, store: Store, manifest: Manifest) -> Remote:
    """The job for other processes; its arrays are put into the store."""
    kind = None
    if job.key is not None:
        kind = str(jr.key_impl(job.key))
        job = eqx.tree_at(lambda job: job.key, job, jr.key_data(job.key))
    arrays, static = eqx.partition(job, _is_array)
    store.keep_inputs([np.asarray(leaf) for leaf in jax.tree.leaves(arrays)])
    options = jax.config
    return Remote(
        str(store.path.resolve()),
        manifest.hash,
        static,
        jax.tree.map(lambda _: 0, arrays),
        kind,
        bool(options.read("jax_enable_x64")),
        getattr(options, "jax_compilation_cache_dir"),  # noqa: B009  `read` refuses it
    )


def _opened(remote: Remote) -> _Opened:
    """The job in this process, made once."""
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
    """Precision as it was where the sweep began, and its folder of compiled programs."""
    if bool(jax.config.read("jax_enable_x64")) != remote.x64:
        jax.config.update("jax_enable_x64", remote.x64)
    if remote.cache and not getattr(jax.config, "jax_compilation_cache_dir"):  # noqa: B009
        jax.config.update("jax_compilation_cache_dir", remote.cache)


def _unpacked(remote: Remote, store: Store) -> Job:
    """The job, with its arrays from the store."""
    leaves, structure = jax.tree.flatten(remote.arrays)
    arrays = jax.tree.unflatten(structure, store.inputs(len(leaves)))
    job: Job = eqx.combine(arrays, remote.static)
    held = eqx.filter(job.function, _is_array)
    function = eqx.combine(jax.tree.map(jnp.asarray, held), job.function)
    key = job.key
    if remote.key_kind is not None:
        key = jr.wrap_key_data(jnp.asarray(key), impl=remote.key_kind)
    return Job(function, job.grid, key, job.seeded, job.tile)


def executor_of(executor: Any) -> concurrent.futures.Executor:
    """The executor that is meant: itself, or that of a Dask client.

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
