"""Are posteriors right? Ranks over many seeds: `python -m benchmarks.posteriors [--seeds 200]`

Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): a truth is drawn from the prior,
data from the truth, and draws from the posterior that `hopfax.log_density` gives. The rank of the
truth among the draws is then uniform. The draws are those of a Gaussian around the best parameters,
half as wide again as the least-squares errors, resampled by their importance weights.
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
MEAN, SIGMA = np.array([5.5, 20.0]), np.array([0.5, 2.0])  # of the prior
NUMBER, NOISE = 4, 0.5  # switches, and the standard deviation of their times
MANY, FEW = 400, 99  # draws of a Gaussian, and of the posterior
STEPS, WIDER = 8, 1.5  # Gauss-Newton steps to it, and its width in standard errors
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
    """The loss of some times with a Gaussian prior of kappa and tau each, and its density."""
    loss = hx.losses.switch_times(seen, init=START, sigma=NOISE)
    loss = loss + hx.losses.prior(lambda net: net.kappa, MEAN[0], sigma=SIGMA[0])
    loss = loss + hx.losses.prior(lambda net: net.tau, MEAN[1], sigma=SIGMA[1])
    positive = hx.constraints.Positive()
    return loss, hx.log_density(network(MEAN), loss, where=where, constraint=positive)


def proposal(loss, start):
    """Where Gauss-Newton steps of the loss lead, in logarithms, and a root of the precision."""

    def residuals(u):
        out = loss(network(jnp.exp(u)), derivative="forward")
        return out, out

    def step(u, _):
        J, r = jax.jacfwd(residuals, has_aux=True)(u)
        return u - jnp.linalg.solve(J.T @ J, J.T @ r), (u, J)

    _, (path, slopes) = jax.lax.scan(step, start, None, length=STEPS)
    return path[-1], jnp.linalg.cholesky(slopes[-1].T @ slopes[-1]) / WIDER


def ranked(key):
    """Of one seed: the ranks of kappa and tau among draws of the posterior, and how many
    independent draws the weighted ones are worth."""
    keys = jr.split(key, 4)
    truth = MEAN + SIGMA * jr.normal(keys[0], (2,))
    loss, density = posterior(recorded(truth, keys[1]))
    middle, root = proposal(loss, density.start)
    unit = jr.normal(keys[2], (MANY, 2))
    draws = middle + jax.scipy.linalg.solve_triangular(root.T, unit.T).T
    heights = jax.lax.map(density, draws, batch_size=MANY)
    weights = jax.nn.softmax(heights + jnp.square(unit).sum(1) / 2)
    taken = jr.choice(keys[3], MANY, (FEW,), p=weights)
    below = (jnp.exp(draws[taken]) < truth).sum(0)
    return below, 1 / jnp.square(weights).sum()


def ranks(seeds, key=0):
    """The ranks (seeds, 2), 0 to 99, and the effective numbers of draws."""
    keys = jr.split(jr.key(key), seeds)
    below, effective = jax.jit(lambda keys: jax.lax.map(ranked, keys, batch_size=10))(keys)
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
    for k, parameter in enumerate(("kappa", "tau")):
        p, counts = p_value(below[:, k])
        row = dict(
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
