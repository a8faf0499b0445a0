"""`hopfax reproduce sequential`: figures 2 and 3 of arXiv:2603.03201."""

from .._claims import Outcome
from . import _figures
from ._checks import claims
from ._measured import results


def reproduce() -> Outcome:
    """Claims and figures."""
    found = results()
    figures = {
        "fig2_map": _figures.saliency_map(found),
        "fig3_sequences": _figures.sequences(found),
        "one_timescale": _figures.one_timescale(found),
    }
    return Outcome(claims(found), figures)
