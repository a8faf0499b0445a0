"""Patterns that are not what they seem: booleans, sets of active neurons and grey values where
signs are meant, and signs where sets are meant. Each is made right, refused, or warned of."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx

rng = np.random.default_rng(0)
SETS = rng.integers(0, 2, (3, 40))
GREY = rng.integers(0, 256, (3, 40))
SIGNS = 2.0 * SETS - 1

SIGNED = {
    "Hopfield": hx.Hopfield,
    "InputDrivenHopfield": hx.InputDrivenHopfield,
    "OneTimescaleHopfield": lambda p: hx.OneTimescaleHopfield(p, 2 * np.eye(3)),
    "TwoTimescaleHopfield": lambda p: hx.TwoTimescaleHopfield(p, hx.cyclic(3), kappa=5, tau=50),
    "DenseFlow": lambda p: hx.DenseFlow(p, hx.Power(3)),
}


@pytest.mark.parametrize("name", SIGNED)
def test_networks_of_signs_warn_of_memories_without(name):
    cure = r"Patterns\(2 \* xi - 1\).*from_images\(xi\).*RateMemory\(hopfax.patterns.active\(xi\)\)"
    for xi, seem in (
        (SETS, "are 0 and 1"),
        (GREY, f"between {GREY.min()} and 255"),
        (GREY / 255, "between"),
    ):
        with pytest.warns(hx.PhysicsWarning, match=f"`patterns` .*{seem}.*{cure}"):
            SIGNED[name](hx.Patterns(xi))
    for xi in (SIGNS, SETS > 0, rng.normal(size=(3, 40)), GREY - 128.0):  # warnings are errors
        SIGNED[name](hx.Patterns(xi))


def test_softmax_and_rates_take_them_as_they_are():
    hx.DenseFlow(hx.Patterns(GREY / 255), hx.Softmax(1.0))
    hx.RateMemory(hx.patterns.active(SETS, 0.5))


def test_booleans_are_signs():
    for given in (SETS > 0, (SETS > 0).tolist(), jnp.asarray(SETS > 0)):
        patterns = hx.Patterns(given)
        assert (np.asarray(patterns.xi) == SIGNS).all() and patterns.binary
    traced = jax.jit(lambda xi: hx.Patterns(xi).site_classes().counts)(SETS > 0)  # known as signs
    assert traced.sum() == 40
    active = hx.patterns.active(SETS > 0)
    assert (np.asarray(active.xi) == SETS).all() and not active.binary
    with pytest.raises(ValueError, match=r"hopfax.patterns.active\(patterns\)"):
        hx.RateMemory(hx.Patterns(SETS > 0))


def test_a_file_of_booleans_holds_signs(tmp_path):
    np.save(tmp_path / "xi.npy", SETS > 0)
    assert (np.asarray(hx.patterns.load(tmp_path / "xi.npy").xi) == SIGNS).all()


def test_cues_by_the_other_kind_are_refused():
    key, spread = jr.key(0), hx.patterns.shard(hx.Patterns(SETS), jax.devices()[:1])
    for patterns in (hx.Patterns(SETS), hx.Patterns(GREY), spread):
        with pytest.raises(ValueError, match=r"`corrupt` changes signs, but.*patterns.degrade\("):
            patterns.corrupt(key, 0, 3)
    for patterns in (hx.Patterns(SIGNS), hx.Patterns(GREY)):
        with pytest.raises(ValueError, match=r"entries 1 and 0, but.*corrupt\(key, mu, flips\)"):
            hx.patterns.degrade(patterns, key, 0, 3)
    flipped = hx.Patterns(GREY - 128.5).corrupt(key, 1, 7)
    assert int((flipped == 128.5 - GREY[1]).sum()) == 7
    alone = hx.Patterns(np.vstack([np.ones(40), SIGNS[1:]])).corrupt(key, 0, 7)  # no -1 in it
    assert float(alone.sum()) == 40 - 2 * 7


def relaxed(xi, cue, gain, T=40.0, dt=0.05):
    """Overlaps in the end, by Euler's method."""
    x = cue.copy()
    for _ in range(int(T / dt)):
        x += dt * (xi.T @ (xi @ np.clip(gain * x, -1, 1)) / xi.shape[1] - x)
    return xi @ np.clip(gain * x, -1, 1) / xi.shape[1]


def test_a_network_by_its_defaults_retrieves_a_noisy_cue():
    patterns = hx.patterns.random(jr.key(0), 5, 500)
    network, xi = hx.Hopfield(patterns), np.asarray(patterns.xi)
    cues = jnp.stack([patterns.corrupt(jr.key(mu), mu, 50) for mu in range(5)])  # overlap 0.8
    ts = jnp.array([0.0, 40.0])

    def recall(cue):
        return hx.simulate(network, network.init(field=cue), ts).overlaps[-1]

    found = np.asarray(jax.jit(jax.vmap(recall))(cues))
    for mu, cue in enumerate(np.asarray(cues)):
        assert found[mu, mu] > 0.999 and np.abs(np.delete(found[mu], mu)).max() < 0.2
        # e^-40 of the way is left, and the steps do not move a state of rest
        assert np.abs(found[mu] - relaxed(xi, cue, 1.8)).max() < 1e-6


@pytest.mark.parametrize(
    ("activation", "gain", "diagonal"),
    [
        (hx.HardTanh(), 1, True),
        (hx.Tanh(0.9), 0.9, True),
        (hx.HardTanh(1.05), 1.05, False),  # 4 of 64: above 1 / (1 - 1/16) = 1.0667
        (hx.HardTanh(1.05), 1.05, True),
        (hx.HardTanh(1.07), 1.07, False),
    ],
)
def test_a_gain_without_attractors_is_warned_of(activation, gain, diagonal):
    patterns = hx.patterns.hadamard(4, 64)
    network = hx.Hopfield(patterns, activation=activation, keep_diagonal=diagonal)
    state = network.init(field=patterns.xi[0])
    holds = gain > (1 if diagonal else 16 / 15)
    xi, cue = np.asarray(patterns.xi), np.asarray(patterns.xi[0]) * 0.5
    if activation.__class__ is hx.HardTanh and diagonal:
        assert (relaxed(xi, cue, gain, 200.0)[0] > 0.9) == holds
    texts = list(network.pitfalls(state, None, None))
    assert bool(texts) != holds and all("no memory is an attractor" in text for text in texts)
