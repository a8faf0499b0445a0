"""The two-timescale network as a layer: it moves as `simulate` moves it, and can be trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
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

    broken = eqx.tree_at(lambda layer: layer.log_tau, layer, jnp.asarray(1e6))
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
        key=jr.key(0),
    )
    us, wanted = jr.normal(jr.key(1), (2, 4, 5)), jr.normal(jr.key(2), (2, 4, P))

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(layer):
        return jnp.mean((jax.vmap(layer)(us) - wanted) ** 2)

    return layer, loss, loss(layer)


LEAVES = {
    "patterns": lambda layer: layer.patterns.xi,
    "transition": lambda layer: layer.free_transition,
    "kappa": lambda layer: layer.log_kappa,
    "tau": lambda layer: layer.log_tau,
    "bias": lambda layer: layer.bias,
    "gain": lambda layer: layer.activation.gain,
    "encoder": lambda layer: layer.encoder,
    "current_gain": lambda layer: layer.current_gain,
    "stimulus_gain": lambda layer: layer.stimulus_gain,
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
    layer = SequenceMemory(net, dt=2.0, constraint=constraint, method=ExponentialEuler(2))
    for there, here in zip(jax.tree.leaves(layer.network), jax.tree.leaves(net), strict=True):
        assert_close(there, here, 1e-14, "logarithms and back")
    assert layer.network.patterns.binary

    keys = iter(jr.split(jr.key(0), 99))

    def anywhere(leaf):
        return leaf + 20 * jr.normal(next(keys), leaf.shape)

    where = (lambda l: l.free_transition), (lambda l: l.log_kappa), (lambda l: l.log_tau)
    far = layer
    for leaf in where:
        far = eqx.tree_at(leaf, far, anywhere(leaf(far)))
    moved = far.network
    assert (moved.kappa > 0).all() and (moved.tau > 0).all()
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
        gradient = eqx.filter_jit(eqx.filter_grad(lambda layer: layer(shown()).sum()))(layer)
        assert gradient.constraint.low == 0 == gradient.constraint.high  # bounds are not trained
        assert (gradient.free_transition != 0).any()


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
