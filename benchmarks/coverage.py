r"""How often do intervals contain the truth? `python -m benchmarks.coverage [--seeds 400]`

For each design the same truth is recorded with new errors for every seed and fitted from a start
that is off, 50 seeds side by side in one compiled program. The table gives the share of seeds in
which the interval of nominal 95 % contains the truth:

- `linear`: that on the free scale, of a positive parameter its logarithm, as fits side by side
  give it;
- `symmetric`: the one that is symmetric in the parameter itself;
- `ratio`: the set of values whose deviance, with all others fitted again, is below its quantile.
  That is the profile's interval, without a walk to its ends;
- `interval`: that of `FitResult.interval` of a fit by itself, for the first `--singles` seeds. It
  is the linear one or, where the fit finds that the loss is no parabola (`walked` of them), that of
  the profile; `other` counts the seeds in which it and the ratio disagree.

A fit that is poor (by chance one in a thousand is) has no intervals and is counted apart, as is an
entry with an infinite error. The error of a share is its binomial standard error. `pull` is the
standard deviation of estimate minus truth over the claimed error, 1 if errors are right.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

import hopfax as hx
from hopfax._fit._intervals import quantile
from hopfax._fit._profile import Origin, _held
from hopfax._fit._result import straight
from hopfax._fit._steppers import Problem
from hopfax._fit._variables import variables_of

from ._workloads import BIAS

P, N = 4, 16
START = dict(saliency=jnp.array([4.0, 0.0, 0.0, 0.0]))
TOGETHER = 50  # seeds in one program
AWAY = 1.02  # times the truth is where a fit begins


class Design(NamedTuple):
    """The shape of the errors, the model that made the data and the loss of it, and what is fitted,
    under which constraint."""

    shape: tuple[int, ...]
    truth: Any
    seen: Callable  # of the errors, as multiples of a standard deviation: model and loss
    where: Callable
    constraint: Any = None
    absolute: bool = True


def network(kappa=5.0, tau=20.0, bias=BIAS, activation=None, transition=None):
    patterns = hx.patterns.hadamard(P, N)
    transition = hx.cyclic(P) if transition is None else transition
    own = {} if activation is None else dict(activation=activation)
    return hx.TwoTimescaleHopfield(patterns, transition, kappa=kappa, tau=tau, bias=bias, **own)


def by_switches(number, sigma, where, truth=None, absolute=True):
    """Switch times with independent errors."""
    truth = network() if truth is None else truth
    run = hx.simulate(truth, truth.init(**START), jnp.linspace(0.0, 32.0 * number, 3))
    times = hx.observables.switch_times(run)[:number]

    def seen(noise):
        loss = hx.losses.switch_times(times + sigma * noise, init=START, sigma=sigma)
        return truth, loss

    return Design((number,), truth, seen, where, hx.constraints.Positive(), absolute)


def by_path(of, end, sigma, where, truth=None, rows=40, constraint=None, **options):
    """A trace of saliencies, overlaps or fields."""
    truth = network() if truth is None else truth
    ts = jnp.linspace(0.0, end, rows)
    values = getattr(hx.simulate(truth, truth.init(**START), ts), of)
    loss = dict(saliency=hx.losses.saliency_path, overlaps=hx.losses.overlap_path)[of]

    def seen(noise):
        return truth, loss(ts, values + sigma * noise, init=START, sigma=sigma)

    constraint = hx.constraints.Positive() if constraint is None else constraint
    return Design(values.shape, truth, seen, where, constraint, **options)


def with_start(end, sigma):
    """Gain, time constant and the saliencies at the start, from a trace of saliencies."""
    design = by_path("saliency", end, sigma, None)
    start = dict(saliency=jnp.array([4.0, 0.5, 0.3, 0.2]))
    net = design.truth
    ts = jnp.linspace(0.0, end, design.shape[0])
    values = hx.simulate(net, net.init(**start), ts).saliency

    def seen(noise):
        recording = hx.losses.saliency_path(ts, values + sigma * noise, init=start, sigma=sigma)
        return (net, recording), hx.losses.joint

    def where(both):
        return both[0].kappa, both[0].tau, both[1].init["saliency"]

    return Design(design.shape, seen(jnp.zeros(design.shape))[0], seen, where)


def relaxing(what, sigma):
    """Gain of a smooth activation, or strength of the noise along a path that is known, from the
    fields of a network that relaxes."""
    patterns = hx.patterns.hadamard([1, 2, 3], N)
    net = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    start = dict(weights=jnp.array([0.7, 0.35, 0.15]))
    ts, drive = jnp.linspace(0.25, 6.0, 24), {}
    if what == "noise":
        drive = dict(noise=jnp.asarray(0.05), key=jr.key(0))
    run = hx.simulate(net, net.init(**start), jnp.append(0.0, ts), observe=_field, **drive)
    values = run.observed[1:]

    def seen(noise):
        recording = hx.losses.field_path(
            ts, values + sigma * noise, init=start, sigma=sigma, **drive
        )
        return (net, recording), hx.losses.joint

    def where(both):
        gain = both[0].activation.gain
        return (gain, both[1].noise) if what == "noise" else (gain, both[1].init["weights"])

    return Design(values.shape, seen(jnp.zeros(values.shape))[0], seen, where)


def _field(t, state, network):
    return state.field


def dense():
    """A random cycle of four memories, which call all others a little, too."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0.0, 0.3, (P, P)) + 0.7 * np.asarray(hx.cyclic(P))
    return network(transition=jnp.asarray(matrix))


def all_three(net):
    return net.kappa, net.tau, net.bias


def matrix_of(net):
    return net.transition


def loud(std):
    """A network whose neurons are noisy, averaged over the noise."""
    return network(kappa=6.0, activation=hx.GaussianAverage(hx.HardTanh(), std))


ANY = hx.constraints.Unconstrained()
DESIGNS = {
    "kappa, 10 switches, sigma 0.3": lambda: by_switches(10, 0.3, lambda net: net.kappa),
    "kappa and tau, 10 switches, sigma 0.3": lambda: by_switches(
        10, 0.3, lambda net: (net.kappa, net.tau)
    ),
    "kappa and tau, 10 switches, sigma 0.3 unknown": lambda: by_switches(
        10, 0.3, lambda net: (net.kappa, net.tau), absolute=False
    ),
    "kappa, tau, bias, 10 switches, sigma 0.3": lambda: by_switches(10, 0.3, all_three),
    "kappa, tau, bias, saliencies to 100, sigma 0.05": lambda: by_path(
        "saliency", 100.0, 0.05, all_three
    ),
    "gain and tau, saliencies to 100, sigma 0.05": lambda: by_path(
        *("saliency", 100.0, 0.05, lambda net: (net.activation.gain, net.tau)),
        truth=network(activation=hx.HardTanh(1.2)),
    ),
    "gain of tanh and start, fields, sigma 0.02": lambda: relaxing("gain", 0.02),
    "gain of tanh and noise, fields, sigma 0.02": lambda: relaxing("noise", 0.02),
    "noise of the neurons, saliencies to 100, sigma 0.05": lambda: by_path(
        *("saliency", 100.0, 0.05, lambda net: net.activation.std), truth=loud(0.28)
    ),
    "kappa, tau, start, saliencies to 100, sigma 0.05": lambda: with_start(100.0, 0.05),
    "A, saliencies over a round, sigma 0.05": lambda: by_path(
        "saliency", 160.0, 0.05, matrix_of, dense(), 64, ANY
    ),
    "A, saliencies over two dwells, sigma 0.05": lambda: by_path(
        "saliency", 60.0, 0.05, matrix_of, dense(), 64, ANY
    ),
}


def measure(name, seeds, singles):
    """One row for every number that is fitted."""
    design = DESIGNS[name]()
    where = design.where
    noise = jr.normal(jr.key(1), (seeds, *design.shape))
    truth = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(where(design.truth))])

    def fitted(noise):
        model, loss = design.seen(noise)
        away = eqx.tree_at(where, model, replace_fn=lambda value: AWAY * value)
        return hx.fit(
            away,
            loss,
            where=where,
            constraint=design.constraint,
            absolute_sigma=design.absolute,
            starts=1,
            derivative="forward",
            progress=False,
        )

    began = time.perf_counter()
    found = side_by_side(eqx.filter_vmap(fitted), noise)
    low, high = (np.asarray(end) for end in found.interval(0.95))
    seconds = time.perf_counter() - began
    ratio = by_ratio(design, noise, found)
    contained, walked = by_themselves(fitted, noise[:singles], truth)
    values, errors = np.asarray(found.values), np.asarray(found.stderr)
    poor = np.asarray(found.goodness.poor)
    inside = (low <= truth) & (truth <= high)
    q = np.asarray(jax.vmap(lambda left: quantile(0.95, left))(found.scale.left))
    plain = np.abs(values - truth) <= q[:, None] * errors
    for k, label in enumerate(found.labels):
        fine = ~poor & np.isfinite(errors[:, k])
        rows = max(int(fine.sum()), 1)
        pulls = (values[fine, k] - truth[k]) / errors[fine, k]
        row = dict(
            design=name,
            parameter=label,
            truth=round(float(truth[k]), 4),
            seeds=seeds,
            interval=round(float(np.nanmean(contained[:, k])), 3) if singles else None,
            singles=singles,
            walked=walked,
            other=int((contained[:, k] != ratio[:singles, k])[~np.isnan(contained[:, k])].sum()),
            linear=round(float(inside[fine, k].sum() / rows), 3),
            symmetric=round(float(plain[fine, k].sum() / rows), 3),
            ratio=round(float(ratio[fine, k].sum() / rows), 3),
            error=round(float(np.sqrt(0.95 * 0.05 / rows)), 3),
            pull=round(float(pulls.std()), 3) if fine.any() else None,
            median=float(np.median(values[:, k])),
            stderr=float(np.nanmedian(errors[:, k])),
            poor=int(poor.sum()),
            open=int((~poor & ~np.isfinite(errors[:, k])).sum()),
            seconds=round(seconds, 1),
        )
        print(json.dumps(row), flush=True)


def by_themselves(fitted, noise, truth):
    """Whether the intervals of fits made one by one contain the truth, NaN for those that have
    none; and how many of these fits are no parabola."""
    contained, walked = np.full((len(noise), truth.size), np.nan), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        for seed, own in enumerate(noise):
            one = fitted(own)
            low, high = (np.asarray(end) for end in one.interval(0.95))
            fine = ~np.isnan(low)
            contained[seed, fine] = ((low <= truth) & (truth <= high))[fine]
            walked += not straight(one)
    return contained, walked


def side_by_side(function, *rows):
    """A batched function of so many rows at a time that few wait for the slowest."""
    compiled, number = eqx.filter_jit(function), len(rows[0])
    parts = []
    for first in range(0, number, TOGETHER):
        parts.append(compiled(*(row[first : first + TOGETHER] for row in rows)))
        print(f"{min(first + TOGETHER, number)} of {number}", file=sys.stderr, flush=True)
    arrays, rest = zip(*(eqx.partition(part, eqx.is_array) for part in parts), strict=True)
    return eqx.combine(jax.tree.map(lambda *own: jnp.concatenate(own), *arrays), rest[0])


def by_ratio(design, noise, found):
    """Whether the deviance of each true value, with all others fitted again, is below its quantile.
    One row a seed."""
    constraint, where = design.constraint, design.where
    true, _ = ravel_pytree(variables_of(design.truth, where, constraint)[0].start())
    scale = found.scale

    def deviance(noise, free, covariance, least, left):
        model, loss = design.seen(noise)
        variables, _ = variables_of(model, where, constraint)
        origin = Origin(Problem(model, loss, variables, True), None, 1e-6)

        def one(entry):
            own = covariance[entry, entry]
            slope = covariance[entry] / jnp.where(own > 0, own, 1.0)
            slope = jnp.where(jnp.isfinite(slope), slope, 0.0).at[entry].set(1.0)
            start = free + slope * (true[entry] - free[entry])
            return _held(origin, start[None], entry)[0][0]

        unit = jnp.where(jnp.isinf(left), 1.0, 2 * least / left)
        return 2 * (jax.vmap(one)(jnp.arange(true.size)) - least) / unit

    own = (noise, scale.free, scale.covariance, found.loss, scale.left)
    found = side_by_side(jax.vmap(deviance), *own)
    return np.asarray(
        found <= jax.vmap(lambda left: quantile(0.95, left))(scale.left)[:, None] ** 2
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--singles", type=int, default=0, help="seeds that are also fitted alone")
    parser.add_argument("--only", default="", help="parts of names, between |")
    options = parser.parse_args()
    for part in options.only.split("|"):
        for name in DESIGNS:
            if part in name:
                measure(name, options.seeds, options.singles)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
