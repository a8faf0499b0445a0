"""Diagrams of dense memories: what is retrieved from which start at which load."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._errors import check_option
from .._interactions import ManyBody, Power
from .._types import Dataset
from ..theory import dense
from ._axes import Artist, Axes, Figure, Style, check_drawing, new_axes
from ._grid import gaps, ordered, values_of
from ._legends import legend_below
from ._paint import Paint, gap_handles, mesh, paint_of

if TYPE_CHECKING:
    from matplotlib.patheffects import AbstractPathEffect

ROUGH = 0.01  # a standard error above which a point is hatched
_NAMES = {"power": Power, "many_body": ManyBody}
_WORDS = {"power": "power", "many_body": "n-body"}
_CURVES = 200
PREDICTED = "#D55E00"  # the colour of what is predicted


def is_diagram(dataset: Dataset) -> bool:
    """Whether a dataset is a retrieval diagram, as `hopfax sweep --network dense` makes it."""
    inside = {"load", "m0", "order"} <= set(dataset.coords) and "overlap" in dataset
    return inside and dataset.attrs.get("interaction") in _NAMES


def retrieval_diagram(
    dataset: Dataset, ax: Axes | None = None, *, variable: str = "overlap", theory: bool = True
) -> Axes:
    r"""Draw a map of the overlap of a dense memory after some steps, over load and start overlap.

    Three lines are drawn over it: the capacity of the replica-symmetric theory; at loads below it
    (order >= 3) the unstable fixed point of the memoryless map; and the contour on which the
    overlap is 1/2, the edge of what is retrieved in that many steps. Hatched is where the standard
    error of the overlap is above 0.01: around that edge, and above the capacity.

    **Arguments:** `dataset`: with `overlap` and `error` over `load` (scaled,
    $\alpha' = \alpha K(1)$) and `m0`, a scalar coordinate `order`, and attributes `interaction`
    ("power" or "many_body") and `steps`. `ax`: where to draw. `variable`: "overlap", or
    "simulated". `theory`: whether to draw the predictions.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset that is no such diagram.

    **Example:**

    ```python
    import matplotlib.pyplot as plt
    import xarray

    load, m0 = np.linspace(0.02, 0.3, 8), np.linspace(0.1, 0.9, 9)
    overlap = 1.0 * (m0 > 0.2 + load[:, None])  # made up; `hopfax sweep --network dense` is exact
    values = {"overlap": (("load", "m0"), overlap), "error": (("load", "m0"), 0 * overlap)}
    axes = {"load": load, "m0": m0, "order": 3}
    ds = xarray.Dataset(values, axes, {"interaction": "power", "steps": 5})
    figure, ax = plt.subplots()
    hx.plots.retrieval_diagram(ds, ax, theory=False)
    plt.close(figure)
    ```
    """
    check_option(variable, "variable", ("overlap", "simulated"))
    check_drawing(dataset, ax=ax, theory=theory)
    if not is_diagram(dataset) or variable not in dataset or dataset[variable].ndim != 2:
        raise ValueError(
            f"`dataset` must have {variable!r} over load and m0 with one order and the attribute "
            f"`interaction`, got {dict(dataset.sizes)}."
        )
    ax = new_axes((6.0, 5.4)) if ax is None else ax
    dataset = ordered(dataset).transpose("load", "m0")
    mesh(ax, dataset, variable, paint(dataset, variable))
    handles = gap_handles(gaps(dataset, variable))
    load, start = dataset["load"].values, dataset["m0"].values
    values = values_of(dataset, variable)
    if variable == "overlap" and min(values.shape) > 1:
        handles += _half(ax, load, start, values)
        handles += _rough(ax, load, start, values_of(dataset, "error"))
    if theory:
        handles += _predicted(ax, dataset)
    ax.set_xlabel(r"load $\alpha' = \alpha\, K(1)$")
    ax.set_ylabel("start overlap $m_0$")
    order, word = int(dataset["order"]), _WORDS[dataset.attrs["interaction"]]
    title = f"$n = {order}$, {word}"
    if variable == "simulated":
        title = f"{title}: one run a point, $N = {dataset.attrs['neurons']}$"
    elif theory:
        title = rf"{title}: $\alpha'_c = {float(dense.capacity(_law(dataset)).scaled):.3f}$"
    ax.set_title(title, fontsize="medium")
    if handles:
        legend_below(ax, handles, 1)
    return ax


def diagrams(dataset: Dataset, figure: Figure, *, theory: bool = True) -> None:
    """Draw a retrieval diagram for every order, those of simulations below, in an empty figure."""
    rows = [name for name in ("overlap", "simulated") if name in dataset]
    orders = np.atleast_1d(dataset["order"].values)
    if "order" not in dataset.dims:
        dataset = dataset.expand_dims("order")
    figure.set_size_inches(4.4 * len(orders) + 1.2, 4.6 * len(rows) + 0.6)
    axes = figure.subplots(len(rows), len(orders), sharex=True, sharey=True, squeeze=False)
    for name, row in zip(rows, axes, strict=True):
        for k, ax in enumerate(row):
            retrieval_diagram(dataset.isel(order=k), ax, variable=name, theory=theory)
            ax.label_outer()
    paint(dataset.isel(order=0), "overlap").bar(figure, axes.ravel().tolist())
    found: dict[str, Artist] = {}
    for ax in axes.ravel():
        legend = ax.get_legend()
        if legend is not None:
            for handle in legend.legend_handles:
                found.setdefault(str(handle.get_label()), handle)
            legend.remove()
    if found:
        place: Style = dict(loc="outside lower center", ncols=2 if len(orders) > 1 else 1)
        figure.legend(handles=list(found.values()), fontsize="small", frameon=False, **place)


def paint(dataset: Dataset, name: str) -> Paint:
    """Colours for overlaps from 0 (or, if some are negative, -1) to 1, the same in all panels."""
    from matplotlib.colors import Normalize

    low = -1.0 if np.nanmin(values_of(dataset, "overlap"), initial=0.0) < -0.1 else 0.0
    text = f"overlap after {dataset.attrs['steps']} steps"
    return paint_of(dataset, name)._replace(label=text, norm=Normalize(low, 1.0))


def _law(dataset: Dataset) -> Power | ManyBody:
    """The interaction that a dataset is of."""
    return _NAMES[dataset.attrs["interaction"]](int(dataset["order"]))


def _half(ax: Axes, load: np.ndarray, start: np.ndarray, values: np.ndarray) -> list[Artist]:
    """Draw the contour on which the overlap is 1/2. Returns its entry of the legend."""
    from matplotlib.lines import Line2D

    style: Style = dict(colors="white", linewidths=1.4)
    ax.contour(load, start, np.ma.masked_invalid(values.T), levels=[0.5], **style)
    patch = Line2D([], [], color="white", lw=1.4, label="overlap 1/2", path_effects=_dark())
    return [patch]


def _dark() -> "list[AbstractPathEffect]":
    """A dark outline, so that a white line can be seen in a legend."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=2.6, foreground="0.3")]


def _rough(ax: Axes, load: np.ndarray, start: np.ndarray, error: np.ndarray) -> list[Artist]:
    """Hatch where the standard error is above `ROUGH`. Returns its entry of the legend."""
    from matplotlib.patches import Patch

    rough = np.nan_to_num(error) > ROUGH
    if not rough.any():
        return []
    drawn = ax.contourf(
        load, start, rough.T.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"]
    )
    drawn.set_edgecolor("white")
    drawn.set_linewidth(0.0)
    style: Style = dict(facecolor="0.5", edgecolor="white", hatch="////", lw=0)
    return [Patch(**style, label=f"standard error above {ROUGH:g}")]


class Prediction(NamedTuple):
    """A line that the theory predicts over load and start: without `start`, straight up."""

    text: str
    load: np.ndarray
    start: np.ndarray | None = None


def predictions(dataset: Dataset, low: float, high: float) -> list[Prediction]:
    """The replica-symmetric capacity and the unstable fixed point of the memoryless map, at loads
    between two."""
    interaction = _law(dataset)
    end = dense.capacity(interaction)
    critical, unit = float(end.scaled), float(end.scaled / end.load)
    found = []
    if low < critical < high:
        name = r"replica-symmetric capacity $\alpha'_c$"
        found.append(Prediction(name, np.array([critical])))
    loads = np.linspace(max(low, 1e-6), min(critical, high) * (1 - 1e-9), _CURVES)
    if interaction.order > 2 and loads[-1] > loads[0]:
        points = dense.map_fixed_points(interaction, loads / unit)
        name = "unstable fixed point of the memoryless map"
        found.append(Prediction(name, loads, np.asarray(points.unstable)))
    return found


def _predicted(ax: Axes, dataset: Dataset) -> list[Artist]:
    """Draw the predictions. Returns their entries of the legend."""
    (low, high), limits = ax.get_xlim(), ax.get_ylim()
    style: Style = dict(color=PREDICTED, lw=1.4)
    lines: list[Artist] = []
    for one in predictions(dataset, low, high):
        if one.start is None:
            lines.append(ax.axvline(float(one.load[0]), label=one.text, **style))
        else:
            lines += ax.plot(one.load, one.start, "--", label=one.text, **style)
    ax.set(xlim=(low, high), ylim=limits)
    return lines
