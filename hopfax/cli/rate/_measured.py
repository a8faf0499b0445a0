"""What `hopfax reproduce rate` measures."""

import dataclasses
from typing import Any

import numpy as np

import hopfax as hx

from . import _retrieval, _stability, _thresholds
from ._cases import DRAWS, KEPT, NEURONS, ROWS, SALIENCIES, SEEDS, STARTS, Q
from ._retrieval import Cues, Plane
from ._stability import Row
from ._thresholds import Saliency


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that is measured."""

    residuals: dict[str, float]
    rows: list[Row]
    diagrams: list[Any]
    cues: Cues
    planes: list[Plane]
    saliencies: list[Saliency]
    moved: dict[str, tuple[float, float, float]]  # overlaps with memories 0 and 1, mean rate
    saturated: np.ndarray  # distances at the end with delayed inhibition
    delays: np.ndarray  # (n, 3): time constant, growth measured and predicted
    critical_delay: tuple[float, float]  # predicted, measured
    crosstalk: tuple[float, float, float, float]  # predicted, measured, error; of projection


def results() -> Results:
    """Everything that the claims, figures and tables are about."""
    balanced = hx.patterns.balanced(Q, NEURONS)
    saturated, growths, delay = _thresholds.delays(balanced)
    return Results(
        residuals=_stability.residuals(balanced),
        rows=_stability.rows(ROWS),
        diagrams=_stability.diagrams(),
        cues=_retrieval.cues(balanced, KEPT, SEEDS),
        planes=_retrieval.planes(STARTS),
        saliencies=_thresholds.saliencies(balanced, SALIENCIES),
        moved=_retrieval.moved(balanced),
        saturated=saturated,
        delays=growths,
        critical_delay=delay,
        crosstalk=_stability.crosstalk(DRAWS),
    )
