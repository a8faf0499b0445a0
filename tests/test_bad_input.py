"""Bad input: every case gets an error that names the argument, what it got and what to do."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import zoo

import hopfax as hx

pytestmark = pytest.mark.usefixtures("as_a_user_runs_it")


XI = np.asarray(hx.patterns.hadamard(4, 64).xi)
NETWORK, STATE = zoo.cycle()
TS = np.linspace(0.0, 5.0, 3)


def network(transition=None, xi=XI, **options):
    transition = hx.cyclic(4) if transition is None else transition
    return hx.TwoTimescaleHopfield(
        hx.Patterns(xi), transition, **dict(kappa=5.0, tau=20.0) | options
    )


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: network(np.eye(5)), ValueError, r"`transition`.*\(P, P\) = \(4, 4\).*\(5, 5\)"),
        (lambda: network(np.ones(4)), ValueError, r"`transition` must have shape.*got \(4,\)"),
        (lambda: network(np.eye(4) * 1j), TypeError, "`transition`.*complex"),
        (lambda: network([["a"] * 4] * 4), TypeError, "`transition`.*dtype"),
        (lambda: network([[1, 2], [3]]), TypeError, "`transition`.*rectangular"),
        (lambda: network(np.eye(64), xi=XI), ValueError, r"did you pass xi.T\?"),
        (lambda: hx.Patterns(np.where(XI > 0, 1, 0), binary=True), ValueError, r"2\*xi-1"),
        (lambda: hx.Patterns(XI[0]), ValueError, r"`patterns.xi`.*\(P, N\).*\(64,\)"),
        (lambda: hx.Patterns(XI[None]), ValueError, r"`patterns.xi`.*\(1, 4, 64\)"),
        (lambda: hx.Patterns(XI * 0), ValueError, "row 0 is all zero"),
        (lambda: hx.Patterns(np.ones((0, 5))), ValueError, "N >= 1 and P >= 1"),
        (lambda: hx.Patterns(np.ones((5, 0))), ValueError, "N >= 1 and P >= 1"),
        (lambda: hx.Patterns([[1.0, np.nan]]), ValueError, r"`patterns.xi`.*nan at index \(0, 1\)"),
        (lambda: hx.Patterns(XI, counts=np.ones(3)), ValueError, "`counts`"),
        (lambda: network(readout="cubic"), ValueError, "`readout`.*'linear'.*'cubic'"),
        (lambda: network(learning="magic"), ValueError, "`learning`"),
        (lambda: network(activation=jnp.tanh), TypeError, "`activation`.*HardTanh"),
        (lambda: network(kappa=np.ones(3)), ValueError, r"`kappa`.*\(P,\) = \(4,\)"),
        (lambda: network().init(saliency=[1.0]), ValueError, r"`saliency`.*\(4,\).*\(1,\)"),
        (
            lambda: network().init(saliency=np.ones(4), field=np.ones(60)),
            ValueError,
            r"`field`.*\(64,\).*\(60,\)",
        ),
        (
            lambda: network().init(saliency=np.ones(4), field=np.ones(64), weights=np.ones(4)),
            ValueError,
            "not both",
        ),
        (lambda: hx.Hopfield(hx.Patterns(XI)).init(), ValueError, "`field`.*or `weights`"),
        (lambda: hx.Hopfield(XI), TypeError, r"Patterns\(xi\)"),
        (lambda: hx.patterns.hadamard([1, 2], 6), ValueError, "`N` must be a multiple of 4"),
        (lambda: hx.patterns.hadamard([1, 1], 8), ValueError, "distinct"),
        (lambda: hx.patterns.hadamard(60, 1024), ValueError, r"2\^P, got 1024; name the columns"),
        (lambda: hx.patterns.random(0, 3, 9), TypeError, r"`key`.*jax.random.key\(seed\)"),
        (lambda: hx.patterns.random(jr.split(jr.key(0)), 3, 9), ValueError, "one key"),
        (lambda: hx.patterns.random(jr.key(0), 3.0, 9), TypeError, "`P` must be a whole number"),
        (lambda: hx.patterns.correlated(jr.key(0), 3, 9, 1.5), ValueError, "`rho`"),
        (lambda: hx.patterns.load("x.dat"), ValueError, ".npy, .npz or .csv"),
        (lambda: hx.Pulses([0.0, 1.0], np.ones((2, 4))), ValueError, "`edges`"),
        (lambda: hx.Pulses([0.0, 2.0, 1.0], np.ones((2, 4))), ValueError, "increase"),
        (lambda: hx.Diffrax(dt0=0.0), ValueError, "`dt0` must be > 0"),
        (lambda: hx.Diffrax(dt0=-1.0), ValueError, "`dt0` must be > 0"),
        (lambda: hx.Diffrax(reduction="half"), ValueError, "`reduction`"),
        (lambda: hx.Diffrax(switches=0), ValueError, "`switches`"),
        (
            lambda: hx.Diffrax(controller=diffrax.PIDController(rtol=0.0, atol=0.0)),
            ValueError,
            "rtol > 0 or atol > 0",
        ),
        (lambda: hx.Tanh(-1.0), ValueError, "`gain` must be > 0"),
        (lambda: network(bias=np.nan).init(saliency=np.ones(4)), ValueError, "`bias` must be fin"),
    ],
)
def test_construction(make, error, text):
    with pytest.raises(error, match=text):
        make()


def change(name, value):
    return eqx.tree_at(lambda n: getattr(n, name), NETWORK, jnp.asarray(value))


def gained(gain):
    activated, _ = zoo.cycle(activation=hx.HardTanh(2.0))
    return eqx.tree_at(lambda n: n.activation.gain, activated, jnp.asarray(gain))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((change("kappa", np.nan), STATE, TS), ValueError, "`kappa` must be finite"),
        ((change("kappa", -1.0), STATE, TS), ValueError, "`kappa` must be >= 0, but is -1"),
        ((change("tau", 0.0), STATE, TS), ValueError, "`tau` must be > 0.*OneTimescaleHopfield"),
        ((change("tau", -5.0), STATE, TS), ValueError, "`tau` must be > 0"),
        (
            (change("transition", [[0, 0, 1], [1, 0, np.inf], [0, 1, 0.0]]), STATE, TS),
            ValueError,
            r"`transition` must be finite.*\(1, 2\)",
        ),
        ((gained(-1.0), STATE, TS), ValueError, "`activation.gain` must be > 0, but is -1"),
        ((NETWORK, STATE, [5.0, 0.0]), ValueError, "`ts` must not decrease"),
        ((NETWORK, STATE, [0.0, np.nan]), ValueError, "`ts` must be finite"),
        ((NETWORK, STATE, [0.0, np.inf]), ValueError, "`ts` must be finite.*rest"),
        ((NETWORK, STATE, 5.0), ValueError, r"`ts` must have shape \(T,\)"),
        ((NETWORK, STATE.field, TS), TypeError, r"`state0`.*network.init"),
        ((NETWORK, zoo.cycle(N=8)[1], TS), ValueError, r"`state0.field`.*\(16,\).*\(8,\)"),
        ((XI, STATE, TS), TypeError, "`network`"),
        ((NETWORK, hx.FieldState(STATE.field), TS), ValueError, "`state0.saliency` is missing"),
        (
            (NETWORK, eqx.tree_at(lambda s: s.field, STATE, STATE.field + 1), TS),
            ValueError,
            "disagree",
        ),
    ],
)
def test_runs(arguments, error, text):
    with pytest.raises(error, match=text):
        hx.simulate(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (dict(stimulus=np.ones(5)), ValueError, r"`stimulus`.*\(16,\).*\(5,\)"),
        (
            dict(stimulus=np.ones(16), method=hx.EventDriven()),
            ValueError,
            "`stimulus` beside the slow saliency",
        ),
        (dict(current=np.ones(5)), ValueError, r"`current`.*\(16,\).*\(5,\)"),
        (dict(current=np.full(16, np.nan)), ValueError, "`current` must be finite"),
        (dict(current=hx.Pulses([0, 2], np.ones((1, 16)))), ValueError, "`current` covers.*0 to 2"),
        (dict(current=hx.Pulses([0, 9], np.ones((1, 8)))), ValueError, r"`current`.*\(16,\)"),
        (dict(noise=0.1), ValueError, "`noise` needs a `key`"),
        (dict(noise=-0.1, key=jr.key(0)), ValueError, "`noise` must be >= 0"),
        (dict(noise=0.1, key=0), TypeError, "`key`"),
        (dict(key=jr.key(0)), ValueError, "only with `noise`"),
        (dict(method="rk4"), TypeError, "`method`"),
        (dict(derivative="adjoint"), ValueError, "`derivative`"),
        (dict(noise=0.1, key=jr.key(0), method=zoo.fixed("classes")), ValueError, "exact.*noise"),
        (
            dict(current=np.ones(16), method=zoo.fixed("classes")),
            ValueError,
            "not exact.*`current`",
        ),
    ],
)
def test_options_of_runs(options, error, text):
    with pytest.raises(error, match=text):
        hx.simulate(NETWORK, STATE, TS, **options)


def test_input_driven_needs_a_stimulus():
    driven = hx.InputDrivenHopfield(hx.Patterns(XI))
    with pytest.raises(ValueError, match="needs a `stimulus`"):
        hx.simulate(driven, driven.init(weights=np.ones(4)), TS)


def test_a_classical_network_has_no_stimulus():
    classic = hx.Hopfield(hx.Patterns(XI))
    with pytest.raises(ValueError, match="no `stimulus`.*`current`"):
        hx.simulate(classic, classic.init(weights=np.ones(4)), TS, stimulus=np.ones(64))


def test_what_is_only_unusual_is_accepted():
    cast = hx.TwoTimescaleHopfield(
        hx.Patterns(XI.astype(np.int8)), np.eye(4, dtype=bool).tolist(), kappa=5, tau=20
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(cast)} == {jnp.dtype("float64")}
    half = network().init(saliency=np.ones(4, np.float16), field=np.ones(64, np.float16))
    assert half.field.dtype == jnp.dtype("float64")
    assert (
        hx.patterns.random(jr.PRNGKey(3), 2, 5).xi == hx.patterns.random(jr.key(3), 2, 5).xi
    ).all()
    still = hx.simulate(NETWORK, STATE, [2.0, 2.0])
    assert (still.final.field == STATE.field).all() and int(still.status) == 0


def test_constructors_work_under_a_trace():
    @jax.jit
    def overlap(xi, kappa, z):
        net = hx.TwoTimescaleHopfield(hx.Patterns(xi), hx.cyclic(4), kappa=kappa, tau=20)
        return net.overlaps(net.init(saliency=z))

    assert np.isfinite(overlap(XI, 5.0, np.ones(4))).all()


def test_warnings_of_patterns():
    twins = np.concatenate([XI, XI[:1], -XI[1:2]])
    with pytest.warns(hx.PhysicsWarning, match=r"0 and 4 \(equal\), 1 and 5 \(opposite\)"):
        hx.Patterns(twins)
    hx.Patterns(twins, check_patterns=False)  # warnings are errors here


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(bias=0.0), "cannot move"),
        (dict(bias=0.0, noise=0.1), "readout='linear'.*noise.*no sign"),
        (dict(bias=0.001, noise=0.1), "noise as the strongest seed"),  # 0.02 of an overlap
    ],
)
def test_warnings_of_runs(options, text):
    noise = options.pop("noise", None)
    net, state = zoo.cycle(**options)
    key = None if noise is None else jr.key(0)
    with pytest.warns(hx.PhysicsWarning, match=text):
        hx.simulate(net, state, TS, noise=noise, key=key)


REFUSED = dict(current=np.ones(16), method=zoo.fixed("classes"))  # stops before it compiles


def test_warnings_that_come_before_the_run():
    few = hx.TwoTimescaleHopfield(
        hx.Patterns(np.eye(3, 2) - 2, check_patterns=False), hx.cyclic(3), kappa=5, tau=20, bias=0.1
    )
    current = REFUSED | dict(current=np.ones(2))
    with pytest.warns(hx.PhysicsWarning, match="more patterns than neurons"):
        with pytest.raises(ValueError, match="not exact"):
            hx.simulate(few, few.init(saliency=np.ones(3)), TS, **current)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), NETWORK)
    control = diffrax.PIDController(rtol=1e-9, atol=1e-9)
    with pytest.warns(hx.PhysicsWarning, match="rtol = 1e-09 .*float32.*jax_enable_x64"):
        with pytest.raises(ValueError, match="not exact"):
            method = hx.Diffrax(controller=control, reduction="classes")
            start = single.init(saliency=np.ones(3))
            hx.simulate(single, start, TS, current=np.ones(16), method=method)


def test_warning_of_negative_seeds():
    xi = np.asarray(hx.patterns.random(jr.key(0), 3, 65).gauge_cycle().xi) * [[1], [-1], [1]]
    weak = 1e-4  # a bias that does not make up for the overlaps
    net = hx.TwoTimescaleHopfield(hx.Patterns(xi), hx.cyclic(3), kappa=5, tau=20, bias=weak)
    with pytest.warns(hx.PhysicsWarning, match="negative seed.*memory.*gauge_cycle"):
        hx.simulate(net, net.init(saliency=[4, 0, 0]), TS, method=zoo.fixed())


@pytest.mark.slow
def test_failed_runs_say_why():
    stiff = eqx.tree_at(lambda n: n.tau, NETWORK, jnp.asarray(1e-6))
    with pytest.raises(hx.SimulationError, match="max_steps.*implicit solver"):
        hx.simulate(stiff, STATE, np.linspace(0.0, 100.0, 5), max_steps=16)
    with pytest.raises(hx.SimulationError, match="max_steps.*t = .*`max_steps` = 16") as caught:
        hx.simulate(NETWORK, STATE, np.linspace(0.0, 100.0, 5), max_steps=16)
    assert caught.value.status == 1
    run = hx.simulate(NETWORK, STATE, np.linspace(0.0, 100.0, 5), max_steps=16, throw=False)
    assert int(run.status) == 1 and np.isnan(run.overlaps[-1]).all()
    assert np.isfinite(run.overlaps[0]).all()


def test_bad_values_under_a_trace_become_a_status():
    def status(kappa, tau, end):
        net = eqx.tree_at(lambda n: (n.kappa, n.tau), NETWORK, (kappa, tau))
        run = hx.simulate(net, STATE, jnp.stack([0.0 * end, end]), throw=False)
        return run.status, run.overlaps, run.stats["steps"]

    kappa = jnp.array([5.0, np.nan, -1.0, 5.0, 5.0, 5.0, 5.0])
    tau = jnp.array([20.0, 20.0, 20.0, -3.0, 0.0, 20.0, 20.0])
    end = jnp.array([30.0, 30.0, 30.0, 30.0, 30.0, np.nan, 30.0])
    code, overlaps, steps = jax.jit(jax.vmap(status))(kappa, tau, end)
    assert code.tolist() == [0, 4, 4, 4, 4, 4, 0]
    assert np.isnan(overlaps[1:6]).all() and np.isfinite(overlaps[jnp.array([0, 6])]).all()
    assert steps.max() < 5 * steps[0]  # no bad point runs to max_steps
    alone = jax.jit(jax.vmap(status))(*(jnp.full(7, v[0]) for v in (kappa, tau, end)))
    assert (overlaps[0] == alone[1][0]).all()  # neighbours to the last bit
