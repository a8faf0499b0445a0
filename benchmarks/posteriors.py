"""Are posteriors right? Ranks over many seeds: `python -m benchmarks.posteriors [--seeds 200]`

Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): a truth is drawn from the
prior, and data from the truth. The share of the posterior of `hopfax.log_density` that lies below
the truth is then uniform over seeds. The posterior is sampled by the Laplace approximation, half as
wide again as it is, whose draws are weighted by the density. p-values are those of chi-squared
tests of ten equal bins.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats

import hopfax as hx

from ._measure import report

START = dict(saliency=[5.0, 0.0, 0.0, 0.0])
MEAN, SIGMA = np.array([5.5, 20.0]), np.array([0.5, 2.0])  # of the prior
NUMBER, NOISE = 4, 0.5  # switches, and the standard deviation of their times
DRAWS, WIDER = 1000, 1.5  # of the Gaussian, and its width in standard deviations of Laplace's
BINS = 10


def where(net):
    """What is fitted."""
    return net.kappa, net.tau


# Functions of the module: with one made for each posterior, each would be compiled anew.
PRIORS = (lambda net: net.kappa), (lambda net: net.tau)


def network(values) -> hx.TwoTimescaleHopfield:
    """A cycle of four memories with this gain and time constant."""
    net = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.5, tau=20.0, bias=0.01
    )
    return eqx.tree_at(where, net, tuple(jnp.asarray(values)))


def posterior(seen) -> hx.LogDensity:
    """The density of gain and time constant, given some times and Gaussian priors."""
    loss = hx.losses.switch_times(seen, init=START, sigma=NOISE)
    for of, mean, sigma in zip(PRIORS, MEAN, SIGMA, strict=True):
        loss = loss + hx.losses.prior(of, mean, sigma=sigma)
    positive = hx.constraints.Positive()
    return hx.log_density(network(MEAN), loss, where=where, constraint=positive)


def below(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Of one seed: how much of the posterior of each parameter lies below the truth, and how many
    independent draws the weighted ones are worth."""
    truth = MEAN + SIGMA * rng.standard_normal(2)
    net = network(truth)
    run = hx.simulate(net, net.init(**START), jnp.array([0.0, 400.0]))
    times = np.asarray(run.switches.time)[:NUMBER] + NOISE * rng.standard_normal(NUMBER)
    density = posterior(times)
    gaussian = density.laplace()
    wide = eqx.tree_at(lambda g: g.covariance, gaussian, WIDER**2 * gaussian.covariance)
    draws = wide.draws(jr.key(int(rng.integers(2**31))), DRAWS)
    logs = np.asarray(jax.vmap(density)(draws) - jax.vmap(wide)(draws))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    return weights @ (np.exp(np.asarray(draws)) < truth), 1 / float(np.square(weights).sum())


def shares(seeds: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The shares below the truths, (seeds, 2), and the effective numbers of draws."""
    rng = np.random.default_rng(seed)
    found = [below(rng) for _ in range(seeds)]
    return np.array([share for share, _ in found]), np.array([number for _, number in found])


def p_value(share: np.ndarray) -> tuple[float, np.ndarray]:
    """Of the chi-squared test of uniform shares, and the counts in the bins."""
    counts = np.histogram(share, BINS, (0.0, 1.0))[0]
    return float(stats.chisquare(counts).pvalue), counts


def main() -> None:
    """Print a row for each parameter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    began = time.perf_counter()
    share, effective = shares(options.seeds)
    for k, parameter in enumerate(("kappa", "tau")):
        p, counts = p_value(share[:, k])
        report(
            "posteriors",
            parameter=parameter,
            seeds=options.seeds,
            p=round(p, 4),
            counts=counts.tolist(),
            draws=round(float(np.median(effective)), 1),
            fewest=round(float(effective.min()), 1),
            seconds=round(time.perf_counter() - began, 1),
        )


if __name__ == "__main__":
    main()
