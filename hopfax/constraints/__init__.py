"""What values a fitted parameter may take: reparametrisations for `hopfax.fit`.

A constraint maps a free array, which the optimiser may move anywhere, onto the allowed values of
the parameter. A projection, such as those of `optax.projections`, can be given in place of one: it
is applied after every step of an optax optimiser.
"""

from ._constraints import (
    AbstractConstraint,
    Box,
    Masked,
    Positive,
    Simplex,
    Unconstrained,
    zero_diagonal,
)

__all__ = [
    "AbstractConstraint",
    "Box",
    "Masked",
    "Positive",
    "Simplex",
    "Unconstrained",
    "zero_diagonal",
]


def __dir__():
    return sorted(__all__)
