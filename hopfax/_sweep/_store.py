"""Sweeps on disk: one zarr group, opened by plain `xarray.open_zarr`."""

import os
import pathlib
import shutil
import uuid
from typing import Any

from .._errors import StoreError, missing

_MARK = "hopfax_version"


def prepare(store: Any, overwrite: bool) -> pathlib.Path:
    """Check, before anything is computed, that results can be written to `store`."""
    path = pathlib.Path(store)
    try:
        import zarr
    except ImportError as error:
        raise missing("zarr", "io", "storing a sweep") from error
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"`store`: {path} is a file; name a new folder.")
    if path.is_dir() and any(path.iterdir()):
        try:
            ours = _MARK in zarr.open_group(path, mode="r").attrs
        except (FileNotFoundError, ValueError, KeyError):
            ours = False
        if not ours:
            raise StoreError(f"`store`: {path} is not empty and holds no sweep; nothing touched.")
        if not overwrite:
            raise StoreError(f"`store`: {path} holds a sweep; `overwrite=True` replaces it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"`store`: no permission to write in {path.parent}.")
    return path


def write(dataset: Any, path: pathlib.Path) -> None:
    """Write `dataset` beside `path`, then move it there: a reader sees all of it or nothing."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        dataset.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_sweep(path: Any) -> Any:
    """The dataset of a stored sweep (lazily read).

    **Raises:** StoreError if there is none.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise missing("xarray and zarr", "io", "open_sweep") from error
    if not (pathlib.Path(path) / "zarr.json").is_file():
        raise StoreError(f"{path} holds no sweep (there is no zarr.json in it).")
    return xr.open_zarr(path, consolidated=False)
