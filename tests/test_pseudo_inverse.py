"""The pseudo-inverse rule needs linearly independent memories: others are refused by name, or get a
status where they are traced. Independence is decided here by elimination in exact integers."""

from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx

RULE = "learning='pseudo_inverse' needs linearly independent memories"
INVALID = 4  # of hopfax.STATUS


def first_dependent(xi):
    """The first row that is a sum of multiples of those before it, by exact elimination; None if
    there is none."""
    basis = []
    for mu, row in enumerate(xi):
        row = [Fraction(int(entry)) for entry in row]
        for place, other in basis:
            factor = row[place]
            row = [entry - factor * kept for entry, kept in zip(row, other, strict=True)]
        place = next((k for k, entry in enumerate(row) if entry), None)
        if place is None:
            return mu
        basis.append((place, [entry / row[place] for entry in row]))
    return None


def blocks(*signs):
    """Memories that are +-1 in three blocks of 3, 4 and 5 neurons."""
    return np.array([np.repeat(row, [3, 4, 5]) for row in signs], float)


ABC = blocks((1, 1, 1), (1, -1, 1), (1, 1, -1), (1, -1, -1))
GOOD = np.where(np.random.default_rng(3).random((4, 12)) < 0.5, -1.0, 1.0)
SUM = np.vstack(
    [GOOD[:3], [0.7, -0.3, 1.1] @ GOOD[:3]]
)  # its Gram matrix has an inverse of rounding
NETWORKS = {
    "Hopfield": lambda p: hx.Hopfield(p, learning="pseudo_inverse"),
    "InputDrivenHopfield": lambda p: hx.InputDrivenHopfield(p, learning="pseudo_inverse"),
    "OneTimescaleHopfield": lambda p: hx.OneTimescaleHopfield(
        p, 2 * np.eye(p.P), learning="pseudo_inverse"
    ),
    "TwoTimescaleHopfield": lambda p: hx.TwoTimescaleHopfield(
        p, hx.cyclic(p.P), kappa=5.0, tau=10.0, bias=0.01, learning="pseudo_inverse"
    ),
}


def test_the_example_is_dependent_and_the_other_is_not():
    assert first_dependent(ABC) == 3 and first_dependent(GOOD) is None


@pytest.mark.parametrize("name", NETWORKS)
def test_dependent_memories_are_refused_by_name(name):
    make = NETWORKS[name]
    for xi, which in (
        (ABC, 3),
        (ABC[[0, 1, 1, 2]], 2),
        (ABC[[0, 2, 1, 0]] * [[1], [1], [1], [-1]], 3),
    ):
        patterns = hx.Patterns(xi, check_patterns=False)
        with pytest.raises(ValueError, match=f"{RULE}, but memory {which} of `patterns`"):
            make(patterns)
    with pytest.raises(ValueError, match=f"{RULE}, but 5 memories of 4 neurons"):
        make(hx.Patterns(np.vander(np.arange(1.0, 6.0), 4)))
    make(hx.Patterns(GOOD))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_verdict_is_that_of_exact_elimination(dtype):
    rng = np.random.default_rng(0)
    dependent = 0
    for _ in range(200):
        P, N = rng.integers(2, 8), rng.integers(8, 12)
        xi = rng.choice([-1, 1], (P, N)) if rng.random() < 0.5 else rng.integers(-3, 4, (P, N))
        if rng.random() < 0.3:  # a sum of two others, or one of them
            xi[-1] = xi[0] * rng.integers(1, 3) + xi[1 % (P - 1)] * rng.integers(0, 3)
        if not xi.any(axis=1).all():
            continue
        which = first_dependent(xi)
        patterns = hx.Patterns(xi.astype(dtype), check_patterns=False)
        dependent += which is not None
        if which is None:
            hx.Hopfield(patterns, learning="pseudo_inverse")
            continue
        with pytest.raises(ValueError, match=f"{RULE}, but memory {which} of"):
            hx.Hopfield(patterns, learning="pseudo_inverse")
    assert 40 < dependent < 160


def test_sums_of_real_memories_are_found_at_every_size():
    rng = np.random.default_rng(1)
    for P, N in ((3, 5), (10, 500), (100, 400)):
        for dtype in (np.float32, np.float64):
            xi = rng.normal(size=(P, N)) * 10.0 ** rng.integers(-3, 4)
            hx.Hopfield(hx.Patterns(xi.astype(dtype)), learning="pseudo_inverse")
            xi[P // 2] = rng.normal(size=P // 2) @ xi[: P // 2]
            with pytest.raises(ValueError, match=f"{RULE}, but memory {P // 2} "):
                hx.Hopfield(hx.Patterns(xi.astype(dtype)), learning="pseudo_inverse")


def test_traced_memories_have_no_overlaps_where_they_are_dependent():
    def looked_at(xi):
        network = NETWORKS["TwoTimescaleHopfield"](hx.Patterns(xi))
        state = network.init(saliency=jnp.array([4.0, 0.0, 0.0, 0.0]))
        return network.overlaps(state), network.vector_field(0.0, state).saliency

    (good, bad), (rate, bad_rate) = jax.jit(jax.vmap(looked_at))(jnp.stack([GOOD, SUM]))
    rates = np.clip(4.01 * GOOD[0] + 0.01 * GOOD[1:].sum(0), -1, 1)
    expected = np.linalg.lstsq(GOOD.T, rates, rcond=None)[0]
    assert np.abs(np.asarray(good) - expected).max() < 1e-13  # rounding, well conditioned
    assert np.isnan(bad).all() and np.isnan(bad_rate).all() and np.isfinite(rate).all()


def test_a_sweep_over_memories_and_an_edited_network():
    network = NETWORKS["TwoTimescaleHopfield"](hx.Patterns(GOOD))
    point = hx.Point(network, {"saliency": [4.0, 0, 0, 0]}, [0.0, 1.0], method=hx.EventDriven())
    with pytest.warns(hx.SweepWarning, match="1 of 2 points failed"):
        found = hx.sweep(point, {"patterns.xi": np.stack([ABC, GOOD])})
    assert found.status.values.tolist() == [INVALID, 0]

    edited = eqx.tree_at(lambda network: network.patterns.xi, network, jnp.asarray(ABC))
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    for run in (
        lambda: hx.simulate(edited, start, jnp.array([0.0, 1.0])),
        lambda: hx.sweep(eqx.tree_at(lambda p: p.network, point, edited), {"kappa": [4.0, 5.0]}),
        lambda: hx.fit_sequence(edited, [0, 1, 2, 3]),
    ):
        with pytest.raises(ValueError, match=RULE):
            run()
