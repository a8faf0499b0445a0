"""Memories and who calls whom: a transition matrix as a graph."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import as_float, check_finite, check_shape
from .._palette import ink_on
from .._trajectory import Trajectory
from .._types import ArrayLike
from ..observables import switch_times, visited
from ._axes import COLOURS, Artist, Axes, check_axes, look_of, new_axes
from ._legends import legend_below

_LEAST = 0.02  # of the largest weight: arrows below this are left out
_THIN, _THICK = 0.7, 4.0  # widths of arrows
_GREY = "0.62"


def transition_graph(
    transition: ArrayLike,
    run: Trajectory | None = None,
    *,
    items: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw a transition matrix as a graph: a node for each memory, an arrow for each entry.

    The width of an arrow grows with the size of its entry `[next, current]`; a negative one
    (inhibition) is dashed, and entries below 2 % of the largest are left out. A ring is a memory's
    call to itself. Of a run, the transitions that it made are coloured, and a memory's node has the
    area and, below its number, the value of its mean dwell: from one switch to the next, without
    the first stay, which began with the run, and the last one, whose end was not seen.

    **Arguments:** `transition`: (P, P), such as `network.transition`, or the gains
    $\kappa A$. `run`: one run. `items`: a name for each memory (default: its
    number). `ax`: where to draw.

    **Returns:** the Axes.

    **Raises:** ValueError for a matrix that is not square or not finite, for a run of other size
    or a batch, or `items` that are not one for each memory.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 200.0, 101))
    ax = hx.plots.transition_graph(network.transition, run)
    plt.close(ax.figure)
    ```
    """
    check_axes(ax)
    A = np.asarray(as_float(transition, "transition"), float)
    P = len(A) if A.ndim else 0
    check_shape(A, "transition", (P, P), "(P, P)")
    check_finite(A, "transition")
    if items is not None:
        check_shape(np.asarray(items), "items", (P,), "(P,)")
    names = [str(k) for k in range(P)] if items is None else [str(item) for item in items]
    made, dwells = _seen(run, P)
    ax = new_axes((5.4, 5.4)) if ax is None else ax
    angle = math.pi / 2 - 2 * math.pi * np.arange(P) / max(P, 1)  # clockwise from the top
    at = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    size = _sizes(dwells, P)
    top = np.abs(A).max(initial=0.0)
    for (new, old), weight in np.ndenumerate(A):
        if abs(weight) > _LEAST * top:
            _arrow(ax, at, size, (old, new), weight / top, made is None or made[old, new] > 0)
    for mu in range(P):
        _node(ax, at[mu], size[mu], mu, names[mu], dwells[mu])
    if handles := _handles(A, made, top):
        legend_below(ax, handles, 2)
    reach = 1 + 2.6 * float(size.max(initial=0.1))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.axis("off")
    return ax


def _seen(run: Trajectory | None, P: int) -> tuple[Counter | None, np.ndarray]:
    """How often each transition (from, to) was made, and the mean dwell of each memory, NaN where
    none was seen whole."""
    if run is None:
        return None, np.full(P, np.nan)
    path, times = visited(run), np.asarray(switch_times(run), float)
    check_shape(run.overlaps[0], "run", (P,), "(P,) overlaps", "The run is of another network.")
    path = np.asarray(path).tolist()
    stays: list[list[float]] = [[] for _ in range(P)]
    for mu, stay in zip(path[1:], np.diff(times).tolist(), strict=False):
        stays[mu].append(stay)
    mean = [float(np.mean(stay)) if stay else math.nan for stay in stays]
    return Counter(zip(path, path[1:], strict=False)), np.array(mean)


def _sizes(dwells: np.ndarray, P: int) -> np.ndarray:
    """Radii of the nodes, of an area that grows with the dwell where there is one, and so small
    that neighbours on the circle leave room for arrows."""
    room = 0.42 * math.sin(math.pi / P) if P > 2 else 0.3
    largest = min(0.2, room)
    share = np.sqrt(np.nan_to_num(dwells) / max(np.nanmax(dwells, initial=0.0), 1e-300))
    known = np.isfinite(dwells)
    return largest * np.where(known, np.maximum(share, 0.6), 0.6 if known.any() else 0.8)


def _arrow(ax: Axes, at, size, pair: tuple[int, int], weight: float, made: bool) -> None:
    """The arrow of one entry; a ring for that of a memory to itself."""
    from matplotlib.patches import Circle, FancyArrowPatch

    old, new = pair
    style: dict[str, Any] = dict(
        lw=_THIN + (_THICK - _THIN) * abs(weight),
        ls="-" if weight > 0 else (0, (2.5, 1.2)),
        color=COLOURS[0] if made else _GREY,
        zorder=2.5 if made else 2,
    )
    if old == new:
        radius = 0.6 * size[old]
        centre = at[old] * (1 + size[old] + 0.5 * radius)
        ax.add_patch(Circle(tuple(centre), radius, fill=False, **style))
        return
    ends = [tuple(at[old]), tuple(at[new])]
    # From rim to rim: matplotlib shortens by points, and the length of a point depends on the axes.
    towards = at[new] - at[old]
    turn = 0.16 if len(at) > 2 else 0.3
    bend = turn * np.array([towards[1], -towards[0]])
    middle = (at[old] + at[new]) / 2 + bend
    for k, (node, radius) in enumerate(((at[old], size[old]), (at[new], size[new] + 0.015))):
        way = middle - node
        ends[k] = tuple(node + radius * way / np.linalg.norm(way))
    head = f"-|>,head_length={5 + 4 * abs(weight):.1f},head_width={2.5 + 2.5 * abs(weight):.1f}"
    ax.add_patch(
        FancyArrowPatch(
            *ends,
            arrowstyle=head,
            connectionstyle=f"arc3,rad={turn}",
            mutation_scale=1.0,
            shrinkA=0.0,
            shrinkB=0.0,
            joinstyle="miter",
            capstyle="butt",
            **style,
        )
    )


def _node(ax: Axes, at: np.ndarray, radius: float, mu: int, name: str, dwell: float) -> None:
    """The node of one memory, with its name and its dwell."""
    from matplotlib.patches import Circle

    colour = look_of(mu).colour
    ax.add_patch(Circle(tuple(at), radius, fc=colour, ec="white", lw=1.5, zorder=3))
    style: dict[str, Any] = dict(ha="center", va="center", color=ink_on(colour), zorder=4)
    if math.isnan(dwell):
        ax.text(at[0], at[1], name, **style)
        return
    ax.text(at[0], at[1] + 0.3 * radius, name, **style)
    ax.text(at[0], at[1] - 0.4 * radius, f"{dwell:.3g}", fontsize="x-small", **style)


def _handles(A: np.ndarray, made: Counter | None, top: float) -> list[Artist]:
    """What a legend has to say: widths, signs, and what a run has shown."""
    from matplotlib.lines import Line2D

    if top == 0:
        return []
    colour = COLOURS[0]
    found: list[Artist] = [Line2D([], [], color=colour, lw=_THICK, label=f"weight {top:.3g}")]
    sizes = np.abs(A[np.abs(A) > _LEAST * top])
    if sizes.min() < 0.99 * top:
        width = _THIN + (_THICK - _THIN) * sizes.min() / top
        found.append(Line2D([], [], color=colour, lw=width, label=f"weight {sizes.min():.3g}"))
    if (A < -_LEAST * top).any():
        found.append(Line2D([], [], color=colour, lw=2, ls="--", label="negative weight"))
    if made is not None:
        found.append(Line2D([], [], color=_GREY, lw=2, label="not taken in this run"))
        blank: dict[str, Any] = dict(ls="none", marker="o", color="0.3")
        found.append(Line2D([], [], **blank, label="area, number: mean dwell"))
    return found
