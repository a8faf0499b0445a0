"""Does a pooling memory learn what the original does, and how long does an epoch take?

`python -m benchmarks.bags [--epochs 250] [--seeds 3]`: bags of bit patterns
(`hopfax.examples.bags`), with the sizes that the example of hopfield-layers calls adapted, in turns
with that package on the same bags, batches, optimiser and one thread. Needs torch and
`pip install git+https://github.com/ml-jku/hopfield-layers`.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from hopfax.examples import bags as example

from ._measure import report
from .rivals import pin


def ours(bags: example.Bags, epochs: int):
    """A function of a seed: shares of bags held out that are right, by epoch; seconds an epoch."""

    @eqx.filter_jit
    def trained(key):
        keys = jr.split(key)
        model = example.judge("bits", key=keys[0])
        return example.train(model, bags, epochs=epochs, key=keys[1]).held_out

    compiled = trained.lower(jr.key(0)).compile()

    def run(seed: int):
        start = time.process_time()
        right = np.asarray(jax.block_until_ready(compiled(jr.key(seed))))
        return right, (time.process_time() - start) / epochs

    return run


def theirs(bags: example.Bags, epochs: int, batch: int = 32):
    """The same by hopfield-layers."""
    import torch
    from hflayers import HopfieldPooling
    from torch.nn.functional import binary_cross_entropy_with_logits

    number = len(bags.target) * 3 // 4 // batch * batch
    x, y = torch.tensor(bags.data), torch.tensor(bags.target, dtype=torch.float32)

    def run(seed: int):
        torch.manual_seed(seed)
        options = dict(hidden_size=8, num_heads=8, update_steps_max=3, scaling=0.25, dropout=0.5)
        pool = HopfieldPooling(input_size=8, **options)
        model = torch.nn.Sequential(
            pool, torch.nn.Linear(pool.output_size, 1), torch.nn.Flatten(start_dim=0)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        right, start = [], time.process_time()
        for _ in range(epochs):
            model.train()
            for places in torch.randperm(number).reshape(-1, batch):
                loss = binary_cross_entropy_with_logits(model(x[places]), y[places])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            model.eval()
            with torch.no_grad():
                right.append(((model(x[number:]) > 0) == (y[number:] > 0)).float().mean().item())
        return np.array(right), (time.process_time() - start) / epochs

    return run


def main():
    """One JSON line a seed and package, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    pin(1)
    bags = example.bit_patterns(0)
    runs = {"hopfax": ours(bags, given.epochs), "hopfield-layers": theirs(bags, given.epochs)}
    rows: dict = {name: [] for name in runs}
    for seed in range(given.seeds):
        for name, run in runs.items():
            right, seconds = run(seed)
            row = dict(last=float(right[-10:].mean()), best=float(right.max()), epoch_s=seconds)
            report("bags", package=name, seed=seed, epochs=given.epochs, **row)
            rows[name].append(row)
    for name, found in rows.items():
        last, best, epoch = (
            [f"{r[key]:.3f}" for r in found] for key in ("last", "best", "epoch_s")
        )
        print(f"{name:<16} last ten epochs {last}, best {best}, seconds an epoch {epoch}")


if __name__ == "__main__":
    main()
