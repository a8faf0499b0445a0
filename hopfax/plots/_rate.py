"""Storage diagrams of rate memories: where a memory is stable, and by which condition."""

from typing import Any

import numpy as np

from ._axes import COLOURS, new_axes
from ._grid import NO_VALUE, coordinates, dims_of, gaps, ordered, sides, values_of
from ._paint import gap_handles, mesh, paint_of
from ._sweeps import legend_below

#: The values that a design is made of: symbol, and label of an axis.
DESIGN = {
    "gain": (r"\rho", r"gain $\rho$"),
    "threshold": ("I^*", "threshold current $I^*$"),
    "a": ("a", "current $a$ of silent neurons"),
    "b": ("b", "current $b$ of active neurons"),
}
#: Largest distance at the end, from which on a perturbed run has left its memory.
LEFT = 1e-3
_WORDS = {
    "unstable": "unstable",
    "stable": "stable, but not by the sufficient condition",
    "certified": "stable by the sufficient condition",
}
_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "eigenvalue": (
        r"exact: $\lambda_{\max} = 0$",
        dict(colors="black", linewidths=2.6),
    ),
    "margin": (
        r"sufficient: $\max(\phi'_a, \phi'_b)\,\max(\kappa, \gamma) = 1$",
        dict(colors="#E69F00", linewidths=1.4, linestyles="--"),
    ),
    "block": (
        r"single memory ($P = 1$): $\lambda_{\max} = 0$",
        dict(colors="#D55E00", linewidths=1.4, linestyles=":"),
    ),
    "gamma": (
        r"background $\gamma = 0$",
        dict(colors="0.45", linewidths=1.1, linestyles="-."),
    ),
}


def is_storage(dataset: Any) -> bool:
    """Whether a dataset is a storage diagram, as `hopfax sweep --network rate` makes it."""
    long = [dim for dim in dims_of(dataset) if dataset.sizes[dim] > 1]
    return (
        set(DESIGN) <= set(dataset.coords)
        and {"storage", "eigenvalue"} <= set(dataset.data_vars)
        and len(long) == 2
    )


def storage_diagram(dataset: Any, ax: Any = None, *, theory: bool = True) -> Any:
    r"""Map of where a rate memory is stable, over two of gain, threshold, a and b.

    Areas are the verdicts of the exact theory, lines the borders of its conditions: the greatest
    eigenvalue of the Jacobian at a memory, the sufficient condition of the paper, the plane of a
    single memory, and the sign of the background. Hatched is where, under an input to its active
    neurons, a memory is the only state of rest in its plane. Marks are simulations from near a
    memory: it attracts (circles), or it does not (crosses); what contradicts the theory is ringed.

    **Arguments:** `dataset`: with `storage`, `eigenvalue` and perhaps `margin`, `block`, `gamma`,
    `alone` and `distance` over the coordinates `gain`, `threshold`, `a`, `b`, two of them of more
    than one value. `ax`: where to draw. `theory`: whether to draw the lines.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset that is no such diagram.
    """
    if not is_storage(dataset):
        raise ValueError(
            "`dataset` must have `storage` and `eigenvalue` over gain, threshold, a and b, two of "
            f"them swept, got {dict(dataset.sizes)}."
        )
    ax = new_axes(size=(6.6, 6.4)) if ax is None else ax
    title = _title(dataset)
    dims = dims_of(dataset)
    single = {dim: 0 for dim in dims if dataset.sizes[dim] == 1}
    dataset = ordered(dataset.isel(single))
    paint = paint_of(dataset, "storage")
    x, y = mesh(ax, dataset, "storage", paint)
    handles = paint.handles()
    for handle in handles:
        handle.set_label(_WORDS.get(handle.get_label(), handle.get_label()))
    missing = gaps(dataset, "storage")
    handles += gap_handles(np.where(missing == NO_VALUE, 0, missing))
    handles += _no_design(missing)
    place = {name: _along(dataset, name) for name in dataset.data_vars}
    if "alone" in dataset:
        handles += _alone(ax, x, y, place["alone"], dataset.attrs.get("input"))
    if theory:
        handles += _borders(ax, x, y, {n: place[n] for n in _LINES if n in place})
    if "distance" in dataset:
        handles += _marks(ax, x, y, place["eigenvalue"], place["distance"])
    ax.set(xlim=x.limits, ylim=y.limits)
    for side, name in (("x", x.name), ("y", y.name)):
        if name in DESIGN:
            ax.set(**{f"{side}label": DESIGN[name][1]})
    ax.set_title(title, fontsize="medium")
    legend_below(ax, handles, 2)
    return ax


def _title(dataset: Any) -> str:
    fixed = [dim for dim in dims_of(dataset) if dataset.sizes[dim] == 1]
    parts = [
        f"${DESIGN[name][0]}$ = {float(dataset[name][0]):.4g}"
        for dim in fixed
        for name in coordinates(dataset, dim)
        if name in DESIGN
    ]
    if "q" in dataset.attrs:
        parts.append(f"$q$ = {dataset.attrs['q']:g}")
    kind = str(dataset.attrs.get("activation", "")).replace("_", " ")
    return f"{kind}: {', '.join(parts)}" if kind else ", ".join(parts)


def _along(dataset: Any, name: str) -> np.ndarray:
    """Values with the vertical side first."""
    values = values_of(dataset, name)
    return values.T if dims_of(dataset)[0] == sides(dataset)[0] else values


def _borders(ax, x, y, found: dict[str, np.ndarray]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = []
    for name, values in found.items():
        text, style = _LINES[name]
        good = values[np.isfinite(values)]
        if min(values.shape) < 2 or not good.size or good.min() >= 0 or good.max() <= 0:
            continue
        ax.contour(x.values, y.values, np.ma.masked_invalid(values), levels=[0.0], **style)
        line: dict[str, Any] = dict(color=style["colors"], lw=style["linewidths"])
        handles.append(Line2D([], [], ls=style.get("linestyles", "-"), label=text, **line))
    return handles


def _alone(ax, x, y, alone: np.ndarray, value: Any) -> list[Any]:
    from matplotlib.patches import Patch

    there = np.nan_to_num(alone) > 0
    if not there.any() or min(there.shape) < 2:
        return []
    drawn = ax.contourf(
        x.values, y.values, there.astype(float), levels=[0.5, 1.5], colors="none", hatches=["///"]
    )
    drawn.set_edgecolor("#3A7CA5")
    drawn.set_linewidth(0.0)
    text = "globally stable ($P = 1$) under an input"
    if value is not None:
        text = rf"globally stable ($P = 1$) under input $u_S = {float(value):g}$"
    return [Patch(facecolor="white", edgecolor="#3A7CA5", hatch="///", lw=0, label=text)]


def _no_design(missing: np.ndarray) -> list[Any]:
    from matplotlib.patches import Patch

    if not (missing == NO_VALUE).any():
        return []
    text = r"no design: $a \geq b$ or $\phi_a = \phi_b$"
    return [Patch(facecolor="white", edgecolor="0.4", lw=0.5, label=text)]


def _marks(ax, x, y, eigenvalue: np.ndarray, distance: np.ndarray) -> list[Any]:
    """Simulations: what they say, and where that is not what the eigenvalue says."""
    across, up = np.meshgrid(x.values, y.values)
    known = np.isfinite(distance)
    back, stable = known & (distance < LEFT), eigenvalue < 0
    styles = (
        (back, dict(marker="o", mfc="white", mec="black", ms=4), "simulation: attracts"),
        (known & ~back, dict(marker="x", mec=COLOURS[1], ms=5, mew=1.4), "simulation: repels"),
        (
            known & np.isfinite(eigenvalue) & (back != stable),
            dict(marker="o", mfc="none", mec="red", ms=10, mew=1.6),
            "simulation and theory differ",
        ),
    )
    handles = []
    for where, style, text in styles:
        if where.any():
            handles += ax.plot(across[where], up[where], ls="none", label=text, **style)
    return handles
