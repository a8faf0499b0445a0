"""Weights chosen by hand, with which `ResidualSelection` solves tasks exactly, at any length.

Nothing is trained. Inputs are one-hot tokens of `hopfax.examples.tasks`.
"""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ..nn import ResidualSelection

#: An argument at which the saturating sigmoid is exactly 0 or 1; it is so beyond 2.4.
SURE = 5.0
#: Inverse temperature: a slot whose count is off by one gets exp(-50).
BETA = 50.0
#: Logarithm of the rate of forgetting: 1e-13 a step.
NEVER = -30.0


def selective_copying(values: int = 8, items: int = 3, **options: Any) -> ResidualSelection:
    """A layer that copies: tokens (T, `values` + 2) to logits (T, `values`).

    The detector for writing accepts content, the one for reading queries. So the i-th content goes
    to slot i, and the i-th query reads slot i.

    **Arguments:** `options`: those of `ResidualSelection`, as `mode`.
    """
    layer = _blank(values + 2, values, slots=items, taps=1, **options)
    content = jnp.eye(values, values + 2, 1, layer.bank.value.dtype)
    query = jnp.zeros(values + 2, content.dtype).at[values + 1].set(2 * SURE)
    layer = _accepting(layer, "write", 2 * SURE * content.sum(0)[None], -SURE)
    layer = _accepting(layer, "read", query[None], -SURE)
    return _storing(layer, content)


def induction_head(
    values: int = 8, trigger: tuple[int, ...] = (0,), **options: Any
) -> ResidualSelection:
    r"""A layer that remembers what followed the trigger: tokens (T, `values`) to logits.

    The detector for writing is the parity relation $r_k = L - \sum_j 1[u_{k-L-1+j} = w_j]$, which
    is zero if and only if the L tokens before the present one are the trigger, and 1 or more
    otherwise. Reading is always on.

    **Arguments:** `options`: those of `ResidualSelection`, as `mode`.
    """
    L = len(trigger)
    layer = _blank(values, values, slots=1, taps=L + 1, **options)
    tokens = jnp.eye(values, dtype=layer.bank.value.dtype)
    word = jnp.concatenate([jnp.zeros_like(tokens[:1]), tokens[jnp.array(trigger[::-1])]])
    layer = _accepting(layer, "write", 2 * SURE * word, 2 * SURE * (0.5 - L))
    layer = _accepting(layer, "read", jnp.zeros_like(word), SURE)
    return _storing(layer, tokens)


def _blank(inputs: int, outputs: int, **options: Any) -> ResidualSelection:
    """A layer whose weights are all to be set."""
    options = {"inference": True, **options}  # nothing is trained
    return ResidualSelection(inputs, outputs, width=outputs, **options, key=jr.key(0))


def _accepting(layer, name: str, taps, bias: float):
    """The layer with a selector that accepts where taps * u + bias is positive, and does not
    forget."""

    def parts(layer):
        selector = getattr(layer, name)
        return (
            selector.detector.taps,
            selector.bias,
            selector.log_beta,
            selector.counter.log_rate,
        )

    numbers = (jnp.asarray(x, taps.dtype) for x in (bias, math.log(BETA), NEVER))
    return eqx.tree_at(parts, layer, (taps[None], *numbers))


def _storing(layer, value):
    """The layer with a bank that keeps `value` times the inputs, and reads it out as it is."""

    def parts(layer):
        return layer.bank.value, layer.bank.memory.log_rate, layer.bank.readout

    rates = jnp.full_like(layer.bank.memory.log_rate, NEVER)
    return eqx.tree_at(parts, layer, (value, rates, jnp.eye(value.shape[0], dtype=value.dtype)))
