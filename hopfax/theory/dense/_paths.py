r"""The effective neuron of the generating functional, followed on quasi-random paths.

One sweep forward in time. At each time t:

1. The overlaps C and responses G of all earlier times give the covariance R of the noise and the
   feedback $\Gamma$ (`_Run.reaction`, which depends on what the memories do to each other).
2. One more row of the Cholesky factor L of R expresses the noise of time t by the Gaussians of all
   earlier times and one new Gaussian z (`cholesky_row`).
3. Signal, noise and feedback make the field of every path (`_field`), and the units answer
   (`_AbstractUnits.answer`). This gives h(t+1), the mean overlap, and the response of h(t+1) to
   fields of all earlier times.
4. The overlaps of h(t+1) with all earlier answers are one more row of C.

The response of signs cannot be differentiated on a path. `Signs` branches instead: at each time a
path's field is put to its threshold, once on either side, and both answers are followed on the same
noise; the probability density of the field there weights the difference. The response of graded
units is followed by the chain rule (`_Graded`).

Arrays have their final size from the beginning, so that the program does not grow with the number
of steps, and paths come last. From order 3 on only odd lags respond: sources of even and odd times
then fill two *banks* of half the length, and the loop runs over pairs of steps.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

from ..._activations import AbstractActivation
from ..._misc import not_differentiable
from ..._programs import jitted
from ._kernels import Kernel
from ._sobol import Noise

_FARTHEST = 12.0  # a threshold farther than this many standard deviations has no weight


class Setting(NamedTuple):
    """What a trajectory depends on: known values, or traced ones."""

    kernel: Kernel
    load: Float[Array, ""]
    m0: Float[Array, ""]
    beta: Float[Array, ""] | None = None
    activation: AbstractActivation | None = None
    stimulus_overlap: Float[Array, ""] | None = None
    self_coupling: bool = False
    bias: Float[Array, ""] | None = None

    @property
    def variance(self) -> Float[Array, ""] | float:
        """Of the entries of a memory, 1 of unbiased ones."""
        return 1.0 if self.bias is None else 1 - self.bias**2


_SAMPLED = (
    "the trajectory of sampled signs (or HardTanh units) has no derivative: the paths do not move "
    "with the parameters. Use `hopfax.theory.dense.first_steps`, whose quadrature is "
    "differentiable, differences with the same `seed`, or a smooth `activation`."
)


def of_signs(tree):
    """The same tree, which raises an error when it is differentiated."""
    return not_differentiable(tree, _SAMPLED)


@jitted
def follow(setting: Setting, noise: Noise, steps: int):
    """Overlap, C, G, Gamma of every scramble, one after the other to keep memory small."""
    return jax.lax.map(lambda noise: _follow(setting, noise, steps), noise)


def overlap(setting: Setting, noise: Noise, steps: int) -> Array:
    """Overlaps of one scramble."""
    return _follow(setting, noise, steps)[0]


class _Paths(NamedTuple):
    """Everything that grows with time."""

    m: Array  # (T + 1,) overlap
    c: Array  # (T + 1,) overlap with the stimulus
    C: Array  # (T + 1, T + 1)
    G: Array  # (T + 1, T)
    Gam: Array  # (T, T)
    L: Array  # (T, T) lower, unit diagonal where not yet known
    B: Array  # (T, T) (1 - G)^-1, for order 2
    h: Array  # (T + 1, S)
    banks: tuple["Bank", ...]  # one for every parity of the source, or one for all


class Bank(NamedTuple):
    """Sources of response: I times at which a field was shifted, on every path."""

    shift: Array  # (I, S): from the drawn noise to the threshold
    weight: Array  # (I, S): density of the field there
    branch: Array  # (I, branches, I, S): answers, or their derivatives, [time, branch, source]


class _Run(NamedTuple):
    """What stays the same along a trajectory."""

    setting: Setting
    units: "_AbstractUnits"
    #: (setting, paths, t) -> covariance R (T,), feedback Gamma (T,), and B.
    reaction: Callable
    z: Array  # (T, S) the Gaussians
    thermal: Array | None  # (T, S) fields that stand for the temperature
    stimulus: Array | None  # (S,) signs of the input
    #: Times between two sources of one bank: 2 where even lags do not respond, else 1.
    stride: int


class Field(NamedTuple):
    """The field of every path at one time: a + spread z."""

    a: Array  # (S,) without its last Gaussian
    spread: Array  # () of that
    z: Array  # (S,) that Gaussian
    response: Array  # (branches, I, S) feedback of the answers of the branches
    row: Array  # (I,) weights of the Gaussians of the bank's times in a


class _Answer(NamedTuple):
    """What the units make of a field."""

    h: Array  # (S,) the answers
    expected: Array  # (S,) their means over the last Gaussian, or the answers themselves
    response: Array  # (I,) mean response to the sources of the bank
    bank: Bank


def _follow(setting, noise, steps):
    # The answer to the neuron's own present state mixes the chains of even and of odd times.
    stride = 1 if setting.kernel.resummed or setting.self_coupling else 2
    T = stride * -(-steps // stride)
    run = _run(setting, noise, T, stride)

    def move(paths, tau):
        for parity in range(stride):
            paths = _step(run, paths, tau, parity)
        return paths, None

    paths = jax.lax.scan(move, _start(run, T), jnp.arange(T // stride))[0]
    return (
        paths.m[: steps + 1],
        paths.C[: steps + 1, : steps + 1],
        paths.G[: steps + 1, :steps],
        paths.Gam[:steps, :steps],
    )


def _run(setting, noise, T, stride):
    units = (Signs if setting.activation is None else _Graded)(setting, noise)
    narrow = units.h0.dtype
    steps, S = noise.gauss.shape
    missing = jnp.zeros((T - steps, S), narrow)
    z = jnp.concatenate([jnp.asarray(noise.gauss, narrow), missing])
    thermal, stimulus = None, None
    if noise.thermal is not None:
        u = noise.thermal
        logistic = (jnp.log(u) - jnp.log1p(-u)) / (2 * setting.beta.astype(narrow))
        thermal = units.paths(jnp.concatenate([logistic, missing]))
    if noise.stimulus is not None:
        mu = setting.stimulus_overlap.astype(narrow)
        stimulus = sign(noise.stimulus < (1 + mu) / 2)
    return _Run(setting, units, _reaction(setting), units.paths(z), thermal, stimulus, stride)


def _start(run, T):
    """The paths at time 0."""
    setting, units = run.setting, run.units
    wide, narrow, half = setting.m0.dtype, units.h0.dtype, T // run.stride
    S = units.h0.shape[0]
    zeros = lambda *shape: jnp.zeros(shape, narrow)  # noqa: E731
    c0 = 0.0 if run.stimulus is None else setting.m0 * setting.stimulus_overlap
    return _Paths(
        m=jnp.zeros(T + 1, wide).at[0].set(setting.m0),
        c=jnp.zeros(T + 1, wide).at[0].set(c0),
        C=jnp.zeros((T + 1, T + 1), wide).at[0, 0].set(1.0),
        G=jnp.zeros((T + 1, T), wide),
        Gam=jnp.zeros((T, T), wide),
        L=jnp.eye(T, dtype=wide),
        B=jnp.eye(T, dtype=wide),
        h=zeros(T + 1, S).at[0].set(units.h0),
        banks=tuple(
            Bank(zeros(half, S), zeros(half, S), zeros(half, units.branches, half, S))
            for _ in range(run.stride)
        ),
    )


def _step(run, paths, tau, parity):
    """Fields at time t = stride tau + parity and answers at t + 1."""
    units, t = run.units, run.stride * tau + parity
    R, Gam, B = run.reaction(run.setting, paths, t)
    R = R.at[t].multiply(1 + units.own_share)
    row, spread, L = cholesky_row(paths.L, R, t, units.least_share)
    bank = paths.banks[parity]
    field = _field(run, paths, bank, t, parity, row, spread, Gam)
    answer = units.answer(field, bank, tau)
    m = units.mean(_seen(run, answer.expected)) / run.setting.variance

    T, wide = Gam.shape[0], R.dtype
    source = jnp.arange(bank.shift.shape[0])
    response = jnp.where(source <= tau, answer.response, 0.0)
    G = jnp.zeros(T, wide).at[parity :: run.stride].set(response)
    h = paths.h.at[t + 1].set(answer.h)
    C = units.overlaps(h, answer.h)
    c = paths.c
    if run.stimulus is not None:
        c = c.at[t + 1].set(units.mean(run.stimulus * answer.expected))
    return _Paths(
        m=paths.m.at[t + 1].set(m),
        c=c,
        C=paths.C.at[t + 1].set(C).at[:, t + 1].set(C),
        G=paths.G.at[t + 1].set(G),
        Gam=paths.Gam.at[t].set(Gam),
        L=L,
        B=B,
        h=h,
        banks=paths.banks[:parity] + (answer.bank,) + paths.banks[parity + 1 :],
    )


# What the memories do to each other: covariance of the noise and feedback


def _reaction(setting):
    if setting.kernel.resummed:
        return _resummed
    return _stimulated if setting.kernel.input_driven else _independent


def _resummed(setting, paths, t):
    r"""Order 2: with $B = (1 - s G)^{-1}$, one more row of which is known at each time,
    $R = \alpha s^2 B C B^T$ and $\Gamma = \alpha s (B - 1)$, s being the variance of the entries of
    a memory. A neuron that feels itself feels $\alpha s$ of its present state as well."""
    T, s, load = paths.Gam.shape[0], setting.variance, setting.load
    now = jax.nn.one_hot(t, T, dtype=setting.m0.dtype)
    b = s * paths.G[t] @ paths.B + now
    B = paths.B.at[t].set(b)
    R = s**2 * load * (B @ (paths.C[:T, :T] @ b))
    Gam = jnp.where(jnp.arange(T) < t, s * load * (b - now), 0.0)
    return R, Gam.at[t].add(s * load) if setting.self_coupling else Gam, B


def _stimulated(setting, paths, t):
    """The input-driven network: memories are weighted by their overlap with the input."""
    T = paths.Gam.shape[0]
    R = setting.load * (paths.C[t, :T] + 2 * paths.c[t] * paths.c[:T])
    return R, setting.load * paths.G[t], paths.B


def _independent(setting, paths, t):
    r"""Order 3 and above, where memories do not react to each other: $R = \alpha s K$ and
    $\Gamma = \alpha s^2 K' G$. A neuron that feels itself feels, of its present state,
    $\alpha s^2 \sum_{t'} 2\, \partial_a K\, G(t, t')$, $a$ being the variance of time t: the
    state of time t' has moved the overlaps with all memories, whose forces have another slope."""
    s, load, kernel, G = setting.variance, setting.load, setting.kernel, paths.G[t]
    at = _overlaps(setting, paths, t)
    Gam = s**2 * load * kernel.slope(*at) * G
    if setting.self_coupling:
        Gam = Gam.at[t].add(s**2 * load * (kernel.own(*at) @ G))
    return s * load * kernel(*at), Gam, paths.B


def _overlaps(setting, paths, t):
    """Of the overlaps with a memory at time t and at all others, over the root of N: covariances
    and, unless all are 1, the two variances. Those of graded units in the future are not known yet,
    and 1 stands for them, as 0 would lead to NaN."""
    T, s = paths.Gam.shape[0], setting.variance
    C = s * paths.C[t, :T]
    if setting.activation is None:
        plain = setting.bias is None and not setting.self_coupling
        return (C,) if plain else (C, s * jnp.ones_like(C), s * jnp.ones_like(C))
    square = jnp.diagonal(paths.C)
    others = jnp.where(jnp.arange(T) <= t, square[:T], 1.0)
    return C, s * square[t] * jnp.ones_like(C), s * others


# Fields


def cholesky_row(L, R, t, least_share):
    """Row t of the Cholesky factor of R left of the diagonal, its diagonal entry, and the factor.

    The entry is kept from vanishing, as overlaps of two times that are close to 1 would otherwise
    lead to a negative square or to densities without bound.
    """
    known = jnp.arange(L.shape[0]) < t
    row = jnp.where(known, R, 0.0)
    row = jax.scipy.linalg.solve_triangular(L, row, lower=True)
    spread = jnp.sqrt(jnp.maximum(R[t] - row @ row, least_share * R[t]))
    return row, spread, L.at[t].set(jnp.where(known, row, 0.0).at[t].set(spread))


def _field(run, paths, bank, t, parity, row, spread, Gam):
    """The field at time t: signal, noise of earlier Gaussians, and feedback of earlier answers."""
    setting, T, stride = run.setting, Gam.shape[0], run.stride
    narrow = run.z.dtype
    row, spread, gamma = row.astype(narrow), spread.astype(narrow), Gam.astype(narrow)
    signal = setting.kernel.signal(setting.variance * paths.m[t])
    if run.stimulus is not None:
        signal = setting.stimulus_overlap * signal
    a = _seen(run, signal.astype(narrow)) + row @ run.z + gamma @ paths.h[:T]
    if setting.bias is not None and setting.self_coupling and not setting.kernel.resummed:
        third = -2 * setting.bias * setting.variance  # moment of the entries of a memory
        a = a + (setting.load * third).astype(narrow) * run.units.xi * paths.h[t] ** 2
    if run.stimulus is not None:
        a = a + 2 * (gamma @ paths.c[:T].astype(narrow)) * run.stimulus
    if run.thermal is not None:
        a = a + run.thermal[t]
    # Entry k of the bank is the answer at time stride k + parity + 1.
    start = parity + 1
    back = jnp.zeros(-(-T // stride), narrow)
    back = back.at[: len(range(start, T, stride))].set(gamma[start::stride])
    response = jnp.tensordot(back, bank.branch, axes=1)
    return Field(a, spread, run.z[t], response, row[parity::stride])


# Units


class _AbstractUnits(eqx.Module):
    """How neurons answer to their fields, and how the response of the answers is followed.

    Every path is followed for each of several kinds of neurons: for both signs that the recalled
    memory may have, if it is biased, and for both starts of graded units. The kinds follow each
    other on the axis of the paths. Means are taken in each first, where sums of signs are exact.
    """

    h0: eqx.AbstractVar[Array]
    #: Weights of the kinds.
    p: eqx.AbstractVar[Array]
    #: The sign of the recalled memory on each path; None where it makes no difference.
    xi: eqx.AbstractVar[Array | None]
    #: Answers that are followed for each source.
    branches: eqx.AbstractClassVar[int]
    #: Least share of new noise in the variance of a field.
    least_share: eqx.AbstractVar[float]
    #: Share of new noise that is added to it.
    own_share: eqx.AbstractVar[float]

    @abc.abstractmethod
    def answer(self, field: Field, bank: Bank, tau: Array) -> _Answer:
        """Answers to the field of the bank's time number `tau`, which becomes a source as well."""

    def paths(self, z: Array) -> Array:
        """Random numbers for all paths."""
        return jnp.tile(z, (1, self.h0.size // z.shape[1]))

    def mean(self, values: Array) -> Array:
        """The mean over the paths, the last axis."""
        kinds = jnp.split(values, self.p.size, axis=-1)
        return self._weighted([kind.sum(-1) / kind.shape[-1] for kind in kinds])

    def overlaps(self, H: Array, h: Array) -> Array:
        """Overlaps of the answers `h` (S,) with all earlier ones, `H` (T + 1, S)."""
        kinds = zip(*(jnp.split(part, self.p.size, axis=-1) for part in (H, h)), strict=True)
        return self._weighted([H @ h / h.size for H, h in kinds])

    def _weighted(self, means: list[Array]) -> Array:
        """The mean over kinds of what it is in each."""
        total = jnp.zeros((), self.p.dtype)
        for p, mean in zip(self.p, means, strict=True):
            total = total + p * mean.astype(p.dtype)
        return total


def _kinds(setting, h0, p):
    """Starts, weights of the kinds, and signs of the recalled memory of all paths."""
    if setting.bias is None:
        return h0, p, None
    xi = jnp.repeat(jnp.asarray([1.0, -1.0], h0.dtype), h0.size)
    share = (1 + setting.bias * jnp.asarray([1.0, -1.0], p.dtype)) / 2
    return jnp.tile(h0, 2), (share[:, None] * p).reshape(-1), xi


def _seen(run, values):
    r"""`values` times the entries of the recalled memory, as the other neurons see them: $1 - a \xi
    = \xi (\xi - a)$, since all signs are multiplied by that of the memory."""
    a, xi = run.setting.bias, run.units.xi
    return values if xi is None else (1 - a.astype(xi.dtype) * xi) * values


class Signs(_AbstractUnits):
    """Signs, kept in float32. S of them do not tell overlaps closer than 1/S to 1, and in a frozen
    trajectory single paths would have densities without bound: hence the least share 1/S."""

    h0: Array
    p: Array
    xi: Array | None
    least_share: float
    branches = 2
    own_share = 0.0

    def __init__(self, setting, noise):
        m0 = setting.m0.astype(jnp.dtype("float32"))
        h0 = sign(noise.start < (1 + m0) / 2)
        self.h0, self.p, self.xi = _kinds(setting, h0, jnp.ones(1, setting.m0.dtype))
        self.least_share = 1 / h0.size

    def answer(self, field, bank, tau):
        a, spread, z, response, row = field
        source = jnp.arange(bank.shift.shape[0])
        older, this = (source < tau)[:, None], (source == tau)[:, None]
        reduced = a / (2**0.5 * spread)
        h = sign(a + spread * z > 0)

        # The branches: the same noise, but that of the source is moved to the threshold.
        shifted = a + row[:, None] * bank.shift + response
        answers = erf(shifted / (2**0.5 * spread))
        values = self.mean(bank.weight * (answers[0] - answers[1]))
        # The present field is a source, too: its two answers are +1 and -1.
        threshold = jnp.clip(-a / spread, -_FARTHEST, _FARTHEST)
        density = jnp.exp(-(reduced**2)) / ((2 * jnp.pi) ** 0.5 * spread)
        values = jnp.where(source == tau, 2 * self.mean(density), values)
        # Banks hold answers minus h, as the feedback of h itself is in `a` already.
        new = jnp.where(shifted + spread * z > 0, 1 - h, -1 - h)
        ends = jnp.asarray([1.0, -1.0], h.dtype)[:, None, None] - h
        new = jnp.where(older, new, jnp.where(this, ends, 0.0))
        bank = Bank(
            bank.shift.at[tau].set(threshold - z),
            bank.weight.at[tau].set(density),
            bank.branch.at[tau].set(new),
        )
        return _Answer(h, erf(reduced), values, bank)


class _Graded(_AbstractUnits):
    """Units with a smooth activation, in the dtype of the parameters. Every path starts from both
    signs, with weights that depend on m0, so that nothing jumps when m0 changes. A slow trajectory
    brings ever less noise that is new; without some of its own at every time the rounding errors of
    the factor would grow from step to step until it is NaN."""

    h0: Array
    p: Array
    xi: Array | None
    least_share: float
    own_share: float
    activation: AbstractActivation
    branches = 1

    def __init__(self, setting, noise):
        wide, S = setting.m0.dtype, noise.start.shape[0]
        start = jnp.asarray([1.0, -1.0], wide)
        p = (1 + start * setting.m0) / 2
        self.h0, self.p, self.xi = _kinds(setting, jnp.repeat(start, S), p)
        self.least_share = self.own_share = graded_share(wide)
        self.activation = setting.activation

    def answer(self, field, bank, tau):
        u = field.a + field.spread * field.z
        h, slope = self.activation(u), self.activation.slope(u)
        source = jnp.arange(bank.shift.shape[0])
        this = (source == tau)[:, None].astype(h.dtype)
        new = slope * (field.response + this)
        new = jnp.where((source <= tau)[:, None], new, 0.0)
        branch = bank.branch.at[tau].set(new)
        return _Answer(h, h, self.mean(new[0]), bank._replace(branch=branch))


def graded_share(dtype):
    """Share of new noise that is added to the field of graded units."""
    return 1e-10 if dtype == np.float64 else 1e-5


def sign(positive):
    return jnp.where(positive, jnp.float32(1.0), jnp.float32(-1.0))
