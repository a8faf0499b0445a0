"""Where the theory of finite separations of timescales holds, in one place.

The theory leaves out the response of the memories that take no part in a handover, which is O(bias)
times their number, and integrates a handover with a fixed number of steps, which is too few where
it lasts long. The limits were found by simulation: inside them critical gains differ from
simulated ones by no more than `error_band` says.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._errors import as_count, as_float, as_real
from ..._types import ArrayLike, is_concrete

TAU_MOST = 1000.0
BIAS_LEAST, BIAS_MOST = 1e-3, 0.01
P_MOST = 5
KAPPA_MOST = 1000.0
#: Saliency down to which the edge of a basin is looked for.
EDGE_LEAST = 0.8
_INSTEAD = (
    "Simulate (hopfax.refine finds thresholds), or take tau=math.inf for the limit of separate "
    "timescales."
)
_TOLERANCE = 1e-6  # of single precision: the limits themselves lie inside


def tau_least(P: int | float) -> float:
    """Smallest `tau` of the domain. In a cycle the memories at rest respond more strongly below 10;
    an endless chain has seeds on the next memory alone, so that nothing is left out there."""
    return 5.0 if P == math.inf else 10.0


def inside(
    P: int | float, tau: ArrayLike, bias: ArrayLike, kappa: ArrayLike = 0.0
) -> Bool[Array | np.ndarray, "..."] | np.bool_:
    """Whether the theory of finite `tau` holds; also under a trace. Of NumPy where all is known."""
    if all(map(is_concrete, (tau, bias, kappa))):
        tau, bias, kappa = np.asarray(tau), np.asarray(bias), np.asarray(kappa)
    slack = 1 + _TOLERANCE
    right = (tau * slack >= tau_least(P)) & (tau <= TAU_MOST * slack)
    right = right & (bias * slack >= BIAS_LEAST) & (bias <= BIAS_MOST * slack)
    right = right & (kappa <= KAPPA_MOST * slack)
    return right & (P == math.inf or 3 <= P <= P_MOST)


def domain(P: int | float, tau: ArrayLike, bias: ArrayLike, kappa: ArrayLike = 0.0) -> str:
    r"""Whether the theory of finite $\tau$ holds for these settings, in words.

    Hard tanh, orthogonal memories in a plain cycle, a linear readout and no noise are assumed, as
    everywhere in this module; this says whether the separation of timescales and the seed are such
    that `critical_gain`, `fixed_points`, `basin_edge` and `dwell_time` were found to agree with
    simulation.

    **Arguments:** `P`: memories in the cycle. `tau`: separation of timescales. `bias`: the seed.
    `kappa`: the gain. The last three may be arrays, all of whose values count. A network does not
    stand for them here.

    **Returns:** "" where the theory holds; otherwise a sentence that says what is outside, and by
    which limits. Under a trace, where values are not known, only `P` is judged.

    The limits were found by simulation: `tau` from 10 (5 in an endless chain) to 1000 and `bias`
    from 0.001 to 0.01, for 3, 4 and 5 memories and the endless chain, up to `kappa` = 1000.

    **Example:**

    ```python
    hx.theory.sequential.domain(4, 50.0, 0.01)  # ""
    hx.theory.sequential.domain(4, 1e5, 0.01)  # No prediction is derived for tau = 100000: ...
    ```
    """
    if not (isinstance(P, float) and P == math.inf) and not 3 <= as_count(P, "P") <= P_MOST:
        return (
            f"No prediction is derived for P = {P} at finite `tau`: the theory was checked for "
            f"cycles of 3 to {P_MOST} memories and the endless chain. {_INSTEAD}"
        )
    bounds = (
        ("tau", tau, tau_least(P), TAU_MOST),
        ("bias", bias, BIAS_LEAST, BIAS_MOST),
        ("kappa", kappa, -math.inf, KAPPA_MOST),
    )
    for name, value, least, most in bounds:
        if not is_concrete(value):
            continue
        values = np.ravel(np.asarray(as_real(value, name), dtype=float))
        wrong = (values * (1 + _TOLERANCE) < least) | (values > most * (1 + _TOLERANCE))
        if wrong.any() or np.isnan(values).any():
            found = values[wrong | np.isnan(values)][0]
            limits = f"from {least:g} to {most:g}" if least > -math.inf else f"up to {most:g}"
            return (
                f"No prediction is derived for {name} = {found:g}: at finite `tau` the theory was "
                f"checked for {name} {limits}. {_INSTEAD}"
            )
    return ""


def error_band(bias: ArrayLike) -> Float[Array, "..."]:
    r"""How much too large the critical gain at finite $\tau$ may be, inside the `domain`.

    The response of the memories that take no part in a handover, O(b), is left out: the critical
    gain of a cycle comes out too large, by $2 b$ or so at b = 0.01 and never by more than this
    band. That of an endless chain, where only the next memory has a seed, agrees with an
    independent integration to 0.01.

    **Arguments:** `bias`: the seed $b$.

    **Returns:** the bound on the error of `critical_gain`, $0.015 + 1.5\, b$, found on a grid of
    simulations.

    **Example:**

    ```python
    hx.theory.sequential.error_band(0.01)  # 0.03
    ```
    """
    return 0.015 + 1.5 * as_float(bias, "bias")


def only_inside(
    value: jax.Array, P: int | float, tau: jax.Array, bias: jax.Array, kappa: ArrayLike = 0.0
) -> jax.Array:
    """`value`, with NaN where the theory does not hold, as may be under a trace."""
    holds = inside(P, tau, bias, kappa)
    if is_concrete(holds) and np.all(holds):
        return value
    return jnp.where(holds, value, jnp.nan)
