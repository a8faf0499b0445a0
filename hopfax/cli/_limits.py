"""Sizes that cannot be are refused before anything is computed, with the bytes they would take."""

import math
from collections.abc import Sequence

from .._errors import check_memory

_POINTS = 2**31 - 1  # of a sweep: random numbers are told apart by the number of their point
_SEED = 2**63


def check_seed(seed: int, least: int = -_SEED) -> None:
    """ValueError for a seed that random numbers cannot be drawn with."""
    if not least <= seed < _SEED:
        above = "must be at least 0 and" if least == 0 else "must be"
        raise ValueError(f"`seed` {above} below 2^63 in size, got {seed}.")


def check_noise(noise: float) -> None:
    """ValueError for a strength of noise that there is not."""
    if not 0 <= noise < math.inf:
        raise ValueError(f"`noise` must be finite and >= 0, got {noise:g}.")


def check_positive(name: str, value: float) -> None:
    """ValueError naming an option that must be finite and above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be finite and > 0, got {value:g}.")


def check_points(points: Sequence[int]) -> None:
    """ValueError for more points than a sweep can have."""
    if (total := math.prod(points)) > _POINTS:
        raise ValueError(f"`points` must be at most 2^31 - 1 in all, got {total}.")


def check_results(points: Sequence[int], size: int) -> None:
    """ValueError if the results of so many points do not fit into memory."""
    check_memory("points", size, f"the results of {math.prod(points)} points")


def check_patterns(P: int, N: int) -> None:
    """ValueError for more memories or neurons than fit into memory."""
    # Three arrays (P, N) are there while memories are made, and one (P, P) in the network.
    size = 8 * (3 * P * N + P * P)
    check_memory("memories" if P > N else "neurons", size, f"{P} memories of {N} neurons")
