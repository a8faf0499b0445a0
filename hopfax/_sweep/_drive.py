"""Computing blocks, by the threads of this process or by the workers of an executor.

Threads are enough in one process: a compiled program releases Python's lock while it runs.
"""

import collections
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import jax
import numpy as np

from .. import _status
from .._progress import progress
from ._grid import Blocks
from ._job import Record
from ._plan import AnyPrepared

#: Is told how a block went, as soon as it is done.
Count = Callable[[Record], None]


@contextlib.contextmanager
def counted(points: int, done: dict[int, Record], show: bool | Literal["auto"]) -> Iterator[Count]:
    """A bar over `points` points that also says how many failed; it starts with the blocks `done`.

    What is entered is the function to be told of every further block.
    """
    failed: collections.Counter = collections.Counter()
    before = sum(sum(record.counts.values()) for record in done.values())
    with progress(points, "point", show, before) as bar:

        def say(record: Record) -> None:
            failed.update({code: n for code, n in record.counts.items() if code != _status.OK})
            if failed:
                words = (f"{n} {_status.name(code)}" for code, n in sorted(failed.items()))
                bar.set_postfix_str(", ".join(words))

        def count(record: Record) -> None:
            say(record)
            bar.update(sum(record.counts.values()))

        for record in done.values():
            say(record)
        yield count


def by_threads(
    prepared: AnyPrepared,
    blocks: Blocks,
    order: Iterable[int],
    keep: Callable[[int, dict[str, np.ndarray], Record], None],
    count: Count,
) -> dict[int, Record]:
    """Compute blocks in this process and hand each to `keep`.

    After an error or Ctrl-C the blocks being computed are given up at their next call.

    **Returns:** how every block went.
    """
    stop, wide = threading.Event(), bool(jax.config.read("jax_enable_x64"))
    job: Any = prepared.job  # which takes the program that it has made

    def work(k: int) -> Record:
        with jax.enable_x64(wide):  # as in this thread, which may have it from a context
            outputs, record = job.block(blocks, k, prepared.program, stop.is_set)
        keep(k, outputs, record)
        return record

    with concurrent.futures.ThreadPoolExecutor(prepared.workers) as pool:
        try:
            return by_executor(pool, work, order, count)
        finally:
            stop.set()


def by_executor(
    executor: concurrent.futures.Executor,
    work: Callable[[int], Record],
    order: Iterable[int],
    count: Count,
) -> dict[int, Record]:
    """Have an executor do `work` for every block; after an error no new one starts.

    **Arguments:** `work`: computes and stores a block; is pickled if the workers are processes.
    `order`: the blocks, the first to be computed first. `count`: is told how each block went.

    **Returns:** how every block went.
    """
    records: dict[int, Record] = {}
    futures: dict[concurrent.futures.Future, int] = {}
    try:
        for k in order:
            futures[executor.submit(work, k)] = k
        for future in concurrent.futures.as_completed(futures):
            record = Record(*future.result())
            records[futures[future]] = record
            count(record)
    finally:
        for future in futures:
            future.cancel()
    return records
