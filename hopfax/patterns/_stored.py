"""`Patterns` holds memories, one a row, and does the two products of every network."""

import itertools
import math
import pathlib
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import PhysicsWarning, as_float, check_finite, check_option, missing
from .._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ._base import AbstractPatterns, as_key, check_sizes

#: Up to this many binary patterns every possible site class is enumerated (2^(P-1) of them),
#: which needs no look at the data and so works under jit.
ENUMERATED = 7
_COUNTED = 20  # up to here the occurring classes are counted in a table of 2^(P-1) entries
_MANY = 4096  # pairwise checks stop here


class Patterns(AbstractPatterns):
    r"""The memories $\xi^\mu$, one a row.

    $$m_\mu = \frac1N \sum_i \xi^\mu_i r_i \quad\text{(`overlap`)}, \qquad
    h_i = \sum_\mu w_\mu \xi^\mu_i \quad\text{(`field`)}.$$

    Both cost $O(NP)$; the $N \times N$ matrix of couplings is never built.

    **Arguments:**

    - `xi`: real array of shape (P, N). Integers and booleans are cast to the default float.
    - `binary`: whether every entry is +-1. Looked up when `xi` is concrete; say so yourself under a
      trace, where an unknown `xi` counts as not binary. Static.
    - `counts`: (N,) how many identical neurons each column stands for (default: one each). Then
      every sum over neurons is weighted by them.
    - `check_patterns`: warn about equal and opposite rows (skipped for P > 4096).

    **Raises:** ValueError/TypeError for a wrong shape, dtype or value, e.g. `binary=True` with an
    entry that is not +-1.
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
        xi = as_float(xi, "patterns.xi")
        if xi.ndim != 2:
            raise ValueError(
                f"`patterns.xi` must have shape (P, N), one memory a row, got {xi.shape}."
            )
        if xi.shape[0] < 1 or xi.shape[1] < 1:
            raise ValueError(f"`patterns.xi` needs N >= 1 and P >= 1, got shape {xi.shape}.")
        check_finite(xi, "patterns.xi")
        if is_concrete(xi):
            binary = _check_values(np.asarray(xi), binary, check_patterns)
        self.xi = xi
        self.binary = bool(binary)
        self.counts = None if counts is None else as_float(counts, "counts", xi.dtype)
        if self.counts is not None and self.counts.shape != (xi.shape[1],):
            raise ValueError(
                f"`counts` must have shape (N,) = ({xi.shape[1]},), got {self.counts.shape}."
            )

    @property
    def P(self) -> int:
        """Number of patterns."""
        return self.xi.shape[0]

    @property
    def N(self) -> int:
        """Number of columns: neurons, or classes of them where `counts` is given."""
        return self.xi.shape[1]

    @property
    def dtype(self):
        """That of `xi`."""
        return self.xi.dtype

    def rows(self, first, size):
        """`size` rows of `xi`."""
        return jax.lax.dynamic_slice_in_dim(self.xi, first, size)

    def words(self, first, size):
        """None: they are stored as floats."""
        return None

    def column(self, neuron):
        """A column of `xi`."""
        return self.xi[:, neuron]

    @property
    def size(self) -> Float[Array, ""]:
        """Number of neurons, counted with multiplicity."""
        if self.counts is None:
            return jnp.asarray(self.N, self.xi.dtype)
        return self.counts.sum()

    def mean(self, values: Float[Array, "... N"]) -> Float[Array, "..."]:
        """Average over neurons."""
        if self.counts is None:
            return values.mean(-1)
        return (values * (self.counts / self.size)).sum(-1)

    def overlap(self, rates: PerNeuron) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot r / N$, in [-1, 1] for binary patterns and rates within +-1."""
        if self.counts is None:
            return (self.xi @ rates) / self.N
        return self.xi @ (rates * (self.counts / self.size))

    def field(self, weights: PerPattern) -> PerNeuron:
        r"""$h = \sum_\mu w_\mu \xi^\mu$."""
        return weights @ self.xi

    def gram(self) -> Float[Array, "P P"]:
        r"""$C_{\mu\nu} = \xi^\mu \cdot \xi^\nu / N$."""
        return jax.vmap(self.overlap)(self.xi)

    def gauge_cycle(self) -> "Patterns":
        r"""Flip whole patterns so that memories next to each other on the cycle 0, 1, ..., P-1, 0
        have positive overlap.

        A memory that calls the next one through a *negative* overlap retrieves $-\xi$, and with a
        linear readout that ends the sequence. Flipping signs repairs it unless the product of the
        overlaps round the cycle, which no flip changes, is negative.

        **Raises:** ValueError if that invariant is negative or if a consecutive overlap is exactly
        zero (then its sign decides nothing and a `bias` must seed the transition).
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

        With an odd activation and starts and inputs in the span of the patterns such neurons stay
        equal (up to that sign) for ever, so $C \le \min(N, 2^{P-1})$ weighted classes replace N
        neurons *exactly*. Binary patterns with P <= 7: all $2^{P-1}$ classes, some perhaps empty;
        this works under jit. Otherwise only the classes that occur, and `xi` must be concrete.

        The class columns are differentiable averages of their members, so first derivatives with
        respect to `xi` are exact too (second ones are not).

        **Returns:** `SiteClasses`. **Raises:** TypeError under a trace where values are needed.
        """
        if self.binary and self.P <= ENUMERATED:
            return _enumerate_classes(self)
        if not is_concrete(self.xi):
            kind = "more than 7 binary" if self.binary else "real-valued"
            raise TypeError(
                f"site classes of {kind} patterns depend on their values, which a trace hides; "
                "call it outside jit, or declare `binary=True` where P <= 7."
            )
        if self.binary and self.P <= _COUNTED:
            with jax.ensure_compile_time_eval():  # known values, also inside a trace
                keys = np.asarray(_bit_keys(self.xi))
            present = np.flatnonzero(np.bincount(keys, minlength=2 ** (self.P - 1)))
            place = np.zeros(2 ** (self.P - 1), np.int32)
            place[present] = np.arange(len(present))
            index, sign = place[keys], self.xi[0]
        else:
            columns, sign = _gauged_columns(np.asarray(self.xi))
            _, present, index = np.unique(columns, return_index=True, return_inverse=True)
        classes = len(present)
        empty = np.ones((self.P, classes))  # no class is empty here
        return _merge(self, jnp.asarray(index), jnp.asarray(sign), classes, empty)

    def column_classes(self) -> "SiteClasses":
        """Group neurons of active and silent memories (entries 1 and 0) whose columns are equal.

        Like `site_classes`, but opposite columns stay apart, as they must where the activation is
        not odd. P <= 7: all $2^P$ classes, some perhaps empty, also under jit, where they are NaN
        if entries turn out to be others than 0 and 1; else only those that occur.
        **Raises:** TypeError under a trace where values are needed.
        """
        if self.P <= ENUMERATED and may_be_active(self.xi):
            return _enumerate_columns(self)
        if not is_concrete(self.xi):
            raise TypeError(
                "column classes of more than 7 patterns depend on their values, which a trace "
                "hides; call it outside jit."
            )
        columns = np.ascontiguousarray(np.asarray(self.xi).T)
        keys = columns.view(f"V{columns.itemsize * self.P}").ravel()
        _, present, index = np.unique(keys, return_index=True, return_inverse=True)
        classes = len(present)
        ones = jnp.ones(self.N, self.dtype)
        return _merge(self, jnp.asarray(index), ones, classes, np.zeros((self.P, classes)))


class SiteClasses(eqx.Module):
    """Neurons grouped into classes of equals: `xi[:, i] = sign[i] * patterns.xi[:, index[i]]`.

    `patterns` holds one column a class with its multiplicity in `counts`; it is an ordinary
    `Patterns`, and every network built on `overlap` and `field` works on it unchanged.
    """

    patterns: Patterns
    counts: Float[Array, " C"]
    index: Int[Array, " N"]
    sign: Float[Array, " N"]

    def expand(self, values: Float[Array, " C"]) -> PerNeuron:
        """Values of the classes, written back to all neurons."""
        return self.sign * values[self.index]

    def average(self, values: PerNeuron) -> Float[Array, " C"]:
        """Mean over each class of the sign-corrected `values`; 0 where a class is empty."""
        total = jax.ops.segment_sum(self.sign * values, self.index, self.patterns.N)
        return total / jnp.maximum(self.counts, 1)


def hadamard(columns, N: int) -> Patterns:
    """Exactly orthogonal memories: columns of a Sylvester-Hadamard matrix.

    **Arguments:** `columns`: which columns, counted from 0 (column 0 is all ones), or how many, in
    which case columns 1, 2, 4, ... are taken, whose products make every class of neurons equally
    large. `N`: the number of neurons; the smallest matrix that has the columns is tiled, so N must
    be a multiple of its order.

    **Returns:** `Patterns` of shape (len(columns), N).
    """
    if isinstance(columns, int):
        if columns < 1:
            raise ValueError(f"`columns` must be at least 1, got {columns}.")
        if 2**columns > max(N, 1):
            raise ValueError(
                f"{columns} columns 1, 2, 4, ... need `N` >= 2^{columns}, got {N}; name the "
                "columns instead (any distinct ones below N, e.g. list(range(1, P + 1))), or use "
                "patterns.random."
            )
        columns = [2**k for k in range(columns)]
    columns = np.asarray(columns)
    if columns.ndim != 1 or columns.size == 0 or not np.issubdtype(columns.dtype, np.integer):
        raise ValueError(f"`columns` must be a number or a list of integers, got {columns!r}.")
    if columns.min() < 0 or len(set(columns.tolist())) < columns.size:
        raise ValueError(f"`columns` must be distinct and not negative, got {columns.tolist()}.")
    order = 2 ** int(columns.max()).bit_length()
    if N < 1 or N % order:
        raise ValueError(
            f"`N` must be a multiple of {order}, the order of the smallest Sylvester-Hadamard "
            f"matrix with column {columns.max()}, got {N}."
        )
    common = columns[:, None] & np.arange(order)[None, :]
    parity = np.bitwise_count(common.astype(np.uint64)) & 1
    return Patterns(np.tile(1.0 - 2.0 * parity, (1, N // order)), binary=True)


def random(key: jax.Array, P: int, N: int) -> Patterns:
    """`P` patterns of `N` independent unbiased signs."""
    check_sizes(P, N)
    return Patterns(jr.rademacher(as_key(key), (P, N), int), binary=True)


def correlated(key: jax.Array, P: int, N: int, rho: float) -> Patterns:
    r"""Random patterns with mean overlap `rho` $\in [0, 1)$ between any two.

    Every entry copies a common random template with probability $(1 + \sqrt\rho)/2$.
    """
    check_sizes(P, N)
    if not 0 <= rho < 1:
        raise ValueError(f"`rho` must lie in [0, 1), got {rho}.")
    common, own = jr.split(as_key(key))
    template = jr.rademacher(common, (N,), int)
    agree = jr.bernoulli(own, (1 + math.sqrt(rho)) / 2, (P, N))
    return Patterns(jnp.where(agree, template, -template), binary=True)


def from_images(source, *, shape: tuple[int, int] | None = None, threshold="median") -> Patterns:
    """Binary patterns from images: bright pixels +1, dark ones -1.

    **Arguments:**

    - `source`: a folder of PNG/JPEG files (read in order of name, as grey values) or an array of
      shape (P, height, width) or (P, N).
    - `shape`: resize folder images to (height, width); needed if their sizes differ.
    - `threshold`: a grey value, or "median" for each image's own median, or "mean".

    **Raises:** ValueError if sizes differ or if an image is uniform after thresholding.
    """
    if isinstance(source, str | pathlib.Path):
        images = _read_folder(pathlib.Path(source), shape)
    else:
        images = np.asarray(source, dtype=float)
        if images.ndim not in (2, 3):
            raise ValueError(
                f"`source` must have shape (P, height, width) or (P, N), got {images.shape}."
            )
    flat = images.reshape(len(images), -1)
    check_finite(flat, "source")
    if isinstance(threshold, str):
        check_option(threshold, "threshold", ("median", "mean"))
        level = getattr(np, threshold)(flat, axis=1, keepdims=True)
    else:
        level = float(threshold)
    xi = np.where(flat > level, 1.0, -1.0)
    for mu, row in enumerate(xi):
        if np.all(row == row[0]):
            raise ValueError(
                f"image {mu} is uniform after `threshold`={threshold!r}; choose another."
            )
    return Patterns(xi, binary=True)


def load(path) -> Patterns:
    """Patterns from a .npy file or from the array `xi` (or the only array) of a .npz file."""
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"`path` must end in .npy or .npz, got {path.name!r}.")
    found = np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        names = list(found)
        name = "xi" if "xi" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise ValueError(f"{path.name} must hold an array `xi`, but has {names}.")
        found = found[name]
    return Patterns(found)


def _check_values(xi: np.ndarray, binary: bool | None, check: bool) -> bool:
    signs = bool(np.all(np.abs(xi) == 1))
    if binary and not signs:
        bad = tuple(int(i) for i in np.argwhere(np.abs(xi) != 1)[0])
        hint = " For 0/1 patterns pass 2*xi-1." if np.all((xi == 0) | (xi == 1)) else ""
        raise ValueError(
            f"`binary=True` needs entries +-1, but `patterns.xi` is {xi[bad]} at index {bad}.{hint}"
        )
    zero = np.flatnonzero(~xi.any(axis=1))
    if zero.size:
        raise ValueError(f"`patterns.xi` row {zero[0]} is all zero, which is no memory.")
    if check and len(xi) <= _MANY:
        _warn_about_twins(xi)
    return signs if binary is None else bool(binary)


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
        warnings.warn(
            f"patterns {', '.join(itertools.islice(pairs, 5))}{more} are the same memory up to a "
            "sign, so their overlaps cannot be told apart (`check_patterns=False` silences this).",
            PhysicsWarning,
            stacklevel=4,
        )


def _bit_keys(xi: Float[Array, "P N"]) -> Int[Array, " N"]:
    """Bit `mu` of a neuron's key: whether pattern `mu + 1` agrees with pattern 0 there."""
    agree = (xi[1:] * xi[:1] > 0).astype(jnp.int32)
    places = jnp.asarray(2 ** np.arange(xi.shape[0] - 1), jnp.int32)
    return (agree * places[:, None]).sum(0, dtype=jnp.int32)


def _gauged_columns(xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One sortable key a column, equal for columns equal up to a sign, and that sign."""
    lead = np.argmax(xi != 0, axis=0)
    sign = np.sign(xi[lead, np.arange(xi.shape[1])])
    sign = np.where(sign == 0, np.ones_like(sign), sign)
    columns = np.ascontiguousarray((xi * sign + 0.0).T)
    return columns.view(f"V{columns.itemsize * len(xi)}").ravel(), sign


@eqx.filter_jit
def _enumerate_classes(patterns: Patterns) -> SiteClasses:
    classes = 2 ** (patterns.P - 1)
    bits = (np.arange(classes)[None, :] >> np.arange(patterns.P - 1)[:, None]) & 1
    every = np.concatenate([np.ones((1, classes)), 2.0 * bits - 1])
    return _merge(patterns, _bit_keys(patterns.xi), patterns.xi[0], classes, every)


def may_be_active(xi: Array) -> bool:
    """Whether entries are 0 and 1, as far as is known."""
    if not is_concrete(xi):
        return True
    values = np.asarray(xi)
    return bool(((values == 0) | (values == 1)).all())


@eqx.filter_jit
def _enumerate_columns(patterns: Patterns) -> SiteClasses:
    P = patterns.P
    places = np.arange(P)
    every = ((np.arange(2**P)[None, :] >> places[:, None]) & 1).astype(float)
    weights = jnp.asarray(2**places, jnp.int32)[:, None]
    keys = ((patterns.xi > 0.5).astype(jnp.int32) * weights).sum(0, dtype=jnp.int32)
    legal = ((patterns.xi == 0) | (patterns.xi == 1)).all()
    patterns = eqx.tree_at(lambda p: p.xi, patterns, jnp.where(legal, patterns.xi, jnp.nan))
    return _merge(patterns, keys, jnp.ones(patterns.N, patterns.dtype), 2**P, every)


@eqx.filter_jit
def _merge(patterns: Patterns, index, sign, classes: int, fallback) -> SiteClasses:
    dtype = patterns.xi.dtype
    sign = jax.lax.stop_gradient(sign)
    weights = jnp.ones(patterns.N, dtype) if patterns.counts is None else patterns.counts
    counts = jax.ops.segment_sum(weights, index, classes)
    total = jax.vmap(lambda row: jax.ops.segment_sum(weights * sign * row, index, classes))
    columns = total(patterns.xi) / jnp.maximum(counts, 1)
    columns = jnp.where(counts > 0, columns, jnp.asarray(fallback, dtype))
    merged = eqx.tree_at(
        lambda p: (p.xi, p.counts), patterns, (columns, counts), is_leaf=lambda x: x is None
    )
    return SiteClasses(merged, counts, index, sign)


def _read_folder(folder: pathlib.Path, shape) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "io", "reading images") from error
    if not folder.is_dir():
        raise ValueError(f"`source` must be a folder of images or an array, but {folder} is none.")
    endings = {".png", ".jpg", ".jpeg"}
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in endings)
    if not files:
        raise ValueError(f"`source`: no PNG or JPEG files in {folder}.")
    images = []
    for file in files:
        with Image.open(file) as image:
            grey = image.convert("L")
            images.append(np.asarray(grey.resize(shape[::-1]) if shape else grey, dtype=float))
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images differ in size {sorted(sizes)}; pass `shape=(height, width)`.")
    return np.stack(images)
