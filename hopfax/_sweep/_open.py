"""Stored sweeps, opened: datasets whose values are read when they are looked at.

A store may be read while it is written. What is shown of it are the blocks that were complete when
it was opened, so that all variables show the same ones; and of these, at every later look, only
what is still as its marker says. All else is blank: NaN, and -1 as the status.
"""

import os

from .._errors import (
    StoreCorrupt,
    StoreError,
    SweepWarning,
    check_bool,
    check_path,
    warn,
)
from .._files import check_zarr
from .._types import Dataset
from ._dataset import named, xarray
from ._manifest import Manifest
from ._store import Store


def open_sweep(path: str | os.PathLike, *, partial: bool = False) -> Dataset:
    """The dataset of a stored sweep, whose values are read when they are looked at.

    `xarray.open_zarr(path / "data.zarr")` opens the same, but looks for no damage.

    **Arguments:** `path`: the folder given to `hopfax.sweep(store=...)`. `partial`: also open an
    unfinished sweep; points that have not been run have status -1 (`not_run`) and NaN.

    **Raises:** StoreError if there is no sweep, or without `partial` an unfinished one;
    StoreCorrupt naming a file that is damaged. With `partial`, points in damaged files count as
    not run, and a SweepWarning names a file.

    **Example:**

    ```python
    fixed_points = hx.theory.sequential.fixed_points
    hx.sweep(fixed_points, {"kappa": [4.0, 5.0]}, store="results")
    hx.open_sweep("results").upper  # 2.0, 3.618
    ```
    """
    xarray("open_sweep")
    check_path(path)
    check_bool(partial, "partial")
    store = Store(path)
    manifest = store.manifest()
    if manifest is None:
        above = store.path.parent
        hint = f" Name the folder above it, {above}." if (above / "sweep.json").exists() else ""
        raise StoreError(f"`path`: {path} holds no sweep (there is no sweep.json in it).{hint}")
    store.verify(manifest)
    number = manifest.blocks.number
    marked = store.marked(manifest)
    there = [k for k in marked if store.done(manifest, k) is not None]
    damaged = [file for k in marked if (file := store.damage(manifest, k)) is not None]
    state, advice = f"{len(there)} of {number} blocks are there", "Run the same sweep again to"
    if damaged:
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        state = f"{damaged[0]} is damaged{more}: {state}"
        if partial:
            warn(f"{state}. {advice} mend it.", SweepWarning)
    if len(there) < number and not partial:
        kind = StoreCorrupt if damaged else StoreError
        state = state if damaged else f"{path} is unfinished: {state}"
        raise kind(f"{state}. {advice} complete it, or open what there is with `partial=True`.")
    try:
        check_zarr(store.data, "store", StoreCorrupt)
        return dataset_of(store, manifest, there, partial)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, StoreError) or not store.damaged(manifest):
            raise
        text = f"{path} was replaced or removed while it was opened. Open it again."
        raise StoreError(text) from error


def dataset_of(
    store: Store, manifest: Manifest, there: list[int], partial: bool = False
) -> Dataset:
    """The dataset in a store, of which the blocks `there` are read when they are looked at, and
    all others are blank. `partial`: so are blocks that have been damaged or replaced by then;
    otherwise reading them raises StoreCorrupt."""
    xr = xarray("open_sweep")
    from .zarr import Shown  # late: it takes zarr, which is optional

    source = Shown(store, manifest, there, partial)
    dataset = xr.open_zarr(source, zarr_format=3, consolidated=False)
    return named(dataset[[variable.name for variable in manifest.variables]])
