"""Losses of the order of memories: window by window through the network, or on the event map."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import as_float, check_at_least
from .._simulate import simulate
from .._types import ArrayLike
from ._base import LOST, AbstractLoss, Derivative
from ._events import Events, events_of

_LEAST = 1.05  # of the ratio whose logarithm is a dwell, where a memory is not retrieved


class Order(AbstractLoss):
    """See `order`."""

    source: Int[Array, " W"]
    target: Int[Array, " W"]
    start: Float[Array, "W P"]
    window: Float[Array, ""]
    sharpness: Float[Array, ""]

    def __call__(self, network: Any, *, derivative: Derivative = "reverse") -> Float[Array, ""]:
        length = self.window * jnp.max(network.tau)

        def one(source, target, z0):
            weights = (
                jnp.where(jnp.arange(z0.size, dtype=jnp.int32) == source, z0, 0.0) + network.bias
            )
            state = network.init(saliency=z0, weights=weights)
            ts = jnp.stack([jnp.zeros_like(length), length])
            run = simulate(network, state, ts, derivative=derivative, throw=False)
            assert run.saliency is not None  # a two-timescale network
            return -jax.nn.log_softmax(self.sharpness * run.saliency[-1])[target]

        found = jax.vmap(one)(self.source, self.target, self.start)
        return jnp.where(jnp.isfinite(found), found, LOST).mean()


def order(
    target: Any,
    *,
    P: int,
    saliency: ArrayLike = 4.0,
    window: ArrayLike | None = None,
    sharpness: ArrayLike = 2.0,
) -> AbstractLoss:
    r"""Which memory is charged next, window by window.

    For every transition $\mu \to \nu$ of the target the network is started in memory $\mu$ with
    saliency $Z$ and run for a window that ends shortly before $\mu$ gives way; there

    $$L = -\frac1W \sum_w \ln \frac{e^{\beta z_{\nu}}}{\sum_\lambda e^{\beta z_\lambda}}.$$

    The sum holds the active memory, too: without it a column of $A$ could charge its own memory so
    strongly that the network locks there at no cost. Windows are multiple shooting: each starts
    where the target is, so the length of a sequence does no harm.

    **Where its gradient vanishes:** nowhere (but for rounding, once the right saliency leads by
    many $1/\beta$). While the field rests, saliencies are linear in $A$, and so even a uniform or
    locking matrix learns. A memory that must be followed by different ones is beyond it (it knows
    no history): use `event_map` there.

    **Arguments:**

    - `target`: `Events`, several, or a list of memories, read as a cycle.
    - `P`: memories of the network.
    - `saliency`: $Z$ with which a window begins.
    - `window`: in slow time constants; default $0.9 \ln Z$.
    - `sharpness`: $\beta$.

    **Returns:** a loss for a `TwoTimescaleHopfield`, a number.

    **Raises:** ValueError for indices beyond P, or values out of their range.
    """
    pairs: set[tuple[int, int]] = set()
    for events in events_of(target):
        check_memories(events, P)
        source, following = np.asarray(events.memory), np.asarray(events.switches[0])
        pairs |= set(zip(source.tolist(), following.tolist(), strict=False))
    source, following = np.array(sorted(pairs), dtype=np.int32).T
    Z = as_float(saliency, "saliency")
    check_at_least(Z, "saliency", 1.0, strict=True)
    sharp = as_float(sharpness, "sharpness")
    check_at_least(sharp, "sharpness", 0.0, strict=True)
    length = 0.9 * jnp.log(Z) if window is None else as_float(window, "window")
    check_at_least(length, "window", 0.0, strict=True)
    start = Z * jax.nn.one_hot(source, P, dtype=Z.dtype)
    return Order(jnp.asarray(source), jnp.asarray(following), start, length, sharp)


class EventMap(AbstractLoss):
    """See `event_map`."""

    memory: Int[Array, " K"]
    target: Int[Array, " S"]
    dwell: Float[Array, " S"] | None
    saliency: Float[Array, " P"]
    margin: Float[Array, ""]
    sigma: Float[Array, ""]
    delay: Float[Array, ""]

    def __call__(self, network: Any, *, derivative: Derivative = "reverse") -> Float[Array, " R"]:
        del derivative  # a plain function serves both
        P = self.saliency.size
        gain = network.activation.slope(jnp.zeros_like(self.margin))
        drive = gain * jnp.broadcast_to(network.kappa, (P,))[:, None] * network.transition
        tau = jnp.broadcast_to(network.tau, (P,))
        ids = jnp.arange(P, dtype=jnp.int32)
        S = self.target.size
        observed = self.dwell
        dwells = jnp.full(S, jnp.nan, tau.dtype) if observed is None else observed

        def step(z, now):
            mu, nu, seen = now
            level = drive[:, mu]
            own = level[mu]
            locked = jax.nn.relu(own - 1 + self.margin)
            free = jnp.minimum(own, 1 - self.margin / 2)
            ratio = (z[mu] - free) / (1 - free)
            dwell = tau[mu] * jnp.log(jnp.maximum(ratio, _LEAST))
            known = ~jnp.isnan(seen)
            stay = jnp.where(known, jnp.where(known, seen, 0.0) - self.delay, dwell)
            z = level + (z - level) * jnp.exp(-stay / tau)
            weak = jax.nn.relu(1 + self.margin - z[nu])
            rival = jnp.where((ids == mu) | (ids == nu), z[nu], (1 + self.margin) * z)
            lost = jax.nn.relu(rival - z[nu])
            off = (dwell + self.delay - jnp.where(known, seen, 0.0)) / self.sigma
            return z, jnp.concatenate(
                [jnp.where(known, off, 0.0)[None], locked[None], weak[None], lost]
            )

        _, residuals = jax.lax.scan(
            step, gain * self.saliency, (self.memory[:S], self.target, dwells)
        )
        return residuals.ravel()


def event_map(
    target: Events,
    *,
    saliency: ArrayLike,
    margin: ArrayLike = 0.2,
    sigma: ArrayLike = 1.0,
    delay: ArrayLike = 0.0,
) -> AbstractLoss:
    r"""The singular limit's event map, forced along the target: a surrogate without simulation.

    While memory $\mu$ is active every saliency relaxes to $s_\nu = \kappa_\nu A_{\nu\mu}$; it gives
    way after $T = \tau \ln\frac{z_\mu - s_\mu}{1 - s_\mu}$. The map is taken along the *target*
    order (and, where they are known, the target dwells), whatever the network would do, so that
    saliencies stay a smooth function of all parameters and carry the history. Residuals, for every
    transition $\mu \to \nu$: $(T + d - \hat T)/\sigma$ where the dwell is known, and by how much
    the wanted successor misses $z_\nu \ge 1 + \delta$, $z_\nu \ge (1 + \delta) z_\lambda$ for every
    rival, and $\mu$ itself $s_\mu \le 1 - \delta$ (no lock).

    **Where its gradient vanishes:** where all these hold and no dwell is known. That is its
    minimum.

    **Arguments:**

    - `target`: one sequence. A cycle is followed for one round.
    - `saliency`: (P,) saliencies when it begins.
    - `margin`: $\delta$.
    - `sigma`: standard deviation of dwells, in fast time constants.
    - `delay`: $d$, what a handover adds to a dwell at finite $\tau$.

    **Returns:** a loss for a `TwoTimescaleHopfield` with hard tanh and orthogonal memories.

    **Raises:** ValueError/TypeError naming the argument.

    Derived for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Singular limit.
    """
    if not isinstance(target, Events):
        raise TypeError(f"`target` must be hopfax.Events, got {type(target).__name__}.")
    saliency = as_float(saliency, "saliency")
    if saliency.ndim != 1:
        raise ValueError(f"`saliency` must have shape (P,), got {saliency.shape}.")
    check_memories(target, saliency.size)
    following, _ = target.switches
    dwell = None if target.time is None else target.dwells[: following.size]
    rest = {"margin": margin, "sigma": sigma, "delay": delay}
    arrays = {name: as_float(value, name, saliency.dtype) for name, value in rest.items()}
    check_at_least(arrays["margin"], "margin", 0.0, strict=True)
    check_at_least(arrays["sigma"], "sigma", 0.0, strict=True)
    return EventMap(target.memory, following, dwell, saliency, **arrays)


def check_memories(events: Events, P: int) -> None:
    """ValueError for indices that are no memories."""
    highest = int(np.max(np.asarray(events.memory)))
    if highest >= P:
        raise ValueError(f"`target` names memory {highest}, but there are {P}: 0..{P - 1}.")
