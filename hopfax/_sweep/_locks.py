"""Locks on a store: which processes may write there.

    .writer.lock    held by the process that runs a sweep; shared by the parts of a job array. Its
                    content names the run that its workers belong to
    .workers.lock   shared by workers, each while it writes a block
    .create.lock    held while a sweep is made

A lock ends with its process, however that ends. The workers of a process that was killed live on
for as long as their block takes: before each block they look whether theirs is still the run that
holds the store, and whoever takes it over waits for the last one.
"""

import contextlib
import errno
import pathlib
import secrets
from collections.abc import Iterator
from typing import IO

from .._errors import StoreBusy, SweepWarning, warn

#: Errors of file systems that have no locks.
_NONE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
#: What stands in the lock where several runs share it, as long as the name of one.
SHARED = f"{'shared':<32}"


@contextlib.contextmanager
def locked(file: pathlib.Path, *, shared: bool, wait: bool) -> Iterator[IO[str] | None]:
    """Hold a lock on a file, which ends with the process however that ends.

    **Arguments:** `shared`: others may hold it too, if they share. `wait`: for those that do not.

    **Returns:** the open file; None where there are no locks (Windows).

    **Raises:** StoreBusy without `wait`, where another process holds it. Where the file system has
    no locks, a SweepWarning says so, and nothing is held.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two writers there must keep apart by themselves
        yield None
        return
    try:
        handle = open(file, "a+")  # over NFS, sharing needs reading, and holding alone writing
    except PermissionError as error:
        text = f"`store`: no permission to write in {file.parent}; name another."
        raise PermissionError(text) from error
    with handle:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusy(
                f"`store`: another process is writing to {file.parent}. Wait for it, or let both "
                "share the work with `part=(k, n)` (--part)."
            ) from error
        except OSError as error:
            if error.errno not in _NONE:
                raise
            warn(
                f"the file system of {file.parent} has no locks ({error.strerror}), so two sweeps "
                "that write there are not kept apart. Each block still counts only when it is "
                "whole: run one process at a time there, or processes with `part=(k, n)` (--part).",
                SweepWarning,
            )
        yield handle


@contextlib.contextmanager
def writer(path: pathlib.Path, shared: bool) -> Iterator[str]:
    """Hold the store in `path` for one run, and wait for workers of an earlier one.

    **Returns:** the name of the run, to be given to its workers.

    **Raises:** StoreBusy if another run holds it.
    """
    with locked(path / ".writer.lock", shared=shared, wait=False) as handle:
        name = SHARED if shared else secrets.token_hex(16)
        if handle is not None and _content(path) != name:
            _name(path / ".writer.lock", name)
        if handle is not None and not shared:
            with locked(path / ".workers.lock", shared=False, wait=True):
                pass  # workers of before write no more: the run is no longer theirs
        yield name


@contextlib.contextmanager
def worker(path: pathlib.Path, run: str) -> Iterator[None]:
    """Hold the store in `path` while a worker of a run writes a block.

    **Raises:** RuntimeError if the store belongs to another run by now, or is gone.
    """
    if not path.is_dir():
        raise RuntimeError(f"the store {path} was removed while its sweep ran")
    with locked(path / ".workers.lock", shared=True, wait=True) as handle:
        if handle is not None and _content(path) != run:
            raise RuntimeError(f"another process has taken over the sweep in {path}")
        yield


def _name(file: pathlib.Path, run: str) -> None:
    """Put the name of a run into the lock, in one write: another process may be reading it."""
    with open(file, "r+b", buffering=0) as out:
        out.write(run.encode())


def _content(path: pathlib.Path) -> str:
    try:
        return (path / ".writer.lock").read_text()
    except (OSError, UnicodeDecodeError):
        return ""
