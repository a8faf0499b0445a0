"""All states of rest of hard tanh, cell by cell.

A cell is a choice, for each class of equal neurons, of below -1, linear, or above 1. In it the flow
is u' = -u + B (s + g L (A u + h)) + b: s are the signs of the saturated neurons and L selects the
linear ones. So its state of rest solves (1 - g B L A) u = B (s + g L h) + b, and counts if the
fields there lie in the cell. Where the matrix is singular, a linear program finds the point of the
solutions that lies deepest in the cell.
"""

import itertools
from typing import NamedTuple

import numpy as np

from .._types import is_concrete
from ..networks._forms import HardTanhCells
from ._reduced import Reduced

_MOST = 8  # classes of neurons: there are 3^8 = 6561 cells
_SINGULAR = 1e-10  # singular values below it count as 0
_INSIDE = 1e-9  # a field may lie so far outside of its cell by rounding


class Rests(NamedTuple):
    """States of rest: `vectors` (K, n), `dimensions` (K,) of the continuum that each is the middle
    of, 0 for one alone, and the signs of the neurons in their `cells` (K, C)."""

    vectors: np.ndarray
    dimensions: np.ndarray
    cells: np.ndarray
    equation: HardTanhCells

    def holds(self, vectors: np.ndarray, k: int, slack: float = 1e-6) -> np.ndarray:
        """Which vectors, all of them at rest, lie in the cell of the k-th state, or at its edge."""
        return _inside(self.equation, vectors, self.cells[k], slack)


def rests_of(form: Reduced) -> Rests | None:
    """All states of rest of a form; None where they are not known cell by cell."""
    equation = form.system.cells(form.core)
    if equation is None or not is_concrete(equation):
        return None
    equation = _grouped(HardTanhCells(*(np.asarray(part, float) for part in equation)))
    if len(equation.base) > _MOST:
        return None
    n, C = equation.back.shape
    cells = np.array([*itertools.product((-1, 0, 1), repeat=C)])
    into, base, back, offset, gain = equation
    linear = cells == 0
    matrix = np.eye(n) - gain * np.einsum("nc,kc,cm->knm", back, linear, into)
    right = (cells + gain * linear * base) @ back.T + offset
    sizes = np.linalg.svd(matrix, compute_uv=False)
    lost = (sizes < _SINGULAR * np.maximum(1.0, sizes[:, :1])).sum(1)
    alone = lost == 0
    vectors = np.linalg.solve(matrix[alone], right[alone][..., None])[..., 0]
    there = _inside(equation, vectors, cells[alone])
    found = [(u, 0, cell) for u, cell in zip(vectors[there], cells[alone][there], strict=True)]
    wide = _continua(equation, cells[~alone], matrix[~alone], right[~alone], lost[~alone])
    # A state at the edge of a continuum is one of it; one at a kink is met in several cells.
    kept: list[tuple[np.ndarray, int, np.ndarray]] = []
    for u, dimension, cell in [*wide, *found]:
        again = any(
            _inside(equation, u[None], other)[0] if size else np.abs(u - v).max() < _INSIDE
            for v, size, other in kept
        )
        if not again:
            kept.append((u, dimension, cell))
    parts = [np.array([one[k] for one in kept]) for k in range(3)]
    return Rests(parts[0].reshape(-1, n), parts[1].astype(int), parts[2], equation)


def _grouped(equation: HardTanhCells) -> HardTanhCells:
    """The equation with equal neurons, and such that are opposite, in one class; without those that
    nothing is read from."""
    into, base, back, offset, gain = equation
    rows = np.column_stack([into, base])
    first = np.sign(rows[np.arange(len(rows)), np.argmax(np.abs(rows) > _INSIDE, axis=1)])
    signs = np.where(first == 0, 1.0, first)
    keys = np.round(rows * signs[:, None], 10) + 0.0  # without negative zeros
    distinct, where = np.unique(keys, axis=0, return_inverse=True)
    joined = np.zeros((len(back), len(distinct)))
    np.add.at(joined.T, where.ravel(), (back * signs).T)
    read = np.abs(joined).max(0) > 0
    return HardTanhCells(distinct[read, :-1], distinct[read, -1], joined[:, read], offset, gain)


def _inside(
    equation: HardTanhCells, vectors: np.ndarray, cells: np.ndarray, slack: float = _INSIDE
) -> np.ndarray:
    """Which vectors lie in their cells, or at the edge."""
    reached = equation.gain * (vectors @ equation.into.T + equation.base)
    fits = np.where(cells == 0, np.abs(reached) <= 1 + slack, cells * reached >= 1 - slack)
    return np.asarray(fits.all(-1))


def _continua(
    equation: HardTanhCells,
    cells: np.ndarray,
    matrix: np.ndarray,
    right: np.ndarray,
    lost: np.ndarray,
) -> list[tuple[np.ndarray, int, np.ndarray]]:
    """The middles of the continua in cells whose equation is singular, the widest first."""
    from scipy.optimize import linprog

    into, base, gain = equation.into, equation.base, equation.gain
    n = into.shape[1]
    solved = np.einsum("knm,km->kn", np.linalg.pinv(matrix, rcond=_SINGULAR), right)
    error = np.abs(np.einsum("knm,km->kn", matrix, solved) - right).max(1, initial=0.0)
    found = []
    for k in np.flatnonzero(error < _INSIDE):
        # The margin t is made as large as it can be: sign * field <= 1 - t, or >= 1 + t.
        sides = [(1.0, 1.0, c) for c in np.flatnonzero(cells[k] == 0)]
        sides += [(-1.0, 1.0, c) for c in np.flatnonzero(cells[k] == 0)]
        sides += [(-float(cells[k][c]), -1.0, c) for c in np.flatnonzero(cells[k])]
        rows = [np.append(sign * gain * into[c], 1.0) for sign, _, c in sides]
        most = [bound - sign * gain * base[c] for sign, bound, c in sides]
        equal = np.column_stack([matrix[k], np.zeros(n)])
        goal = np.append(np.zeros(n), -1.0)
        bounds = [(None, None)] * n + [(None, 1.0)]
        best = linprog(goal, rows, most, equal, right[k], bounds)
        if best.status == 0 and best.x[-1] > -_INSIDE:
            found.append((best.x[-1], best.x[:-1], int(lost[k]), cells[k]))
    found.sort(key=lambda one: -one[0])
    return [one[1:] for one in found]
