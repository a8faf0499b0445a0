"""`hopfax run`: one sequence of memories, beside what the theory says about it."""

import dataclasses
import math
import pathlib
from typing import Any, Literal

import numpy as np

from . import _common
from ._memories import memories_of

Learning = Literal["hebbian", "pseudo_inverse", "both"]
Activation = Literal["hard_tanh", "tanh", "erf", "rational", "arctan"]
Readout = Literal["linear", "abs", "square", "relu"]

_SAVES = 100  # saves per slow time constant
_FRAMES = 14  # images in a film strip
_TRANSITIONS = 64  # as many as a run's log keeps


@dataclasses.dataclass(frozen=True)
class Run:
    """Simulate one sequence of memories and compare its switches with theory.

    The memories call each other in a cycle; a table lists when each switch took place and when it
    was predicted. Written are the trajectory, the network and a picture; memories that are images
    are shown along the sequence. Example: hopfax run --patterns digits --learning both
    """

    patterns: str = "hadamard"
    """Memories: hadamard, random, digits (scikit-learn's 8 x 8 digits, one of each), a .npy or
    .npz file, or a folder of PNG or JPEG images."""
    memories: int | None = None
    """How many memories (default: 4, or all that the source has)."""
    neurons: int | None = None
    """How many neurons (default: 1024, or as the source says)."""
    order: tuple[int, ...] = ()
    """The cycle as memory indices, e.g. 0 2 1 (default: all memories in turn)."""
    kappa: float = 5.0
    """Gain of the slow equation."""
    tau: float = 50.0
    """Slow over fast time constant."""
    bias: float = 0.01
    """Input along every memory that seeds the transitions."""
    horizon: float | None = None
    """Length of the run in slow time constants (default: 10, or 1.6 for every memory)."""
    saliency0: tuple[float, ...] = (4.0,)
    """Start saliency of the cycle's first memory, or one value for every memory."""
    readout: Readout = "linear"
    """What the slow equation reads of an overlap."""
    learning: Learning = "hebbian"
    """Learning rule; both runs the two and shows them side by side."""
    activation: Activation = "hard_tanh"
    """Activation of the neurons."""
    gain: float = 1.0
    """Slope of the activation at the origin."""
    noise: float = 0.0
    """Strength of the noise on every neuron."""
    seed: int = 0
    """Seed of noise and of random patterns."""
    image_shape: tuple[int, int] | None = None
    """Height and width: resizes images of a folder, and shows the memories of a file as images."""
    threshold: str = "median"
    """Grey level above which a pixel is +1: median or mean of each image, or a number."""
    model: pathlib.Path | None = None
    """A saved two-timescale network to run in place of one made from the options above."""
    precision: _common.Precision = "float64"
    """Floating-point precision."""
    config: pathlib.Path | None = None
    """A TOML file with these settings; options on the command line win."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/run-<hash of the settings>)."""
    overwrite: bool = False
    """Replace the files of an earlier run in the output folder."""

    def __call__(self) -> int:
        """Run, print, write."""
        folder = self.out or _common.output_folder("run", _common.settings(self))
        earlier = [folder / name for name in ("run.png", "settings.toml")]
        if not self.overwrite and any(file.exists() for file in earlier):
            raise FileExistsError(f"`out`: {folder} holds an earlier run; --overwrite replaces it.")
        with _common.precision(self.precision):
            networks, shape = self._networks()
            command = self._noted()
            runs = {name: _simulate(command, network) for name, network in networks.items()}
            folder.mkdir(parents=True, exist_ok=True)
            for name, run in runs.items():
                suffix = f"-{name}" if len(runs) > 1 else ""
                _write(run, folder, suffix, shape)
                _common.say(_report(run, name))
            if shape is not None:
                _common.say("\n".join(_explain(runs)) + "\n")
            figure = _draw(runs, shape)
            figure.savefig(folder / "run.png", dpi=130)
        (folder / "settings.toml").write_text(_common.to_toml(_common.settings(self)))
        _common.say(f"written to {folder}")
        return 0

    def _networks(self) -> tuple[dict[str, Any], tuple[int, int] | None]:
        """The network for every learning rule, and the images' height and width if they are."""
        import hopfax as hx

        if self.model is not None:
            return {"model": self._loaded()}, self.image_shape
        memories, shape = memories_of(self)
        order = self.order or tuple(range(memories.P))
        if sorted(set(order)) != sorted(order) or not set(order) <= set(range(memories.P)):
            raise ValueError(
                f"`order` must list different memories of 0..{memories.P - 1}, got {list(order)}."
            )
        transition = np.zeros((memories.P, memories.P))
        for current, following in zip(order, order[1:] + order[:1], strict=True):
            transition[following, current] = 1.0
        kind = {
            "hard_tanh": hx.HardTanh,
            "tanh": hx.Tanh,
            "erf": hx.Erf,
            "rational": hx.Rational,
            "arctan": hx.Arctan,
        }[self.activation]
        rules = ("hebbian", "pseudo_inverse") if self.learning == "both" else (self.learning,)
        networks = {
            rule: hx.TwoTimescaleHopfield(
                memories,
                transition,
                kappa=self.kappa,
                tau=self.tau,
                bias=self.bias,
                readout=self.readout,
                activation=kind() if self.gain == 1.0 else kind(self.gain),
                learning=rule,
            )
            for rule in rules
        }
        return networks, shape

    def _loaded(self) -> Any:
        import hopfax as hx

        fixed = ("patterns", "memories", "neurons", "order", "kappa", "tau", "bias", "readout")
        fixed += ("learning", "activation", "gain", "threshold")
        for field in dataclasses.fields(self):
            if field.name in fixed and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"`{field.name}` cannot be set together with `model`, which has it."
                )
        network = hx.load(self.model)
        if not isinstance(network, hx.TwoTimescaleHopfield):
            raise ValueError(
                f"`model` must hold a TwoTimescaleHopfield, but {self.model} holds a "
                f"{type(network).__name__}."
            )
        return network

    def _noted(self) -> "Run":
        """With start and horizon as the model's file notes them, where none are given."""
        if self.model is None:
            return self
        from .._serialise import notes

        found, given = notes(self.model), {}
        for name, default in (("saliency0", (4.0,)), ("horizon", None)):
            if getattr(self, name) == default and name in found:
                value = found[name]
                given[name] = tuple(value) if isinstance(value, list) else value
        return dataclasses.replace(self, **given)

    def start(self, P: int, first: int) -> np.ndarray:
        """The start saliencies of `P` memories."""
        given = np.asarray(self.saliency0, dtype=float)
        if given.size == 1:
            return np.where(np.arange(P) == first, given, 0.0)
        if given.size != P:
            raise ValueError(
                f"`saliency0` must be one number or {P}, one a memory, got {given.size}."
            )
        return given


@dataclasses.dataclass(frozen=True)
class _Result:
    """One run, what was predicted for it, and the dwells' images."""

    network: Any
    trajectory: Any
    start: np.ndarray
    visited: list[int]
    switches: np.ndarray  # in fast time constants, like all times here
    predicted: np.ndarray
    escapes: np.ndarray
    frame_times: np.ndarray
    frames: np.ndarray  # (F, N) firing rates
    regime: str


def _rates(t, state, network):
    """The firing rates, saved so that dwells can be shown as images."""
    return network.activation(state.field)


def _simulate(command: Run, network: Any) -> _Result:
    import jax

    import hopfax as hx

    P = network.patterns.P
    horizon = max(10.0, 1.6 * P) if command.horizon is None else command.horizon
    if not (math.isfinite(horizon) and horizon > 0):
        raise ValueError(f"`horizon` must be > 0, got {horizon:g}.")
    tau = float(np.max(np.asarray(network.tau)))
    start = command.start(P, command.order[0] if command.order else 0)
    span = horizon * tau
    noisy = command.noise != 0.0
    trajectory = hx.simulate(
        network,
        network.init(saliency=start),
        np.linspace(0.0, span, int(math.ceil(_SAVES * horizon)) + 1),
        noise=command.noise if noisy else None,
        key=jax.random.key(command.seed) if noisy else None,
        observe=_rates,
        max_steps=65536 + (int(24 * span) if noisy else 0),
    )
    switches = np.asarray(hx.observables.switch_times(trajectory))
    predicted, escapes = _predict(network, start, span, noisy)
    edges = np.concatenate([[0.0], switches, [span]])
    middles = (edges[1:] + edges[:-1])[:_FRAMES] / 2
    nearest = np.argmin(np.abs(np.asarray(trajectory.ts)[:, None] - middles), axis=0)
    return _Result(
        network,
        trajectory,
        start,
        np.asarray(hx.observables.visited(trajectory)).tolist(),
        switches,
        predicted,
        escapes,
        middles,
        np.asarray(trajectory.observed)[nearest],
        hx.observables.REGIMES[int(hx.observables.classify(trajectory))],
    )


def _predict(network, start, span: float, noisy: bool) -> tuple[np.ndarray, np.ndarray]:
    """Switch times at finite tau where a theory exists, and escape times in the singular limit.

    Both are for orthogonal memories; those within the run.
    """
    import hopfax as hx

    from ..theory import sequential as theory

    kappa, tau, bias = (np.asarray(x) for x in (network.kappa, network.tau, network.bias))
    activation, transition = network.activation, np.asarray(network.transition)
    none = np.empty(0)
    if not isinstance(activation, hx.HardTanh) or noisy:
        return none, none
    gain = 1.0 if activation.gain is None else float(activation.gain)
    path = theory.itinerary(transition, gain * kappa, tau, gain * start, _TRANSITIONS)
    escapes = np.asarray(path.time)[1:]
    escapes = escapes[escapes <= span]  # and no NaN
    called = transition[:, int(np.argmax(start))]
    simple = kappa.ndim == tau.ndim == bias.ndim == 0 and tau > 1 and bias > 0
    simple = simple and np.sum(start != 0) == 1 and set(transition.ravel().tolist()) <= {0.0, 1.0}
    simple = simple and called.sum() == 1 and np.all(transition.sum(0) <= 1)
    if not simple or transition.trace() > 0:
        return none, escapes
    k, b, Z0 = gain * float(kappa), gain * float(bias), gain * float(start.max())
    first = float(theory.switch_time(Z0, k, float(tau), b))
    length = int(np.any(transition, axis=1).sum())
    if not math.isfinite(first) or length < 3:
        return np.asarray([first] if math.isfinite(first) else []), escapes
    dwell = float(theory.dwell_time(k, float(tau), length, b))
    later = np.arange(1, _TRANSITIONS) * dwell if math.isfinite(dwell) else none
    times = np.concatenate([[first], first + later])
    return times[times <= span], escapes


def _write(run: _Result, folder: pathlib.Path, suffix: str, shape) -> None:
    import hopfax as hx

    dataset = run.trajectory.to_xarray()
    dataset = dataset.drop_vars(dataset.data_vars.keys() & {"observed"})
    unit = {"units": "fast time constants"}
    for name, times in (("predicted_switch", run.predicted), ("predicted_escape", run.escapes)):
        dataset[name] = (name, times, unit)
    if shape is not None:
        frames = run.frames.reshape(-1, *shape)
        dataset["frame"] = (("frame_time", "row", "column"), frames, {"long_name": "firing rate"})
        dataset = dataset.assign_coords(frame_time=("frame_time", run.frame_times, unit))
    dataset.attrs["regime"] = run.regime
    _common.write_zarr(dataset, folder / f"trajectory{suffix}.zarr")
    hx.save(folder / f"model{suffix}.hopfax", run.network)


def _report(run: _Result, name: str) -> str:
    """The table of switches."""
    rows = []
    for k in range(max(len(run.switches), len(run.predicted))):
        measured, predicted, escape = (
            float(times[k]) if k < len(times) else math.nan
            for times in (run.switches, run.predicted, run.escapes)
        )
        here = f"{run.visited[k]} -> {run.visited[k + 1]}" if k < len(run.switches) else "none"
        numbers = (measured, predicted, measured - predicted, escape)
        rows.append((f"{k + 1}: {here}", *(_common.number(x, 3) for x in numbers)))
    head = ("switch", "measured", "predicted", "difference", "escape")
    note = (
        "Times in fast time constants. Predicted for orthogonal memories: the first switch from "
        "its\nformula, later ones at the steady dwell. Escape: without a seed, tau -> infinity."
    )
    if not len(run.predicted) and not len(run.escapes):
        head, rows = head[:2], [row[:2] for row in rows]
        note = "Times in fast time constants; no prediction is derived for these settings."
    P, N = run.network.patterns.P, run.network.patterns.N
    lines = [
        f"{name}: {P} memories, {N} neurons, reduction to {run.trajectory.reduction}; "
        f"outcome: {run.regime}",
        note,
        _common.table(head, rows) if rows else "no switch took place",
    ]
    shown = run.visited[: len(run.frames)]
    opposite = _matches(run)[shown, np.arange(len(shown))] < -0.5
    if opposite.any():
        ending = "; with a linear readout that ends a sequence" * (run.network.readout == "linear")
        lines.append(
            f"Memory {shown[int(np.argmax(opposite))]} was retrieved with the opposite sign, "
            f"because its seed was negative{ending}."
        )
    if int(run.trajectory.switches.count) > run.trajectory.switches.time.shape[0]:
        lines.append("More switches took place than are kept; shorten the horizon.")
    return "\n".join(lines) + "\n"


def _explain(runs: dict[str, _Result]) -> list[str]:
    """What became of the images, and why, in sentences that hold for these runs."""
    network = next(iter(runs.values())).network
    gram = np.asarray(network.patterns.gram())
    apart = gram[~np.eye(len(gram), dtype=bool)]
    lines = []
    if apart.size:
        lines.append(
            f"The images overlap each other by {apart.min():.2f} to {apart.max():.2f} (mean "
            f"{apart.mean():.2f}); the theory is for 0."
        )
    return lines + [f"{name}: {_fate(run)}" for name, run in runs.items()]


def _matches(run: _Result) -> np.ndarray:
    """Overlap of every frame's signs with every memory, (P, F)."""
    xi = np.asarray(run.network.patterns.xi)
    return xi @ np.sign(run.frames).T / xi.shape[1]


def _fate(run: _Result) -> str:
    count = len(run.switches) + 1
    seen = min(count, _FRAMES)
    path = " -> ".join(map(str, run.visited[:seen])) + (" ..." if count > seen else "")
    if run.regime == "sequence":
        own = float(_matches(run)[run.visited[:seen], np.arange(seen)].min())
        shown = "exactly" if own == 1.0 else f"with an overlap of at least {own:.3f}"
        text = f"goes round, {path}, and shows {shown} the active memory's image in mid-dwell."
        if run.network.learning == "pseudo_inverse":
            text += (
                " Its overlaps are C^-1 m, which is 1 for the image shown and 0 for all others, "
                "however alike they are; so only the successor is charged."
            )
        return text
    if _unrest(run) > 0.05 or run.regime not in ("mixed", "locked"):
        return f"passes {path}; outcome within the horizon: {run.regime}."
    xi, final = np.asarray(run.network.patterns.xi), run.trajectory.final
    image = np.sign(np.asarray(run.network.activation(final.field)))
    at_end, vote, z = xi @ image / xi.shape[1], np.sign(xi.sum(axis=0)), np.asarray(final.saliency)
    agree = np.mean(image[vote != 0] == vote[vote != 0])
    text = (
        f"passes {path} and comes to rest in one image that overlaps the {len(xi)} memories by "
        f"{at_end.min():.2f} to {at_end.max():.2f}. It is the pixelwise majority vote of all of "
        f"them in {100 * agree:.0f} % of the pixels."
    )
    edge = 1 / float(run.network.activation.slope(np.zeros((), z.dtype)))
    if z.min() > edge:
        text += (
            " What the images have in common is enough to charge every memory all the time: the "
            f"saliencies stay at {z.min():.2f} to {z.max():.2f} and none falls to {edge:g}, where "
            "an orthogonal memory would let go."
        )
    return text


def _unrest(run: _Result) -> float:
    """Largest change of field or saliency per slow time constant at the end."""
    change = run.network.vector_field(0.0, run.trajectory.final)
    tau = float(np.max(np.asarray(run.network.tau)))
    return tau * max(float(np.abs(x).max()) for x in (change.field, change.saliency))


def _draw(runs: dict[str, _Result], shape) -> Any:
    """Film (for images), overlaps and saliencies, one column a run."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        from .._errors import missing

        raise missing("matplotlib", "plot", "hopfax run") from error
    heights = [1.2, 2.0, 2.0] if shape is not None else [2.0, 2.0]
    width, height = 0.4 + 7.6 * len(runs), 1.4 + sum(heights)
    figure = Figure(figsize=(width, height))
    sides = {"left": 0.75 / width, "right": 1 - 0.35 / width}
    sides |= {"bottom": 0.55 / height, "top": 1 - (0.4 if shape is not None else 0.85) / height}
    grid = figure.add_gridspec(
        len(heights), len(runs), height_ratios=heights, hspace=0.1, wspace=0.1, **sides
    )
    for column, (name, run) in enumerate(runs.items()):
        axes = [figure.add_subplot(grid[-1, column])]
        for row in reversed(range(len(heights) - 1)):
            axes.insert(0, figure.add_subplot(grid[row, column], sharex=axes[-1]))
        _curves(run, axes[-2:])
        if shape is not None:
            _film(run, axes[0], shape)
            if (legend := axes[1].get_legend()) is not None:
                legend.remove()  # the images say which memory has which colour
        place, y = axes[0].get_position(), 1 - 0.28 / height
        figure.text(place.x0, y, _title(run, name), fontsize="large")
        figure.text(place.x1, y, _lines(run), fontsize="small", color="0.35", ha="right")
    return figure


def _title(run: _Result, name: str) -> str:
    tau, kappa = run.network.tau, run.network.kappa
    text = f"{name.replace('_', '-')}, P = {run.network.patterns.P}"
    if tau.ndim == kappa.ndim == 0:
        text += rf", $\kappa$ = {float(kappa):g}, $\tau$ = {float(tau):g}"
    return f"{text}: {run.regime}"


def _curves(run: _Result, axes) -> None:
    from .. import plots

    plots.trajectory(run.trajectory, run.network, predicted=run.predicted, axes=axes)
    if not len(run.predicted):
        for ax in axes:
            for time in run.escapes:
                ax.axvline(time, color="0.25", lw=0.8, ls=":", zorder=0)
    axes[0].tick_params(labelbottom=False)


def _lines(run: _Result) -> str:
    """What the vertical lines are."""
    if len(run.predicted):
        return "dashed: predicted for orthogonal memories"
    return r"dotted: escape for $\tau \to \infty$" if len(run.escapes) else ""


def _film(run: _Result, ax, shape) -> None:
    from ..plots import film_strip
    from ..plots._axes import COLOURS

    visited = run.visited[: len(run.frames)]
    own = _matches(run)[visited, np.arange(len(visited))]
    film_strip(
        run.frames.reshape(-1, *shape),
        [f"{mu}" if m > 0.95 else f"{mu}: {m:.2f}" for mu, m in zip(visited, own, strict=True)],
        times=run.frame_times,
        colors=[COLOURS[mu % len(COLOURS)] for mu in visited],
        ax=ax,
    )
