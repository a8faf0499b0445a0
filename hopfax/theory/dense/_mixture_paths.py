r"""The effective neuron of a memory that holds and then follows, on quasi-random paths of signs.

The sweep of `_paths` with two differences. The neuron has a sign in every memory that the run may
come to, and so each path carries these signs, which are random and independent, and the overlap is
a vector. Noise and feedback are those of both terms (`_reaction`), the second of which feels the
state `delay` steps ago; before time 0 that is the start.

A memory follows a state that it is felt in, so that one more memory may be reached at time 1 and
one more each `delay` + 1 steps later (`reached`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._programs import jitted
from ._kernels import Kernel
from ._paths import Bank, Field, Setting, Signs, cholesky_row, sign
from ._sobol import Noise


class MixtureSetting(NamedTuple):
    """What a trajectory depends on. Both kernels are of one order, 3 or more."""

    hold: Kernel
    follow: Kernel
    load: Float[Array, ""]
    m0: Float[Array, ""]
    share: Float[Array, ""]
    delay: int
    beta: Float[Array, ""] | None


class _Paths(NamedTuple):
    """Everything that grows with time."""

    m: Array  # (T + 1, Q) overlaps
    C: Array  # (T + 1, T + 1)
    G: Array  # (T + 1, T)
    Gam: Array  # (T, T)
    L: Array  # (T, T) lower, unit diagonal where not yet known
    h: Array  # (T + 1, S)
    banks: tuple[Bank, Bank]  # sources of even and of odd times, as only odd lags respond


class _Run(NamedTuple):
    """What stays the same along a trajectory."""

    setting: MixtureSetting
    units: Signs
    z: Array  # (T, S) the Gaussians
    thermal: Array  # (T, S) fields that stand for the temperature, or 0
    signs: Array  # (Q, S) of each path in each memory


def reached(steps: int, delay: int) -> int:
    """How many memories a run of `steps` steps may come to, the start included."""
    return 2 + (steps - 1) // (delay + 1)


@jitted
def follow_mixture(setting: MixtureSetting, noise: Noise, steps: int):
    """Overlaps, C, G, Gamma of every scramble, one after the other to keep memory small."""
    return jax.lax.map(lambda noise: _follow(setting, noise, steps), noise)


def _follow(setting, noise, steps):
    half = -(-steps // 2)
    T, units = 2 * half, Signs(Setting(setting.hold, setting.load, setting.m0), noise)
    S, wide, narrow = units.h0.shape[0], setting.m0.dtype, units.h0.dtype
    zeros = lambda *shape: jnp.zeros(shape, narrow)  # noqa: E731
    missing = zeros(T - steps, S)
    z = jnp.concatenate([jnp.asarray(noise.gauss, narrow), missing])
    thermal = jnp.zeros_like(z)
    if noise.thermal is not None:
        u = noise.thermal
        logistic = (jnp.log(u) - jnp.log1p(-u)) / (2 * setting.beta.astype(narrow))
        thermal = jnp.concatenate([logistic, missing])
    signs = jnp.concatenate([jnp.ones((1, S), narrow), sign(noise.others < 0.5)])
    run, Q = _Run(setting, units, z, thermal, signs), signs.shape[0]
    empty = Bank(zeros(half, S), zeros(half, S), zeros(half, 2, half, S))
    paths = _Paths(
        m=jnp.zeros((T + 1, Q), wide).at[0, 0].set(setting.m0),
        C=jnp.zeros((T + 1, T + 1), wide).at[0, 0].set(1.0),
        G=jnp.zeros((T + 1, T), wide),
        Gam=jnp.zeros((T, T), wide),
        L=jnp.eye(T, dtype=wide),
        h=zeros(T + 1, S).at[0].set(units.h0),
        banks=(empty, empty),
    )

    def move(paths, tau):
        return _step(run, _step(run, paths, tau, 0), tau, 1), None

    paths = jax.lax.scan(move, paths, jnp.arange(half))[0]
    return (
        paths.m[: steps + 1],
        paths.C[: steps + 1, : steps + 1],
        paths.G[: steps + 1, :steps],
        paths.Gam[:steps, :steps],
    )


def _step(run, paths, tau, parity):
    """Fields at time t = 2 tau + parity and answers at t + 1."""
    units, t = run.units, 2 * tau + parity
    R, Gam = _reaction(run.setting, paths, t)
    row, spread, L = cholesky_row(paths.L, R, t, units.least_share)
    bank = paths.banks[parity]
    field = _field(run, paths, bank, t, parity, row, spread, Gam)
    answer = units.answer(field, bank, tau)

    source = jnp.arange(bank.shift.shape[0])
    response = jnp.where(source <= tau, answer.response, 0.0)
    h = paths.h.at[t + 1].set(answer.h)
    C = units.overlaps(h, answer.h).astype(R.dtype)
    return _Paths(
        m=paths.m.at[t + 1].set(units.mean(run.signs * answer.expected)),
        C=paths.C.at[t + 1].set(C).at[:, t + 1].set(C),
        G=paths.G.at[t + 1, parity::2].set(response),
        Gam=paths.Gam.at[t].set(Gam),
        L=L,
        h=h,
        banks=(answer.bank, paths.banks[1]) if parity == 0 else (paths.banks[0], answer.bank),
    )


def _reaction(setting, paths, t):
    """Covariance of the noise with that of earlier times, and the feedback."""
    T, load, lam = paths.Gam.shape[0], setting.load, setting.share
    C, felt = paths.C[t, :T], jnp.maximum(jnp.arange(T) - setting.delay, 0)
    late = paths.C[jnp.maximum(t - setting.delay, 0), felt]
    hold, follow = setting.hold, setting.follow
    both = jnp.sqrt(hold(jnp.zeros_like(C)) * follow(jnp.zeros_like(C)))
    R = lam**2 * hold(C) + (1 - lam) ** 2 * follow(late) + 2 * lam * (1 - lam) * both
    return load * R, load * lam**2 * hold.slope(C) * paths.G[t]


def _field(run, paths, bank, t, parity, row, spread, Gam):
    """The field at time t: signals, noise of earlier Gaussians, and feedback of earlier answers."""
    setting, T, narrow = run.setting, Gam.shape[0], run.z.dtype
    row, spread, gamma = row.astype(narrow), spread.astype(narrow), Gam.astype(narrow)
    held = setting.hold.signal(paths.m[t])
    called = setting.follow.signal(paths.m[jnp.maximum(t - setting.delay, 0)])
    signal = setting.share * held + (1 - setting.share) * jnp.roll(called, 1).at[0].set(0.0)
    a = signal.astype(narrow) @ run.signs + row @ run.z + gamma @ paths.h[:T] + run.thermal[t]
    # Entry k of the bank is the answer at time 2 k + parity + 1.
    back = gamma[parity + 1 :: 2]
    back = jnp.zeros(T // 2, narrow).at[: back.shape[0]].set(back)
    return Field(a, spread, run.z[t], jnp.tensordot(back, bank.branch, axes=1), row[parity::2])
