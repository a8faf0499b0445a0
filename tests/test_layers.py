"""What every layer promises: transformations, files, export, precision, one compilation."""

import functools
import inspect
import json
import os
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import zoo
from helpers import assert_close, run_python
from jax import export

import hopfax as hx

LAYERS = zoo.layers()
EVERY = pytest.mark.parametrize("name", list(LAYERS))
EVERY_RECURRENT = pytest.mark.parametrize(
    "name", [name for name, (layer, *_) in LAYERS.items() if hasattr(layer, "step")]
)
ANY_LENGTH = pytest.mark.parametrize(
    "name", [name for name, specimen in LAYERS.items() if specimen.any_length]
)
RETRIEVALS = ("HopfieldRetrieval", "HopfieldLookup", "HopfieldPooling")
BLOCKS = ("EnergyTransformer", "HopfieldEncoder", "HopfieldDecoder")


@functools.cache
def opened(name):
    """Parameters, inputs, and the compiled function of both."""
    layer, inputs, *_ = LAYERS[name]
    parameters, apply = hx.nn.to_functional(layer)
    return parameters, inputs, jax.jit(apply)


def size(out):
    """A smooth number that depends on every output."""
    return jnp.sum(jnp.sin(out + 0.1))


def batch(inputs):
    return tuple(jnp.stack([x, -0.7 * jnp.flip(x, -1), -0.9 * x]) for x in inputs)


def over_batch(function, inputs):
    return jax.vmap(function, in_axes=(None, *([0] * len(inputs))))


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def cast(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)


def test_the_zoo_is_complete():
    public = {name: item for name, item in vars(hx.nn).items() if inspect.isclass(item)}
    layers = {name for name, item in public.items() if "__call__" in vars(item)}
    missing = layers - {type(layer).__name__ for layer, *_ in LAYERS.values()}
    assert not missing, f"layers() of tests/zoo.py has no specimen of {sorted(missing)}"


@EVERY
def test_vmap_is_a_loop_and_export_is_for_any_batch(name):
    parameters, inputs, apply = opened(name)
    many = batch(inputs)
    together = jax.jit(over_batch(apply, inputs))(parameters, *many)
    (b,) = export.symbolic_shape("b")
    free = [jax.ShapeDtypeStruct((b, *x.shape), x.dtype) for x in inputs]
    served = exported(over_batch(apply, inputs), shapes(parameters), *free)
    elsewhere = served.call(parameters, *many)
    in_turn = jax.eval_shape(
        lambda p, xs: jax.lax.map(lambda x: apply(p, *x), xs), parameters, many
    )
    assert in_turn.shape == together.shape
    for k in range(3):
        alone = apply(parameters, *(x[k] for x in many))
        assert_close(together[k], alone, 1e-11, "the same sums in another order")
        assert_close(elsewhere[k], alone, 1e-11, "the same sums in another order")
    assert np.isfinite(together).all() and np.abs(together[1] - together[0]).max() > 1e-6


def exported(function, *shapes):
    """Through bytes, as a server would get it."""
    return export.deserialize(export.export(jax.jit(function))(*shapes).serialize())


@ANY_LENGTH
def test_export_is_for_any_length(name):
    parameters, (us,), apply = opened(name)
    (T,) = export.symbolic_shape("T")
    free = jax.ShapeDtypeStruct((T, *us.shape[1:]), us.dtype)
    served = exported(apply, shapes(parameters), free)
    longer = jnp.concatenate([us, us[:2]])
    assert_close(served.call(parameters, longer)[: len(us)], apply(parameters, us), 1e-11, "causal")
    assert np.isfinite(served.call(parameters, longer)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["HopfieldRetrieval", "in steps and blocks", "HopfieldRetrieval, entmax"]
)
def test_retrievals_are_exported_for_any_numbers_of_queries_and_items(name):
    parameters, (rows, items), _ = opened(name)
    apply = hx.nn.to_functional(LAYERS[name].layer)[1]
    masks = None, "causal", jnp.arange(5) != 2, jnp.arange(15).reshape(3, 5) % 4 != 1
    masks = masks if name == "HopfieldRetrieval" else masks[1::2]

    def all_masks(parameters, query, memory, *arrays):
        known = iter(arrays)
        given = (next(known) if isinstance(mask, jax.Array) else mask for mask in masks)
        return jnp.stack([apply(parameters, query, memory, mask=mask) for mask in given])

    Q, S = export.symbolic_shape("Q, S")
    given = (rows, items, *(mask for mask in masks if isinstance(mask, jax.Array)))
    sizes = {(3, 4): (Q, 4), (5, 4): (S, 4), (5,): (S,), (3, 5): (Q, S)}
    free = (jax.ShapeDtypeStruct(sizes[x.shape], x.dtype) for x in given)
    served = exported(all_masks, shapes(parameters), *free).call(parameters, *given)
    expected = jax.jit(all_masks)(parameters, *given)
    assert_close(served, expected, 1e-11, "the same sums")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_a_program_for_any_length_says_what_it_cannot_have():
    Q, S = export.symbolic_shape("Q, S")
    layer, (us,), *_ = LAYERS["ResidualSelection"]
    with pytest.raises(ValueError, match="`mode` = 'scan' needs a length that is known"):
        exported(lambda us: layer(us), jax.ShapeDtypeStruct((Q, 3), us.dtype))
    few = hx.nn.HopfieldRetrieval(2, 4, separation=hx.nn.TopK(2), key=jax.random.key(0))
    free = [jax.ShapeDtypeStruct((n, 4), us.dtype) for n in (Q, S)]
    with pytest.raises(ValueError, match=r"`k` = 2 must be less.*\['S >= 3'\]"):
        exported(lambda *given: few(*given), *free)
    Q, S = export.symbolic_shape("Q, S", constraints=["S >= 3"])
    free = [jax.ShapeDtypeStruct((n, 4), us.dtype) for n in (Q, S)]
    exported(lambda *given: few(*given), *free)


ELSEWHERE = """
import sys
for name in ("hopfax", "equinox", "diffrax"):
    sys.modules[name] = None  # an import of it fails
import pickle
import jax, numpy as np
from jax import export
jax.config.update("jax_enable_x64", True)
for name, (program, parameters, inputs, expected) in pickle.load(open(sys.argv[1], "rb")).items():
    found = export.deserialize(program).call(parameters, *inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11, err_msg=name)
print(name)
"""


@pytest.mark.slow
def test_programs_run_where_there_is_no_hopfax(tmp_path):
    kept = {}
    for name in LAYERS:
        parameters, inputs, apply = opened(name)
        program = export.export(apply)(shapes(parameters), *shapes(inputs)).serialize()
        given = jax.tree.map(np.asarray, (parameters, inputs))
        kept[name] = (program, *given, np.asarray(apply(parameters, *inputs)))
    (tmp_path / "kept").write_bytes(pickle.dumps(kept))
    code = ELSEWHERE.replace("sys.argv[1]", repr(str(tmp_path / "kept")))
    assert run_python(code) == name


@EVERY
def test_gradients_are_right_also_when_recomputed(name):
    parameters, inputs, apply = opened(name)

    def loss(given):
        return size(apply(given[0], *given[1]))

    given = (parameters, inputs)
    gradients = jax.jit(jax.grad(loss))(given)
    again = jax.jit(jax.grad(jax.checkpoint(loss)))(given)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(gradients), strict=True):
        assert np.isfinite(b).all()
        assert_close(a, b, 1e-10, "the same sums, fused in another way")
    # along one random direction, against central differences
    leaves, structure = jax.tree.flatten(given)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    way = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]

    def along(h):
        moved = [x + h * d for x, d in zip(leaves, way, strict=True)]
        return loss(jax.tree.unflatten(structure, moved))

    h = 1e-5
    slope = sum((g * d).sum() for g, d in zip(jax.tree.leaves(gradients), way, strict=True))
    assert abs(slope) > 1e-6
    tolerance = 1e-6 * (1 + abs(float(slope)))
    assert_close((along(h) - along(-h)) / (2 * h), slope, tolerance, "h^2, and rounding over h")


@EVERY
def test_the_flat_dictionary_is_a_checkpoint(name, tmp_path):
    import orbax.checkpoint as ocp
    from safetensors import numpy as safetensors

    parameters, inputs, apply = opened(name)
    assert (apply(parameters, *inputs) == eqx.filter_jit(LAYERS[name].layer)(*inputs)).all()
    assert parameters and all(eqx.is_inexact_array(x) for x in parameters.values())

    safetensors.save_file({k: np.asarray(x) for k, x in parameters.items()}, tmp_path / "a")
    read = {k: jnp.asarray(x) for k, x in safetensors.load_file(tmp_path / "a").items()}
    assert (apply(read, *inputs) == apply(parameters, *inputs)).all()

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "b", parameters)
        checkpointer.wait_until_finished()
        read = checkpointer.restore(tmp_path / "b", jax.tree.map(jnp.zeros_like, parameters))
    assert (apply(read, *inputs) == apply(parameters, *inputs)).all()


@EVERY
def test_through_a_file(name, tmp_path):
    layer = LAYERS[name].layer
    hx.save(tmp_path / "layer.eqx", layer)
    back = hx.load(tmp_path / "layer.eqx")
    assert jax.tree.structure(back) == jax.tree.structure(layer)  # options too
    assert eqx.tree_equal(back, layer)


@EVERY
def test_half_precision_outside_single_inside(name):
    parameters, inputs, apply = opened(name)
    single, half = cast(parameters, jnp.float32), cast(inputs, jnp.bfloat16)
    out, wide = apply(single, *half), apply(single, *cast(half, jnp.float32))
    assert out.dtype == jnp.bfloat16 and wide.dtype == jnp.float32
    assert (out == wide.astype(jnp.bfloat16)).all()
    short = apply(cast(parameters, jnp.bfloat16), *half)
    assert short.dtype == jnp.bfloat16 and np.isfinite(short).all()


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    "name", [*RETRIEVALS, *BLOCKS, "DenseMemoryLayer", "SequenceMemory", "step by step"]
)
def test_whole_numbers_and_lists_are_numbers(name):
    layer, inputs, *_ = LAYERS[name]
    given = [np.round(3 * np.asarray(x)) for x in inputs]  # and their outputs are no integers
    expected = layer(*map(jnp.asarray, given))
    assert (layer(*(jnp.asarray(x, jnp.int8) for x in given)) == expected).all()
    assert (layer(*(x.tolist() for x in given)) == expected).all()


@pytest.fixture
def keeps_programs(monkeypatch):
    """Programs are not let go of, as is done where a process has compiled very many."""
    monkeypatch.setattr("hopfax.nn._precision.tidy", lambda: None)


@pytest.mark.usefixtures("keeps_programs")
@EVERY
def test_training_compiles_once(name):
    layer, inputs, *_ = LAYERS[name]
    optimizer, traces, values = optax.sgd(1e-3), [], []

    @eqx.filter_jit
    def train(layer, state, inputs):
        traces.append(None)
        value, gradient = eqx.filter_value_and_grad(lambda layer: size(layer(*inputs)))(layer)
        updates, state = optimizer.update(gradient, state)
        return eqx.apply_updates(layer, updates), state, value

    state = optimizer.init(eqx.filter(layer, eqx.is_inexact_array))
    for _ in range(4):
        layer, state, value = train(layer, state, inputs)
        values.append(float(value))
    assert len(traces) == 1
    assert values[-1] < values[0]


@pytest.mark.usefixtures("as_a_user_runs_it")
@EVERY_RECURRENT
def test_a_mask_of_steps_that_does_not_fit_is_named(name):
    layer, (us,), *_ = LAYERS[name]
    with pytest.raises(ValueError, match=r"`mask` must have shape \(T,\) = \(4,\)"):
        layer(us, mask=jnp.ones(3, bool))
    with pytest.raises(TypeError, match="`mask` must be boolean"):
        layer(us, mask=jnp.ones(4))


@pytest.mark.usefixtures("as_a_user_runs_it")
@EVERY_RECURRENT
def test_a_state_of_something_else_is_named(name):
    layer, (us,), *_ = LAYERS[name]
    larger = jax.tree.map(lambda x: jnp.zeros((2, *x.shape)), layer.init())
    for state in (0, (), "a", us, larger):
        with pytest.raises((ValueError, TypeError), match="`state"):
            layer(us, state)
        with pytest.raises((ValueError, TypeError), match="`state"):
            layer.step(state, us[0])


@pytest.mark.usefixtures("keeps_programs")
@EVERY_RECURRENT
def test_steps_are_the_sequence(name):
    layer, (us,), *_ = LAYERS[name]
    traces = []

    @eqx.filter_jit
    def step(layer, state, u):
        traces.append(None)
        return layer.step(state, u)

    state, ys = layer.init(), []
    for u in us:
        state, y = step(layer, state, u)
        ys.append(y)
    assert len(traces) == 1
    parameters, _, apply = opened(name)
    assert_close(jnp.stack(ys), apply(parameters, us), 1e-10, "other forms of the same sums")
    half = us[0].astype(jnp.bfloat16)
    assert jax.eval_shape(lambda u: layer.step(layer.init(), u)[1], half).dtype == jnp.bfloat16
    scan = jax.jit(lambda: jax.lax.scan(lambda s, u: layer.step(s, u), layer.init(), us)[1])
    assert_close(scan(), jnp.stack(ys), 1e-12, "the same step")


@EVERY_RECURRENT
def test_what_comes_later_or_is_padding_changes_nothing(name):
    parameters, (us,), apply = opened(name)
    expected = apply(parameters, us)
    for bad in (np.nan, 1e8):
        later = apply(parameters, us.at[3].set(bad))
        assert_close(later[:3], expected[:3], 1e-14, "the same sums")
    # masked steps are as if they were not there, wherever they are and whatever they hold
    wide = jnp.full((7, us.shape[1]), jnp.nan)
    places = np.array([1, 2, 4, 6])
    wide, mask = wide.at[places].set(us), jnp.zeros(7, bool).at[places].set(True)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def run(parameters, us, state, mask):
        ys, state = apply(parameters, us, state, mask=mask)
        return size(ys), (ys, state)

    start = LAYERS[name].layer.init()
    (_, (ys, end)), gradients = run(parameters, wide, start, mask)
    assert_close(ys[places], expected, 1e-11, "the same sums in another order")
    assert (ys[~mask] == 0).all() and (gradients[1][~mask] == 0).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((ys, end, gradients)))
    # in two parts, the second from the state after the first
    first, second = mask & (jnp.arange(7) < 4), mask & (jnp.arange(7) >= 4)
    (_, (early, state)), _ = run(parameters, wide, start, first)
    (_, (late, last)), _ = run(parameters, wide, state, second)
    assert_close(early + late, ys, 1e-11, "the same sums in another order")
    for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(end), strict=True):
        assert_close(a, b, 1e-11, "the same sums in another order")
    layer, u = LAYERS[name].layer, us[3]  # prefill, then a step
    assert_close(
        layer.step(run(parameters, wide, start, mask.at[6].set(False))[0][1][1], u)[1],
        expected[3],
        1e-10,
        "other forms of the same sums",
    )


@EVERY
def test_a_user_may_forbid_that_ranks_are_promoted(name):
    parameters, inputs, _ = opened(name)
    _, apply = hx.nn.to_functional(LAYERS[name].layer)
    with jax.numpy_rank_promotion("raise"):
        of_jit = jax.grad(lambda p: jax.jit(apply)(p, *inputs).sum())  # rules are traced later
        jax.eval_shape(of_jit, parameters)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_functional_says_what_is_wrong():
    layer = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    parameters, apply = hx.nn.to_functional(layer)
    assert set(parameters) == {"weight", "bias"}
    x = jnp.ones(2)
    with pytest.raises(ValueError, match=r"must have \['weight'\].*Is it `weights`"):
        apply({"bias": parameters["bias"], "weights": parameters["weight"]}, x)
    with pytest.raises(ValueError, match="more"):
        apply(parameters | {"more": x}, x)
    with pytest.raises(ValueError, match=r"parameters\['bias'\].*\(3,\)"):
        apply(parameters | {"bias": x}, x)
    with pytest.raises(TypeError, match="equinox.Module"):
        hx.nn.to_functional(jnp.tanh)
    with pytest.raises(ValueError, match=r"several arrays of the name \['tables.a.b'\]"):
        hx.nn.to_functional(Tables({"a.b": x, "a": {"b": x}}))


def test_functional_leaves_integers_alone():
    parameters, _ = hx.nn.to_functional(Tables({"count": jnp.arange(3), "weight": jnp.ones(2)}))
    assert list(parameters) == ["tables.weight"]


@EVERY
def test_flax_keeps_the_layer(name):
    from flax import nnx

    from hopfax.nn.flax import Layer

    layer = LAYERS[name].layer
    wrapped = Layer(layer)
    for again in (nnx.merge(*nnx.split(wrapped)), pickle.loads(pickle.dumps(wrapped))):
        assert eqx.tree_equal(again.layer, layer)


def test_a_flax_layer_has_what_its_layer_has():
    from flax import nnx

    from hopfax.nn.flax import Layer

    layer, (us,), *_ = LAYERS["SequenceMemory"]
    wrapped = Layer(layer)
    state, y = wrapped.step(wrapped.init(), us[0])
    assert_close(y, layer.step(layer.init(), us[0])[1], 1e-14, "the same")
    wrapped.parameters["parameters.kappa.free"][...] += 1.0  # by training
    far = jnp.log(1.25)  # the default reach
    expected = layer.network.kappa * jnp.exp(far * jnp.tanh(1 / far))
    assert_close(wrapped.network.kappa, expected, 1e-12, "rounding")
    assert (wrapped.in_size, wrapped.output) == (layer.in_size, layer.output)
    assert not hasattr(wrapped, "beta") and not hasattr(wrapped, "_beta")
    with pytest.raises(AttributeError, match="neither Layer nor its SequenceMemory has 'beta'"):
        wrapped.beta  # noqa: B018
    table = nnx.tabulate(wrapped, us, console_kwargs={"width": 200})
    assert "Layer" in table and "Total" in table
    assert wrapped(us).shape == (4, 3)  # as before


#: Every layer on two devices; a program for each would cost a process for each.
ON_TWO_DEVICES = """
import functools, sys
sys.path.insert(0, "tests")
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
jax.config.update("jax_enable_x64", True)
import hopfax as hx, zoo

auto, explicit = (
    jax.make_mesh((2,), ("b",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit)
)

def close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)

def on_each(function, out):
    return jax.jit(jax.shard_map(function, mesh=auto, in_specs=(P(), P("b")), out_specs=out))

def typed(mesh, spec):
    return lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

for name, (layer, inputs, *_) in zoo.layers().items():
    parameters, apply = hx.nn.to_functional(layer)
    pair = tuple(jnp.stack([x, -0.7 * jnp.flip(x, -1)]) for x in inputs)

    def loss(parameters, inputs):
        return jnp.sum(jnp.sin(apply(parameters, *inputs) + 0.1))

    # shard_map: an example on each device
    together = on_each(
        jax.value_and_grad(lambda p, xs: jax.lax.psum(loss(p, [x[0] for x in xs]), "b")), P()
    )
    if name in ("in steps and blocks", "at rest"):
        plain = jax.jit(jax.value_and_grad(loss))
        expected = (plain(parameters, [x[k] for x in pair]) for k in (0, 1))
        close(together(parameters, pair), jax.tree.map(jnp.add, *expected))
    else:  # what may fail are types
        jax.eval_shape(together, parameters, pair)
    if hasattr(layer, "step"):

        def steps(parameters, us):
            run = functools.partial(apply, parameters)
            _, state = run(us[0], layer.init(), mask=jnp.arange(us.shape[1]) < 3)
            return run(state, us[0, 0], method="step")[1][None]

        assert jax.eval_shape(on_each(steps, P("b")), parameters, pair[0]).shape[0] == 2

    # an explicit mesh, which the types tell
    types = (jax.tree.map(typed(explicit, P()), parameters), *map(typed(explicit, P("b")), pair))
    many = jax.vmap(apply, (None, *(0 for _ in pair)))
    slopes = jax.jit(jax.grad(lambda *given: jnp.sum(jnp.sin(many(*given)))))
    assert jax.eval_shape(jax.jit(many), *types).sharding.spec[0] == "b"
    with jax.sharding.use_abstract_mesh(explicit.abstract_mesh):
        assert jax.eval_shape(jax.jit(many), *types).sharding.spec[0] == "b"
        jax.eval_shape(slopes, *types)

# an automatic mesh: queries or stored items, also of one example, on several devices
rows, items = jax.random.normal(jax.random.key(0), (2, 6, 4))
for name in ("in steps and blocks",):
    layer = zoo.layers()[name].layer
    parameters, apply = hx.nn.to_functional(layer)
    sloped = jax.jit(jax.value_and_grad(lambda *given, f=apply: jnp.sum(jnp.sin(f(*given)))))
    expected = sloped(parameters, rows, items)
    for split in ((P("b"), P()), (P(), P("b"))):
        given = (jax.device_put(x, NamedSharding(auto, s)) for x, s in zip((rows, items), split))
        close(sloped(parameters, *given), expected)
"""


@pytest.mark.slow
def test_on_two_devices():
    """Under `jax.shard_map`, which checks over which devices values vary, and on meshes."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    run_python(ON_TWO_DEVICES, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")


class Tables(eqx.Module):
    """Named arrays."""

    tables: dict


def test_inside_a_flax_model():
    from flax import nnx

    from hopfax.nn.flax import Layer

    layer, inputs, *_ = LAYERS["HopfieldRetrieval"]
    many = batch(inputs)

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.memory = Layer(layer)
            self.read = nnx.Linear(layer(*inputs).shape[-1], 1, rngs=rngs, param_dtype=float)

        def __call__(self, *inputs):
            return self.read(self.memory(*inputs))

    model = Model(nnx.Rngs(0))
    assert (model.memory(*inputs) == layer(*inputs)).all()
    optimizer = nnx.Optimizer(model, optax.sgd(1e-2), wrt=nnx.Param)

    @nnx.jit
    def train(model, optimizer, *many):
        def loss(model):
            axes = (None, *([0] * len(many)))
            return jnp.mean((nnx.vmap(lambda m, *x: m(*x), in_axes=axes)(model, *many) - 1.0) ** 2)

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    values = [float(train(model, optimizer, *many)) for _ in range(20)]
    assert values[-1] < 0.7 * values[0]
    assert not (model.memory(*inputs) == layer(*inputs)).all()  # the memory was trained
    # what was trained goes back into the layer
    trained = {k: p[...] for k, p in model.memory.parameters.items()}
    _, apply = hx.nn.to_functional(layer)
    assert (apply(trained, *inputs) == model.memory(*inputs)).all()
    json.dumps(jax.tree.map(lambda x: list(x.shape), trained))  # plain names, plain arrays

    noisy, us = hx.nn.ResidualSelection(3, 2, slots=2, key=jax.random.key(0)), many[0][0, :, :3]
    wrapped = Layer(noisy)
    wrapped.eval()  # as Flax has it
    assert (wrapped(us) == noisy(us, inference=True)).all()
    wrapped.train()
    with pytest.raises(ValueError, match="`key` is needed in training"):
        wrapped(us)
