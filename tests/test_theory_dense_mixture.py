"""Memories that are held for a time and then call the next: limits, and networks in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax.theory import dense

POWER = hx.Power(3)
FORCES = {  # the reduced force of a sum of N - 1 signs
    "Power": lambda y, N: y**2,
    "ManyBody": lambda y, N: y**2 - (N - 1),
}


def parts(interaction, X, N):
    """f(X - s) = even - s odd for a sign s."""
    f = FORCES[type(interaction).__name__]
    return (f(X + 1, N) + f(X - 1, N)) / 2, (f(X + 1, N) - f(X - 1, N)) / 2


def network(rng, hold, follow, N, load, m0, steps, share, delay, Q):
    """Overlaps with the first Q memories and correlation with the start, (steps + 1, Q + 1)."""
    xi = rng.choice(np.array([-1, 1], np.float32), (round(load * N**2), N))
    after = np.roll(xi, -1, 0)
    h = xi[0].copy()
    h[rng.choice(N, round(N * (1 - m0) / 2), replace=False)] *= -1
    states = [h] * (delay + 1)
    told = []
    for _ in range(steps + 1):
        h, past = states[-1], states[-1 - delay]
        told.append([*(xi[:Q] @ h / N), states[delay] @ h / N])
        even, odd = parts(hold, xi @ h, N)
        u = share * (even @ xi - h * odd.sum())
        even, odd = parts(follow, xi @ past, N)
        u += (1 - share) * (even @ after - past * (odd @ (xi * after)))
        states.append(np.where(u == 0, h, np.sign(u)).astype(np.float32))
    return told


CASES = {
    # without feedback overlaps with the first memory would be 0.05 lower from t = 2 on, without
    # the correlation of both terms those with the second 0.12 higher at t = 3, and with a feedback
    # of lambda in place of lambda^2 0.11 higher at t = 5
    "half": (POWER, POWER, 0.15, 0.5, 1, [(100, 150), (200, 60)], 4.0),
    "both forces": (POWER, hx.ManyBody(3), 0.08, 0.4, 1, [(160, 60)], 4.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_networks(case):
    hold, follow, load, share, delay, sizes, c = CASES[case]
    options = {"share": share, "delay": delay, "paths": 2**12}
    run = dense.mixture_trajectory(hold, follow, load, 0.9, 6, **options)
    expected = np.concatenate([run.overlap, run.correlation[:, :1]], 1)
    for N, many in sizes:
        runs = [
            network(
                *(np.random.default_rng([N, k]), hold, follow, N, load, 0.9, 6, share, delay),
                run.overlap.shape[1],
            )
            for k in range(many)
        ]
        found, error = np.mean(runs, 0), np.std(runs, 0, ddof=1) / many**0.5
        # c / N for the size, and the error of the theory
        bound = 4 * error + c / N + 0.004
        assert np.all(abs(found - expected) < bound), (N, abs(found - expected) / bound)


def test_either_term_alone():
    """Of equal program, with a share of 1 and of 0."""
    options = {"paths": 2**11, "scrambles": 4}
    still = dense.mixture_trajectory(POWER, POWER, 0.05, 0.8, 6, share=1.0, **options)
    exact = dense.solve_gfa(POWER, 0.05, 0.8, 6, **options)
    bound = 1e-4 + 4 * jnp.hypot(still.error[:, 0], exact.error)
    assert np.all(abs(still.overlap[:, 0] - exact.overlap) < bound)
    assert_close(still.overlap[:, 1:], jnp.zeros((7, 6)), 0.01, "the sampling of signs")
    assert_close(still.feedback, exact.feedback, 0.01, "the error of the responses")
    moving = dense.mixture_trajectory(POWER, POWER, 0.08, 0.8, 6, share=0.0, **options)
    exact = dense.sequence_trajectory(POWER, 0.08, 0.8, 6)
    assert_close(jnp.diagonal(moving.overlap), exact.overlap, 1e-3, "sampling")
    C = dense.sequence_correlation(POWER, 0.08, 0.8, 6)
    assert_close(moving.correlation, C, 0.02, "sampling: 1 / root of 2^11")
    assert not moving.feedback.any()


def test_dwell_is_one_step_longer_than_the_delay():
    """Where noise is weak: the first memory calls at once, as the past is the start."""
    options = {"share": 0.45, "delay": 3, "paths": 2**6, "scrambles": 1}
    run = dense.mixture_trajectory(hx.ManyBody(3), hx.ManyBody(3), 1e-4, 1.0, 10, **options)
    assert run.overlap.argmax(1).tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3]
    assert np.isnan(run.error).all()
    held = options | {"share": 0.55}
    run = dense.mixture_trajectory(hx.ManyBody(3), hx.ManyBody(3), 1e-4, 1.0, 10, **held)
    assert not run.overlap.argmax(1).any()


def test_a_temperature():
    run = dense.mixture_trajectory(POWER, POWER, 0.08, 0.8, 6, share=0.0, beta=3.0, paths=2**11)
    exact = dense.sequence_trajectory(POWER, 0.08, 0.8, 6, beta=3.0)
    assert_close(jnp.diagonal(run.overlap), exact.overlap, 3e-3, "sampling")


def test_it_cannot_be_differentiated_and_is_nan_out_of_range():
    def overlap(share):
        return dense.mixture_trajectory(POWER, POWER, 0.1, 0.8, 2, share=share, paths=2**4).overlap

    with pytest.raises(TypeError, match="no derivative"):
        jax.jacfwd(overlap)(jnp.asarray(0.4))
    assert np.isnan(jax.jit(overlap)(1.1)).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hold": hx.Power(4)}, "of one order, 3 or more, got orders 4 and 3"),
        ({"hold": hx.Quadratic(), "follow": hx.Quadratic()}, "of one order, 3 or more"),
        ({"follow": hx.Exponential()}, "`follow` Exponential has no Gaussian kernel"),
        ({"hold": dense.input_driven_kernel()}, "`hold` of .* cannot be the input-driven"),
        ({"load": 0.0}, "`load` must be > 0"),
        ({"m0": 1.5}, "`m0` must be in"),
        ({"share": 1.5}, "`share` must lie"),
        ({"share": [0.1, 0.2]}, "`share`"),
        ({"delay": -1}, "`delay`"),
        ({"steps": 0}, "`steps`"),
        ({"beta": 0.0}, "`beta` must be > 0"),
        ({"paths": 100}, "power of two"),
    ],
)
def test_bad_input_is_named(change, text):
    given = {"hold": POWER, "follow": POWER, "load": 0.1, "m0": 0.5, "steps": 4, "share": 0.4}
    with pytest.raises(ValueError, match=text):
        dense.mixture_trajectory(**(given | change))
