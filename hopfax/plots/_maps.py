"""The map from the saliency of one memory to that of the next."""

import math

import numpy as np

from .._errors import as_count, as_number, check_at_least
from .._trajectory import RETRIEVED, Trajectory
from .._types import ArrayLike
from ..observables import switch_times, visited
from ..theory import sequential
from ._axes import COLOURS, Axes, Style, check_axes, new_axes


def saliency_map(
    kappa: ArrayLike,
    P: int | float = math.inf,
    *,
    Z0: ArrayLike = None,
    steps: int = 30,
    run: Trajectory | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the saliency map as a cobweb: the saliency that each memory hands to the next.

    The curve is $Z' = \kappa (1 - 1/Z)$ for the endless chain, and $Z' = \kappa (1 - 1/Z) +
    Z^{-(P-1)}$ for a cycle, once all its memories have been visited with equal saliency. It meets
    the diagonal at the exact fixed points. The orbit from $z(0) = Z_0 e_0$ lies on the curve for
    the chain; in a cycle it lies beside it until every memory keeps the same saliency from its
    last visit. Assumes the singular limit $\tau \to \infty$.

    Of a `run` its own staircase is drawn in place of that orbit: the saliency that each memory had
    when it was entered, which is when the memory before it escaped (the switch, where the run does
    not know its escapes), by linear interpolation between saves. At finite $\tau$ it lies beside
    the curve.

    **Arguments:** `kappa`: the gain. `P`: number of memories in the cycle, or `math.inf`. `Z0`:
    where the orbit starts (default `kappa`). `steps`: how many transitions it has. `run`: one run
    of a network with that gain and number of memories. `ax`: where to draw.

    **Returns:** the Axes.

    **Raises:** TypeError/ValueError naming the argument, as for a batch of runs, or a run without
    saliencies.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for the endless chain.

    **Example:**

    ```python
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    hx.plots.saliency_map(5.0, ax=ax)  # fixed points 1.382 and 3.618
    plt.close(figure)

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 200.0, 201))
    ax = hx.plots.saliency_map(5.0, 4, run=run)
    plt.close(ax.figure)
    ```
    """
    check_axes(ax)
    kappa = as_number(kappa, "kappa")
    check_at_least(kappa, "kappa", 0.0, strict=True)
    if run is not None and Z0 is not None:
        raise ValueError("`Z0` is for the orbit of the theory; a `run` has a start of its own.")
    start = max(kappa, 1.5) if Z0 is None else as_number(Z0, "Z0")
    check_at_least(start, "Z0", 1.0, strict=False)
    P = P if isinstance(P, float) and P == math.inf else as_count(P, "P", 2)
    if run is None:
        orbit = np.asarray(sequential.saliency_orbit(start, kappa, steps, P))
        orbit_name = f"orbit from $Z_0 = {start:.4g}$"
    else:
        orbit, orbit_name = _entered(run), "simulated run"
        start = float(orbit[0])
    ax = new_axes((5.2, 5.0)) if ax is None else ax
    top = 1.08 * max(float(np.nanmax(orbit, initial=start)), kappa, 2.0)
    Z = np.linspace(1.0, top, 400)
    image = kappa * (1 - 1 / Z) + (0.0 if P == math.inf else Z ** -(P - 1.0))
    ax.plot(Z, Z, color="0.6", lw=1, label="$Z' = Z$")
    residual = "" if P == math.inf else rf" + Z^{{-{int(P) - 1}}}"
    ax.plot(Z, image, color=COLOURS[0], label=rf"$Z' = \kappa (1 - 1/Z){residual}$")
    alive = orbit[np.isfinite(orbit)]
    if alive.size:
        ended = [] if alive.size == orbit.size else [1.0]
        path = np.repeat(np.concatenate([alive, ended]), 2)
        x, y = path[:-1], np.concatenate([[1.0], path[2:]])
        ax.plot(x, y, color=COLOURS[1], lw=0.9, label=orbit_name)
        ax.plot(start, 1.0, "o", color=COLOURS[1], ms=5, clip_on=False)
    points = sequential.fixed_points(kappa, P)
    for value, fill, name in (
        (float(points.upper), COLOURS[0], "stable"),
        (float(points.lower), "white", "unstable"),
    ):
        if math.isfinite(value):
            style: Style = dict(mec=COLOURS[0], mfc=fill, ms=7, ls="none", zorder=5)
            ax.plot(value, value, "o", label=f"{name}, $Z = {value:.4g}$", **style)
    chain = r"endless chain ($P \to \infty$)" if P == math.inf else f"cycle of $P = {int(P)}$"
    ax.set_title(rf"{chain}, $\kappa = {kappa:g}$, $\tau \to \infty$", fontsize="medium")
    ax.set(xlim=(1, top), ylim=(1, top), aspect="equal")
    ax.set(xlabel="saliency $Z$ of a memory", ylabel="saliency $Z'$ of the next one")
    ax.legend(loc="upper left", fontsize="small")
    return ax


def _entered(run: Trajectory) -> np.ndarray:
    """The saliency of each memory of a run when it was entered; NaN at the end if the last one let
    go and no other followed.

    **Raises:** ValueError for a run without saliencies, or that begins in no memory.
    """
    path, times = np.asarray(visited(run)), np.asarray(switch_times(run), float)
    if run.saliency is None:
        raise ValueError("`run` has no saliencies, as of a network of two timescales.")
    ts, z, m = (np.asarray(x, float) for x in (run.ts, run.saliency, run.overlaps))
    if not np.abs(m[0]).max() > RETRIEVED or not z[0, path[0]] >= 1:
        raise ValueError("`run` must begin in a memory with a saliency of at least 1.")
    if run.escapes is not None:
        escapes = np.asarray(run.escapes, float)
        escapes = escapes[np.isfinite(escapes)]
        places = np.searchsorted(escapes, times, side="right") - 1
        times = (
            np.where(places >= 0, escapes[np.maximum(places, 0)], times) if len(escapes) else times
        )
    later = [np.interp(t, ts, z[:, mu]) for t, mu in zip(times, path[1:], strict=True)]
    ended = [] if np.abs(m[-1]).max() > RETRIEVED else [np.nan]
    return np.array([z[0, path[0]], *later, *ended])
