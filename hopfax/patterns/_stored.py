"""`Patterns` holds memories, one a row, and does the two products of every network."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import (
    PhysicsWarning,
    as_float,
    as_index,
    as_real,
    check_at_least,
    check_bool,
    check_finite,
    check_shape,
    warn,
)
from .._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ._base import AbstractPatterns, check_block
from ._classes import Groups, by_column, by_site

_MANY = 4096  # pairwise checks stop here


class Patterns(AbstractPatterns):
    r"""The memories $\xi^\mu$, one a row.

    $$m_\mu = \frac1N \sum_i \xi^\mu_i r_i \quad\text{(`overlap`)}, \qquad
    h_i = \sum_\mu w_\mu \xi^\mu_i \quad\text{(`field`)}.$$

    Both cost $O(NP)$; the $N \times N$ matrix of couplings is never built.

    **Arguments:**

    - `xi`: real array of shape (P, N). Integers are cast to the default float. An array of booleans
      means signs: +1 where it is True, -1 where it is False (`hopfax.patterns.active` makes active
      and silent neurons of it, 1 and 0, for the firing-rate family).
    - `binary`: whether every entry is +-1. Found out where the values of `xi` are known. Under a
      trace they are not, and `xi` counts as not binary unless you say so; rows that are not +-1
      then become NaN, and runs have the status invalid_parameter. Static.
    - `counts`: (N,) how many equal neurons each column stands for (default: one each). Every sum
      over neurons is weighted by them.
    - `check_patterns`: warn about equal and opposite rows (skipped for P > 4096).

    **Raises:** ValueError/TypeError for a wrong shape, dtype or value, e.g. `binary=True` with an
    entry that is not +-1.

    **Example:**

    ```python
    patterns = hx.Patterns([[1, 1, 1, 1], [1, -1, 1, -1]])
    patterns.P, patterns.N, patterns.binary  # 2, 4, True
    patterns.overlap(jnp.array([1.0, 1.0, 1.0, -1.0]))  # 0.5, 0.5
    patterns.field(jnp.array([2.0, 1.0]))  # 3, 1, 3, 1
    ```
    """

    xi: Float[Array, "P N"]
    counts: Float[Array, " N"] | None
    binary: bool = eqx.field(static=True)

    def __init__(
        self,
        xi: ArrayLike,
        *,
        binary: bool | None = None,
        counts: ArrayLike | None = None,
        check_patterns: bool = True,
    ):
        if binary is not None:
            check_bool(binary, "binary")
        check_bool(check_patterns, "check_patterns")
        given = as_real(xi, "patterns.xi")
        xi = as_float(given, "patterns.xi")
        if given.dtype == np.bool_:
            xi, binary = 2 * xi - 1, True if binary is None else binary
        if xi.ndim != 2:
            raise ValueError(
                f"`patterns.xi` must have shape (P, N), one memory a row, got {xi.shape}."
            )
        if xi.shape[0] < 1 or xi.shape[1] < 1:
            raise ValueError(f"`patterns.xi` needs N >= 1 and P >= 1, got shape {xi.shape}.")
        check_finite(xi, "patterns.xi")
        if is_concrete(xi):
            binary = _check_values(np.asarray(xi), binary, check_patterns)
        elif binary:
            xi = jnp.where((jnp.abs(xi) == 1).all(axis=1, keepdims=True), xi, jnp.nan)
        self.xi = xi
        self.binary = bool(binary)
        self.counts = None if counts is None else as_float(counts, "counts", xi.dtype)
        if self.counts is not None and self.counts.shape != (xi.shape[1],):
            raise ValueError(
                f"`counts` must have shape (N,) = ({xi.shape[1]},), got {self.counts.shape}."
            )
        if self.counts is not None:
            check_at_least(self.counts, "counts", 0.0, strict=False)

    def __check_init__(self):
        if self.binary and is_concrete(self.xi):
            _check_signs(np.asarray(self.xi))

    def check_values(self) -> None:
        """ValueError for known values that are not finite, or not +-1 though declared `binary`."""
        check_finite(self.xi, "patterns.xi")
        if self.binary and is_concrete(self.xi):
            _check_signs(np.asarray(self.xi))

    def legal(self) -> Bool[Array, ""]:
        """Whether all values are finite, and +-1 where they are declared `binary` (works under a
        trace)."""
        if self.binary:
            return (jnp.abs(self.xi) == 1).all()
        return jnp.isfinite(self.xi).all()

    @property
    def P(self) -> int:
        return self.xi.shape[0]

    @property
    def N(self) -> int:
        """The number of columns: neurons, or classes of them where `counts` is given."""
        return self.xi.shape[1]

    @property
    def dtype(self):
        return self.xi.dtype

    def rows(self, first, size):
        check_block(self, first, size)
        return jax.lax.dynamic_slice_in_dim(self.xi, first, size)

    def words(self, first, size):
        check_block(self, first, size)
        return None

    def column(self, neuron):
        return self.xi[:, as_index(neuron, "neuron", self.N, "neurons")]

    @property
    def size(self) -> Float[Array, ""]:
        """The number of neurons: the sum of `counts` where these are given."""
        if self.counts is None:
            return jnp.asarray(self.N, self.xi.dtype)
        return self.counts.sum()

    def mean(self, values: Float[Array, "... N"]) -> Float[Array, "..."]:
        """Average over all neurons, weighted by `counts`."""
        values = _checked(values, "values", self.N, many=True)
        if self.counts is None:
            return values.mean(-1)
        return (values * (self.counts / self.size)).sum(-1)

    def overlap(self, rates: PerNeuron) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot r / N$, in [-1, 1] for binary patterns and rates within +-1."""
        rates = _checked(rates, "rates", self.N)
        if self.counts is None:
            return (self.xi @ rates) / self.N
        return self.xi @ (rates * (self.counts / self.size))

    def field(self, weights: PerPattern) -> PerNeuron:
        r"""$h = \sum_\mu w_\mu \xi^\mu$, the sum of all patterns with these weights."""
        return _checked(weights, "weights", self.P, many=True) @ self.xi

    def gram(self) -> Float[Array, "P P"]:
        r"""$C_{\mu\nu} = \xi^\mu \cdot \xi^\nu / N$, the overlaps of all pairs of patterns."""
        return jax.vmap(self.overlap)(self.xi)

    def for_theory(self) -> dict[str, Any]:
        """What functions of `hopfax.theory` that are given these memories read of them."""
        return {"P": self.P, "gram": self.gram(), "xi": self.xi}

    def gauge_cycle(self) -> "Patterns":
        r"""Change the sign of whole patterns so that memories next to each other on the cycle 0, 1,
        ..., P-1, 0 have positive overlap.

        A memory that calls the next one through a *negative* overlap retrieves $-\xi$, and with a
        linear readout that ends the sequence. Changes of sign repair it, unless the product of the
        overlaps round the cycle is negative: no change of sign alters this product.

        **Returns:** `Patterns`. **Raises:** ValueError if that product is negative, or if two
        consecutive patterns are exactly orthogonal, as no sign makes their overlap positive (a
        `bias` must start the transition then); TypeError under a trace.
        """
        if not is_concrete(self.xi):
            raise TypeError("`gauge_cycle` looks at the patterns; call it outside jit.")
        xi = np.asarray(self.xi)
        following = [(mu, (mu + 1) % self.P) for mu in range(self.P if self.P > 2 else self.P - 1)]
        gram = np.asarray(self.gram())
        for mu, nu in following:
            if abs(gram[mu, nu]) < 8 * np.finfo(xi.dtype).eps:
                raise ValueError(
                    f"patterns {mu} and {nu} have overlap exactly 0, so no sign can make it "
                    "positive; seed the transitions with `bias` instead."
                )
        signs = np.ones(self.P, xi.dtype)
        for mu, nu in following[: self.P - 1]:
            signs[nu] = signs[mu] * np.sign(gram[mu, nu])
        if (
            following
            and signs[following[-1][1]] * signs[following[-1][0]] * gram[following[-1]] < 0
        ):
            raise ValueError(
                "the product of consecutive overlaps round the cycle is negative, and no change of "
                "signs alters it; reorder or redraw the patterns, use `readout='abs'` or "
                "'square', or seed the transitions with `bias`."
            )
        return eqx.tree_at(lambda p: p.xi, self, self.xi * jnp.asarray(signs)[:, None])

    def site_classes(self) -> "SiteClasses":
        r"""Group neurons whose columns of `xi` agree up to a sign.

        With an odd activation, and starts and inputs in the span of the patterns, such neurons
        stay equal (up to that sign) for ever, so $C \le \min(N, 2^{P-1})$ weighted classes replace
        N neurons *exactly*. Binary patterns with P <= 7: all $2^{P-1}$ classes, some perhaps empty;
        this works under jit. Otherwise only the classes that occur, and `xi` must be concrete.

        The class columns are differentiable averages of their members, so first derivatives with
        respect to `xi` are exact too (second ones are not).

        **Returns:** `SiteClasses`. **Raises:** TypeError under a trace where values are needed.
        """
        return _merged(self, by_site(self.xi, self.counts, self.binary))

    def column_classes(self) -> "SiteClasses":
        """Group neurons of active and silent memories (entries 1 and 0) whose columns are equal.

        Like `site_classes`, but opposite columns stay apart, as they must where the activation is
        not odd. P <= 7: all $2^P$ classes, some perhaps empty; this works under jit, where all
        columns are NaN if an entry turns out to be neither 0 nor 1. Otherwise only the classes
        that occur.

        **Returns:** `SiteClasses`. **Raises:** TypeError under a trace where values are needed.
        """
        return _merged(self, by_column(self.xi, self.counts))


class SiteClasses(eqx.Module):
    """Neurons grouped into classes of equals: `xi[:, i] = sign[i] * patterns.xi[:, index[i]]`.

    `patterns` holds one column for each class, and in `counts` how many neurons are in it. It is
    an ordinary `Patterns`, so every network built on `overlap` and `field` works on it unchanged.
    Made by `Patterns.site_classes` and `Patterns.column_classes`.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    classes = patterns.site_classes()
    classes.patterns.N  # 8 classes
    classes.counts  # of 2 neurons each
    field = classes.patterns.field(jnp.array([4.0, 0.0, 0.0, 0.0]))
    classes.expand(field)  # 4 * patterns.xi[0], of all 16 neurons
    ```
    """

    patterns: Patterns
    counts: Float[Array, " C"]
    index: Int[Array, " N"]
    sign: Float[Array, " N"]

    def __check_init__(self):
        check_shape(self.counts, "counts", (self.patterns.N,), "(C,)")

    def expand(self, values: Float[Array, " C"]) -> PerNeuron:
        """The values of all neurons, from those of their classes."""
        values = _checked(values, "values", self.patterns.N)
        return self.sign * values[self.index]

    def average(self, values: PerNeuron) -> Float[Array, " C"]:
        """The mean of `values` over each class, with the sign of every neuron taken out; 0 where a
        class is empty."""
        values = _checked(values, "values", self.index.size)
        total = jax.ops.segment_sum(self.sign * values, self.index, self.patterns.N)
        return total / jnp.maximum(self.counts, 1)


def _checked(values: Any, name: str, size: int, many: bool = False) -> jax.Array:
    """An array of `size` numbers, or of `many` such in its last axis; ValueError for others."""
    array = values if isinstance(values, jax.Array) else jnp.asarray(as_real(values, name))
    if array.shape[-1:] != (size,) or not (many or array.ndim == 1):
        shape = f"(..., {size})" if many else f"({size},)"
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}.")
    return array


def _merged(patterns: Patterns, groups: Groups) -> SiteClasses:
    """`patterns` with classes of neurons in place of neurons."""
    classes = eqx.tree_at(
        lambda p: (p.xi, p.counts),
        patterns,
        (groups.xi, groups.counts),
        is_leaf=lambda leaf: leaf is None,
    )
    return SiteClasses(classes, groups.counts, groups.index, groups.sign)


def _check_signs(xi: np.ndarray) -> None:
    """ValueError naming the first entry that is not +-1."""
    if not np.all(np.abs(xi) == 1):
        bad = tuple(int(i) for i in np.argwhere(np.abs(xi) != 1)[0])
        hint = " For 0/1 patterns pass 2*xi-1." if np.all((xi == 0) | (xi == 1)) else ""
        raise ValueError(
            f"`binary=True` needs entries +-1, but `patterns.xi` is {xi[bad]} at index {bad}.{hint}"
        )


def _check_values(xi: np.ndarray, binary: bool | None, check: bool) -> bool:
    zero = np.flatnonzero(~xi.any(axis=1))
    if zero.size:
        raise ValueError(f"`patterns.xi` row {zero[0]} is all zero, which is no memory.")
    if check and len(xi) <= _MANY:
        _warn_about_twins(xi)
    return bool(np.all(np.abs(xi) == 1)) if binary is None else bool(binary)


def _warn_about_twins(xi: np.ndarray) -> None:
    seen: dict[bytes, int] = {}
    pairs = []
    for nu, row in enumerate(xi):
        lead = row[np.flatnonzero(row)[0]]
        key = (row * np.sign(lead) + 0.0).tobytes()
        if key in seen:
            relation = "equal" if np.array_equal(row, xi[seen[key]]) else "opposite"
            pairs.append(f"{seen[key]} and {nu} ({relation})")
        seen.setdefault(key, nu)
    if pairs:
        more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
        warn(
            f"patterns {', '.join(itertools.islice(pairs, 5))}{more} are the same memory up to a "
            "sign, so their overlaps cannot be told apart (`check_patterns=False` silences this).",
            PhysicsWarning,
        )
