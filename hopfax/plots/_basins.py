"""Basins of attraction: what becomes of runs, over two coordinates of their start."""

import numpy as np

from .._types import Dataset
from ..networks._resting import name_by_overlaps
from ..observables import REGIMES
from ._axes import COLOURS, REGIME_COLOURS, Axes, check_drawing, new_axes
from ._grid import dims_of, states, values_of
from ._legends import legend_below
from ._paint import Paint, gap_handles, mesh

_TOLD = ("sequence", "collapse")  # regimes that tell more than the overlaps at the end
_PALE = 0.55  # how far the colour of a negative is from that of its memory, on the way to white


def basin_map(dataset: Dataset, ax: Axes | None = None) -> Axes:
    r"""Draw what becomes of runs over two coordinates of their start: the basins of attraction.

    What a run ends in is named by its overlaps at the last save, as `hopfax.dynamics.rest_states`
    names states of rest: a memory, its negative (paler), a mixture, silent, spurious. A run whose
    `regime` is a sequence or a collapse is named so. Points that failed or have not been run are
    marked as such.

    **Arguments:**

    - `dataset`: of `hopfax.sweep` over two axes, of a point that observes "overlaps_end", and
      "regime" if there are sequences.
    - `ax`: where to draw.

    **Returns:** the Axes.

    **Raises:** ValueError for another dataset.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.Tanh(3.0))
    start = dict(weights=[0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 40.0, 5), observe="overlaps_end")
    values = np.linspace(-1.0, 1.0, 4)
    ds = hx.sweep(point, {"init.weights[0]": values, "init.weights[1]": values})
    ax = hx.plots.basin_map(ds)  # the basins of two memories and of their negatives
    plt.close(ax.figure)
    ```
    """
    check_drawing(dataset, ax=ax)
    dims = dims_of(dataset)
    if len(dims) != 2 or "overlaps_end" not in dataset or dataset["overlaps_end"].ndim != 3:
        raise ValueError(
            "`dataset` must have `overlaps_end` over two axes, as of a point with "
            'observe=["regime", "overlaps_end"], got '
            f"{ {str(name): tuple(v.sizes) for name, v in dataset.data_vars.items()} }."
        )
    ends = _ends(dataset, dims)
    words = sorted({word for word in ends.flat if word}, key=_order)
    codes = np.full(ends.shape, np.nan)
    for code, word in enumerate(words):
        codes[ends == word] = code
    ax = new_axes((5.2, 5.2)) if ax is None else ax
    paint = _paint(words)
    mesh(ax, dataset.assign(end=(dims, codes)), "end", paint)
    legend_below(ax, paint.handles() + gap_handles(states(dataset)), 3)
    return ax


def _ends(dataset: Dataset, dims: tuple[str, ...]) -> np.ndarray:
    """What each run ends in, "" where it is not known."""
    overlaps = np.asarray(dataset["overlaps_end"].transpose(*dims, ...).values, float)
    regimes = (
        values_of(dataset, "regime") if "regime" in dataset else np.full(overlaps.shape[:2], np.nan)
    )
    known = (states(dataset) == 0) & np.isfinite(overlaps).all(-1)
    ends = np.full(known.shape, "", dtype=object)
    for place in zip(*np.nonzero(known), strict=True):
        ends[place] = name_by_overlaps(overlaps[place])
    if "regime" not in dataset:
        return ends
    regimes = values_of(dataset, "regime")
    for word in _TOLD:
        ends[regimes == REGIMES.index(word)] = word
    return ends


def _order(word: str) -> tuple[int, str]:
    """Sequences first, then memories, each with its negative, mixtures, and what is none."""
    kinds = ("sequence", "memory", "mixture", "spurious", "silent", "collapse")
    kind, _, which = word.removeprefix("-").partition(" ")
    return kinds.index(kind), f"{which:>8}{word.startswith('-')}" if kind == "memory" else which


def _paint(words: list[str]) -> Paint:
    """The colours of these words."""
    from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb

    mixtures = [word for word in words if word.startswith("mixture")]
    fills = []
    for word in words:
        kind, _, which = word.removeprefix("-").partition(" ")
        pale = _PALE if word.startswith("-") else 0.0
        if kind == "memory":
            fill = COLOURS[int(which) % len(COLOURS)]
        elif kind == "mixture":
            fill = REGIME_COLOURS["mixed"]
            pale = 0.8 * mixtures.index(word) / len(mixtures)
        else:
            fill = REGIME_COLOURS["collapse" if kind == "silent" else kind]
        fills.append([channel + pale * (1 - channel) for channel in to_rgb(fill)])
    norm = BoundaryNorm(np.arange(len(fills) + 1) - 0.5, max(len(fills), 1))
    return Paint("end", dict(enumerate(words)), ListedColormap(fills or ["white"]), norm)
