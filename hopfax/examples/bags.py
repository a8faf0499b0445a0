"""Bags of instances, of which a few decide: multiple-instance learning with a pooling memory.

Two tasks. Bit patterns, as in the example of hopfield-layers (Ramsauer et al. 2021,
arXiv:2008.02217): in half of 2048 bags one of 16 instances of 8 bits is one of 8 signals, which no
other bag has. Repertoires, in the manner of immune repertoires (Widrich et al. 2020,
arXiv:2007.13505), at a size for a laptop: in half of 256 bags 4 of 100 sequences of 12 letters have
a motif of 4 letters.

One query is learned, and retrieves from a bag what tells the two kinds apart: the weights say which
instances decided. Sequences are first read by 24 kernels as long as the motif, of which the largest
response counts. All seeds are trained at once, in one program.

Run it: `python -m hopfax.examples.bags [bits|repertoires] [--epochs 250] [--seeds 3]`. In
`benchmarks.bags` the first task stands beside the original, in turns.
"""

import argparse
import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

from ..nn import HopfieldPooling, inspect

LETTERS, LENGTH, MOTIF, KERNELS = 20, 12, 4, 24


class Bags(NamedTuple):
    """Bags (B, S, d), whether each is of the kind that is looked for (B,), and which instances say
    so (B, S)."""

    data: np.ndarray
    target: np.ndarray
    tells: np.ndarray


def bit_patterns(seed: int, bags: int = 2048, instances: int = 16, bits: int = 8) -> Bags:
    """Bags of bits. As many signals as bits are drawn; one is put into every second bag."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(1, 2**bits))  # no instance is zero
    signals, others = codes[:bits], codes[bits:]
    drawn = rng.choice(others, (bags, instances))
    target, tells = np.arange(bags) % 2 == 0, np.zeros((bags, instances), bool)
    tells[target, rng.integers(0, instances, target.sum())] = True
    drawn[tells] = rng.choice(signals, target.sum())
    data = (drawn[..., None] >> np.arange(bits)) & 1
    return Bags(data.astype(np.float32), target, tells)


def repertoires(seed: int, bags: int = 256, instances: int = 100, carriers: int = 4) -> Bags:
    """Bags of sequences of letters, one-hot, laid end to end: (B, S, LENGTH * LETTERS)."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, LETTERS, (bags, instances, LENGTH))
    motif = rng.permutation(LETTERS)[:MOTIF]
    target, tells = np.arange(bags) % 2 == 0, np.zeros((bags, instances), bool)
    for bag in np.flatnonzero(target):
        for instance in rng.permutation(instances)[:carriers]:
            at = rng.integers(0, LENGTH - MOTIF + 1)
            drawn[bag, instance, at : at + MOTIF] = motif
            tells[bag, instance] = True
    data = np.eye(LETTERS, dtype=np.float32)[drawn].reshape(bags, instances, -1)
    return Bags(data, target, tells)


class Kernels(eqx.Module):
    """Sequences to features: the largest response of each kernel along a sequence."""

    weight: Float[Array, "K _"]

    def __init__(self, *, key: Array):
        self.weight = jr.normal(key, (KERNELS, MOTIF * LETTERS), jnp.float32) / MOTIF**0.5

    def __call__(self, bag: Float[Array, "S _"]) -> Float[Array, "S K"]:
        letters = bag.reshape(bag.shape[0], LENGTH, LETTERS)
        places = [
            letters[:, k : k + MOTIF].reshape(len(bag), -1) for k in range(LENGTH - MOTIF + 1)
        ]
        responses = jnp.stack([place @ self.weight.T for place in places])
        return jax.nn.relu(responses.max(0))


class Judge(eqx.Module):
    """Which kind a bag is of: its logit, by what one learned query retrieves from it."""

    embed: Kernels | None
    pool: HopfieldPooling
    head: eqx.nn.Linear

    def __call__(self, bag: Float[Array, "S _"], key: Any = None) -> Float[Array, ""]:
        items = bag if self.embed is None else self.embed(bag)
        return self.head(self.pool(items, key=key)[0])[0]

    def weights(self, bag: Float[Array, "S _"]) -> Float[Array, " S"]:
        """How much each instance is read, the mean over heads."""
        items = bag if self.embed is None else self.embed(bag)
        return inspect(self.pool, items).weights[:, 0].mean(0)


def judge(task: str, *, key: Array) -> Judge:
    """The model of a task; that of bits has the sizes and the start of the original."""
    keys = jr.split(key, 3)
    options: Any = dict(dtype=jnp.float32, key=keys[0])
    if task == "bits":
        options |= dict(qk_size=8, steps=4, beta=0.25, dropout=0.5)
        options |= dict(initializer=jax.nn.initializers.normal(0.02))
        return Judge(None, HopfieldPooling(1, 8, 8, **options), _head(8, keys[1]))
    pool = HopfieldPooling(1, 4, KERNELS, qk_size=8, norms=(), **options)
    return Judge(Kernels(key=keys[2]), pool, _head(KERNELS, keys[1]))


def _head(size: int, key: Array) -> eqx.nn.Linear:
    return eqx.nn.Linear(size, 1, dtype=jnp.float32, key=key)


class Trained(NamedTuple):
    """Of each epoch: losses and shares that are right, of the bags in training and of those held
    out, (E,); of the last one, how much of the weight is on the instances that say so."""

    model: Judge
    loss: Float[Array, " E"]
    right: Float[Array, " E"]
    held_out: Float[Array, " E"]
    found: Float[Array, ""]


def train(
    model: Judge, bags: Bags, *, epochs: int, batch: int = 32, rate: float = 1e-3, key: Array
) -> Trained:
    """AdamW with PyTorch's weight decay, gradients clipped to norm 1; a quarter of the bags, of
    both kinds, is held out."""
    adam = optax.adamw(rate, weight_decay=0.01)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)
    number = len(bags.target) * 3 // 4 // batch * batch
    x, y = jnp.asarray(bags.data), jnp.asarray(bags.target)
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays, x, y, key):
        made = eqx.combine(arrays, rest)
        logits = jax.vmap(made)(x, jr.split(key, len(x)))
        each = optax.sigmoid_binary_cross_entropy(logits, y.astype(logits.dtype))
        return each.mean(), ((logits > 0) == y).mean()

    def step(carry, xs):
        arrays, state = carry
        places, key = xs
        (value, right), gradient = jax.value_and_grad(loss, has_aux=True)(
            arrays, x[places], y[places], key
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            updates, state = optimizer.update(gradient, state, arrays)
        return (eqx.apply_updates(arrays, updates), state), (value, right)

    def epoch(carry, key):
        keys = jr.split(key, 2)
        places = jr.permutation(keys[0], number).reshape(-1, batch)
        carry, (value, right) = jax.lax.scan(step, carry, (places, jr.split(keys[1], len(places))))
        still = eqx.nn.inference_mode(eqx.combine(carry[0], rest))
        held = ((jax.vmap(still)(x[number:]) > 0) == y[number:]).mean()
        return carry, (value.mean(), right.mean(), held)

    start = arrays, optimizer.init(arrays)
    (arrays, _), of_epochs = jax.lax.scan(epoch, start, jr.split(key, epochs))
    model = eqx.combine(arrays, rest)
    still = eqx.nn.inference_mode(model)
    tells = jnp.asarray(bags.tells[number:])
    on_these = jnp.where(tells, jax.vmap(still.weights)(x[number:]), 0.0)
    found = on_these.sum(1).mean(where=tells.any(1))
    return Trained(model, *of_epochs, found)


#: Bags of a task, epochs, bags of a batch, and rate.
TASKS = {"bits": (bit_patterns, 250, 32, 1e-3), "repertoires": (repertoires, 30, 16, 3e-3)}


def run(task: str, *, epochs: int, seeds: int) -> tuple[Trained, float]:
    """All seeds, of models and of the order of bags; and seconds an epoch and seed, compiled."""
    make, _, batch, rate = TASKS[task]
    bags = make(0)

    @eqx.filter_jit
    @eqx.filter_vmap
    def trained(key):
        keys = jr.split(key)
        model = judge(task, key=keys[0])
        return train(model, bags, epochs=epochs, batch=batch, rate=rate, key=keys[1])

    keys = jr.split(jr.key(0), seeds)
    compiled = trained.lower(keys).compile()
    start = time.perf_counter()
    found = jax.block_until_ready(compiled(keys))
    return found, (time.perf_counter() - start) / epochs / seeds


def main() -> None:
    """One line a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", default="bits", choices=tuple(TASKS))
    parser.add_argument("--epochs", type=int, help="default: 250 of bits, 30 of repertoires")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    epochs = given.epochs or TASKS[given.task][1]
    found, seconds = run(given.task, epochs=epochs, seeds=given.seeds)
    for k in range(given.seeds):
        print(
            f"seed {k}: loss {found.loss[k, -1]:.3f}, right {found.right[k, -1]:.3f} in training, "
            f"{found.held_out[k, -1]:.3f} held out (best {found.held_out[k].max():.3f}); "
            f"weight on what tells {found.found[k]:.2f}"
        )
    print(f"{seconds:.3f} s an epoch and seed")


if __name__ == "__main__":
    main()
