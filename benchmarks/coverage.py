"""How often do intervals contain the truth? `python -m benchmarks.coverage [--seeds 400]`

For each design the same truth is recorded with new errors for every seed and fitted from a start
that is off, all seeds side by side in one compiled program. The table gives the share of seeds in
which the interval of nominal 95 % contains the truth: that on the free scale (`interval`), the one
that is symmetric in the parameter itself, and, for the first seeds, the profile's. The error of a
share is its binomial standard error.
"""

import argparse
import json
import time
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

START = dict(saliency=[4.0, 0.0, 0.0, 0.0])


def network(kappa=5.0, tau=20.0, bias=0.01):
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=kappa, tau=tau, bias=bias
    )


def times_of(net, number):
    run = hx.simulate(net, net.init(**START), jnp.linspace(0.0, 32.0 * number, 3))
    return hx.observables.switch_times(run)[:number]


def by_switches(number, sigma, where):
    """Switch times with independent errors."""
    seen = times_of(network(), number)

    def loss(noise):
        return hx.losses.switch_times(seen + sigma * noise, init=START, sigma=sigma)

    return (number,), loss, where


def by_saliency(end, sigma, where):
    """A trace of all saliencies."""
    ts = jnp.linspace(0.0, end, 40)
    net = network()
    seen = hx.simulate(net, net.init(**START), ts).saliency

    def loss(noise):
        return hx.losses.saliency_path(ts, seen + sigma * noise, init=START, sigma=sigma)

    return (40, 4), loss, where


def all_three(net):
    return net.kappa, net.tau, net.bias


DESIGNS = {
    "kappa, 10 switches, sigma 0.3": by_switches(10, 0.3, lambda net: net.kappa),
    "kappa and tau, 10 switches, sigma 0.3": by_switches(10, 0.3, lambda net: (net.kappa, net.tau)),
    "kappa, tau, bias, 10 switches, sigma 0.3": by_switches(10, 0.3, all_three),
    "kappa, tau, bias, saliencies to 100, sigma 0.05": by_saliency(100.0, 0.05, all_three),
}


def measure(name, seeds, profiles):
    shape, loss, where = DESIGNS[name]
    noise = jax.random.normal(jax.random.key(1), (seeds, *shape))
    truth = np.asarray(jnp.stack(jax.tree.leaves(where(network()))))
    begun = eqx.tree_at(where, network(), replace_fn=lambda value: 1.02 * value)

    def fitted(noise):
        return hx.fit(
            begun,
            loss(noise),
            where=where,
            constraint=hx.constraints.Positive(),
            absolute_sigma=True,
            starts=1,
            derivative="forward",
            progress=False,
        )

    began = time.perf_counter()
    found = eqx.filter_jit(eqx.filter_vmap(fitted))(noise)
    low, high = (np.asarray(end) for end in found.interval(0.95))
    seconds = time.perf_counter() - began
    values, errors = np.asarray(found.values), np.asarray(found.stderr)
    covered = ((low <= truth) & (truth <= high)).mean(0)
    plain = (np.abs(values - truth) <= 1.959964 * errors).mean(0)
    by_profile = np.full((profiles, truth.size), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        for seed in range(profiles):
            one = fitted(noise[seed])
            for k, label in enumerate(one.labels):
                ends = one.profile(label).interval(0.95)
                by_profile[seed, k] = float(ends.low) <= truth[k] <= float(ends.high)
            labels = one.labels
    labels = labels if profiles else fitted(noise[0]).labels
    for k, label in enumerate(labels):
        row = dict(
            design=name,
            parameter=label,
            seeds=seeds,
            interval=round(float(covered[k]), 3),
            symmetric=round(float(plain[k]), 3),
            error=round(float(np.sqrt(0.95 * 0.05 / seeds)), 3),
            profile=round(float(by_profile[:, k].mean()), 3) if profiles else None,
            profiles=profiles,
            median=float(np.median(values[:, k])),
            open=round(float(np.isinf(errors[:, k]).mean()), 3),
            seconds=round(seconds, 1),
        )
        print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--profiles", type=int, default=0, help="seeds whose profile is made")
    parser.add_argument("--only", default="", help="a part of the design's name")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for name in DESIGNS:
        if options.only in name:
            measure(name, options.seeds, options.profiles)


if __name__ == "__main__":
    main()
