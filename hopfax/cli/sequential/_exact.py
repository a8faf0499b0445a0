"""The exact threshold of the gain for the picture of `hopfax sweep`, beside the theory of it."""

import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np

import hopfax as hx

from ..._errors import SimulationError
from .._output import Output
from .._settings import FILE as _SETTINGS
from . import _sweep_task
from ._run_result import ORTHOGONAL, crosstalk

#: Where it is kept in the folder of the sweep, so that a picture drawn again is not computed again.
FILE = "threshold.json"
_ABOVE = 1.2  # times the singular limit: a gain at which there is a sequence, not far from its end
_STEP = 0.25  # the longest step along the other axis, as a part of it
_CLIMB = 0.3  # of the branch to the fold
_SAME = 1e-6  # two searches for one threshold agree to this


class Exact:
    """The exact threshold of the sweep that was asked for, computed once: over the gain and a start
    saliency one number, over the gain and tau or bias a curve."""

    def __init__(self, asked: Any, memories: hx.Patterns, output: Output):
        self.asked, self.memories, self.output = asked, memories, output
        self.found: dict[str, Any] | None = None

    def why_not(self) -> str:
        """Why there is none for these options; "" if there may be one."""
        asked = self.asked
        plain = asked.activation == "hard_tanh" and asked.readout == "linear"
        plain = plain and not (asked.noise or asked.init or asked.stimulus or asked.current)
        orthogonal = asked.learning == "pseudo_inverse" or crosstalk(self.memories) < ORTHOGONAL
        if asked.model is not None or not plain or not orthogonal:
            return "it is computed for plain cycles of orthogonal memories"
        if asked.axis and self._over() is None:
            return "it is computed over the gain and a start saliency, tau or the bias"
        if not (asked.bias or self._over() == "bias"):
            return "without a bias no sequence repeats"
        return ""

    def _over(self) -> str | None:
        """The axis along which the threshold varies, "" if none does; None for other axes."""
        if not self.asked.axis:
            return ""
        grid = _sweep_task.grid_of(self.asked)
        others = set(grid) - {"kappa"}
        if "kappa" not in grid or len(others) != 1:
            return None
        (name,) = others
        if name == "init.saliency[0]":
            return ""
        return name if name in ("tau", "bias") and np.min(grid[name]) > 0 else None

    def compute(self) -> dict[str, Any]:
        """The threshold, or why there is none."""
        if self.found is None:
            why = self.why_not()
            self.found = {"why": why} if why else self._computed()
        return self.found

    def _computed(self) -> dict[str, Any]:
        over = self._over()
        try:
            with jax.enable_x64(True):
                return self._curve(over) if over else self._gain(self.asked)
        except (SimulationError, ValueError) as error:
            return {"why": str(error).split(". ")[0]}

    def _gain(self, asked: Any) -> dict[str, Any]:
        born = hx.dynamics.critical_gain(_network(asked), step=_CLIMB, until="fold")
        return {"kappa": [float(born.gain)], "over": ""}

    def _curve(self, over: str) -> dict[str, Any]:
        values = np.asarray(_sweep_task.grid_of(self.asked)[over], float)
        # From large tau and small bias, where the theory knows about where to begin.
        ends = (values.max(), values.min()) if over == "tau" else (values.min(), values.max())
        begin, end = map(float, ends)
        network = _network(self.asked, **{over: begin})
        born = hx.dynamics.critical_gain(network, step=_CLIMB, until="fold")
        if begin == end:
            return {
                "kappa": [float(born.gain)] * 2,
                "over": over,
                "values": [begin, end],
                "but": "",
            }
        make = hx.dynamics.along(network, "kappa", over)
        curve = hx.dynamics.fold_curve(make, born.end, (begin, end), step=_STEP)
        kept, gains = curve.stable, np.asarray(curve.threshold)
        found = {"kappa": gains[kept].tolist(), "over": over}
        return found | {
            "values": curve.parameter[kept].tolist(),
            "but": self._but(curve, over, end),
        }

    def _but(self, curve: hx.dynamics.Branch, over: str, end: float) -> str:
        """What is wrong with the curve as the threshold: that it ends early, or that at its end
        another orbit lives at lower gains."""
        if curve.parameter[-1] != end:
            return f"; it ends at {curve.parameter[-1]:.6g}: {curve.ended}"
        last = _network(self.asked, **{over: end})
        gain = hx.dynamics.critical_gain(last, step=_CLIMB, until="fold").gain
        if abs(float(gain) - curve.fold(-1).parameter) < _SAME:
            return ""
        return f"; but at {over} = {end:g} another orbit is the last one, to {float(gain):.6f}"

    def onto(self, dataset: Any) -> Any:
        """The dataset with the threshold as an attribute, for the picture."""
        return _onto(dataset, self._kept())

    def _kept(self) -> dict[str, Any]:
        """What is in the folder, of these settings, or else what is computed, and kept there."""
        of = _digest(self.output.record.encode())
        if self.found is None and self.output.place.ledger.whole(FILE):
            kept = json.loads((self.output.folder / FILE).read_text())
            self.found = kept if kept.get("of") == of else None
        elif not self.why_not():
            found = self.compute() | {"of": of}
            self.output.place.write_bytes(FILE, json.dumps(found).encode())
        return self.compute()

    def line(self) -> str:
        """What it is, or why there is none."""
        found = self.compute()
        if "kappa" not in found:
            return f"exact threshold: none, {found['why']}"
        if not found["over"]:
            return f"exact threshold, the fold of the sequence's orbit: {found['kappa'][0]:.6f}"
        low, high = min(found["kappa"]), max(found["kappa"])
        return f"exact threshold over {found['over']}: from {low:.6f} to {high:.6f}{found['but']}"


def with_threshold(dataset: Any, folder: pathlib.Path) -> Any:
    """The dataset of the sweep in a folder with the threshold that is kept there, if it is of the
    settings that are recorded there; nothing is computed."""
    try:
        found = json.loads((folder / FILE).read_text())
        of = _digest((folder / _SETTINGS).read_bytes())
    except (OSError, ValueError):
        return dataset
    return _onto(dataset, found) if found.get("of") == of else dataset


def _onto(dataset: Any, found: dict[str, Any]) -> Any:
    """The dataset with a threshold, if there is one, as an attribute."""
    from ...plots._cycle import EXACT  # late: it takes all of hopfax.plots along

    return dataset.assign_attrs({EXACT: json.dumps(found)}) if "kappa" in found else dataset


def _digest(record: bytes) -> str:
    """Which settings these are."""
    return hashlib.sha256(record).hexdigest()


def _network(asked: Any, **changed: float) -> hx.TwoTimescaleHopfield:
    """The network of the sweep at a gain at which its sequence lives."""
    memories = _sweep_task.cycle_memories(asked)
    gain = _ABOVE * float(hx.theory.sequential.critical_gain(memories.P))
    values: dict[str, Any] = {"tau": asked.tau, "bias": asked.bias, "learning": asked.learning}
    values |= changed
    return hx.TwoTimescaleHopfield(memories, hx.cyclic(memories.P), kappa=gain, **values)
