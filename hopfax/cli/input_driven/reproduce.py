"""`hopfax reproduce input_driven`: the input-driven field under a constant stimulus."""

from .._claims import Outcome
from . import _figures
from ._checks import claims
from ._measured import results

#: What is written: pictures, and tables beside the claims.
FIGURES = {
    "competition": _figures.competition,
    "barriers": _figures.barriers,
    "noise": _figures.noise,
}
TABLES = ()


def reproduce() -> Outcome:
    """Claims and figures."""
    found = results()
    return Outcome(claims(found), {name: draw(found) for name, draw in FIGURES.items()})
