"""The labels of a sweep's dataset: coordinates, units, settings and versions."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np

from .. import _status
from .._errors import missing
from .._types import Dataset
from .._version import __version__
from ..observables import regime_attributes
from ..patterns import Patterns
from ._grid import Grid
from ._job import Variable
from ._point import Point
from ._recipe import Recipe

_FEW = 1024  # memories of which all pairs are compared
_LISTED = 256  # entries of an array that are written out
_TIME = "fast time constants"
_UNITS = {"tau": _TIME, "dwell": _TIME, "kappa": "1", "bias": "1", "steps": "1"}


def xarray(what: str) -> ModuleType:
    """The package xarray; ImportError, saying that `what` needs it, where it is not installed."""
    try:
        import xarray
    except ImportError as error:
        raise missing("xarray", "io", what) from error
    return xarray


def coordinates(grid: Grid, attributes: dict[str, Any]) -> Dataset:
    """A dataset of the grid's coordinates, without variables yet.

    Values that are arrays themselves are kept as `<name>_value` where the axis has their name,
    since xarray lets only a one-dimensional coordinate have the name of its dimension.
    """
    found = {}
    for axis in grid.axes:
        for name, array in axis.values.items():
            inner = tuple(f"{name}_{k}" for k in range(array.ndim - 1))
            units: dict[str, Any] = {"units": _UNITS[name]} if name in _UNITS else {}
            if array.dtype.kind == "U":
                array, units = coded(array)
            own = array.ndim == 1 or name != axis.dim
            found[name if own else f"{name}_value"] = ((axis.dim, *inner), array, units)
    return xarray("sweep").Dataset(coords=found, attrs=attributes)


def coded(words: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Words as whole numbers, and the attributes that say which stands for which; a file holds
    them like any others."""
    listed = list(dict.fromkeys(words.tolist()))
    codes = np.array([listed.index(word) for word in words.tolist()], np.int8)
    return codes, {"flag_values": list(range(len(listed))), "flag_meanings": " ".join(listed)}


def dims_of(variable: Variable, grid: Grid) -> tuple[str, ...]:
    """The names of a variable's dimensions: those of the grid, then its own."""
    numbered = tuple(f"{variable.name}_{k}" for k in range(len(variable.shape)))
    return grid.dims + (variable.dims or numbered)


def attributes_of(variable: Variable) -> dict[str, Any]:
    """The unit of a variable or the meanings of its codes, as data that can be written as JSON."""
    if variable.name in ("status", "regime"):
        found = _status.attributes() if variable.name == "status" else regime_attributes()
        found = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}
        return found | _long_name(variable.name, found)
    return {"units": _UNITS[variable.name]} if variable.name in _UNITS else {}


def _long_name(name: str, attrs: Mapping[str, Any]) -> dict[str, str]:
    """The names of codes, in the attribute that plots of xarray write beside their colours."""
    codes = np.atleast_1d(attrs["flag_values"]).tolist()
    pairs = zip(codes, str(attrs["flag_meanings"]).split(), strict=True)
    listed = ", ".join(f"{code} {word}" for code, word in pairs)
    return {"long_name": f"{name}: {listed}"}


def named(dataset: Dataset) -> Dataset:
    """A dataset whose variables of codes have their names in `long_name`, as `attributes_of` says;
    stores of earlier versions had not."""
    dataset = dataset.copy(deep=False)
    for variable in dataset.data_vars.values():
        if "flag_meanings" in variable.attrs:
            variable.attrs = variable.attrs | _long_name(str(variable.name), variable.attrs)
    return dataset


def attributes(
    point: Point | Callable, tile: int, key: jax.Array | None, axes: Iterable[str] = ()
) -> dict[str, Any]:
    """What a reader needs to know of how a dataset was made: settings, versions and device."""
    made = point.make if isinstance(point, Recipe) else point
    name = getattr(made, "__qualname__", type(made).__name__)
    found = {
        "title": f"hopfax sweep of {name}",
        **environment(),
        "tile": tile,
        "x64": int(jax.config.read("jax_enable_x64")),
        "key": "" if key is None else str(jax.random.key_data(key).tolist()),
    }
    if isinstance(point, Point):
        found["settings"] = json.dumps(_settings(point))
        found["network"] = type(point.network).__name__
        found["parameters"] = json.dumps(_parameters(point))
        if (crosstalk := _crosstalk(point)) is not None:
            found["crosstalk"] = crosstalk
        inputs = {name.partition(".")[0].partition("[")[0] for name in axes}
        driven = point.stimulus is not None or point.current is not None
        found["driven"] = int(driven or bool(inputs & {"stimulus", "current"}))
    return found


def environment() -> dict[str, Any]:
    """The versions and the device, on which the last bits can depend besides the settings."""
    versions = {
        "hopfax": __version__,
        "jax": jax.__version__,
        "diffrax": diffrax.__version__,
        "equinox": eqx.__version__,
    }
    device = jax.devices()[0]
    return {
        "hopfax_version": __version__,
        "versions": json.dumps(versions),
        "device": f"{device.platform}: {device.device_kind}",
    }


def changes(before: dict[str, str], now: dict[str, str], keys: list[str]) -> str:
    """How two environments differ in the entries `keys`, in words."""
    return "; ".join(f"{key}: {before.get(key)} then, {now[key]} now" for key in keys)


def _crosstalk(point: Point) -> float | None:
    """The largest overlap of two memories: theory holds for orthogonal ones. None where they are
    too many to compare."""
    patterns = point.network.patterns
    if not isinstance(patterns, Patterns) or patterns.P > _FEW:
        return None
    gram = np.array(patterns.gram(), dtype=float)
    np.fill_diagonal(gram, 0.0)
    return float(np.abs(gram).max(initial=0.0))


def _parameters(point: Point) -> dict[str, Any]:
    """The values of a point by the names that a grid uses, small arrays as lists."""
    leaves = jax.tree_util.tree_leaves_with_path(point.network)
    named = {jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in leaves}
    named |= {f"init.{name}": value for name, value in point.init.items()}
    named |= {} if point.noise is None else {"noise": point.noise}
    return {
        name: np.asarray(value).tolist()
        for name, value in named.items()
        if isinstance(value, jax.Array | np.ndarray) and value.size <= _LISTED
    }


def _settings(point: Point) -> dict[str, Any]:
    """Every value of a point by its place: small arrays as lists, large ones by their checksum."""
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(point):
        where = jax.tree_util.keystr(path).lstrip(".")
        if not isinstance(leaf, jax.Array | np.ndarray):
            found[where] = repr(leaf)
            continue
        array = np.asarray(leaf)
        if array.size <= _LISTED:
            found[where] = array.tolist()
        else:
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            found[where] = {"shape": array.shape, "dtype": str(array.dtype), "sha256": digest}
    found |= point.network.options()
    found["observe"] = getattr(point.observe, "__qualname__", type(point.observe).__name__)
    return found | {"per_tau": point.per_tau, "max_steps": point.max_steps}
