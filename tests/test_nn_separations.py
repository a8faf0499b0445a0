"""From scores to weights: against sorting, a general optimiser, differences and recorded values.

`data/entmax.json` holds what the PyTorch package entmax 1.3 of the authors of entmax (deep-spin)
gives: weights of random scores, and the gradients of their sum with random factors.
"""

import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import optimize

import hopfax as hx

RNG = np.random.default_rng(0)
SCORES = np.sort(RNG.normal(size=(6, 7)) * np.array([0.2, 0.7, 1.0, 2.0, 4.0, 9.0])[:, None])
RNG.permuted(SCORES, axis=1, out=SCORES)
ALL = dict(
    softmax=hx.nn.Entmax(1.0),
    near=hx.nn.Entmax(1.003),
    half=hx.nn.Entmax(1.5),
    sparse=hx.nn.Entmax(2.0),
    four=hx.nn.Entmax(4.0),
    norm=hx.nn.Normmax(2.0),
    five=hx.nn.Normmax(5.0),
    sets=hx.nn.KSubsets(3),
    top=hx.nn.TopK(3),
)


RECORDED = json.loads((pathlib.Path(__file__).parent / "data/entmax.json").read_text())


def by_sorting(z):
    """Sparsemax, as Martins and Astudillo give it."""
    down = np.sort(z)[::-1]
    sums = np.cumsum(down)
    k = np.flatnonzero(1 + np.arange(1, z.size + 1) * down > sums)[-1] + 1
    return np.maximum(z - (sums[k - 1] - 1) / k, 0.0)


def half_by_sorting(z):
    """1.5-entmax, as Peters, Niculae and Martins give it: the roots of p are linear in z."""
    down = np.sort(z)[::-1] / 2
    for k in range(z.size, 0, -1):
        mean, square = down[:k].mean(), np.square(down[:k]).mean()
        if (inside := 1 / k - square + mean**2) >= 0:
            tau = mean - np.sqrt(inside)
            if down[k - 1] >= tau and (k == z.size or down[k] <= tau):
                return np.square(np.maximum(z / 2 - tau, 0.0))
    raise AssertionError


def by_optimiser(z, omega, most=1.0):
    """The argmax over the simplex, by a general solver."""
    n = z.size
    found = optimize.minimize(
        lambda p: omega(p) - z @ p,
        np.full(n, 1 / n),
        bounds=[(0.0, most)] * n,
        constraints=dict(type="eq", fun=lambda p: p.sum() - 1),
        method="SLSQP",
        options=dict(ftol=1e-15, maxiter=1000),
    )
    return found.x


def tsallis(a):
    return lambda p: (np.sum(np.maximum(p, 0.0) ** a) - 1) / (a * (a - 1))


def test_weights_are_those_that_sorting_gives():
    for row in SCORES:
        z = jnp.asarray(row)
        np.testing.assert_allclose(hx.nn.Entmax(2.0).weights(z), by_sorting(row), atol=1e-15)
        np.testing.assert_allclose(hx.nn.Entmax(1.5).weights(z), half_by_sorting(row), atol=1e-15)
        np.testing.assert_allclose(hx.nn.KSubsets(1).weights(z), by_sorting(row), atol=1e-15)
        np.testing.assert_allclose(hx.nn.Entmax(1.0).weights(z), jax.nn.softmax(z), atol=1e-15)


@pytest.mark.parametrize(
    ("separation", "omega", "most"),
    [
        (ALL["near"], tsallis(1.003), 1.0),
        (ALL["four"], tsallis(4.0), 1.0),
        (ALL["norm"], lambda p: np.sqrt(np.sum(p * p)) - 1, 1.0),
        (ALL["five"], lambda p: np.sum(p**5) ** 0.2 - 1, 1.0),
        (ALL["sets"], lambda p: 1.5 * np.sum(p * p), 1 / 3),
    ],
)
def test_weights_are_the_argmax_that_a_general_optimiser_finds(separation, omega, most):
    for z in SCORES[1:4]:
        p = np.asarray(separation.weights(jnp.asarray(z)))
        found = by_optimiser(z, omega, most)
        np.testing.assert_allclose(p, found, atol=2e-5)  # of the optimiser
        # and a better one by its own measure
        assert z @ p - omega(p) >= z @ found - omega(found) - 1e-12
        np.testing.assert_allclose(
            separation.conjugate(jnp.asarray(z)), z @ p - omega(p), rtol=1e-12
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_weights_are_the_gradient_of_the_conjugate_and_masked_items_have_none(name):
    separation = ALL[name]
    z = jnp.asarray(SCORES)
    p = separation.weights(z)
    assert (p >= 0).all() and p.shape == z.shape
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-14)
    slopes = jax.vmap(jax.grad(separation.conjugate))(z)
    np.testing.assert_allclose(slopes, p, atol=1e-13)
    # Of both derivatives, against differences of what is one order lower, away from kinks.
    direction = jnp.asarray(RNG.normal(size=7))
    h = 1e-5

    @jax.jit
    def first(z):
        return jax.jvp(separation.weights, (z,), (jnp.broadcast_to(direction, z.shape),))[1]

    rows, move = z[1:5], h * direction
    step = separation.weights(rows + move) - separation.weights(rows - move)
    np.testing.assert_allclose(first(rows), step / (2 * h), atol=1e-8)
    step = first(rows + move) - first(rows - move)
    second = jax.jvp(first, (rows,), (jnp.broadcast_to(direction, rows.shape),))[1]
    np.testing.assert_allclose(second, step / (2 * h), rtol=1e-6, atol=1e-7)
    # An item that is masked is as one that is not there.
    masked = jnp.concatenate([z[:, :3], jnp.full((6, 1), -jnp.inf), z[:, 3:]], axis=1)
    there = np.array([0, 1, 2, 4, 5, 6, 7])
    np.testing.assert_allclose(separation.weights(masked)[:, there], p, atol=1e-14)
    assert (separation.weights(masked)[:, 3] == 0).all()
    slopes = jax.grad(lambda z: (separation.weights(z) ** 2).sum())(masked)
    assert np.isfinite(slopes[:, there]).all() and (slopes[:, 3] == 0).all()


@pytest.mark.parametrize("name", ["half", "sparse", "four", "norm", "five", "sets"])
def test_items_are_retrieved_exactly_from_the_margin_on(name):
    separation = ALL[name]
    k = getattr(separation, "k", 1)
    ahead, behind = np.arange(7) < k, float(separation.margin)
    at = separation.weights(jnp.asarray(np.where(ahead, behind, 0.0)))
    np.testing.assert_allclose(at, ahead / k, atol=1e-14)
    before = separation.weights(jnp.asarray(np.where(ahead, behind - 1e-3, 0.0)))
    assert (before[k:] > 0).all()


@pytest.mark.slow
def test_alpha_is_learned():
    """Its derivative, of first and second order, against differences."""

    def weights(log_excess, z):
        made = hx.nn.Entmax(1.5, learn=True)
        return eqx.tree_at(lambda s: s.log_excess, made, log_excess).weights(z)

    z, h = jnp.asarray(SCORES[2]), 1e-5
    for at in (-6.0, -0.7, 0.5):
        first = jax.jacfwd(weights)
        difference = (weights(at + h, z) - weights(at - h, z)) / (2 * h)
        np.testing.assert_allclose(first(at, z), difference, atol=1e-9)
        difference = (first(at + h, z) - first(at - h, z)) / (2 * h)
        np.testing.assert_allclose(jax.jacfwd(first)(at, z), difference, atol=1e-8)
    assert hx.nn.Entmax(1.5).log_excess is None  # nothing that an optimiser could move


@pytest.mark.parametrize("name", RECORDED["cases"])
def test_weights_and_gradients_are_those_of_the_published_package(name):
    separation, recorded = eval(f"hx.nn.{name}"), RECORDED["cases"][name]
    z, readout = (jnp.asarray(RECORDED[part]) for part in ("scores", "readout"))
    weights, back = jax.vjp(separation.weights, z)
    np.testing.assert_allclose(weights, recorded["weights"], atol=1e-12)
    np.testing.assert_allclose(back(readout)[0], recorded["gradient"], atol=1e-9)


def test_the_gradient_of_alpha_is_that_of_the_published_package():
    z, readout = (jnp.asarray(RECORDED[part]) for part in ("scores", "readout"))
    made = hx.nn.Entmax(1.5, learn=True)
    slope = eqx.filter_grad(lambda made: (made.weights(z) * readout).sum())(made).log_excess
    np.testing.assert_allclose(slope / 0.5, RECORDED["alpha_gradient"], rtol=1e-9)


def test_wrong_arguments_of_separations_are_named():
    with pytest.raises(ValueError, match="`alpha` must be >= 1"):
        hx.nn.Entmax(0.9)
    with pytest.raises(ValueError, match="`alpha` must be > 1"):
        hx.nn.Entmax(1.0, learn=True)
    with pytest.raises(ValueError, match="`alpha` must be > 1"):
        hx.nn.Normmax(1.0)
    for made in (hx.nn.KSubsets, hx.nn.TopK):
        with pytest.raises(ValueError, match="`k`"):
            made(0)


# In a layer


def retrieval(separation, steps=4, **options):
    """Scores of some units, so that some items have no weight."""
    return hx.nn.HopfieldRetrieval(
        2, 6, beta=[0.8, 2.0], steps=steps, separation=separation, key=jr.key(0), **options
    )


QUERY, MEMORY = jr.normal(jr.key(1), (3, 6)), jr.normal(jr.key(2), (9, 6))
MASK = jr.bernoulli(jr.key(3), 0.6, (3, 9)).at[1].set(False)


def by_hand(layer, query, memory, mask):
    """One state, one head, one step after the other, in NumPy but for the weights."""
    out = []
    for row, allowed in zip(np.asarray(query), np.asarray(mask), strict=True):
        heads = []
        for h in range(2):
            part = slice(3 * h, 3 * h + 3)
            norm = lambda n, x: np.asarray(jax.vmap(n)(jnp.atleast_2d(x)))  # noqa: E731
            q = (layer.query_proj.weight @ norm(layer.query_norm, row)[0])[part]
            q = q + layer.query_proj.bias[part]
            k = norm(layer.memory_norm, memory) @ layer.memory_proj.weight.T
            v = norm(layer.value_norm, memory) @ layer.value_proj.weight.T
            k = (k + layer.memory_proj.bias)[allowed][:, part]
            v = (v + layer.value_proj.bias)[allowed][:, part]
            for step in range(layer.steps):
                if not allowed.any():
                    q = np.zeros(3)
                    continue
                p = layer.separation.weights(layer.beta[h] * k @ q)
                q = p @ (v if step == layer.steps - 1 else k)
            heads.append(q)
        found = layer.output_proj(jnp.concatenate(heads))
        out.append(found if allowed.any() else jnp.zeros(6))
    return jnp.stack(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["half", "five", "sets", "top"])
def test_a_layer_reads_by_the_weights_of_its_separation(name):
    layer = retrieval(ALL[name])
    found = layer(QUERY, MEMORY, mask=MASK)
    np.testing.assert_allclose(found, by_hand(layer, QUERY, MEMORY, MASK), atol=1e-12)
    assert layer(QUERY, jnp.zeros((0, 6))).shape == (3, 6)  # of no items
    bad = MEMORY.at[4].set(jnp.nan)
    allowed = MASK.at[:, 4].set(False)

    def loss(layer, memory):
        return (layer(QUERY, memory, mask=allowed) ** 2).sum()

    slopes = eqx.filter_grad(loss)(layer, bad)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_one_for_softmax_changes_nothing():
    plain, same = retrieval(None), retrieval(hx.nn.Entmax(1.0))
    one, other = plain(QUERY, MEMORY, mask=MASK), same(QUERY, MEMORY, mask=MASK)
    np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "half", "sparse", "norm", "sets", "top"])
def test_the_energy_of_states_never_rises(name):
    layer = retrieval(ALL.get(name), steps=8)
    seen = hx.nn.inspect(layer, QUERY, MEMORY, mask=MASK)
    assert seen.weights.shape == (2, 3, 9) and seen.energy.shape == (8, 2, 3)
    if name == "top":  # which is no gradient
        assert np.isnan(seen.energy).all()
        return
    there = seen.energy[:, :, np.array([0, 2])]
    falls = np.diff(there, axis=0)
    assert (falls <= 1e-12).all() and (falls[0] < -1e-4).all()
    assert np.isnan(seen.energy[:, :, 1]).all()  # the mask leaves it nothing
    names = np.asarray(hx.nn.RETRIEVED)[np.asarray(seen.retrieved)]
    assert (names[:, 1] == "nothing").all() and (names[:, [0, 2]] != "nothing").all()
    read = jnp.einsum("hqs,she->qhe", seen.weights, _values(layer)).reshape(3, 6)
    out = jax.vmap(layer.output_proj)(read)
    expected = layer(QUERY, MEMORY, mask=MASK)
    np.testing.assert_allclose(out[jnp.array([0, 2])], expected[jnp.array([0, 2])], atol=1e-12)


def _values(layer):
    normed = jax.vmap(layer.value_norm)(MEMORY)
    return (normed @ layer.value_proj.weight.T + layer.value_proj.bias).reshape(9, 2, 3)


@pytest.mark.slow
def test_kinds_of_fixed_points_are_told_apart():
    """Items at right angles: with the inverse temperature the state goes from the mean to one."""
    items = 3.0 * jnp.eye(6)
    near = jnp.asarray([[3.0, 0.3, 0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
    plain = dict(norms=(), projections=(), key=jr.key(0))

    def kinds(beta, separation=None):
        layer = hx.nn.HopfieldRetrieval(1, 6, beta=beta, steps=9, separation=separation, **plain)
        seen = hx.nn.inspect(layer, near, items)
        return [hx.nn.RETRIEVED[code] for code in np.asarray(seen.retrieved[0])], seen

    assert kinds(0.05)[0] == ["the mean of many"] * 2
    assert kinds(2.0)[0] == ["one item", "several items"]
    found, seen = kinds(2.0, hx.nn.Entmax(2.0))
    assert found == ["one item", "several items"]
    np.testing.assert_allclose(seen.effective[0], [1.0, 2.0], rtol=1e-12)  # exactly
    assert seen.ahead[0, 0] > hx.nn.Entmax(2.0).margin and seen.ahead[0, 1] < 1e-9
    pool = hx.nn.HopfieldPooling(2, 1, 6, key=jr.key(4))
    assert hx.nn.inspect(pool, items).weights.shape == (1, 2, 6)
    table = hx.nn.HopfieldLookup(5, 1, 6, key=jr.key(4))
    assert hx.nn.inspect(table, near).weights.shape == (1, 2, 5)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_wrong_layers_and_inputs_are_named():
    with pytest.raises(TypeError, match="`layer` must be a HopfieldRetrieval"):
        hx.nn.inspect(None, QUERY, MEMORY)
    with pytest.raises(TypeError, match="needs the inputs of a call"):
        hx.nn.inspect(retrieval(None), QUERY)
    with pytest.raises(ValueError, match="`memory` has no items"):
        hx.nn.inspect(retrieval(None), QUERY, jnp.zeros((0, 6)))
    with pytest.raises(TypeError, match="`separation` must be"):
        retrieval("sparsemax")
