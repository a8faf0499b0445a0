"""`hopfax reproduce dense`: the trajectories, basins and capacities of arXiv:2506.00851, and those
without self-interactions of arXiv:2604.03115."""

import dataclasses
from typing import Any

import numpy as np

from .._claims import Outcome
from .._console import number, table
from . import _figures, _many_body
from ._checks import claims
from ._measured import NOISE_LOAD, NOISE_START, NOISE_STEPS, Noise, results

#: What is written: pictures, and tables beside the claims.
FIGURES = {
    "trajectories": _figures.trajectories,
    "basin": _figures.basin,
    "capacity": _figures.capacity,
    "noise": _figures.noise,
    "images": _figures.images,
}
TABLES = ("noise_table",)


def reproduce() -> Outcome:
    """Claims, figures and the noise table."""
    found = results()
    figures = {name: draw(found) for name, draw in FIGURES.items()}
    (noise,) = TABLES
    tables = {noise: [_noise_json(row) for row in found.noise]}
    made = [*claims(found), *_many_body.claims(_many_body.measured())]
    return Outcome(made, figures, _noise_table(found.noise), tables)


def _noise_json(row: Noise) -> dict[str, Any]:
    plain = dataclasses.asdict(row) | {"load": NOISE_LOAD, "start": NOISE_START}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in plain.items()
    }


def _noise_table(rows: list[Noise]) -> str:
    """Noise and feedback over time, an order beside the other."""
    head = ["t"]
    for row in rows:
        head += [f"n = {row.order}: R", "Gamma", "sum"]
    lines = []
    for t in range(NOISE_STEPS):
        parts = [[row.variance[t], row.feedback[t], row.total[t]] for row in rows]
        lines.append([str(t), *(number(x) for part in parts for x in part)])
    measured: list[str] = ["1, measured"]
    for row in rows:
        measured += [number(row.measured[0]), number(row.measured[1]), ""]
    title = (
        f"Noise R(t,t), feedback Gamma(t,t-1) and its sum over all times before, at alpha' = "
        f"{NOISE_LOAD:g}\nfrom m0 = {NOISE_START:g}: resummed at n = 2, the noise alpha' at n >= 3"
    )
    return f"{title}\n\n{table(head, [*lines, measured])}"
