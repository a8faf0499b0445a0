"""Dense memories in continuous time: the theory against closed forms and against networks that are
integrated here by the same scheme, whatever its time step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax.theory import dense

UNITS = {"activation": hx.Tanh(3.0), "paths": 2**11}


def network(rng, order, N, M, weight, spread, d, steps):
    """Overlap with the first memory, mean square and correlation with the start, (steps + 1, 3)."""
    xi = rng.choice(np.array([-1, 1], np.float32), (M, N))
    kept, slope = np.exp(-d), (np.exp(-d) - 1 + d) / d
    x = weight * xi[0] + spread * rng.standard_normal(N)
    start = np.tanh(3 * x)
    before, told = None, []
    for _ in range(steps + 1):
        h = np.tanh(3 * x).astype(np.float32)
        m = xi @ h / N
        told.append([m[0], h @ h / N, h @ start / N])
        u = m ** (order - 1) @ xi
        x = kept * x + (1 - kept) * u + (0 if before is None else slope * (u - before))
        before = u
    return told


def networks(order, N, load, weight, spread, d, steps, many):
    """Means over networks, each with patterns of its own, and their standard errors."""
    M = round(load * N ** (order - 1)) + (order == 2)  # the recalled one makes no noise
    runs = [
        network(np.random.default_rng([N, k]), order, N, M, weight, spread, d, steps)
        for k in range(many)
    ]
    return np.mean(runs, 0), np.std(runs, 0, ddof=1) / many**0.5


CASES = {
    "order 2, below capacity": (2, 0.08, 0.4, 0.0, [(500, 40), (2000, 10)], 5.0),
    "order 2, above capacity": (2, 0.3, 0.3, 0.5, [(500, 80), (2000, 20)], 5.0),
    "order 3, below capacity": (3, 0.05, 0.6, 0.0, [(100, 40), (200, 15)], 2.0),
    "order 3, above capacity": (3, 0.15, 0.5, 0.5, [(100, 80), (200, 20)], 4.0),
    "order 3, no memory recalled": (3, 0.2, 0.0, 0.5, [(100, 200), (200, 80)], 1.0),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_networks_by_the_same_scheme(case):
    """Four time constants in 16 steps. Without the coupling of neurons to themselves the mean
    square of the last case would end at 0.80, not at 0.917."""
    order, load, weight, spread, sizes, c = CASES[case]
    interaction = hx.Quadratic() if order == 2 else hx.Power(order)
    run = dense.solve_flow(interaction, load, weight, 4.0, 16, spread=spread, **UNITS)
    square = jnp.diagonal(run.correlation)
    expected = np.stack([run.overlap, square, run.correlation[:, 0]], 1)
    for N, many in sizes:
        found, error = networks(order, N, load, weight, spread, 0.25, 16, many)
        # c / N for the size, and the error of the theory
        bound = 4 * error + c / N + 4 * np.asarray(run.error)[:, None] + 1e-3
        assert np.all(abs(found - expected) < bound), (N, abs(found - expected) / bound)


def test_overlap_rises_and_falls_again_above_capacity():
    """The transient recovery of Clark 2025, at twice the capacity of order 2."""
    run = dense.solve_flow(hx.Quadratic(), 0.3, 0.3, 8.0, 32, spread=0.5, **UNITS)
    m = np.asarray(run.overlap)
    top = m.argmax()
    assert 4 < top < 12 and m[top] > m[0] + 0.2 and m[-1] < m[top] - 0.1
    np.testing.assert_allclose(run.ts, np.linspace(0, 8, 33), rtol=1e-12)


def spectrum(load, f):
    r"""The mean of f over the eigenvalues of $\sum_\mu \xi^\mu \xi^{\mu T} / N$: the law of
    Marchenko and Pastur, and zeros. By the midpoint rule in the angle, exact to rounding."""
    angle = (np.arange(2000) + 0.5) * np.pi / 2000
    half = 2 * load**0.5
    eigenvalue = 1 + load - half * np.cos(angle)
    weight = (half * np.sin(angle)) ** 2 / (2 * np.pi * eigenvalue) * np.pi / 2000
    return weight @ f(eigenvalue) + (1 - weight.sum()) * f(0.0)


def test_linear_network_has_the_exponentials_of_its_couplings():
    """HardTanh far from its kinks at order 2, with the couplings of neurons to themselves."""
    load, T, off = 0.3, 2.0, []
    growth = {
        time: spectrum(load, lambda k, time=time: np.exp((k - 1) * time)) for time in (1, 2, 4)
    }
    for steps in (10, 20):
        run = dense.solve_flow(hx.Quadratic(), load, 0.0, T, steps, spread=1e-3, paths=2**10)
        C, G = run.correlation / run.correlation[0, 0], run.response
        ends = [C[-1, -1], C[-1, 0], G[-1, steps // 2], 2 * G[-1, 0]]  # a field at 0 counts 1/2
        off.append(np.asarray(ends) / [growth[4], growth[2], growth[1], growth[2]] - 1)
    coarse, fine = np.abs(off)
    # of second order: the error of twice as many steps is a quarter, up to the next order
    assert np.all(fine < 0.06) and np.all(fine < coarse / 3)


def test_derivatives_are_those_of_the_estimate():
    def overlap(load, weight, spread, horizon, gain):
        units = {"activation": hx.Tanh(gain), "paths": 2**6, "scrambles": 2}
        run = dense.solve_flow(hx.Power(3), load, weight, horizon, 8, spread=spread, **units)
        return run.overlap[-1]

    at = [jnp.asarray(value) for value in (0.06, 0.3, 0.3, 2.0, 3.0)]
    run = jax.jit(jax.value_and_grad(overlap, argnums=tuple(range(5))))
    for i, slope in enumerate(run(*at)[1]):
        up, down = list(at), list(at)
        up[i], down[i] = at[i] * (1 + 1e-5), at[i] * (1 - 1e-5)
        difference = (run(*up)[0] - run(*down)[0]) / (2e-5 * at[i])
        # step^2, and rounding over the step and over the share of new noise
        np.testing.assert_allclose(slope, difference, rtol=1e-4)


def test_hard_tanh_refuses_to_be_differentiated():
    def overlap(load):
        return dense.solve_flow(hx.Power(3), load, 0.5, 1.0, 4, paths=2**6).overlap[-1]

    with pytest.raises(TypeError, match="no derivative"):
        jax.grad(overlap)(jnp.asarray(0.1))


def test_float32_is_enough():
    runs = []
    for dtype in (jnp.float32, jnp.float64):
        at = [jnp.asarray(value, dtype) for value in (0.08, 0.4, 8.0)]
        runs.append(dense.solve_flow(hx.Quadratic(), *at, 64, activation=hx.Tanh(3.0), paths=2**8))
    single, double = runs
    assert {part.dtype for part in single} == {jnp.dtype("float32")}
    assert_close(single.overlap, double.overlap, 1e-4, "the share of noise that is added")


def test_values_out_of_range_under_jit_are_nan():
    run = jax.jit(lambda load: dense.solve_flow(hx.Power(3), load, 0.5, 1.0, 4, paths=2**6))(-0.1)
    assert all(np.isnan(part).all() for part in run)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"interaction": hx.Power(4)}, ValueError, "`interaction` must be Quadratic"),
        ({"interaction": hx.RectifiedPower(3)}, ValueError, "`interaction` must be Quadratic"),
        ({"interaction": hx.ManyBody(3)}, ValueError, "`interaction` must be Quadratic"),
        ({"interaction": hx.Exponential()}, ValueError, "no Gaussian kernel"),
        ({"load": 0.0}, ValueError, "`load` must be > 0"),
        ({"spread": -0.1}, ValueError, "`spread` must be >= 0"),
        ({"horizon": 0.0}, ValueError, "`horizon` must be > 0"),
        ({"steps": 0}, ValueError, "`steps`"),
        ({"weight": 0.0}, ValueError, "`weight` or `spread` must not be 0"),
        ({"weight": [0.1, 0.2]}, ValueError, "`weight`"),
        ({"paths": 100}, ValueError, "power of two"),
    ],
)
def test_bad_input_is_named(change, error, text):
    given = {"interaction": hx.Power(3), "load": 0.1, "weight": 0.5, "horizon": 1.0, "steps": 4}
    with pytest.raises(error, match=text):
        dense.solve_flow(**(given | change))
