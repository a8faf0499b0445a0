"""One run of any network, in continuous or discrete time: its table, its picture and its files."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import hopfax as hx

from .._errors import check_memory
from .._palette import look_of
from ._console import number, say, table
from ._folder import Folder
from ._memories import absolute, named
from ._output import default_folder
from ._picture import check_ending, require
from ._settings import FILE, settings, to_toml

_SAVES = 200
_FRAMES = 8
_LISTED = 12  # memories in the table
_TITLE = 110  # letters in a line
TRAJECTORY, MODEL = "trajectory.zarr", "model.hopfax"


@dataclasses.dataclass(frozen=True)
class Result:
    """A run. `frames`: what neurons did at `times`, (F, N). `unit`: in which times are told.
    `theory`: at each step, the overlap with the memory that is due as the exact theory has it."""

    network: Any
    trajectory: Any
    tracked: list[int]
    times: np.ndarray
    frames: np.ndarray
    outcome: str
    unit: str
    theory: np.ndarray | None = None


def place_of(
    asked: Any, models: Sequence[str] = (MODEL,), trajectories: Sequence[str] = (TRAJECTORY,)
) -> Folder:
    """The folder of a run, where these and its picture can be written. To be called before anything
    is computed."""
    check_ending(asked.picture, "picture")
    if pathlib.Path(asked.picture).name != asked.picture:
        raise ValueError(
            f"`picture` is the name of a file in the output folder (--out), got {asked.picture!r}."
        )
    place = Folder(asked.out or default_folder("run", settings(asked)), asked.overwrite)
    place.check(asked.picture, FILE, *models, folders=tuple(trajectories))
    require("hopfax run")
    return place


def _rates(t, state, network):
    return network.rates(state)


def _spins(t, state, network):
    return state.spins


def flow(
    network: Any, state: Any, horizon: float, noise: float, seed: int, **inputs: Any
) -> Result:
    """A run in continuous time, `horizon` long in time constants: slow ones, if there are some.

    `noise`: its strength, 0 for none; `seed`: of the noise. `inputs`: `stimulus` and `current` as
    of `hopfax.simulate`.
    """
    slow, N = network.slow_constant(), network.patterns.N
    span = horizon * (1.0 if slow is None else float(np.max(np.asarray(slow))))
    saves = max(_SAVES, min(math.ceil(span), 10 * _SAVES)) + 1
    check_memory("horizon", 8 * saves * 2 * N, f"{saves} states of {N} neurons")
    ts = np.linspace(0.0, span, saves)
    how: dict[str, Any] = dict(observe=_rates, max_steps=65536)
    if noise:
        how |= {"noise": noise, "key": jax.random.key(seed), "max_steps": 65536 + int(100 * span)}
    found = hx.simulate(network, state, ts, **how, **inputs)
    code = int(hx.observables.classify(found))
    tracked = list(range(network.patterns.P))
    some = np.linspace(0, saves - 1, _FRAMES).round().astype(int)
    frames = np.asarray(found.observed)[some]
    outcome = hx.observables.REGIMES[code]
    return Result(network, found, tracked, ts[some], frames, outcome, "fast time constants")


def steps(
    network: Any,
    state: Any,
    count: int,
    tracked: list[int],
    key: Any,
    due: np.ndarray,
    theory: np.ndarray | None = None,
) -> Result:
    """A run of so many steps, with the overlaps of these memories, the first that of the start.
    `due`: the memory in which it is to be at each step; `theory`: the overlap with it there."""
    N = network.patterns.N
    check_memory("steps", 8 * (count + 1) * 2 * N, f"{count} steps of {N} neurons")
    key = key if network.random else None
    observe: Any = _spins if hasattr(state, "spins") else None
    found = hx.iterate(network, state, count, key=key, track=tracked, observe=observe)
    some = np.unique(np.linspace(0, count, _FRAMES).round().astype(int))
    seen = np.zeros((count + 1, N)) if found.observed is None else np.asarray(found.observed)
    last, moved = float(found.overlaps[-1, 0]), int(found.counters["moved"])
    held = "recalled" if last > 0.9 else "not recalled"
    outcome = f"memory {tracked[0]} is {held}; the last step changed {moved} neurons"
    if (due != due[0]).any():
        column = {mu: k for k, mu in enumerate(tracked)}
        end = count if due[-1] != due[-2] else int(np.argmax(due == due[-1]))  # of a chain
        known = [t for t in range(1, end + 1) if int(due[t]) in column]
        m = np.asarray(found.overlaps)[known, [column[int(due[t])] for t in known]]
        outcome = (
            f"{int((m > 0.9).sum())} of {len(known)} steps recall the memory that is due, with an "
            f"overlap above 0.9; overlap with it at the end {m[-1]:.3f}"
        )
        if theory is not None:
            theory = np.where(np.arange(count + 1) <= end, theory, np.nan)
            outcome += f" (theory {theory[known[-1]]:.3f})"
        if end < count:
            outcome += f"; the chain ends with step {end}"
    return Result(network, found, tracked, some, seen[some], outcome, "steps", theory)


def finish(
    run: Result,
    place: Folder,
    shape: tuple[int, int] | None,
    asked: Any,
    named: Callable[[str], bool] = named,
) -> int:
    """Print the table of a run, draw it and write its files. `named`: as in `absolute`."""
    if shape is not None and math.prod(shape) != run.network.patterns.N:
        raise ValueError(f"`image_shape` {shape} does not make {run.network.patterns.N} neurons.")
    dataset = run.trajectory.to_xarray()
    dataset = dataset.drop_vars(dataset.data_vars.keys() & {"observed"})
    dataset = dataset.assign_coords(memory=run.tracked)
    dataset["frame"] = (("frame_time", "neuron"), run.frames, {"long_name": "activity of neurons"})
    dataset = dataset.assign_coords(frame_time=("frame_time", run.times, {"units": run.unit}))
    dataset["time"].attrs["units"] = run.unit
    if run.theory is not None:
        text = "overlap with the memory that is due, by the theory of infinite size"
        dataset["theory"] = (("time",), run.theory, {"long_name": text})
    dataset.attrs["outcome"] = run.outcome
    place.write_zarr(TRAJECTORY, dataset)
    place.write(MODEL, lambda partial: hx.save(partial, run.network))
    say(report(run))
    place.draw(asked.picture, draw(run, shape))
    record(place, asked, named)
    say()
    say(f"written to {place.path}")
    return 0


def record(place: Folder, asked: Any, named: Callable[[str], bool] = named) -> None:
    """Write the settings of a run, the last of its files, so that they mean it anywhere."""
    place.write_bytes(FILE, to_toml(settings(asked) | absolute(asked, named)).encode())


def report(run: Result) -> str:
    """What became of the memories, as a table of those with the largest overlaps."""
    overlaps = np.asarray(run.trajectory.overlaps)
    shown = sorted(np.argsort(-abs(overlaps).max(0), kind="stable")[:_LISTED].tolist())
    head = ("memory", "overlap at the start", "greatest", "at the end")
    rows = [
        (
            str(run.tracked[k]),
            *(number(x) for x in (overlaps[0, k], abs(overlaps[:, k]).max(), overlaps[-1, k])),
        )
        for k in shown
    ]
    P, N = run.network.patterns.P, run.network.patterns.N
    kind = type(run.network).__name__
    more = f"\nThe other {P - len(shown)} memories are left out." if P > len(shown) else ""
    reduction = run.trajectory.reduction
    how = "" if run.unit == "steps" else f", reduction to {reduction}"
    return (
        f"{kind}: {P} memories, {N} neurons{how}; outcome: {run.outcome}\n\n"
        f"{table(head, rows)}{more}"
    )


def draw(run: Result, shape: tuple[int, int] | None) -> Any:
    """Overlaps (and saliencies) over time, and above them images, if the memories are some."""
    rows = 1 + (run.trajectory.saliency is not None)
    heights = [1.2] * (shape is not None) + [2.2] * rows
    figure = require()(figsize=(8.0, 1.6 + sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axes = [figure.add_subplot(grid[-1])]
    if rows > 1:
        axes.insert(0, figure.add_subplot(grid[-2], sharex=axes[-1]))
        axes[0].tick_params(labelbottom=False)
    network = None if run.unit == "steps" else run.network
    hx.plots.trajectory(run.trajectory, network, axes=np.array(axes))
    if run.unit == "steps":
        axes[-1].set_xlabel("steps")
        _name(axes[0], run.tracked)
    if run.theory is not None:
        ax, look = axes[0], dict(ls="none", marker="o", mfc="none", mec="0.2", ms=7, zorder=3)
        ax.plot(np.arange(len(run.theory)), run.theory, **look)
        if (legend := ax.get_legend()) is not None:
            legend.set_title("memory; circles: theory of the one that is due", {"size": "small"})
    if shape is not None:
        _film(run, figure.add_subplot(grid[0], sharex=axes[0]), shape)
    P, N = run.network.patterns.P, run.network.patterns.N
    what, apart = f"{type(run.network).__name__}, P = {P}, N = {N}:", " "
    if len(what + run.outcome) > _TITLE:
        apart = "\n"
    figure.suptitle(f"{what}{apart}{run.outcome}", fontsize=10)
    return figure


def _name(ax: Any, tracked: list[int]) -> None:
    """The legend with the numbers of the memories that are tracked."""
    legend = ax.get_legend()
    if legend is None or len(tracked) != len(legend.get_texts()):
        return
    for text, mu in zip(legend.get_texts(), tracked, strict=True):
        text.set_text(f"memory {mu}" if len(tracked) <= 7 else str(mu))


def _film(run: Result, ax: Any, shape: tuple[int, int]) -> None:
    """What the neurons did, as images: dark where one is silent or -1."""
    frames, top = run.frames, max(float(abs(run.frames).max()), 1e-12)
    shown = frames / top if frames.min() < 0 else 2 * frames / top - 1
    overlaps, ts = np.asarray(run.trajectory.overlaps), np.asarray(run.trajectory.ts)
    at = [int(np.argmin(abs(ts - time))) for time in run.times]
    best = [int(np.argmax(abs(overlaps[k]))) for k in at]
    labels = [f"{run.tracked[mu]}: {overlaps[k, mu]:.2f}" for k, mu in zip(at, best, strict=True)]
    colours = [look_of(mu).colour for mu in best]
    images = shown.reshape(-1, *shape)
    hx.plots.film_strip(images, labels, times=run.times, colors=colours, ax=ax)
