"""Edges of retrieval, read from trajectories of the full theory.

Edges are found by bisection in each scramble for itself, so that their spread is the error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._errors import as_count, as_float, check_at_least
from ..._programs import jitted
from ..._types import ArrayLike
from .._parameters import check_scalar
from .._search import bisect
from ._arguments import check_fraction, checked_point, held_by_paths, standard_error
from ._kernels import Model, kernel
from ._paths import Setting, follow, of_signs, overlap
from ._sobol import noise

_START_BISECTIONS = 10  # of the start, in [0, 1]
_LOAD_BISECTIONS = 13  # of the load, up to _MOST_LOAD in units of 1 / K(1)
_MOST_LOAD = 4.0


class BasinEdge(NamedTuple):
    """The smallest start from which a memory is retrieved within a given time.

    `overlap`: that of the smallest start which is at `fraction` of `plateau` after `horizon` steps.
    `error`: its standard error. `plateau`: where a start from the memory itself is by then.

    **Example:**

    ```python
    edge = hx.theory.dense.basin_edge(hx.Power(3), 0.03, 2, paths=2**6)
    edge.plateau, edge.horizon, edge.fraction  # 1.0, 2, 0.9
    ```
    """

    overlap: Float[Array, ""]
    error: Float[Array, ""]
    plateau: Float[Array, ""]
    horizon: int
    fraction: Float[Array, ""]


class ConvergenceTime(NamedTuple):
    """How many steps a trajectory takes to settle.

    `time`: the first step from which on the overlap stays within `tolerance` of `plateau`, where it
    is after `horizon` steps; NaN if it still moves then. `error`: its standard error.

    **Example:**

    ```python
    run = hx.theory.dense.convergence_time(hx.Power(3), 0.08, 0.8, 2, paths=2**6, tolerance=0.1)
    run.time, run.horizon, run.tolerance  # 0, 2, 0.1: within 0.1 from the start
    ```
    """

    time: Float[Array, ""]
    error: Float[Array, ""]
    plateau: Float[Array, ""]
    horizon: int
    tolerance: Float[Array, ""]


class ApparentCapacity(NamedTuple):
    """The load at which the overlap after `horizon` steps is `threshold`; `error`: its standard
    error.

    **Example:**

    ```python
    found = hx.theory.dense.apparent_capacity(hx.Power(3), 2, paths=2**6)
    found.horizon, found.threshold  # 2, 0.5
    ```
    """

    load: Float[Array, ""]
    error: Float[Array, ""]
    horizon: int
    threshold: Float[Array, ""]


def basin_edge(
    interaction: Model,
    load: ArrayLike,
    horizon: int,
    *,
    fraction: ArrayLike = 0.9,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    stimulus_overlap: ArrayLike = None,
) -> BasinEdge:
    r"""Smallest start from which a memory is retrieved within a given time.

    The least $m_0 \ge 0$ with $m(T) \ge$ `fraction` $\cdot\, m_1(T)$, T = `horizon`, where $m_1$
    starts from the memory itself; by bisection on `solve_gfa`, in each scramble for itself.

    **Arguments:** `horizon`: the number of steps T. `fraction`: of the plateau; in (0, 1). The
    rest: as in `solve_gfa`.

    **Returns:** a `BasinEdge`, resolved to 1/1024 with the spread over scrambles as `error`; NaN
    where the plateau is below 0.5, where nothing is retrieved. The edge belongs to its horizon:
    near it escape is slow, and longer horizons find lower edges.

    **Raises:** ValueError for a value out of range.

    Assumptions and source: `solve_gfa`, zero temperature.

    **Example:**

    ```python
    edge = hx.theory.dense.basin_edge(hx.Power(3), 0.03, 2, paths=2**6)
    edge.overlap, edge.error  # 0.5471, 0.0008
    ```
    """
    model = kernel(interaction)
    horizon = as_count(horizon, "horizon")
    load, fraction, mu = checked_point(model, stimulus_overlap, load=load, fraction=fraction)
    check_fraction(fraction, "fraction")
    held = held_by_paths(model, load)
    setting = Setting(model, load, jnp.ones_like(load), stimulus_overlap=mu)
    drawn = noise(model, horizon, paths, scrambles, seed)
    setting, fraction = of_signs((setting, fraction))
    edges, plateau = _starts(setting, drawn, horizon, fraction)
    plateau = plateau.mean()
    retrieved = (plateau >= 0.5) & held
    edge, error = (
        jnp.where(retrieved, part, jnp.nan)
        for part in (edges.mean(), _with_resolution(edges, 2.0**-_START_BISECTIONS))
    )
    return BasinEdge(edge, error, plateau, horizon, fraction)


def convergence_time(
    interaction: Model,
    load: ArrayLike,
    m0: ArrayLike,
    horizon: int,
    *,
    tolerance: ArrayLike = 0.005,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    stimulus_overlap: ArrayLike = None,
) -> ConvergenceTime:
    r"""Steps until the overlap stays within `tolerance` of where it is at the horizon.

    **Arguments:** `horizon`: the number of steps T. `tolerance`: > 0. The rest: as in `solve_gfa`.

    **Returns:** a `ConvergenceTime`; `time` is the mean over scrambles and `error` its standard
    error. NaN if a scramble still moves at the horizon.

    **Raises:** ValueError for a value out of range.

    Assumptions and source: `solve_gfa`, zero temperature. The plateau depends on the start.

    **Example:**

    ```python
    hx.theory.dense.convergence_time(hx.Power(3), 0.08, 0.8, 2, paths=2**6).time  # nan: too short
    ```
    """
    model = kernel(interaction)
    horizon = as_count(horizon, "horizon")
    load, m0, mu = checked_point(model, stimulus_overlap, load=load, m0=m0)
    tolerance = as_float(tolerance, "tolerance", load.dtype)
    check_scalar(tolerance, "tolerance")
    check_at_least(tolerance, "tolerance", 0.0, strict=True)
    held = held_by_paths(model, load)
    setting = Setting(model, load, m0, stimulus_overlap=mu)
    drawn = noise(model, horizon, paths, scrambles, seed)
    setting, tolerance = of_signs((setting, tolerance))
    m = jnp.where(held, follow(setting, drawn, horizon)[0], jnp.nan)
    times = _settled(m, tolerance)
    return ConvergenceTime(times.mean(), standard_error(times), m[:, -1].mean(), horizon, tolerance)


def apparent_capacity(
    interaction: Model,
    horizon: int,
    threshold: ArrayLike = 0.5,
    *,
    m0: ArrayLike = 1.0,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    stimulus_overlap: ArrayLike = None,
) -> ApparentCapacity:
    r"""Load at which the overlap after `horizon` steps has fallen to `threshold`.

    By bisection on `solve_gfa` for scaled loads $\alpha' = \alpha K(1)$ up to 4, in each scramble
    for itself.

    **Arguments:** `horizon`: the number of steps T. `threshold`: in (0, 1). `m0`: the start. The
    rest: as in `solve_gfa`.

    **Returns:** an `ApparentCapacity`, resolved to $\alpha'$ of 5e-4, with the spread over
    scrambles as `error`; NaN where no load up to 4 crosses the threshold. It lies above `capacity`
    and falls with the horizon: for n = 3 at threshold 0.8 $\alpha'$ is 0.34 after 20 steps, 0.32
    after 60, against 0.252. It should be quoted together with horizon and threshold.

    **Raises:** ValueError for a value out of range.

    Assumptions and source: `solve_gfa`, zero temperature.

    **Example:**

    ```python
    hx.theory.dense.apparent_capacity(hx.Power(3), 2, paths=2**6).load  # 0.5954
    ```
    """
    model = kernel(interaction)
    horizon = as_count(horizon, "horizon")
    threshold, m0, mu = checked_point(model, stimulus_overlap, threshold=threshold, m0=m0)
    check_fraction(threshold, "threshold")
    setting = Setting(model, _MOST_LOAD / model(jnp.ones_like(m0)), m0, stimulus_overlap=mu)
    drawn = noise(model, horizon, paths, scrambles, seed)
    setting, threshold = of_signs((setting, threshold))
    loads = _loads(setting, drawn, horizon, threshold)
    error = _with_resolution(loads, setting.load * 2.0**-_LOAD_BISECTIONS)
    return ApparentCapacity(loads.mean(), error, horizon, threshold)


@jitted
def _starts(setting, noise, steps, fraction):
    """Edge and plateau of every scramble."""

    def one(noise):
        run = lambda m0: overlap(setting._replace(m0=m0), noise, steps)[-1]  # noqa: E731
        plateau = run(jnp.ones_like(fraction))
        reached = lambda m0: run(m0) - fraction * plateau  # noqa: E731
        edge = bisect(reached, 0 * fraction, jnp.ones_like(fraction), _START_BISECTIONS)
        return edge, plateau

    return jax.lax.map(one, noise)


@jitted
def _loads(setting, noise, steps, threshold):
    """Where the last overlap crosses the threshold, between no load and that of `setting`."""

    def one(noise):
        run = lambda load: overlap(setting._replace(load=load), noise, steps)[-1]  # noqa: E731
        least = setting.load * 2.0**-_LOAD_BISECTIONS
        lost = lambda load: threshold - run(load)  # noqa: E731
        found = bisect(lost, least, setting.load, _LOAD_BISECTIONS)
        inside = (lost(least) <= 0) & (lost(setting.load) > 0)
        return jnp.where(inside, found, jnp.nan)

    return jax.lax.map(one, noise)


def _settled(m, tolerance):
    """The first time from which on each row stays within `tolerance` of its end, or NaN."""
    away = jnp.abs(m - m[:, -1:]) > tolerance
    times = jnp.arange(1, m.shape[1] + 1)
    first = jnp.where(away, times, 0).max(1)
    settled = (first < m.shape[1] - 1) & jnp.isfinite(m).all(1)
    return jnp.where(settled, first.astype(m.dtype), jnp.nan)


def _with_resolution(values, cell):
    """Standard error of results of a bisection, each of which is known to a cell of this width."""
    return jnp.sqrt(standard_error(values) ** 2 + cell**2 / 12)
