"""What a dense memory remembers of its own past: nothing, one earlier state, or a mean of many."""

import abc
from collections.abc import Iterator

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._errors import (
    as_count,
    as_float,
    as_real,
    check_at_least,
    check_finite,
    check_shape,
    shown,
)
from ..._types import ArrayLike, PerNeuron, is_concrete
from .._base import Bound


class AbstractTrace(eqx.Module):
    """The past of a state, and what is felt of it."""

    @property
    def signs(self) -> bool:
        """Whether what is felt is a state of signs, if the states are."""
        return False

    @property
    def present(self) -> bool:
        """Whether what is felt is the state as it is."""
        return False

    def domain(self) -> Iterator[Bound]:
        """The domain of its parameters."""
        yield from ()

    @abc.abstractmethod
    def begun(self, h: PerNeuron) -> Float[Array, "..."]:
        """The past of a state that has not changed for ever."""

    @abc.abstractmethod
    def felt(self, past: Float[Array, "..."], h: PerNeuron) -> PerNeuron:
        """What is felt at the state `h`."""

    @abc.abstractmethod
    def after(self, past: Float[Array, "..."], h: PerNeuron, new: PerNeuron) -> Float[Array, "..."]:
        """The past of the state `new`, which follows `h`."""


class Buffer(AbstractTrace):
    r"""$\bar h(t) = \sum_d w_d\, h(t - d)$ of the last states; without `weights` the earliest."""

    weights: Float[Array, " T"] | None
    steps: int = eqx.field(static=True)

    def __check_init__(self):
        as_count(self.steps, "steps", 0)
        if self.weights is not None:
            check_shape(self.weights, "weights", (self.steps + 1,), "(steps + 1,)")

    @property
    def signs(self):
        return self.weights is None

    @property
    def present(self):
        return self.weights is None and self.steps == 0

    def domain(self):
        if self.weights is not None:
            yield Bound("delay", self.weights)

    def begun(self, h):
        return jnp.broadcast_to(h, (self.steps, *h.shape))

    def felt(self, past, h):
        if self.weights is None:
            return past[-1] if self.steps else h
        return self.weights @ jnp.concatenate([h[None], past])

    def after(self, past, h, new):
        return jnp.concatenate([h[None], past])[: self.steps]


class LowPass(AbstractTrace):
    r"""$\bar h(t + 1) = \bar h(t) + [h(t + 1) - \bar h(t)] / \tau$."""

    tau: Float[Array, ""]

    def domain(self):
        yield Bound("tau", self.tau, 1.0)

    def begun(self, h):
        return h

    def felt(self, past, h):
        return past

    def after(self, past, h, new):
        return past + (new - past) / self.tau


def as_trace(delay: ArrayLike | None, tau: ArrayLike | None, dtype) -> AbstractTrace:
    """What is felt of the past: by a delay, weights of the last states, or a time constant.

    **Raises:** TypeError/ValueError for two of them, or values out of range.
    """
    if delay is not None and tau is not None:
        raise ValueError(
            f"`delay` and `tau` are two kinds of memory of the past; give one of them, got "
            f"{shown(delay)} and {shown(tau)}."
        )
    if tau is not None:
        tau = as_float(tau, "tau", dtype)
        check_shape(tau, "tau", (), "()")
        check_at_least(tau, "tau", 1.0, strict=False)
        return LowPass(tau)
    if delay is None or as_real(delay, "delay").ndim == 0:
        return Buffer(None, 0 if delay is None else as_count(delay, "delay", 0))
    weights = as_float(delay, "delay", dtype)
    if weights.ndim != 1:
        raise ValueError(
            f"`delay` must be a whole number of steps, or weights (T,) of the states 0, 1, ..., "
            f"T - 1 steps ago, got shape {weights.shape}."
        )
    check_finite(weights, "delay")
    if is_concrete(weights) and not jnp.abs(weights).sum() > 0:
        raise ValueError("`delay`: at least one of the weights must differ from zero.")
    return Buffer(weights, len(weights) - 1)
