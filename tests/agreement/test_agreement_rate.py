"""Rate memories: what the theory says of stability and equilibria, and what runs do."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx

rate = hx.theory.rate


def test_the_theory_finds_the_same_design():
    """alpha, beta, gamma of the theory beside the network's factors."""
    phi = hx.Logistic()
    network = hx.RateMemory(hx.patterns.sunflower(5, 0.2, 0.4, 100), learning="covariance")
    made, wiring = rate.design(phi, -0.3, 0.95, 0.2, 0.4), network.wiring()
    assert_close(wiring.background, made.gamma, 1e-12, "rounding")
    assert_close(wiring.lift, np.full(5, -made.beta), 1e-12, "rounding")
    assert_close(wiring.step * wiring.read, made.alpha * np.eye(5), 1e-11, "rounding")
    flat = hx.RateMemory(hx.patterns.balanced(0.2, 100)).wiring()
    assert_close(flat.background, rate.design(phi, -0.3, 0.95, 0.2).gamma, 1e-12, "rounding")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [hx.Logistic, hx.RectifiedTanh, hx.HardSigmoid])
def test_a_memory_survives_a_perturbation_where_its_eigenvalues_say_so(kind):
    """Random designs: perturbed by 1e-3 and left alone till t = 40. Marginal ones, |lambda| < 0.15
    or a current within 0.02 of a kink, are not judged."""
    patterns = hx.patterns.balanced(0.2, 100)
    keys = jr.split(jr.key(0), 5)
    gain, threshold, a, width = (
        jr.uniform(key, (200,), minval=low, maxval=high)
        for key, (low, high) in zip(
            keys, [(1.5, 8.0), (0.0, 0.8), (-0.4, 0.2), (0.4, 1.2)], strict=False
        )
    )
    b = a + width
    shift = 1e-3 * jr.normal(keys[4], (100,))

    def one(gain, threshold, a, b):
        network = hx.RateMemory(patterns, a=a, b=b, activation=kind(gain, threshold))
        memory = network.init(weights=jnp.eye(6)[0]).rates
        start = network.init(rates=memory + shift)
        run = hx.simulate(network, start, jnp.array([0.0, 40.0]), method=hx.Diffrax(), throw=False)
        far = jnp.linalg.norm(run.final.rates - memory)
        verdict = rate.phase(gain, threshold, a, b, 0.2, kind)
        return far / jnp.linalg.norm(shift), verdict.eigenvalue, verdict.storage, run.status

    far, leading, regime, status = map(np.asarray, jax.jit(jax.vmap(one))(gain, threshold, a, b))
    kinks = np.stack([threshold, threshold + 1 / gain]) if kind is not hx.Logistic else np.zeros(0)
    near = np.zeros(200, bool)
    for kink in kinks:
        near |= (np.abs(a - kink) < 0.02) | (np.abs(b - kink) < 0.02)
    judged = (regime >= 0) & (np.abs(leading) > 0.15) & ~near
    stable = regime >= 1
    assert (status[judged] == 0).all()
    assert judged.sum() > 120 and 20 < stable[judged].sum() < judged.sum() - 20
    assert (far[judged & stable] < 0.5).all()
    assert (far[judged & ~stable] > 2).all()


def test_runs_end_in_the_equilibria_of_the_planar_system():
    """One memory alone: the means of active and silent neurons, from many starts."""
    xi = np.zeros((1, 50))
    xi[0, :10] = 1
    network = hx.RateMemory(hx.Patterns(xi), a=0.1, b=0.95)
    found = rate.planar_equilibria(network.activation, 0.1, 0.95, 0.2)
    stable = np.asarray(found.stable)
    known = np.stack([found.active, found.silent], 1)[stable]
    assert len(known) == 3 and int(found.count) == 7

    def end(s, c):
        rates = jnp.where(jnp.asarray(xi[0] == 1), s, c)
        run = hx.simulate(network, network.init(rates=rates), jnp.array([0.0, 60.0]), throw=False)
        return jnp.stack([run.final.rates[0], run.final.rates[-1]])

    s, c = np.meshgrid(np.linspace(0.05, 0.95, 5), np.linspace(0.05, 0.95, 5))
    ends = np.asarray(jax.jit(jax.vmap(end))(jnp.asarray(s.ravel()), jnp.asarray(c.ravel())))
    gaps = np.abs(ends[:, None] - known).max(-1)
    assert_close(gaps.min(1), np.zeros(25), 1e-6, "at rest, under an error control at 1e-8")
    assert set(gaps.argmin(1)) == {0, 1, 2}


@pytest.mark.slow
def test_a_memory_is_held_down_to_the_critical_saliency():
    phi = hx.Logistic()
    formula = float(rate.critical_saliency(phi, -0.3, 0.95, 0.2).saliency)
    exact = float(rate.critical_saliency_planar(phi, -0.3, 0.95, 0.2).saliency)
    assert abs(exact - formula) < 2e-4
    five = hx.Patterns(hx.patterns.balanced(0.2, 100).xi[:5])
    network = hx.InputDrivenRateMemory(five)
    start = network.init(weights=jnp.eye(5)[0])

    def end(s):
        stimulus = five.field(jnp.array([1.0, 0.4, 0.4, 0.4, 0.4]).at[0].set(s))
        run = hx.simulate(network, start, jnp.array([0.0, 400.0]), stimulus=stimulus, throw=False)
        return run.overlaps[-1, 0]

    held = jax.jit(jax.vmap(end))(exact + jnp.array([-2e-3, 2e-3]))
    assert held[0] < 0.05 and held[1] > 0.8
