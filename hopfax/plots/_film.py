"""A strip of images above a time axis: what a network held in mind, one frame a dwell."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import as_float, as_real, check_finite, check_shape, missing, shown
from .._types import ArrayLike
from ._axes import Axes, check_axes

_TOP = 0.84  # of the strip's height; above are the labels
_LINES = 0.14  # of the strip's height, for the lines to the time axis


def film_strip(
    frames: ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    times: ArrayLike = None,
    colors: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images side by side, each above the moment it belongs to.

    Where moments lie so close that images would overlap these are pushed apart; a line leads from
    every image to its moment.

    **Arguments:**

    - `frames`: (F, height, width), -1 black to +1 white.
    - `labels`: one text above each frame.
    - `times`: (F,) where on the x axis a frame belongs, not decreasing. Set the limits of that axis
      first (e.g. by sharing it with the plot below). Default: evenly spaced, without lines.
    - `colors`: one for the border and label of each frame.
    - `ax`: the strip's Axes, about six times as wide as high. Default: a new figure.

    **Returns:** the Axes; `ax.child_axes` holds the frames in order.

    **Raises:** ValueError where shapes or numbers of frames, labels, times and colours disagree.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    images = hx.patterns.hadamard(3, 16).xi.reshape(3, 4, 4)
    ax = hx.plots.film_strip(images, ["first", "second", "third"])
    len(ax.child_axes)  # 3
    plt.close(ax.figure)
    ```
    """
    try:
        import matplotlib.pyplot as plt
        from matplotlib.patches import ConnectionPatch
    except ImportError as error:
        raise missing("matplotlib", "plot", "film_strip") from error
    frames = np.asarray(as_real(frames, "frames"), dtype=float)
    check_axes(ax)
    if frames.ndim != 3 or len(frames) == 0:
        raise ValueError(f"`frames` must have shape (F, height, width), got {frames.shape}.")
    check_finite(frames, "frames")
    F, height, width = frames.shape
    if times is not None:
        times = as_float(times, "times")
        check_shape(times, "times", (F,), "one for each of `frames`")
        check_finite(times, "times")
    for name, value in (("labels", labels), ("colors", colors)):
        if isinstance(value, str | bytes | dict | set | np.ma.MaskedArray):
            raise TypeError(f"`{name}` must list one entry for each frame, got {shown(value)}.")
    for name, value in (("labels", labels), ("times", times), ("colors", colors)):
        if value is not None and not (hasattr(value, "__len__") and len(value) == F):
            raise ValueError(f"`{name}` must have one entry for each of {F} `frames`.")
    if ax is None:
        _, ax = plt.subplots(figsize=(max(1.1 * F, 3.0), 1.6))
    box = ax.get_window_extent()
    aspect = (box.height / box.width) * (width / height)
    room = _TOP if times is None else _TOP - _LINES
    wide = min(room * aspect, 0.9 / F)
    high = wide / aspect
    centres = _spread(_places(times, F, ax), wide * 1.1)
    bottom = _TOP - high
    for k in range(F):
        color = "0.3" if colors is None else colors[k]
        frame = ax.inset_axes((centres[k] - wide / 2, bottom, wide, high))
        frame.imshow(frames[k], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        frame.set(xticks=[], yticks=[])
        for spine in frame.spines.values():
            spine.set(color=color, linewidth=1.6)
        if labels is not None:
            frame.set_title(labels[k], color=color, fontsize=9, pad=4)
        if times is not None:
            line = ConnectionPatch(
                (times[k], 0.0),
                (centres[k], bottom),
                coordsA=ax.get_xaxis_transform(),
                coordsB=ax.transAxes,
                color=color,
                linewidth=1,
            )
            line.set_clip_on(False)
            ax.add_artist(line)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    ax.set_ylim(0, 1)
    return ax


def _places(times: ArrayLike, F: int, ax: Axes) -> np.ndarray:
    """Where the centres of the frames should be, as fractions of the width of the Axes."""
    if times is None:
        return (np.arange(F) + 0.5) / F
    points = np.stack([np.asarray(as_real(times, "times"), dtype=float), np.zeros(F)], axis=1)
    return ax.transAxes.inverted().transform(ax.transData.transform(points))[:, 0]


def _spread(centres: np.ndarray, gap: float) -> np.ndarray:
    """Move sorted `centres` as little as needed to lie at least `gap` apart within [0, 1].

    This is isotonic regression. With the spacing subtracted, centres need only be in order; the
    closest ordered numbers in the least-squares sense are found by pooling adjacent violators, i.e.
    replacing neighbours that are out of order by their mean until none are. Then the spacing is
    added again.
    """
    offsets = gap * np.arange(len(centres))
    blocks: list[list[float]] = []  # of pooled neighbours: mean and size
    for value in centres - offsets:
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            before, weight = blocks.pop()
            blocks.append([(before * weight + mean * size) / (weight + size), weight + size])
    pooled = np.concatenate([np.full(int(size), mean) for mean, size in blocks])
    low, high = gap / 2, 1 - gap / 2 - offsets[-1]
    return np.clip(pooled, low, max(low, high)) + offsets
