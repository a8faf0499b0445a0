"""`hopfax reproduce rate`: storage and retrieval of firing-rate memories, arXiv:2411.07388."""

from typing import Any

from .._claims import Outcome
from .._console import number, table
from . import _figures
from ._cases import NEURONS
from ._checks import claims
from ._diagram import agreement, swept, verdicts
from ._measured import Results, results

#: What is written: pictures, and tables beside the claims.
FIGURES = {
    "phase_diagrams": _figures.phase_diagrams,
    "cues": _figures.cues,
    "phase_planes": _figures.phase_planes,
    "thresholds": _figures.thresholds,
}
TABLES = ("stability_table",)


def reproduce() -> Outcome:
    """Claims, figures and the stability table."""
    found = results()
    figures = {name: draw(found) for name, draw in FIGURES.items()}
    (stability,) = TABLES
    return Outcome(claims(found), figures, tables_of(found), {stability: _json(found)})


def tables_of(found: Results) -> str:
    """Stability, cues, and how far simulations agree with the phase diagrams."""
    diagrams = [
        f"Phase diagram over {swept(dataset)}\n{agreement(verdicts(dataset))}"
        for dataset in found.diagrams
    ]
    return "\n\n".join(
        [
            f"Stability of a memory of the balanced set, N = {NEURONS}: theory and simulation",
            _stability_table(found),
            "From cues that keep some of the active neurons",
            _cue_table(found),
            *diagrams,
        ]
    )


def _stability_table(found: Results) -> str:
    head = ("phi", "a", "I*", "kappa", "gamma", "plane", "eigenvalue", "growth", "at t = 40", "")
    rows = [
        (
            row.kind.replace("_", " "),
            f"{row.a:g}",
            f"{row.threshold:g}",
            *map(number, row[3:8]),
            f"{row.distance:.1e}",
            "stable" if row.stable else "unstable",
        )
        for row in found.rows
    ]
    return table(head, rows)


def _cue_table(found: Results) -> str:
    head = ("kept", "recalled", "least overlap", "largest", "least mean rate", "largest")
    cues = found.cues
    rows = [
        (
            f"{share:.0%}",
            f"{(abs(overlap - 1) < 0.05).mean():.0%}",
            *map(number, (overlap.min(), overlap.max(), mean.min(), mean.max())),
        )
        for share, overlap, mean in zip(cues.kept, cues.overlap, cues.mean, strict=True)
    ]
    return table(head, rows)


def _json(found: Results) -> list[dict[str, Any]]:
    return [row._asdict() | {"stable": row.stable} for row in found.rows]
