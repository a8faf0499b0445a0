"""Dense memories: simulations of finite networks against the theory of infinite ones.

Errors are those over realisations of the patterns, which trials share. Starts have an exact number
of wrong neurons. Finite networks retrieve a little worse than infinite ones: by 3/N to 7/N well
inside the basin, by more near its edge.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax.theory import dense as theory


def simulated(interaction, N, load, m0, steps, realisations, trials, **options):
    """Mean overlaps (steps + 1,) and their standard errors over realisations of the patterns.

    Each trial recalls another memory: the noise that a memory feels is the same in all its trials.
    """
    M, flips = round(load * N ** (interaction.order - 1)), round((1 - m0) * N / 2)

    @jax.jit
    def one(key):
        memories, starts, draws = jr.split(key, 3)
        network = hx.DenseMemory(hx.GeneratedPatterns(memories, M, N), interaction, **options)

        def trial(mu, start, draw):
            xi = network.patterns.pattern(mu)
            wrong = jr.permutation(start, N) < flips
            state = hx.SpinState(jnp.where(wrong, -xi, xi))

            def step(state, key):
                new = network.step(state, key=key if network.random else None)
                return new, xi @ new.spins / N

            return jax.lax.scan(step, state, jr.split(draw, steps))[1]

        every = jax.vmap(trial)(
            jnp.arange(trials), jr.split(starts, trials), jr.split(draws, trials)
        )
        return jnp.concatenate([jnp.full(1, 1 - 2 * flips / N), every.mean(0)])

    found = np.stack([one(key) for key in jr.split(jr.key(7), realisations)])
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(realisations)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interaction", "load", "m0"),
    [
        pytest.param(hx.Power(3), 0.05, 0.8, id="power", marks=pytest.mark.long),
        pytest.param(hx.Power(3), 0.08, 0.95, id="power, high load", marks=pytest.mark.long),
        pytest.param(hx.ManyBody(3), 0.06, 0.8, id="3-body"),
    ],
)
def test_trajectories_well_inside_the_basin(interaction, load, m0):
    """N = 1024: within 0.01 for six steps."""
    N = 1024
    m0 = 1 - 2 * round((1 - m0) * N / 2) / N
    found, error = simulated(interaction, N, load, m0, 6, realisations=5, trials=40)
    expected = theory.solve_gfa(interaction, load, m0, 6, paths=2**12)
    assert error.max() < 0.002 and expected.error.max() < 0.001
    assert_close(found, expected.overlap, 0.01, "7/N = 0.007 and four standard errors")


@pytest.mark.parametrize(
    ("interaction", "N", "load", "m0"),
    [
        (hx.Power(3), 300, 0.08, 0.8),
        (hx.ManyBody(3), 300, 0.12, 0.8),
        (hx.Power(4), 96, 0.0133, 0.8),
        (hx.RectifiedPower(3), 300, 0.16, 0.8),
    ],
    ids=["power 3", "3-body", "power 4", "rectified"],
)
def test_the_first_step_at_finite_size(interaction, N, load, m0):
    order = interaction.order
    m0, M = 1 - 2 * round((1 - m0) * N / 2) / N, round(load * N ** (order - 1))
    found, error = simulated(interaction, N, load, m0, 1, realisations=8, trials=100)
    expected = theory.finite_first_step(interaction, N, M, m0)
    assert error[1] < 0.004
    assert_close(found[1], expected, 4 * error[1] + 0.002, "four errors; noise is Gaussian to .002")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interaction", "load"), [(hx.Power(3), 0.08), (hx.ManyBody(3), 0.12)], ids=["power", "3-body"]
)
def test_memory_of_the_past_by_splitting_the_field(interaction, load):
    """Half the difference of xi u(1) between neurons that were right and wrong is Gamma(1, 0)."""
    N, flips, trials = 512, 51, 50
    M = round(load * N**2)

    @jax.jit
    def one(key):
        memories, starts = jr.split(key)
        patterns = hx.GeneratedPatterns(memories, M, N)
        network = hx.DenseMemory(patterns, interaction)

        def trial(mu, key):
            xi = patterns.pattern(mu)
            state = hx.SpinState(jnp.where(jr.permutation(key, N) < flips, -xi, xi))
            u = xi * network.field(network.step(state))
            right = state.spins == xi
            return jnp.where(right, u / (N - flips), -u / flips).sum()

        return jax.vmap(trial)(jnp.arange(trials), jr.split(starts, trials)).mean() / 2

    found = np.stack([one(key) for key in jr.split(jr.key(3), 20)])
    expected = theory.first_steps(interaction, load, 1 - 2 * flips / N, 2).feedback[1, 0]
    assert found.std(ddof=1) / np.sqrt(20) < 0.002
    assert_close(found.mean(), expected, 0.006, "three standard errors, and 1/N = 0.002")


@pytest.mark.slow
def test_quadratic_memories_react_to_each_other():
    """n = 2, N = 2048: within 5e-3 for six steps."""
    N, load, m0 = 2048, 0.1, 0.75
    m0 = 1 - 2 * round((1 - m0) * N / 2) / N
    found, error = simulated(hx.Quadratic(), N, load, m0, 6, realisations=8, trials=40)
    others = (round(load * N) - 1) / N  # the recalled pattern makes no noise
    expected = theory.solve_gfa(hx.Quadratic(), others, m0, 6, paths=2**13)
    assert_close(found, expected.overlap, 4 * error.max() + 3e-3, "errors, 3/N and Monte Carlo")


@pytest.mark.slow
def test_glauber_dynamics():
    beta, N, load, m0 = 4.0, 600, 0.05, 0.8
    m0 = 1 - 2 * round((1 - m0) * N / 2) / N
    found, error = simulated(
        hx.Power(3), N, load, m0, 4, realisations=6, trials=40, beta=jnp.asarray(beta)
    )
    expected = theory.solve_gfa(hx.Power(3), load, m0, 4, beta=beta, paths=2**13)
    assert_close(found, expected.overlap, 4 * error.max() + 7 / N, "four errors and 7/N")


@pytest.mark.slow
def test_graded_neurons():
    """tanh(3 u), n = 3: the overlaps .7849 .8843 .9187 .9334, less a few 1/N."""
    N, load, m0 = 448, 0.06, 0.8
    m0 = 1 - 2 * round((1 - m0) * N / 2) / N
    found, error = simulated(
        hx.Power(3), N, load, m0, 4, realisations=6, trials=40, activation=hx.Tanh(3.0)
    )
    expected = theory.solve_gfa(hx.Power(3), load, m0, 4, activation=hx.Tanh(3.0), paths=2**13)
    assert_close(found, expected.overlap, 4 * error.max() + 4 / N, "four errors and 4/N")


@pytest.mark.slow
def test_input_driven_saliency_at_quadratic_load():
    """alpha = 0.15, stimulus overlap 0.8, start 0.5, N = 384: two steps."""
    N, load = 384, 0.15
    M, flips, wrong = round(load * N**2), 96, 38
    mu, m0, trials = 1 - 2 * wrong / N, 1 - 2 * flips / N, 40

    @jax.jit
    def one(key):
        memories, inputs, starts = jr.split(key, 3)
        patterns = hx.GeneratedPatterns(memories, M, N)
        network = hx.DenseMemory(patterns, hx.Quadratic())

        def trial(mu, *keys):
            xi = patterns.pattern(mu)
            y, h = (
                jnp.where(jr.permutation(key, N) < flipped, -xi, xi)
                for key, flipped in zip(keys, (wrong, flips), strict=True)
            )
            one = network.step(hx.SpinState(h), y)
            two = network.step(one, y)
            return jnp.stack([xi @ spins / N for spins in (h, one.spins, two.spins)])

        keys = jr.split(inputs, trials), jr.split(starts, trials)
        return jax.vmap(trial)(jnp.arange(trials), *keys).mean(0)

    found = np.stack([one(key) for key in jr.split(jr.key(5), 16)])
    error = found.std(0, ddof=1).max() / 4
    kernel = theory.input_driven_kernel()
    expected = theory.first_steps(kernel, load, m0, 2, stimulus_overlap=mu).overlap
    assert error < 0.004
    assert_close(found.mean(0), expected[:3], 4 * error + 2 / N, "four errors and 2/N")


@pytest.mark.slow
def test_first_steps_over_the_whole_domain():
    """200 random networks, from loads at which one step loses nothing to those at which it loses
    all, against the finite theory: each within 5 standard errors over memories drawn anew, and what
    noise of M memories lacks to be Gaussian."""
    rng, ends = np.random.default_rng(7), []
    for _ in range(200):
        N, n = int(rng.integers(60, 140)), int(rng.integers(2, 5))
        make = (hx.Power, hx.ManyBody, hx.RectifiedPower)[int(rng.integers(3 if n > 2 else 2))]
        interaction = make(n)
        wrong = int(rng.integers(0, N // 3))
        m0 = 1 - 2 * wrong / N
        unit = float(theory.kernel(interaction)(jnp.ones(()))) / N ** (n - 1)
        M = int(np.clip(10 ** rng.uniform(-1.3, 0.5) / unit, 40, 3000))
        force = _forces(interaction, N)
        found = []
        for _ in range(24):
            xi = rng.choice([-1, 1], (M, N))
            h = xi[0].copy()
            h[rng.choice(N, wrong, replace=False)] *= -1
            y = (xi @ h)[:, None] - xi * h
            u = (xi * force[(N - 1 - y) // 2]).sum(0)
            found.append(float((np.where(u == 0, h, np.sign(u)) * xi[0]).mean()))
        expected = float(theory.finite_first_step(interaction, N, M, m0))
        error = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found) - expected) < 5 * error + 0.03, (interaction, N, M, m0)
        ends.append(expected)
    assert min(ends) < 0.4 and max(ends) > 0.999


def _forces(interaction, N):
    """Forces at the sums N - 1, N - 3, ... of the other signs, in NumPy."""
    y = np.arange(N - 1, -N, -2).astype(float)
    p = interaction.order - 1
    if isinstance(interaction, hx.ManyBody):
        older, last = np.ones_like(y), y
        for k in range(2, p + 1):
            older, last = last, y * last - (k - 1) * (N - 1 - k + 2) * older
        return last
    return (np.maximum(y, 0) if isinstance(interaction, hx.RectifiedPower) else y) ** p
