"""Which memory was retrieved when: bars over time, of one run or of many."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import check_shape, check_type, shown
from .._trajectory import RETRIEVED, Trajectory
from .._types import ArrayLike
from ._axes import Axes, Style, check_axes, look_of, new_axes

_NAMED = 8  # memories that a legend names; more would repeat their colours


def raster(
    traj: Trajectory,
    *,
    items: ArrayLike | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw which memory was retrieved when, as a piano roll: a bar from one switch to the next.

    Of one run every memory has a row. Of a batch of runs, as `jax.vmap` of `hopfax.simulate`
    returns it, every run has a row, and colours tell memories. The last bar of a run ends at its
    last save with an overlap above 1/2, so that a collapse is seen.

    **Arguments:** `traj`: of `hopfax.simulate`, one run or a batch. `items`: (P,) what each memory
    stands for, numbers or names, such as `hopfax.SequenceFit.items`; memories of one item share a
    row and a colour. By default each stands for itself. `ax`: where to draw.

    **Returns:** the Axes.

    **Raises:** ValueError for batches of batches, or for `items` that are not one for each memory.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    ax = hx.plots.raster(run, items=["do", "re", "mi", "fa"])
    [text.get_text() for text in ax.get_yticklabels()]  # do, re, mi, fa
    plt.close(ax.figure)
    ```
    """
    check_type(traj, "traj", Trajectory, "a trajectory of hopfax.simulate")
    check_axes(ax)
    overlaps = np.asarray(traj.overlaps)
    if overlaps.ndim not in (2, 3):
        raise ValueError(
            f"`traj` must be one run or one batch of them, got overlaps of shape {overlaps.shape}."
        )
    names, row_of = _rows(items, overlaps.shape[-1])
    one = overlaps.ndim == 2
    rows = len(names) if one else len(overlaps)
    ax = new_axes((7.2, 1.0 + 0.25 * min(max(rows, 4), 24))) if ax is None else ax
    log = traj.switches
    parts = (traj.ts, overlaps, log.time, log.target, log.retrieved)
    for run, part in enumerate(
        zip(*(np.asarray(p)[None] if one else np.asarray(p) for p in parts), strict=True)
    ):
        for memory, start, end in _visits(*part):
            item = row_of[memory]
            bar: Style = dict(left=start, height=0.8 if one else 1.0, lw=0)
            ax.barh(item if one else run, end - start, color=look_of(item).colour, **bar)
    _label(ax, names, one, rows)
    ts = np.asarray(traj.ts)
    unit = "step" if traj.method == "iterate" else "time (fast time constants)"
    ax.set(xlim=(ts.min(), ts.max()), xlabel=unit)
    return ax


def _visits(
    ts: np.ndarray, m: np.ndarray, time: np.ndarray, target: np.ndarray, retrieved: np.ndarray
) -> list[tuple[int, float, float]]:
    """The memories that were retrieved, each from when until when."""
    order = np.argsort(np.where(retrieved, time, np.nan))[: int(retrieved.sum())]
    memories = [int(np.argmax(np.abs(m[0]))), *target[order].tolist()]
    starts = [float(ts[0]), *time[order].tolist()]
    alive = ts[(np.abs(m) > RETRIEVED).any(axis=1)]
    last = float(alive[-1]) if alive.size else starts[0]
    ends = [*starts[1:], max(last, starts[-1])]
    return list(zip(memories, starts, ends, strict=True))


def _rows(items: Any, P: int) -> tuple[list[str], list[int]]:
    """The name of every row, and the row of every memory."""
    if items is None:
        return [str(mu) for mu in range(P)], list(range(P))
    if isinstance(items, str):
        raise TypeError(f"`items` must be one for each memory, in a list, got {shown(items)}.")
    given = np.asarray(items)
    check_shape(given, "items", (P,), "(P,)")
    words = [str(word) for word in given.tolist()]
    if given.dtype.kind in "iu":
        names = [str(number) for number in np.unique(given).tolist()]
    else:
        names = list(dict.fromkeys(words))
    return names, [names.index(word) for word in words]


def _label(ax: Axes, names: list[str], one: bool, rows: int) -> None:
    """Name the rows of one run; of many count them, and name the colours."""
    if one:
        ax.set_yticks(range(rows), names)
        ax.set(ylim=(rows - 0.5, -0.5), ylabel="memory")
        return
    from matplotlib.patches import Patch

    ax.set(ylim=(rows - 0.5, -0.5), ylabel="run")
    locator: Any = ax.yaxis.get_major_locator()
    locator.set_params(integer=True)
    if len(names) <= _NAMED:
        patches = [Patch(color=look_of(k).colour, label=name) for k, name in enumerate(names)]
        style: Style = dict(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        ax.legend(handles=patches, ncols=_NAMED, fontsize="small", handlelength=1.0, **style)
