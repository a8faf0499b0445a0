"""A sweep as a picture that answers: what is drawn of it, before anything is drawn.

    dataset        kappa x init.saliency[0] x tau x seed
    a map          over kappa and init.saliency[0], one for each place of the sliders
    sliders        tau
    over seeds     averaged, as in `hopfax.plots.overview`

Every shown point knows its place in the dataset, by which its run is found. Of many points as many
are shown as a page can hold, evenly spread; which, is said in a note.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ... import _status
from ..._types import Dataset
from .._axes import label
from .._dense import is_diagram
from .._grid import (
    GAPS,
    NO_VALUE,
    SHARE,
    Scale,
    coordinates,
    dims_of,
    error_of,
    flags_of,
    gaps,
    ordered,
    over_seeds,
    scalars,
    scale,
    sides,
    spread,
    states,
    unstructured,
    values_of,
    without_single,
)
from .._paint import fills_of, range_of
from .._rate import DESIGN
from ._lines import Curve, over_axis, over_cloud, over_map

#: Points that are shown at once, and in all; values of all sliders together; variables.
CELLS, POINTS, SLICES, VARIABLES = 16_384, 65_536, 64, 12


class Variable(NamedTuple):
    """One output of all shown points: (slices, cells), NaN where there is no value.

    `short`, `label`: what it is. `why`: codes into `GAPS`. `error`: standard errors over seeds,
    None without. `words`: the meanings of codes, empty for numbers; `colours`: of these. `range`:
    the numbers at the ends of the colours.
    """

    name: str
    short: str
    label: str
    values: np.ndarray
    why: np.ndarray
    error: np.ndarray | None
    words: dict[int, str]
    colours: dict[int, str]
    range: tuple[float, float]


class Slider(NamedTuple):
    """A further axis: its name, its label, and its values as they are written."""

    dim: str
    label: str
    values: list[str]


class Diagram(NamedTuple):
    """What is shown of a sweep.

    `kind`: "map", "axis" or "cloud". `x`, `y`: scales, `y` None over one axis; of a map the cells
    go along x first. `lines`: of the theory, for every slice. `status`: codes (slices, cells).
    `places`: for every axis of the dataset, in its order, where the shown values lie in it:
    ("x" | "y" | "slider" | "fixed", places). `others`: further coordinates of each cell of a cloud.
    """

    kind: str
    x: Scale
    y: Scale | None
    sliders: list[Slider]
    variables: list[Variable]
    status: np.ndarray
    lines: list[list[Curve]]
    places: dict[str, tuple[str, np.ndarray]]
    others: dict[str, np.ndarray]
    notes: list[str]


def diagram_of(dataset: Dataset, *, theory: bool = True) -> Diagram:
    """What is shown of a sweep. **Raises:** ValueError for one with nothing to show."""
    if not scalars(dataset) or 0 in (dataset.sizes[dim] for dim in dims_of(dataset)):
        raise ValueError(f"`dataset` has nothing to draw: {dict(dataset.sizes)}.")
    places = {dim: ("fixed", _order(dataset, dim)) for dim in dims_of(dataset)}
    averaged, seeds = over_seeds(ordered(dataset))
    shown, single = without_single(averaged)
    notes = [
        text for text in (single and f"Fixed: {single}.", seeds and f"Shown: {seeds}.") if text
    ]
    if "seed" in dims_of(dataset) and "seed" not in dims_of(shown) and seeds:
        notes[-1] = notes[-1].replace("Shown:", "Shown is the")
    kind = "axis" if len(dims_of(shown)) == 1 else "map"
    kind = "cloud" if unstructured(shown) else kind
    across, up, sliders = _roles(shown, kind)
    kept = _kept(shown, across, up, sliders)
    notes += _left_out(shown, kept)
    shown = shown.isel(kept)
    roles = {across: "x", up: "y"} | dict.fromkeys(sliders, "slider")
    for dim, at in kept.items():
        places[dim] = (roles[dim], places[dim][1][at])
    for dim in places.keys() - kept.keys():
        places[dim] = ("seed" if dim == "seed" and seeds else "fixed", places[dim][1])
    x, y = _scales(shown, kind, across, up)
    slices = _slices(shown, sliders)
    lines = [_theory(part, kind, x, y) if theory else [] for part in slices]
    order = [*sliders, *([up] if up else []), across]
    names = _names(shown, kind)
    notes += _unshown(dataset, shown, names)
    variables = [_variable(shown, name, order, len(slices)) for name in names]
    status = shown["status"].values if "status" in shown else states(shown) * 0
    status = _arranged(shown, np.asarray(status), order, len(slices))
    told = [Slider(dim, label(dim), _written(shown, dim)) for dim in sliders]
    others = {} if kind != "cloud" else _others(shown, across, (x, y))
    return Diagram(kind, x, y, told, variables, status, lines, places, others, notes)


def _order(dataset: Dataset, dim: str) -> np.ndarray:
    """Where the values of an axis lie in the dataset, in the order in which they are drawn."""
    count = np.arange(dataset.sizes[dim])
    if dim not in coordinates(dataset, dim):
        return count
    before, after = dataset[dim].values, ordered(dataset)[dim].values
    return count if np.array_equal(before, after) else np.argsort(before, kind="stable")


def _roles(dataset: Dataset, kind: str) -> tuple[str, str, list[str]]:
    """The axes along x and y ("" for none), and those of the sliders."""
    dims = dims_of(dataset)
    if kind != "map":
        return dims[0], "", []
    x, y = sides(dataset)
    return x, y, [dim for dim in dims if dim not in (x, y)]


def _kept(dataset: Dataset, x: str, y: str, sliders: list[str]) -> dict[str, np.ndarray]:
    """The places along every axis that are shown."""
    sizes = {dim: dataset.sizes[dim] for dim in (*sliders, x, *([y] if y else []))}
    most = dict(sizes)
    while math.prod(most[dim] for dim in sliders) > SLICES:
        longest = max(sliders, key=lambda dim: most[dim])
        most[longest] -= 1
    number = max(math.prod(most[dim] for dim in sliders), 1)
    cells = min(CELLS, POINTS // number)
    total = math.prod(sizes[dim] for dim in (x, y) if dim)
    if total > cells and y:
        short, long = sorted((x, y), key=lambda dim: sizes[dim])
        share = math.sqrt(cells / total)
        most[short] = max(min(sizes[short], round(sizes[short] * share)), min(sizes[short], 32))
        most[long] = max(cells // most[short], 1)
    elif total > cells:
        most[x] = cells
    return {dim: spread(size, most[dim]) for dim, size in sizes.items()}


def _left_out(dataset: Dataset, kept: dict[str, np.ndarray]) -> list[str]:
    parts = [
        f"{len(at):,} of {dataset.sizes[dim]:,} values of {label(dim)}"
        for dim, at in kept.items()
        if len(at) < dataset.sizes[dim]
    ]
    if not parts:
        return []
    return [f"Of this sweep {' and '.join(parts)} are shown, evenly spread; the tables count all."]


def _unshown(dataset: Dataset, shown: Dataset, names: list[str]) -> list[str]:
    """The outputs that are not shown, and why."""
    numbers = [name for name in scalars(shown) if name not in names]
    arrays = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if set(dims_of(dataset)) < set(map(str, variable.dims))
    ]
    notes = []
    if numbers:
        notes.append(f"Outputs beyond the first {VARIABLES} are not shown: {', '.join(numbers)}.")
    if arrays:
        notes.append(
            f"Outputs with several numbers a point are not shown: {', '.join(arrays)}. "
            "hopfax.open_sweep reads them."
        )
    return notes


def _names(dataset: Dataset, kind: str) -> list[str]:
    """The outputs to show: what says most first, solver steps last."""
    names = scalars(dataset)
    if "status" not in names and "status" in dataset and (states(dataset) != 0).any():
        names.append("status")
    shares = [name for name in names if name.startswith(SHARE)]
    first = [name for name in ("regime", "storage") if name in names] + shares
    if is_diagram(dataset):
        first = ["overlap"]
    if kind == "axis":  # where a regime is a band, whatever else is shown
        codes = [name for name in first if flags_of(dataset[name])]
        first = [name for name in ("dwell", *first) if name in names and name not in codes]
        names = [name for name in names if name not in codes] + codes
    last = [name for name in ("status", "steps") if name in names]
    rest = [name for name in names if name not in (*first, *last)]
    return [*first, *rest, *last][:VARIABLES]


def _variable(dataset: Dataset, name: str, order: list[str], slices: int) -> Variable:
    values, flags = values_of(dataset, name), flags_of(dataset[name])
    present = values[~np.isnan(values)]
    fills = fills_of(flags)
    low, high = range_of(name, present)
    if is_diagram(dataset) and name in ("overlap", "simulated"):
        low, high = (-1.0 if low < -0.1 else 0.0), 1.0
    error, why = error_of(dataset, name), gaps(dataset, name)
    if flags and (-1 in flags) and name == "status":
        why = np.where(why == NO_VALUE, 0, why)

    def arranged(array: np.ndarray) -> np.ndarray:
        return _arranged(dataset, array, order, slices)

    return Variable(
        name,
        *_labels(dataset, name),
        arranged(values),
        arranged(why),
        None if error is None else arranged(error),
        dict(flags),
        {code: fills[word] for code, word in flags.items()},
        (low, high),
    )


def _labels(dataset: Dataset, name: str) -> tuple[str, str]:
    """What an output is, in few words and in more: what the dataset says of it comes first, since
    a name may mean something else there."""
    variable, plain = dataset[name], name.replace("_", " ")
    long = str(variable.attrs.get("long_name", ""))
    if long and not flags_of(variable) and not long.startswith("mean of "):
        return plain, f"{plain} ({long})"
    return label(name), label(name)


def _arranged(dataset: Dataset, values: np.ndarray, order: list[str], slices: int) -> np.ndarray:
    """Values over the axes of a dataset as (slices, cells)."""
    dims = dims_of(dataset)
    return np.transpose(values, [dims.index(dim) for dim in order]).reshape(slices, -1)


def _scales(dataset: Dataset, kind: str, x: str, y: str) -> tuple[Scale, Scale | None]:
    if kind == "cloud":
        names = coordinates(dataset, x)[:2]
        first, second = (Scale(n, label(n), dataset[n].values.astype(float)) for n in names)
        return (second, first) if second.name == "kappa" else (first, second)
    return _scale(dataset, x), _scale(dataset, y) if y else None


def _scale(dataset: Dataset, dim: str) -> Scale:
    found = scale(dataset, dim)
    if found.name in DESIGN and "storage" in dataset:
        return found._replace(label=DESIGN[found.name][1])
    return found


def _slices(dataset: Dataset, sliders: list[str]) -> list[Dataset]:
    """The parts of a dataset at all places of the sliders, the last one fastest."""
    sizes = [dataset.sizes[dim] for dim in sliders]
    return [
        dataset.isel(dict(zip(sliders, map(int, at), strict=True))) for at in np.ndindex(*sizes)
    ]


def _theory(part: Dataset, kind: str, x: Scale, y: Scale | None) -> list[Curve]:
    if y is None:
        return over_axis(part, x)
    return over_cloud(part, x, y) if kind == "cloud" else over_map(part, x, y)


def _written(dataset: Dataset, dim: str) -> list[str]:
    """The values along an axis, in words: those of all its coordinates."""
    found = []
    names = coordinates(dataset, dim)[:3]
    for k in range(dataset.sizes[dim]):
        parts = [_word(dataset, name, k) for name in names]
        texts = [
            part if name == dim else f"{label(name)} {part}"
            for name, part in zip(names, parts, strict=True)
        ]
        found.append(", ".join(texts) or f"no. {k}")
    return found


def _word(dataset: Dataset, name: str, k: int) -> str:
    value = dataset[name].values[k]
    words = flags_of(dataset[name])
    return words.get(int(value), "") if words else f"{float(value):.5g}"


def _others(dataset: Dataset, dim: str, drawn: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """The further coordinates of the points of a cloud."""
    known = {one.name for one in drawn}
    names = [name for name in coordinates(dataset, dim) if name not in known]
    return {label(name): dataset[name].values.astype(float) for name in names}


def statuses(dataset: Dataset) -> list[tuple[str, int, str]]:
    """How many points of a dataset ended with each status: its name, their number, its meaning."""
    if "status" not in dataset:
        return []
    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    rows = {int(code): int(count) for code, count in zip(codes, counts, strict=True)}
    rows.setdefault(_status.OK, 0)
    return [
        (_status.name(code), rows[code], _status.meaning(code))
        for code in sorted(rows, key=lambda code: (code != _status.OK, code))
    ]


def gap_words() -> list[str]:
    """Why a point shows no value, by the codes of `Variable.why`."""
    return list(GAPS)
