"""`sweep.json`: which sweep a store holds, in which blocks, and which files belong to it."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._errors import StoreCorrupt, StoreError
from .._files import parse_json, read_bytes, sealed, unsealed
from .._identity import digest
from ._grid import Blocks
from ._job import NAME, Variable

_SCHEMA = 1
_MOST = 1 << 30  # bytes of a manifest: it lists every value of a point, and every coordinate's file
_CHUNK = re.compile(r"(\d+)(/\d+)*")


class Manifest(NamedTuple):
    """The content of `sweep.json`: which sweep is stored, and in which blocks."""

    config: dict[str, str]
    blocks: Blocks
    variables: list[Variable]
    files: dict[str, list[int]]  # length and checksum of every file made at creation
    environment: dict[str, str]

    @property
    def hash(self) -> str:
        """A hash of the configuration, which every marker repeats."""
        return digest(self.config)

    def text(self) -> bytes:
        """The content of the file, sealed."""
        return sealed(
            {
                "schema": _SCHEMA,
                "config": self.config,
                "shape": self.blocks.shape,
                "block": self.blocks.block,
                "variables": [
                    [v.name, v.shape, str(v.dtype), *([v.dims] if v.dims else [])]
                    for v in self.variables
                ],
                "files": self.files,
                "environment": self.environment,
            }
        )

    def chunk(self, variable: Variable, k: int) -> str:
        """The path, from the store, of the zarr chunk of a variable that holds block `k`."""
        place = np.unravel_index(k, self.blocks.counts)
        names = [str(int(p)) for p in place] + ["0"] * len(variable.shape)
        return "/".join(("data.zarr", variable.name, "c", *names))

    def marker(self, k: int) -> str:
        """The path, from the store, of the marker of block `k`."""
        return f"done/{k:08d}.json"

    def lists(self, name: str) -> bool:
        """Whether a path from the store is that of a file of this sweep."""
        return name in self.files or self.block_of(name) is not None

    def block_of(self, name: str) -> int | None:
        """The block of a chunk or marker, by its path from the store; None for other files."""
        number = self.blocks.number
        if found := re.fullmatch(r"done/(\d{8,})\.json", name):
            k = int(found[1])
            return k if k < number and self.marker(k) == name else None
        for variable in self.variables:
            start = f"data.zarr/{variable.name}/c/"
            if name.startswith(start) and _CHUNK.fullmatch(name[len(start) :]):
                place = [int(part) for part in name[len(start) :].split("/")]
                inside = place[: len(self.blocks.counts)]
                if len(inside) == len(self.blocks.counts) and all(
                    p < n for p, n in zip(inside, self.blocks.counts, strict=True)
                ):
                    k = int(np.ravel_multi_index(inside, self.blocks.counts)) if inside else 0
                    return k if self.chunk(variable, k) == name else None
        return None

    def chunks(self, k: int) -> Iterator[tuple[Variable, str]]:
        """The variables, with their chunks of block `k`."""
        return ((variable, self.chunk(variable, k)) for variable in self.variables)


def read(file: pathlib.Path) -> Manifest | None:
    """The manifest in a file; None if there is no file.

    **Raises:** StoreCorrupt if it is damaged or not one of ours; StoreError if a later version
    wrote it.
    """
    try:
        content = read_bytes(file, "store", StoreCorrupt, _MOST)
        schema = parse_json(content)["schema"]
        if schema != _SCHEMA:  # a later version may also seal it otherwise
            raise StoreError(
                f"`store`: {file.parent} has schema {schema!r}; this version reads {_SCHEMA}."
            )
        found = unsealed(content)
        return _checked(
            Manifest(
                config={str(k): str(v) for k, v in found["config"].items()},
                blocks=Blocks(_counts(found["shape"], 0), _counts(found["block"], 1)),
                variables=[
                    Variable(name, _counts(shape, 0), np.dtype(dtype), *map(tuple, dims))
                    for name, shape, dtype, *dims in found["variables"]
                ],
                files=found["files"],
                environment=found["environment"],
            )
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (StoreCorrupt, ValueError, KeyError, TypeError, AttributeError) as error:
        raise foreign(file) from error


def foreign(file: pathlib.Path) -> StoreCorrupt:
    """The error for a manifest that cannot be read, so that nothing tells whose the folder is."""
    return StoreCorrupt(
        f"`store`: {file} is damaged, or was not written by hopfax; nothing touched. Bring it back "
        "from a copy, name another folder, or remove this one yourself."
    )


def _counts(found: Any, least: int) -> tuple[int, ...]:
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in found):
        raise ValueError("sizes must be whole numbers")
    return tuple(found)


def _checked(manifest: Manifest) -> Manifest:
    """The manifest, if no name in it leads out of the folder and all sizes agree."""
    names = [variable.name for variable in manifest.variables]
    if len(manifest.blocks.shape) != len(manifest.blocks.block):
        raise ValueError("the shapes of grid and blocks differ")
    if not all(NAME.fullmatch(name) and ".." not in name for name in names):
        raise ValueError("a name of a variable")
    for name, (length, check) in manifest.files.items():
        parts = name.split("/")
        if parts[0] != "data.zarr" or ".." in parts or "" in parts or "\\" in name:
            raise ValueError("a name of a file")
        if not (isinstance(length, int) and isinstance(check, int)):
            raise ValueError("a checksum")
    if not all(variable.dtype.kind in "biufc" for variable in manifest.variables):
        raise ValueError("a dtype")
    return manifest
