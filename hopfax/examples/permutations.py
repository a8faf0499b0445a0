"""Hidden permutations, learnt from examples and replayed with the input off.

A permutation of P items, random vectors of signs, makes sequences $x_{k+1} = \\pi(x_k)$. A
`SequenceMemory` that knows the items but not their order sees short stretches of them, a tenth of
the signs wrong, and learns to predict the next item from its saliencies. Then it is given one item
as a cue, and nothing more: it must go round the item's cycle by itself, several times.

Only the transition matrix is trained. Gain and time constant come from the theory of the endless
chain: 1.5 times the critical gain, and a dwell of 1.5 steps of the layer.

Run it: `python -m hopfax.examples.permutations [seeds]`.
"""

import argparse
import math
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from .._simulate import simulate
from ..constraints import Simplex
from ..networks import TwoTimescaleHopfield
from ..nn import ExponentialEuler, SequenceMemory
from ..observables import switch_times
from ..patterns import Patterns
from ..theory.sequential import critical_gain, dwell_time

TAU, DT = 8.0, 10.0
BIAS = 0.005  # those of all memories add up: at 0.03 they derail one loop of 32 items in five
FLIPS = 0.1  # of the signs of an item that is shown
RETRIEVED = 0.5


def make_layer(items: Float[Array, "P N"]) -> SequenceMemory:
    """A layer that knows the items and nothing of their order."""
    P = items.shape[0]
    network = TwoTimescaleHopfield(
        Patterns(items, check_patterns=False),
        jnp.full((P, P), 1 / P),
        kappa=1.5 * critical_gain(),
        tau=TAU,
        bias=BIAS,
        learning="pseudo_inverse",
    )
    return SequenceMemory(
        network, dt=DT, output="saliency", constraint=Simplex(), method=ExponentialEuler(16)
    )


def hidden(key: jax.Array, P: int, *, one_cycle: bool = False) -> Int[Array, " P"]:
    """A random permutation, `next = hidden[item]`; with `one_cycle` one of a single cycle."""
    order = jr.permutation(key, P)
    if not one_cycle:
        return order
    return jnp.zeros(P, order.dtype).at[order].set(jnp.roll(order, -1))


def examples(key: jax.Array, items, following, batch: int, length: int) -> tuple[Array, Array]:
    """Stretches of the sequence as the layer sees them, (batch, length, N), and the numbers of the
    items that come next, (batch, length)."""
    first, noise = jr.split(key)
    shown = [jr.randint(first, (batch,), 0, items.shape[0])]
    for _ in range(length):
        shown.append(following[shown[-1]])
    numbers = jnp.stack(shown, 1)
    clean = items[numbers[:, :-1]]
    return jnp.where(jr.bernoulli(noise, FLIPS, clean.shape), -clean, clean), numbers[:, 1:]


def train(
    key: jax.Array, layer: SequenceMemory, items, following, *, steps: int, batch=16, length=6
) -> tuple[SequenceMemory, Float[Array, " steps"]]:
    """The layer after `steps` of Adam on its transition matrix, and the losses.

    The loss is the cross-entropy of the next item, whose logits are the saliencies.
    """
    optimizer = optax.adam(0.2)

    def with_matrix(free):
        return eqx.tree_at(lambda layer: layer.parameters.transition.free, layer, free)

    def loss(free, shown, target):
        saliency = jax.vmap(with_matrix(free))(shown)
        return optax.softmax_cross_entropy_with_integer_labels(saliency, target).mean()

    def step(carry, key):
        free, state = carry
        value, gradient = jax.value_and_grad(loss)(
            free, *examples(key, items, following, batch, length)
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            update, state = optimizer.update(gradient, state)
        return (optax.apply_updates(free, update), state), value

    start = layer.parameters.transition.free
    (free, _), losses = lax.scan(step, (start, optimizer.init(start)), jr.split(key, steps))
    return with_matrix(free), losses


def replay(layer: SequenceMemory, items, steps: int) -> Float[Array, "P T P"]:
    """Overlaps after each step without input, with each item as a cue before."""
    network, silence = layer.network, jnp.zeros(items.shape[1], items.dtype)

    def alone(cue):
        def go(state, _):
            return layer.step(state, silence)[0], network.overlaps(state)

        state, _ = layer.step(layer.init(), cue)
        return lax.scan(go, state, length=steps)[1]

    return jax.vmap(alone)(items)


def cycles(following: np.ndarray) -> list[int]:
    """Lengths of the cycles of a permutation, the longest first."""
    left, lengths = set(range(len(following))), []
    while left:
        item, size = left.pop(), 1
        while (item := int(following[item])) in left:
            left.remove(item)
            size += 1
        lengths.append(size)
    return sorted(lengths, reverse=True)


def recalled(overlaps: np.ndarray) -> list[int]:
    """The items that were recalled, in order, without repetitions."""
    best, sure = overlaps.argmax(-1), overlaps.max(-1) > RETRIEVED
    path = best[sure].tolist()
    return path[:1] + [new for old, new in zip(path, path[1:], strict=False) if new != old]


def goes_round(overlaps: np.ndarray, following: np.ndarray, cue: int, laps: int) -> bool:
    """Whether a replay follows the permutation from the cue on, for at least `laps` rounds.

    An item that is followed by itself must be recalled until the end.
    """
    path, true = recalled(overlaps), [cue]
    while len(true) < len(path):
        true.append(int(following[true[-1]]))
    size, item = 1, int(following[cue])
    while item != cue:
        size, item = size + 1, int(following[item])
    if size == 1:
        return path == [cue] and bool(overlaps[-1, cue] > RETRIEVED)
    return path == true and len(path) > laps * size


@eqx.filter_jit
def _runs(keys, P: int, N: int, one_cycle: bool, steps: int, length: int):
    def one(key):
        first, second, third = jr.split(key, 3)
        items = jr.rademacher(first, (P, N), jnp.float32)
        following = hidden(second, P, one_cycle=one_cycle)
        layer, losses = train(third, make_layer(items), items, following, steps=steps)
        return layer, losses, items, following, replay(layer, items, length)

    return eqx.filter_vmap(one)(keys)


def run(
    items: int = 8,
    seed: int = 0,
    *,
    seeds: int = 20,
    one_cycle: bool = False,
    steps: int = 100,
    laps: int = 3,
) -> dict[str, Any]:
    """Train `seeds` layers, each on items and a permutation of its own.

    **Returns:** for every seed `recovered`, whether the largest entry of each column of $A$ is the
    permutation's; `replayed`, the share of the items from which, as a cue, the layer goes round the
    item's cycle for at least `laps` laps; `entry`, the smallest of those largest entries; `loss`,
    the last; `cycles`, the lengths of the cycles. Besides, `seconds`, compilation and all, and the
    first `layer`.
    """
    N, length = max(64, 4 * items), math.ceil((laps + 0.5) * items * 1.2 * dwell() / DT)
    begin = time.perf_counter()
    keys = jr.split(jr.key(seed), seeds)
    out = jax.block_until_ready(_runs(keys, items, N, one_cycle, steps, length))
    seconds = time.perf_counter() - begin
    layers, (losses, following, overlaps) = out[0], (np.asarray(out[k]) for k in (1, 3, 4))
    A = np.asarray(eqx.filter_vmap(lambda layer: layer.network.transition)(layers))
    rounds = [
        [goes_round(m[cue], order, cue, laps) for cue in range(items)]
        for m, order in zip(overlaps, following, strict=True)
    ]
    return {
        "recovered": (A.argmax(1) == following).all(1),
        "replayed": np.mean(rounds, axis=1),
        "entry": A.max(1).min(1),
        "loss": losses[:, -1],
        "cycles": [cycles(order) for order in following],
        "seconds": seconds,
        "layer": jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, layers),
    }


def dwell() -> float:
    """How long each item of an endless chain is recalled, by theory."""
    return float(dwell_time(1.5 * critical_gain(), TAU, bias=BIAS))


def simulated_dwell(layer: SequenceMemory) -> float:
    """How long each item is recalled by the network of a trained layer, integrated exactly."""
    network = layer.network
    saliency = jnp.zeros(network.patterns.P, jnp.float32).at[0].set(jnp.mean(network.kappa))
    ts = jnp.asarray([0.0, 20 * dwell()], jnp.float32)
    times = switch_times(simulate(network, network.init(saliency=saliency), ts))
    return float(jnp.nanmean(jnp.diff(times)[4:]))


def main(argv: list[str] | None = None) -> None:
    """Print how often permutations are recovered and replayed."""
    parser = argparse.ArgumentParser(prog="python -m hopfax.examples.permutations")
    parser.add_argument("seeds", nargs="?", type=int, default=20)
    seeds = parser.parse_args(argv).seeds
    if seeds < 1:
        parser.error(f"argument seeds: must be at least 1, got {seeds}")
    print(f"{seeds} seeds; A alone is trained, 100 steps of 16 stretches of 6 items")
    print("items  cycles  recovered  replayed  cues  least entry  loss         s")
    for items, one_cycle in ((8, False), (16, False), (16, True), (32, True)):
        found = run(items, seeds=seeds, one_cycle=one_cycle)
        whole = int((found["replayed"] == 1).sum())
        print(
            f"{items:5d}  {'one' if one_cycle else 'random':6s}  "
            f"{int(found['recovered'].sum()):4d}/{seeds:<4d}  {whole:4d}/{seeds:<4d}"
            f"{found['replayed'].mean():5.0%}  {found['entry'].min():11.3f}  "
            f"{found['loss'].mean():.3f}+-{found['loss'].std():.3f} {found['seconds']:3.0f}",
            flush=True,
        )
    print(
        f"dwell of the last network, alone: {simulated_dwell(found['layer']):.2f}; of an endless "
        f"chain of orthogonal items, by theory: {dwell():.2f} (tau = {TAU:g})"
    )


if __name__ == "__main__":
    main()
