"""`sweep`: run every point of a grid, block by block, and label the results.

A sweep that is stored goes through these steps, and through the same ones when it is called again:
look for a sweep in the store and compare it with the one asked for (`_present`), or make a new one
(`_create`); find the blocks that are stored and undamaged (`_done`); compute and store the others
(`_compute`); and return the dataset, which is read from the store.
"""

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from .. import _status
from .._errors import (
    ConfigMismatch,
    StoreBusy,
    StoreError,
    SweepFailed,
    SweepWarning,
    check_bool,
    check_memory,
    check_option,
    check_path,
    check_type,
    shown,
    warn,
)
from .._identity import describe
from .._interrupt import heard, tell
from .._progress import check_progress
from .._types import Dataset
from . import _dataset
from ._drive import by_executor, by_threads, counted
from ._job import Record, Variable
from ._manifest import Manifest
from ._open import dataset_of
from ._plan import AnyPrepared, checked_chunk, local_devices, prepare
from ._point import Point
from ._program import Device
from ._recipe import Loop, Recipe, Work, work_of
from ._remote import executor_of, pack
from ._store import Store

_SHOWN = 5  # failed points that a warning names


def sweep(
    point: Point | Recipe | Callable,
    grid: Mapping[Any, Any],
    *,
    key: jax.Array | None = None,
    tile: int | None = None,
    chunk: int | Literal["auto"] = "auto",
    store: str | os.PathLike | None = None,
    resume: Literal["auto", "must", "never"] = "auto",
    overwrite: bool = False,
    part: tuple[int, int] | None = None,
    tag: str | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    devices: int | Sequence[Device] | None = None,
    executor: Any = None,
    on_failure: Literal["warn", "raise", "ignore"] = "warn",
    progress: bool | Literal["auto"] = "auto",
) -> Dataset:
    """Run a point at every value of a grid, from ten points to millions.

    Points are computed together in tiles of fixed width by one compiled program, and stored
    together in blocks. A run that fails gives its point a status and NaN, and changes no other
    point by a bit. A sweep with a `store` may be killed at any moment; the same call resumes it,
    and ends with the same bits as if it had never stopped.

    **Arguments:**

    - `point`: a `Point`; a `Recipe` that makes points of sizes and other choices, which are then
      axes, too, the outermost ones (every output is kept in the largest shape that it has, blank
      beyond); or any pure function of named arguments that returns an array, a dict of
      arrays or a NamedTuple (and may take a `key`). It is compiled, so it must be written with
      jax.numpy. Its status is 0 unless it returns one by that name, or an argument is NaN.
    - `grid`: `{"kappa": values, "init.saliency[0]": values}` makes the product of its axes; a
      tuple zips: `{("kappa", "tau"): (values, values)}`, as `hopfax.designs` does. Values are
      listed, so `(2, 7)` is two points, not a range. They may have further axes where the
      parameter does. An axis "seed" of integers repeats every point with the randomness of each
      seed, the same one at all points.
    - `key`: one PRNG key. The point with the number g (in row-major order) draws from
      `fold_in(fold_in(key, tag), g)`, and with an axis "seed" from its seed in place of g (`key`
      is then `jax.random.key(0)` unless given).
    - `tile`: how many points are computed together (256 on a CPU, 65536 elsewhere, or the power of
      two that holds the whole sweep). Results can depend on it in the last bits, but not on the
      number of devices, processes or blocks.
    - `chunk`: about how many points are stored at a time; "auto" takes what needs a few seconds by
      a measurement, or what the sweep in the store has.
    - `store`: a folder for the results, kept as zarr; checked before anything is computed. The
      dataset returned is then read from there when it is looked at.
    - `resume`: "auto" goes on with the same sweep if it is in `store`; "must" raises if it is not;
      "never" raises if it is. `overwrite` replaces the sweep that is there.
    - `part`: `(k, n)` runs only every n-th block, from the k-th on. So processes that know nothing
      of each other, such as those of a job array, share a store; the dataset returned holds what
      is done so far.
    - `tag`: a name for the version of your functions, which takes the place of their source in
      telling one stored sweep from another (the source of what they call is never compared).
      Needed for lambdas and for functions defined inside functions.
    - `dims`: names for the dimensions that outputs have of their own, `{"overlaps": ("time",
      "memory")}`; others are numbered, "overlaps_0".
    - `devices`: how many local devices to use, or which (default: all). Each runs tiles of its own.
    - `executor`: a `concurrent.futures.Executor` or a `dask.distributed.Client`, whose workers
      compute the blocks; needs a `store` that they all see.
    - `on_failure`: what to do, at the end, if points failed: "warn", "raise" or "ignore".
    - `progress`: whether to show a progress bar, on a terminal or in a notebook; elsewhere a line
      every ten seconds says how far it is, with True also one at the end.

    **Returns:** an `xarray.Dataset` with the grid as coordinates, every output as a variable, and
    `status` (see `hopfax.STATUS`); its attributes hold all settings and versions.

    **Raises:** ValueError/TypeError before anything is compiled; StoreError (StoreBusy: another
    process writes there; StoreCorrupt: a file is damaged; ConfigMismatch: it is another sweep's);
    with `on_failure="raise"` SweepFailed, whose `.dataset` holds all results.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))
    ds = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0], "init.saliency[0]": [2.0, 4.0]})
    ds.regime  # 1 1, 0 0, 0 0: without enough gain a collapse, else a sequence
    ```
    """
    _dataset.xarray("sweep")
    check_option(on_failure, "on_failure", ("warn", "raise", "ignore"))
    check_option(resume, "resume", ("auto", "must", "never"))
    check_bool(overwrite, "overwrite")
    check_progress(progress)
    if store is not None:
        check_path(store, "store")
    if tag is not None:
        check_type(tag, "tag", str, "a name for the version of your functions")
    job = work_of(point, grid, key, tile, dims)
    attributes = _dataset.attributes(point, job.tile, job.key, job.grid.parameters)
    labels = _dataset.coordinates(job.grid, attributes)
    for name, value in (("executor", executor), ("part", part)):
        if value is not None and store is None:
            raise ValueError(f"`{name}` needs a `store`, in which the parts come together.")
    if executor is not None and devices is not None:
        raise ValueError("`devices` are those of this process; leave them out with an `executor`.")
    how = _How(checked_chunk(chunk), local_devices(devices), progress)
    insisted = (("resume", resume == "must"), ("overwrite", overwrite))
    if store is None and (asked := [name for name, given in insisted if given]):
        raise ValueError(f"`{asked[0]}` needs a `store`.")
    if resume == "must" and overwrite:
        raise ValueError("`resume='must'` and `overwrite=True` contradict each other.")
    if part is not None and overwrite:
        raise ValueError("`part` with `overwrite`: every part would delete what the others did.")
    place = None if store is None else Store(store)
    with _explained(place), heard() as stopped:
        how = how._replace(stopped=stopped)
        if place is None:
            dataset, records = _in_memory(job, labels, how)
        else:
            place.check(overwrite)
            work = _Work(job, labels, _config(job, labels, how.chunk, tag), place, how)
            workers = None if executor is None else executor_of(executor)
            dataset, records = _in_store(work, resume, overwrite, _checked_part(part), workers)
    _report(dataset, records, on_failure, job)
    return dataset


class _How(NamedTuple):
    """Settings that change no result."""

    chunk: int | Literal["auto"]
    devices: list[Device]
    progress: bool | Literal["auto"]
    stopped: Callable[[], None] = lambda: None  # raises if Ctrl-C was pressed


class _Work(NamedTuple):
    """A sweep that is to be stored: what it computes, its coordinates, and what tells it apart."""

    job: Work
    labels: Dataset
    config: dict[str, str]
    store: Store
    how: _How


def _config(
    job: Work, labels: Dataset, chunk: int | Literal["auto"], tag: str | None
) -> dict[str, str]:
    """Everything that the stored data depend on, as text; two sweeps are the same if it is."""
    config = {name: str(labels.attrs[name]) for name in ("tile", "x64", "key")}
    config["axes"] = ", ".join(job.grid.dims)
    config |= job.identity(tag)
    for name, values in job.grid.parameters.items():
        config |= describe(values, f"grid.{name}")
    if chunk != "auto":
        config["chunk"] = str(job.cut(chunk).block)
    return config


def _in_memory(job: Work, labels: Dataset, how: _How) -> tuple[Dataset, dict[int, Record]]:
    """Compute all blocks without a store. Returns the dataset, and how every block went."""
    records: dict[int, Record] = {}
    with counted(job.grid.size, {}, how.progress) as count:  # from the start: compiling lasts, too
        prepared = prepare(job, how.devices) if job.grid.size else None
        found = job.variables() if prepared is None else prepared.variables
        total = job.grid.size * sum(v.bytes for v in found)
        hint = "Let the points return less, or keep the results in files: sweep(..., store=...)."
        check_memory("grid", total, f"the results of {job.grid.size:,} points", hint)
        values = {v.name: np.full(job.grid.shape + v.shape, v.blank, v.dtype) for v in found}
        if prepared is not None:
            blocks = prepared.blocks(how.chunk)

            def keep(k: int, outputs: dict[str, np.ndarray], record: Record) -> None:
                for variable in found:
                    part = variable.fill(outputs[variable.name], len(job.grid.shape))
                    values[variable.name][blocks.slices(k)] = part

            how.stopped()
            records = by_threads(prepared, blocks, prepared.order(blocks), keep, count)
    data = {
        v.name: (_dataset.dims_of(v, job.grid), values[v.name], _dataset.attributes_of(v))
        for v in found
    }
    return labels.assign(data), records


def _in_store(
    work: _Work,
    resume: str,
    overwrite: bool,
    part: tuple[int, int],
    executor: concurrent.futures.Executor | None,
) -> tuple[Dataset, dict[int, Record]]:
    """Compute the blocks that the store lacks. Returns its dataset, and how every block went."""
    job, store = work.job, work.store
    alone = part[1] == 1
    present, prepared = _present(work, resume, overwrite), None
    # Complete, it can be read where nothing can be written.
    if present is not None and not store.damaged(present):
        every = range(present.blocks.number)
        if len(records := _done(store, present, every)) == len(every):
            return dataset_of(store, present, list(every)), records
    store.check_writable()
    with store.writing(shared=not alone) as run:
        # Looked at again, since only now nobody else can change it.
        present = _present(work, resume, overwrite)
        if present is not None:
            store.mend(present, job.grid, work.labels)
            _warn_of_changes(store, present)
        if present is None:
            present, prepared = _create(work, executor, overwrite)
        work.how.stopped()
        if alone:
            store.tidy(present)
        mine = range(part[0], present.blocks.number, part[1])
        records = _done(store, present, mine)
        pending = [k for k in mine if k not in records]
        if pending and executor is None:
            prepared = prepare(job, work.how.devices) if prepared is None else prepared
            _check_variables(prepared, present, store)
            waiting = set(pending)
            pending = [k for k in prepared.order(present.blocks) if k in waiting]
        try:
            work.how.stopped()
            records |= _compute(work, run, present, prepared, executor, pending, records)
        except BaseException as error:
            refused = {"overwrite=True": overwrite, "resume='never'": resume == "never"}
            tell(error, _what_is_left(store, present, mine, [k for k in refused if refused[k]]))
            raise
        there = mine if alone else _done(store, present, range(present.blocks.number))
    if not alone and len(there) == present.blocks.number:
        with contextlib.suppress(StoreBusy), store.writing():  # the last part, as a rule
            store.tidy(present)
    return dataset_of(store, present, list(there), partial=not alone), records


@contextlib.contextmanager
def _explained(store: Store | None) -> Iterator[None]:
    """Have a KeyboardInterrupt that says nothing yet say what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not error.args and store is None:
            text = "the sweep was interrupted, and nothing of it is kept. With sweep(..., store="
            tell(error, f"{text}'a folder') it is kept block by block, and the same call goes on.")
        elif not error.args and store is not None:
            whole = "the same call goes on"
            tell(error, f"the sweep was interrupted; {whole} with what is stored in {store.path}.")
        raise


def _what_is_left(
    store: Store, manifest: Manifest, blocks: Sequence[int], without: Sequence[str] = ()
) -> str:
    """What a sweep that was stopped has in its store, and how it is gone on with.

    **Arguments:** `without`: the arguments of this call that must be left out for that.
    """
    if not (store.path / "sweep.json").is_file():
        return f"The store {store.path} was removed while the sweep ran: nothing can be resumed."
    there = len(_done(store, manifest, blocks))
    but = f" without {' and '.join(without)}" if without else ""
    return (
        f"{there} of {len(blocks)} blocks are stored in {store.path}; run the same sweep again"
        f"{but} to resume it."
    )


def _compute(
    work: _Work,
    run: str,
    manifest: Manifest,
    prepared: AnyPrepared | None,
    executor: concurrent.futures.Executor | None,
    pending: list[int],
    done: dict[int, Record],
) -> dict[int, Record]:
    """Compute and store the blocks `pending`, here or by an executor. Returns how they went."""
    if not pending:
        return {}
    store, blocks = work.store, manifest.blocks
    points = sum(blocks.points(k) for k in [*pending, *done])
    with counted(points, done, work.how.progress) as count:
        if executor is not None:
            return by_executor(executor, pack(work.job, store, manifest, run), pending, count)
        assert prepared is not None  # made where there is no executor

        def keep(k: int, outputs: dict[str, np.ndarray], record: Record) -> None:
            store.write(manifest, k, outputs, record)

        return by_threads(prepared, blocks, pending, keep, count)


def _present(work: _Work, resume: str, overwrite: bool) -> Manifest | None:
    """The sweep that the store holds and that is to be continued; None if a new one is made.

    **Raises:** ConfigMismatch if it is another sweep; StoreError if `resume` does not allow it;
    StoreCorrupt if it is damaged.
    """
    if overwrite:
        return None
    store = work.store
    manifest = store.manifest()
    if manifest is None:
        if resume == "must":
            raise StoreError(f"`store`: there is no sweep in {store.path} to resume.")
        return None
    if resume == "never":
        raise StoreError(f"`store`: {store.path} holds a sweep; `overwrite=True` replaces it.")
    store.compare(manifest, work.config)
    return manifest


def _warn_of_changes(store: Store, manifest: Manifest) -> None:
    """SweepWarning if a sweep is continued with other versions or on another device."""
    here = _dataset.environment()
    if manifest.environment != here:
        changed = [k for k in here if manifest.environment.get(k) != here[k]]
        _warn(
            f"the sweep in {store.path} was begun with other versions or on another device "
            f"({_dataset.changes(manifest.environment, here, changed)}): the last bits of what is "
            "computed now may differ."
        )


def _create(
    work: _Work, executor: concurrent.futures.Executor | None, overwrite: bool
) -> tuple[Manifest, AnyPrepared | None]:
    """Make the sweep in the store. Returns it, and the compiled job if it was needed for that.

    With an executor, it is compiled here only to measure how long a block may be.
    """
    job, how, prepared = work.job, work.how, None
    if job.grid.size and (executor is None or how.chunk == "auto"):
        prepared = prepare(job, how.devices)
    if prepared is not None:
        found, blocks = prepared.variables, prepared.blocks(how.chunk)
    else:
        found = job.variables()
        blocks = job.cut(job.tile if how.chunk == "auto" else how.chunk)
    config = work.config | {"chunk": str(blocks.block)}
    made = Manifest(config, blocks, found, {}, _dataset.environment())
    present = work.store.create(made, job.grid, work.labels, overwrite)
    work.store.compare(present, work.config)  # another process may have been first
    return present, prepared


def _done(store: Store, manifest: Manifest, blocks: Iterable[int]) -> dict[int, Record]:
    """Those of some blocks that are stored and undamaged, and how they went."""
    found = ((k, store.done(manifest, k)) for k in blocks)
    return {k: record for k, record in found if record is not None}


def _check_variables(prepared: AnyPrepared, manifest: Manifest, store: Store) -> None:
    """ConfigMismatch if the points return other variables than are stored.

    A `tag` takes the place of the functions' source, so these may have changed all the same.
    """

    def listed(variables: list[Variable]) -> str:
        return ", ".join(map(str, variables))

    if prepared.variables != manifest.variables:
        raise ConfigMismatch(
            f"`store`: {store.path} holds {listed(manifest.variables)}, but the points now return "
            f"{listed(prepared.variables)}. Name another folder, or replace it with "
            "`overwrite=True` (--overwrite)."
        )


def _checked_part(part: Any) -> tuple[int, int]:
    """The argument `part` as `(k, n)` with 0 <= k < n; None is the whole, `(0, 1)`."""
    if part is None:
        return 0, 1
    whole = isinstance(part, tuple | list) and len(part) == 2
    if not whole or not all(isinstance(x, int) and not isinstance(x, bool) for x in part):
        raise TypeError(f"`part` must be (k, n), two ints, got {shown(part)}.")
    if not 0 <= part[0] < part[1]:
        raise ValueError(f"`part` must be (k, n) with 0 <= k < n, got {tuple(part)}.")
    return part[0], part[1]


def _report(dataset: Dataset, records: dict[int, Record], on_failure: str, job: Work) -> None:
    """Warn of failed points or raise SweepFailed: how many, which statuses, and the first ones."""
    counts: dict[int, int] = {}
    for record in records.values():
        for code, number in record.counts.items():
            counts[code] = counts.get(code, 0) + number
    total = sum(counts.values())
    bad = {c: n for c, n in counts.items() if c not in (_status.OK, _status.STOPPED_BY_EVENT)}
    if not bad or on_failure == "ignore":
        return
    listed = ", ".join(f"{bad[code]} {_status.name(code)}" for code in sorted(bad))
    lanes = sorted(lane for record in records.values() for lane in record.failed)[:_SHOWN]
    shape = dataset["status"].shape
    where = ", ".join(str(tuple(map(int, np.unravel_index(lane, shape)))) for lane in lanes)
    text = f"{sum(bad.values())} of {total} points failed ({listed}); first at index {where}."
    if isinstance(job, Loop) and (why := list(filter(None, map(job.why, lanes)))):
        text += f" Not all points can be made: {why[0]}"
    if on_failure == "raise":
        raise SweepFailed(text, dataset)
    _warn(f"{text} Most often: {_status.meaning(max(bad, key=lambda code: bad[code]))}.")


def _warn(text: str) -> None:
    warn(text, SweepWarning)
