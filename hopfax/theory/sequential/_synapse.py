"""Sequences by slow synapses: how long a memory stays, and which strengths sustain a cycle."""

import functools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import gammainc
from jaxtyping import Array, Bool, Float

from ..._errors import as_count, check_at_least
from ..._roots import implicit_root
from ..._types import ArrayLike
from .._parameters import floats
from ._arguments import check_P

_LONGEST = 60.0  # dwells, in units of tau: the traces have e^-60 to go
_SHORTEST = 1e-4
_HALVINGS = 80


class SynapseDwell(NamedTuple):
    """A steady sequence by slow synapses: the `dwell` in each memory, in units of tau, and whether
    it `exists`; the dwell is NaN where not.

    **Example:**

    ```python
    found = hx.theory.sequential.synapse_dwell(0.6)
    found.dwell, found.exists  # 1.8770, True
    ```
    """

    dwell: Float[Array, "..."]
    exists: Bool[Array, "..."]


class SynapseRange(NamedTuple):
    """Strengths of slow synapses that sustain a sequence: above `lower`, up to `upper`.

    **Example:**

    ```python
    found = hx.theory.sequential.synapse_range()
    found.lower, found.upper  # 0.4444, 0.8889
    ```
    """

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]


def synapse_dwell(
    strength: ArrayLike, P: int | float = math.inf, *, gain: ArrayLike = 1.8, stages: int = 1
) -> SynapseDwell:
    r"""Time that a memory stays in the steady cycle of a `SlowSynapseHopfield`, in units of $\tau$.

    While memory 1 is active, a neuron whose sign differs in the memories before and after it is
    held by the field $1 + \lambda (y_0 - y_1 - \sum_{others} y)$, and leaves saturation where that
    falls to $1/g$. As the traces of a steady cycle add up to 1, this is

    $$\lambda\,[1 - 2 y_0(T)] = 1 - 1/g, \qquad
    y_0(T) = \frac{q (1 - q)}{1 - q^P},\; q = e^{-T}, \qquad
    y_0(T) = G_k(2T) - G_k(T)\; (P = \infty),$$

    for one stage, and for k in an endless chain; $G_k$ is the distribution function of the sum of k
    exponential times of mean 1/k. The longest dwell is returned; shorter ones are unstable. In
    closed form it is $2\,\mathrm{artanh}\frac{1 - 1/g}{\lambda}$ for P = 2, and for the endless
    chain of one stage $-\ln\frac12 (1 - \sqrt{2 (1 - 1/g)/\lambda - 1})$; for many stages it
    approaches the pure delay, 1.

    **Arguments:**

    - `strength`: $\lambda$.
    - `P`: memories in the cycle, or `math.inf`.
    - `gain`: $g > 1$ of the hard tanh.
    - `stages`: k; more than one only for `P = math.inf`.

    **Returns:** a `SynapseDwell`, of the shape of `strength` and `gain` together; differentiable.

    **Raises:** ValueError for a gain of 1 or less, or what is not derived.

    Assumes orthogonal memories with all combinations of signs, the singular limit $\tau \to \infty$
    without a bias, and that the neurons that leave saturation first take the others with them: for
    one stage and P memories above $g = 2^{P-1} / P$. At lower gains these wait for others, and
    memories stay longer (P = 4, $\lambda = 1.7\,(1 - 1/g)$: 1.27 for g = 1.8 and 1.33 for 1.3, in
    place of 1.25). Above $g = 2$ mixtures of memories are attractors as well and can end a sequence
    near the upper end of `synapse_range`.
    Model: Sompolinsky, Kanter, PRL 57, 2861 (1986), for neurons of two states ($g \to \infty$);
    derived here for hard tanh.

    **Example:**

    ```python
    hx.theory.sequential.synapse_dwell(0.8, P=2).dwell  # 1.2528
    hx.theory.sequential.synapse_dwell(0.8).dwell  # 1.0986
    hx.theory.sequential.synapse_dwell(0.8, stages=30).dwell  # 1.1342
    ```
    """
    P, stages = _checked(P, stages)
    strength, gain = floats(strength=strength, gain=gain)
    threshold = _threshold(gain)
    strength, threshold = jnp.broadcast_arrays(strength, threshold)
    shortest, most = _turn(P, stages)
    positive = strength > threshold
    previous = (1 - threshold / jnp.where(positive, strength, 1.0)) / 2
    exists = positive & (previous <= most)
    wanted = jnp.where(exists, previous, most / 2)

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        above = _previous(middle, P, stages) > wanted
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    start = jnp.full_like(wanted, shortest), jnp.full_like(wanted, _LONGEST)
    low, high = lax.fori_loop(0, _HALVINGS, halve, lax.stop_gradient(start))
    root = implicit_root(eqx.Partial(_excess, wanted, P, stages), (low + high) / 2)
    return SynapseDwell(jnp.where(exists, root, jnp.nan), exists)


def synapse_range(
    P: int | float = math.inf, *, gain: ArrayLike = 1.8, stages: int = 1
) -> SynapseRange:
    r"""Strengths $\lambda$ for which a `SlowSynapseHopfield` has a steady cycle of pure memories.

    $$1 - 1/g < \lambda \le \frac{1 - 1/g}{1 - 2 \max_T y_0(T)},$$

    with $y_0$ as in `synapse_dwell`. Below, the next memory never grows strong enough and the first
    one stays for ever; above, what is left of earlier memories ends each memory as soon as it is
    reached. With one stage the upper end is $\infty$, 3, 2.242, 2.090, ... times the lower one for
    P = 2, 3, 4, 5, ..., and twice the lower one for the endless chain.

    **Arguments:** as in `synapse_dwell`, whose assumptions hold here, too.

    **Returns:** a `SynapseRange`. At finite $\tau$ sequences last a little beyond the upper end.

    **Raises:** ValueError as `synapse_dwell`.

    **Example:**

    ```python
    hx.theory.sequential.synapse_range(3)  # 0.4444, 1.3333
    ```
    """
    P, stages = _checked(P, stages)
    (gain,) = floats(gain=gain)
    lower, least = _threshold(gain), 1 - 2 * _turn(P, stages)[1]
    upper = lower / least if least > 0 else jnp.full_like(lower, jnp.inf)
    return SynapseRange(lower, upper)


def _checked(P: int | float, stages: int) -> tuple[int | float, int]:
    P, stages = check_P(P), as_count(stages, "stages", 1, most=1000)
    if stages > 1 and P != math.inf:
        raise ValueError(
            f"`P` must be math.inf with `stages` = {stages}: for more than one stage only the "
            "endless chain is derived, from which a cycle of P memories differs by about "
            "exp(-P) of its traces."
        )
    return P, stages


def _threshold(gain: Array) -> Array:
    """1 - 1/g, how far the field of an active memory is above saturation."""
    check_at_least(gain, "gain", 1.0, strict=True, hint="No memory is stable at a lower one.")
    return 1 - 1 / gain


def _previous(T: Array, P: int | float, stages: int) -> Array:
    """The trace of the memory before the active one, after a dwell T in that."""
    if stages > 1:
        k = jnp.asarray(stages, T.dtype)
        return gammainc(k, 2 * k * T) - gammainc(k, k * T)
    some = -jnp.exp(-T) * jnp.expm1(-T)
    return some if P == math.inf else -some / jnp.expm1(-P * T)


def _excess(wanted: Array, P: int | float, stages: int, T: Array) -> Array:
    return _previous(T, P, stages) - wanted


@functools.cache
def _turn(P: int | float, stages: int) -> tuple[float, float]:
    """The dwell at which the trace of the previous memory is greatest, and that trace."""
    if stages == 1 and P <= 3:
        return 0.0, 1 / P  # it falls from T = 0 on

    def at(T):
        with jax.ensure_compile_time_eval():
            return np.asarray(_previous(jnp.asarray(T), P, stages))

    T = np.geomspace(_SHORTEST, _LONGEST, 1001)
    for _ in range(4):  # each time in the two intervals around the greatest value
        values = at(T)
        k = int(np.clip(np.argmax(values), 1, len(T) - 2))
        T = np.linspace(T[k - 1], T[k + 1], 1001)
    values = at(T)
    return float(T[np.argmax(values)]), float(values.max())
