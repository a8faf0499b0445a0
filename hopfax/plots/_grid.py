"""A sweep's dataset, read for drawing: its axes, gaps, replicates and selections.

Only the dataset is looked at, never the point that was swept, so what is drawn of a sweep can be
drawn as well of one that was stored, or made elsewhere.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _status
from .._types import Dataset
from ..observables import REGIMES
from ._axes import Axes, label, symbol

if TYPE_CHECKING:
    from xarray import DataArray
else:
    DataArray = Any

#: Why a point has no colour: its place here is the code that `gaps` gives.
GAPS = ("", "failed", "not run", "no value")
FAILED, NOT_RUN, NO_VALUE = 1, 2, 3
#: How the names of variables begin that are shares of seeds.
SHARE = "share of"
#: How the names of coordinates begin that are standard errors of means over seeds.
ERROR = "error of"
_FEW = 6  # values of an axis
_STATUS = {code: name for code, (name, _) in _status.STATUS.items()}


class Scale(NamedTuple):
    """The coordinate along one side of a picture; without a name it only counts the points. `words`
    are what its values stand for, if they do."""

    name: str
    label: str
    values: np.ndarray
    words: tuple[str, ...] = ()

    @property
    def log(self) -> bool:
        """Whether to draw the values on a logarithmic axis.

        That is if they are positive, span a decade or more, and are spread more evenly in their
        logarithm: if their median is closer to the geometric middle than to the arithmetic one. Of
        a few values the median says little: the steps of their logarithm must agree within a factor
        of 2, as those of 1, 3, 10 do and those of 1, 2, 10 do not.
        """
        values = self.values[np.isfinite(self.values)]
        if values.size < 3 or values.min() <= 0 or values.max() < 10 * values.min():
            return False
        if values.size < _FEW:
            steps = np.diff(np.log(np.sort(values)))
            return bool(steps.max() <= 2 * steps.min() * (1 + 1e-9))  # but for rounding
        low, high = values.min(), values.max()
        middles = np.sqrt(low * high), (low + high) / 2
        return bool(np.median(values) < np.sqrt(middles[0] * middles[1]))

    @property
    def edges(self) -> np.ndarray:
        """The borders of cells around the values, halfway between neighbours.

        The values must be monotone.
        """
        values = np.log(self.values) if self.log else self.values
        if len(values) == 1:
            return values + np.array([-0.5, 0.5])
        steps = np.diff(values) / 2
        steps = np.concatenate([steps[:1], steps])
        borders = np.concatenate([values - steps, [values[-1] + steps[-1]]])
        return np.exp(borders) if self.log else borders

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest border of a cell."""
        return float(self.edges.min()), float(self.edges.max())

    def label_axis(self, ax: Axes, side: str) -> None:
        """Label the side "x" or "y" of an Axes, and make it logarithmic if this is."""
        ax.set(**{f"{side}label": self.label, f"{side}scale": "log" if self.log else "linear"})
        if self.words:
            ax.set(**{f"{side}ticks": self.values, f"{side}ticklabels": self.words})
        if not self.name:
            getattr(ax, f"{side}axis").get_major_locator().set_params(integer=True)


def dims_of(dataset: Dataset) -> tuple[str, ...]:
    """The names of a sweep's axes: the dimensions of `status`, or else of its first variable."""
    if "status" in dataset:
        return tuple(map(str, dataset["status"].dims))
    first = next(iter(dataset.data_vars.values()), None)
    return () if first is None else tuple(map(str, first.dims))


def scalars(dataset: Dataset) -> list[str]:
    """The variables that are one number at every point; `status` only if some point failed.

    If there is no other, `status` alone.
    """
    dims = set(dims_of(dataset))
    names = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if set(map(str, variable.dims)) == dims and variable.dtype.kind in "biuf"
    ]
    if "status" in names and not (states(dataset) == FAILED).any() and len(names) > 1:
        names.remove("status")
    return names


def has_regime(dataset: Dataset) -> bool:
    """Whether every point has a regime."""
    return "regime" in scalars(dataset)


def states(dataset: Dataset) -> np.ndarray:
    """A code for every point: 0 if it is fine, else `FAILED` or `NOT_RUN`."""
    if "status" not in dataset:
        sizes = [dataset.sizes[dim] for dim in dims_of(dataset)]
        return np.zeros(sizes, int)
    status = dataset["status"].values
    good = np.isin(status, (_status.OK, _status.STOPPED_BY_EVENT))
    return np.where(good, 0, np.where(status == _status.NOT_RUN, NOT_RUN, FAILED))


def gaps(dataset: Dataset, name: str) -> np.ndarray:
    """A code into `GAPS` for every point: 0 if `name` has a value there, else why it has none."""
    found = states(dataset)
    if name == "status":
        return np.where(found == NOT_RUN, NOT_RUN, 0)
    variable = dataset[name].transpose(*dims_of(dataset))
    values, flags = np.asarray(variable.values), flags_of(dataset[name])
    good = np.isin(values, list(flags)) if flags else np.isfinite(values)
    return np.where((found == 0) & ~good, NO_VALUE, found)


def values_of(dataset: Dataset, name: str) -> np.ndarray:
    """The variable `name` as floats, over the dataset's axes, NaN where it has no value."""
    variable = dataset[name].transpose(*dims_of(dataset))
    return np.where(gaps(dataset, name) == 0, variable.values.astype(float), np.nan)


def error_of(dataset: Dataset, name: str) -> np.ndarray | None:
    """The standard errors of means over seeds, over the dataset's axes; None without seeds."""
    if f"{ERROR} {name}" not in dataset.coords:
        return None
    return np.asarray(dataset[f"{ERROR} {name}"].transpose(*dims_of(dataset)).values)


def flags_of(variable: DataArray) -> dict[int, str]:
    """The codes that a variable can have and their meanings; empty if it holds numbers."""
    if variable.dtype.kind == "b":
        return {0: "no", 1: "yes"}
    meanings = variable.attrs.get("flag_meanings")
    if variable.dtype.kind not in "iu":
        return {}
    if meanings is None:
        return {"regime": dict(enumerate(REGIMES)), "status": _STATUS}.get(str(variable.name), {})
    codes = np.atleast_1d(np.asarray(variable.attrs["flag_values"])).tolist()
    return dict(zip(codes, meanings.split(), strict=True))


def coordinates(dataset: Dataset, dim: str) -> list[str]:
    """The names of the one-dimensional coordinates along `dim`, its own first."""
    names = [
        str(name)
        for name, value in dataset.coords.items()
        if value.dims == (dim,) and not str(name).startswith(ERROR)
    ]
    return sorted(names, key=lambda name: name != dim)


def scale(dataset: Dataset, dim: str) -> Scale:
    """The scale of the axis `dim`: its first monotone coordinate, or else a count of its points."""
    names = coordinates(dataset, dim)
    for name in names:
        values = dataset[name].values.astype(float)
        steps = np.diff(values)
        if np.isfinite(values).all() and ((steps > 0).all() or (steps < 0).all()):
            rest = ", ".join(symbol(other) for other in names if other != name)
            text = label(name) + (f" and {rest}" if rest else "")
            words = flags_of(dataset[name])
            return Scale(name, text, values, tuple(words.get(int(v), "") for v in values if words))
    count = np.arange(dataset.sizes[dim], dtype=float)
    return Scale("", f"number along {dim.replace('_', ' ')}", count)


def unstructured(dataset: Dataset) -> bool:
    """Whether a sweep is a cloud of points: over one axis of several parameters, none monotone."""
    dims = dims_of(dataset)
    return (
        len(dims) == 1
        and len(coordinates(dataset, dims[0])) > 1
        and scale(dataset, dims[0]).name == ""
    )


def sides(dataset: Dataset) -> tuple[str, str]:
    """The axes to draw along x and y: gain and start saliency, or else the longest two, in their
    order."""
    dims = dims_of(dataset)
    longest = sorted(dims, key=lambda dim: -dataset.sizes[dim])
    starts = [dim for dim in dims if dim.startswith("init.saliency[")]
    if "kappa" in dims:
        return "kappa", next(dim for dim in starts + longest if dim != "kappa")
    if len(starts) == 1:
        return next(dim for dim in longest if dim != starts[0]), starts[0]
    first, second = (dim for dim in dims if dim in longest[:2])
    return first, second


def ordered(dataset: Dataset) -> Dataset:
    """The dataset with every axis sorted by its own coordinate, where its values are distinct."""
    for dim in dims_of(dataset):
        if dim in coordinates(dataset, dim) and scale(dataset, dim).name == "":
            values = dataset[dim].values
            if np.unique(values).size == values.size and np.isfinite(values).all():
                dataset = dataset.sortby(dim)
    return dataset


def without_single(dataset: Dataset) -> tuple[Dataset, str]:
    """The dataset without its axes of a single value (but one at least), and these for a title."""
    dims = dims_of(dataset)
    single = [dim for dim in dims if dataset.sizes[dim] == 1]
    if len(single) == len(dims):
        single = single[1:]
    parts = [part for dim in single if dim != "seed" for part in here(dataset, dim, 0)]
    return dataset.isel(dict.fromkeys(single, 0)), ", ".join(parts)


def over_seeds(dataset: Dataset) -> tuple[Dataset, str]:
    """The dataset averaged over its axis `seed`, and a remark for a title.

    Numbers become their mean over the seeds that have one; `error_of` has its standard error. Codes
    have no mean: `regime` becomes the share of seeds with a sequence, other codes (and a `regime`
    without any sequence) the share of seeds with the most frequent code; shares come first. A point
    counts as run if one of its seeds succeeded.
    """
    dims = dims_of(dataset)
    if "seed" not in dims or len(dims) == 1:
        return dataset, ""
    number, state = dataset.sizes["seed"], states(dataset)
    axis, found, errors = dims.index("seed"), {}, {}
    rest = tuple(dim for dim in dims if dim != "seed")
    for name in (name for name in scalars(dataset) if name != "status"):
        variable, values = dataset[name], values_of(dataset, name)
        flags = flags_of(variable) if variable.dtype.kind != "b" else {}
        attrs = {key: text for key, text in variable.attrs.items() if not key.startswith("flag_")}
        if flags:
            counts = {word: int((values == code).sum()) for code, word in flags.items()}
            word = max(counts, key=lambda w: (w == "sequence" and counts[w] > 0, counts[w]))
            code = next(code for code, other in flags.items() if other == word)
            values = np.where(np.isnan(values), np.nan, values == code)
            name, attrs = f"{SHARE} {word}", {}
        average, spread = _average(values, axis)
        found[name] = (rest, average, attrs)
        errors[f"{ERROR} {name}"] = (rest, spread)
    if "status" in dataset:
        status = dataset["status"].values
        worst = np.where((status == _status.NOT_RUN).any(axis), _status.NOT_RUN, status.max(axis))
        code = np.where((state == 0).any(axis), _status.OK, worst)
        found["status"] = (rest, code, dataset["status"].attrs)
    found = {name: found[name] for name in sorted(found, key=lambda n: not n.startswith(SHARE))}
    mean = dataset.drop_vars([*dataset.data_vars, *coordinates(dataset, "seed")]).assign(found)
    mean = mean.assign_coords(errors)
    text = f"mean over {number} seeds" if number > 1 else ""
    return mean, text + (", of those that succeeded" if text and state.any() else "")


def _average(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean along an axis of what is not NaN, and its standard error, NaN for less than two."""
    good = ~np.isnan(values)
    some = good.sum(axis)
    average = np.where(
        some > 0, np.where(good, values, 0.0).sum(axis) / np.maximum(some, 1), np.nan
    )
    apart = np.where(good, values - np.expand_dims(average, axis), 0.0)
    variance = np.square(apart).sum(axis) / np.maximum(some - 1, 1)
    return average, np.where(some > 1, np.sqrt(variance / np.maximum(some, 1)), np.nan)


def most_along(dims: tuple[str, ...]) -> dict[str, int]:
    """How many values of each axis the panels of a figure can show: at most 16 panels in all."""
    number = len(dims)
    most = {1: (8,), 2: (4, 4), 3: (2, 2, 4)}.get(number, (1,) * (number - 4) + (2,) * 4)
    return dict(zip(dims, most, strict=True))


def spread(size: int, most: int) -> np.ndarray:
    """At most `most` of the places 0 to `size` - 1, evenly spread, the first and last included."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


def here(dataset: Dataset, dim: str, place: int) -> list[str]:
    """The values of the coordinates at a place along `dim`, for a title: three of them at most."""
    names = coordinates(dataset, dim)
    parts = [f"{symbol(name)} = {float(dataset[name][place]):.4g}" for name in names]
    return parts[:3] + ["..."] * (len(parts) > 3) or [f"{dim} no. {place}"]


def shown(dataset: Dataset, dim: str, places: np.ndarray) -> str:
    """For a title: which values along `dim` are shown, and of how many; "" if all are."""
    size = dataset.sizes[dim]
    if len(places) == size:
        return ""
    names = coordinates(dataset, dim)
    values = dataset[names[0]].values[places] if names else places
    text = ", ".join(f"{float(value):.4g}" for value in values)
    return f"{symbol(names[0]) if names else dim} = {text} ({len(places)} of {size} values)"
