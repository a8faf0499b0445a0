"""Designs of residual generators: linear filters whose output is zero for all data that a linear
model explains, and not for others.

They are computed once, in NumPy and float64; the results set the coefficients of a `LinearSystem`.
"""

import numpy as np

from .._errors import as_complex, as_count, as_real, check_array, check_finite
from .._types import ArrayLike


def annihilator(modes: ArrayLike) -> np.ndarray:
    r"""The shortest parity relation of an autonomous model, from its modes.

    $$r_k = y_k + a_1 y_{k-1} + \dots + a_n y_{k-n} = 0, \qquad
    z^n + a_1 z^{n-1} + \dots + a_n = \prod_i (z - \lambda_i).$$

    The modes $\exp(\pm i \omega)$ of a sinusoid give $(1, -2 \cos \omega, 1)$; from one of
    amplitude R and frequency $\omega'$ that leaves a residual of mean square
    $2 R^2 (\cos \omega' - \cos \omega)^2$.

    **Arguments:** `modes`: $\lambda$, (n,), complex ones with their conjugates.

    **Returns:** the taps $(1, a_1, \dots, a_n)$.

    **Raises:** ValueError if a conjugate is missing.

    **Example:**

    ```python
    taps = hx.nn.annihilator([np.exp(0.3j), np.exp(-0.3j)])  # 1, -1.91067298, 1
    sinusoid = 2.0 * np.sin(0.3 * np.arange(10) + 0.4)
    np.abs(np.convolve(sinusoid, taps, "valid")).max() < 1e-12  # True
    ```
    """
    modes = as_complex(modes, "modes")
    if modes.ndim != 1 or not modes.size:
        raise ValueError(f"`modes` must have shape (n,), n >= 1, got {modes.shape}.")
    taps = np.poly(modes)
    size = np.prod(1 + np.abs(modes))
    if np.abs(np.imag(taps)).max() > 1e-12 * size:
        raise ValueError("`modes` must hold the conjugate of every complex mode.")
    return np.real(taps)


def parity_relations(transition: ArrayLike, output: ArrayLike, window: int) -> np.ndarray:
    r"""All linear relations of `window` successive outputs of $x_{k+1} = A x_k$, $y_k = C x_k$.

    $$w^\top O = 0, \qquad O = [C; CA; \dots; CA^{s}].$$

    With inputs the residual is $w^\top (Y - H U)$, H the Toeplitz matrix of the impulse response.
    Chow, Willsky, IEEE Trans. Automatic Control 29, 603 (1984).

    **Arguments:** `transition`: $A$, (n, n). `output`: $C$, (p, n). `window`: s + 1.

    **Returns:** orthonormal rows $w$, (relations, window * p), outputs of the earliest step first.

    **Raises:** ValueError for wrong shapes.

    **Example:**

    ```python
    rotation = [[0.9, 0.2], [-0.2, 0.9]]
    (relation,) = hx.nn.parity_relations(rotation, [[1.0, 0.5]], 3)
    relation / relation[2]  # 0.85, -1.8, 1: the characteristic polynomial
    ```
    """
    A, C = _model(transition, output)
    window = as_count(window, "window")
    rows = window * len(C)
    check_array("the relations", 8 * rows, window=rows)
    O = _observability(A, C, window)
    left, sizes, _ = np.linalg.svd(O)
    rank = int((sizes > _tolerance(O, sizes)).sum())
    return left[:, rank:].T


def deadbeat_gain(transition: ArrayLike, output: ArrayLike) -> np.ndarray:
    r"""The gain of the observer of one output whose residual is exactly zero after n steps.

    $$\hat x_{k+1} = A \hat x_k + B u_k + L r_k, \quad r_k = y_k - C \hat x_k, \qquad
    (A - L C)^n = 0, \quad L = A^n O^{-1} e_n.$$

    Ackermann's formula; O is the observability matrix. A fault $E f_k$ in the state equation then
    leaves the residual $C (z - A + L C)^{-1} E f$, a finite impulse response.

    **Arguments:** `transition`: $A$, (n, n). `output`: $C$, (1, n) or (n,).

    **Returns:** $L$, (n,).

    **Raises:** ValueError for wrong shapes, and if (A, C) is not observable: then no gain moves
    some mode, and if that mode does not decay by itself (A, C) is not even detectable.

    **Example:**

    ```python
    A, C = np.array([[0.9, 0.2], [-0.2, 0.9]]), np.array([1.0, 0.0])
    gain = hx.nn.deadbeat_gain(A, C)  # 1.8, 3.85
    closed = A - np.outer(gain, C)
    np.abs(closed @ closed).max() < 1e-12  # True: zero after two steps
    ```
    """
    A, C = _model(transition, output)
    n = A.shape[0]
    if C.shape[0] != 1:
        raise ValueError(f"`output` must have one row, got {C.shape[0]}.")
    O = _observability(A, C, n)
    sizes = np.linalg.svd(O, compute_uv=False)
    if sizes[-1] <= _tolerance(O, sizes):
        raise ValueError(_unseen(A, C))
    last = np.zeros(n)
    last[-1] = 1.0
    return np.linalg.matrix_power(A, n) @ np.linalg.solve(O, last)


def _model(transition: ArrayLike, output: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """A (n, n) and C (p, n) of a linear model; ValueError for other shapes."""
    A = np.asarray(as_real(transition, "transition"), float)
    C = np.atleast_2d(np.asarray(as_real(output, "output"), float))
    check_finite(A, "transition")
    check_finite(C, "output")
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.size:
        raise ValueError(f"`transition` must have shape (n, n), got {A.shape}.")
    if C.ndim != 2 or C.shape[1] != A.shape[0] or not C.size:
        raise ValueError(
            f"`output` must have shape (p, n) with n = {A.shape[0]}, got {np.shape(output)}."
        )
    return A, C


def _observability(A: np.ndarray, C: np.ndarray, steps: int) -> np.ndarray:
    """The rows C, C A, ..., C A^(steps - 1), one below the other."""
    return np.concatenate([C @ np.linalg.matrix_power(A, k) for k in range(steps)])


def _tolerance(matrix: np.ndarray, sizes: np.ndarray) -> float:
    """The singular value below which one counts as zero, as in `numpy.linalg.matrix_rank`."""
    return max(matrix.shape) * np.finfo(float).eps * sizes[0]


def _unseen(A: np.ndarray, C: np.ndarray) -> str:
    """The message that names the modes that the output does not see, by the test of Hautus."""
    n = A.shape[0]
    unseen = []
    for mode in np.linalg.eigvals(A):
        pencil = np.concatenate([A - mode * np.eye(n), C])
        if np.linalg.matrix_rank(pencil, tol=1e-8 * max(1.0, np.abs(pencil).max())) < n:
            unseen.append(mode)
    if not unseen:  # seen so weakly that only the observability matrix shows it
        return "`output` sees some mode of `transition` too weakly: (A, C) is not observable."
    worst = max(unseen, key=abs)
    text = f"`output` does not see the mode {worst:.4g} of `transition`, so that no gain moves it"
    if abs(worst) >= 1:
        return f"{text}; it does not decay: (A, C) is not detectable. Add an output that sees it."
    return f"{text}. It decays by itself, but never vanishes: leave it out of the model."
