"""Axes, colours and labels that the pictures share."""

from typing import Any

from .._errors import missing

#: Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000")
#: Fills of the regimes: pale where a curve has to be read on top.
REGIME_COLOURS = {
    "sequence": "#8FC6EA",
    "collapse": "#E4E4E4",
    "locked": "#66B99B",
    "mixed": "#DDA6C5",
    "tie": "#F2E88A",
    "undecided": "#F0B98B",
    "failed": "#555555",
}
_LABELS = {
    "kappa": r"gain $\kappa$",
    "tau": r"separation of timescales $\tau$ (fast time constants)",
    "bias": r"seed $b$",
    "noise": r"noise $\sigma$",
    "regime": "regime",
    "dwell": "dwell (fast time constants)",
    "switches": "switches",
    "overlap": "largest overlap at the end",
    "steps": "solver steps",
    "status": "status",
}


def new_axes(rows: int = 1, size: tuple[float, float] = (6.4, 4.8)) -> Any:
    """A figure's new Axes (an array of them for `rows` > 1, sharing x)."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise missing("matplotlib", "plot", "hopfax.plots") from error
    _, axes = pyplot.subplots(rows, 1, sharex=True, figsize=size, layout="constrained")
    return axes


def label(name: str) -> str:
    """What to write beside an axis for the variable or coordinate `name`."""
    if name.startswith("init.saliency["):
        index = name.removeprefix("init.saliency[").removesuffix("]")
        return rf"start saliency $z_{{{index}}}(0)$"
    return _LABELS.get(name, name.replace("_", " "))


def tau_text(tau: int | float) -> str:
    """A separation of timescales for a legend."""
    return rf"$\tau = {tau:g}$"
