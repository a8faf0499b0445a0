"""The diagram of a dense memory: all orders in one dataset, and its tables."""

import math
from typing import Any

import numpy as np

from ... import AbstractInteraction
from ...plots._dense import ROUGH
from ...theory import dense
from .._console import number, table
from ._points import INTERACTIONS, Effective, labelled, scale


def together(parts: list[Any], orders: Any, point: Effective) -> Any:
    """One dataset over order, load and m0 of the sweeps of each order, in memory."""
    import xarray as xr

    loaded = [part.load() for part in parts]
    index = xr.DataArray(list(orders), dims="order", name="order")
    index.attrs["long_name"] = "order n of the interaction"
    dataset = xr.concat(loaded, index, combine_attrs="drop_conflicts")
    dataset = labelled(dataset.transpose("order", "load", "m0"), point)
    scales = [scale(INTERACTIONS[point.interaction](order)) for order in orders]
    alpha = dataset["load"].values / np.array(scales)[:, None]
    text = {"long_name": "load alpha = M / N^(n-1)"}
    return dataset.assign_coords(alpha=(("order", "load"), alpha, text))


def report(dataset: Any) -> str:
    """Capacities, edges of the basin in the diagram and of the map, and how sure they are."""
    steps, name = dataset.attrs["steps"], dataset.attrs["interaction"]
    parts = [
        (int(order), INTERACTIONS[name](int(order)), dataset.isel(order=k))
        for k, order in enumerate(dataset["order"].values)
    ]
    head = (
        "order n",
        "replica-symmetric",
        f"m({steps}) = 1/2 from m0 = {float(dataset['m0'].max()):g}",
        f"error above {ROUGH:g}",
        "failed",
    )
    capacities = table(head, [_capacity_row(*part) for part in parts])
    head = ("order n", "load", f"edge after {steps} steps", "memoryless map")
    edges = table(head, [row for part in parts for row in _edge_rows(*part)])
    return f"Capacity, scaled load\n\n{capacities}\n\nEdge of the basin\n\n{edges}"


def _capacity_row(order: int, interaction: AbstractInteraction, part: Any) -> tuple:
    """Capacity by theory and in the diagram of an order, and how many points are uncertain."""
    load, m0 = part["load"].values, part["m0"].values
    apparent = crossing(load, part["overlap"].values[:, int(np.argmax(m0))], 0.5)
    rough, failed = int((part["error"] > ROUGH).sum()), int((part["status"] != 0).sum())
    scaled = dense.capacity(interaction).scaled
    return (str(order), number(scaled), number(apparent), rough, failed)


def _edge_rows(order: int, interaction: AbstractInteraction, part: Any) -> list[tuple]:
    """Least overlap that is completed at some loads, in the diagram and by the map."""
    load, m0, rows = part["load"].values, part["m0"].values, []
    for at in np.linspace(0, len(load) - 1, 6).round().astype(int)[1:-1]:
        start = crossing(m0, -part["overlap"].values[at], -0.5)
        unstable = math.nan  # at order 2 the map says nothing of trajectories
        if order > 2:
            alpha = load[at] / scale(interaction)
            unstable = dense.map_fixed_points(interaction, alpha).unstable
        rows.append((str(order), *(number(cell, 3) for cell in (load[at], start, unstable))))
    return rows


def crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Where y first falls below a level, by interpolation; NaN if it does not."""
    below = np.flatnonzero(y < level)
    if not below.size or below[0] == 0:
        return math.nan
    k = below[0]
    return float(x[k - 1] + (y[k - 1] - level) / (y[k - 1] - y[k]) * (x[k] - x[k - 1]))
