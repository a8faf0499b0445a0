"""`hopfax dynamics`: the orbit of a sequence and the gain at which it is born, exactly."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

import hopfax as hx

from .. import _options, _picture
from .._console import number, say, table
from .._families import Family
from .._folder import Folder
from .._limits import check_positive
from .._machine import Precision, precision
from .._memories import are_random, check_seed_used, memories_of
from .._models import check_alone, load_kind
from .._reports import BRANCHES, SUMMARY
from .._runs import MODEL, record
from .._settings import FILE
from ._networks import ACTIVATIONS, Activation, Readout

#: Options that say what the network is: not to be set where it comes from a file.
_OF_THE_MODEL = ("patterns", "memories", "neurons", "kappa", "tau", "bias", "readout", "transpose")
_OF_THE_MODEL += ("activation", "gain")


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Print the closed orbit of a sequence, its stability, and the gain at which it is born.

    The orbit is found to rounding by shooting, and followed in the gain to where it ends: the
    critical gain at this very tau, bias and set of memories, beside the theory of widely separated
    timescales. With --out the branches are written, too, for xarray and `hopfax report`.
    Example: hopfax dynamics --memories 4 --tau 100 --picture dwell.png
    """

    network: Family = "sequential"
    """Family of networks; each has options of its own."""
    patterns: _options.SignSource = "hadamard"
    memories: _options.Memories = None
    neurons: _options.Neurons = None
    transpose: _options.Transpose = False
    kappa: float = 5.0
    """Gain of the slow equation, at which the orbit is described; a higher one is taken where there
    is none."""
    tau: float = 50.0
    """Slow over fast time constant."""
    bias: float = 0.01
    """Input along every memory that seeds the transitions."""
    readout: Readout = "linear"
    """What the slow equation reads of an overlap."""
    activation: Activation = "hard_tanh"
    """Activation of the neurons."""
    gain: float = 1.0
    """Slope of the activation at the origin."""
    seed: int = 0
    """Seed of random patterns."""
    model: pathlib.Path | None = None
    """A saved network of two timescales in place of one made from the options above."""
    classes: _options.Classes = None
    horizon: float | None = None
    """Slow time constants that are simulated to find the orbit (default: 90)."""
    precision: Precision = "float64"
    """Floating-point precision."""
    config: _options.Config = None
    picture: pathlib.Path | None = None
    """Draw the dwell over the gain, stable and unstable, into this file."""
    out: pathlib.Path | None = None
    """Folder for the branches as a dataset, the results as JSON and the network (default: none)."""
    overwrite: _options.RunAgain = False

    #: As `hopfax run` has them: memories are signs here, never shown.
    image_shape = None
    threshold = None

    def __call__(self) -> int:
        """Search, print, draw."""
        check_alone(self, _OF_THE_MODEL)
        check_seed_used(self.seed, are_random(self.patterns))
        if self.picture is not None:
            _picture.check_ending(self.picture.name, "picture")
            _picture.check()
        place = None if self.out is None else Folder(self.out, self.overwrite)
        if place is not None:
            place.check(SUMMARY, MODEL, FILE, folders=(BRANCHES,))
        with precision(self.precision):
            network = self._network()
            horizon = self.horizon
            if horizon is not None:
                check_positive("horizon", horizon)
                horizon *= float(np.max(np.asarray(network.tau)))
            found = hx.dynamics.critical_gain(network, horizon=horizon)
            say(_report(network, found))
            if self.picture is not None:
                _draw(found, self.picture)
                say(f"\nwritten to {self.picture}")
            if place is not None:
                _write(network, found, place)
                record(place, self)
                say(f"\nwritten to {place.path}")
        return 0

    def _network(self) -> hx.TwoTimescaleHopfield:
        if self.model is not None:
            return load_kind(self, _fits, "a TwoTimescaleHopfield")
        memories, _ = memories_of(self)
        kind = ACTIVATIONS[self.activation]
        return hx.TwoTimescaleHopfield(
            memories,
            hx.cyclic(memories.P),
            kappa=self.kappa,
            tau=self.tau,
            bias=self.bias,
            readout=self.readout,
            activation=kind() if self.gain == 1.0 else kind(self.gain),
        )


def _fits(network: Any) -> bool:
    return isinstance(network, hx.TwoTimescaleHopfield)


def _report(network: hx.TwoTimescaleHopfield, found: hx.dynamics.Threshold) -> str:
    """The orbit, what happens along its branches, and the thresholds."""
    start = found.branches[0]
    lines = [f"orbit at a gain of {start.parameter[0]:.6g}", str(found.orbit), ""]
    points = [point for branch in found.branches for point in branch.special]
    rows = [(point.kind, number(point.parameter, 10), number(point.returns, 8)) for point in points]
    lines.append(table(("followed in the gain", "at", "time of return"), rows))
    lines += ["", f"critical gain {float(found.gain):.12g}: {found.end.kind}; just below, "]
    lines[-1] += found.below
    return "\n".join([*lines, *_theory(network)])


def _theory(network: hx.TwoTimescaleHopfield) -> list[str]:
    """The critical gain of the theory, where there is one."""
    try:
        gain = float(hx.theory.sequential.critical_gain(network))
    except ValueError as error:
        return [f"theory of widely separated timescales: {error}"]
    return [f"theory of widely separated timescales: {gain:.6g}"]


def _write(network: Any, found: hx.dynamics.Threshold, place: Folder) -> None:
    """Write the branches, what was found in numbers, and the network."""
    place.write_zarr(BRANCHES, _joined(found.branches))
    orbit = found.orbit
    summary = {
        "critical_gain": float(found.gain),
        "end": found.end.kind,
        "below": found.below,
        "gain": float(found.branches[0].parameter[0]),
        "period": float(orbit.period),
        "returns": float(orbit.returns),
        "order": None if orbit.order is None else np.asarray(orbit.order).tolist(),
        "multipliers": [[float(one.real), float(one.imag)] for one in orbit.multipliers],
        "residual": float(orbit.residual),
    }
    place.write_json(SUMMARY, summary)
    place.write(MODEL, lambda partial: hx.save(partial, network))


def _joined(branches: Sequence[hx.dynamics.Branch]) -> Any:
    """All branches as one dataset, one after another; kinds of special points are flags, which any
    reader of zarr knows."""
    import xarray as xr

    kinds = sorted({point.kind for branch in branches for point in branch.special})
    parts: dict[str, list[Any]] = {"point": [], "special": []}
    for k, branch in enumerate(branches):
        whole = branch.to_xarray().drop_vars(("ended", "special_kind"))
        names = {branch.name: "gain", f"special_{branch.name}": "special_gain"}
        whole = whole.rename(names)
        along = whole.drop_dims("special")
        parts["point"].append(along.assign(branch=("point", np.full(along.sizes["point"], k))))
        codes = np.array([kinds.index(point.kind) for point in branch.special], np.int8)
        special = whole.drop_dims("point").assign(special_kind=("special", codes))
        parts["special"].append(special.assign(special_branch=("special", np.full(len(codes), k))))
        returns = np.array([point.returns for point in branch.special], float)
        parts["special"][-1]["special_returns"] = ("special", returns)
    found = xr.merge([xr.concat(part, dim=dim) for dim, part in parts.items()])
    found["special_kind"].attrs.update(
        flag_values=np.arange(len(kinds), dtype=np.int8),
        flag_meanings=" ".join(kind.replace(" ", "_") for kind in kinds),
    )
    found["returns"].attrs["units"] = "fast time constants"
    return found.assign_attrs(
        parameter="gain", kind="orbits", ended=[branch.ended for branch in branches]
    )


def _draw(found: hx.dynamics.Threshold, path: pathlib.Path) -> None:
    figure = _picture.require()(figsize=(6.4, 4.2), layout="constrained")
    ax = hx.plots.branch(found.branches, ax=figure.subplots())
    ax.set_xlabel("gain")
    figure.savefig(path)
