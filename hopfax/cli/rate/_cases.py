"""The cases of `hopfax reproduce rate`: sizes, designs, tolerances of what is measured."""

from typing import Any

import diffrax
import numpy as np

import hopfax as hx

from ._points import ACTIVATIONS, Kind

NEURONS, Q, GAIN, B = 1000, 0.2, 4.8, 0.95
#: Two designs: net background inhibition, and net background excitation.
INHIBITED, EXCITED = -0.3, 0.1
#: The stability table: activation, a, threshold.
ROWS: tuple[tuple[Kind, float, float], ...] = (
    ("logistic", -0.3, 0.2),
    ("logistic", -0.3, 0.5),
    ("logistic", -0.3, 0.8),
    ("logistic", 0.1, 0.2),
    ("rectified_tanh", -0.3, 0.5),
    ("rectified_tanh", 0.1, 0.8),
    ("hard_sigmoid", -0.3, 0.2),
    ("hard_sigmoid", -0.3, 0.75),
)
#: How the growth of a small difference is measured: its size, how long till it is made small again,
#: how often, and how many of the last rates count.
SMALL, STRETCH, STRETCHES, LAST = 1e-6, 0.25, 1600, 80
KEPT = tuple(range(50, 1001, 50))  # of 1000 parts of the active neurons in a cue
SEEDS = 10
HORIZON = 60.0  # of retrieval
SURE, LOW = 0.45, 0.10  # shares of active neurons: of cues that suffice, and that are forgotten
#: Cases of the phase planes: a, input to active neurons, input to silent neurons.
PLANES = ((-0.3, 0.0, 0.0), (-0.3, 0.3, 0.0), (0.1, 0.0, 0.0), (0.1, 0.3, 0.3))
STARTS = 7  # along each side of a plane
#: Designs whose critical saliency is measured: a, threshold.
SALIENCIES = ((-0.3, 0.2), (-0.3, 0.5), (0.1, 0.2))
#: Saliencies between which it is sought, in three rounds of so many steps, ever slower.
SALIENCY, LANES, SLOW = (0.2, 1.3), 40, 400.0
#: Delayed inhibition: threshold of a design near its border, its inhibition over the least one, and
#: time constants around the critical one.
DELAY_THRESHOLD, DELAY_FACTOR, DELAYS = 0.68, 2.0, np.linspace(3.5, 7.0, 15)
SATURATED_DELAYS = (0.1, 1.0, 5.0)
RANDOM, DRAWS = 14, 40  # random memories, P = floor(N / (10 ln N)), and how many sets


def phi_of(threshold: Any, kind: Kind = "logistic") -> hx.AbstractRateActivation:
    """An activation with the gain of all cases."""
    return ACTIVATIONS[kind](GAIN, threshold)


def unit(P: int, mu: int = 0) -> np.ndarray:
    """The weights of memory `mu` alone."""
    return np.eye(P)[mu]


def tight() -> hx.Diffrax:
    """An integrator whose errors are far below the differences that are followed."""
    return hx.Diffrax(diffrax.Tsit5(), diffrax.PIDController(rtol=1e-10, atol=1e-13))
