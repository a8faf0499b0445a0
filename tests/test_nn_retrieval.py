"""Softmax memories: equal to the authors' package, masks, blocks, derivatives and errors.

`data/hopfield_layers.npz` holds what the PyTorch package of Ramsauer et al. (ml-jku's
hopfield-layers at version 1.0.2) returned for random weights and inputs in float64, with its
tolerance for early stopping at 1e-300.
"""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from helpers import ROOT, assert_close

import hopfax as hx
from hopfax.nn._attend import Portion, fitting

ROUNDING = "float64, sums over a few ten items"


def _recorded():
    """By case: the constructor's options and the arrays."""
    with np.load(ROOT / "tests/data/hopfield_layers.npz") as file:
        cases, numbers = json.loads(bytes(file["cases"])), file["numbers"]
    found, at = {}, 0
    for name, case in cases.items():
        arrays = {}
        for array, shape in case["shapes"].items():
            size = int(np.prod(shape))
            arrays[array] = numbers[at : at + size].reshape(shape)
            at += size
        found[name] = case["options"], arrays
    assert at == len(numbers)
    return found


RECORDED = _recorded()
KINDS = {"lookup": hx.nn.HopfieldLookup, "pooling": hx.nn.HopfieldPooling}


def _of_record(name):
    """The layer with the recorded weights, and the arrays."""
    options, arrays = RECORDED[name]
    kind = KINDS.get(name.split(",")[0], hx.nn.HopfieldRetrieval)
    layer = kind(**options, key=jr.key(0))
    unused = set(arrays) - {"query", "memory", "values", "mask", "pad", "x", "out", "queries"}
    own = {"memory", "values"} if kind is KINDS["lookup"] else {"queries"}
    for array in (own & set(arrays)) if kind in KINDS.values() else ():
        layer = eqx.tree_at(lambda it, a=array: getattr(it, a), layer, jnp.asarray(arrays[array]))
    for array in unused:

        def leaf(it, names=tuple(array.split("."))):
            it = it.retrieval if kind in KINDS.values() else it
            return getattr(getattr(it, names[0]), names[1])

        assert leaf(layer).shape == arrays[array].shape
        layer = eqx.tree_at(leaf, layer, jnp.asarray(arrays[array]))
    return layer, arrays


@pytest.mark.parametrize("name", RECORDED)
def test_it_equals_the_authors_package(name):
    layer, arrays = _of_record(name)
    found = []
    for example in range(arrays["out"].shape[0]):
        names = ("x",) if "x" in arrays else ("query", "memory", "values")
        inputs = [jnp.asarray(arrays[name][example]) for name in names]
        masks = [arrays["mask"]] if "mask" in arrays else []
        masks += [arrays["pad"][example]] if "pad" in arrays else []
        mask = jnp.asarray(np.prod(masks, axis=0), bool) if len(masks) == 1 else None
        if len(masks) == 2:
            mask = jnp.asarray((masks[0] > 0) & (masks[1] > 0))
        found.append(layer(*inputs, mask=mask))
    shape = arrays["out"].shape  # theirs lays the means of a pool end to end
    assert_close(jnp.stack(found).reshape(shape), arrays["out"], 1e-12, ROUNDING)


def test_the_recorded_cases_tell_their_options_apart():
    # Each must fail when the option it is about is dropped.
    for name, option in (
        ("norms, 1 extra updates", dict(steps=1)),
        ("norms, 3 extra updates", dict(steps=3)),
        ("no norms", dict(beta=0.7)),
        ("association norm", dict(norms=("query", "memory", "value"))),
    ):
        layer, arrays = _of_record(name)
        other = hx.nn.HopfieldRetrieval(**RECORDED[name][0] | option, key=jr.key(0))
        arrays_of, settings = eqx.partition(layer, eqx.is_array)
        weights = jax.tree.leaves(arrays_of)[:-1]  # but for beta
        _, settings = eqx.partition(other, eqx.is_array)
        weights = [*weights, jax.tree.leaves(other)[-1]]
        other = jax.tree.unflatten(jax.tree.structure(other), weights)
        inputs = [jnp.asarray(arrays[n][0]) for n in ("query", "memory", "values")]
        assert jnp.abs(layer(*inputs) - other(*inputs)).max() > 1e-4, name


def _case(S=37, steps=2, **options):
    keys = jr.split(jr.key(1), 5)
    layer = hx.nn.HopfieldRetrieval(
        2, 6, memory_size=5, value_size=4, output_size=3, steps=steps, key=keys[0], **options
    )
    query, memory = jr.normal(keys[1], (3, 6)), jr.normal(keys[2], (S, 5))
    mask = jr.bernoulli(keys[3], 0.5, (3, S)).at[1].set(False)
    return layer, query, memory, jr.normal(keys[4], (S, 4)), mask


def _everything(layer, query, memory, values, mask):
    """What is retrieved, with its derivatives in reverse and these forward once more."""

    def scalar(parts):
        layer, query, memory, values = parts
        return jnp.sin(layer(query, memory, values, mask=mask)).sum()

    gradient = eqx.filter_grad(scalar)
    parts = (layer, query, memory, values)
    tangent = jax.tree.map(jnp.cos, eqx.filter(parts, eqx.is_array))
    second = eqx.filter_jvp(gradient, (parts,), (tangent,))[1]
    trees = (layer(query, memory, values, mask=mask), gradient(parts), second)
    return jax.tree.leaves(eqx.filter(trees, eqx.is_array))


@pytest.mark.slow
@pytest.mark.parametrize("S, block, masked", [(36, 9, True), (37, 8, False)])
def test_blocks_change_nothing(S, block, masked):
    # 36 items are four blocks of 9; 37 cannot be divided and are padded.
    *arguments, mask = _case(S, learn_beta=True)
    mask = mask if masked else None
    in_blocks = _case(S, learn_beta=True, block=block)[0]
    direct = eqx.filter_jit(_everything)(*arguments, mask)
    found = eqx.filter_jit(_everything)(in_blocks, *arguments[1:], mask)
    for one, other in zip(direct, found, strict=True):
        assert_close(one, other, 1e-12, ROUNDING)


def test_causal_queries_see_what_came_before():
    layer, _, _, _, _ = _case(5)
    x = jr.normal(jr.key(7), (5, 6))
    memory, values = x[:, :5], x[:, :4]
    found = layer(x, memory, values, mask="causal")
    for k in range(5):
        one = layer(x[k], memory[: k + 1], values[: k + 1])
        assert_close(found[k], one, 1e-12, ROUNDING)
    # Fewer queries are the last ones, as in decoding.
    assert_close(layer(x[3:], memory, values, mask="causal"), found[3:], 1e-12, ROUNDING)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_another_word_for_a_mask_is_refused():
    layer, query, memory, values, _ = _case(5)
    with pytest.raises(ValueError, match="`mask` must be .*causal"):
        layer(query, memory, values, mask="future")


def test_weights_are_dropped_in_training_alone(tmp_path):
    layer, query, memory, values, mask = _case(9, dropout=0.5)
    with pytest.raises(ValueError, match="`key` is needed in training"):
        layer(query, memory, values, mask=mask)
    plain = _case(9)[0]
    exact = plain(query, memory, values, mask=mask)
    hx.save(tmp_path / "layer.hopfax", layer)
    rest = eqx.nn.inference_mode(hx.load(tmp_path / "layer.hopfax"))
    assert_close(rest(query, memory, values, mask=mask), exact, 1e-12, ROUNDING)
    keys = jr.split(jr.key(8), 4000)
    found = jax.jit(jax.vmap(lambda key: layer(query, memory, values, mask=mask, key=key)))(keys)
    error = found.std(0) / np.sqrt(len(keys))
    assert (error[0] > 0).all() and (jnp.abs(found.mean(0) - exact) <= 5 * error).all()
    for kind, inputs in (
        (hx.nn.HopfieldLookup(5, 2, 6, dropout=0.5, key=jr.key(0)), (query,)),
        (hx.nn.HopfieldPooling(3, 2, 4, memory_size=5, dropout=0.5, key=jr.key(0)), (memory,)),
    ):
        with pytest.raises(ValueError, match="`key` is needed in training"):
            kind(*inputs)
        assert jnp.isfinite(kind(*inputs, key=jr.key(1))).all()
    with pytest.raises(ValueError, match=r"`dropout` must lie in \[0, 1\)"):
        _case(9, dropout=1.0)


def test_large_scores_do_not_overflow_in_blocks():
    layer, query, memory, values, _ = _case(36, steps=1, beta=1e4)
    in_blocks = _case(36, steps=1, beta=1e4, block=9)[0]
    direct = layer(query, memory, values)
    assert jnp.isfinite(direct).all()
    assert_close(in_blocks(query, memory, values), direct, 1e-12, ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 8])
def test_a_fully_masked_row_gives_zeros_and_zero_gradients(block):
    *parts, mask = _case(block=block)

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def loss(parts, rows):
        layer, query, memory, values = parts
        out = layer(query, memory, values, mask=mask)
        return (rows @ jnp.sin(out)).sum(), out

    (_, out), gradient = loss(tuple(parts), jnp.array([0.0, 1.0, 0.0]))
    assert (out[1] == 0).all() and (out[jnp.array([0, 2])] != 0).all()
    for leaf in jax.tree.leaves(gradient):
        assert (leaf == 0).all()
    # What no row reads may hold anything.
    layer, query, memory, values = parts
    bad = ~mask.any(0)[:, None]
    memory, values = jnp.where(bad, jnp.nan, memory), jnp.where(bad, jnp.inf, values)
    (_, same), of_bad = loss((layer, query, memory, values), jnp.ones(3))
    assert (same == out).all()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(of_bad))
    # In the loss of all rows it adds nothing, and what is masked out gets no derivative.
    total = loss(tuple(parts), jnp.ones(3))[1]
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(total))
    total = total[2]
    never = ~mask.any(0)
    assert never.any() and (total[never] == 0).all() and (total[~never] != 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 8])
def test_nothing_stored_or_nothing_asked(block):
    layer, query, memory, values, _ = _case(block=block)
    gradient = jax.grad(lambda query, memory, values: layer(query, memory, values).sum())
    assert (layer(query, memory[:0], values[:0]) == 0).all()  # as if all were masked
    assert (gradient(query, memory[:0], values[:0]) == 0).all()
    assert layer(query[:0], memory, values).shape == (0, 3)


def test_masks_of_any_shape_leave_items_out():
    layer, query, memory, values, mask = _case()
    kept = mask[0]
    expected = layer(query, memory[kept], values[kept])
    assert_close(layer(query, memory, values, mask=kept), expected, 1e-14, ROUNDING)
    by_row = jnp.broadcast_to(kept, (3, 37))
    assert_close(layer(query, memory, values, mask=by_row), expected, 1e-14, ROUNDING)
    by_head = jnp.broadcast_to(by_row, (2, 3, 37))
    assert_close(layer(query, memory, values, mask=by_head), expected, 1e-14, ROUNDING)
    for shape in ((1, 37), (1, 1, 37), (2, 1, 37), (1, 3, 37)):
        wide = jnp.broadcast_to(kept, shape)
        assert_close(layer(query, memory, values, mask=wide), expected, 1e-14, ROUNDING)
    one_off = by_head.at[1].set(False)  # the second head adds nothing
    silenced = eqx.tree_at(
        lambda it: it.output_proj.weight, layer, layer.output_proj.weight.at[:, 3:].set(0.0)
    )
    expected = silenced(query, memory, values, mask=by_head)
    assert_close(layer(query, memory, values, mask=one_off), expected, 1e-14, ROUNDING)


def test_one_state_is_a_row_of_many():
    layer, query, memory, values, _ = _case()
    rows = layer(query, memory, values)
    assert_close(layer(query[2], memory, values), rows[2], 1e-14, ROUNDING)
    batched = jax.vmap(layer, (0, None, None))(query, memory, values)
    assert_close(batched, rows, 1e-14, ROUNDING)


def test_more_steps_find_one_item():
    # Unprojected, a noisy item is restored: the rest's weight falls as exp(-beta * gap).
    memory = jr.normal(jr.key(0), (20, 64))
    layer = hx.nn.HopfieldRetrieval(
        1, 64, beta=1.0, steps=3, norms=(), projections=(), key=jr.key(1)
    )
    noisy = memory[4] + 0.5 * jr.normal(jr.key(2), (64,))
    assert_close(layer(noisy, memory), memory[4], 1e-6, "the gap is above 20")
    diffuse = hx.nn.HopfieldRetrieval(
        1, 64, beta=1e-6, steps=3, norms=(), projections=(), key=jr.key(1)
    )
    assert_close(diffuse(noisy, memory), memory.mean(0), 1e-3, "the mean at high temperature")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_beta_is_learned_only_if_asked():
    """Weight decay moves every parameter, also one without a derivative."""
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    for learn in (True, False):
        layer = _case(learn_beta=learn, beta=jnp.array([0.5, 2.0]))[0]
        arrays, rest = eqx.partition(layer, eqx.is_inexact_array)
        still = jax.tree.map(jnp.zeros_like, arrays)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes them
            updates, _ = optimizer.update(still, optimizer.init(arrays), arrays)
        after = eqx.combine(eqx.apply_updates(arrays, updates), rest)
        assert_close(layer.beta, [0.5, 2.0], 1e-15, "exp of log")
        assert (np.abs(after.beta - layer.beta) > 0.01).all() == learn == layer.learn_beta
        assert not (after.query_proj.weight == layer.query_proj.weight).all()
        assert ("log_beta" in hx.nn.to_functional(layer)[0]) == learn
    for make in (hx.nn.HopfieldLookup, hx.nn.HopfieldPooling):
        parameters = hx.nn.to_functional(make(5, 2, 6, key=jr.key(0)))[0]
        assert not [name for name in parameters if "beta" in name]


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_a_traced_beta_must_be_learned():
    def made(beta, learn):
        return hx.nn.HopfieldRetrieval(2, 6, beta=beta, learn_beta=learn, key=jr.key(0)).beta

    assert jax.jit(made, static_argnums=1)(2.0, True) == 2.0
    with pytest.raises(TypeError, match="`beta` must be known.*learn_beta=True"):
        jax.jit(made, static_argnums=1)(2.0, False)


@pytest.mark.slow
def test_large_memories_cost_a_block():
    # 1e5 items for 64 queries in 2 heads: scores alone would be 102 MB in float64.
    S, Q = 100_000, 64
    layer = hx.nn.HopfieldRetrieval(2, 8, key=jr.key(0))
    block = fitting(Q, 2, S).items

    def loss(parts):
        layer, query, memory = parts
        return jnp.sin(layer(query, memory)).sum()

    arguments = (layer, jnp.zeros((Q, 8)), jnp.zeros((S, 8)))
    gradient = eqx.filter_jit(eqx.filter_grad(loss))
    compiled = gradient.lower(arguments).compile().compiled
    used = compiled.memory_analysis().temp_size_in_bytes
    assert used < 3 * block * Q * 2 * 8  # not three blocks of scores, whatever S
    direct = hx.nn.HopfieldRetrieval(2, 8, block=None, key=jr.key(0))
    compiled = gradient.lower((direct, *arguments[1:])).compile().compiled
    assert compiled.memory_analysis().temp_size_in_bytes > 2 * S * Q * 8


def test_blocks_fit_the_cache_and_the_program():
    whole = Portion(None, None)
    assert fitting(1, 1, 8192) == whole and fitting(1, 1, 8193) == Portion(None, 2048)
    assert fitting(64, 4, 1024) == whole and fitting(4096, 8, 4096) == Portion(8, None)
    assert fitting(512, 8, 1024) == Portion(32, None)
    assert fitting(4096, 16, 4096) == Portion(None, 64)  # not eight queries
    length = jax.export.symbolic_shape("S")[0]
    assert fitting(1, 1, length) == whole


@pytest.mark.slow
@pytest.mark.parametrize("separation", [None, hx.nn.Entmax(1.5)])
def test_some_queries_at_a_time_change_nothing(separation):
    # 41 queries of 2 heads with 8192 items: 16 at a time, which leaves 9
    keys = jr.split(jr.key(0), 4)
    query, memory = jr.normal(keys[0], (41, 4)), jr.normal(keys[1], (8192, 4))
    mask = jr.bernoulli(keys[2], 0.5, (41, 8192)).at[3].set(False)
    assert fitting(41, 2, 8192) == Portion(16, None)

    def made(block, **options):
        return hx.nn.HopfieldRetrieval(2, 4, block=block, **options, key=keys[3])

    @eqx.filter_jit
    def everything(layer, mask):
        def scalar(parts):
            layer, query, memory = parts
            out = layer(query, memory, mask=mask)
            return jnp.sin(out).sum(), out

        return eqx.filter_value_and_grad(scalar, has_aux=True)((layer, query, memory))

    options = dict(steps=2, positions=hx.nn.Rotary(), separation=separation, learn_beta=True)
    for given in (mask, "causal") if separation is None else ("causal",):
        found, expected = (
            jax.tree.leaves(everything(made(block, **options), given)) for block in ("auto", None)
        )
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, 1e-11, "float64, sums over thousands of items")


@pytest.mark.slow
def test_a_pool_of_values_and_a_table_of_values():
    keys = jr.split(jr.key(0), 3)
    memory, values = jr.normal(keys[0], (7, 4)), jr.normal(keys[1], (7, 3))
    pool = hx.nn.HopfieldPooling(2, 1, 4, value_size=3, output_size=5, key=keys[2])
    out = pool(memory, values)
    assert out.shape == (2, 5)
    order = jnp.array([3, 1, 0, 2, 6, 5, 4])
    assert_close(pool(memory[order], values[order]), out, 1e-14, "order does not matter")
    table = hx.nn.HopfieldLookup(7, 1, 4, value_size=3, separate_values=True, key=keys[2])
    assert np.shape(table.values) == (7, 3)
    expected = table.retrieval(memory, table.memory, table.values)
    assert_close(table(memory), expected, 0, "the same call")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_errors_say_what_to_do():
    make, key = hx.nn.HopfieldRetrieval, jr.key(0)
    for options, text in (
        (dict(num_heads=4), "`query_size` must be a multiple of `num_heads` = 4, got 6"),
        (dict(steps=0), "`steps` must be a whole number >= 1, got 0"),
        (dict(beta=-1.0), "`beta` must be > 0"),
        (dict(beta=jnp.ones(3)), r"`beta` must be a scalar or have shape \(num_heads,\)"),
        (dict(norms=("keys",)), "`norms` must be one of 'query', 'memory'"),
        (dict(projections=("key",)), "`projections` must be one of 'query'"),
        (dict(projections=("query",), memory_size=5), "`memory_size` must be `qk_size` = 3"),
        (dict(block=0), "`block` must be a whole number"),
    ):
        with pytest.raises(ValueError, match=text):
            make(**{"num_heads": 2, "query_size": 6, **options}, key=key)
    with pytest.raises(ValueError, match="separate_values=True"):
        hx.nn.HopfieldLookup(5, 2, 6, value_size=3, key=key)
    layer, query, memory, values, mask = _case()
    for arguments, text in (
        ((query[:, :5], memory, values), r"`query` must have shape \(Q, query_size\) = \(3, 6\)"),
        ((query[None], memory, values), "use jax.vmap"),
        ((query, memory[:, :4], values), r"`memory` must have shape \(S, memory_size\)"),
        ((query, memory, values[:9]), r"`values` must have shape \(S, value_size\) = \(37, 4\)"),
        ((query, memory), "`values` must have shape"),
    ):
        with pytest.raises(ValueError, match=text):
            layer(*arguments)
    for wrong in (mask.T, mask[:, :1], mask[:2], mask[0, 0], mask[None, None]):
        with pytest.raises(ValueError, match=r"`mask` must have shape \(S,\), \(Q, S\) or"):
            layer(query, memory, values, mask=wrong)
    with pytest.raises(TypeError, match="`mask` must be boolean"):
        layer(query, memory, values, mask=jnp.ones((3, 37)))
