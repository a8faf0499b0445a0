"""What the sequential theory says about a sweep of a plain cycle."""

import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from .._types import Dataset
from ..theory import sequential
from ..theory.sequential._map import known_edge
from ._axes import Axes, Line, tau_text
from ._grid import Scale, dims_of

#: How the separation of timescales reads where it is infinite.
SINGULAR = r"$\tau \to \infty$"
SEPARATION = r"$\tau$ and $b$"
#: The attribute of a dataset that holds the exact threshold of the gain, which a command computes.
EXACT = "exact_threshold"
_SYMBOLS = {"kappa": r"\kappa", "tau": r"\tau", "bias": "b"}
_ACTIVATIONS = {"HardTanh": "hard tanh", "Tanh": "tanh", "Erf": "erf"}
_ORTHOGONAL = 1e-6  # overlap of two memories up to which the theory takes them for orthogonal


class Cycle(NamedTuple):
    """A cycle of `P` memories, as far as the theory needs it; None for what is no single number.

    `orthogonal`: whether the memories are, as far as the dataset tells. `loop`: the weight with
    which each memory calls itself."""

    P: int
    tau: float | None
    bias: float | None
    orthogonal: bool = True
    loop: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether the theory of a finite separation of timescales applies."""
        if self.tau is None or self.bias is None or not self.orthogonal or self.loop:
            return False
        return not sequential.domain(self.P, self.tau, self.bias)


class Edge(NamedTuple):
    """A predicted boundary over the gain: the smallest start saliency that sustains the sequence,
    or the critical gain at each separation of timescales.

    `P`, `tau`: of which theory. `critical`: the gain below which there is none, from which on the
    boundary goes straight up. `text`: what it is, where that is no theory of one `P` and `tau`.
    `role`: "exact" for a threshold without asymptotics, "asymptotic" for a theory beside it.
    """

    P: int | float
    tau: float
    critical: float
    kappa: np.ndarray
    start: np.ndarray
    text: str = ""
    role: str = ""

    @property
    def finite(self) -> bool:
        """Whether it is a theory of a finite separation of timescales."""
        return self.tau != math.inf and self.role != "exact"

    @property
    def look(self) -> tuple[str, str, float]:
        """Dashes, colour and width of its line."""
        if self.role == "exact":
            return "-", "black", 1.8
        beside = self.role == "asymptotic"
        if self.finite:
            return ":" if beside else "-", "black", 1.6
        return ("-." if beside else ":") if self.P == math.inf else "--", "0.2", 1.3

    def path(self, top: float) -> tuple[np.ndarray, np.ndarray]:
        """Its line, which goes on straight up to `top` at the critical gain, below which no start
        suffices."""
        vertical = [] if math.isnan(self.critical) else [self.critical]
        start = np.concatenate([[top] * len(vertical), self.start])
        return np.concatenate([vertical, self.kappa]), start

    @property
    def name(self) -> str:
        """What the prediction assumes, for a legend."""
        if self.text:
            return f"asymptotic, {self.text}" if self.finite and self.role else self.text
        separation = tau_text(self.tau) if self.finite else SINGULAR
        name = rf"{size_text(self.P)}, {separation}: $\kappa_c = {self.critical:.2f}$"
        return f"asymptotic, {name}" if self.finite and self.role else name


def cycle_of(dataset: Dataset) -> Cycle | None:
    """The cycle that a sweep of two-timescale networks ran, read from the dataset's attributes.

    A scalar coordinate, as a selected panel has, takes the place of the value of its name. None
    unless the network is a cycle (each memory calls the next with weight 1, and all call themselves
    equally or not at all) with hard tanh, a linear readout, self-couplings kept, no noise, and
    memories that are orthogonal or made so by the pseudo-inverse rule: for these the theory holds.
    `tau` or `bias` is None where it is no
    single number.
    """
    values, settings = _values(dataset), _settings(dataset)
    transition = values.get("transition")
    if transition is None or transition.ndim != 2:
        return None
    P = len(transition)
    loop = float(transition[0, 0]) if P > 2 else 0.0
    cyclic = P > 1 and np.array_equal(transition, np.roll(np.eye(P), 1, axis=0) + loop * np.eye(P))
    kind = (dataset.attrs.get("network"), settings.get("activation"))
    if kind != ("TwoTimescaleHopfield", "HardTanh") or not cyclic:
        return None
    if settings.get("readout", "linear") != "linear" or not settings.get("keep_diagonal", True):
        return None
    orthogonal = _orthogonal(dataset, values)
    if not orthogonal and settings.get("learning", "hebbian") == "hebbian":
        return None
    plain = _single(values, "noise", 0.0) == 0 and _single(values, "activation.gain", 1.0) == 1
    if _driven(dataset) or not plain or _strange(dataset, values):
        return None
    return Cycle(P, _single(values, "tau"), _single(values, "bias"), orthogonal, loop)


def _strange(dataset: Dataset, values: dict[str, np.ndarray]) -> list[str]:
    """Coordinates of which it is not known what they change."""
    found = []
    for key, coordinate in dataset.coords.items():
        swept = coordinate.ndim == 0 or set(coordinate.dims) <= set(dims_of(dataset))
        base, _ = _parameter(str(key).removesuffix("_value"))
        if swept and base not in values and base != "seed":
            found.append(str(key))
    return found


def _orthogonal(dataset: Dataset, values: dict[str, np.ndarray]) -> bool:
    """Whether the memories are orthogonal, as far as the dataset tells."""
    if "crosstalk" in dataset.attrs:
        return bool(dataset.attrs["crosstalk"] <= _ORTHOGONAL)
    xi = values.get("patterns.xi")
    if xi is None or xi.ndim != 2:  # of large patterns older stores keep a digest alone
        return True
    gram = xi @ xi.T / xi.shape[1]
    return bool(np.abs(gram - np.diag(np.diag(gram))).max(initial=0.0) <= _ORTHOGONAL)


def note(dataset: Dataset, found: list["Edge"]) -> str:
    """Why predictions are missing in a map over the gain and a start saliency, for a title."""
    if dataset.attrs.get("network") != "TwoTimescaleHopfield":
        return ""
    cycle = cycle_of(dataset)
    if not found or cycle is None:
        return "no prediction is derived for these settings"
    if cycle.tau is None or cycle.bias is None or any(edge.finite for edge in found):
        return ""
    return rf"none is derived for this {SEPARATION}"


def setting_of(dataset: Dataset, name: str) -> float | None:
    """The one number that a parameter of the sweep's network is, None if it varies."""
    return _single(_values(dataset), name)


def edges(dataset: Dataset, x: str, y: str, largest: float) -> list[Edge]:
    r"""The predicted boundaries of the sequence in a map of the coordinates `x` and `y`.

    For an endless chain and for this cycle, both in the limit $\tau \to \infty$, and for this cycle
    at its own $\tau$ and bias. There are none where the theory does not apply: for a network that
    is no plain cycle, or over other axes than the gain and the only nonzero start saliency.

    **Arguments:** `dataset`: of `hopfax.sweep`. `x`, `y`: names of coordinates. `largest`: gain up
    to which to predict.

    **Returns:** the boundaries, without those that no gain has.
    """
    cycle = cycle_of(dataset)
    if cycle is None or x != "kappa" or cycle.loop or not single_start(dataset, y):
        return []
    return edges_of(cycle, largest)


def edges_of(cycle: Cycle, largest: float) -> list[Edge]:
    """The predicted boundaries of a cycle without self-loops up to a gain, as `edges` has them."""
    cases = [(math.inf, math.inf), (cycle.P, math.inf)]
    if cycle.finite:
        assert cycle.tau is not None
        cases.append((cycle.P, cycle.tau))
    found = []
    for P, tau in cases:
        # Values are traced, so that all maps of one P share the compiled functions.
        options: dict[str, Any] = {} if tau == math.inf else dict(tau=tau, bias=cycle.bias)
        critical = float(sequential.critical_gain(P, **options))
        if math.isfinite(critical):
            kappa = gains(critical, largest)
            if tau == math.inf:
                start = np.asarray(sequential.basin_edge(kappa, P))
            else:
                start = np.asarray(known_edge(kappa, P, tau, options["bias"]))
            known = np.isfinite(start)
            found.append(Edge(P, tau, critical, kappa[known], start[known]))
    return found


def draw_edges(ax: Axes, found: list[Edge], top: float) -> list[Line]:
    """Draw the predicted boundaries, labelled with their critical gains, and return the lines that
    can be seen."""
    from matplotlib import patheffects
    from matplotlib.transforms import Bbox

    (left, right), (bottom, above) = ax.get_xlim(), ax.get_ylim()
    view = Bbox([[left, bottom], [right, above]])
    lines = []
    for edge in found:
        style, colour, width = edge.look
        (line,) = ax.plot(*edge.path(top), ls=style, color=colour, lw=width, label=edge.name)
        if not line.get_path().intersects_bbox(view, filled=False):
            line.remove()
            continue
        # A pale outline, so that it is seen on dark fills, too.
        line.set_path_effects([patheffects.withStroke(linewidth=width + 1.8, foreground="white")])
        lines.append(line)
    return lines


def boundaries(dataset: Dataset, x: Scale, y: Scale) -> list[Edge]:
    """The predicted boundaries of the sequence in a map with the scales `x` and `y`: `edges` over a
    start saliency, `thresholds` over the separation of timescales; and the exact threshold, if the
    dataset has one."""
    if y.name == "tau":
        found = thresholds(dataset, x.name, y.limits)
    else:
        found = edges(dataset, x.name, y.name, x.limits[1])
    exact = exact_edge(dataset, x, y)
    if exact is None:
        return found
    return [exact, *(edge._replace(role="asymptotic") for edge in found)]


def exact_edge(dataset: Dataset, x: Scale, y: Scale) -> Edge | None:
    r"""The exact threshold of the gain that the attribute `EXACT` of a dataset holds, in JSON:
    `kappa`, a list, and `over`, the name of the axis along which it varies with its `values`, ""
    where it does not. None if there is none, or for a map of other axes.
    """
    if EXACT not in dataset.attrs or x.name != "kappa":
        return None
    known = json.loads(dataset.attrs[EXACT])
    kappa, over = np.array(known["kappa"]), known["over"]
    if over not in ("", y.name):
        return None
    if over:
        text = rf"exact: $\kappa_c({_SYMBOLS.get(over, over)})$"
        return Edge(0, math.nan, math.nan, kappa, np.array(known["values"]), text, "exact")
    text = rf"exact: $\kappa_c = {kappa[0]:.4f}$"
    low = np.array([y.limits[0]])
    return Edge(0, math.nan, float(kappa[0]), kappa[:1], low, text, "exact")


def thresholds(dataset: Dataset, x: str, limits: tuple[float, float]) -> list[Edge]:
    r"""The critical gains in a map of the gain and the separation of timescales.

    In the limit $\tau \to \infty$ for an endless chain (without self-loops) and for this cycle, and
    for this cycle at each finite $\tau$ where that is derived. A cycle with self-loops of weight
    $d$ holds its memories for ever from $\kappa = 1/d$ on.

    **Arguments:** `x`: name of the other coordinate. `limits`: of y.
    """
    cycle = cycle_of(dataset)
    if cycle is None or x != "kappa":
        return []
    low, high = limits
    found = []
    for P in (cycle.P,) if cycle.loop else (math.inf, cycle.P):
        critical = looped_gain(P, cycle.loop)
        if math.isfinite(critical):
            found.append(Edge(P, math.inf, critical, np.array([critical]), np.array([low])))
    if cycle.loop > 0:
        hold = 1 / cycle.loop
        text = rf"held for ever from $\kappa = {hold:.2f}$ on"
        found.append(Edge(math.inf, math.inf, hold, np.array([hold]), np.array([low]), text))
    bias = cycle.bias
    if bias is None or cycle.loop or not cycle.orthogonal or sequential.domain(cycle.P, 50.0, bias):
        return found
    grid = np.geomspace(max(low, 1.5), high, 24)
    one = partial(sequential.critical_gain, cycle.P, bias=bias)
    kappa = np.asarray(jax.vmap(lambda tau: one(tau=tau))(grid))  # NaN where it is not derived
    known = np.isfinite(kappa)
    text = rf"{size_text(cycle.P)}: $\kappa_c(\tau)$"
    if known.any():
        found.append(Edge(cycle.P, math.nan, math.nan, kappa[known], grid[known], text))
    return found


def looped_gain(P: int | float, loop: float) -> float:
    r"""The critical gain of a cycle whose memories call themselves with the weight `loop`, in the
    singular limit: infinite if the memories are held for ever before the sequence sustains itself.

    The theory is for a self-loop $s = \kappa A_{\mu\mu}$ that does not grow with the gain, so that
    the gain is the smallest one that is critical for its own $s$.
    """
    if loop == 0:
        return float(sequential.critical_gain(P))
    low, high = 1e-3, 1 / loop if loop > 0 else 1e3
    for _ in range(4):  # a thousandth of the interval each time
        kappa = np.linspace(low, high, 1001)[:-1]
        enough = kappa >= np.asarray(sequential.critical_gain(P, self_loop=loop * kappa))
        if not enough.any():
            return math.inf
        first = int(enough.argmax())
        low, high = float(kappa[max(first - 1, 0)]), float(kappa[first]) + 1e-12
    return high


def gains(low: float, high: float, number: int = 40) -> np.ndarray:
    """Gains from just above a critical one, denser near it, where the curves are steep."""
    return low + max(high - low, 0.0) * np.linspace(0.005, 1.0, number) ** 2 + 1e-6


def threshold(cycle: Cycle) -> float:
    """The critical gain of a cycle at its own separation of timescales and bias."""
    return float(sequential.critical_gain(cycle.P, tau=cycle.tau, bias=cycle.bias))


def size_text(P: int | float) -> str:
    """A number of memories, for a legend."""
    return r"$P \to \infty$" if P == math.inf else f"$P = {int(P)}$"


def heading(dataset: Dataset) -> str:
    """What was run, for a title of two lines: size, time constant and seed, how long; then readout,
    learning, activation and noise. As far as the dataset tells."""
    values, settings = _values(dataset), _settings(dataset)
    first, second = ", ".join(_sizes(dataset, values, settings)), _kinds(values, settings)
    first += horizon_text(dataset) if first else ""
    return "\n".join(line for line in (first, ", ".join(second)) if line)


def _sizes(
    dataset: Dataset, values: dict[str, np.ndarray], settings: dict[str, Any]
) -> Iterator[str]:
    """How many memories and neurons, and the parameters that are not swept."""
    transition, xi = values.get("transition"), settings.get("network.patterns.xi")
    cycle = cycle_of(dataset)
    if transition is not None and transition.ndim == 2:
        yield ("cycle, " if cycle else "") + f"$P = {len(transition)}$"
    shape = np.shape(xi) if isinstance(xi, list) else (xi or {}).get("shape", ())
    if len(shape) == 2:
        yield f"$N = {shape[1]}$"
    for name in ("kappa", "tau", "bias"):
        if (value := _single(values, name)) is not None:
            yield rf"${_SYMBOLS[name]} = {value:.4g}$"
    if cycle and cycle.loop:
        yield rf"self-loops $A_{{\mu\mu}} = {cycle.loop:g}$"


def _kinds(values: dict[str, np.ndarray], settings: dict[str, Any]) -> list[str]:
    """Readout, learning, activation and noise in words."""
    found = [
        f"{settings[name]} {name}".replace("_", " ")
        for name in ("readout", "learning")
        if isinstance(settings.get(name), str)
    ]
    if "activation" in settings:
        kind = str(settings["activation"])
        found.append(_ACTIVATIONS.get(kind, kind))
    noise = _single(values, "noise", 0.0)
    if settings and noise is not None:
        found.append(rf"noise $\sigma = {noise:g}$" if noise else "no noise")
    return found


def horizon_text(dataset: Dataset) -> str:
    """How long the runs of a sweep are, to continue a title; "" if that was not recorded."""
    settings = _settings(dataset)
    ts = settings.get("ts")
    if not isinstance(ts, list):
        return ""
    unit = r"\tau" if settings.get("per_tau") else r"\tau_x"
    return rf", horizon ${ts[-1]:g}\,{unit}$"


def _settings(dataset: Dataset) -> dict[str, Any]:
    try:
        settings = json.loads(dataset.attrs["settings"])
    except (KeyError, ValueError, TypeError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _values(dataset: Dataset) -> dict[str, np.ndarray]:
    """The recorded numbers by the names that a grid uses ("tau", "init.saliency").

    Scalar coordinates take the places of their values; what varies in the dataset becomes NaN.
    """
    values = {name: np.array(value, dtype=float) for name, value in _recorded(dataset).items()}
    if "noise" in dataset.coords:  # which a point has without being given it
        values.setdefault("noise", np.array(0.0))
    for key, coordinate in dataset.coords.items():
        base, place = _parameter(str(key).removesuffix("_value"))
        if base in values:
            here = float(coordinate) if coordinate.ndim == 0 else math.nan
            values[base][... if place is None else place] = here
    return values


def _recorded(dataset: Dataset) -> dict[str, Any]:
    """The numbers of a sweep's point by the names that a grid uses, small arrays as lists."""
    if "parameters" in dataset.attrs:
        return json.loads(dataset.attrs["parameters"])
    # Older stores have their settings alone, by place in the point: network.tau, init['saliency'].
    named = {
        key.removeprefix("network.").replace("init['", "init.").replace("']", ""): value
        for key, value in _settings(dataset).items()
    }
    numbers = int | float | list
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, numbers) and not isinstance(value, bool)
    }


def _driven(dataset: Dataset) -> bool:
    """Whether the runs were given a stimulus or a current."""
    if "driven" in dataset.attrs:
        return bool(dataset.attrs["driven"])
    return any(key.startswith(("stimulus", "current")) for key in _settings(dataset))


def _parameter(name: str) -> tuple[str, tuple[int, ...] | None]:
    """What a grid's name such as "tau" or "transition[1,0]" stands for: an array, and the place of
    one entry in it or None for all."""
    base, bracket, place = name.partition("[")
    entries = place.removesuffix("]").split(",")
    if not bracket or not all(entry.strip().lstrip("-").isdigit() for entry in entries):
        return (name if bracket else base), None
    return base, tuple(map(int, entries))


def _single(values: dict[str, np.ndarray], name: str, default: float | None = None) -> float | None:
    """The one number that `name` is, None if it varies (also from memory to memory)."""
    array = values.get(name)
    if array is None:
        return default
    same = array.size > 0 and bool((array == array.flat[0]).all())  # no NaN is
    return float(array.flat[0]) if same else None


def single_start(dataset: Dataset, y: str) -> bool:
    """Whether all start saliencies but the one along `y` are zero."""
    base, place = _parameter(y)
    start = _values(dataset).get("init.saliency")
    if base != "init.saliency" or place is None or start is None:
        return False
    start[place] = 0.0
    return not start.any()
