"""What is asked of `fit_sequence`, checked: sequences, starts and options."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import (
    as_count,
    as_float,
    as_key,
    check_at_least,
    check_bool,
    check_shape,
    check_type,
)
from .._progress import check_progress
from .._types import ArrayLike
from ..losses import AbstractLoss, Events
from ..losses._events import events_of
from ..losses._order import check_memories
from ._moving import Moving


def check_options(
    sigma: Any, absolute_sigma: Any, steps: Any, starts: Any, key: Any, progress: Any
) -> None:
    """TypeError/ValueError naming what cannot be, whichever strategy will use it."""
    sigma = as_float(sigma, "sigma")
    check_at_least(sigma, "sigma", 0.0, strict=True)
    if sigma.ndim > 1 or not sigma.size:
        raise ValueError(f"`sigma` must be a scalar or one for each time, got {sigma.shape}.")
    check_bool(absolute_sigma, "absolute_sigma")
    as_count(starts, "starts")
    if steps is not None:
        as_count(steps, "steps", most=2**31 - 1)
    if key is not None:
        as_key(key)
    check_progress(progress)


def targets_of(target: Any, P: int) -> list[Events]:
    """The sequences, checked: memories that there are, and times for all or none."""
    targets = events_of(target)
    for events in targets:
        check_memories(events, P)
    timed = [events.time is not None for events in targets]
    if any(timed) and not all(timed):
        raise ValueError("`target`: either all sequences have times, or none.")
    return targets


def check_prior(prior: Any, targets: list[Events], absolute_sigma: bool) -> None:
    """TypeError/ValueError for what is no prior, or has no times to stand beside."""
    if prior is None:
        return
    check_type(prior, "prior", AbstractLoss, "a loss of the network, as hopfax.losses.prior")
    if targets[0].time is None:
        raise ValueError(
            "`prior` stands beside times with errors, but `target` is an order alone: of the "
            "matrices that show it the design takes that of least norm."
        )
    if not absolute_sigma:
        raise ValueError(
            "`prior` needs absolute_sigma=True and `sigma`, the errors of the times: their weight "
            "against the prior."
        )


def given_starts(saliency: ArrayLike | None, network: Moving, S: int) -> Float[Array, "S P"] | None:
    """The saliencies at the starts, one row a sequence."""
    if saliency is None:
        return None
    P = network.patterns.P
    given = as_float(saliency, "saliency", network.patterns.xi.dtype)
    given = jnp.broadcast_to(given, (S, P)) if given.shape == (P,) else given
    check_shape(given, "saliency", (S, P), "(sequences, P)")
    return given
