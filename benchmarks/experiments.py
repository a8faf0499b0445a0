"""How many recordings make a transition matrix known? `python -m benchmarks.experiments`

A network of P memories (`--P 8`) has a dense random matrix A, of which nothing is known but that
its gains are of order one: the prior of kappa A is Gaussian, of standard deviation 5 and mean 0.
One recording after the other is made, saliencies to time 60 with errors of 0.1, and A is fitted to
all of them, until the root mean square error of kappa A is below 5 % of that of kappa A itself. The
candidates are starts in each memory, without a current and with a weak one along one of two other
memories. They are chosen by `hx.designs.next_experiment`, or at random (`--seeds` times each).
"""

import argparse
import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._measure import report
from ._workloads import BIAS

KAPPA, TAU = 5.0, 20.0
TS = jnp.linspace(0.0, 60.0, 13)  # about two dwells
SIGMA = 0.1  # of a saliency
PRIOR = 5.0 / KAPPA  # of an entry of A
CUE = 0.05  # the amplitude of a current, along a memory
GOAL = 0.05


class Recordings(hx.losses.AbstractLoss):
    """A batch of recordings, of which those not yet made hold NaN, and the prior of A.

    The batch has one shape whatever the number of recordings, so that all fits are one program.
    """

    batch: Any

    def __call__(self, network, *, derivative="reverse"):
        seen = hx.losses.each(network, self.batch, derivative=derivative)
        expected = hx.losses.prior(lambda net: net.transition, sigma=PRIOR)
        return jnp.concatenate([seen.ravel(), expected(network)])


def truth(P: int, seed: int) -> hx.TwoTimescaleHopfield:
    """A random cycle, beside which every memory calls all others a little."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(P)
    matrix = rng.uniform(0.0, 0.3, (P, P))
    matrix[np.roll(order, -1), order] += 0.7
    patterns = hx.patterns.hadamard(list(range(1, P + 1)), max(16, 1 << P.bit_length()))
    return hx.TwoTimescaleHopfield(patterns, jnp.asarray(matrix), kappa=KAPPA, tau=TAU, bias=BIAS)


def candidates(network: hx.TwoTimescaleHopfield) -> list[hx.losses.Recording]:
    """What can be recorded: values are not known, and do not matter for a choice."""
    P, found = network.patterns.P, []
    unseen = jnp.zeros((TS.size, P))
    for first in range(P):
        for cue in (None, (first + 1) % P, (first + P // 2) % P):
            current = (0.0 if cue is None else CUE) * jnp.asarray(network.patterns.xi)[cue or 0]
            start = dict(saliency=4.0 * jnp.eye(P)[first])
            found.append(
                hx.losses.saliency_path(TS, unseen, init=start, sigma=SIGMA, current=current)
            )
    return found


def with_values(recording: hx.losses.Recording, values) -> hx.losses.Recording:
    """The same recording, with what was seen."""
    return hx.losses.saliency_path(
        TS, values, init=recording.init, sigma=SIGMA, current=recording.current
    )


def known_after(P: int, seed: int, most: int, designed: bool) -> list[dict]:
    """What is known after each recording, until the goal is reached or `most` are made."""
    true = truth(P, seed)
    offered = candidates(true)
    rng = np.random.default_rng(1000 + seed)
    blank = with_values(offered[0], jnp.full((TS.size, P), jnp.nan))
    model = hx.TwoTimescaleHopfield(
        true.patterns, jnp.zeros((P, P)), kappa=KAPPA, tau=TAU, bias=BIAS
    )
    made, rows = [], []
    gains = KAPPA * np.asarray(true.transition)
    while len(made) < most:
        begin = time.perf_counter()
        if designed:
            plan = hx.designs.next_experiment(
                model, offered, where=lambda net: net.transition, known=made, prior=PRIOR
            )
            choice = plan.chosen[0]
        else:
            choice = int(rng.integers(len(offered)))
        run = offered[choice].run(true)
        assert run.saliency is not None
        seen = run.saliency[jnp.searchsorted(run.ts, TS)]
        made.append(with_values(offered[choice], seen + SIGMA * rng.normal(size=seen.shape)))
        batch = hx.losses.stack(made + (most - len(made)) * [blank])
        found = quiet(
            hx.fit,
            model,
            Recordings(batch),
            where=lambda net: net.transition,
            absolute_sigma=True,
            progress=False,
        )
        model = found.model
        wrong = KAPPA * np.asarray(model.transition) - gains
        error = float(np.sqrt(np.mean(wrong**2) / np.mean(gains**2)))
        assert found.stderr is not None and found.goodness is not None
        pulls = wrong.ravel() / (KAPPA * np.asarray(found.stderr))
        rows.append(
            {
                "recording": len(made),
                "candidate": choice,
                "log_det": float(-np.linalg.slogdet(np.asarray(found.covariance))[1]),
                "error": error,
                "pulls": float(np.sqrt(np.mean(pulls**2))),
                "p_value": float(found.goodness.p_value),
                "seconds": time.perf_counter() - begin,
            }
        )
        if error < GOAL:
            break
    return rows


def quiet(function, *args, **options):
    """A call without warnings, of what is not known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        return function(*args, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--P", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=16, help="recordings at most")
    given = parser.parse_args()
    for seed in range(given.seeds):
        for designed in (True, False):
            kind = "designed" if designed else "random"
            for row in known_after(given.P, seed, given.most, designed):
                report("experiments", P=given.P, seed=seed, choice=kind, **row)
                print(
                    f"P = {given.P}, seed {seed}, {kind}, recording {row['recording']} (candidate "
                    f"{row['candidate']}): log det {row['log_det']:.1f}, error of kappa A "
                    f"{row['error']:.1%}, pulls {row['pulls']:.2f}, p {row['p_value']:.2g}, "
                    f"{row['seconds']:.1f} s",
                    flush=True,
                )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
