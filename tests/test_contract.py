"""What every network promises: jit = eager, vmap = loop, finite gradients, one dtype, files."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import outside
import pytest
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax.networks import Sites
from hopfax.networks.rate._threshold_linear import WeightForms

NETWORKS, MAPS = zoo.networks(), zoo.maps()
EVERY = pytest.mark.parametrize("name", list(NETWORKS))
EACH_COMPILES = pytest.mark.parametrize(  # one of them is enough where slow tests are left out
    "name",
    [
        pytest.param(name, marks=[] if name == "TwoTimescaleHopfield" else [pytest.mark.slow])
        for name in NETWORKS
    ],
)
EVERY_MAP = pytest.mark.parametrize("name", list(MAPS))
TS = jnp.linspace(0.0, 6.0, 4)


def run(network, state, inputs):
    """Constant steps, so that every way of running takes the same ones."""
    return hx.simulate(network, state, TS, method=zoo.fixed(), throw=False, **inputs)


def public_subclasses(base):
    found = {n for n, item in vars(hx).items() if inspect.isclass(item) and issubclass(item, base)}
    return {n for n in found if not n.startswith("Abstract")}


def test_the_zoo_is_complete():
    for base, kept in (
        (hx.AbstractNetwork, NETWORKS | MAPS),
        (hx.AbstractActivation, zoo.activations()),
        (hx.AbstractRateActivation, zoo.rate_activations()),
        (hx.AbstractInteraction, zoo.interactions()),
    ):
        missing = public_subclasses(base) - set(kept)
        assert not missing, f"tests/zoo.py has no specimen of {sorted(missing)}"


@pytest.mark.slow
@EVERY
def test_vector_field_is_the_derivative(name):
    network, state, inputs = NETWORKS[name]
    stimulus = inputs.get("stimulus")
    rate = network.vector_field(0.0, state, hx.Inputs(stimulus=stimulus))
    assert jax.tree.structure(rate) == jax.tree.structure(state)
    h = 1e-4
    ts = jnp.array([0.0, h])
    later = hx.simulate(network, state, ts, method=zoo.fixed("sites"), **inputs).final
    for end, begin, slope in zip(*map(zoo.parts, (later, state, rate)), strict=True):
        assert_close((end - begin) / h, slope, 1e-3, "first order in h = 1e-4")
    assert network.overlaps(state).shape == (network.patterns.P,)
    if (weights := getattr(rate, "weights", None)) is not None:
        spanned = network.patterns.field(weights)
        assert_close(spanned, rate.field, 1e-12, "the field stays in the span of the patterns")
    assert network.rates(state).shape == (network.patterns.N,)


@pytest.mark.slow
@EACH_COMPILES
def test_jit_vmap_and_loop_agree(name):
    network, state, inputs = NETWORKS[name]
    eager = run(network, state, inputs)
    jitted = eqx.filter_jit(run)(network, state, inputs)
    alone = isinstance(network.forms, Sites | WeightForms)  # every neuron is different
    wanted = "sites" if alone else "classes"
    assert jitted.reduction == eager.reduction == wanted
    for a, b in zip(jax.tree.leaves(jitted), jax.tree.leaves(eager), strict=True):
        assert_close(a.astype(float), b.astype(float), 1e-12, "the same steps, rounding apart") if (
            np.isfinite(b).all()
        ) else np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    batch = jax.tree.map(lambda x: jnp.stack([x, 0.9 * x]), state)
    several = jax.vmap(lambda s: zoo.parts(run(network, s, inputs).final)[0])(batch)
    assert_close(several[0], zoo.parts(eager.final)[0], 1e-12, "the same steps, rounding apart")
    assert np.abs(several[1] - several[0]).max() > 1e-5  # and the other lane is another run


@pytest.mark.slow
@EACH_COMPILES
def test_gradients_are_finite_and_not_all_zero(name):
    network, state, inputs = NETWORKS[name]

    def loss(network, state, inputs):
        out = run(network, state, inputs)
        return (out.overlaps**2).sum() + jnp.sum(zoo.parts(out.final)[0] ** 2)

    gradients = eqx.filter_grad(lambda args: loss(*args))((network, state, inputs))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(gradients)]
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any(np.abs(leaf).max() > 1e-6 for leaf in leaves)


@EVERY_MAP
def test_maps_under_jit_vmap_and_loop(name):
    network, state, _ = MAPS[name]
    key = jax.random.key(3) if network.random else None

    def run(state):
        return hx.iterate(network, state, 4, key=key, throw=False)

    eager, jitted = run(state), eqx.filter_jit(run)(state)
    other = network.init(-state.spins)
    both = jax.vmap(run)(jax.tree.map(lambda *leaves: jnp.stack(leaves), state, other))
    for k, start in enumerate((state, other)):
        alone = run(start)
        assert_close(both.final.spins[k], alone.final.spins, 1e-12, "rounding of other products")
        assert_close(both.overlaps[k], alone.overlaps, 1e-12, "rounding of other products")
    assert_close(jitted.overlaps, eager.overlaps, 1e-12, "the same program")
    assert eager.ts.shape == (5,) and eager.overlaps.shape == (5, network.patterns.P)
    assert_close(eager.overlaps[-1], network.overlaps(eager.final), 1e-12, "rounding")
    if network.signs:
        assert set(np.unique(eager.final.spins)) <= {-1.0, 1.0}


@EVERY_MAP
def test_maps_through_a_file_and_in_single_precision(name, tmp_path):
    network, state, _ = MAPS[name]
    hx.save(tmp_path / "thing.eqx", network)
    back = hx.load(tmp_path / "thing.eqx")
    key = jax.random.key(3) if network.random else None
    kept, again = (hx.iterate(net, state, 3, key=key).overlaps for net in (network, back))
    assert (kept == again).all()
    xi = np.asarray(jax.vmap(network.patterns.pattern)(jnp.arange(5)), np.float32)
    if name == "PairwiseMemory":
        single = hx.PairwiseMemory(hx.Patterns(xi))
        run = hx.iterate(single, single.init(np.asarray(state.spins)), 2)
        assert {leaf.dtype for leaf in jax.tree.leaves((run.overlaps, run.final))} == {_SINGLE}
        return
    parts = dict(keep_diagonal=network.keep_diagonal, activation=network.activation)
    parts["transition"] = jax.tree.map(_single, network.transition)
    if name in ("DenseSequence", "delayed"):
        parts |= dict(share=0.4, **{"delayed": dict(delay=2)}.get(name, dict(tau=2.0)))
        single = hx.DenseSequence(hx.Patterns(xi), network.hold, network.follow, **parts)
    else:
        single = hx.DenseMemory(hx.Patterns(xi), network.interaction, **parts)
    run = hx.iterate(single, single.init(np.asarray(state.spins)), 2)
    assert {leaf.dtype for leaf in (run.overlaps, *jax.tree.leaves(run.final))} == {_SINGLE}


_SINGLE = jnp.dtype("float32")


def _single(leaf):
    return leaf.astype(_SINGLE) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


@EVERY
def test_round_trip_through_a_file(name, tmp_path):
    network, state, _ = NETWORKS[name]
    for thing in (network, state):
        hx.save(tmp_path / "thing.eqx", thing)
        back = hx.load(tmp_path / "thing.eqx", classes=(outside.Tiring, outside.Adapted))
        assert jax.tree.structure(back) == jax.tree.structure(thing)
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(thing), strict=True):
            assert a.dtype == b.dtype and (a == b).all()


@EVERY
def test_dtype_follows_the_patterns(name):
    network, state, _ = NETWORKS[name]
    single = jax.tree.map(lambda x: x.astype(jnp.float32), network)
    start = single.init(**zoo.arguments(state))
    inputs = hx.Inputs(stimulus=jnp.ones(network.patterns.N, jnp.float32))
    rate = single.vector_field(0.0, start, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves((start, rate))} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_one_compilation_serves_all_values():
    """Values are data: neither a new gain nor new times compile anything."""
    traces = []

    def observe(t, state, network):
        traces.append(1)
        return t

    for kappa, horizon in ((4.0, 5.0), (5.0, 6.0), (6.0, 7.0)):
        network, state = zoo.cycle(kappa=kappa)
        ts = np.linspace(0.0, horizon, 4)
        hx.simulate(network, state, ts, observe=observe, method=zoo.fixed())
    first = len(traces)
    network, state = zoo.cycle(kappa=7.0, tau=11.0, bias=0.03)
    hx.simulate(network, state, np.linspace(1.0, 3.0, 4), observe=observe, method=zoo.fixed())
    assert len(traces) == first
    hx.simulate(network, state, np.linspace(1.0, 3.0, 5), observe=observe, method=zoo.fixed())
    assert len(traces) > first  # a new shape does: the counter counts
