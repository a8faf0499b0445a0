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
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

POSITIVE = hx.constraints.Positive()
START = (4.0, 0.0, 0.0, 0.0)
LIVELY = 0.1  # strength of the noise that moves the field
PATH = 7  # the seed of its realisation, which is known


def network(kappa=5.0, tau=20.0, bias=0.01):
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=kappa, tau=tau, bias=bias
    )


def run(ts, **options):
    net = network()
    return hx.simulate(net, net.init(saliency=START), ts, **options)


def saliencies(ts, **options):
    found = run(ts, **options).saliency
    assert found is not None
    return found


class Design(NamedTuple):
    """What is recorded and what is fitted.

    - `truth`: the model that is recorded. `where`: which arrays of it are fitted.
    - `shape`: of the errors of one recording. `loss`: the loss with these errors.
    - `constraint`, `known`: of the fit, and whether it is told the standard deviations.
    """

    truth: Any
    where: Any
    shape: tuple[int, ...]
    loss: Any
    constraint: Any = POSITIVE
    known: bool = True


def by_switches(number, sigma, where, known=True):
    """Switch times with independent errors."""
    seen = hx.observables.switch_times(run(jnp.linspace(0.0, 32.0 * number, 3)))[:number]

    def loss(noise):
        times = seen + sigma * noise
        return hx.losses.switch_times(
            times, init=dict(saliency=START), sigma=sigma if known else 1.0
        )

    return Design(network(), where, (number,), loss, known=known)


def by_saliency(end, sigma, where, constraint: Any = POSITIVE):
    """A trace of all saliencies."""
    ts = jnp.linspace(0.0, end, 40)
    seen = saliencies(ts)

    def loss(noise):
        return hx.losses.saliency_path(
            ts, seen + sigma * noise, init=dict(saliency=START), sigma=sigma
        )

    return Design(network(), where, seen.shape, loss, constraint)


def of_the_start(end, sigma):
    """A trace whose start is not known either."""
    ts = jnp.linspace(0.0, end, 40)
    seen = saliencies(ts)

    def loss(noise):
        def residuals(model):
            net, start = model
            trace = hx.losses.saliency_path(
                ts, seen + sigma * noise, init=dict(saliency=start), sigma=sigma
            )
            return trace(net, derivative="forward")

        return residuals

    where = lambda model: (model[0].kappa, model[1])  # noqa: E731
    return Design((network(), jnp.asarray(START)), where, seen.shape, loss, None)


def of_the_noise(end, sigma):
    """A trace that is moved by a known realisation of noise, whose strength is not known."""
    ts = jnp.linspace(0.0, end, 40)
    key = jax.random.key(PATH)
    seen = saliencies(ts, noise=LIVELY, key=key)

    def loss(noise):
        def residuals(model):
            net, strength = model
            trace = hx.losses.saliency_path(
                ts,
                seen + sigma * noise,
                init=dict(saliency=START),
                sigma=sigma,
                noise=strength,
                key=key,
            )
            return trace(net, derivative="forward")

        return residuals

    where = lambda model: (model[0].kappa, model[1])  # noqa: E731
    return Design((network(), jnp.asarray(LIVELY)), where, seen.shape, loss)


def kappa(net):
    return net.kappa


def two(net):
    return net.kappa, net.tau


def three(net):
    return net.kappa, net.tau, net.bias


def gains(net):
    return net.kappa, net.activation.gain


DESIGNS = {
    "kappa, 10 switches, sigma 0.3": lambda: by_switches(10, 0.3, kappa),
    "kappa, 10 switches, sigma not known": lambda: by_switches(10, 0.3, kappa, known=False),
    "kappa and tau, 10 switches, sigma 0.3": lambda: by_switches(10, 0.3, two),
    "kappa, tau, bias, 10 switches, sigma 0.3": lambda: by_switches(10, 0.3, three),
    "kappa, tau, bias, saliencies to 100, sigma 0.05": lambda: by_saliency(100.0, 0.05, three),
    "kappa and gain, saliencies to 100, sigma 0.05": lambda: by_saliency(100.0, 0.05, gains),
    "kappa and start, saliencies to 100, sigma 0.05": lambda: of_the_start(100.0, 0.05),
    "kappa and noise, saliencies to 100, sigma 0.05": lambda: of_the_noise(100.0, 0.05),
    "A, saliencies to 140, sigma 0.05": lambda: by_saliency(
        140.0, 0.05, lambda net: net.transition, None
    ),
}


def measure(name, seeds, profiles):
    design = DESIGNS[name]()
    noise = jax.random.normal(jax.random.key(1), (seeds, *design.shape))
    truth = np.concatenate([np.ravel(v) for v in jax.tree.leaves(design.where(design.truth))])
    begun = eqx.tree_at(design.where, design.truth, replace_fn=lambda value: 1.02 * value)

    def fitted(noise):
        return hx.fit(
            begun,
            design.loss(noise),
            where=design.where,
            constraint=design.constraint,
            absolute_sigma=design.known,
            starts=1,
            derivative="forward",
            progress=False,
        )

    began = time.perf_counter()
    found = eqx.filter_jit(eqx.filter_vmap(fitted))(noise)
    low, high = (np.asarray(end) for end in found.interval(0.95))
    seconds = time.perf_counter() - began
    values, errors = np.asarray(found.values), np.asarray(found.stderr)
    rows = dict(
        interval=(low <= truth) & (truth <= high),
        symmetric=np.abs(values - truth) <= 1.959964 * errors,
        open=~np.isfinite(high - low),
        poor=np.isnan(errors),
    )
    print(f"{name}: {seeds} seeds in {seconds:.0f} s", flush=True)
    rows["profile"] = by_profile(fitted, noise[:profiles], truth)
    for k, label in enumerate(found.labels):
        row = dict(
            design=name,
            parameter=label,
            seeds=seeds,
            error=round(float(np.sqrt(0.95 * 0.05 / seeds)), 3),
            profiles=profiles,
            median=float(np.median(values[:, k])),
        )
        shares = {
            kind: round(float(inside[:, k].mean()), 3)
            for kind, inside in rows.items()
            if len(inside)
        }
        print(json.dumps(row | shares), flush=True)


def by_profile(fitted, noise, truth):
    """Whether the intervals of profiles contain the truth, one fit after the other."""
    inside = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        for one in map(fitted, noise):
            ends = [one.profile(label).interval(0.95) for label in one.labels]
            low, high = np.asarray([(float(e.low), float(e.high)) for e in ends]).T
            inside.append((low <= truth) & (truth <= high))
    return np.asarray(inside)


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
