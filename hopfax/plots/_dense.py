"""Diagrams of dense memories: what is retrieved from which start at which load."""

from typing import Any

import numpy as np

from .._errors import check_option
from .._interactions import ManyBody, Power
from ..theory import dense
from ._axes import new_axes
from ._grid import gaps, ordered, values_of
from ._paint import gap_handles, mesh, paint_of
from ._sweeps import legend_below

ROUGH = 0.01  # a standard error above which a point is hatched
_NAMES = {"power": Power, "many_body": ManyBody}
_WORDS = {"power": "power", "many_body": "n-body"}
_CURVES = 200


def is_diagram(dataset: Any) -> bool:
    """Whether a dataset is a retrieval diagram, as `hopfax sweep --network dense` makes it."""
    inside = {"load", "m0", "order"} <= set(dataset.coords) and "overlap" in dataset
    return inside and dataset.attrs.get("interaction") in _NAMES


def retrieval_diagram(
    dataset: Any, ax: Any = None, *, variable: str = "overlap", theory: bool = True
) -> Any:
    r"""Map of the overlap of a dense memory after some steps, over load and start.

    Drawn over it are the capacity of the replica-symmetric theory, below it (order >= 3) the
    unstable fixed point of the memoryless map, and where the overlap is a half: the edge of what is
    retrieved in that many steps. Hatched is where the standard error of the overlap is above 0.01,
    a band around that edge, and above capacity.

    **Arguments:** `dataset`: with `overlap` and `error` over `load` (scaled,
    $\alpha' = \alpha K(1)$) and `m0`, a scalar coordinate `order`, and attributes `interaction`
    ("power" or "many_body") and `steps`. `ax`: where to draw. `variable`: "overlap", or
    "simulated". `theory`: whether to draw the predictions.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset that is no such diagram.
    """
    check_option(variable, "variable", ("overlap", "simulated"))
    if not is_diagram(dataset) or variable not in dataset or dataset[variable].ndim != 2:
        raise ValueError(
            f"`dataset` must have {variable!r} over load and m0 with one order and the attribute "
            f"`interaction`, got {dict(dataset.sizes)}."
        )
    ax = new_axes(size=(6.0, 5.4)) if ax is None else ax
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


def diagrams(dataset: Any, figure: Any, *, theory: bool = True) -> None:
    """One retrieval diagram an order, those of simulations below, into an empty figure."""
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
    found: dict[str, Any] = {}
    for ax in axes.ravel():
        legend = ax.get_legend()
        if legend is not None:
            for handle in legend.legend_handles:
                found.setdefault(str(handle.get_label()), handle)
            legend.remove()
    if found:
        place = dict(loc="outside lower center", ncols=2 if len(orders) > 1 else 1)
        figure.legend(handles=list(found.values()), fontsize="small", frameon=False, **place)


def paint(dataset: Any, name: str) -> Any:
    """Colours from 0 to 1 (-1 where the theory is negative), the same in all panels."""
    from matplotlib.colors import Normalize

    low = -1.0 if np.nanmin(values_of(dataset, "overlap"), initial=0.0) < -0.1 else 0.0
    text = f"overlap after {dataset.attrs['steps']} steps"
    return paint_of(dataset, name)._replace(label=text, norm=Normalize(low, 1.0))


def _law(dataset: Any) -> Any:
    return _NAMES[dataset.attrs["interaction"]](int(dataset["order"]))


def _half(ax, load, start, values) -> list[Any]:
    from matplotlib.lines import Line2D

    style: dict[str, Any] = dict(colors="white", linewidths=1.4)
    ax.contour(load, start, np.ma.masked_invalid(values.T), levels=[0.5], **style)
    patch = Line2D([], [], color="white", lw=1.4, label="overlap 1/2", path_effects=_dark())
    return [patch]


def _dark() -> list[Any]:
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=2.6, foreground="0.3")]


def _rough(ax, load, start, error) -> list[Any]:
    from matplotlib.patches import Patch

    rough = np.nan_to_num(error) > ROUGH
    if not rough.any():
        return []
    drawn = ax.contourf(
        load, start, rough.T.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"]
    )
    drawn.set_edgecolor("white")
    drawn.set_linewidth(0.0)
    style: dict[str, Any] = dict(facecolor="0.5", edgecolor="white", hatch="////", lw=0)
    return [Patch(**style, label=f"standard error above {ROUGH:g}")]


def _predicted(ax, dataset) -> list[Any]:
    """The replica-symmetric capacity and the unstable fixed point of the map."""
    interaction = _law(dataset)
    end = dense.capacity(interaction)
    critical, unit = float(end.scaled), float(end.scaled / end.load)
    (low, high), limits = ax.get_xlim(), ax.get_ylim()
    style = dict(color="#D55E00", lw=1.4)
    lines = []
    if low < critical < high:
        name = r"replica-symmetric capacity $\alpha'_c$"
        lines.append(ax.axvline(critical, label=name, **style))
    loads = np.linspace(max(low, 1e-6), min(critical, high) * (1 - 1e-9), _CURVES)
    if interaction.order > 2 and loads[-1] > loads[0]:
        points = dense.map_fixed_points(interaction, loads / unit)
        name = "unstable fixed point of the memoryless map"
        lines += ax.plot(loads, np.asarray(points.unstable), "--", label=name, **style)
    ax.set(xlim=(low, high), ylim=limits)
    return lines
