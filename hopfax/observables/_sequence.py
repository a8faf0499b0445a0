"""Observables of a run: when it switched, what it visited, and what became of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._trajectory import Trajectory
from .._types import is_concrete
from ..networks import TwoTimescaleHopfield, check_kind

#: Regime names; the code of a regime is its place here.
REGIMES = ("sequence", "collapse", "locked", "mixed", "tie", "undecided")


def regime_attributes() -> dict[str, Any]:
    """Attributes for a stored regime variable, after the CF convention for flags."""
    return {
        "flag_values": np.arange(len(REGIMES), dtype=np.int8),
        "flag_meanings": " ".join(REGIMES),
        "long_name": "regime of the trajectory within its horizon",
    }


def switch_times(trajectory: Trajectory) -> Float[Array, "... K"]:
    r"""Times at which a new memory took the lead, $|m_{new}| = |m_{old}|$, and was then retrieved
    ($|m_{new}| > 1/2$ before the next crossing).

    Located in the solver's own dense output, so as exact as the solution; differentiable. In
    units of the fast time constant. Under a trace (or in a batch) padded with NaN to a fixed
    length, otherwise cut to what happened.
    """
    log = trajectory.switches
    return _cut(jnp.sort(jnp.where(log.retrieved, log.time, jnp.nan), axis=-1))


def dwell_times(trajectory: Trajectory) -> Float[Array, "... L"]:
    """Differences of successive `switch_times`: how long each memory but the first was active."""
    return jnp.diff(switch_times(trajectory), axis=-1)


def visited(trajectory: Trajectory) -> Int[Array, " K"]:
    """The memories in the order in which they were retrieved, the first one included.

    Under a trace padded with -1 to a fixed length, otherwise cut to what happened.
    """
    log = trajectory.switches
    first = jnp.argmax(jnp.abs(trajectory.overlaps[0])).astype(log.target.dtype)
    order = jnp.argsort(~log.retrieved, stable=True)
    later = jnp.where(log.retrieved, log.target, -1)[order]
    sequence = jnp.concatenate([first[None], later])
    return sequence[sequence >= 0] if is_concrete(sequence) else sequence


def escape_times(trajectory: Trajectory, network: TwoTimescaleHopfield) -> Float[Array, " E"]:
    r"""Times at which the active memory loses its stability.

    For hard tanh the saturated state $\xi^\mu$ disappears at $z_\mu = 1/g$; for smooth $\psi$ with
    amplitude $a = z_\mu \psi(a)$ it turns unstable towards $\nu$ at $z_\nu \psi'(a) = 1$. The
    switch follows O($\log\tau$) fast times later.

    A root of the solution itself where the run was event-driven. Otherwise found by cubic Hermite
    interpolation of the saved saliencies, whose derivatives the slow equation gives: relative error
    about $(\Delta t/\tau)^4/400$ for save spacing $\Delta t$; a shorter dwell is missed. A stimulus
    is taken to change linearly from save to save.

    **Raises:** TypeError for another network, such as one of rates; ValueError without saliency.
    """
    why = ", whose memories lose their stability at a saliency that is not known"
    check_kind(network, TwoTimescaleHopfield, why=why)
    ts, m, z = trajectory.ts, trajectory.overlaps, trajectory.saliency
    if z is None:
        raise ValueError("`escape_times` needs a trajectory with saliency.")
    if trajectory.escapes is not None:
        return _cut(trajectory.escapes)
    given = jnp.zeros_like(z) if trajectory.evidence is None else trajectory.evidence
    slow = z - given
    rate = jax.vmap(network.slow_rate)(m, slow)
    leader = jnp.argmax(jnp.abs(m), axis=1)
    active = jnp.max(jnp.abs(m), axis=1) > 0.5

    def interval(t0, t1, z0, z1, v0, v1, e0, e1, lead, on):
        h = t1 - t0

        def margin(s):
            a, b = (1 + 2 * s) * (1 - s) ** 2, s * (1 - s) ** 2 * h
            c, d = s**2 * (3 - 2 * s), s**2 * (s - 1) * h
            felt = a * z0 + b * v0 + c * z1 + d * v1 + (1 - s) * e0 + s * e1
            return _stability(felt, lead, network)

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            stable = margin(middle) > 0
            return jnp.where(stable, middle, low), jnp.where(stable, high, middle)

        zero, one = jnp.zeros_like(h), jnp.ones_like(h)
        low, high = jax.lax.fori_loop(0, 52, halve, (zero, one))
        found = on & (margin(zero) > 0) & (margin(one) <= 0)
        return jnp.where(found, t0 + h * (low + high) / 2, jnp.nan)

    curves = (ts, slow, rate, given)
    (t0, z0, v0, e0), (t1, z1, v1, e1) = [x[:-1] for x in curves], [x[1:] for x in curves]
    pairs = (t0, t1, z0, z1, v0, v1, e0, e1, leader[:-1], active[:-1])
    return _cut(jnp.sort(jax.vmap(interval)(*pairs)))


def _stability(z, leader, network: TwoTimescaleHopfield):
    """Positive while the memory `leader` is a stable equilibrium."""
    from ..theory.sequential import retrieval_amplitude  # late: it is all that needs theory here

    slope = network.activation.slope(jnp.zeros((), z.dtype))
    own = z[leader] * slope - 1
    a = retrieval_amplitude(z[leader], network.activation)
    others = jnp.where(jnp.arange(z.shape[0]) == leader, -jnp.inf, z)
    towards = 1 - jnp.max(others) * network.activation.slope(jnp.where(own > 0, a, 0.0))
    return jnp.where(own > 0, jnp.minimum(own, towards), own)


def classify(trajectory: Trajectory) -> Int[Array, ""]:
    r"""What became of the run within its horizon, as a code into `REGIMES`:

    - `sequence`: at least two memories were retrieved in turn, and the last switch lies no longer
      ago than three times the last dwell.
    - `collapse`: no overlap above 1/2 in the last tenth of the saves.
    - `locked`: one overlap above 0.9 throughout the last tenth, and no switch in the last half.
    - `mixed`: at least two overlaps between 1/4 and 3/4 in size throughout the last tenth; `tie`
      if they are exactly two and equal to 1e-3 (a symmetric saddle that no seed has split).
    - `undecided`: none of these, or the run failed: lengthen the horizon.

    A longer horizon can change the answer: below the threshold a sequence may last for long before
    it collapses. int8.
    """
    m = jnp.abs(trajectory.overlaps)
    late = m[-max(m.shape[0] // 10, min(3, m.shape[0])) :]
    top = late.max(axis=1)
    between = ((late > 0.25) & (late < 0.75)).sum(axis=1)
    mixed = (between >= 2).all()
    ordered = jnp.sort(late[-1])
    second = ordered[-2] if m.shape[1] > 1 else jnp.zeros_like(ordered[-1])
    twins = (between == 2).all() & (ordered[-1] - second < 1e-3)
    collapse = (top < 0.5).all() & ~mixed

    log, ts = trajectory.switches, trajectory.ts
    times = jnp.sort(jnp.where(log.retrieved, log.time, jnp.nan))
    number = log.retrieved.sum()
    last = jnp.where(number > 0, times[jnp.maximum(number - 1, 0)], ts[0])
    before = jnp.where(number > 1, times[jnp.maximum(number - 2, 0)], ts[0])
    since, overflow = ts[-1] - last, log.count > log.time.shape[0]
    locked = (top > 0.9).all() & (since > (ts[-1] - ts[0]) / 2) & ~overflow
    sequence = (number >= 2) & ((since <= 3 * (last - before)) | overflow)

    decided = [twins & mixed, mixed, collapse, locked, sequence]
    codes = [REGIMES.index(name) for name in ("tie", "mixed", "collapse", "locked", "sequence")]
    code = jnp.select(decided, [jnp.asarray(c, jnp.int8) for c in codes], jnp.int8(5))
    return jnp.where(jnp.isfinite(m).all(), code, jnp.int8(5))


def summary(trajectory: Trajectory) -> dict[str, Array]:
    """Numbers that say what a run did: the default output of a sweep's points.

    `regime` (code into `REGIMES`), `switches` (how many memories were retrieved after the first),
    `dwell` (the last one, NaN without two switches), `overlap` (the largest at the end). Both count
    what the log holds: for more than 64 switches use `method=Diffrax(switches=...)`.
    """
    log = trajectory.switches
    times = jnp.sort(jnp.where(log.retrieved, log.time, jnp.nan))
    number = log.retrieved.sum(dtype=jnp.int32)
    last, before = jnp.maximum(number - 1, 0), jnp.maximum(number - 2, 0)
    dwell = jnp.where(number > 1, times[last] - times[before], jnp.nan)
    return {
        "regime": classify(trajectory),
        "switches": number,
        "dwell": dwell,
        "overlap": jnp.max(jnp.abs(trajectory.overlaps[-1])),
    }


def _cut(times: Float[Array, "... K"]) -> Float[Array, "..."]:
    if times.ndim == 1 and is_concrete(times):
        return times[jnp.isfinite(times)]
    return times
