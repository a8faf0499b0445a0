"""Two memories in one stimulus: which of them is stable, as the mixture varies."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import check_at_least, check_bool
from ..._programs import jitted
from ..._types import ArrayLike, is_concrete
from .._told import takes_network
from . import _network
from ._arguments import check_activation, check_below, finite_floats, inverse_size
from ._plane import edges


class Competition(NamedTuple):
    r"""What is stable as the stimulus goes from memory 1 ($s = 0$) to memory 2 ($s = 1$).

    `first`: the edge $s_1$; memory 1 is stable for $s < s_1$. `second`: $1 - s_1$; memory 2 is
    stable for $s > 1 - s_1$. `silent_low`, `silent_high`: between them nothing is retrieved: the
    origin attracts everything. `exists`, `bistable`, `mixed`, `silent`: whether there are $s$ in
    [0, 1] at which memory 1 is stable; at which both memories are, which is for $1 - s_1 < s <
    s_1$; at which a mixture is, which is between $s_1$ and `silent_low`, or up to $1 - s_1$ where
    nothing is silent, and mirrored; at which nothing is. `jump`: whether memory 1 ends at $s_1$ in
    a jump to another state. An edge is NaN where its flag (`exists`, `silent`) is False.

    **Example:**

    ```python
    found = hx.theory.input_driven.competition(3.0)
    found.first, found.second, found.bistable  # 0.6667, 0.3333, True
    ```
    """

    first: Float[Array, "..."]
    second: Float[Array, "..."]
    silent_low: Float[Array, "..."]
    silent_high: Float[Array, "..."]
    exists: Bool[Array, "..."]
    bistable: Bool[Array, "..."]
    mixed: Bool[Array, "..."]
    silent: Bool[Array, "..."]
    jump: Bool[Array, "..."]


class StableStates(NamedTuple):
    """Which states are stable under one mixture, each up to its sign.

    `first`, `second`: the two memories. `mixture`: a state that is neither. `nothing`: the origin.

    **Example:**

    ```python
    found = hx.theory.input_driven.stable_states([0.2, 0.5, 0.8], 3.0)
    found.first, found.second  # [True, True, False], [False, True, True]
    ```
    """

    first: Bool[Array, "..."]
    second: Bool[Array, "..."]
    mixture: Bool[Array, "..."]
    nothing: Bool[Array, "..."]


@takes_network(_network.pair)
def competition(
    amplitude: ArrayLike,
    activation: AbstractActivation = HardTanh(),
    *,
    overlap: ArrayLike = 0.0,
    leaks: bool = True,
    N: int | float = math.inf,
) -> Competition:
    r"""The ranges of the mixture $u = A\, [(1-s)\, \xi^1 + s\, \xi^2]$ in which one memory, both, a
    mixture or nothing is stable.

    Orthogonal memories: memory 1 is stable for $s < s_1$, memory 2 for $s > 1 - s_1$. Hard tanh of
    gain g:

    $$s_1 = 1 - \frac{1}{g A},$$

    so that both are stable in between for $g A > 2$, and nothing is for $1 < g A < 2$. Smooth
    activations have the same edge up to $A\, \psi'(0) = 2$; above, memory 1 loses its stability to
    memory 2 before it ends, in a pitchfork bifurcation at

    $$s_1 = \frac{1}{A\, \psi'(a)}, \qquad \frac{a}{\psi(a)} + \frac{1}{\psi'(a)} = A .$$

    Hard tanh and two memories of overlap $r \ge 0$, for which the saliencies are
    $\alpha_1 = A\, (1 - s + r s)$ and $\alpha_2 = A\, (s + r (1-s))$ (*leakage*):

    $$s_1 = 1 - \frac1B, \qquad B = g A\, (1 - r^2) .$$

    Both are stable in between for $B > 2$; for $B < 2$ a mixture is stable between the memories,
    which it joins without a jump, but for $|1 - 2s| < \lambda$, where nothing is stable,

    $$\lambda^2 = \frac{(2/(g A) - (1 + r)^2)\, (2/B - 1)}{(1 - r)^2} .$$

    **Arguments:**

    - `amplitude`: $A > 0$.
    - `activation`: $\psi$, concave on the positive side; hard tanh where the memories overlap.
    - `overlap`: $r$ of the two memories, from 0 to below 1.
    - `leaks`: False for the pseudo-inverse stimulus, whose saliencies are $A (1-s)$ and $A s$ (see
        `leakage`). Then $2(1 - s_1) = 1 + (2/(g A) - 1 + r)/(1 + r)$.
    - `N`: the number of neurons without self-couplings, as in `retrieval`. $1/g$ grows by
        $(\alpha_1 + \alpha_2)/N$.

    An `InputDrivenHopfield`, or two memories, given first, stand for activation, `N` and `overlap`.

    **Returns:** a `Competition`, broadcast over `amplitude` and `overlap`. Exact for any number of
    neurons, as long as no other memory is in the stimulus (for r > 0: no other memory overlaps with
    the two). Differentiable. With a smooth activation no mixture of orthogonal memories is stable
    where `jump` is True; were it False for an activation of your own with $A \psi'(0) > 2$, a
    stable mixture would follow, of which nothing is said here.

    **Raises:** ValueError for an amplitude that is not positive, an overlap outside [0, 1), or one
    that is not 0 with a smooth activation, for which nothing is derived; TypeError for no
    activation. Under a trace such an overlap gives NaN.

    Derived here for the model of Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849.

    **Example:**

    ```python
    hx.theory.input_driven.competition(3.0, hx.Tanh(2.0)).first  # 0.7394: a pitchfork
    found = hx.theory.input_driven.competition(1.6, overlap=0.3)
    found.first, found.bistable, found.mixed  # 0.3132, False, True
    ```
    """
    amplitude, overlap = _checked(amplitude, activation, overlap, leaks)
    return _competition(amplitude, overlap, leaks, inverse_size(N), activation)


def _checked(amplitude, activation, overlap, leaks):
    amplitude, overlap = finite_floats(amplitude=amplitude, overlap=overlap)
    check_activation(activation)
    check_bool(leaks, "leaks")
    check_at_least(amplitude, "amplitude", 0.0, strict=True)
    check_below(overlap, "overlap", 1.0)
    derived = isinstance(activation, HardTanh)
    if not derived and is_concrete(overlap) and np.asarray(overlap).any():
        raise ValueError(
            "`overlap` must be 0 with a smooth `activation`: correlated memories are derived for "
            "hard tanh alone. Simulate, or store them by the pseudo-inverse rule."
        )
    inside = (amplitude > 0) & ((overlap >= 0) & (overlap < 1) if derived else overlap == 0)
    return amplitude, jnp.where(inside, overlap, jnp.nan)


@jitted
def _competition(amplitude, overlap, leaks, share, activation):
    amplitude, overlap = jnp.broadcast_arrays(amplitude, overlap)
    h, low, jump = edges(amplitude, overlap, leaks, share, activation)
    exists, silent = h < 1, low > 0
    low = jnp.minimum(low, 1.0)
    first = jnp.where(exists, (1 - h) / 2, jnp.nan)
    silence = jnp.where(silent, low, jnp.nan)
    mixed = (h > 0) & (jnp.minimum(h, 1.0) > low)
    sides = first, 1 - first, (1 - silence) / 2, (1 + silence) / 2
    return Competition(*sides, exists, h < 0, mixed, silent, exists & jump)


@takes_network(_network.pair)
def stable_states(
    s: ArrayLike,
    amplitude: ArrayLike,
    activation: AbstractActivation = HardTanh(),
    *,
    overlap: ArrayLike = 0.0,
    leaks: bool = True,
    N: int | float = math.inf,
) -> StableStates:
    r"""Which states are stable under the stimulus $u = A\, [(1-s)\, \xi^1 + s\, \xi^2]$.

    Memory 1 is stable for $s < s_1$, memory 2 for $s > 1 - s_1$, and the others in the ranges that
    `competition` gives.

    **Arguments:** `s`: the part of memory 2, from 0 to 1. All others: as in `competition`.

    An `InputDrivenHopfield`, or two memories, given first, stand for activation, `N` and `overlap`.

    **Returns:** a `StableStates`, broadcast over `s`, `amplitude` and `overlap`. At an edge itself
    neither side counts as stable. Under a trace all are False outside the domain.

    **Raises:** as `competition` does, and ValueError for `s` outside [0, 1].

    Derived here for the model of Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849.

    **Example:**

    ```python
    found = hx.theory.input_driven.stable_states(jnp.linspace(0.0, 1.0, 5), 1.5)
    found.nothing  # [False, False, True, False, False]
    ```
    """
    amplitude, overlap = _checked(amplitude, activation, overlap, leaks)
    (s,) = finite_floats(s=s)
    s = checked_part(s)
    return _stable(s, amplitude, overlap, leaks, inverse_size(N), activation)


def checked_part(s):
    """`s`, NaN outside [0, 1]. **Raises:** ValueError there, if it is known."""
    check_at_least(s, "s", 0.0, strict=False)
    if is_concrete(s) and not bool((s <= 1).all()):
        raise ValueError(f"`s` must lie between 0 and 1, but is {float(s.max()):g}.")
    return jnp.where((s >= 0) & (s <= 1), s, jnp.nan)


@jitted
def _stable(s, amplitude, overlap, leaks, share, activation):
    s, amplitude, overlap = jnp.broadcast_arrays(s, amplitude, overlap)
    h, low, _ = edges(amplitude, overlap, leaks, share, activation)
    y = 1 - 2 * s
    mixture = (abs(y) < h) & ((abs(y) > low) | (low <= 0))
    return StableStates(y > h, -y > h, mixture, (abs(y) < low) & (h > 0))
