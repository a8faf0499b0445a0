r"""Taylor series of the motion inside one cell.

A cell is a saturation pattern of the neurons (or classes). In it overlaps are affine in the field,
$m = a + B y$, so that

$$\dot y = -y + z \circ m + Q m + b, \qquad \dot z = \rho\,(D f(m) - z)$$

is polynomial, and its Taylor coefficients follow from each other by Cauchy products. All arrays
have the lanes of a batch as their last axis (of length 1 where lanes share a value), which is the
one that vectorises.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LONG = 16  # sums of more terms are loops of the program, not of the trace


class Law(eqx.Module):
    r"""Coefficients of the motion: $b$, the pushes of extra coordinates, $D = \kappa A$,
    $\rho = 1/\tau$ (one for all, or one a memory) and $Q$ (None for 0)."""

    bias: Float[Array, "P L"]
    push: Float[Array, "E L"]
    drive: Float[Array, "P P L"]
    rate: Float[Array, "#P L"]
    mix: Float[Array, "P P L"] | None
    square: bool = eqx.field(static=True)  # the readout is m^2; else it is `slope * m` in a cell

    def target(self, m, slope):
        r"""$D f(m)$, where $z$ tends to."""
        return contract(self.drive, m * m if self.square else slope * m)


class Cell(eqx.Module):
    """$a$, $B$ and the slope of the readout."""

    constant: Float[Array, "P B"]
    linear: Float[Array, "P Q B"]
    slope: Float[Array, "P B"]

    def overlaps(self, y):
        """$a + B y$."""
        return self.constant + contract(self.linear, y)


class Series(eqx.Module):
    """Polynomials for y and z: coefficients of orders 0 to K, stacked or as a tuple."""

    y: Float[Array, "K Q B"] | tuple[Float[Array, "Q B"], ...]
    z: Float[Array, "K P B"] | tuple[Float[Array, "P B"], ...]

    def at(self, t):
        """Values a time `t` after the expansion point."""
        return horner(self.y, t), horner(self.z, t)

    def radius(self, tol: float):
        """How far the last two terms stay below `tol`, relative to the first (or to 1)."""
        K, tiny = len(self.y) - 1, jnp.finfo(self.y[0].dtype).tiny

        def size(k):
            return jnp.maximum(jnp.abs(self.y[k]).max(0), jnp.abs(self.z[k]).max(0))

        scale = tol * jnp.maximum(size(0), 1.0)
        terms = ((scale / jnp.maximum(size(k), tiny)) ** (1 / k) for k in (K - 1, K))
        return jnp.minimum(*terms)


def contract(A: Array, v: Array) -> Array:
    """`A v` for every lane."""
    if A.shape[-1] == 1 and v.shape[-1] > 1:
        return A[..., 0] @ v
    if A.shape[1] > _LONG:
        return (A * v).sum(1)
    total = A[:, 0] * v[0]
    for q in range(1, A.shape[1]):
        total = total + A[:, q] * v[q]
    return total


def horner(coefficients, t):
    """The polynomial at `t`."""
    value = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value * t + c
    return value


def horner_slope(coefficients, t):
    """The polynomial and its derivative at `t`."""
    value, slope = coefficients[-1], jnp.zeros_like(coefficients[-1])
    for c in coefficients[-2::-1]:
        slope = slope * t + value
        value = value * t + c
    return value, slope


def expand(order: int, y, z, cell: Cell, law: Law) -> Series:
    """The series up to `order` around the state (y, z)."""
    K, dtype = order, y.dtype
    constants = (cell.constant, law.bias, law.push)
    # m_k stands at K - k in a buffer of its own, so that products become slices. Every order is
    # written to its buffer before any is read, so that no copy of a buffer is made.
    buffers = tuple(jnp.zeros((n, *v.shape), dtype) for n, v in ((K + 1, y), (K + 1, z)))
    reverse = jnp.zeros((2 * K + 1, *z.shape), dtype)

    def body(k, carry):
        y, z, Y, Z, reverse = carry
        a, b, push = (jnp.where(k == 0, c, 0.0) for c in constants)
        m = a + contract(cell.linear, y)
        Y = lax.dynamic_update_index_in_dim(Y, y, k, 0)
        Z = lax.dynamic_update_index_in_dim(Z, z, k, 0)
        reverse = lax.dynamic_update_index_in_dim(reverse, m, K - k, 0)
        past = lax.dynamic_slice_in_dim(reverse, K - k, K + 1)  # m_k, ..., m_0, 0, ...
        w = (Z * past).sum(0) + b
        if law.mix is not None:
            w = w + contract(law.mix, m)
        if law.square:
            read = (lax.rev(reverse[: K + 1], (0,)) * past).sum(0)
        else:
            read = cell.slope * m
        share = 1.0 / (k + 1.0).astype(dtype)
        y = (_join(w, push) - y) * share
        z = law.rate * (contract(law.drive, read) - z) * share
        return y, z, Y, Z, reverse

    start = (y, z, *buffers, reverse)
    y, z, Y, Z, _ = lax.fori_loop(0, K, lambda k, c: body(jnp.asarray(k), c), start)
    return Series(Y.at[K].set(y), Z.at[K].set(z))


def _join(w, push):
    if push.shape[0] == 0:
        return w
    return jnp.concatenate([w, jnp.broadcast_to(push, (push.shape[0], w.shape[1]))])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def expand_reverse(order: int, y, z, cell: Cell, law: Law) -> Series:
    """`expand` with its adjoint as a recursion of its own, in descending orders.

    Differentiating the loop would store its buffers once an order. Coefficients come as a tuple,
    because the adjoint of taking one from a stack is a stack of zeros.
    """
    return _apart(expand(order, y, z, cell, law))


def _apart(series: Series) -> Series:
    return Series(tuple(series.y), tuple(series.z))


def _expand_forward(order, y, z, cell, law):
    out = expand(order, y, z, cell, law)
    return _apart(out), (out, cell, law)


def _expand_backward(order, residuals, cotangent):
    (series, cell, law), K = residuals, order
    cotangent = Series(jnp.stack(cotangent.y), jnp.stack(cotangent.z))
    P = series.z.shape[1]
    M = jax.vmap(lambda y: contract(cell.linear, y))(series.y).at[0].add(cell.constant)
    linear_T, drive_T = (jnp.swapaxes(A, 0, 1) for A in (cell.linear, law.drive))
    mix_T = None if law.mix is None else jnp.swapaxes(law.mix, 0, 1)

    def later(buffer, k):
        """The entries k, k + 1, ..., followed by zeros."""
        return lax.dynamic_slice_in_dim(buffer, k, K + 1)

    def body(i, carry):
        y, z, pushes, pulls, reads, overlaps = carry  # the first two: adjoints at order k + 1
        k = K - 1 - i
        share = 1.0 / (k + 1.0).astype(y.dtype)
        push, pull = y * share, law.rate * z * share
        read = contract(drive_T, pull)
        pushes = lax.dynamic_update_index_in_dim(pushes, push, k, 0)
        pulls = lax.dynamic_update_index_in_dim(pulls, z * share, k, 0)
        w = later(pushes, k)[:, :P]
        m = (w * series.z).sum(0)
        if law.square:
            reads = lax.dynamic_update_index_in_dim(reads, read, k, 0)
            m = m + 2 * (later(reads, k) * M).sum(0)
        else:
            m = m + cell.slope * read
        if mix_T is not None:
            m = m + contract(mix_T, push[:P])
        overlaps = lax.dynamic_update_index_in_dim(overlaps, m, k, 0)
        y = lax.dynamic_index_in_dim(cotangent.y, k, keepdims=False)
        z = lax.dynamic_index_in_dim(cotangent.z, k, keepdims=False)
        y = y - push + contract(linear_T, m)
        z = z - pull + (w * M).sum(0)
        return y, z, pushes, pulls, reads, overlaps

    def room(like):
        return jnp.zeros((2 * K + 1, *like.shape[1:]), like.dtype)

    buffers = room(cotangent.y), *(room(cotangent.z) for _ in range(3))
    start = (cotangent.y[K], cotangent.z[K], *buffers)
    carry = lax.fori_loop(0, K, lambda i, c: body(jnp.asarray(i), c), start)
    y, z = carry[:2]
    pushes, pulls, _, overlaps = (buffer[:K] for buffer in carry[2:])
    if law.square:
        padded = jnp.concatenate([M[K - 1 :: -1], jnp.zeros_like(M[:K])])
        F = jax.vmap(lambda k: (M[:K] * lax.dynamic_slice_in_dim(padded, K - 1 - k, K)).sum(0))(
            jnp.arange(K)
        )
    else:
        F = cell.slope * M[:K]
    read = jax.vmap(lambda f: contract(law.drive, f))(F)
    linear = (overlaps[:, :, None] * series.y[:K, None]).sum(0)
    cell_bar = Cell(overlaps[0], linear, jnp.zeros_like(cell.slope))
    law_bar = Law(
        bias=pushes[0, :P],
        push=pushes[0, P:],
        drive=((law.rate * pulls)[:, :, None] * F[:, None]).sum(0),
        rate=(pulls * (read - series.z[:K])).sum(0),
        mix=None if law.mix is None else (pushes[:, :P, None] * M[:K, None]).sum(0),
        square=law.square,
    )
    cell_bar, law_bar = jax.tree.map(_fold, (cell_bar, law_bar), (cell, law))
    return y, z, cell_bar, law_bar


expand_reverse.defvjp(_expand_forward, _expand_backward)


def _fold(cotangent, like):
    """Sum over the axes along which `like` was broadcast."""
    for axis, size in enumerate(like.shape):
        if size < cotangent.shape[axis]:
            cotangent = cotangent.sum(axis, keepdims=True)
    return cotangent
