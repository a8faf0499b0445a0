"""The two-timescale network as a layer: it moves as `simulate` moves it, and can be trained."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import zoo
from helpers import assert_close

import hopfax as hx
from hopfax.nn import ExponentialEuler, SequenceMemory

P, N = 3, 16
PATTERNS = hx.patterns.hadamard(P, N)
SMOOTH = hx.Tanh(3.0)


def network(activation=SMOOTH, **options):
    known = dict(kappa=5.0, tau=8.0, bias=0.05) | options
    return hx.TwoTimescaleHopfield(PATTERNS, hx.cyclic(P), activation=activation, **known)


def shown(silent=2):
    """Two items, and then nothing."""
    return jnp.concatenate([PATTERNS.xi[:2], jnp.zeros((silent, N))])


call = eqx.filter_jit(lambda layer, us, state=None: layer(us, state))
step = eqx.filter_jit(lambda layer, state, u: layer.step(state, u))


# The steps


@pytest.mark.parametrize(
    "options",
    [dict(), dict(learning="pseudo_inverse", readout="square"), dict(keep_diagonal=False)],
    ids=str,
)
def test_a_short_step_follows_the_vector_field(options):
    xi = jr.normal(jr.key(0), (P, N))
    net = hx.TwoTimescaleHopfield(
        hx.Patterns(xi),
        jr.normal(jr.key(1), (P, P)),
        kappa=jnp.array([5.0, 4.0, 3.0]),
        tau=jnp.array([8.0, 2.0, 20.0]),
        bias=0.05,
        activation=SMOOTH,
        **options,
    )
    h = 1e-6
    layer = SequenceMemory(
        net, 5, dt=h, method=ExponentialEuler(1), stimulus_gain=0.7, key=jr.key(2)
    )
    state = layer.init(saliency=jnp.array([1.0, -0.5, 2.0]), field=jr.normal(jr.key(3), (N,)))
    u = jr.normal(jr.key(4), (5,))
    after, _ = step(layer, state, u)
    given = hx.networks.Inputs(0.7 * layer.encoder @ u, 2.0 * layer.encoder @ u)
    rate = net.vector_field(0.0, state, given)
    for new, old, slope in (
        (after.field, state.field, rate.field),
        (after.saliency, state.saliency, rate.saliency),
    ):
        assert_close((new - old) / h, slope, 1e-4, "h/2 times a second derivative below 100")


@pytest.mark.parametrize("exact", [pytest.param("event-driven", marks=pytest.mark.slow), "diffrax"])
def test_a_layer_is_its_network_simulated(exact):
    """Two items and a quiet time in which the field is handed over: step by step inside the layer,
    in one run with a train of pulses, and in the limit of exponential Euler steps."""
    dt, us = 2.0, shown(silent=4)
    if exact == "event-driven":
        net, method = network(hx.HardTanh()), hx.EventDriven(order=24, tol=1e-14)
        options = dict(stimulus_gain=None)
    else:
        net, method, options = network(), zoo.tight(tolerance=1e-11), dict(stimulus_gain=0.8)

    def made(method):
        return SequenceMemory(net, dt=dt, output="saliency", method=method, **options)

    layer = made(method)
    found = call(layer, us)
    given, times = jax.vmap(layer.inputs)(us), dt * jnp.arange(len(us) + 1.0)
    pulses = {k: None if v is None else hx.Pulses(times, v) for k, v in given.items()}
    observe = dict(observe=saliency_of)
    run = hx.simulate(layer.network, layer.init(), times, method=method, **pulses, **observe)
    assert np.abs(found[-1] - found[1]).max() > 1  # something has happened
    assert_close(found, run.observed[1:], 1e-8, "tolerances of 1e-11, after a handover")

    errors = [np.abs(call(made(ExponentialEuler(k)), us) - found).max() for k in (64, 128)]
    assert errors[0] < 0.05
    assert_close(np.log2(errors[0] / errors[1]), 1.0, 0.05, "first order")

    broken = eqx.tree_at(lambda l: l.parameters.tau.free, layer, jnp.asarray(jnp.nan))
    assert np.isnan(call(broken, us)).all()  # and not where the run began


def saliency_of(t, state, network):
    return state.saliency


def test_a_class_of_neurons_counts_as_all_of_them():
    """Neurons with the same patterns are one that is weighted; 13, 2 and 1 make a class here."""
    xi = jnp.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [1.0, -1.0, -1.0]])
    counts = np.array([13, 2, 1])
    single = network_of(hx.Patterns(xi, counts=jnp.asarray(counts, float)))
    every = network_of(hx.Patterns(jnp.repeat(xi, counts, axis=1, total_repeat_length=16)))
    us = jr.normal(jr.key(0), (3, 3))
    found, expected = (
        call(SequenceMemory(net, dt=2.0, output="saliency", method=ExponentialEuler(4)), u)
        for net, u in ((single, us), (every, jnp.repeat(us, counts, axis=1)))
    )
    assert_close(found, expected, 1e-13, "the same sums")


def network_of(patterns):
    return hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(3), kappa=5.0, tau=8.0, bias=0.05, activation=SMOOTH
    )


def test_no_step_is_too_long():
    layer = SequenceMemory(network(), dt=1e4, method=ExponentialEuler(1))
    assert np.abs(call(layer, 100 * shown())).max() <= 1 + 1e-12


def test_outputs_and_states():
    us = shown()
    layers = {
        output: SequenceMemory(network(), dt=2.0, output=output, method=ExponentialEuler(8))
        for output in ("overlaps", "saliency", "rates")
    }
    ys = {output: call(layer, us) for output, layer in layers.items()}
    assert_close(jax.vmap(PATTERNS.overlap)(ys["rates"]), ys["overlaps"], 1e-14, "by definition")
    state = layers["rates"].init()
    assert_close(state.field, 0.05 * PATTERNS.xi.sum(0), 1e-15, "the bias alone")
    for u, z in zip(us, ys["saliency"], strict=True):
        state, _ = step(layers["rates"], state, u)
        assert_close(state.saliency, z, 1e-13, "another program")
    # and from there on
    more = call(layers["saliency"], jnp.concatenate([us, us[:1]]))[-1:]
    on, after = call(layers["saliency"], us[:1], state)
    assert_close(on, more, 1e-12, "another program")
    assert_close(after.saliency, on[-1], 0, "the same")
    # as from the same state of the network, which knows that it lies in the span
    start = network().init(saliency=jnp.zeros(P))
    assert start.weights is not None
    assert (call(layers["rates"], us, start)[0] == ys["rates"]).all()
    # silence from the start leaves it at rest
    rest = call(layers["overlaps"], jnp.zeros((20, N)))
    assert np.abs(rest).max() < 0.5


# Training


@pytest.fixture(scope="module")
def trainable():
    """A layer with every parameter, a smooth loss of it, and the gradient."""
    layer = SequenceMemory(
        network(),
        5,
        dt=2.0,
        method=ExponentialEuler(8),
        constraint=hx.constraints.Unconstrained(),
        learn_patterns=True,
        key=jr.key(0),
    )
    us, wanted = jr.normal(jr.key(1), (2, 4, 5)), jr.normal(jr.key(2), (2, 4, P))

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(layer):
        return jnp.mean((jax.vmap(layer)(us) - wanted) ** 2)

    return layer, loss, loss(layer)


LEAVES = {
    "patterns": lambda layer: layer.parameters.patterns.free,
    "transition": lambda layer: layer.parameters.transition.free,
    "kappa": lambda layer: layer.parameters.kappa.free,
    "tau": lambda layer: layer.parameters.tau.free,
    "bias": lambda layer: layer.parameters.bias.free,
    "activation": lambda layer: layer.parameters.activation[0].free,
    "encoder": lambda layer: layer.encoder,
    "current_gain": lambda layer: layer.gains.current.free,
    "stimulus_gain": lambda layer: layer.gains.stimulus.free,
}


@pytest.mark.parametrize("name", list(LEAVES))
def test_gradients_are_right_and_lower_the_loss(trainable, name):
    layer, loss, (value, gradient) = trainable
    where = LEAVES[name]
    slope = where(gradient)
    way = jr.normal(jr.key(3), slope.shape)

    def moved(by):
        return loss(eqx.tree_at(where, layer, where(layer) + by))[0]

    h = 1e-5
    difference = (moved(h * way) - moved(-h * way)) / (2 * h)
    expected = float((slope * way).sum())
    assert abs(expected) > 1e-5
    assert_close(difference, expected, 1e-6 * max(1.0, abs(expected)), "h^2, and rounding / h")
    size = float((slope**2).sum())
    rate = min(0.01 * float(value) / size, 0.1 / float(jnp.abs(slope).max()))
    assert moved(-rate * slope) < value - rate * size / 2  # half of what a linear loss would lose


def test_every_leaf_is_tried(trainable):
    layer = trainable[0]
    leaves = jax.tree.leaves(eqx.filter(layer, eqx.is_inexact_array))
    assert {id(leaf) for leaf in leaves} == {id(where(layer)) for where in LEAVES.values()}


def test_parameters_are_chosen_by_name(trainable):
    layer = trainable[0]
    for name, where in LEAVES.items():
        (leaf,) = jax.tree.leaves(eqx.filter(layer, layer.trainable(name)))
        assert leaf is where(layer)
    every: Any = eqx.filter(layer, eqx.is_inexact_array)
    assert eqx.tree_equal(eqx.filter(layer, layer.trainable()), every)
    # as a function, since optax calls what can be called, and a layer can
    labels = jax.tree.map(lambda on: "on" if on else "off", layer.trainable("transition", "tau"))
    optimizer = optax.multi_transform(
        {"on": optax.sgd(1.0), "off": optax.set_to_zero()}, lambda _: labels
    )
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, every), optimizer.init(every))
    moved = {name for name, where in LEAVES.items() if (where(updates) != 0).any()}
    assert moved == {"transition", "tau"}
    with pytest.raises(ValueError, match="`names` must be one of 'transition', .* is 'patterns'"):
        SequenceMemory(network()).trainable("patterns")


@pytest.mark.parametrize("name", ["Simplex", "Positive", "zero_diagonal", "Box"])
def test_parameters_stay_in_their_domain(name):
    start = jnp.full((P, P), 0.3).at[jnp.diag_indices(P)].set(0.4)
    constraint = {
        "Simplex": hx.constraints.Simplex(),
        "Positive": hx.constraints.Positive(),
        "zero_diagonal": hx.constraints.zero_diagonal(P),
        "Box": hx.constraints.Box(0.0, 1.0),
    }[name]
    net = hx.TwoTimescaleHopfield(
        PATTERNS, start, kappa=jnp.array([5.0, 4.0, 3.0]), tau=8.0, bias=0.05, activation=SMOOTH
    )
    layer = SequenceMemory(net, dt=2.0, constraint=constraint, reach=1.5)
    for there, here in zip(jax.tree.leaves(layer.network), jax.tree.leaves(net), strict=True):
        assert_close(there, here, 1e-14, "logarithms and back")
    assert layer.network.patterns.binary

    keys = iter(jr.split(jr.key(0), 99))

    def anywhere(leaf):
        return leaf + 20 * jr.normal(next(keys), leaf.shape)

    far: Any = jax.tree.map(lambda x: anywhere(x) if eqx.is_inexact_array(x) else x, layer)
    moved = far.network
    for there, here in ((moved.kappa, net.kappa), (moved.tau, net.tau), (moved.bias, net.bias)):
        assert (np.abs(np.log(there / here)) <= np.log(1.5) + 1e-12).all()
    A = moved.transition
    assert np.abs(A - start).max() > 0.1
    if name == "Simplex":
        assert_close(A.sum(0), np.ones(P), 1e-12, "by definition")
    if name == "zero_diagonal":
        assert_close(jnp.diag(A), np.full(P, 0.4), 1e-15, "held where it was")
    else:
        assert (A >= 0).all()
    if name == "Box":
        assert (A <= 1).all()


@pytest.mark.parametrize("name", ["Simplex", "zero_diagonal", "Box", "selector"])
def test_weight_decay_moves_only_what_is_learned(name):
    """The bounds of a box, the entries that a mask holds, zeros of a simplex, and the sizes of
    classes of neurons; gain and time constant stay positive however long it lasts."""
    xi = jnp.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [1.0, -1.0, -1.0]])
    net = network_of(hx.Patterns(xi, counts=jnp.array([13.0, 2.0, 1.0])))
    held = ~np.eye(P, dtype=bool)  # where the transition is not learned
    if name == "selector":
        layer, held = hx.nn.TwoTimescaleSelector(net), ~held & held
    elif name == "Box":
        layer = SequenceMemory(net, constraint=hx.constraints.Box(-0.5, 1.5))
        held = held & ~held
    elif name == "Simplex":
        net = eqx.tree_at(lambda n: n.transition, net, jnp.diag(jnp.ones(P)).at[0, 1:].set(0.5))
        net = eqx.tree_at(lambda n: n.transition, net, net.transition / net.transition.sum(0))
        held = np.asarray(net.transition == 0)
        layer = SequenceMemory(net, constraint=hx.constraints.Simplex())
    else:
        held = ~held
        layer = SequenceMemory(net, constraint=hx.constraints.zero_diagonal(P))
    learned, rest = eqx.partition(layer, eqx.is_inexact_array)
    optimizer = optax.adamw(0.5, weight_decay=0.5)
    state = optimizer.init(learned)
    pull = jax.tree.map(jnp.ones_like, learned)
    for _ in range(50):
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            updates, state = optimizer.update(pull, state, learned)
        learned = eqx.apply_updates(learned, updates)
    new, after = eqx.combine(learned, rest), eqx.combine(learned, rest).network
    assert (after.patterns.counts == net.patterns.counts).all()
    assert (after.transition[held] == net.transition[held]).all()
    if name == "Box":
        assert (after.transition > -0.5).all() and (after.transition < 1.5).all()
        far = eqx.tree_at(lambda l: l.parameters.transition.free, new, jnp.full((P, P), 99.0))
        assert_close(far.network.transition, np.full((P, P), 1.5), 1e-12, "the bound itself")
    assert after.kappa > 0 and after.tau > 0 and after.kappa != net.kappa
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


def test_the_dtype_is_that_of_the_patterns():
    """Also where the activation and the constraint were made in double precision."""
    single = hx.TwoTimescaleHopfield(
        hx.Patterns(PATTERNS.xi.astype(jnp.float32)),
        jnp.full((P, P), 0.3, jnp.float32),
        kappa=5.0,
        tau=8.0,
        activation=SMOOTH,
    )
    box = hx.constraints.Box(0.0, 1.0)
    layer = SequenceMemory(single, 5, dt=2.0, constraint=box, key=jr.key(0))
    leaves = jax.tree.leaves(eqx.filter(layer, eqx.is_inexact_array))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    us = jnp.ones((2, 5), jnp.bfloat16)
    assert call(layer, us).dtype == jnp.bfloat16
    state, y = step(layer, layer.init(), us[0])
    assert y.dtype == jnp.bfloat16 and state.field.dtype == jnp.float32


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_is_wrong_is_named():
    net = network()
    cases = [
        (TypeError, "`network` must be a TwoTimescaleHopfield", (PATTERNS,), {}),
        (ValueError, "`in_size` needs a `key`", (net, 5), {}),
        (ValueError, "`in_size` must be a whole number", (net, 0), dict(key=jr.key(0))),
        (ValueError, "`dt` must be > 0", (net,), dict(dt=0.0)),
        (ValueError, "`output` must be one of", (net,), dict(output="field")),
        (TypeError, "`method` must be", (net,), dict(method="auto")),
        (ValueError, "`stimulus_gain` must be None", (net,), dict(method=hx.EventDriven())),
        (ValueError, r"`current_gain` must have shape \(\)", (net,), dict(current_gain=[1.0])),
        (ValueError, "columns that sum to 1", (network(),), dict(constraint="half")),
        (ValueError, "`network.kappa` must be positive", (network(kappa=0.0),), {}),
        (ValueError, "`reach` must be a factor above 1", (net,), dict(reach=0.5)),
        (TypeError, "`learn_patterns` must be", (net,), dict(learn_patterns=1)),
    ]
    for error, text, given, options in cases:
        if options.get("constraint") == "half":
            given = (eqx.tree_at(lambda n: n.transition, net, 0.5 * net.transition),)
            options = dict(constraint=hx.constraints.Simplex())
        with pytest.raises(error, match=text):
            SequenceMemory(*given, **options)
    with pytest.raises(ValueError, match="`steps` must be"):
        ExponentialEuler(0)
    layer = SequenceMemory(net)
    with pytest.raises(ValueError, match=r"`us` must have shape \(T, in_size = 16\)"):
        layer(jnp.ones(16))
    with pytest.raises(TypeError, match="`state` must be a FieldState with saliency"):
        layer(jnp.ones((2, 16)), hx.networks.FieldState(jnp.ones(16)))
    with pytest.raises(ValueError, match="`u` must have shape"):
        layer.step(layer.init(), jnp.ones(3))


# What it is for


@pytest.fixture(scope="module")
def cycles():
    """Layers that have learned random cycles of eight items, all of their parameters by an
    optimiser with its defaults, and have replayed them: losses, orders and overlaps, for each of
    three optimisers and ten seeds."""
    patterns = hx.patterns.hadamard(list(range(1, 9)), 16)
    start = jnp.full((8, 8), 1 / 8)
    net = hx.TwoTimescaleHopfield(patterns, start, kappa=6.0, tau=8.0, bias=0.01)
    simplex = hx.constraints.Simplex()
    layer = SequenceMemory(net, output="saliency", constraint=simplex, method=ExponentialEuler(16))
    first, rest = eqx.partition(layer, eqx.is_inexact_array)

    def one(key, rate, decay):
        order = jr.permutation(key, 8)
        optimizer = optax.adamw(rate, weight_decay=decay)

        def loss(learned, places):
            shown = order[(places[:, None] + jnp.arange(9)) % 8]
            logits = jax.vmap(eqx.combine(learned, rest))(patterns.xi[shown[:, :-1]])
            each = optax.softmax_cross_entropy_with_integer_labels(logits, shown[:, 1:])
            return each.mean()

        def train(carry, key):
            value, slope = jax.value_and_grad(loss)(carry[0], jr.randint(key, (2,), 0, 8))
            with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
                updates, state = optimizer.update(slope, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), value

        keys = jr.split(jr.fold_in(key, 1), 300)
        (learned, _), losses = jax.lax.scan(train, (first, optimizer.init(first)), keys)
        trained: Any = eqx.combine(learned, rest)
        state, _ = trained.step(trained.init(), patterns.xi[order[0]])

        def alone(state, _):
            state, _ = trained.step(state, jnp.zeros(16))
            return state, trained.network.overlaps(state)

        return losses, order, jax.lax.scan(alone, state, length=32)[1]

    rates, decays = jnp.array([1e-2, 1e-2, 5e-2]), jnp.array([0.0, 0.1, 0.0])
    every = jax.vmap(jax.vmap(one, (0, None, None)), (None, 0, 0))
    return jax.jit(every)(jr.split(jr.key(0), 10), rates, decays)


@pytest.mark.slow
@pytest.mark.parametrize("row", range(3), ids=["adam", "weight decay", "long steps"])
def test_cycles_are_learned_and_replayed(cycles, row):
    losses, orders, overlaps = (np.asarray(part[row]) for part in cycles)
    assert (losses[:, -1] < 0.2).all() and (losses <= losses[:, :1] + 1e-6).all()
    for order, m in zip(orders, overlaps, strict=True):
        best = m.argmax(-1)[m.max(-1) > 0.5]
        path = best[np.flatnonzero(np.diff(best, prepend=order[0]))]
        assert len(path) > 16  # two rounds
        assert (path == np.resize(np.roll(order, -1), len(path))).all()
