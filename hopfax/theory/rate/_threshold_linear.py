"""All fixed points of a threshold-linear network, cell by cell."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..._errors import as_float, check_finite, filled
from ..._types import ArrayLike, is_concrete
from .._told import takes_network

_MOST = 16  # neurons: there are 2^N cells
_BLOCK = 2048  # cells that are solved together
_WORST = 1e13  # condition number from which on a matrix is singular to rounding


class ThresholdLinearFixedPoints(NamedTuple):
    """All fixed points of a threshold-linear network, a row each, in order of the size of their
    supports.

    `supports` (K, N): which neurons are active. `rates` (K, N). `growth` (K,): the greatest real
    part of an eigenvalue of the Jacobian there. `stable` (K,): whether that is negative.
    `singular` (S, N): supports in which the equation has no single solution, so that nothing is
    said of them; none but in degenerate networks.

    **Example:**

    ```python
    found = hx.theory.rate.threshold_linear_fixed_points(np.zeros((2, 2)), [1.0, -1.0])
    found.supports, found.rates, found.stable  # [True, False]; [1, 0]; True
    ```
    """

    supports: np.ndarray
    rates: np.ndarray
    growth: np.ndarray
    stable: np.ndarray
    singular: np.ndarray


def _told(told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Weights and currents of a network that has them."""
    if "W" not in told:
        raise ValueError("`network` must be a ThresholdLinearNetwork; or give `W` and `b`.")
    return {name: told[name] for name in ("W", "b")}


@takes_network(_told)
def threshold_linear_fixed_points(W: ArrayLike, b: ArrayLike) -> ThresholdLinearFixedPoints:
    r"""All fixed points of $\dot x = -x + [W x + b]_+$, with their stability.

    The set $\sigma$ of active neurons determines the fixed point, if there is one:

    $$x_\sigma = (1 - W_\sigma)^{-1} b_\sigma > 0, \qquad x_i = 0, \quad \sum_{j \in \sigma} W_{ij}
    x_j + b_i \le 0 \quad (i \notin \sigma).$$

    All $2^N$ sets are tried. The fixed point is stable if the eigenvalues of $-1 + W_\sigma$ have
    negative real parts; the other directions decay. Exact but for rounding.

    **Arguments:**

    - `W`: the weights, (N, N), entry `[to, from]`, $N \le 16$.
    - `b`: constant currents, (N,) or one number.

    A `ThresholdLinearNetwork`, given first, stands for both.

    **Returns:** `ThresholdLinearFixedPoints`, NumPy arrays whose length depends on the values.

    **Raises:** ValueError for more than 16 neurons, other shapes, or values that are not known
    (under a trace).

    Curto, Geneson, Morrison 2019, Neural Computation 31, 94, for the fixed points of combinatorial
    networks; the equation is that of any textbook.

    **Example:**

    ```python
    network = hx.ThresholdLinearNetwork.combinatorial(hx.cyclic(3))
    found = hx.theory.rate.threshold_linear_fixed_points(network)
    found.supports, found.stable  # all three neurons; False: the rates oscillate
    ```
    """
    W, b = _checked(W, b)
    N = len(W)
    every = (np.arange(2**N)[:, None] >> np.arange(N)) & 1 == 1
    every = every[np.argsort(every.sum(1), kind="stable")]
    blocks = [every[k : k + _BLOCK] for k in range(0, len(every), _BLOCK)]
    supports, rates, growth, singular = (
        np.concatenate(parts)
        for parts in zip(*(_found(block, W, b) for block in blocks), strict=True)
    )
    return ThresholdLinearFixedPoints(supports, rates, growth, growth < 0, singular)


def _checked(W: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    W, b = as_float(W, "W"), as_float(b, "b")
    for name, value in (("W", W), ("b", b)):
        if not is_concrete(value):
            raise ValueError(
                f"`{name}` must be known, not be traced: how many fixed points there are depends "
                "on its values."
            )
        check_finite(value, name)
    if W.ndim != 2 or W.shape[0] != W.shape[1] or not W.size:
        raise ValueError(f"`W` must have shape (N, N) with N >= 1, got {W.shape}.")
    N = len(W)
    if N > _MOST:
        raise ValueError(
            f"`W` must be of at most {_MOST} neurons, but is of {N}: all 2^N sets of active "
            "neurons are tried. Simulate from many starts instead."
        )
    return np.asarray(W, float), np.asarray(filled(b, "b", (N,), "(N,)"), float)


def _found(cells: np.ndarray, W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """Supports, rates and growth of the fixed points in some cells, and cells without a single
    solution."""
    N = len(W)
    both = cells[:, :, None] & cells[:, None, :]
    matrix = np.eye(N) - np.where(both, W, 0.0)
    regular = (
        np.linalg.det(matrix) != 0
    )  # a pivot that is exactly 0, of which LAPACK makes an error
    matrix = np.where(regular[:, None, None], matrix, np.eye(N))
    inverse = np.linalg.inv(matrix)
    condition = np.abs(matrix).sum(2).max(1) * np.abs(inverse).sum(2).max(1)
    regular &= condition < _WORST
    rates = np.linalg.solve(matrix, np.where(cells, b, 0.0)[:, :, None])[:, :, 0]
    currents = rates @ W.T + b
    rounding = 1e-12 * (1 + np.abs(b).max() + np.abs(rates).max(1, keepdims=True))
    fits = np.where(cells, rates > rounding, currents <= rounding).all(1) & regular
    supports, rates = cells[fits], np.where(cells, rates, 0.0)[fits]
    jacobian = np.where(supports[:, :, None], W, 0.0) - np.eye(N)
    return supports, rates, np.linalg.eigvals(jacobian).real.max(1), cells[~regular]
