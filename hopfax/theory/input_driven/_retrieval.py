"""One memory of a network whose stimulus stands still: where it exists, and where it is stable."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_index
from ..._programs import jitted
from ..._types import ArrayLike
from .._told import takes_network
from . import _network
from ._amplitude import amplitude
from ._arguments import (
    check_activation,
    check_saliencies,
    finite_floats,
    inverse_size,
    slope_at_zero,
)


class Retrieval(NamedTuple):
    r"""A memory in pure form, $x = a \xi^\mu$.

    `amplitude`: $a$. `overlap`: $m_\mu = \psi(a)$; all other overlaps are 0. `exists`: whether
    there is such an equilibrium beside the origin; amplitude and overlap are 0 where not.
    `eigenvalues`: (P,), those of the Jacobian towards each memory (of the origin where the memory
    does not exist). `stable`: whether the memory exists and all eigenvalues are negative.

    **Example:**

    ```python
    found = hx.theory.input_driven.retrieval([2.0, 1.5, 0.0], activation=hx.Tanh())
    found.exists, found.stable, found.overlap  # True, True, 0.9575
    ```
    """

    amplitude: Float[Array, ""]
    overlap: Float[Array, ""]
    exists: Bool[Array, ""]
    eigenvalues: Float[Array, " P"]
    stable: Bool[Array, ""]


@takes_network(_network.orthogonal)
def retrieval(
    alpha: ArrayLike,
    mu: int = 0,
    activation: AbstractActivation = HardTanh(),
    N: int | float = math.inf,
) -> Retrieval:
    r"""Whether memory `mu` is retrieved under a constant stimulus, and with which overlap.

    With self-couplings, and for orthogonal memories, $x = a\, \xi^\mu$ is an equilibrium where
    $a = \alpha_\mu \psi(a)$, and the Jacobian has the eigenvalues $\alpha_\nu \psi'(a) - 1$ along
    the memories and -1 elsewhere. If $\psi$ is concave on the positive side there is a positive
    $a$, and only one, if and only if $\alpha_\mu \psi'(0) > 1$; it is stable while all
    $\alpha_\nu \psi'(a) < 1$, and loses its stability to memory $\nu$ in a pitchfork bifurcation.
    Hard tanh of gain $g$: $a = \alpha_\mu$, $m_\mu = 1$ and $\psi'(a) = 0$, so that it exists and
    is stable for $\alpha_\mu > 1/g$, whatever the other saliencies.

    Without self-couplings the term $-d\, \psi(x_i)$, $d = \sum_\nu \alpha_\nu / N$, stands beside
    the field: the same holds with $\alpha_\nu - d$ in place of all $\alpha_\nu$, and with
    $-1 - d\, \psi'(a)$ in place of the eigenvalue -1.

    **Arguments:**

    - `alpha`: (P,), the saliencies $\alpha_\nu = \xi^\nu \cdot u / N$ of the stimulus $u$.
    - `mu`: the number of the memory.
    - `activation`: $\psi$, concave on the positive side, as all of hopfax are. Under private noise
        $\sigma$ it is `hx.GaussianAverage(psi, sigma / 2**0.5)`, exact for $N \to \infty$ at fixed
        P.
    - `N`: the number of neurons of a network without self-couplings (`keep_diagonal=False`);
        `math.inf` for one that has them.

    An `InputDrivenHopfield`, given first, stands for activation and `N`.

    **Returns:** a `Retrieval`. Differentiable in `alpha` and the activation. At a kink of the
    activation its slope is that of the flat side.

    **Raises:** ValueError for saliencies of another shape or that are not finite, `mu` out of range
    or N < 2, or a network whose memories are correlated; TypeError for no activation.

    Model and condition of existence: Betteti, Baggio, Bullo, Zampieri, Science Advances 2025,
    arXiv:2411.05849; stability and finite N are derived here.

    **Example:**

    ```python
    hx.theory.input_driven.retrieval([2.0, 0.5]).overlap  # 1.0: hard tanh saturates
    hx.theory.input_driven.retrieval([1.1, 1.1, 0.5], N=16).exists  # False: 1.1 < 1 + 2.7 / 16
    ```
    """
    (alpha,) = finite_floats(alpha=alpha)
    check_saliencies(alpha, "alpha")
    check_activation(activation)
    memory = jnp.asarray(as_index(mu, "mu", alpha.shape[0], "memories"))
    return Retrieval(*_retrieval(alpha, memory, activation, inverse_size(N)))


@jitted
def _retrieval(alpha, mu, activation, share):
    missing = alpha.sum() * share  # of the self-coupling
    effective = alpha - missing
    a, exists = amplitude(effective[mu], activation)
    slope = activation.slope(a)
    eigenvalues = slope * effective - 1
    # Perturbations outside the span of the memories, which is everything for N = P.
    elsewhere = (1 + missing * slope > 0) | (len(alpha) * share > 1 - 1e-9)
    return a, activation(a), exists, eigenvalues, exists & (eigenvalues < 0).all() & elsewhere


def retrieval_threshold(
    others: ArrayLike = 0.0,
    activation: AbstractActivation = HardTanh(),
    N: int | float = math.inf,
) -> Float[Array, "..."]:
    r"""The saliency above which a memory exists in pure form.

    $$\alpha_\mu > \frac{1}{\psi'(0)} + \frac1N \sum_\nu \alpha_\nu
    \quad\Longleftrightarrow\quad
    \alpha_\mu > \frac{1/\psi'(0) + S/N}{1 - 1/N}, \qquad S = \sum_{\nu \ne \mu} \alpha_\nu,$$

    without self-couplings, and $1/\psi'(0)$ with them.

    **Arguments:** `others`: $S$, the sum of the saliencies of all other memories; it matters
    without self-couplings alone. `activation`, `N`: as in `retrieval`.

    **Returns:** the threshold of $\alpha_\mu$, broadcast over `others`.

    **Raises:** ValueError for `others` that are not finite or N < 2; TypeError for no activation.

    Orthogonal memories. With self-couplings: Betteti, Baggio, Bullo, Zampieri, Science Advances
    2025, arXiv:2411.05849; without: derived here.

    **Example:**

    ```python
    hx.theory.input_driven.retrieval_threshold()  # 1.0
    hx.theory.input_driven.retrieval_threshold(1.6, N=16)  # 1.1733
    hx.theory.input_driven.retrieval_threshold(activation=hx.Tanh(10.0))  # 0.1
    ```
    """
    (others,) = finite_floats(others=others)
    check_activation(activation)
    share = inverse_size(N)
    return (1 / slope_at_zero(activation, others) + others * share) / (1 - share)


def rival_threshold(
    alpha: ArrayLike, activation: AbstractActivation = HardTanh()
) -> Float[Array, "..."]:
    r"""The saliency of another memory from which on a retrieved memory of saliency `alpha` is
    unstable.

    $\alpha_\nu = 1/\psi'(a)$ with $a = \alpha_\mu \psi(a)$: there the memory meets mixtures with
    memory $\nu$ in a pitchfork bifurcation. It is larger than $\alpha_\mu$, as $\psi$ is concave:
    the memory with the largest saliency is never unstable.

    **Arguments:** `alpha`: $\alpha_\mu$. `activation`: $\psi$, as in `retrieval`.

    **Returns:** the threshold, broadcast over `alpha`; infinite where $\psi'(a) = 0$, as for a
    memory of hard tanh, which no other one destabilises; $1/\psi'(0)$ where the memory does not
    exist, as the origin then becomes unstable there.

    **Raises:** ValueError for `alpha` that is not finite; TypeError for no activation.

    Orthogonal memories, with self-couplings. Derived here for the model of arXiv:2411.05849.

    **Example:**

    ```python
    hx.theory.input_driven.rival_threshold(2.0, hx.Tanh())  # 12.02
    hx.theory.input_driven.rival_threshold(2.0)  # inf: hard tanh
    ```
    """
    (alpha,) = finite_floats(alpha=alpha)
    check_activation(activation)
    return _rival(alpha, activation)


@jitted
def _rival(alpha, activation):
    slope = activation.slope(amplitude(alpha, activation)[0])
    flat = slope <= 0
    return jnp.where(flat, jnp.inf, 1 / jnp.where(flat, 1.0, slope))
