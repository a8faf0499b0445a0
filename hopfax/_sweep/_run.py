"""`sweep`: run every point of a grid and label the results."""

import collections
import hashlib
import importlib.metadata
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import numpy as np

from .. import _status
from .._errors import SweepFailed, SweepWarning, check_option, missing
from .._lanes import output_shapes, run_lanes, tile_width
from .._progress import progress as progress_bar
from ..networks import check_domain
from ..observables import regime_attributes
from ..patterns import as_key
from ._grid import Axis, lanes, parse
from ._point import FunctionPoint, Point
from ._store import prepare, write

_TIME = "fast time constants"
_UNITS = {"tau": _TIME, "dwell": _TIME, "kappa": "1", "bias": "1", "steps": "1"}


def sweep(
    point: Point | Callable,
    grid: Mapping[Any, Any],
    *,
    key: jax.Array | None = None,
    tile: int | None = None,
    store: Any = None,
    overwrite: bool = False,
    on_failure: Literal["warn", "raise", "ignore"] = "warn",
    progress: bool | Literal["auto"] = "auto",
) -> Any:
    """Run a point at every value of a grid.

    Points run in tiles of fixed width, each one compiled program, so one sweep compiles once. A bad
    point costs nothing but itself: it gets a status and NaN, and moves no other point's bits.

    **Arguments:**

    - `point`: a `Point`, or any pure function of named arguments that returns an array, a dict of
      arrays or a NamedTuple (and may take a `key`).
    - `grid`: `{"kappa": values, "init.saliency[0]": values}` makes the product of its axes; a
      tuple zips: `{("kappa", "tau"): (values, values)}`. Values may have further axes where the
      parameter does.
    - `key`: one PRNG key; point g (row-major index) draws from `fold_in(fold_in(key, tag), g)`.
    - `tile`: points computed together (256 on CPU, 65536 elsewhere); results can depend on it in
      the last bits, on nothing else of the machine's load or size.
    - `store`: a folder to write to as zarr; checked before anything is computed. An earlier sweep
      there is replaced only with `overwrite`.
    - `on_failure`: what to do, at the end, if points failed: "warn", "raise" or "ignore".
    - `progress`: a bar; "auto" shows it on a terminal.

    **Returns:** an `xarray.Dataset` with the grid as coordinates, every output as a variable, and
    `status` (see `hopfax.STATUS`); its attributes hold all settings and versions.

    **Raises:** ValueError/TypeError before anything is compiled; StoreError; with
    `on_failure="raise"` SweepFailed, its `.dataset` holding what there is.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise missing("xarray", "io", "sweep") from error
    check_option(on_failure, "on_failure", ("warn", "raise", "ignore"))
    tile = tile_width() if tile is None else tile
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 1:
        raise ValueError(f"`tile` must be a positive int, got {tile!r}.")
    axes = parse(grid)
    function = _function(point, axes, key)
    key = None if key is None else as_key(key)
    path = None if store is None else prepare(store, overwrite)
    values = lanes(axes)
    total = len(next(iter(values.values())))
    if total == 0:
        shapes = output_shapes(function, values, key)
        outputs = jax.tree.map(lambda s: np.zeros((0, *s.shape), s.dtype), shapes)
    else:
        outputs = _run(function, values, key, tile, total, progress)
    outputs = _blank(outputs)
    dataset = xr.Dataset(
        _variables(outputs, axes), _coordinates(axes), _attributes(point, tile, key)
    )
    if path is not None:
        write(dataset, path)
    _report(dataset, on_failure)
    return dataset


def _function(point, axes: list[Axis], key) -> Callable:
    names = [name for axis in axes for name in axis.values]
    if not isinstance(point, Point):
        if not callable(point):
            raise TypeError(f"`point` must be a hopfax.Point or a function, got {point!r}.")
        function = FunctionPoint(point, names)
        if function.wants_key and key is None:
            raise ValueError("the function takes a `key`: pass sweep(..., key=jax.random.key(0)).")
        return function
    check_domain(point.network)
    for axis in axes:
        for name, array in axis.values.items():
            _, _, shape = point.target(name)
            if array.ndim > 1 and array.shape[1:] != shape:
                raise ValueError(
                    f"axis {name!r} has values of shape {array.shape[1:]}, but the parameter has "
                    f"shape {shape}."
                )
    if point.noise is not None and key is None:
        raise ValueError("a point with `noise` needs sweep(..., key=jax.random.key(seed)).")
    if point.noise is None and key is not None:
        raise ValueError("`key` is given, but the point has no `noise`.")
    return point


def _run(function, values, key, tile, total, show) -> dict[str, Any]:
    failed: collections.Counter = collections.Counter()
    with progress_bar(total, "point", show) as bar:

        def done(out):
            codes, counts = np.unique(out["status"], return_counts=True)
            failed.update({int(c): int(k) for c, k in zip(codes, counts, strict=True) if c})
            if failed:
                listed = ", ".join(f"{k} {_status.name(c)}" for c, k in sorted(failed.items()))
                bar.set_postfix_str(listed)
            bar.update(len(out["status"]))

        with warnings.catch_warnings():
            # A start that cannot move and the like: said once for the sweep, not once a trace.
            warnings.simplefilter("once")
            return run_lanes(function, values, key=key, tile=tile, done=done)


def _blank(outputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """NaN (or -1) wherever the status is not OK; nested outputs get joined names."""
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(outputs):
        parts = [str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path]
        flat["_".join(parts)] = np.asarray(leaf)
    good = np.isin(flat["status"], (_status.OK, _status.STOPPED_BY_EVENT))
    for name, leaf in flat.items():
        if name in ("status", "steps"):
            continue
        mask = good.reshape(good.shape + (1,) * (leaf.ndim - 1))
        if np.issubdtype(leaf.dtype, np.floating):
            flat[name] = np.where(mask, leaf, np.nan).astype(leaf.dtype)
        elif np.issubdtype(leaf.dtype, np.signedinteger):
            flat[name] = np.where(mask, leaf, -1).astype(leaf.dtype)
    return flat


def _variables(outputs: dict[str, np.ndarray], axes: list[Axis]) -> dict[str, tuple]:
    shape, dims = tuple(axis.size for axis in axes), tuple(axis.dim for axis in axes)
    variables = {}
    for name, leaf in outputs.items():
        inner = tuple(f"{name}_{k}" for k in range(leaf.ndim - 1))
        attributes: dict[str, Any] = {"units": _UNITS[name]} if name in _UNITS else {}
        if name == "status":
            attributes = _status.attributes()
        elif name == "regime":
            attributes = regime_attributes()
        variables[name] = (dims + inner, leaf.reshape(shape + leaf.shape[1:]), attributes)
    return variables


def _coordinates(axes: list[Axis]) -> dict[str, tuple]:
    coordinates = {}
    for axis in axes:
        for name, array in axis.values.items():
            inner = tuple(f"{name}_{k}" for k in range(array.ndim - 1))
            units = {"units": _UNITS[name]} if name in _UNITS else {}
            if array.ndim == 1 or name != axis.dim:
                coordinates[name] = ((axis.dim, *inner), array, units)
            else:
                coordinates[f"{name}_value"] = ((axis.dim, *inner), array, units)
    return coordinates


def _attributes(point, tile: int, key) -> dict[str, Any]:
    version = importlib.metadata.version("hopfax")
    versions = {
        "hopfax": version,
        "jax": jax.__version__,
        "diffrax": diffrax.__version__,
        "equinox": eqx.__version__,
    }
    device = jax.devices()[0]
    name = getattr(point, "__qualname__", type(point).__name__)
    attributes = {
        "hopfax_version": version,
        "title": f"hopfax sweep of {name}",
        "versions": json.dumps(versions),
        "device": f"{device.platform}: {device.device_kind}",
        "tile": tile,
        "x64": int(jax.config.read("jax_enable_x64")),
        "key": "" if key is None else str(jax.random.key_data(key).tolist()),
    }
    if isinstance(point, Point):
        attributes["settings"] = json.dumps(_settings(point))
        attributes["network"] = type(point.network).__name__
    return attributes


def _settings(point: Point) -> dict[str, Any]:
    """Every value of a point: small arrays listed, large ones by shape and checksum."""
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(point):
        where = jax.tree_util.keystr(path).lstrip(".")
        if not isinstance(leaf, jax.Array | np.ndarray):
            found[where] = repr(leaf)
            continue
        array = np.asarray(leaf)
        if array.size <= 256:
            found[where] = array.tolist()
        else:
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            found[where] = {"shape": array.shape, "dtype": str(array.dtype), "sha256": digest}
    network = point.network
    for name in ("readout", "learning", "keep_diagonal"):
        if hasattr(network, name):
            found[name] = getattr(network, name)
    found["activation"] = type(network.activation).__name__
    found["observe"] = getattr(point.observe, "__qualname__", type(point.observe).__name__)
    return found | {"per_tau": point.per_tau, "max_steps": point.max_steps}


def _report(dataset: Any, on_failure: str) -> None:
    status = dataset["status"].values
    bad = ~np.isin(status, (_status.OK, _status.STOPPED_BY_EVENT))
    if not bad.any() or on_failure == "ignore":
        return
    codes, counts = np.unique(status[bad], return_counts=True)
    listed = ", ".join(
        f"{count} {_status.name(int(code))}" for code, count in zip(codes, counts, strict=True)
    )
    where = ", ".join(str(tuple(map(int, index))) for index in np.argwhere(bad)[:5])
    text = f"{int(bad.sum())} of {status.size} points failed ({listed}); first at index {where}."
    if on_failure == "raise":
        raise SweepFailed(text, dataset)
    advice = _status.meaning(int(codes[np.argmax(counts)]))
    warnings.warn(f"{text} Most often: {advice}.", SweepWarning, stacklevel=3)
