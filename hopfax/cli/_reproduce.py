"""`hopfax reproduce`: the figures of a paper, with every claim measured again."""

import dataclasses
import json
import pathlib
from typing import Any, Literal

from tyro.conf import Positional

from . import _common

_MARKS = {"equal": "", "below": " (<)", "above": " (>)"}


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Redraw the figures of a paper and check its claims, in a minute or two.

    sequential: figures 2 and 3 of arXiv:2603.03201. Betteti, Baggio, Zampieri 2026, A Dynamical
    Theory of Sequential Retrieval in Input-Driven Hopfield Networks. dense: trajectories, basins
    and capacities of arXiv:2506.00851. Mimura, Takeuchi, Sumikawa, Kabashima, Coolen 2026. rate:
    storage, stability, phase diagrams and retrieval of the firing-rate memories of
    arXiv:2411.07388. Betteti, Baggio, Bullo, Zampieri 2025. Every number is computed here:
    claims.json holds theory, simulation and the conditions under which a claim is true.
    """

    target: Positional[Literal["sequential", "dense", "rate"]] = "sequential"
    """What to reproduce."""
    precision: _common.Precision = "float64"
    """Floating-point precision."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/reproduce-<hash of the settings>)."""
    overwrite: bool = False
    """Replace the files of an earlier run in the output folder."""

    def __call__(self) -> int:
        """Compute, print, write; 0 if every claim holds."""
        if self.target == "dense":
            from ._reproduce_dense import reproduce
        elif self.target == "rate":
            from ._reproduce_rate import reproduce
        else:
            from ._reproduce_sequential import reproduce

        folder = self.out or _common.output_folder("reproduce", _common.settings(self))
        if (folder / "claims.json").exists() and not self.overwrite:
            raise FileExistsError(f"`out`: {folder} holds an earlier run; --overwrite replaces it.")
        with _common.precision(self.precision):
            outcome = reproduce()
            folder.mkdir(parents=True, exist_ok=True)
            for name, figure in outcome.figures.items():
                figure.savefig(folder / f"{name}.png", dpi=130)
        claims = outcome.claims
        listed = [dataclasses.asdict(claim) | {"holds": claim.holds} for claim in claims]
        (folder / "claims.json").write_text(json.dumps(listed, indent=2) + "\n")
        for name, rows in outcome.tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")
        rows = [
            (
                claim.claim + _MARKS[claim.relation],
                _common.number(claim.theory),
                _common.number(claim.simulation),
                _common.number(claim.difference),
                "yes" if claim.holds else "NO",
            )
            for claim in claims
        ]
        head = ("claim", "theory", "simulation", "difference", "holds")
        _common.say(_common.table(head, rows))
        if outcome.text:
            _common.say(f"\n{outcome.text}")
        _common.say(f"\nConditions and tolerances are in {folder / 'claims.json'}.")
        return 0 if all(claim.holds for claim in claims) else 1


@dataclasses.dataclass(frozen=True)
class Claim:
    """Theory beside simulation.

    `relation` "equal" holds if they differ by at most `tolerance`, "below" or "above" if the
    simulation lies below or above the theory by more than that.
    """

    claim: str
    relation: Literal["equal", "below", "above"]
    theory: float
    simulation: float
    difference: float
    tolerance: float
    why: str  # the reason for the tolerance
    conditions: str

    @property
    def holds(self) -> bool:
        """Whether the claim is true here; no comparison with NaN is."""
        if self.relation == "below":
            return self.difference < -self.tolerance
        if self.relation == "above":
            return self.difference > self.tolerance
        return abs(self.difference) <= self.tolerance


def claim(claim, theory, simulation, tolerance, why, conditions, relation: Any = "equal") -> Claim:
    """A claim from its two numbers."""
    theory, simulation = float(theory), float(simulation)
    gap = simulation - theory
    return Claim(claim, relation, theory, simulation, gap, float(tolerance), why, conditions)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a target gives: claims, figures by the name of their file, and maybe a text to print
    and tables to write."""

    claims: list[Claim]
    figures: dict[str, Any]
    text: str = ""
    tables: dict[str, Any] = dataclasses.field(default_factory=dict)


def new_figure(*args, **kwargs) -> Any:
    """A figure that draws without a display.

    **Raises:** ImportError naming the extra if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        from .._errors import missing

        raise missing("matplotlib", "plot", "hopfax reproduce") from error
    return Figure(*args, layout="constrained", **kwargs)
