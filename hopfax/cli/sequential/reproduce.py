"""`hopfax reproduce sequential`: figures 2 and 3 of arXiv:2603.03201."""

from .._claims import Outcome
from . import _figures
from ._checks import claims
from ._measured import results

#: What is written: pictures, and tables beside the claims.
FIGURES = {
    "fig2_map": _figures.saliency_map,
    "fig3_sequences": _figures.sequences,
    "one_timescale": _figures.one_timescale,
}
TABLES = ()


def reproduce() -> Outcome:
    """Claims and figures."""
    found = results()
    return Outcome(claims(found), {name: draw(found) for name, draw in FIGURES.items()})
