"""The smallest gain that sustains a sequence."""

import math

import jax
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, GaussianAverage, HardTanh
from ..._errors import as_float, check_at_least, check_finite, check_shape
from ..._types import ArrayLike
from .._parameters import floats
from .._told import takes_network
from . import _drift, _handover, _network, _singular
from ._arguments import (
    check_activation,
    check_finite_tau,
    check_no_bias,
    check_P,
    gain_of,
    is_value,
)
from ._domain import only_inside


@takes_network(_network.cycle)
def critical_gain(
    P: int | float = math.inf,
    *,
    tau: ArrayLike = math.inf,
    bias: ArrayLike = 0.0,
    activation: AbstractActivation = HardTanh(),
    self_loop: ArrayLike = 0.0,
    noise: ArrayLike = 0.0,
) -> Float[Array, "..."]:
    r"""Smallest gain $\kappa$ that sustains a cycle of `P` memories.

    Hard tanh, singular limit: with $q$ the factor by which a saliency that is not driven decays in
    one dwell ($1/Z$ without self-loops),

    $$\kappa_c = \frac1g \min_{0 < q \le 1} \Big[ \frac{1 - g s}{q} + \sum_{j=0}^{P-2} q^j \Big],
    \qquad \kappa_c(\infty) = \frac{(1 + \sqrt{1 - g s})^2}{g}.$$

    With $g = 1$ and $s = 0$ it is 2, 3, 3.6107, 3.8344, ... for P = 2, 3, 4, 5, ... and 4 for the
    endless chain. Up to P = 3 the minimum lies at $q = 1$, where the cycle appears with vanishing
    dwell; not so at finite `tau`: for P = 3, `tau` = 50, `bias` = 0.01 it begins at 0.51 `tau`.

    Other activations (endless chain): the active memory drifts along $a = z \psi(a)$, and the next
    one takes over where $Z \psi'(a) = 1$; the gain that reproduces $Z$ is

    $$\kappa = \frac{Z}{z I}, \quad I = \int_z^Z \frac{\psi(a(\zeta))}{\zeta^2} d\zeta, \quad
    z = \frac{a}{\psi(a)},$$

    minimised over $a$. This assumes that the next memory takes over in a jump, as it does for
    $\psi''' > 0$ there (tanh, erf); for other activations this must be checked separately. Noise
    turns $\psi$ into its Gaussian average.

    **Arguments:**

    - `P`: memories in the cycle, an integer >= 2, or `math.inf` for an endless chain.
    - `tau`: separation of the timescales, `math.inf` for the singular limit. A finite `tau` > 1
        takes hard tanh, no self-loop, no noise, and P >= 3.
    - `bias`: the seed $b > 0$ that a finite `tau` needs: on all memories of a cycle, or on the next
        memory of an endless chain.
    - `activation`: $\psi$; its gain $g$ divides the critical gain, for a given $g s$.
    - `self_loop`: $s = \kappa A_{\mu\mu}$, held fixed while $\kappa$ varies; below 1/gain.
    - `noise`: $\sigma$ of the stochastic differential equation; the standard deviation at a site is
        $\sigma / \sqrt 2$. Exact for infinitely many sites.

    A `TwoTimescaleHopfield` that is a plain cycle, given first, stands for all parameters that it
    has; keywords win.

    **Returns:** $\kappa_c$, broadcast over `tau` and `bias`, or over `self_loop`. Infinite where no
    gain sustains a cycle; NaN, which is possible under a trace alone, where no prediction is
    derived. Differentiable in every parameter.

    **Raises:** ValueError for a combination that is not derived, or a parameter out of its range.

    Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, for $\kappa_c(\infty) = 4$; the rest is
    derived here.

    **Example:**

    ```python
    hx.theory.sequential.critical_gain(4)  # 3.6107
    hx.theory.sequential.critical_gain()  # 4.0: the endless chain
    hx.theory.sequential.critical_gain(activation=hx.Tanh())  # 5.8914
    ```
    """
    P = check_P(P)
    check_activation(activation)
    if not isinstance(activation, HardTanh) or not is_value(noise, 0.0):
        return _of_a_smooth_chain(P, tau, bias, activation, self_loop, noise)
    if is_value(tau, math.inf):
        check_no_bias(bias)
        s, gain = floats(self_loop=self_loop, gain=gain_of(activation))
        check_finite(s, "self_loop")
        return _singular.critical_gain(P, gain * s) / gain
    if not is_value(self_loop, 0.0):
        raise ValueError(_NO_FINITE_TAU)
    tau, bias, gain = floats(tau=tau, bias=bias, gain=gain_of(activation))
    check_finite_tau(P, tau, gain * bias)
    return only_inside(_handover.critical_gain(P, tau, gain * bias) / gain, P, tau, gain * bias)


_NO_FINITE_TAU = (
    "`tau` must be math.inf with a smooth `activation`, `noise` or `self_loop`: "
    "no finite-`tau` theory is derived for them."
)


def _of_a_smooth_chain(P, tau, bias, activation, self_loop, noise) -> jax.Array:
    if not is_value(tau, math.inf):
        raise ValueError(_NO_FINITE_TAU)
    check_no_bias(bias)
    if P != math.inf or not is_value(self_loop, 0.0):
        raise ValueError(
            "`P` must be math.inf and `self_loop` 0 with a smooth `activation` or `noise`: "
            "only the endless chain without self-loops is derived for them."
        )
    if not is_value(noise, 0.0):
        noise = as_float(noise, "noise")
        check_shape(noise, "noise", (), "()")
        check_at_least(noise, "noise", 0.0, strict=False)
        activation = GaussianAverage(activation, noise / math.sqrt(2.0))
    return _drift.critical_gain(activation)
