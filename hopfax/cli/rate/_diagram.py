"""The diagram of a rate memory: theory and simulations in one dataset, and its tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...plots._grid import dims_of
from .._console import number, table
from ._points import HORIZON, MARGINAL, NUDGE, VALUES

#: What the variables and coordinates of the diagram are.
_NAMES = {
    "gain": "gain rho of the activation",
    "threshold": "threshold current I* of the activation",
    "a": "current of silent neurons",
    "b": "current of active neurons",
    "kappa": "inverse secant slope (b - a) / (phi(b) - phi(a))",
    "gamma": "background weight",
    "eigenvalue": "greatest eigenvalue of the Jacobian at a memory of the balanced set",
    "block": "the same in the plane of the memory",
    "margin": "1 - max(phi'(a), phi'(b)) max(kappa, gamma), positive: certainly stable",
    "storage": "stability of a memory",
}


def together(found: Any, beside: Any, asked: Mapping[str, Any]) -> Any:
    """One dataset of theory and simulations (None for none), in memory, with what its reader needs
    to know; `asked` becomes attributes."""
    dataset = found.load()
    if beside is not None:
        runs = beside.load()
        distance = runs["distance"].where(runs["status"] == 0)
        dataset = dataset.assign(distance=distance.reindex_like(dataset))
        name = f"largest distance of a rate from memory 0 at t = {HORIZON:g}"
        dataset["distance"].attrs["long_name"] = f"{name}, {NUDGE:g} at the start"
    dataset = dataset.assign_attrs(title="storage diagram of a rate memory", **asked)
    for name, text in _NAMES.items():
        dataset[name].attrs["long_name"] = text
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "unstable stable certified"}
    dataset["storage"].attrs |= flags
    return dataset


def verdicts(dataset: Any) -> list[tuple[dict[str, float], float, float, bool]]:
    """Of the simulated points: coordinates, eigenvalue, distance, and whether these two agree."""
    eigenvalue, distance = dataset["eigenvalue"].values, dataset["distance"].values
    places = np.argwhere(np.isfinite(distance) & np.isfinite(eigenvalue))
    dims = dims_of(dataset)
    rows = []
    for place in map(tuple, places):
        at = {dim: float(dataset[dim].values[k]) for dim, k in zip(dims, place, strict=True)}
        value, far = float(eigenvalue[place]), float(distance[place])
        rows.append((at, value, far, (value < 0) == (far < NUDGE)))
    return rows


def swept(dataset: Any) -> str:
    """What is swept in a diagram, in words."""
    return " and ".join(name for name in VALUES if dataset.sizes[name] > 1)


def report(dataset: Any) -> str:
    """How many points there are of each kind, and whether simulations say the same."""
    codes, failed = dataset["storage"].values, int((dataset["status"].values > 0).sum())
    there = dataset["status"].values == 0
    words = {
        "stable, by the sufficient condition": codes == 2,
        "stable, by the exact eigenvalue alone": codes == 1,
        "unstable": codes == 0,
        "no design (phi(a) = phi(b), or a >= b)": codes == -1,
    }
    rows = [(word, int((there & where).sum())) for word, where in words.items()]
    if failed:
        rows.append(("failed", failed))
    if "alone" in dataset:
        text = f"the only state of rest under input {dataset.attrs['input']:g} to its neurons"
        rows.append((text, int((there & (dataset["alone"].values == 1)).sum())))
    parts = [table(("a memory of the balanced set is", "points"), rows)]
    if "distance" in dataset:
        parts.append(agreement(verdicts(dataset)))
    return "\n\n".join(parts)


def agreement(rows: Any) -> str:
    """How many simulations agree with the eigenvalue, and which do not."""
    wrong = [row for row in rows if not row[3]]
    clear = [row for row in wrong if abs(row[1]) > MARGINAL]
    lines = [
        f"Simulations: {len(rows)}, of which {len(rows) - len(wrong)} agree with the eigenvalue, "
        f"{len(wrong)} do not",
    ]
    if wrong:
        lines[0] += (
            f" ({len(wrong) - len(clear)} of them marginal, with an eigenvalue within "
            f"{MARGINAL:g} of 0)"
        )
        names = list(wrong[0][0])
        cells = [
            (*(f"{at[name]:.4g}" for name in names), number(value), f"{far:.2g}")
            for at, value, far, _ in wrong[:8]
        ]
        lines.append("")
        lines.append(table((*names, "eigenvalue", "distance at the end"), cells))
        if len(wrong) > 8:
            lines.append(f"and {len(wrong) - 8} more")
    return "\n".join(lines)
