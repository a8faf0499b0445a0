"""Points that fill the ranges of several parameters, at random or evenly."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from .._errors import as_count, as_real, check_array, shown

#: An axis of a sweep along which several parameters change together.
Axis = dict[tuple[str, ...], tuple[np.ndarray, ...]]


def random(
    ranges: Mapping[str, Any],
    points: int,
    *,
    seed: int = 0,
    log: Collection[str] = (),
) -> Axis:
    """Points drawn independently and uniformly.

    **Arguments:**

    - `ranges`: the least and the largest value of every parameter, such as
      `{"kappa": (3, 7), "tau": (20, 2000)}`.
    - `points`: how many.
    - `seed`: of the draw.
    - `log`: names of the parameters that are uniform in their logarithm, such as `["tau"]`.

    **Returns:** `{(name, ...): (values, ...)}`.

    **Raises:** ValueError or TypeError naming the parameter or argument at fault.

    **Example:**

    ```python
    axis = hx.designs.random({"kappa": (3, 7), "tau": (20, 2000)}, 4, log=["tau"])
    list(axis)  # [('kappa', 'tau')], one axis along which both change
    kappa, tau = axis["kappa", "tau"]  # four values each
    ```
    """
    points, seed = _checked(ranges, points, seed, log)
    return _scaled(np.random.default_rng(seed).random((points, len(ranges))), ranges, log)


def sobol(
    ranges: Mapping[str, Any],
    points: int,
    *,
    seed: int = 0,
    log: Collection[str] = (),
) -> Axis:
    """Points of a scrambled Sobol sequence, which fill the ranges more evenly than random ones.

    The first k points of a longer design are those of a shorter one. Averages over them converge
    almost as 1/points for smooth functions; take a power of two. (Sobol 1967; scrambling: Owen
    1998; made by `scipy.stats.qmc`.)

    **Arguments:**

    - `ranges`: the least and the largest value of every parameter, such as
      `{"kappa": (3, 7), "tau": (20, 2000)}`.
    - `points`: how many, a power of two.
    - `seed`: of the scrambling.
    - `log`: names of the parameters that are uniform in their logarithm, such as `["tau"]`.

    **Returns:** `{(name, ...): (values, ...)}`.

    **Raises:** ValueError or TypeError naming the parameter or argument at fault.

    **Example:**

    ```python
    axis = hx.designs.sobol({"kappa": (3, 7), "tau": (20, 200)}, 4)
    kappa, tau = axis["kappa", "tau"]
    np.sort(kappa)  # 3.87, 4.64, 5.89, 6.62: one in each quarter of the range
    ```
    """
    points, seed = _checked(ranges, points, seed, log)
    exponent = points.bit_length() - 1
    if points != 2**exponent:
        raise ValueError(
            f"`points` must be a power of two for a Sobol sequence, got {points}; the nearest are "
            f"{2**exponent} and {2 ** (exponent + 1)}."
        )
    from scipy.stats import qmc  # half a second, which random designs do not need

    sequence = qmc.Sobol(len(ranges), rng=np.random.default_rng(seed))
    return _scaled(sequence.random_base2(exponent), ranges, log)


def _checked(ranges: Any, points: Any, seed: Any, log: Any) -> tuple[int, int]:
    """Points and seed; ValueError or TypeError naming what is no design."""
    if not isinstance(ranges, Mapping) or not ranges:
        raise TypeError(
            f'`ranges` must be a non-empty dict such as {{"kappa": (3, 7)}}, got {shown(ranges)}.'
        )
    points, seed = as_count(points, "points"), as_count(seed, "seed", 0)
    check_array("the design", 16, points=points, parameters=len(ranges))
    listed = isinstance(log, Collection) and not isinstance(log, str | bytes | np.ndarray)
    if not listed or not all(isinstance(name, str) for name in log):
        raise TypeError(f"`log` must list names of parameters, such as ['tau'], got {shown(log)}.")
    for name, limits in ranges.items():
        ends = np.asarray(as_real(limits, f"ranges[{name!r}]"), float)
        if ends.shape != (2,) or not np.isfinite(ends).all():
            text = f"must have a least and a largest value, got {shown(limits)}"
            raise ValueError(f"`ranges`: {name!r} {text}.")
        if not limits[0] < limits[1]:
            raise ValueError(f"`ranges`: {name!r} needs least < largest, got {tuple(limits)}.")
        if name in log and limits[0] <= 0:
            raise ValueError(f"`log`: {name!r} must be positive, but its least is {limits[0]}.")
    if unknown := [name for name in log if name not in list(ranges)]:
        raise ValueError(f"`log` names {unknown[0]!r}, which has no range.")
    return points, seed


def _scaled(unit: np.ndarray, ranges: Mapping[str, Any], log: Collection[str]) -> Axis:
    """Points of the unit cube, (points, parameters), moved to the ranges."""
    columns = []
    for column, (name, (low, high)) in zip(unit.T, ranges.items(), strict=True):
        if name in log:
            columns.append(low * (high / low) ** column)
        else:
            columns.append(low + (high - low) * column)
    return {tuple(ranges): tuple(columns)}
