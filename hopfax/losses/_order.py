"""Losses of the order of memories: window by window through the network, or on the event map."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import (
    as_count,
    as_float,
    check_array,
    check_at_least,
    check_finite,
    check_shape,
)
from .._simulate import simulate
from .._types import ArrayLike, Network
from ._base import LOST, AbstractLoss, Derivative
from ._events import Events, events_of

#: The least ratio whose logarithm is taken as a dwell. A memory that gives way at once, or has not
#: been retrieved, has a smaller one, down to negative numbers, whose logarithm is no number.
_LEAST = 1.05


class Order(AbstractLoss):
    """Which memory is charged next, in windows that each start from one memory; see `order`."""

    source: Int[Array, " W"]
    target: Int[Array, " W"]
    start: Float[Array, "W P"]
    window: Float[Array, ""]
    sharpness: Float[Array, ""]

    def __call__(self, network: Network, *, derivative: Derivative = "reverse") -> Float[Array, ""]:
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

    The sum includes the active memory: without it a column of $A$ could charge its own memory so
    strongly that the network stays there for ever, at no cost. Windows are multiple shooting: each
    starts from the memory that the target has there, so errors do not add up along a sequence.

    **Where its gradient vanishes:** nowhere (but for rounding, once the right saliency leads by
    many $1/\beta$). While the field rests, saliencies are linear in $A$, so there is a gradient
    also from a uniform matrix, or one in which memories hold themselves. A target in which a memory
    is followed by different ones cannot be met, for a window knows nothing of earlier memories: use
    `event_map` there.

    **What it does not see:** times. Neither `time` nor `end` and `until` of `Events` count, and the
    last memory of an open sequence has no window, so that whatever follows it costs nothing. Dwells
    are compared by `event_map` and `switch_times`, which count `end` and `until`, too.

    **Arguments:**

    - `target`: `Events`, several, or a list of memories, read as a cycle.
    - `P`: memories of the network.
    - `saliency`: $Z$ with which a window begins.
    - `window`: in slow time constants; default $0.9 \ln Z$.
    - `sharpness`: $\beta$.

    **Returns:** a loss for a `TwoTimescaleHopfield`, a number.

    **Raises:** ValueError for indices beyond P, or values out of their range.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.order([0, 1, 2, 3], P=4)
    loss(network)  # 0.0095: this is the order of hx.cyclic(4)
    ```
    """
    P = as_count(P, "P", 2)
    pairs: set[tuple[int, int]] = set()
    for events in events_of(target):
        check_memories(events, P)
        check_successors(events)
        source, following = np.asarray(events.memory), np.asarray(events.switches[0])
        pairs |= set(zip(source.tolist(), following.tolist(), strict=False))
    source, following = np.array(sorted(pairs), dtype=np.int32).T
    Z = as_float(saliency, "saliency")
    check_shape(Z, "saliency", (), "()")
    check_at_least(Z, "saliency", 1.0, strict=True)
    sharp = as_float(sharpness, "sharpness")
    check_shape(sharp, "sharpness", (), "()")
    check_at_least(sharp, "sharpness", 0.0, strict=True)
    length = 0.9 * jnp.log(Z) if window is None else as_float(window, "window")
    check_shape(length, "window", (), "()")
    check_at_least(length, "window", 0.0, strict=True)
    check_array("the starts", 2 * Z.dtype.itemsize, P=P, pairs=len(source))
    start = Z * jax.nn.one_hot(source, P, dtype=Z.dtype)
    return Order(jnp.asarray(source), jnp.asarray(following), start, length, sharp)


class EventMap(AbstractLoss):
    """The event map of the singular limit, along a target sequence; see `event_map`."""

    memory: Int[Array, " K"]
    target: Int[Array, " S"]
    dwell: Float[Array, " S"] | None
    open_: Bool[Array, " S"]  # whether the dwell may be longer
    saliency: Float[Array, " P"]
    margin: Float[Array, ""]
    sigma: Float[Array, ""]
    delay: Float[Array, ""]

    def __call__(
        self, network: Network, *, derivative: Derivative = "reverse"
    ) -> Float[Array, " R"]:
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
            mu, nu, seen, longer = now
            left = nu != mu  # else anyone may follow
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
            weak = jnp.where(left, weak, 0.0)
            lost = jnp.where(left, jax.nn.relu(rival - z[nu]), 0.0)
            off = (dwell + self.delay - jnp.where(known, seen, 0.0)) / self.sigma
            off = jnp.where(longer, jnp.minimum(off, 0.0), off)
            return z, jnp.concatenate(
                [jnp.where(known, off, 0.0)[None], locked[None], weak[None], lost]
            )

        _, residuals = jax.lax.scan(
            step, gain * self.saliency, (self.memory[:S], self.target, dwells, self.open_)
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
    r"""Saliencies along the target in the limit $\tau \to \infty$: a loss without simulation.

    While memory $\mu$ is active every saliency relaxes to $s_\nu = \kappa_\nu A_{\nu\mu}$; the
    memory gives way after $T = \tau \ln\frac{z_\mu - s_\mu}{1 - s_\mu}$. These steps are taken in
    the *target* order (and, where they are known, with the target dwells), whatever the network
    itself would do. So saliencies are smooth functions of all parameters, and depend on all earlier
    memories. The residuals, for every transition $\mu \to \nu$, are $(T + d - \hat T)/\sigma$ where
    the dwell is known, and by how much these conditions are violated: $z_\nu \ge 1 + \delta$ and
    $z_\nu \ge (1 + \delta) z_\lambda$ for every rival $\lambda$, so that the wanted successor takes
    over, and $s_\mu \le 1 - \delta$, so that $\mu$ does not hold itself for ever. Of the last
    memory only the dwell counts: where `end` is known, as that of the others; where `until` is, if
    $T + d$ is less.

    **Where its gradient vanishes:** where all conditions hold and no dwell is known. That is its
    minimum.

    **Arguments:**

    - `target`: one sequence. A cycle is followed for one round.
    - `saliency`: (P,) saliencies when it begins.
    - `margin`: $\delta$.
    - `sigma`: standard deviation of dwells, in fast time constants.
    - `delay`: $d$, what a handover adds to a dwell at finite $\tau$.

    **Returns:** a loss for a `TwoTimescaleHopfield` with hard tanh and orthogonal memories.

    **Raises:** ValueError/TypeError naming the argument.

    Derived for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, in the singular
    limit.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.event_map(hx.Events([0, 1, 2]), saliency=[4.0, 0.0, 0.0, 0.0])
    hx.losses.value(loss(network))  # 0: the network keeps all conditions
    wrong = hx.losses.event_map(hx.Events([0, 2, 1]), saliency=[4.0, 0.0, 0.0, 0.0])
    hx.losses.value(wrong(network))  # 10.8
    ```
    """
    if not isinstance(target, Events):
        raise TypeError(f"`target` must be hopfax.Events, got {type(target).__name__}.")
    check_successors(target)
    saliency = as_float(saliency, "saliency")
    names = int(np.max(np.asarray(target.memory))) + 1
    if saliency.ndim != 1 or saliency.size < names:
        text = f"P >= {names} as `target` needs, got {saliency.shape}"
        raise ValueError(f"`saliency` must have shape (P,), {text}.")
    check_finite(saliency, "saliency")
    following, _ = target.switches
    dwell = None if target.time is None else target.dwells[: following.size]
    open_ = np.zeros(following.size, bool)
    if dwell is not None and not target.cycle and (stay := target.last_stay) is not None:
        following = jnp.append(following, target.memory[-1:])  # nobody in particular
        dwell, open_ = jnp.append(dwell, stay), np.append(open_, target.until is not None)
    rest = {"margin": margin, "sigma": sigma, "delay": delay}
    arrays = {name: as_float(value, name, saliency.dtype) for name, value in rest.items()}
    for name, value in arrays.items():
        check_shape(value, name, (), "()")
        check_finite(value, name)
    check_at_least(arrays["margin"], "margin", 0.0, strict=True)
    check_at_least(arrays["sigma"], "sigma", 0.0, strict=True)
    return EventMap(target.memory, following, dwell, jnp.asarray(open_), saliency, **arrays)


def check_memories(events: Events, P: int) -> None:
    """ValueError if a sequence names more memories than the P that there are."""
    highest = int(np.max(np.asarray(events.memory)))
    if highest >= P:
        raise ValueError(f"`target` names memory {highest}, but there are {P}: 0..{P - 1}.")


def check_successors(events: Events) -> None:
    """ValueError if a memory directly follows itself."""
    memory = np.asarray(events.memory)
    following = np.asarray(events.switches[0])
    twice = memory[: following.size] == following
    if twice.any():
        where = int(np.argmax(twice))
        raise ValueError(
            f"`target`: memory {memory[where]} follows itself at entry {where}, which the network "
            "cannot show; join the two entries to one longer stay (`join=True`)."
        )
