"""Quasi-random numbers for the paths of the effective neuron."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..._errors import as_count, check_memory
from ._kernels import Kernel


class Noise(NamedTuple):
    """Quasi-random numbers of S paths over T steps; the leading axis counts scrambles."""

    gauss: Float[np.ndarray, "scrambles T S"]  # the field's own Gaussian of each step
    start: Float[np.ndarray, "scrambles S"]  # uniform: the sign at time 0
    stimulus: Float[np.ndarray, "scrambles S"] | None  # uniform: the sign of the input
    thermal: Float[np.ndarray, "scrambles T S"] | None  # uniform: the noise of the temperature
    others: Float[np.ndarray, "scrambles Q S"] | None = None  # uniform: signs of further memories


def noise(
    model: Kernel,
    steps: int,
    paths: int,
    scrambles: int,
    seed: int,
    thermal: bool = False,
    graded: bool = False,
    horizon: str = "horizon",
    others: int = 0,
) -> Noise:
    """Scrambled Sobol sequences for `paths`, `scrambles` and `seed` as a user gives them; `horizon`
    is how the user calls `steps`. `others`: memories beside the recalled one."""
    paths, scrambles = as_count(paths, "paths"), as_count(scrambles, "scrambles")
    seed = as_count(seed, "seed", 0)
    if paths & (paths - 1):
        raise ValueError(
            f"`paths` must be a power of two, where Sobol sequences are balanced, but is {paths}."
        )
    # Of every step the quasi-random numbers, in float64 and float32, and the overlaps and answers
    # to every earlier step.
    random = 12 * scrambles * steps * paths * (2 if thermal else 1)
    check_memory(
        horizon if steps > paths else "scrambles" if scrambles > paths else "paths",
        random + 12 * steps**2 * paths,
        f"{scrambles:,} x {paths:,} paths of {steps:,} steps",
    )
    return _noise(steps, paths, scrambles, seed, model.input_driven, thermal, graded, others)


@lru_cache(maxsize=8)
def _noise(steps, paths, scrambles, seed, stimulus, thermal, graded, others):
    """The first dimensions of a Sobol sequence are the most uniform: they go to the start, the
    stimulus, other memories and the first steps, on which all later ones depend."""
    from scipy.special import ndtri  # late: scipy.stats takes half a second to import
    from scipy.stats import qmc

    first = 1 + stimulus + others
    dimensions = steps * (2 if thermal else 1) + first
    seeds = np.random.SeedSequence(seed).spawn(scrambles)
    columns = []
    for child in seeds:
        sobol = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(child))
        columns.append(sobol.random(paths).T)
    u = np.clip(np.stack(columns), 2.0**-33, 1 - 2.0**-33)
    inside = np.clip(u, 2.0**-24, 1 - 2.0**-24).astype(np.float32)
    return Noise(
        ndtri(u[:, first : first + steps]).astype(np.float64 if graded else np.float32),
        inside[:, 0],
        inside[:, 1] if stimulus else None,
        inside[:, first + steps :] if thermal else None,
        inside[:, first - others : first] if others else None,
    )
