"""What an inspection of a memory has seen: association matrices, energies, effective items."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import check_type
from ._axes import Axes, Figure, Style, check_figure, look_of, new_figure

if TYPE_CHECKING:
    from ..nn import DenseInspection, Inspection

_NAMED = 32  # states up to which each has a look of its own
_GREY = "0.35"


def associations(
    inspection: "Inspection | DenseInspection", figure: Figure | None = None
) -> Figure:
    r"""Draw what `hopfax.nn.inspect` has seen, a column for each head.

    From above: the association matrix, by which state q reads item s (of one state, bars); the
    energy before each update, if there are several, less that at the end; and the effective number
    of items that each state reads, the exponential of the entropy of its weights (of one state in
    the title). A state has the same colour in the last two.

    **Arguments:** `inspection`: an `Inspection` or `DenseInspection`. `figure`: where to draw.

    **Returns:** the figure.

    **Raises:** TypeError for anything else.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    layer = hx.nn.HopfieldRetrieval(2, 4, steps=3, key=jax.random.key(0))
    query, memory = jax.random.normal(jax.random.key(1), (2, 3, 4))
    figure = hx.plots.associations(hx.nn.inspect(layer, query, memory))
    plt.close(figure)
    ```
    """
    from ..nn import DenseInspection, Inspection

    what = "what hopfax.nn.inspect returns"
    check_type(inspection, "inspection", (Inspection, DenseInspection), what)
    check_figure(figure)
    weights, energy, effective = (
        np.asarray(x) for x in (inspection.weights, inspection.energy, inspection.effective)
    )
    if isinstance(inspection, DenseInspection):
        weights, energy, effective = (
            weights[None, None],
            energy[:, None, None],
            effective[None, None],
        )
    H, Q = effective.shape
    rows = [_weights, *([_energies] if len(energy) > 1 else []), *([_effective] if Q > 1 else [])]
    if figure is None:
        wide = 4.2 if weights.shape[2] > _NAMED and H <= 4 else 2.8
        figure = new_figure((1.0 + wide * H, 0.6 + 2.3 * len(rows)))
    axes = figure.subplots(len(rows), H, squeeze=False, sharey="row")
    seen = {_weights: weights, _energies: np.moveaxis(energy, 0, 2), _effective: effective}
    for draw, row in zip(rows, axes, strict=True):
        for h, ax in enumerate(row):
            draw(ax, seen[draw][h])
            ax.set_ylabel("" if h else ax.get_ylabel())
    for h, ax in enumerate(axes[0]):
        title = [f"head {h}"] if H > 1 else []
        title += [f"{effective[h, 0]:.3g} effective items"] if Q == 1 else []
        ax.set_title(", ".join(title), fontsize="medium")
    bars, most = (axes[-1, 0], effective) if Q > 1 else (axes[0, 0], weights)
    bars.set_ylim(0.0, 1.06 * max(most.max(), 1e-12))  # shared by all heads
    if Q > 1:
        _scale(figure, axes[0], weights.max())
    return figure


def _scale(figure: Figure, row: np.ndarray, most: float) -> None:
    """One scale of colours for all matrices, by square roots, so that small weights are seen."""
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(0.5, 0.0, max(most, 1e-12))
    for ax in row:
        ax.images[0].set_norm(norm)
    figure.colorbar(row[0].images[0], ax=list(row), label="weight")


def _weights(ax: Axes, weights: np.ndarray) -> None:
    """The matrix of a head; of one state bars."""
    Q, S = weights.shape
    if Q == 1:
        ax.bar(np.arange(S), weights[0], color=look_of(0).colour, width=0.8 if S < 100 else 1.0)
        ax.set_ylabel("weight")
    else:
        place: Style = dict(extent=(-0.5, S - 0.5, Q - 0.5, -0.5), interpolation="nearest")
        ax.imshow(weights, cmap="viridis", aspect="auto", **place)
        ax.set_ylabel("state $q$")
        _whole(ax.yaxis, Q)
    ax.set_xlabel("item $s$")
    _whole(ax.xaxis, S)


def _energies(ax: Axes, energy: np.ndarray) -> None:
    """A line for each state, less the energy at the end."""
    Q, T = energy.shape
    for q, line in enumerate(energy - energy[:, -1:]):
        ax.plot(np.arange(T), line, marker="." if T < 20 else "", **_look(q, Q))
    ax.set(xlabel="update", ylabel="energy, less the last")
    _whole(ax.xaxis, T)


def _effective(ax: Axes, effective: np.ndarray) -> None:
    """A bar for each state."""
    Q = effective.size
    fills = [_look(q, Q)["color"] for q in range(Q)]
    ax.bar(np.arange(Q), effective, color=fills, width=0.8 if Q <= _NAMED else 1.0)
    ax.axhline(1.0, color=_GREY, lw=0.8, ls=":")
    ax.set(xlabel="state $q$", ylabel="effective items")
    _whole(ax.xaxis, Q)


def _whole(axis: Any, number: int) -> None:
    """Ticks at whole numbers below `number`."""
    step = next(s for k in range(9) for s in (10**k, 2 * 10**k, 5 * 10**k) if number <= 7 * s)
    axis.set_ticks(range(0, number, step))


def _look(q: int, Q: int) -> Style:
    """Of a state; grey where there are too many to tell apart."""
    if Q > _NAMED:
        return dict(color=_GREY, lw=0.6, alpha=0.6)
    return dict(color=look_of(q).colour, ls=look_of(q).dashes, lw=1.3)
