"""The singular limit for any transition matrix, from one escape to the next."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._errors import (
    as_count,
    check_array,
    check_at_least,
    check_finite,
    check_scalar_or,
    check_shape,
)
from ..._programs import jitted
from ..._types import ArrayLike
from .._parameters import check_scalar, floats
from .._told import takes_network
from . import _network

#: Meaning of `Itinerary.outcome`.
OUTCOMES = {0: "sequence", 1: "collapse", 2: "locked"}


class Itinerary(NamedTuple):
    """What the singular limit predicts, one entry for each visited memory.

    `memory`: which one, -1 after the end. `time`, `saliency`: of its entry, NaN after the end.
    `outcome`: an int8 with the meaning `OUTCOMES`. `tie`: whether some winner had a runner-up
    within `tie_margin`. `contested`: whether some winner had any rival above 1.

    **Example:**

    ```python
    cycle = np.roll(np.eye(4), 1, axis=0)
    run = hx.theory.sequential.itinerary(cycle, 3.0, 20.0, [4.0, 0.0, 0.0, 0.0], steps=6)
    run.memory, hx.theory.sequential.OUTCOMES[int(run.outcome)]  # [0 1 2 3 -1 -1], 'collapse'
    ```
    """

    memory: Int[Array, " steps"]
    time: Float[Array, " steps"]
    saliency: Float[Array, "steps P"]
    outcome: Int[Array, ""]
    tie: Bool[Array, ""]
    contested: Bool[Array, ""]


@takes_network(_network.any_order)
def itinerary(
    transition: ArrayLike,
    kappa: ArrayLike,
    tau: ArrayLike,
    saliency0: ArrayLike,
    steps: int,
    *,
    tie_margin: float = 0.1,
) -> Itinerary:
    r"""Which memories follow each other, and when, for any transition matrix $A$.

    While memory $\mu$ is active every saliency relaxes to $s_\nu = \kappa_\nu A_{\nu\mu}$ as
    $z_\nu(t) = s_\nu + (z_\nu(0) - s_\nu) e^{-t/\tau_\nu}$, so $\mu$ ends after
    $T = \tau_\mu \ln \frac{z_\mu - s_\mu}{1 - s_\mu}$: never if $s_\mu \ge 1$. The largest other
    saliency above 1 takes over; if there is none, the sequence collapses.

    **Arguments:**

    - `transition`: $A$, shape (P, P); entry `[nu, mu]` is how strongly memory `mu` calls `nu`.
    - `kappa`: gain, scalar or (P,); entry `nu` belongs to the driven memory `nu`.
    - `tau`: slow time constant, scalar or (P,).
    - `saliency0`: saliencies at time 0, shape (P,); the largest is active, if it exceeds 1.
    - `steps`: how many memories to follow.
    - `tie_margin`: a runner-up above 1 within this fraction of the winner counts as a tie.

    A `TwoTimescaleHopfield`, given first, stands for `transition`, `kappa` and `tau`.

    **Returns:** an `Itinerary`. Its `outcome` says whether the sequence still goes on after `steps`
    memories, has collapsed, or is locked in the last memory. The result is exact if it is not
    `contested`; in a tie the seeds decide, or a mixture wins. Times and saliencies are
    differentiable.

    **Raises:** ValueError for shapes that do not fit, `steps` < 1, `tau` <= 0.

    Derived here for the model of Betteti, Baggio, Zampieri 2026, arXiv:2603.03201. Singular limit,
    orthogonal memories.

    **Example:**

    ```python
    cycle = np.roll(np.eye(4), 1, axis=0)
    run = hx.theory.sequential.itinerary(cycle, 5.0, 20.0, [4.0, 0.0, 0.0, 0.0], steps=6)
    run.memory, run.time  # [0 1 2 3 0 1], [0. 27.73 54.16 80.15 105.97 131.83]
    ```
    """
    transition, kappa, tau, saliency0, margin = floats(
        transition=transition, kappa=kappa, tau=tau, saliency0=saliency0, tie_margin=tie_margin
    )
    if saliency0.ndim != 1:
        raise ValueError(f"`saliency0` must have shape (P,), got {saliency0.shape}.")
    P = saliency0.size
    check_shape(transition, "transition", (P, P), "(P, P)", "P is the length of `saliency0`.")
    check_scalar_or(kappa, "kappa", P, "(P,)")
    check_scalar_or(tau, "tau", P, "(P,)")
    check_at_least(tau, "tau", 0.0, strict=True)
    check_finite(transition, "transition")
    check_finite(saliency0, "saliency0")
    check_scalar(margin, "tie_margin")
    check_at_least(margin, "tie_margin", 0.0, strict=False)
    check_finite(kappa, "kappa")
    steps = as_count(steps, "steps")
    check_array("the saliencies", 2 * saliency0.dtype.itemsize, steps=steps, P=P)
    return _itinerary(transition, kappa, tau, saliency0, steps, margin)


@jitted
def _itinerary(transition, kappa, tau, saliency0, steps, tie_margin):
    P = saliency0.size
    gains = jnp.broadcast_to(kappa, (P,))[:, None] * transition
    taus, ids = jnp.broadcast_to(tau, (P,)), jnp.arange(P, dtype=jnp.int32)

    def step(carry, _):
        active, time, z, outcome, tie, contested = carry
        going = outcome == 0
        entry = (
            jnp.where(going, active, -1),
            jnp.where(going, time, jnp.nan),
            jnp.where(going, z, jnp.nan),
        )
        target = gains[:, active]
        own = target[active]
        locked = own >= 1
        moves = going & ~locked
        ratio = (z[active] - own) / jnp.where(locked, 1.0, 1 - own)
        dwell = taus[active] * jnp.log(jnp.where(moves, ratio, 1.0))
        new = target + (z - target) * jnp.exp(-dwell / taus)
        rivals = jnp.where(ids == active, -jnp.inf, new)
        winner = jnp.argmax(rivals).astype(ids.dtype)
        best = jnp.max(rivals)
        second = jnp.max(jnp.where(ids == winner, -jnp.inf, rivals))
        passes = moves & (best > 1)
        rivalled = passes & (second > 1)
        tie = tie | (rivalled & (second >= (1 - tie_margin) * best))
        code = jnp.where(locked, 2, jnp.where(best > 1, 0, 1)).astype(jnp.int8)
        carry = (
            jnp.where(passes, winner, active),
            jnp.where(moves, time + dwell, time),
            jnp.where(moves, new, z),
            jnp.where(going, code, outcome),
            tie,
            contested | rivalled,
        )
        return carry, entry

    first = jnp.argmax(saliency0).astype(ids.dtype)
    outcome = jnp.where(jnp.max(saliency0) > 1, 0, 1).astype(jnp.int8)
    no = jnp.zeros((), bool)
    zero = jnp.zeros((), saliency0.dtype)
    carry = (first, zero, saliency0, outcome, no, no)
    (_, _, _, outcome, tie, contested), entries = jax.lax.scan(step, carry, None, length=steps)
    return Itinerary(*entries, outcome, tie, contested)
