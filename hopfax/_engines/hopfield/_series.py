r"""Taylor series of the motion inside one cell.

A cell is a saturation pattern of the neurons (or classes). In it overlaps are affine in the field,
$m = a + B y$, so that

$$\dot y = -y + z \circ m + Q m + b, \qquad \dot z = \rho\,(D f(m) - z)$$

is polynomial, and linear where $F z$ stands in place of $z \circ m$ (synapses with memory). With
$y = \sum_k y_k t^k$, and likewise $z$ and $m$, comparing powers of $t$ gives

$$m_k = [k = 0]\, a + B y_k, \qquad
w_k = \sum_{j \le k} z_j \circ m_{k - j} + Q m_k + [k = 0]\, b,$$
$$(k + 1)\, y_{k + 1} = w_k - y_k, \qquad (k + 1)\, z_{k + 1} = \rho\,(D f(m)_k - z_k),$$

one order after the other (`expand`). The sum over $j$ is a Cauchy product; $f(m)_k$ is another one
for the squared readout, and a slope times $m_k$ for all others, whose kinks are boundaries of the
cell. The adjoint runs through the same recursion from the highest order to the lowest
(`expand_reverse`).

All arrays have the lanes of a batch as their last axis (of length 1 where lanes share a value),
which is the one that vectorises.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LONG = 16  # sums of more terms are loops of the program; shorter ones are written out


class Law(eqx.Module):
    """The coefficients of the motion, which are the same in all cells."""

    bias: Float[Array, "P L"]  # b
    push: Float[Array, "E L"]  # the same for the coordinates in extra directions
    drive: Float[Array, "P P L"]  # D = kappa A
    rate: Float[Array, "#P L"]  # rho = 1 / tau, one for all memories or one for each
    mix: Float[Array, "P P L"] | None  # Q; None for 0
    square: bool = eqx.field(static=True)  # the readout is m^2; else it is `slope * m` in a cell
    feed: Float[Array, "P P L"] | None = None  # F, where z feeds y and multiplies nothing

    def target(self, m, slope):
        """D f(m), the value that z relaxes towards."""
        return contract(self.drive, m * m if self.square else slope * m)

    def pushed(self, m, z):
        """What z does to y while the overlaps are m: z m, or F z."""
        return m * z if self.feed is None else contract(self.feed, z)


class Cell(eqx.Module):
    """The overlaps and the readout as functions of the field, inside one cell."""

    constant: Float[Array, "P B"]  # a, the part of saturated neurons
    linear: Float[Array, "P Q B"]  # B, of neurons in the linear range
    slope: Float[Array, "P B"]  # f(m) / m

    def overlaps(self, y):
        """The overlaps a + B y."""
        return self.constant + contract(self.linear, y)


class Series(eqx.Module):
    """Polynomials for y and z: coefficients of orders 0 to K, stacked or as a tuple."""

    y: Float[Array, "K Q B"] | tuple[Float[Array, "Q B"], ...]
    z: Float[Array, "K P B"] | tuple[Float[Array, "P B"], ...]

    def at(self, t):
        """Values a time `t` after the expansion point."""
        return horner(self.y, t), horner(self.z, t)

    def radius(self, tol: float):
        """The time up to which the last two terms stay below `tol`, relative to the first term (or
        to 1 if that is smaller). Two terms are asked, because one alone may vanish by chance."""
        K, tiny = len(self.y) - 1, jnp.finfo(self.y[0].dtype).tiny

        def size(k):
            return jnp.maximum(jnp.abs(self.y[k]).max(0), jnp.abs(self.z[k]).max(0))

        scale = tol * jnp.maximum(size(0), 1.0)
        terms = ((scale / jnp.maximum(size(k), tiny)) ** (1 / k) for k in (K - 1, K))
        return jnp.minimum(*terms)


def contract(A: Array, v: Array) -> Array:
    """The matrix-vector product `A v` of every lane."""
    if A.shape[-1] == 1 and v.shape[-1] > 1:  # one matrix for all lanes: a product of matrices
        return A[..., 0] @ v
    if A.shape[1] > _LONG:
        return (A * v).sum(1)
    # Written out, it is fused with what comes before and after; a sum is a loop of its own.
    total = A[:, 0] * v[0]
    for q in range(1, A.shape[1]):
        total = total + A[:, q] * v[q]
    return total


def horner(coefficients, t):
    """The value at `t` of a polynomial, coefficients lowest first, by Horner's rule."""
    value = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value * t + c
    return value


def horner_slope(coefficients, t):
    """The value and the derivative at `t` of a polynomial, coefficients lowest first."""
    value, slope = coefficients[-1], jnp.zeros_like(coefficients[-1])
    for c in coefficients[-2::-1]:
        slope = slope * t + value
        value = value * t + c
    return value, slope


@jax.named_scope("series")
def expand(order: int, y, z, cell: Cell, law: Law) -> Series:
    """The series up to `order` around the state (y, z).

    A loop over orders, not written out: programs of all orders compile equally fast."""
    K, dtype = order, y.dtype
    constants = (cell.constant, law.bias, law.push)
    # Overlaps are kept in reverse, m_k at place K - k, so that the partners of z_0 ... z_k in a
    # Cauchy product are one slice of the buffer; entries not yet known are zero and drop out.
    # Every order is written to its buffer before any is read: otherwise the compiler would have to
    # copy the whole buffer once an order.
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
        w = b + ((Z * past).sum(0) if law.feed is None else contract(law.feed, z))
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
    # The loop writes orders 0 to K - 1; the last it carries out is order K.
    y, z, Y, Z, _ = lax.fori_loop(0, K, lambda k, c: body(jnp.asarray(k), c), start)
    return Series(Y.at[K].set(y), Z.at[K].set(z))


def _join(w, push):
    """The slopes of all coordinates: those in the patterns, then those of extra directions."""
    if push.shape[0] == 0:
        return w
    return jnp.concatenate([w, jnp.broadcast_to(push, (push.shape[0], w.shape[1]))])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def expand_reverse(order: int, y, z, cell: Cell, law: Law) -> Series:
    """`expand` with an adjoint written by hand, a recursion in descending orders.

    JAX would differentiate the loop of `expand` by storing its buffers once for every order: K^2
    numbers in place of K. Coefficients are returned as a tuple, because the adjoint of taking one
    from a stack is a whole stack of zeros with that one in it, for every use of every coefficient.
    """
    return _apart(expand(order, y, z, cell, law))


def _apart(series: Series) -> Series:
    """The same with its coefficients in tuples."""
    return Series(tuple(series.y), tuple(series.z))


def _expand_forward(order, y, z, cell, law):
    out = expand(order, y, z, cell, law)
    return _apart(out), (out, cell, law)


def _expand_backward(order, residuals, cotangent):
    """Cotangents of y, z, cell and law from those of all coefficients of the series.

    Reading the recursion of `expand` backwards, with p_k = y_bar_(k+1) / (k+1) and
    q_k = z_bar_(k+1) / (k+1), kept in the buffers `pushes` and `pulls`:

        m_bar_k = sum_j p_(k+j) z_j + f'(m) D^T rho q_k + Q^T p_k     (kept in `overlaps`)
        y_bar_k = (cotangent of y_k) - p_k + B^T m_bar_k
        z_bar_k = (cotangent of z_k) - rho q_k + sum_j p_(k+j) m_j

    and with a squared readout f'(m) D^T rho q_k is the sum of 2 (D^T rho q_(k+j)) m_j over j. Where
    z feeds y the sums over p are gone, and z_bar_k has F^T p_k instead.
    Cotangents of the parameters are sums of products of these over all orders.
    """
    (series, cell, law), K = residuals, order
    cotangent = Series(jnp.stack(cotangent.y), jnp.stack(cotangent.z))
    P = series.z.shape[1]
    M = jax.vmap(lambda y: contract(cell.linear, y))(series.y).at[0].add(cell.constant)
    linear_T, drive_T = (jnp.swapaxes(A, 0, 1) for A in (cell.linear, law.drive))
    mix_T, feed_T = (None if A is None else jnp.swapaxes(A, 0, 1) for A in (law.mix, law.feed))

    def later(buffer, k):
        """The entries k, k + 1, ..., followed by zeros."""
        return lax.dynamic_slice_in_dim(buffer, k, K + 1)

    def body(i, carry):
        y, z, pushes, pulls, reads, overlaps = carry  # the first two: cotangents at order k + 1
        k = K - 1 - i
        share = 1.0 / (k + 1.0).astype(y.dtype)
        push, pull = y * share, law.rate * z * share
        read = contract(drive_T, pull)
        pushes = lax.dynamic_update_index_in_dim(pushes, push, k, 0)
        pulls = lax.dynamic_update_index_in_dim(pulls, z * share, k, 0)
        w = later(pushes, k)[:, :P]
        m = (w * series.z).sum(0) if feed_T is None else jnp.zeros_like(read)
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
        z = z - pull + ((w * M).sum(0) if feed_T is None else contract(feed_T, push[:P]))
        return y, z, pushes, pulls, reads, overlaps

    def room(like):  # twice as long as needed, so that `later` may run past the highest order
        return jnp.zeros((2 * K + 1, *like.shape[1:]), like.dtype)

    buffers = room(cotangent.y), *(room(cotangent.z) for _ in range(3))
    start = (cotangent.y[K], cotangent.z[K], *buffers)
    carry = lax.fori_loop(0, K, lambda i, c: body(jnp.asarray(i), c), start)
    y, z = carry[:2]
    pushes, pulls, _, overlaps = (buffer[:K] for buffer in carry[2:])
    F = _readout_terms(cell, law, M, K)
    read = jax.vmap(lambda f: contract(law.drive, f))(F)
    linear = (overlaps[:, :, None] * series.y[:K, None]).sum(0)
    # The slope of the readout is a sign: it has no derivative.
    cell_bar = Cell(overlaps[0], linear, jnp.zeros_like(cell.slope))
    law_bar = Law(
        bias=pushes[0, :P],
        push=pushes[0, P:],
        drive=((law.rate * pulls)[:, :, None] * F[:, None]).sum(0),
        rate=(pulls * (read - series.z[:K])).sum(0),
        mix=None if law.mix is None else (pushes[:, :P, None] * M[:K, None]).sum(0),
        square=law.square,
        feed=None if law.feed is None else (pushes[:, :P, None] * series.z[:K, None]).sum(0),
    )
    cell_bar, law_bar = jax.tree.map(_summed_like, (cell_bar, law_bar), (cell, law))
    return y, z, cell_bar, law_bar


expand_reverse.defvjp(_expand_forward, _expand_backward)


def _readout_terms(cell: Cell, law: Law, M: Array, K: int):
    """The coefficients of orders 0 to K - 1 of f(m), from those of m."""
    if not law.square:
        return cell.slope * M[:K]
    padded = jnp.concatenate([M[K - 1 :: -1], jnp.zeros_like(M[:K])])
    return jax.vmap(lambda k: (M[:K] * lax.dynamic_slice_in_dim(padded, K - 1 - k, K)).sum(0))(
        jnp.arange(K)
    )


def _summed_like(cotangent, like):
    """The cotangent of `like`, summed over the axes along which `like` was broadcast."""
    for axis, size in enumerate(like.shape):
        if size < cotangent.shape[axis]:
            cotangent = cotangent.sum(axis, keepdims=True)
    return cotangent
