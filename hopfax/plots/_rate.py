"""Storage diagrams of rate memories: where a memory is stable, and by which condition."""

import numpy as np

from .._types import Dataset
from ._axes import COLOURS, Artist, Axes, Style, check_drawing, new_axes
from ._grid import NO_VALUE, Scale, coordinates, dims_of, gaps, ordered, sides, values_of
from ._legends import legend_below
from ._paint import gap_handles, mesh, paint_of

#: The values that a design is made of: the symbol, and the label of an axis.
DESIGN = {
    "gain": (r"\rho", r"gain $\rho$"),
    "threshold": ("I^*", "threshold current $I^*$"),
    "a": ("a", "current $a$ of silent neurons"),
    "b": ("b", "current $b$ of active neurons"),
}
#: A perturbed run whose distance from its memory at the end is larger has left it.
LEFT = 1e-3
_WORDS = {
    "unstable": "unstable",
    "stable": "stable, but not by the sufficient condition",
    "certified": "stable by the sufficient condition",
}
#: Where the conditions of stability change: the text of a legend, and how a contour is drawn.
CONDITIONS: dict[str, tuple[str, Style]] = {
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


def is_storage(dataset: Dataset) -> bool:
    """Whether a dataset is a storage diagram, as `hopfax sweep --network rate` makes it."""
    long = [dim for dim in dims_of(dataset) if dataset.sizes[dim] > 1]
    return (
        set(DESIGN) <= set(dataset.coords)
        and {"storage", "eigenvalue"} <= set(dataset.data_vars)
        and len(long) == 2
    )


def storage_diagram(dataset: Dataset, ax: Axes | None = None, *, theory: bool = True) -> Axes:
    r"""Draw a map of where a rate memory is stable, over two of gain, threshold, a and b.

    Areas say what the exact theory finds. Lines are where its conditions change: the greatest
    eigenvalue of the Jacobian at a memory is zero, in general and in the plane of a single memory;
    the sufficient condition of the paper holds with equality; the background weight $\gamma$ is
    zero. Hatched is where, under an input to its active neurons, a memory is the only equilibrium
    in its plane. Marks are simulations started near a memory: it attracts (circles), or repels
    (crosses); a ring is around those that contradict the theory.

    **Arguments:** `dataset`: with `storage`, `eigenvalue` and perhaps `margin`, `block`, `gamma`,
    `alone` and `distance` over the coordinates `gain`, `threshold`, `a`, `b`, two of them of more
    than one value. `ax`: where to draw. `theory`: whether to draw the lines.

    **Returns:** the Axes.

    **Raises:** ValueError for a dataset that is no such diagram.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    grid = {"gain": np.linspace(1.0, 8.0, 8), "threshold": np.linspace(0.0, 1.0, 9)}
    ds = hx.sweep(hx.theory.rate.phase, grid | {"a": [-0.3], "b": [0.95]})
    ds.storage.attrs |= {"flag_values": [0, 1, 2], "flag_meanings": "unstable stable certified"}
    figure, ax = plt.subplots()
    hx.plots.storage_diagram(ds, ax)
    plt.close(figure)
    ```
    """
    check_drawing(dataset, ax=ax, theory=theory)
    if not is_storage(dataset):
        raise ValueError(
            "`dataset` must have `storage` and `eigenvalue` over gain, threshold, a and b, two of "
            f"them swept, got {dict(dataset.sizes)}."
        )
    ax = new_axes((6.6, 6.4)) if ax is None else ax
    title = _title(dataset)
    dims = dims_of(dataset)
    single = {dim: 0 for dim in dims if dataset.sizes[dim] == 1}
    dataset = ordered(dataset.isel(single))
    paint = paint_of(dataset, "storage")
    x, y = mesh(ax, dataset, "storage", paint)
    handles = paint.handles()
    for handle in handles:
        word = str(handle.get_label())
        handle.set_label(_WORDS.get(word, word))
    missing = gaps(dataset, "storage")
    handles += gap_handles(np.where(missing == NO_VALUE, 0, missing))
    handles += _no_design(missing)
    place = {str(name): _along(dataset, str(name)) for name in dataset.data_vars}
    if "alone" in dataset:
        handles += _alone(ax, x, y, place["alone"], dataset.attrs.get("input"))
    if theory:
        handles += _borders(ax, x, y, {n: place[n] for n in CONDITIONS if n in place})
    if "distance" in dataset:
        handles += _marks(ax, x, y, place["eigenvalue"], place["distance"])
    ax.set(xlim=x.limits, ylim=y.limits)
    for side, name in (("x", x.name), ("y", y.name)):
        if name in DESIGN:
            ax.set(**{f"{side}label": DESIGN[name][1]})
    ax.set_title(title, fontsize="medium")
    legend_below(ax, handles, 2)
    return ax


def _title(dataset: Dataset) -> str:
    """The activation and the values that are not swept."""
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


def _along(dataset: Dataset, name: str) -> np.ndarray:
    """The values of a variable with the axis drawn along y first."""
    values = values_of(dataset, name)
    return values.T if dims_of(dataset)[0] == sides(dataset)[0] else values


def _borders(ax: Axes, x: Scale, y: Scale, found: dict[str, np.ndarray]) -> list[Artist]:
    """Draw the zero contours of the conditions. Returns their entries of the legend."""
    from matplotlib.lines import Line2D

    handles = []
    for name, values in found.items():
        text, style = CONDITIONS[name]
        good = values[np.isfinite(values)]
        if min(values.shape) < 2 or not good.size or good.min() >= 0 or good.max() <= 0:
            continue
        ax.contour(x.values, y.values, np.ma.masked_invalid(values), levels=[0.0], **style)
        line: Style = dict(color=style["colors"], lw=style["linewidths"])
        handles.append(Line2D([], [], ls=style.get("linestyles", "-"), label=text, **line))
    return handles


def _alone(ax: Axes, x: Scale, y: Scale, alone: np.ndarray, value: float | None) -> list[Artist]:
    """Hatch where a memory is globally stable in its plane. Returns its entry of the legend."""
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


def _no_design(missing: np.ndarray) -> list[Artist]:
    """The entry of a legend for points that have no design, if there are any."""
    from matplotlib.patches import Patch

    if not (missing == NO_VALUE).any():
        return []
    text = r"no design: $a \geq b$ or $\phi_a = \phi_b$"
    return [Patch(facecolor="white", edgecolor="0.4", lw=0.5, label=text)]


def _marks(
    ax: Axes, x: Scale, y: Scale, eigenvalue: np.ndarray, distance: np.ndarray
) -> list[Artist]:
    """Mark what simulations say, and where the eigenvalue says another thing."""
    across, up = np.meshgrid(x.values, y.values)
    known = np.isfinite(distance)
    back, stable = known & (distance < LEFT), eigenvalue < 0
    styles: tuple[tuple[np.ndarray, Style, str], ...] = (
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
