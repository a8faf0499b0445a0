"""Designs: where to put the points of a sweep over many parameters, and what to record next.

`random` and `sobol` return a zipped axis for `hopfax.sweep`, alone or beside other axes:
`hopfax.sweep(point, designs.sobol({"kappa": (3, 7), "tau": (20, 200)}, 256) | {"seed": range(8)})`.
"""

from .._fit import next_experiment
from ._designs import random, sobol

__all__ = ["next_experiment", "random", "sobol"]


def __dir__():
    return sorted(__all__)
