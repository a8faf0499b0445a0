"""Second derivatives, in every nesting of modes, against differences of first derivatives."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx

sequential, rate, dense = hx.theory.sequential, hx.theory.rate, hx.theory.dense


def nested(function, order):
    """The Hessian by the modes of `order`: the second letter is differentiated first."""
    modes = {"f": jax.jacfwd, "r": jax.jacrev}
    outer, inner = (modes[letter] for letter in order)
    return jax.jit(outer(inner(function)))


def differences(first, x, h):
    """The derivative of `first` at `x` along every axis: central differences of sixth order."""
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}

    def along(axis):
        return sum(
            w * (first(x + k * h * axis) - first(x - k * h * axis)) / h for k, w in weights.items()
        )

    return jnp.stack([along(axis) for axis in jnp.eye(len(x))], -1)


def planar(x):
    found = rate.planar_equilibria(hx.Logistic(), x[0], x[1], x[2])
    return jnp.nan_to_num(jnp.stack([found.active, found.silent]))


#: Every implicit function of the theory: what it is a function of, and where.
THEORY = {
    "critical gain of a cycle": (
        lambda x: sequential.critical_gain(P=5, self_loop=x[0]),
        [0.3],
    ),
    "critical gain of a smooth chain": (
        lambda x: sequential.critical_gain(activation=hx.Tanh(x[0])),
        [1.4],
    ),
    "fixed points of a cycle": (
        lambda x: jnp.stack(sequential.fixed_points(x[0], P=4)[:2]),
        [3.9],
    ),
    "switch time": (lambda x: sequential.switch_time(*x), [5.0, 5.5, 40.0, 0.01]),
    "amplitude of a retrieved memory": (
        lambda x: sequential.retrieval_amplitude(x[0], hx.Tanh(x[1])),
        [1.5, 1.2],
    ),
    "fixed points of the dense map": (
        lambda x: jnp.stack(dense.map_fixed_points(hx.Power(3), x[0])[:2]),
        [0.05],
    ),
    "critical saliency, logistic": (
        lambda x: rate.critical_saliency(hx.Logistic(x[3], x[4]), *x[:3]).saliency,
        [-0.3, 0.95, 0.2, 12.0, 0.5],
    ),
    "critical saliency, tanh": (
        lambda x: rate.critical_saliency(hx.RectifiedTanh(x[3], x[4]), *x[:3]).saliency,
        [-0.3, 0.95, 0.2, 2.0, 0.3],
    ),
    "critical saliency of the plane": (
        lambda x: jnp.stack(rate.critical_saliency_planar(hx.Logistic(), *x)[:3]),
        [-0.3, 0.95, 0.2],
    ),
    "critical saliency of the plane, at a kink": (
        lambda x: jnp.stack(rate.critical_saliency_planar(hx.HardSigmoid(), *x)[:3]),
        [-0.3, 0.95, 0.2],
    ),
    "equilibria of the plane": (planar, [-0.3, 0.95, 0.2]),
}


@functools.cache
def differences_of_theory(name):
    function, x = THEORY[name]
    x = jnp.asarray(x)
    return differences(jax.jit(jax.jacfwd(function)), x, 2e-3 * jnp.abs(x).min())


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", ["fr", *(pytest.param(order, marks=pytest.mark.long) for order in ("ff", "rf", "rr"))]
)
@pytest.mark.parametrize("name", THEORY)
def test_second_derivatives_of_theory(name, order):
    (function, x), expected = THEORY[name], differences_of_theory(name)
    assert np.isfinite(expected).all() and (np.abs(expected) > 1e-6).any()
    found = nested(function, order)(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


def sequence(x, derivative, **how):
    """What is read from a cycle of three memories: a switch time, an overlap and a dwell. The third
    parameter tells classes apart that cross a kink at the same time."""
    activation, method = how["activation"], how["method"]
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 8),
        hx.cyclic(3),
        kappa=x[0],
        tau=x[1],
        bias=jnp.array([0.02, 0.02, 0.02]) + x[2] * jnp.array([0.0, 1.0, 0.0]),
        activation=activation,
        readout=how.get("readout", "linear"),
    )
    start, ts = network.init(saliency=[4.0, 0.0, 0.0]), jnp.linspace(0.0, 60.0, 5)
    run = hx.simulate(network, start, ts, derivative=derivative, method=method)
    times = run.switches.time
    return jnp.stack([times[1], run.overlaps[2, 1] + run.saliency[3, 2], times[1] - times[0]])


def rates(x, derivative, **how):
    """Overlaps of rates that settle in a memory, over kinks."""
    xi = jnp.array([[1.0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]])
    phi = hx.HardSigmoid(x[2], 0.2)
    network = hx.RateMemory(hx.Patterns(xi), a=x[0], b=x[1], activation=phi)
    start, ts = network.init(rates=jnp.linspace(0.05, 0.9, 6)), jnp.array([0.0, 1.0, 3.0])
    run = hx.simulate(network, start, ts, derivative=derivative, method=how["method"])
    return run.overlaps[1:].ravel()


EXACT = hx.EventDriven(order=8, tol=1e-14, switches=4)
# Steps of one length: those of a controller jump where a step is rejected, and so differences do.
STEPS = hx.Diffrax(controller=diffrax.ConstantStepSize(), dt0=0.25, switches=4)
#: A run, how it is integrated, its parameters, and the width of differences.
RUNS = {
    "hard tanh": (sequence, {"method": EXACT, "activation": hx.HardTanh()}, [5.0, 12.0, 0.0], 1e-4),
    "hard tanh, |m|": (
        sequence,
        {"method": EXACT, "activation": hx.HardTanh(), "readout": "abs"},
        [5.0, 12.0, -0.03],
        1e-4,
    ),
    "tanh": (sequence, {"method": STEPS, "activation": hx.Tanh(3.0)}, [5.0, 12.0, 0.0015], 3e-5),
    "rates with kinks": (rates, {"method": EXACT}, [-0.3, 0.95, 4.8], 1e-4),
}


@functools.cache
def differences_of(name):
    """The second derivatives of a run, from its first ones by forward mode."""
    function, how, x, h = RUNS[name]
    first = jax.jit(jax.jacfwd(functools.partial(function, derivative="forward", **how)))
    return differences(first, jnp.asarray(x), h)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        pytest.param(name, order, marks=mark)
        for name, orders, mark in (
            ("hard tanh", ("fr",), pytest.mark.slow),
            ("rates with kinks", ("ff",), pytest.mark.slow),
            ("hard tanh", ("ff", "rf", "rr"), pytest.mark.long),
            ("hard tanh, |m|", ("fr",), pytest.mark.long),
            ("tanh", ("ff", "fr", "rf", "rr"), pytest.mark.long),
            ("rates with kinks", ("fr", "rf", "rr"), pytest.mark.long),
        )
        for order in orders
    ],
)
def test_second_derivatives_of_runs(name, order):
    function, how, x, _ = RUNS[name]
    derivative = "forward" if order == "ff" else "reverse"
    found = nested(functools.partial(function, derivative=derivative, **how), order)
    expected = differences_of(name)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(
        found(jnp.asarray(x)), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )


@pytest.mark.slow
def test_a_direction_of_which_one_part_is_varied():
    """The derivative along (v, 1) is linear in v, whatever its other part."""

    def value(a, b):
        return rates([a, b, 4.8], "reverse", method=EXACT).sum()

    a, b = jnp.array(-0.3), jnp.array(0.95)

    def along(v):
        return jax.jvp(value, (a, b), (v, jnp.array(1.0)))[1]

    found, expected = jax.jit(jax.grad(along))(jnp.array(2.0)), jax.jit(jax.grad(value))(a, b)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def _field(t, state, network):
    return state.field


def _cycle(x):
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 8), hx.cyclic(3), kappa=x[0], tau=x[1], bias=0.02
    )


def _recordings():
    """The losses of one run, which has been changed a little."""
    losses, options = hx.losses, dict(init={"saliency": [4.0, 0.0, 0.0]}, method=EXACT)
    ts, path = jnp.linspace(0.0, 45.0, 4), 0.3 * jnp.ones((4, 3))
    times = jnp.array([11.0, 38.0])
    return losses.same_run(
        losses.switch_times(times, order=[1, 2], **options, end=45.0),
        losses.dwell_times(jnp.array([19.0]), order=[1, 2], **options, end=45.0),
        losses.saliency_path(ts, path, **options, end=45.0),
        losses.overlap_path(ts, path, **options, end=45.0),
        losses.field_path(ts, 0.3 * jnp.ones((4, 8)), **options, end=45.0),
    )


LOSSES = {
    "of one run": _recordings,
    "order": lambda: hx.losses.order([0, 1, 2], P=3),
    "event map": lambda: hx.losses.event_map(
        hx.Events([0, 1, 2], [0.0, 14.0, 30.0]), saliency=[4.0, 0.0, 0.0]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("of one run", marks=pytest.mark.long),
        pytest.param("order", marks=pytest.mark.long),
        "event map",
    ],
)
def test_hessians_of_losses_are_right(name):
    loss = LOSSES[name]()

    def value(x, derivative="reverse"):
        return hx.losses.value(loss(_cycle(x), derivative=derivative))

    x = jnp.array([5.0, 12.0])
    expected = differences(
        jax.jit(jax.jacfwd(functools.partial(value, derivative="forward"))), x, 1e-4
    )
    assert np.abs(expected).max() > 1e-6
    found = jax.jit(jax.hessian(value))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.slow
def test_what_has_no_second_derivatives_says_so():
    def run(kappa, activation, method):
        network = hx.TwoTimescaleHopfield(
            hx.patterns.hadamard(2, 4),
            hx.cyclic(2),
            kappa=kappa,
            tau=9.0,
            bias=0.1,
            activation=activation,
        )
        start, ts = network.init(saliency=[3.0, 0.0]), jnp.array([0.0, 9.0])
        return hx.simulate(network, start, ts, method=method).overlaps[1, 0]

    def by_diffrax(kappa):
        return run(kappa, hx.HardTanh(), hx.Diffrax())

    with pytest.raises(
        TypeError, match="second derivatives by diffrax .* kinks of HardTanh.* take"
    ):
        jax.jit(jax.hessian(by_diffrax)).lower(5.0)

    def by_events(kappa):
        return run(kappa, hx.HardTanh(), EXACT)

    with pytest.raises(TypeError, match="third derivatives of an event-driven run .* Take"):
        jax.jit(jax.jacfwd(jax.jacfwd(jax.jacfwd(by_events)))).lower(5.0)

    def at_the_edge(kappa):
        return sequential.basin_edge(kappa, P=4)

    with pytest.raises(TypeError, match="second derivatives of the edge of a basin.* take"):
        jax.make_jaxpr(jax.grad(jax.grad(at_the_edge)))(5.0)

    def at_finite_tau(tau):
        return sequential.critical_gain(P=3, tau=tau, bias=0.01)

    with pytest.raises(TypeError, match="second derivatives of cycles at finite `tau`.* take"):
        jax.make_jaxpr(jax.grad(jax.grad(at_finite_tau)))(100.0)
