"""Are posteriors right? Ranks over many seeds: `python -m benchmarks.posteriors [--seeds 200]`

Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): a truth is drawn from the prior,
data from the truth, and draws from the posterior that `hopfax.log_density` gives. The rank of the
truth among the draws is then uniform. The draws are those of the Laplace approximation, resampled
by their importance weights; without weights the ranks show how good the approximation is by itself.
The p-values are those of chi-squared tests of ten equal bins.
"""

import argparse
import json
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats

import hopfax as hx

START = dict(saliency=[5.0, 0.0, 0.0, 0.0])
MEAN, SIGMA = jnp.array([5.5, 20.0]), jnp.array([0.5, 2.0])
NUMBER, NOISE = 4, 0.5  # switches, and the standard deviation of their times
MANY, FEW = 1000, 99  # draws of the approximation, and of the posterior
BINS = 10


def where(net):
    return net.kappa, net.tau


def network(values):
    net = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.5, tau=20.0, bias=0.01
    )
    return eqx.tree_at(where, net, tuple(values))


def recorded(truth, key):
    """Switch times of a truth, with errors."""
    net = network(truth)
    run = hx.simulate(net, net.init(**START), jnp.array([0.0, 400.0]), throw=False)
    return run.switches.time[:NUMBER] + NOISE * jr.normal(key, (NUMBER,))


def posterior(seen):
    """The density of kappa and tau, which are positive, with a Gaussian prior each."""
    loss = hx.losses.switch_times(seen, init=START, sigma=NOISE)
    loss = loss + hx.losses.prior(lambda net: net.kappa, MEAN[0], sigma=SIGMA[0])
    loss = loss + hx.losses.prior(lambda net: net.tau, MEAN[1], sigma=SIGMA[1])
    net = network(MEAN)
    return hx.log_density(net, loss, where=where, constraint=hx.constraints.Positive())


def ranked(key):
    """Of one seed: the ranks of kappa and tau by weighted and by plain draws, and the effective
    number of the weighted ones."""
    keys = jr.split(key, 4)
    truth = MEAN + SIGMA * jr.normal(keys[0], (2,))
    density = posterior(recorded(truth, keys[1]))
    gaussian = density.laplace()
    draws = gaussian.draws(keys[2], MANY)
    off = jax.lax.map(lambda u: density(u) - gaussian(u), draws, batch_size=MANY)
    weights = jax.nn.softmax(off)
    taken = jr.choice(keys[3], MANY, (FEW,), p=weights)
    found = jnp.exp(draws)
    below = [(found[rows] < truth).sum(0) for rows in (taken, jnp.arange(FEW))]
    return jnp.stack(below), 1 / jnp.square(weights).sum()


def ranks(seeds, key=0):
    """The ranks (seeds, 2, 2), 0 to 99, and the effective numbers of draws."""
    keys = jr.split(jr.key(key), seeds)
    below, effective = jax.jit(lambda keys: jax.lax.map(ranked, keys, batch_size=50))(keys)
    return np.asarray(below), np.asarray(effective)


def p_value(below):
    """Of the chi-squared test of uniform ranks."""
    counts = np.bincount(below * BINS // (FEW + 1), minlength=BINS)
    return float(stats.chisquare(counts).pvalue), counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    began = time.perf_counter()
    below, effective = ranks(options.seeds)
    for d, draws in enumerate(("weighted", "laplace alone")):
        for k, parameter in enumerate(("kappa", "tau")):
            p, counts = p_value(below[:, d, k])
            row = dict(
                draws=draws,
                parameter=parameter,
                seeds=options.seeds,
                p=round(p, 4),
                counts=counts.tolist(),
                failed=int(np.isnan(effective).sum()),
                effective=round(float(np.nanmedian(effective)), 1),
                least=round(float(np.nanmin(effective)), 1),
                seconds=round(time.perf_counter() - began, 1),
            )
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
