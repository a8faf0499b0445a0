"""Dense memories that hold and then follow: simulated networks against the full theory."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx
from hopfax.theory import dense as theory

STEPS, SHARE, DELAY = 9, 0.4, 2


def simulated(interaction, N, load, m0, networks, trials):
    """Mean overlaps (steps + 1, Q) with the memories of a run, and their standard errors over
    networks. Each trial starts at another memory."""
    M, flips = round(load * N**2), round((1 - m0) * N / 2)

    @jax.jit
    def one(key):
        memories, starts = jr.split(key)
        patterns = hx.GeneratedPatterns(memories, M, N)
        network = hx.DenseSequence(patterns, interaction, interaction, share=SHARE, delay=DELAY)

        def trial(mu, key):
            wrong = jr.permutation(key, N) < flips
            xi = jax.vmap(patterns.pattern)(mu + jnp.arange(4))
            state = network.init(jnp.where(wrong, -xi[0], xi[0]))

            def step(state, _):
                return network.step(state), xi @ state.spins / N

            return jax.lax.scan(step, state, length=STEPS + 1)[1]

        return jax.vmap(trial)(10 * jnp.arange(trials), jr.split(starts, trials)).mean(0)

    found = np.stack([one(key) for key in jr.split(jr.key(N), networks)])
    return found.mean(0), found.std(0, ddof=1) / networks**0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interaction", "load", "m0", "N", "c"),
    [
        pytest.param(hx.Power(3), 0.05, 0.9, 200, 6.0, id="below capacity"),
        pytest.param(hx.Power(3), 0.1, 1.0, 200, 10.0, id="above capacity"),
        pytest.param(
            *(hx.Power(3), 0.1, 1.0, 400, 10.0), id="above capacity, larger", marks=pytest.mark.long
        ),
        pytest.param(*(hx.ManyBody(3), 0.12, 1.0, 400, 10.0), id="3-body", marks=pytest.mark.long),
    ],
)
def test_memories_are_held_and_then_left(interaction, load, m0, N, c):
    found, error = simulated(interaction, N, load, m0, networks=8, trials=20)
    options = {"share": SHARE, "delay": DELAY, "paths": 2**11}
    run = theory.mixture_trajectory(interaction, interaction, load, m0, STEPS, **options)
    assert run.overlap.argmax(1).tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 3, 3]
    # c / N for the size, more than for static memories, as each network has moments of its own at
    # which it goes on, and the error of the theory
    bound = 4 * error + c / N + 4 * np.asarray(run.error[:, :4])
    assert np.all(abs(found - run.overlap[:, :4]) < bound), abs(found - run.overlap[:, :4]) / bound
