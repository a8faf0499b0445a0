"""What does a softmax memory cost as a layer, beside attention by hand and in PyTorch?

`python -m benchmarks.layers [--threads 1] [--repeats 15] [--only time,memory]`: forward and
backward of `hx.nn.HopfieldRetrieval` in float32, in turns with attention written out in JAX, with
`equinox.nn.MultiheadAttention` and with the PyTorch layers of Ramsauer et al., which must agree.
The latter rows need torch and `pip install git+https://github.com/ml-jku/hopfield-layers`. Then
memory and time of 100,000 items in blocks and at once. Linux.
"""

import argparse
import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ._measure import interleaved, report
from .rivals import pin

#: Examples in a batch, queries, items, features, heads, steps.
SHAPES = {
    "set to itself": (8, 128, 128, 128, 4, 1),
    "few to many": (4, 32, 2048, 64, 4, 1),
    "one big example": (1, 512, 1024, 64, 8, 1),
    "small": (32, 16, 16, 32, 2, 1),
    "pool": (8, 1, 1024, 64, 4, 1),
    "pool of one": (1, 1, 1024, 64, 4, 1),
    "three steps": (8, 128, 128, 128, 4, 3),
}
GATE = 2e-5  # float32, relative to the largest entry


def by_hand(weights: dict, H: int, steps: int, norms: bool, query, memory):
    """Attention of a batch, as one writes it without a library."""

    def norm(name, x):
        if not norms:
            return x
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scale, shift = weights[f"{name}_norm"]
        return (x - mean) / jnp.sqrt(variance + 1e-5) * scale + shift

    def project(name, x):
        weight, bias = weights[f"{name}_proj"]
        return (x @ weight.T + bias).reshape(*x.shape[:2], H, -1)

    q, k = project("query", norm("query", query)), project("memory", norm("memory", memory))
    v = project("value", norm("value", memory))
    for step in range(steps):
        scores = jnp.einsum("bqhd,bshd->bhqs", q, k) / math.sqrt(k.shape[-1])
        last = step == steps - 1
        q = jnp.einsum("bhqs,bshd->bqhd", jax.nn.softmax(scores, -1), v if last else k)
    weight, bias = weights["output_proj"]
    return q.reshape(*query.shape[:2], -1) @ weight.T + bias


def by_layer(layer, query, memory):
    """The same by the library's layer."""
    return jax.vmap(layer)(query, memory)


def by_equinox(layer):
    """Equinox's attention with the weights of a layer without norms."""
    made = eqx.nn.MultiheadAttention(
        layer.num_heads,
        layer.query_size,
        **{f"use_{name}_bias": True for name in ("query", "key", "value", "output")},
        key=jr.key(0),
    )
    ours = (layer.query_proj, layer.memory_proj, layer.value_proj, layer.output_proj)

    def theirs(it):
        return it.query_proj, it.key_proj, it.value_proj, it.output_proj

    return eqx.tree_at(theirs, made, ours)


def with_gradients(function, upstream):
    """What it returns, and the derivatives of all that is given."""

    @jax.jit
    def run(*arguments):
        out, pull = jax.vjp(function, *arguments)
        return out, pull(upstream)

    return run


def parts(layer) -> dict:
    """Weights and biases of the layer's projections and norms, by name."""
    names = [f"{n}_proj" for n in ("query", "memory", "value", "output")]
    names += [f"{n}_norm" for n in ("query", "memory", "value")]
    found = {name: getattr(layer, name) for name in names}
    return {name: (it.weight, it.bias) for name, it in found.items() if it is not None}


def by_torch(layer, steps: int, norms: bool, query, memory, upstream):
    """The PyTorch layers with the same weights: a run that returns what JAX does."""
    import torch
    from hflayers import Hopfield

    on = {
        f"normalize_{name}{affine}": norms
        for name in ("stored_pattern", "state_pattern", "pattern_projection")
        for affine in ("", "_affine")
    }
    options = dict(num_heads=layer.num_heads, update_steps_max=steps - 1, update_steps_eps=1e-30)
    module = Hopfield(input_size=layer.query_size, **options, **on)
    weights = {n: [torch.tensor(np.asarray(x)) for x in wb] for n, wb in parts(layer).items()}
    core, inner = module.association_core, ("query_proj", "memory_proj", "value_proj")
    with torch.no_grad():
        core.in_proj_weight.copy_(torch.cat([weights[n][0] for n in inner]))
        core.in_proj_bias.copy_(torch.cat([weights[n][1] for n in inner]))
        for name, target in (
            ("output_proj", core.out_proj),
            ("query_norm", module.norm_state_pattern),
            ("memory_norm", module.norm_stored_pattern),
            ("value_norm", module.norm_pattern_projection),
        ):
            if name in weights:
                target.weight.copy_(weights[name][0])
                target.bias.copy_(weights[name][1])
    q, y = (torch.tensor(np.asarray(x)).requires_grad_() for x in (query, memory))
    g = torch.tensor(np.asarray(upstream))

    def run():
        for leaf in (q, y, *module.parameters()):
            leaf.grad = None
        out = module((y, q, y))
        out.backward(g)
        return out.detach().numpy(), (q.grad.numpy(), y.grad.numpy())

    return run


def apart(found, expected) -> float:
    """The largest difference over the largest entry, of all arrays."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def timed(name: str, norms: bool, repeats: int) -> dict:
    """One shape: the times of each in turns, and how far they are apart."""
    B, Q, S, d, H, steps = SHAPES[name]
    keys = jr.split(jr.key(0), 4)
    options = dict(norms=("query", "memory", "value") if norms else (), steps=steps)
    layer = hx.nn.HopfieldRetrieval(H, d, **options, key=keys[0])
    query, memory = jr.normal(keys[1], (B, Q, d)), jr.normal(keys[2], (B, S, d))
    upstream = jr.normal(keys[3], (B, Q, d))
    weights = parts(layer)
    ours = with_gradients(by_layer, upstream)
    hand = with_gradients(lambda w, q, y: by_hand(w, H, steps, norms, q, y), upstream)
    runs = {
        "hopfax": partial(ours, layer, query, memory),
        "by hand": partial(hand, weights, query, memory),
    }
    if not norms and steps == 1:
        arrays, rest = eqx.partition(by_equinox(layer), eqx.is_inexact_array)
        attention = with_gradients(
            lambda it, q, y: jax.vmap(eqx.combine(it, rest))(q, y, y), upstream
        )
        runs["equinox"] = partial(attention, arrays, query, memory)
    try:
        runs["hopfield-layers"] = by_torch(layer, steps, norms, query, memory, upstream)
    except ImportError as error:
        print(f"no row of PyTorch: {error.name} is not installed")
    out, gradients = runs["hopfax"]()
    expected = {n: (run()[0], tuple(run()[1][-2:])) for n, run in runs.items() if n != "hopfax"}
    errors = {n: apart((out, gradients[1:]), other) for n, other in expected.items()}
    assert max(errors.values()) < GATE, f"{name}: apart by {errors}"
    times = interleaved(runs, 20 * repeats if name == "small" else repeats)
    for rival, numbers in times.items():
        ratio = numbers["cpu_s"] / times["hopfax"]["cpu_s"]
        row = dict(rival=rival, over_hopfax=ratio, apart=errors.get(rival, 0.0), norms=norms)
        report("layers", shape=name, **row, **numbers)
    return {"shape": name, "norms": norms, "times": times, "errors": errors}


def of_many(S: int, Q: int, block, repeats_of: dict) -> None:
    """Adds to `repeats_of` a compiled run of forward and backward over S items, with its memory."""
    keys = jr.split(jr.key(0), 3)
    layer = hx.nn.HopfieldRetrieval(4, 64, block=block, key=keys[0])
    query, memory = jr.normal(keys[1], (Q, 64)), jr.normal(keys[2], (S, 64))

    def function(layer, query, memory):
        return layer(query, memory)

    run = with_gradients(function, jr.normal(keys[0], (Q, 64)))
    compiled = run.lower(layer, query, memory).compile()
    memory_used = compiled.memory_analysis().temp_size_in_bytes
    repeats_of[(Q, block)] = memory_used, partial(compiled, layer, query, memory)


def main():
    """One JSON line a row, then the tables, in processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="time,memory", help="separated by commas")
    given = parser.parse_args()
    pin(given.threads)
    lines = []
    if "time" in given.only:
        for name in SHAPES:
            for norms in (False, True):
                row = timed(name, norms, given.repeats)
                times = row["times"]
                base = times["hopfax"]["cpu_s"]
                cells = [f"hopfax {1e3 * base:9.3f} ms"]
                cells += [
                    f"{n} {t['cpu_s'] / base:5.2f}" for n, t in times.items() if t["cpu_s"] != base
                ]
                errors = " ".join(f"{e:.1e}" for e in row["errors"].values())
                lines.append(f"{name:<16} norms {norms!s:<5} {' '.join(cells)}  apart {errors}")
    if "memory" in given.only:
        for Q in (1, 16, 256):
            runs = {}
            for block in ("auto", 512, 8192, None):
                of_many(100_000, Q, block, runs)
            # the derivative by a key's bias is zero, so nothing to compare with
            outs = {b: (run()[0], run()[1][1:]) for (_, b), (_, run) in runs.items()}
            gaps = {b: apart(out, outs[None]) for b, out in outs.items()}
            assert max(gaps.values()) < GATE, gaps
            times = interleaved({str(b): run for (_, b), (_, run) in runs.items()}, 5)
            for (_, block), (used, _) in runs.items():
                row = dict(temporary_MB=used / 1e6, apart=gaps[block], **times[str(block)])
                report("layers", items=100_000, queries=Q, block=block, **row)
                seconds = times[str(block)]["cpu_s"]
                lines.append(f"Q {Q:<4} block {block!s:<5} {used / 1e6:8.1f} MB {seconds:8.4f} s")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
