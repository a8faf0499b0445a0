"""Options of retrievals against NumPy: grouped heads, places, extra items, rest, what is stored,
narrow factors, frozen tables."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from helpers import assert_close

import hopfax as hx

ROUNDING = "float64, sums over a few ten items"
X = jr.normal(jr.key(10), (6, 8))


def made(**options):
    """Two to four heads of size 4."""
    options = dict(num_heads=2, query_size=8, qk_size=4, vo_size=3) | options
    return hx.nn.HopfieldRetrieval(**options, key=jr.key(0))


def near(H, reach=2):
    biases = hx.nn.RelativeBias(H, reach, key=jr.key(3))
    return eqx.tree_at(lambda it: it.numbers, biases, 40 * biases.numbers)  # of size one


OPTIONS = {
    "grouped": dict(num_heads=4, num_kv_heads=2),
    "one head of keys": dict(num_heads=4, num_kv_heads=1, steps=2),
    "rotary": dict(positions=hx.nn.Rotary(50.0), steps=2),
    "distances": dict(positions=near(2)),
    "extra": dict(extra_items=("zero", "bias"), steps=2),
    "all": dict(
        num_heads=4,
        num_kv_heads=2,
        positions=near(4),
        extra_items=("bias", "zero"),
        steps=2,
        learn_beta=True,
        beta=[0.3, 0.5, 0.7, 1.0],
    ),
    "sparse": dict(
        num_heads=4,
        num_kv_heads=2,
        positions=near(4),
        extra_items=("zero", "bias"),
        separation=hx.nn.KSubsets(2),
    ),
}
EVERY = pytest.mark.parametrize("name", OPTIONS)


def reference(layer, query, memory, allowed):
    """One query after the other, head by head, as the equations say; `allowed` is (Q, S)."""

    def linear(it, x):
        return x @ np.asarray(it.weight).T + np.asarray(it.bias)

    def in_heads(name, x, heads):
        norm, projection = getattr(layer, f"{name}_norm"), getattr(layer, f"{name}_proj")
        x = np.asarray(x)
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        x = x * np.asarray(norm.weight) + np.asarray(norm.bias)
        return linear(projection, x).reshape(len(x), heads, -1)

    def turned(x, place):
        half = x.size // 2
        angle = place * layer.positions.base ** (-np.arange(half) / half)
        turned = (x[:half] + 1j * x[half:]) * np.exp(1j * angle)
        return np.concatenate([turned.real, turned.imag])

    def softmax(z):
        if layer.separation is not None:
            return np.asarray(layer.separation.weights(jnp.asarray(z)))
        return np.exp(z - z.max()) / np.exp(z - z.max()).sum()

    H, K = layer.num_heads, layer.num_kv_heads
    Q, S = len(query), len(memory)
    beta = np.broadcast_to(np.asarray(layer.beta), H)
    states = in_heads("query", query, H)
    keys, values = in_heads("memory", memory, K), in_heads("value", memory, K)
    rotary = isinstance(layer.positions, hx.nn.Rotary)
    biased = isinstance(layer.positions, hx.nn.RelativeBias)
    out = np.zeros((Q, H, values.shape[-1]))
    for q in range(Q):
        place = S - Q + q
        for h in range(H):
            k, v = keys[:, h // (H // K)], values[:, h // (H // K)]
            z_more = np.zeros(S)
            if rotary:
                k = np.stack([turned(k[s], s) for s in range(S)])
            if biased:
                reach = layer.positions.reach
                apart = [min(max(place - s, -reach), reach) for s in range(S)]
                z_more = np.asarray(layer.positions.numbers)[h, np.array(apart) + reach]
            k, v, z_more = k[allowed[q]], v[allowed[q]], z_more[allowed[q]]
            if layer.bias_item is not None:
                more = [np.asarray(part)[None, h // (H // K)] for part in layer.bias_item]
                k, v = np.concatenate([k, more[0]]), np.concatenate([v, more[1]])
            if layer.zero_item:
                k, v = np.pad(k, ((0, 1), (0, 0))), np.pad(v, ((0, 1), (0, 0)))
            z_more = np.pad(z_more, (0, len(k) - len(z_more)))
            x = turned(states[q, h], place) if rotary else states[q, h]
            for _ in range(layer.steps - 1):
                x = softmax(beta[h] * k @ x + z_more) @ k
            out[q, h] = softmax(beta[h] * k @ x + z_more) @ v
    return linear(layer.output_proj, out.reshape(Q, -1))


@EVERY
def test_options_are_what_their_equations_say(name):
    layer = made(**OPTIONS[name])
    queries = X[2:]  # fewer than items: at the places of the last ones
    every, causal = np.ones((4, 6), bool), np.tri(4, 6, 2, bool)
    assert_close(layer(queries, X), reference(layer, queries, X, every), 1e-13, ROUNDING)
    expected = reference(layer, queries, X, causal)
    assert_close(layer(queries, X, mask="causal"), expected, 1e-13, ROUNDING)
    assert_close(layer(queries, X, mask=jnp.asarray(causal)), expected, 1e-13, ROUNDING)
    assert np.abs(expected - layer(queries, X)).max() > 1e-2


@EVERY
def test_what_is_stored_bit_by_bit_is_the_sequence(name):
    layer = made(**OPTIONS[name])
    expected = layer(X, X, mask="causal")

    @jax.jit
    def generated(x):
        stored = hx.nn.store(layer, x[:3], room=8)
        first = layer(x[:3], stored, mask="causal")

        def step(stored, u):
            stored = hx.nn.store(layer, u[None], into=stored)
            return stored, layer(u, stored)

        stored, rest = jax.lax.scan(step, stored, x[3:])
        return jnp.concatenate([first, rest]), stored

    found, stored = generated(X)
    assert_close(found, expected, 1e-13, ROUNDING)
    assert stored.size == 6 and stored.counted.sum() == 6
    assert stored.keys.shape == (layer.num_kv_heads, 8, 4)
    assert_close(layer(X, stored, mask=stored.counted), layer(X, X), 1e-13, ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotary", "all"])
def test_blocks_change_nothing_with_options(name):
    def everything(layer, x):
        def scalar(parts):
            return jnp.sin(parts[0](parts[1], parts[1], mask="causal")).sum()

        parts = (layer, x)
        tangent = jax.tree.map(jnp.cos, eqx.filter(parts, eqx.is_inexact_array))
        gradient = eqx.filter_grad(scalar)
        second = eqx.filter_jvp(gradient, (parts,), (tangent,))[1]
        return layer(x, x, mask="causal"), gradient(parts), second

    direct = eqx.filter_jit(everything)(made(**OPTIONS[name]), X)
    for block in (3, 4):  # 4 does not divide 6
        found = eqx.filter_jit(everything)(made(block=block, **OPTIONS[name]), X)
        leaves = [jax.tree.leaves(eqx.filter(t, eqx.is_array)) for t in (direct, found)]
        for one, other in zip(*leaves, strict=True):
            assert_close(one, other, 1e-11, ROUNDING)


def test_rotary_is_that_of_equinox_and_depends_on_distances_alone():
    places, heads = jnp.arange(6), X[:, None]
    found = hx.nn.Rotary(100.0).turned(heads, places)
    theirs = eqx.nn.RotaryPositionalEmbedding(8, theta=100.0)
    assert_close(found[:, 0], theirs(X), 1e-6, "their angles are in float32")
    shifted = hx.nn.Rotary(100.0).turned(heads, places + 77)
    scores = jnp.einsum("qhd,shd->qs", found, found)
    assert_close(jnp.einsum("qhd,shd->qs", shifted, shifted), scores, 1e-12, ROUNDING)
    with pytest.raises(ValueError, match="`qk_size` must be even with `positions` = Rotary"):
        made(qk_size=3, positions=hx.nn.Rotary())
    with pytest.raises(ValueError, match="`positions` has numbers for 3 heads, not for 2"):
        made(positions=near(3))


def test_extra_items_are_retrieved_where_no_other_is():
    layer = made(extra_items=("bias",))
    mask = jnp.ones((6, 6), bool).at[1].set(False)
    alone = layer(X[1], X[:0])
    assert_close(layer(X, X, mask=mask)[1], alone, 1e-14, ROUNDING)
    value = layer.bias_item[1].ravel()
    weight, bias = layer.output_proj.weight, layer.output_proj.bias
    assert_close(alone, weight @ value + bias, 1e-14, ROUNDING)
    sparse = made(extra_items=("bias",), separation=hx.nn.Entmax(2.0))
    assert_close(sparse(X[1], X[:0]), alone, 1e-14, ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 2])
def test_states_at_rest_have_the_derivatives_of_many_steps(block):
    options = dict(learn_beta=True, positions=near(2), beta=2.0, extra_items=("zero",))
    rest, many = made(steps=None, **options, block=block), made(steps=200, **options)

    def derivatives(layer, x):
        def scalar(parts):
            return jnp.sin(parts[0](X[:3], parts[1])).sum()

        parts = (layer, x)
        tangent = jax.tree.map(jnp.cos, eqx.filter(parts, eqx.is_inexact_array))
        gradient = eqx.filter_grad(scalar)
        return gradient(parts), eqx.filter_jvp(gradient, (parts,), (tangent,))[1]

    assert_close(rest(X[:3], X), many(X[:3], X), 1e-10, "the tolerance of 2e-12 for one step")
    derivative = eqx.filter_jit(derivatives)
    found, expected = (dict(jax.tree.leaves_with_path(derivative(it, X))) for it in (rest, many))
    for path, other in expected.items():  # those that are known to be zero may be left out
        one = found.get(path, np.zeros(other.shape))
        assert_close(one, other, 1e-8 * (1 + np.abs(other).max()), "a state at rest to 1e-10")
    # none reach the start, and too few steps are those that there are
    assert (jax.grad(lambda q: rest(q, X).sum())(X[:3]) == 0).all()
    few, two = made(steps=None, max_steps=2, **options), made(steps=3, **options)
    assert_close(few(X[:3], X), two(X[:3], X), 1e-14, "the same steps")


def test_rest_is_seen_inside():
    layer = made(steps=None, beta=2.0)
    seen = hx.nn.inspect(layer, X[:3], X)
    assert seen.energy.shape == (2, 2, 3) and (seen.energy[1] < seen.energy[0]).all()
    more = hx.nn.inspect(made(steps=30, beta=2.0), X[:3], X)
    assert_close(seen.weights, more.weights, 1e-9, "at rest")
    stored = hx.nn.store(layer, X, room=7)
    assert_close(hx.nn.inspect(layer, X[:3], stored).weights[..., :6], seen.weights, 1e-12, "same")
    extra = hx.nn.inspect(made(extra_items=("zero",)), X[:3], X)
    assert extra.weights.shape == (2, 3, 7)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_there_is_no_room_for_more():
    layer = made()
    stored = hx.nn.store(layer, X[:3], room=4)
    with pytest.raises(ValueError, match="`into` has room for 4 items, of which 3 are stored: 2"):
        hx.nn.store(layer, X[:2], into=stored)
    put = jax.jit(lambda stored, x: hx.nn.store(layer, x, into=stored))
    assert np.isnan(layer(X[0], put(stored, X[:2]))).all()  # the number is not known before
    assert np.isfinite(layer(X[0], put(stored, X[:1]))).all()
    with pytest.raises(ValueError, match="`room` must be at least the number of items, 6, got 5"):
        hx.nn.store(layer, X, room=5)
    with pytest.raises(ValueError, match="`room` must be given with the first items"):
        hx.nn.store(layer, X[:1], room=9, into=stored)
    with pytest.raises(TypeError, match="`into` must be"):
        hx.nn.store(layer, X[:1], into=X)
    with pytest.raises(ValueError, match=r"`into.keys` must have shape .*\(1, 4, 4\)"):
        hx.nn.store(made(num_kv_heads=1), X[:1], into=stored)
    with pytest.raises(ValueError, match=r"`memory.keys` must have shape"):
        made(num_kv_heads=1)(X, stored)
    with pytest.raises(ValueError, match="`values` must not be given with a `Stored`"):
        layer(X, stored, X)
    with pytest.raises(TypeError, match="`layer` must be a HopfieldRetrieval"):
        hx.nn.store(None, X)
    with pytest.raises(TypeError, match="an item counts"):
        hx.nn.store(layer, X, mask=jnp.ones(6))


def test_padding_is_stored_and_never_retrieved():
    layer = made(positions=hx.nn.Rotary())
    mask = jnp.arange(6) >= 2
    bad = jnp.where(mask[:, None], X, jnp.nan)
    found = jax.vmap(lambda x: layer(X, hx.nn.store(layer, x, mask=mask), mask="causal"))(bad[None])
    both = jnp.tri(6, dtype=bool) & mask
    assert_close(found[0], layer(X, X, mask=both), 1e-13, ROUNDING)


def test_tables_and_pools_are_stored_too():
    table = hx.nn.HopfieldLookup(5, 2, 8, key=jr.key(1))
    assert_close(table.retrieval(X, hx.nn.store(table)), table(X), 1e-14, ROUNDING)
    pool = hx.nn.HopfieldPooling(2, 2, 8, key=jr.key(1))
    assert_close(pool(hx.nn.store(pool, X)), pool(X), 1e-14, ROUNDING)


def test_all_products_are_of_narrow_factors():
    options = dict(extra_items=("bias",), num_kv_heads=1)
    wide = made(**options, dtype=jnp.float32)
    narrow = made(**options, dtype=jnp.float32, compute_dtype=jnp.bfloat16)
    x = jnp.asarray(X, jnp.float32)
    products = [
        equation
        for equation in jax.make_jaxpr(narrow)(x, x).eqns
        if equation.primitive.name == "dot_general"
        and equation.invars[1].aval.ndim > 1  # not those of parameters alone, W b of norms
    ]
    # query, memory, value, output; scores and means of items and of the extra one
    assert len(products) == 8
    for equation in products:
        assert {v.aval.dtype for v in equation.invars} == {jnp.dtype(jnp.bfloat16)}
        assert equation.outvars[0].aval.dtype == jnp.float32
    found, exact = narrow(x, x), wide(x, x)
    assert 1e-5 < np.abs(found - exact).max() < 1e-2 * np.abs(exact).max()
    stored = hx.nn.store(narrow, x)
    assert stored.keys.dtype == jnp.bfloat16
    assert_close(narrow(x, stored), found, 0, "the same factors")
    gradient = eqx.filter_grad(lambda layer: (layer(x, x) ** 2).sum())
    one, other = gradient(narrow), gradient(wide)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == jnp.float32
        assert np.abs(a - b).max() < 5e-2 * (np.abs(b).max() + 0.1)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_is_frozen_does_not_move(tmp_path):
    kinds = (
        (
            hx.nn.HopfieldLookup,
            dict(learn_memory=False, separate_values=True),
            ("memory", "values"),
        ),
        (hx.nn.HopfieldPooling, dict(learn_queries=False), ("queries",)),
    )
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    for kind, options, names in kinds:
        layer = kind(5, 2, 8, **options, key=jr.key(0))
        learned = kind(5, 2, 8, **options | dict.fromkeys(list(options)[:1], True), key=jr.key(0))
        assert_close(layer(X), learned(X), 1e-15, "the same numbers")
        arrays, rest = eqx.partition(layer, eqx.is_inexact_array)
        gradient = eqx.filter_grad(lambda layer: (layer(X) ** 2).sum())(layer)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes them
            updates, _ = optimizer.update(gradient, optimizer.init(arrays), arrays)
        after = eqx.combine(eqx.apply_updates(arrays, updates), rest)
        for name in names:
            assert (getattr(after, name).value == getattr(learned, name)).all()
            assert not [n for n in hx.nn.to_functional(layer)[0] if n.startswith(name)]
        assert not (after.retrieval.query_proj.weight == layer.retrieval.query_proj.weight).all()
        hx.save(tmp_path / "layer", layer)
        assert eqx.tree_equal(hx.load(tmp_path / "layer"), layer)
    for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
        frozen = hx.nn.Constant(jnp.asarray([-0.0, 2.5, np.inf], dtype))
        assert frozen.value.dtype == dtype and np.signbit(np.asarray(frozen.value, float))[0]
    items = hx.nn.Constant(X)
    table = hx.nn.HopfieldLookup(6, 2, 8, learn_memory=False, key=jr.key(0))
    table = eqx.tree_at(lambda it: it.memory, table, items)
    assert_close(table(X), table.retrieval(X, X), 1e-15, "items of one's own")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_weights_are_made_by_an_initializer():
    drawn = []

    def initializer(key, shape, dtype):
        drawn.append(shape)
        return jax.nn.initializers.glorot_uniform()(key, shape, dtype)

    layer = made(initializer=initializer, extra_items=("bias",), num_kv_heads=1)
    assert drawn == [(8, 8), (8, 4), (8, 3), (6, 8), (1, 4), (1, 3)]  # (in, out)
    assert layer.query_proj.weight.shape == (8, 8) and (layer.query_proj.bias == 0).all()
    bound = np.sqrt(6 / (8 + 4))
    assert 0.8 * bound < jnp.abs(layer.memory_proj.weight).max() < bound
    table = hx.nn.HopfieldLookup(
        500, 2, 8, initializer=jax.nn.initializers.normal(0.02), key=jr.key(0)
    )
    assert 0.018 < jnp.asarray(table.memory).std() < 0.022
    with pytest.raises(TypeError, match="`initializer` must be a function of a key"):
        made(initializer="glorot")
    with pytest.raises(ValueError, match=r"`initializer\(...\)` must have shape"):
        made(initializer=lambda key, shape, dtype: jnp.zeros(3))


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_options_that_make_no_sense_are_named():
    for options, kind, text in (
        (dict(num_kv_heads=3), ValueError, "`num_kv_heads` must divide `num_heads` = 2, got 3"),
        (dict(extra_items=("one",)), ValueError, "`extra_items` must be one of 'bias', 'zero'"),
        (dict(positions="rotary"), TypeError, "`positions` must be .*Rotary"),
        (dict(compute_dtype=jnp.int8), TypeError, "`compute_dtype` must be a floating dtype"),
        (dict(steps=None, tol=2.0), ValueError, "`tol` must be between 0 and 1"),
        (dict(max_steps=0), ValueError, "`max_steps` must be a whole number >= 1"),
    ):
        with pytest.raises(kind, match=text):
            made(**options)
    for options, text in ((dict(base=1.0), "`base` must be > 1"), (dict(base=-2.0), "`base`")):
        with pytest.raises(ValueError, match=text):
            hx.nn.Rotary(**options)
    with pytest.raises(ValueError, match="`reach`"):
        hx.nn.RelativeBias(2, 0, key=jr.key(0))
