"""Observables of runs that are made by hand: what is read from them is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax._trajectory import Switches, Trajectory, switches_of_steps

K = 8


def trajectory(overlaps, switches=(), ts=None, count=None):
    """A run with these overlaps (T, P) and (time, source, target, retrieved) switches."""
    overlaps = jnp.asarray(overlaps, float)
    ts = jnp.linspace(0.0, 100.0, len(overlaps)) if ts is None else jnp.asarray(ts)
    time, source, target = np.full(K, np.nan), np.full(K, -1), np.full(K, -1)
    retrieved = np.zeros(K, bool)
    for k, (t, a, b, fine) in enumerate(switches):
        time[k], source[k], target[k], retrieved[k] = t, a, b, fine
    log = Switches(
        jnp.asarray(time),
        jnp.asarray(source, jnp.int32),
        jnp.asarray(target, jnp.int32),
        jnp.asarray(retrieved),
        jnp.asarray(len(switches) if count is None else count, jnp.int32),
    )
    zero = jnp.zeros((), jnp.int32)
    return Trajectory(ts, overlaps, None, None, None, zero, log, {}, "classes")


def regime(run):
    return hx.observables.REGIMES[int(hx.observables.classify(run))]


PURE = np.tile([1.0, 0.0, 0.0], (40, 1))


@pytest.mark.parametrize(
    ("name", "overlaps", "switches"),
    [
        ("locked", PURE, []),
        ("locked", PURE, [(10.0, 1, 0, True)]),
        ("sequence", PURE, [(60.0, 1, 2, True), (90.0, 2, 0, True)]),
        ("undecided", PURE, [(60.0, 1, 0, True)]),  # one switch, not long ago
        ("collapse", PURE * 0.01, [(20.0, 0, 1, True), (40.0, 1, 2, True)]),
        ("mixed", PURE * 0 + 0.5, []),
        ("mixed", PURE * 0 + [0.6, -0.4, 0.0], []),
        ("tie", PURE * 0 + [0.5, 0.5, 0.0], []),
        ("undecided", PURE * np.nan, []),
        ("undecided", PURE * 0 + [0.7, 0.0, 0.0], []),
    ],
)
def test_regimes(name, overlaps, switches):
    assert regime(trajectory(overlaps, switches)) == name


def test_a_full_log_is_no_silence():
    many = [(float(t), 0, 1, True) for t in range(K)]
    assert regime(trajectory(PURE, many)) == "locked"
    assert regime(trajectory(PURE, many, count=K + 5)) == "sequence"


def test_times_and_order():
    switches = [(10.0, 0, 1, True), (30.0, 1, 2, False), (35.0, 2, 0, True), (80.0, 0, 2, True)]
    run = trajectory(PURE, switches)
    assert hx.observables.switch_times(run).tolist() == [10.0, 35.0, 80.0]
    assert hx.observables.dwell_times(run).tolist() == [25.0, 45.0]
    assert hx.observables.visited(run).tolist() == [0, 1, 0, 2]
    summary = hx.observables.summary(run)
    assert int(summary["switches"]) == 3 and float(summary["dwell"]) == 45.0
    traced = jax.jit(hx.observables.switch_times)(run)
    assert traced.shape == (K,) and np.isnan(traced[3:]).all()
    order = jax.jit(hx.observables.visited)(run)
    assert order.tolist() == [0, 1, 0, 2] + [-1] * (K - 3)


def test_memories_are_called_by_their_names():
    run = trajectory(PURE, [(10.0, 0, 1, True), (30.0, 1, 2, False), (35.0, 2, 0, True)])
    P = run.overlaps.shape[1]
    names = ["rest", "left", *(f"memory {mu}" for mu in range(2, P))]
    wanted = ["rest", "left", "rest"]
    assert hx.observables.visited(run, items=names) == wanted
    assert hx.observables.visited(run, items=np.array(names)) == wanted
    assert hx.observables.visited(run, items=np.arange(P) + 5).tolist() == [5, 6, 5]
    with pytest.raises(TypeError, match="`items` must be numbers for a run under a trace"):
        jax.jit(lambda run: hx.observables.visited(run, items=names))(run)
    for bad in ("left", ["rest", 1, 2]):
        with pytest.raises(TypeError, match="`items`"):
            hx.observables.visited(run, items=bad)
    with pytest.raises(ValueError, match="`items`"):
        hx.observables.visited(run, items=["rest"])


def test_observables_are_chosen_by_name():
    run = trajectory(PURE, [(10.0, 0, 1, True), (30.0, 1, 2, True)])
    chosen = hx.observables.Selected(["regime", "dwell", "visited", "overlaps_end"])(run)
    assert list(chosen) == ["regime", "dwell", "visited", "overlaps_end"]
    assert int(chosen["regime"]) == 2 and float(chosen["dwell"]) == 20.0
    assert chosen["visited"].tolist() == [0, 1, 2]
    assert chosen["overlaps_end"].tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="'saliency_end' needs a network whose saliency"):
        hx.observables.Selected("saliency_end")(run)


def test_regimes_are_labelled_in_a_dataset():
    attributes = hx.observables.regime_attributes()
    assert attributes["flag_meanings"].split() == list(hx.observables.REGIMES)
    assert attributes["flag_values"].dtype == np.int8


def test_escape_of_a_smooth_activation():
    """At z_next psi'(a) = 1 with a = z psi(a), on exponentials that the network's slow equation
    makes while memory 0 is active."""
    patterns = hx.patterns.hadamard(2, 8)
    tau, kappa, start = 50.0, 8.0, 5.0
    network = hx.TwoTimescaleHopfield(
        patterns, [[0, 0], [1, 0]], kappa=kappa, tau=tau, activation=hx.Tanh()
    )
    # a consistent fake: z_0 decays freely, m_0 = 1, z_1 charges
    ts = jnp.linspace(0.0, 100.0, 101)
    decay = jnp.exp(-ts / tau)
    z = jnp.stack([start * decay, kappa * (1 - decay)], axis=1)
    m = jnp.stack([jnp.ones_like(ts), jnp.zeros_like(ts)], axis=1)
    fake = trajectory(m, ts=ts)
    fake = Trajectory(ts, m, z, None, None, fake.status, fake.switches, {}, "classes")
    found = float(hx.observables.escape_times(fake, network)[0])
    z0, z1 = start * np.exp(-found / tau), kappa * (1 - np.exp(-found / tau))
    a = float(hx.theory.sequential.retrieval_amplitude(z0, hx.Tanh()))
    assert_close(z1 * (1 - np.tanh(a) ** 2), 1.0, 1e-7, "Hermite interpolation, (1/50)^4 / 400")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_escapes_are_those_of_a_hopfield_network():
    patterns = hx.patterns.sunflower(2, 0.25, 0.5, 16)
    network = hx.TwoTimescaleRateMemory(patterns, hx.cyclic(2), kappa=2.0, tau=5.0, bias=0.1)
    run = trajectory(jnp.ones((3, 2)))
    with pytest.raises(TypeError, match="must be a TwoTimescaleHopfield"):
        hx.observables.escape_times(run, network)


def test_observables_of_switches_read_a_run_in_discrete_time():
    """Overlaps as `iterate` saves them, with a step at which nothing leads, and one at which a
    memory leads that is never retrieved."""
    m = np.zeros((9, 3))
    for step, (memory, size) in enumerate(
        [(0, 1), (0, 1), (1, 0.3), (2, 0.9), (0, 0.05), (2, 1), (1, -1), (1, -1), (0, 0.8)]
    ):
        m[step, memory] = size
    log = switches_of_steps(jnp.arange(9.0), jnp.asarray(m))
    assert log.time[:4].tolist() == [2, 3, 6, 8] and int(log.count) == 4
    assert log.source[:4].tolist() == [0, 1, 2, 1] and log.target[:5].tolist() == [1, 2, 1, 0, -1]
    assert log.retrieved[:5].tolist() == [False, True, True, True, False]
    patterns = hx.patterns.hadamard(3, 16)
    moving = hx.DenseMemory(patterns, hx.Power(3), transition="cyclic", keep_diagonal=True)
    run = hx.iterate(moving, moving.init(patterns.xi[1]), steps=5)
    observables = hx.observables
    assert observables.visited(run, items=["a", "b", "c"]) == ["b", "c", "a", "b", "c", "a"]
    assert observables.dwell_times(run).tolist() == [1, 1, 1, 1]
    assert observables.REGIMES[observables.classify(run)] == "sequence"
    still = hx.DenseMemory(patterns, hx.Power(3))
    rest = hx.iterate(still, still.init(patterns.xi[0]), steps=4)
    assert observables.REGIMES[observables.summary(rest)["regime"]] == "locked"
    assert "visited" in str(rest) and observables.visited(rest).tolist() == [0]


@pytest.mark.parametrize("name", ["visited", "classify", "summary"])
def test_observables_of_one_run_refuse_a_batch(name):
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), trajectory(PURE))
    with pytest.raises(ValueError, match=f"`{name}` is for one run.*vmap"):
        getattr(hx.observables, name)(batch)
    assert len(jax.tree.leaves(jax.vmap(getattr(hx.observables, name))(batch))[0]) == 3


def test_saliencies_are_refused_where_there_are_none():
    with pytest.raises(ValueError, match="'saliency' needs a network"):
        hx.observables.Selected("saliency")(trajectory(PURE))
