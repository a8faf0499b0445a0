"""The effective neuron of the generating functional, followed on quasi-random paths.

One sweep forward in time: the overlaps of all earlier steps fix the covariance R of the noise, one
more row of its Cholesky factor L draws the next field of every path, and the paths give the next
overlaps. The response is followed along with them: for signs by two branches that leave each path
where its field is put to the threshold, for graded units by the chain rule.

Arrays are padded to their final size and paths come last. Where only odd lags respond (order >= 3)
even and odd sources fill two banks of half the length and the loop runs over pairs of steps.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

_FARTHEST = 12.0  # a threshold farther than this many standard deviations has no weight


class Noise(NamedTuple):
    """Quasi-random numbers of the paths; the leading axis counts scrambles."""

    gauss: Any  # (scrambles, T, S)
    start: Any  # (scrambles, S), uniform
    stimulus: Any  # (scrambles, S), uniform, or None
    thermal: Any  # (scrambles, T, S), uniform, or None


class Problem(NamedTuple):
    """What a run depends on, arrays or traced values."""

    kernel: Any
    load: Any
    m0: Any
    beta: Any
    activation: Any
    stimulus_overlap: Any
    self_coupling: bool


@lru_cache(maxsize=8)
def noise(steps, paths, scrambles, seed, stimulus, thermal, graded):
    """Scrambled Sobol sequences, their order of dimensions that of importance."""
    from scipy.special import ndtri  # late: scipy.stats takes half a second to import
    from scipy.stats import qmc

    dimensions = steps * (2 if thermal else 1) + 1 + stimulus
    seeds = np.random.SeedSequence(seed).spawn(scrambles)
    columns = []
    for child in seeds:
        sobol = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(child))
        columns.append(sobol.random(paths).T)
    u = np.clip(np.stack(columns), 2.0**-33, 1 - 2.0**-33)
    first = 1 + stimulus
    inside = np.clip(u, 2.0**-24, 1 - 2.0**-24).astype(np.float32)
    return Noise(
        ndtri(u[:, first : first + steps]).astype(np.float64 if graded else np.float32),
        inside[:, 0],
        inside[:, 1] if stimulus else None,
        inside[:, first + steps :] if thermal else None,
    )


class _Paths(NamedTuple):
    """Everything that grows with time."""

    m: Any  # (T + 1,) overlap
    c: Any  # (T + 1,) overlap with the stimulus
    C: Any  # (T + 1, T + 1)
    G: Any  # (T + 1, T)
    Gam: Any  # (T, T)
    L: Any  # (T, T) lower, unit diagonal where not yet known
    B: Any  # (T, T) (1 - G)^-1, for order 2
    h: Any  # (T + 1, S)
    shift: tuple  # per bank (I, S): from the drawn noise to the threshold
    weight: tuple  # per bank (I, S): density of the field there
    branch: tuple  # per bank (I, branches, I, S): [time, branch, source]


@jax.custom_jvp
def _blocked(x):
    return x


@_blocked.defjvp
def _(primals, tangents):
    raise TypeError(
        "the trajectory of sampled signs (or HardTanh units) has no derivative: the paths do not "
        "move with the parameters. Use `hopfax.theory.dense.first_steps`, whose quadrature is "
        "differentiable, differences with the same `seed`, or a smooth `activation`."
    )


def not_differentiable(tree):
    """The same tree, which raises an error when it is differentiated."""
    return jax.tree.map(lambda x: _blocked(x) if eqx.is_inexact_array(x) else x, tree)


@eqx.filter_jit
def follow(problem, noise, steps):
    """Overlap, C, G, Gamma of every scramble, one after the other to keep memory small."""
    return jax.lax.map(lambda noise: _follow(problem, noise, steps), noise)


def overlap(problem, noise, steps):
    """Overlaps of one scramble."""
    return _follow(problem, noise, steps)[0]


def _follow(problem, noise, steps):
    kernel, graded = problem.kernel, problem.activation is not None
    stride = 1 if kernel.resummed else 2
    half = -(-steps // stride)
    T = stride * half
    S = noise.gauss.shape[-1]
    wide = problem.m0.dtype
    narrow = wide if graded else jnp.dtype("float32")
    z = jnp.asarray(noise.gauss, narrow)
    z = jnp.concatenate([z, jnp.zeros((T - steps, S), narrow)])
    thermal = None
    if noise.thermal is not None:
        u = noise.thermal
        logistic = (jnp.log(u) - jnp.log1p(-u)) / (2 * problem.beta.astype(narrow))
        thermal = jnp.concatenate([logistic, jnp.zeros((T - steps, S), narrow)])
    if graded:  # both starts of every path, so that nothing jumps with m0
        half_of = jnp.ones((S,), narrow)
        h0 = jnp.concatenate([half_of, -half_of])
        p = (1 + h0 * problem.m0) / (2 * S)
        z, S = jnp.concatenate([z, z], axis=1), 2 * S
    else:
        h0 = _sign(noise.start < (1 + problem.m0.astype(narrow)) / 2)
        p = None
    y, mu = None, None
    if kernel.input_driven:
        mu = problem.stimulus_overlap
        y = _sign(noise.stimulus < (1 + mu.astype(narrow)) / 2)
    static = _Static(problem, z, thermal, y, p, stride, wide, narrow)

    zeros = lambda *shape: jnp.zeros(shape, narrow)  # noqa: E731
    branches = 1 if graded else 2
    paths = _Paths(
        m=jnp.zeros(T + 1, wide).at[0].set(problem.m0),
        c=jnp.zeros(T + 1, wide).at[0].set(problem.m0 * mu if y is not None else 0.0),
        C=jnp.zeros((T + 1, T + 1), wide).at[0, 0].set(1.0),
        G=jnp.zeros((T + 1, T), wide),
        Gam=jnp.zeros((T, T), wide),
        L=jnp.eye(T, dtype=wide),
        B=jnp.eye(T, dtype=wide),
        h=zeros(T + 1, S).at[0].set(h0),
        shift=tuple(zeros(half, S) for _ in range(stride)),
        weight=tuple(zeros(half, S) for _ in range(stride)),
        branch=tuple(zeros(half, branches, half, S) for _ in range(stride)),
    )

    def move(paths, tau):
        for parity in range(stride):
            paths = _step(static, paths, tau, parity)
        return paths, None

    paths = jax.lax.scan(move, paths, jnp.arange(half))[0]
    return (
        paths.m[: steps + 1],
        paths.C[: steps + 1, : steps + 1],
        paths.G[: steps + 1, :steps],
        paths.Gam[:steps, :steps],
    )


class _Static(NamedTuple):
    problem: Any
    z: Any
    thermal: Any
    y: Any
    p: Any
    stride: int
    wide: Any
    narrow: Any

    @property
    def floor(self):
        """Least share of new noise. S signs do not tell overlaps closer than 1/S to 1, and in a
        frozen trajectory single paths would then have densities without bound."""
        if self.p is None:
            return 1 / self.z.shape[-1]
        return 1e-10 if self.wide == np.float64 else 1e-6

    def mean(self, values):
        """Over the paths, the last axis."""
        if self.p is None:
            return (values.sum(-1) / values.shape[-1]).astype(self.wide)
        return (values * self.p).sum(-1)


def _step(static, paths, tau, parity):
    """Fields at time t = stride tau + parity and answers at t + 1."""
    problem, kernel, narrow = static.problem, static.problem.kernel, static.narrow
    stride, t = static.stride, static.stride * tau + parity
    graded = problem.activation is not None
    T = paths.Gam.shape[0]
    known = jnp.arange(T) < t

    # R, Gamma and one row of the Cholesky factor
    C = paths.C[t, :T]
    G = paths.G[t]
    B = paths.B
    if kernel.resummed:
        b = G @ B + jax.nn.one_hot(t, T, dtype=static.wide)
        B = B.at[t].set(b)
        R = problem.load * (B @ (paths.C[:T, :T] @ b))
        Gam = problem.load * (b - jax.nn.one_hot(t, T, dtype=static.wide))
        Gam = jnp.where(known, Gam, 0.0)
        if problem.self_coupling:
            Gam = Gam.at[t].add(problem.load)
    elif kernel.input_driven:
        R = problem.load * (C + 2 * paths.c[t] * paths.c[:T])
        Gam = problem.load * G
    elif graded:
        square = jnp.diagonal(paths.C)
        ones = jnp.ones_like(C)
        safe = jnp.where(jnp.arange(T) <= t, square[:T], 1.0)
        R = problem.load * kernel(C, square[t] * ones, safe)
        Gam = problem.load * kernel.slope(C, square[t] * ones, safe) * G
    else:
        R = problem.load * kernel(C)
        Gam = problem.load * kernel.slope(C) * G
    row = jnp.where(known, R, 0.0)
    row = jax.scipy.linalg.solve_triangular(paths.L, row, lower=True)
    spread = jnp.sqrt(jnp.maximum(R[t] - row @ row, static.floor * R[t]))
    L = paths.L.at[t].set(jnp.where(known, row, 0.0).at[t].set(spread))
    row, spread, gamma = row.astype(narrow), spread.astype(narrow), Gam.astype(narrow)

    # The field without its last bit of noise
    signal = problem.stimulus_overlap * paths.m[t] if kernel.input_driven else None
    signal = kernel.signal(paths.m[t]) if signal is None else signal
    a = signal.astype(narrow) + row @ static.z + gamma @ paths.h[:T]
    if kernel.input_driven:
        a = a + 2 * (gamma @ paths.c[:T].astype(narrow)) * static.y
    z = static.z[t]
    if static.thermal is not None:
        a = a + static.thermal[t]

    # Answers, and those of the branches or the slopes; entry k of a bank is time
    # stride k + parity + 1
    start = parity + 1
    bank = jnp.zeros(-(-T // stride), narrow)
    bank = bank.at[: len(range(start, T, stride))].set(gamma[start::stride])
    response = jnp.tensordot(bank, paths.branch[parity], axes=1)
    source = jnp.arange(response.shape[1])
    older = (source < tau)[:, None]
    shift, weight = paths.shift[parity], paths.weight[parity]
    if graded:
        u = a + spread * z
        h = problem.activation(u)
        slope = problem.activation.slope(u)
        new = slope * (response + (source == tau)[:, None].astype(narrow))
        new = jnp.where((source <= tau)[:, None], new, 0.0)
        values = static.mean(new[0])
        m = static.mean(h)
    else:
        reduced = a / (2**0.5 * spread)
        h = _sign(a + spread * z > 0)
        m = static.mean(erf(reduced))
        lags = row[parity::stride]
        field = a + lags[:, None] * shift + response
        answers = erf(field / (2**0.5 * spread))
        values = static.mean(weight * (answers[0] - answers[1]))
        threshold = jnp.clip(-a / spread, -_FARTHEST, _FARTHEST)
        density = jnp.exp(-(reduced**2)) / ((2 * jnp.pi) ** 0.5 * spread)
        values = jnp.where(source == tau, 2 * static.mean(density), values)
        new = jnp.where(field + spread * z > 0, 1 - h, -1 - h)
        ends = jnp.asarray([1.0, -1.0], narrow)[:, None, None] - h
        new = jnp.where(older, new, jnp.where((source == tau)[:, None], ends, 0.0))
        shift = shift.at[tau].set(threshold - z)
        weight = weight.at[tau].set(density)
    values = jnp.where(source <= tau, values, 0.0)
    G = jnp.zeros(T, static.wide).at[parity::stride].set(values)

    # Overlaps of the answers with all earlier ones
    H = paths.h.at[t + 1].set(h)
    C = H @ h / h.size if static.p is None else H @ (static.p * h)
    C = C.astype(static.wide)
    c = paths.c
    if kernel.input_driven:
        c = c.at[t + 1].set(static.mean(static.y * erf(reduced)))
    swap = lambda bank, new: bank[:parity] + (new,) + bank[parity + 1 :]  # noqa: E731
    return _Paths(
        m=paths.m.at[t + 1].set(m),
        c=c,
        C=paths.C.at[t + 1].set(C).at[:, t + 1].set(C),
        G=paths.G.at[t + 1].set(G),
        Gam=paths.Gam.at[t].set(Gam),
        L=L,
        B=B,
        h=H,
        shift=swap(paths.shift, shift),
        weight=swap(paths.weight, weight),
        branch=swap(paths.branch, paths.branch[parity].at[tau].set(new)),
    )


def _sign(positive):
    return jnp.where(positive, jnp.float32(1.0), jnp.float32(-1.0))
