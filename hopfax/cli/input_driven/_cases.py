"""The settings of `hopfax reproduce input_driven`, as data."""

from typing import Any, NamedTuple

import numpy as np

import hopfax as hx

NEURONS = 16  # of the networks without noise
MANY = 4096  # of those with noise
LANES, ROUNDS = 17, 3  # of a bisection: runs at once, and how often

AMPLITUDE = 3.0  # of the stimulus whose saddles are looked for
SILENT = 1.1  # of that in which nothing is retrieved between two memories of overlap 1/4
WEIGHTS = np.array([1.0, 0.3, 0.1])  # of the stimulus of correlated memories

STRONG, WEAK = 2.0, 1.3  # weights of the two memories in the stimulus under noise
STEEP = 2.0  # gain of hard tanh under noise
SIGMAS = (0.4, 0.8, 1.0, 1.4, 1.8)  # the noise at which both networks are run
SETTLING, TIME, STEP = 30.0, 90.0, 0.05  # of a run with noise, in time constants


class Edge(NamedTuple):
    """An edge of the mixture s: of what, with which amplitude, activation and overlap."""

    name: str
    amplitude: float
    activation: Any
    quarters: int  # the overlap of the two memories, in quarters
    low: float  # between these it is looked for
    high: float


def edges() -> list[Edge]:
    """Edges of memory 1 as s grows."""
    hard, smooth = hx.HardTanh(), hx.Tanh(2.0)
    return [
        Edge("both stable, hard tanh", 3.0, hard, 0, 0.5, 0.9),
        Edge("nothing between, hard tanh", 1.6, hard, 0, 0.1, 0.5),
        Edge("both stable, overlap 1/4", 3.0, hard, 1, 0.5, 0.9),
        Edge("a mixture between, overlap 1/4", 1.6, hard, 1, 0.1, 0.5),
        Edge("a mixture between, overlap 1/2", 2.0, hard, 2, 0.1, 0.5),
        Edge("a pitchfork, tanh of gain 2", 1.5, smooth, 0, 0.5, 0.9),
    ]
