"""The equations of every network, against the independent reference, and its energy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref
from helpers import assert_close

import hopfax as hx

RNG = np.random.default_rng(7)
XI = RNG.choice([-1.0, 1.0], (3, 24))
X = 1.5 * RNG.normal(size=24)
Z = np.array([2.1, 0.7, -0.4])
WHY = "rounding"


@pytest.mark.parametrize(
    ("readout", "learning", "diagonal"),
    list(itertools.product(ref.READOUTS, ["hebbian", "pseudo_inverse"], [True, False])),
)
def test_two_timescale_equation(readout, learning, diagonal):
    A = RNG.normal(size=(3, 3))
    kappa, tau, bias = np.array([4.0, 5.0, 6.0]), np.array([20.0, 30.0, 50.0]), [0.1, -0.2, 0.3]
    network = hx.TwoTimescaleHopfield(
        hx.Patterns(XI),
        A,
        kappa=kappa,
        tau=tau,
        bias=bias,
        readout=readout,
        learning=learning,
        keep_diagonal=diagonal,
        activation=hx.Tanh(1.3),
    )
    current = RNG.normal(size=24)
    state = network.init(saliency=Z, field=X)
    rate = network.vector_field(0.0, state, hx.Inputs(current=jnp.asarray(current)))
    expected = ref.rhs_two_timescale(
        0.0,
        np.concatenate([X, Z]),
        ref.tanh(1.3),
        xi=XI,
        transition=A,
        kappa=kappa,
        tau=tau,
        bias=bias,
        readout=readout,
        learning=learning,
        keep_diagonal=diagonal,
        current=current,
    )
    assert_close(np.concatenate([rate.field, rate.saliency]), expected, 1e-12, WHY)


def test_the_other_equations():
    current, stimulus, Q = RNG.normal(size=24), RNG.normal(size=24), RNG.normal(size=(3, 3))
    given = hx.Inputs(current=jnp.asarray(current))
    patterns = hx.Patterns(XI)
    classic = hx.Hopfield(patterns, activation=hx.HardTanh(1.4))
    rate = classic.vector_field(0.0, classic.init(field=X), given)
    expected = ref.rhs_classic(0.0, X, ref.HardTanh(1.4), xi=XI, current=current)
    assert_close(rate.field, expected, 1e-12, WHY)

    one = hx.OneTimescaleHopfield(patterns, Q)
    rate = one.vector_field(0.0, one.init(field=X), given)
    expected = ref.rhs_one_timescale(0.0, X, ref.hard_tanh, xi=XI, Q=Q, current=current)
    assert_close(rate.field, expected, 1e-12, WHY)

    for diagonal in (True, False):
        driven = hx.InputDrivenHopfield(patterns, keep_diagonal=diagonal)
        inputs = hx.Inputs(jnp.asarray(stimulus), jnp.asarray(current))
        rate = driven.vector_field(0.0, driven.init(field=X), inputs)
        expected = ref.rhs_idp(
            0.0,
            X,
            ref.hard_tanh,
            xi=XI,
            stimulus=stimulus,
            current=current,
            keep_diagonal=diagonal,
        )
        assert_close(rate.field, expected, 1e-12, WHY)


def test_state_of_the_input_driven_network():
    s = ref.SCENARIOS["S9"]
    patterns = hx.patterns.hadamard(list(s["columns"]), s["N"])
    stimulus = patterns.field(jnp.array(s["stimulus"]))
    network = hx.InputDrivenHopfield(patterns)
    state = network.init(field=s["field"])
    assert_close(network.saliency(None, patterns.overlap(stimulus)), s["alpha"], 1e-14, WHY)
    assert_close(network.overlaps(state), s["overlaps"], 1e-14, WHY)
    assert_close(network.energy(state, hx.Inputs(stimulus=stimulus)), s["energy"], 1e-13, WHY)


@pytest.mark.parametrize("diagonal", [True, False])
def test_energy(diagonal):
    network = hx.TwoTimescaleHopfield(
        hx.Patterns(XI),
        hx.cyclic(3),
        kappa=5,
        tau=20,
        bias=[0.1, 0.2, 0.3],
        activation=hx.HardTanh(1.5),
        keep_diagonal=diagonal,
    )
    current = RNG.normal(size=24)
    state = network.init(saliency=Z, field=X)
    inputs = hx.Inputs(current=jnp.asarray(current))
    total = current + XI.T @ [0.1, 0.2, 0.3]
    expected = ref.energy(
        X, Z, XI, activation=ref.HardTanh(1.5), current=total, keep_diagonal=diagonal
    )
    assert_close(network.energy(state, inputs), expected, 1e-11, WHY)

    # dE/dt = -sum psi' (dx/dt)^2 at frozen saliency
    rate = network.vector_field(0.0, state, inputs)

    def energy(x):
        return network.energy(network.init(saliency=Z, field=x), inputs)

    _, slope = jax.jvp(energy, (state.field,), (rate.field,))
    drop = -(network.activation.slope(state.field) * rate.field**2).sum()
    assert_close(slope, drop, 1e-10, WHY)
    assert drop < 0


def test_depth_of_a_memory():
    """At a saturated memory of saliency alpha the energy is -N (alpha - 1) / 2."""
    patterns = hx.patterns.hadamard(3, 32)
    network = hx.InputDrivenHopfield(patterns)
    alpha = jnp.array([2.5, 1.0, 0.5])
    state = network.init(field=2.5 * patterns.xi[0])
    energy = network.energy(state, hx.Inputs(stimulus=patterns.field(alpha)))
    assert_close(energy, -32 * 1.5 / 2, 1e-12, WHY)


def test_there_is_no_energy_without_symmetry():
    patterns = hx.Patterns(XI)
    one = hx.OneTimescaleHopfield(patterns, np.eye(3))
    pseudo = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(3), kappa=1, tau=1, learning="pseudo_inverse"
    )
    for network, state in (
        (one, one.init(field=X)),
        (pseudo, pseudo.init(saliency=Z, field=X)),
    ):
        with pytest.raises(ValueError, match="not symmetric"):
            network.energy(state)
    classic = hx.Hopfield(patterns, learning="pseudo_inverse", activation=hx.Tanh(2.0))
    assert np.isfinite(classic.energy(classic.init(field=X)))


def test_pseudo_inverse_reads_pure_overlaps():
    network = hx.TwoTimescaleHopfield(
        hx.Patterns(XI), hx.cyclic(3), kappa=1, tau=1, learning="pseudo_inverse"
    )
    state = network.init(saliency=Z, field=3.0 * XI[1])
    assert_close(network.overlaps(state), [0.0, 1.0, 0.0], 1e-12, WHY)


def test_default_start_and_cyclic():
    assert hx.cyclic(3).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # [next, current]
    network = hx.TwoTimescaleHopfield(hx.Patterns(XI), hx.cyclic(3), kappa=1, tau=1, bias=0.5)
    state = network.init(saliency=Z)
    assert_close(state.field, XI.T @ (Z + 0.5), 1e-14, WHY)
    assert_close(state.weights, Z + 0.5, 1e-14, WHY)


def test_a_memory_escapes_where_its_saliency_makes_up_for_the_slope():
    patterns = hx.patterns.hadamard(3, 16)
    cases = ((hx.HardTanh(), 1.0), (hx.HardTanh(4.0), 0.25), (hx.Tanh(2.0), None), (hx.Erf(), None))
    for activation, level in cases:
        network = hx.TwoTimescaleHopfield(
            patterns, hx.cyclic(3), kappa=5.0, tau=20.0, activation=activation
        )
        found = network.escape_level()
        assert (found is None) if level is None else abs(float(found) - level) < 1e-14
    assert hx.Hopfield(patterns).escape_level() is None


def test_mean_field_replaces_the_activation():
    network = hx.TwoTimescaleHopfield(hx.Patterns(XI), hx.cyclic(3), kappa=1, tau=1)
    psi = network.mean_field(0.3 * 2**0.5).activation
    assert_close(psi(jnp.asarray(0.5)), 0.494052050537, 1e-11, "sigma / sqrt(2) = 0.3")
