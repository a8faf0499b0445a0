"""What `hopfax reproduce` finds: claims, theory beside simulation, with figures and tables."""

import dataclasses
from typing import Any, Literal, TypeAlias

from ._console import number, table
from ._folder import Folder

Relation: TypeAlias = Literal["equal", "below", "above"]

_MARKS: dict[Relation, str] = {"equal": "", "below": " (<)", "above": " (>)"}


@dataclasses.dataclass(frozen=True)
class Claim:
    """Theory beside simulation.

    `relation` "equal" holds if they differ by at most `tolerance`, "below" or "above" if the
    simulation lies below or above the theory by more than that.
    """

    claim: str
    relation: Relation
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


def claim(
    claim: str,
    theory: Any,
    simulation: Any,
    tolerance: Any,
    why: str,
    conditions: str,
    relation: Relation = "equal",
) -> Claim:
    """A claim from its two numbers."""
    theory, simulation = float(theory), float(simulation)
    gap = simulation - theory
    return Claim(claim, relation, theory, simulation, gap, float(tolerance), why, conditions)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a family gives: claims, figures by the name of their file, and maybe a text to print
    and tables to write."""

    claims: list[Claim]
    figures: dict[str, Any]
    text: str = ""
    tables: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)

    def write(self, place: Folder) -> None:
        """Write figures, claims.json and the tables."""
        for name, figure in self.figures.items():
            place.draw(f"{name}.png", figure)
        listed = [dataclasses.asdict(claim) | {"holds": claim.holds} for claim in self.claims]
        for name, rows in ({"claims": listed} | self.tables).items():
            place.write_json(f"{name}.json", rows)

    def __str__(self) -> str:
        rows = [
            (
                claim.claim + _MARKS[claim.relation],
                number(claim.theory),
                number(claim.simulation),
                number(claim.difference),
                "yes" if claim.holds else "NO",
            )
            for claim in self.claims
        ]
        found = table(("claim", "theory", "simulation", "difference", "holds"), rows)
        return f"{found}\n\n{self.text}" if self.text else found
