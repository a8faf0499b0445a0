"""Files, read and written with care.

What is read is a regular file of a size that was looked at before: a device, a pipe or a folder in
its place is an error that names it, and never waited for. What is written appears whole or not at
all, under a temporary name that nobody can foresee and that follows no link.
"""

import json
import os
import pathlib
import secrets
import stat
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from .._errors import in_words
from .._identity import digest

_BYTES = 1 << 26  # of a text or JSON file, unless more is allowed: 64 MiB
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(
    path: str | os.PathLike, name: str = "path", error: type[Exception] = ValueError
) -> BinaryIO:
    """A regular file, open for reading. `name`: the argument that gave the path, for messages.

    **Raises:** `error` for a folder, a pipe, a device; OSError (FileNotFoundError) as `open` does.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as refused:  # a NUL byte in it
        raise error(f"`{name}` must be a path, got {path!r}.") from refused
    _check_mode(mode, path, name, error)  # to open a device may set it going
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    found = os.open(path, flags | getattr(os, "O_BINARY", 0))  # without waiting for a pipe
    try:
        _check_mode(os.fstat(found).st_mode, path, name, error)  # it may be another by now
        return os.fdopen(found, "rb")
    except BaseException:
        os.close(found)
        raise


def _check_mode(mode: int, path: str | os.PathLike, name: str, error: type[Exception]) -> None:
    """`error` unless this is the mode of a regular file."""
    if not stat.S_ISREG(mode):
        kind = next((text for is_it, text in _KINDS if is_it(mode)), "no regular file")
        raise error(f"`{name}`: {os.fspath(path)} is {kind}; name a regular file.")


def read_bytes(
    path: str | os.PathLike,
    name: str = "path",
    error: type[Exception] = ValueError,
    most: int = _BYTES,
) -> bytes:
    """The content of a regular file of at most `most` bytes.

    **Raises:** as `open_regular`, and `error` for a larger file.
    """
    with open_regular(path, name, error) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise error(
                f"`{name}`: {os.fspath(path)} has {in_words(size)}, and such a file has at most "
                f"{in_words(most)}."
            )
        return file.read(most)


def parse_json(content: str | bytes) -> Any:
    """What a JSON text says. **Raises:** ValueError also for one nested too deeply to be read."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def sealed(content: dict[str, Any]) -> bytes:
    """The content as JSON, with a hash of all of it as its last entry."""
    content = json.loads(json.dumps(content))  # tuples become lists, as they will be read
    return json.dumps(content | {"seal": digest(content)}, indent=1).encode()


def unsealed(content: str | bytes) -> dict[str, Any]:
    """What `sealed` wrote. **Raises:** ValueError if it is anything else, or a bit has changed."""
    found = parse_json(content)
    if not isinstance(found, dict) or found.pop("seal", None) != digest(found):
        raise ValueError("the seal does not fit")
    return found


def write_whole(path: str | os.PathLike, content: bytes | Callable[[BinaryIO], Any]) -> None:
    """Write a file so that it is there as a whole or not at all, also after a loss of power.

    A link of that name is replaced, not followed. `content`: the bytes, or a function that writes
    them to an open file.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        made = os.open(partial, flags | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:  # which names the file that was asked for, or the folder it lacks
        lost = isinstance(error, FileNotFoundError | NotADirectoryError)
        place = path.parent if lost else path
        raise OSError(error.errno, error.strerror, os.fspath(place)) from None
    try:
        with os.fdopen(made, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def checksum(path: str | os.PathLike) -> list[int]:
    """The length and CRC-32 of a regular file; length -1 if there is none."""
    try:
        with open_regular(path, error=OSError) as file:
            length = total = 0
            while part := file.read(1 << 20):
                total = zlib.crc32(part, total)
                length += len(part)
    except OSError:
        return [-1, 0]
    return [length, total]
