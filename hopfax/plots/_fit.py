"""A fit: its data and model, the residuals, how sure each number is, and profiles."""

from collections.abc import Sequence

import numpy as np

from .._errors import check_type
from .._fit import FitResult, Profile
from .._fit._result import straight
from .._fit._trial import Replayed, Trial
from ..losses import Recording
from ._axes import COLOURS, Axes, Figure, Style, check_figure, new_figure

_ENTRIES = 16  # fitted numbers whose intervals are drawn
_NORMAL = 1.959964  # standard errors of an interval of 95 %
_WIDE = 150.0  # per cent at which an interval is cut off
_WRITTEN, _SIGNED = 8, 32  # rows of a matrix whose entries, or whose signs, are written
_DARK, _PALE = "0.15", "0.85"


def fit(
    found: FitResult, *, profiles: Sequence[Profile] = (), figure: Figure | None = None
) -> Figure:
    """Draw a fit: the data with the model over them, residuals, intervals, and what is open.

    - Data and model: paths of what was recorded, or the times of switches, with their standard
      deviations. For a loss of your own, which says only what its residuals are, they stand alone.
    - Residuals in standard deviations, with the band in which 95 % of them should lie.
    - Intervals of 95 % of the fitted numbers (the first 16), in per cent of each.
    - The transition matrix, if entries of it were fitted; those that the data leave open are
      hatched, those that were not fitted are framed.
    - `profiles`: the root of the deviance over each parameter, with the level of 95 %.

    **Arguments:** `found`: of `hopfax.fit`, or the `fit` of a `SequenceFit`. `profiles`: what
    `found.profile(label)` returned. `figure`: of matplotlib, a new one by default.

    **Returns:** the figure.

    **Raises:** TypeError naming the argument; ValueError for fits side by side, or for one that was
    made under `jit` or `vmap`.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.switch_times(
        [32.0, 63.0, 94.0], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]), sigma=0.5
    )
    found = hx.fit(network, loss, where=lambda net: net.kappa, progress=False)
    figure = hx.plots.fit(found)
    [ax.get_title() for ax in figure.axes]  # data and model, residuals, intervals of 95 %
    plt.close(figure)
    ```
    """
    check_type(found, "found", FitResult, "the result of hopfax.fit")
    profiles = [profiles] if isinstance(profiles, Profile) else list(profiles)
    for profile in profiles:
        check_type(profile, "profiles", Profile, "a list of what found.profile returns")
    check_figure(figure)
    if found.origin is None or np.ndim(found.loss):
        raise ValueError("`found` must be one fit that was not made under jit or vmap.")
    loss = found.origin.problem.loss
    terms = loss.compared(found.model) if isinstance(loss, Recording | Replayed) else []
    matrix = any(label.startswith("transition[") for label in found.labels)
    columns = 1 + bool(found.scale is not None) + matrix
    rows = max(2 * len(terms), 1) + bool(profiles)
    figure = new_figure((4.6 + 3.6 * (columns - 1), 1.0 + 2.1 * rows)) if figure is None else figure
    widths = [1.6] + [1.0] * (columns - 1)
    grid = figure.add_gridspec(rows, columns, width_ratios=widths)
    for k, term in enumerate(terms):
        _compared(figure.add_subplot(grid[2 * k, 0]), term)
        _residuals(figure.add_subplot(grid[2 * k + 1, 0]), term)
    if not terms:
        _plain_residuals(figure.add_subplot(grid[0, 0]), found)
    body = slice(0, rows - bool(profiles))
    if found.scale is not None:
        _intervals(figure.add_subplot(grid[body, 1]), found)
    if matrix:
        _matrix(figure.add_subplot(grid[body, columns - 1]), found)
    if profiles:
        strip = grid[-1, :].subgridspec(1, len(profiles))
        for k, profile in enumerate(profiles):
            _profile(figure.add_subplot(strip[0, k]), profile)
    return figure


def _compared(ax: Axes, term) -> None:
    """The data as points, the model as lines; of times, one row of marks for each."""
    x, seen, made = (np.asarray(v, float) for v in (term.x, term.seen, term.made))
    sigma = np.broadcast_to(np.asarray(term.sigma, float), seen.shape)
    if term.moments:
        ax.errorbar(
            seen[:, 0],
            np.full(x.size, 1.0),
            xerr=_NORMAL * sigma[:, 0],
            fmt="o",
            ms=4,
            color=COLOURS[0],
            capsize=2,
            label="data",
        )
        ax.plot(made[:, 0], np.zeros(x.size), "|", ms=16, mew=1.5, color=COLOURS[1], label="model")
        for a, b in zip(made[:, 0], seen[:, 0], strict=True):
            ax.plot([a, b], [0, 1], color=_PALE, lw=0.8, zorder=0)
        ax.set(yticks=[0, 1], yticklabels=["model", "data"], ylim=(-0.6, 1.6))
        ax.set_xlabel(f"{term.name} (fast time constants)")
    else:
        moving = np.flatnonzero(np.isfinite(seen).any(0))
        for k in moving:
            colour = COLOURS[k % len(COLOURS)]
            ax.plot(x, seen[:, k], ".", ms=4, color=colour, alpha=0.6)
            ax.plot(x, made[:, k], "-", lw=1.2, color=colour)
        ax.plot([], [], ".", color=_DARK, label="data")
        ax.plot([], [], "-", color=_DARK, label="model")
        ax.legend(fontsize="small", frameon=False, loc="upper right", ncols=2)
        ax.set(xlabel="time (fast time constants)", ylabel=term.name)
        ax.margins(y=0.15)
    ax.set_title("data and model", fontsize="medium")


def _residuals(ax: Axes, term) -> None:
    x, seen, made = (np.asarray(v, float) for v in (term.x, term.seen, term.made))
    sigma = np.broadcast_to(np.asarray(term.sigma, float), seen.shape)
    difference = (made - seen) / sigma
    for k, column in enumerate(difference.T):
        colour = COLOURS[k % len(COLOURS)] if difference.shape[1] > 1 else COLOURS[0]
        ax.plot(x, column, ".", ms=4, color=colour)
    missing = np.isnan(made) & ~np.isnan(seen)
    for at in np.unique(x[missing.any(axis=1)]):
        ax.axvline(at, color=COLOURS[1], lw=1, ls=":")
    if missing.any():
        ax.plot([], [], ":", color=COLOURS[1], label="missing in the model")
        ax.legend(fontsize="small", frameon=False)
    _band(ax)
    ax.set_xlabel("number" if term.moments else "time (fast time constants)")
    if term.moments:
        ax.locator_params(axis="x", integer=True)
    ax.set_title("residuals", fontsize="medium")


def _plain_residuals(ax: Axes, found: FitResult) -> None:
    """The residuals of a loss of one's own, in their order."""
    origin = found.origin
    assert origin is not None
    loss, data = origin.problem.loss, origin.data
    out = loss(found.model) if data is None else loss(found.model, data)
    residuals = np.asarray(out).ravel()
    ax.plot(np.arange(residuals.size), residuals, ".", ms=4, color=COLOURS[0])
    _band(ax)
    ax.set_xlabel("number")
    ax.set_title("residuals", fontsize="medium")


def _band(ax: Axes) -> None:
    ax.axhspan(-_NORMAL, _NORMAL, color=_PALE, alpha=0.6, lw=0, zorder=0)
    ax.axhline(0.0, color=_DARK, lw=0.8, zorder=1)
    ax.set_ylabel(r"(model $-$ data) / $\sigma$")


def _intervals(ax: Axes, found: FitResult) -> None:
    """One bar for each fitted number, in per cent of it. Where the loss is no parabola intervals
    are not waited for: the bars are standard errors, dotted."""
    values = np.asarray(found.values, float)[:_ENTRIES]
    if straight(found):
        ends = [np.asarray(end, float)[:_ENTRIES] for end in found.interval(0.95)]
    else:
        width = _NORMAL * np.asarray(found.stderr, float)[:_ENTRIES]
        ends = [values - width, values + width]
    size = np.where(values != 0, np.abs(values), 1.0)
    low, high = (np.clip(100 * (end - values) / size, -_WIDE, _WIDE) for end in ends)
    rows = np.arange(values.size)
    texts, drawn = [], False
    for k in rows:
        known = np.isfinite([low[k], high[k]]).all() and high[k] - low[k] < 2 * _WIDE
        known = known and straight(found)
        colour = COLOURS[0] if known else COLOURS[1]
        if np.isfinite([low[k], high[k]]).all():
            bar: Style = dict(ls="-", lw=2.5) if known else dict(ls=":", lw=1.5)
            ax.plot([low[k], high[k]], [k, k], color=colour, solid_capstyle="butt", **bar)
        ax.plot(0.0, k, "o", ms=4, color=colour)
        text = f"{ends[0][k]:.4g} to {ends[1][k]:.4g}" if not np.isnan(low[k]) else "not given"
        if np.isinf([ends[0][k], ends[1][k]]).all():
            text = "not determined by the data"
        drawn = drawn or bool(np.isfinite([low[k], high[k]]).all())
        texts.append(f"{found.labels[k]} = {values[k]:.4g}\n{text}")
    ax.axvline(0.0, color=_DARK, lw=0.6, zorder=0)
    if not drawn:
        ax.set_xlim(-100.0, 100.0)
    ax.set_yticks(rows, texts, fontsize="x-small")
    ax.set_ylim(rows.size - 0.4, -0.6)
    ax.set_xlabel("per cent of the value")
    more = f" (the first {_ENTRIES})" if len(found.labels) > _ENTRIES else ""
    what = "intervals of 95 %" if straight(found) else "1.96 standard errors, which say little here"
    ax.set_title(what + more, fontsize="medium")


def _matrix(ax: Axes, found: FitResult) -> None:
    """The transition matrix; open entries are hatched, those that were not fitted framed."""
    from matplotlib.patches import Patch, Rectangle

    network = found.model.network if isinstance(found.model, Trial) else found.model
    matrix = np.asarray(network.transition, float)
    P = len(matrix)
    places = {}
    for k, label in enumerate(found.labels):
        if label.startswith("transition["):
            nu, mu = label[len("transition[") : -1].split(",")
            places[int(nu), int(mu)] = k
    stderr = None if found.stderr is None else np.asarray(found.stderr, float)
    limit = 0.1 * float(np.abs(matrix).max())
    known = np.ones((P, P), bool)
    for (nu, mu), k in places.items():
        known[nu, mu] = stderr is not None and bool(stderr[k] <= limit)
    # What is open may be of any size, and must not take the colours from what is known.
    top = float(np.abs(matrix[known]).max(initial=0.0)) or float(np.abs(matrix).max()) or 1.0
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-top, vmax=top)
    signed(ax, np.where(known, matrix, 0.0), top)
    marks = set()
    for nu in range(P):
        for mu in range(P):
            k = places.get((nu, mu))
            corner = (mu - 0.5, nu - 0.5)
            if k is None:
                ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec="0.6", lw=0.5))
                marks.add("fixed")
            elif not known[nu, mu]:
                ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec="0.3", lw=0, hatch="////"))
                marks.add("open")
    ticks = np.arange(P) if P <= 12 else np.arange(0, P, max(P // 6, 1))
    ax.set(xticks=ticks, yticks=ticks, xlabel="from memory", ylabel="to memory")
    ax.set_title("transition matrix", fontsize="medium")
    ax.figure.colorbar(image, ax=ax, shrink=0.7, extend="both")
    styles = {
        "open": Patch(fill=False, ec="0.3", lw=0.5, hatch="////", label="open, or known to > 10 %"),
        "fixed": Patch(fill=False, ec="0.6", lw=0.8, label="not fitted"),
    }
    handles = [styles[mark] for mark in ("open", "fixed") if mark in marks]
    if handles:
        place: Style = dict(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize="x-small")
        ax.legend(handles=handles, frameon=False, **place)


def signed(ax: Axes, matrix: np.ndarray, top: float) -> None:
    """Write the entries of a small matrix into its cells, and of a larger one the sign of those
    below zero: in greyscale red and blue are alike."""
    P = len(matrix)
    for (row, column), entry in np.ndenumerate(matrix):
        if abs(entry) < 0.02 * top or (P > _WRITTEN and (entry > 0 or P > _SIGNED)):
            continue
        text = f"{entry:.2g}" if P <= _WRITTEN else "\u2212"
        colour = "white" if abs(entry) > 0.6 * top else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize="x-small", color=colour)


def _profile(ax: Axes, profile: Profile) -> None:
    """The root of the deviance, of which an interval of 95 % is where it lies below 1.96."""
    values, roots = np.asarray(profile.values), np.sqrt(np.asarray(profile.deviance))
    finite = np.isfinite(roots)
    ax.plot(values[finite], roots[finite], ".-", color=COLOURS[0], ms=4, lw=1.2)
    low, high = (float(end) for end in profile.interval(0.95))
    level = float(profile.bound(0.95))
    ax.axhline(level, color=_DARK, lw=0.8, ls="--")
    for end in (low, high):
        if values.min() <= end <= values.max():
            ax.axvline(end, color=_DARK, lw=0.8, ls=":")
    if (values > 0).all() and values.max() > 30 * values.min():
        ax.set_xscale("log")
    ax.plot(float(profile.best), 0.0, "o", ms=5, color=COLOURS[1])
    ax.set(xlabel=profile.label, ylabel="root of the deviance", ylim=(-0.1 * level, 1.6 * level))
    ax.set_title(f"{low:.4g} to {high:.4g}", fontsize="small")
