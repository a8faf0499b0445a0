"""`hopfax dynamics`: the orbit of a sequence and the gain at which it is born, exactly."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

import hopfax as hx

from .. import _options, _picture
from .._console import number, say, table
from .._families import Family
from .._limits import check_positive
from .._machine import Precision, precision
from .._memories import are_random, check_seed_used, memories_of
from .._models import check_alone, load_kind
from ._networks import ACTIVATIONS, Activation, Readout

#: Options that say what the network is: not to be set where it comes from a file.
_OF_THE_MODEL = ("patterns", "memories", "neurons", "kappa", "tau", "bias", "readout", "transpose")
_OF_THE_MODEL += ("activation", "gain")


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Print the closed orbit of a sequence, its stability, and the gain at which it is born.

    The orbit is found to rounding by shooting, and followed in the gain to where it ends: the
    critical gain at this very tau, bias and set of memories, beside the theory of widely separated
    timescales. Example: hopfax dynamics --memories 4 --tau 100 --picture dwell.png
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


def _draw(found: hx.dynamics.Threshold, path: pathlib.Path) -> None:
    figure = _picture.require()(figsize=(6.4, 4.2), layout="constrained")
    ax = hx.plots.branch(found.branches, ax=figure.subplots())
    ax.set_xlabel("gain")
    figure.savefig(path)
