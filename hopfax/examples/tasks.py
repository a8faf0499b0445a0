"""Sequences in which a few tokens matter: selective copying and induction heads.

Each function draws one sequence from a `key`; its sizes are static and `jax.vmap` over keys makes
a batch. The tasks are those of Gu & Dao 2023, arXiv:2312.00752, and, for triggers of several
tokens, of Casti, Zampieri & Pasqualetti 2025, arXiv:2505.17932; the details are those given here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Int

from .._errors import as_key


class Copying(NamedTuple):
    """A sequence to copy from, and what its queries should be answered."""

    tokens: Int[Array, " T"]
    targets: Int[Array, " M"]


class Induction(NamedTuple):
    """A sequence that ends in the trigger, and what followed the trigger the first time."""

    tokens: Int[Array, " T"]
    target: Int[Array, ""]


def selective_copying(key: Array, *, values: int = 8, items: int = 3, context: int = 24) -> Copying:
    r"""Remember the few tokens that are not noise, and say them in order.

    `items` (M) of the `context` (C) places, drawn without replacement, hold values drawn uniformly
    from 1..`values`; the other places hold 0, noise. Then come M queries, all of them the token
    `values` + 1, and at the i-th of them, step C + i, the answer is the i-th value.

    **Returns:** `tokens`, (C + M,), and `targets`, (M,), from 1..`values`, for the last M steps.

    **Raises:** ValueError/TypeError naming the argument.
    """
    _check_size(values, "values", 1)
    _check_size(items, "items", 1)
    _check_size(context, "context", items, "`items` of its places hold values.")
    where, what = jr.split(as_key(key))
    places = jnp.sort(jr.choice(where, context, (items,), replace=False))
    targets = jr.randint(what, (items,), 1, values + 1, jnp.int32)
    queries = jnp.full(items, values + 1, jnp.int32)
    tokens = jnp.zeros(context, jnp.int32).at[places].set(targets)
    return Copying(jnp.concatenate([tokens, queries]), targets)


def induction_head(
    key: Array, *, values: int = 8, trigger: tuple[int, ...] = (0,), length: int = 64
) -> Induction:
    r"""Say what followed the trigger when it came before.

    Tokens are uniform on 0..`values` - 1. The trigger, L tokens, is put at a uniform place p in
    [L, T - 2L - 2] and at the last L of the T = `length` steps; the answer, at the last step, is
    the token at p + L. The sequence is drawn on the condition that the trigger occurs nowhere
    else: for L = 1 by drawing the other tokens from those that are not the trigger, else by drawing
    place and tokens anew until it holds (`induction_attempt`). About
    $\exp(-T / \mathrm{values}^L)$ of the attempts are accepted, so for L > 1 a T of many times
    $\mathrm{values}^L$ takes long. Parts of the trigger do occur by chance, and distract.

    **Arguments:** `trigger`: a tuple of L token numbers. `length` is at least 3L + 2.

    **Returns:** `tokens`, (T,), and `target`, ().

    **Raises:** ValueError/TypeError naming the argument.
    """
    key = as_key(key)
    if len(trigger) == 1:
        return _single(key, values, trigger, length)

    def draw(state):
        again, now = jr.split(state[0])
        example, accepted = induction_attempt(now, values=values, trigger=trigger, length=length)
        return again, example, accepted

    _, example, _ = jax.lax.while_loop(lambda state: ~state[2], draw, draw((key,)))
    return example


def induction_attempt(
    key: Array, *, values: int = 8, trigger: tuple[int, ...] = (0, 1), length: int = 64
) -> tuple[Induction, Bool[Array, ""]]:
    """One sequence with the trigger in its two places, and whether it occurs nowhere else."""
    place = _place(key, values, trigger, length)
    tokens = jr.randint(jr.fold_in(key, 1), (length,), 0, values, jnp.int32)
    example = _planted(tokens, trigger, place)
    starts = length - len(trigger) + 1
    occurs = jnp.ones(starts, bool)
    for offset, token in enumerate(trigger):
        occurs = occurs & (example.tokens[offset : offset + starts] == token)
    return example, occurs.sum() == 2


def _single(key, values, trigger, length) -> Induction:
    place = _place(key, values, trigger, length)
    other = jr.randint(jr.fold_in(key, 1), (length,), 0, values - 1, jnp.int32)
    other = jnp.where(other < trigger[0], other, other + 1)  # all values but the trigger
    return _planted(other, trigger, place)


def _place(key, values, trigger, length) -> Array:
    _check_size(values, "values", 2)
    if not isinstance(trigger, tuple) or not trigger:
        raise TypeError(f"`trigger` must be a tuple of token numbers, got {trigger!r}.")
    L = len(trigger)
    for token in trigger:
        if not isinstance(token, int | np.integer) or not 0 <= token < values:
            raise ValueError(
                f"`trigger` must hold whole numbers from 0 to values - 1 = {values - 1}, "
                f"got {trigger!r}."
            )
    _check_size(length, "length", 3 * L + 2, f"It holds the trigger of {L} twice, and the answer.")
    return jr.randint(jr.fold_in(key, 0), (), L, length - 2 * L - 1)


def _planted(tokens, trigger, place) -> Induction:
    word = jnp.asarray(trigger, jnp.int32)
    tokens = jax.lax.dynamic_update_slice(tokens, word, (place,))
    tokens = tokens.at[tokens.shape[0] - len(trigger) :].set(word)
    return Induction(tokens, tokens[place + len(trigger)])


def _check_size(value, name: str, least: int, hint: str = "") -> None:
    if not isinstance(value, int | np.integer):
        raise TypeError(f"`{name}` must be a Python int, got {type(value).__name__}.")
    if value < least:
        raise ValueError(f"`{name}` must be >= {least}, got {value}. {hint}".rstrip())
