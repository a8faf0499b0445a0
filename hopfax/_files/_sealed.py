"""Files of a header and arrays, sealed: the first line is a JSON header, the arrays follow in
NumPy's format, and the header begins with a checksum of all the rest.

    {"format": "hopfax-model", "schema": 2, "seal": "<sha256>", "model": ...}
    <array><array>...

The seal is the SHA-256 of the whole file with 64 zeros in the place of the seal. It is compared
before anything of the file is decoded. Files of schema 1 have none.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from .._errors import LoadError, check_memory, in_words
from ._arrays import read_form, read_values, stored_as, write_array
from ._io import open_regular, parse_json, write_whole

SCHEMA, _UNSEALED = 2, 1
_ZEROS = b"0" * 64
_HEADER = 1 << 26  # bytes of the first line at most: 64 MiB
_PART = 1 << 20


def write_sealed(
    path: str | os.PathLike, format: str, content: dict[str, Any], arrays: Iterable[np.ndarray]
) -> None:
    """Write a header with this `content`, and the arrays, whole or not at all.

    **Raises:** ValueError if the header is longer than what is read back.
    """
    start = _start(format)
    head = start + _ZEROS + b'", ' + json.dumps(content)[1:].encode() + b"\n"
    if len(head) > _HEADER:
        long, most = in_words(len(head)), in_words(_HEADER)
        raise ValueError(f"the header of {os.fspath(path)} would have {long}; at most {most}.")

    def write(file: BinaryIO) -> None:
        both = _Hashed(file)
        both.write(head)
        for array in arrays:
            write_array(both, array)
        file.seek(len(start))
        file.write(both.hash.hexdigest().encode())

    write_whole(path, write)


class _Hashed:
    """A file whose content is hashed as it is written."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash = file, hashlib.sha256()

    def write(self, content: bytes) -> None:
        self.hash.update(content)
        self.file.write(content)


class Source:
    """A file of a header and arrays that is being read. All errors are a LoadError in one line."""

    def __init__(self, path: str, name: str, file: BinaryIO, header: dict, sealed: bool):
        self.path, self.name, self.header, self.sealed = path, name, header, sealed
        self._file = file
        self._left = os.fstat(file.fileno()).st_size - file.tell()

    def error(self, what: str) -> LoadError:
        """The error that the file is at fault, for this reason."""
        return LoadError(f"`{self.name}`: {self.path} {what}")

    def array(self, where: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The next array, which must have this shape and dtype."""
        start = self._file.tell()
        try:
            form = read_form(self._file)
            self._left -= self._file.tell() - start
            if (form.shape, form.dtype.newbyteorder("=")) != (shape, stored_as(dtype)):
                raise self.error(
                    f"is damaged: {where} must be {dtype}{list(shape)}, but the file has "
                    f"{form.dtype}{list(form.shape)}."
                )
            if form.nbytes > self._left:
                raise ValueError
            self._left -= form.nbytes
            return read_values(self._file, form).view(dtype)
        except LoadError:
            raise
        except (ValueError, OSError, MemoryError) as error:
            raise self.error(f"is truncated or damaged at {where}.") from error

    def end(self) -> None:
        """LoadError unless all arrays have been read."""
        if self._left:
            raise self.error("goes on after its last array.")


@contextlib.contextmanager
def open_sealed(
    path: str | os.PathLike, format: str, entries: set[str], name: str = "path"
) -> Iterator[Source]:
    """A file that `write_sealed` wrote, or one of schema 1, after its header.

    **Arguments:** `entries`: what a header may hold beside format, schema and seal. `name`: the
    argument that gave the path.

    **Raises:** LoadError for anything else and for a damaged file, FileNotFoundError.
    """
    text, start = os.fspath(path), _start(format)
    kind = format.replace("-", " ")
    with open_regular(path, name, LoadError) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            check_memory(name, size, text)
        except ValueError as error:
            raise LoadError(str(error)) from error
        sealed = file.read(len(start)) == start
        if sealed and not _fits(file, start):
            raise LoadError(
                f"`{name}`: {text} is truncated or damaged: its checksum is not that of its "
                "content. Nothing was loaded; use a copy of it, or delete it."
            )
        file.seek(0)
        line = file.read(1)
        if line == b"{":
            line += file.readline(_HEADER)
        try:
            header = parse_json(line)
        except ValueError as error:
            raise LoadError(
                f"`{name}`: the first line of {text} is no JSON header of a {kind}."
            ) from error
        source = Source(text, name, file, header, sealed)
        if not isinstance(header, dict) or header.get("format") != format:
            raise source.error(f"is no {kind}.")
        schema = header.get("schema")
        known = type(schema) is int and schema == (SCHEMA if sealed else _UNSEALED)
        if not known and schema in (SCHEMA, _UNSEALED):
            raise source.error("is damaged: its header has no seal where one belongs.")
        if not known:
            raise source.error(
                f"has schema {schema!r}; this version reads {_UNSEALED} and {SCHEMA}."
            )
        if more := set(header) - entries - {"format", "schema"} - ({"seal"} if sealed else set()):
            raise source.error(f"is damaged: its header has an entry {min(more)!r}.")
        yield source


def _start(format: str) -> bytes:
    """How a sealed file begins, up to the seal."""
    return json.dumps({"format": format, "schema": SCHEMA})[:-1].encode() + b', "seal": "'


def _fits(file: BinaryIO, start: bytes) -> bool:
    """Whether the seal that comes next is that of the file."""
    seal, found = file.read(len(_ZEROS)), hashlib.sha256(start + _ZEROS)
    while part := file.read(_PART):
        found.update(part)
    return seal == found.hexdigest().encode()
