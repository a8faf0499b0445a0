"""Runs in discrete time."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hopfax as hx


@pytest.fixture(scope="module")
def network():
    return hx.DenseMemory(hx.patterns.random(jr.key(0), 20, 60), hx.Power(3))


@pytest.mark.slow
def test_a_run_retrieves_and_rests(network):
    state = network.init(network.patterns.corrupt(jr.key(1), 3, 10))
    run = hx.iterate(network, state, 5)
    assert run.overlaps.shape == (6, 20) and run.ts.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isclose(run.overlaps[0, 3], 1 - 2 * 10 / 60) and run.overlaps[-1, 3] == 1
    assert run.status == 0 and run.stats["moved"] == 0 and run.stats["steps"] == 5
    assert int(jnp.argmax(jnp.abs(run.overlaps[-1]))) == 3
    dataset = run.to_xarray()
    assert dataset.overlap.dims == ("time", "memory") and dataset.attrs["method"] == "iterate"
    assert dataset.time.attrs["units"] == "steps"


def test_a_run_goes_on_where_it_ended(network):
    state = network.init(network.patterns.corrupt(jr.key(1), 3, 25))
    whole, half = hx.iterate(network, state, 4), hx.iterate(network, state, 2)
    rest = hx.iterate(network, half.final, 2)
    assert (rest.final.spins == whole.final.spins).all()
    assert hx.iterate(network, state, 0).overlaps.shape == (1, 20)


def test_tracked_memories_and_what_is_observed(network):
    state = network.init(network.patterns.corrupt(jr.key(1), 3, 25))
    run = hx.iterate(network, state, 3, track=[3, 0], observe=_mean)
    every = hx.iterate(network, state, 3)
    assert (run.overlaps == every.overlaps[:, [3, 0]]).all()
    assert run.observed.shape == (4,)
    assert np.isclose(run.observed[-1], run.final.spins.mean() + 3)


def _mean(t, state, network):
    return state.spins.mean() + t


def test_keys_repeat_a_run_and_give_every_step_other_numbers(network):
    warm = hx.DenseMemory(network.patterns, hx.Power(3), beta=0.5)
    state = warm.init(network.patterns.pattern(0))
    one, two, other = (hx.iterate(warm, state, 30, key=jr.key(k)) for k in (1, 1, 2))
    assert (one.overlaps == two.overlaps).all() and (one.overlaps != other.overlaps).any()
    hot = hx.DenseMemory(network.patterns, hx.Power(3), beta=1e-9)  # coins, thrown anew
    assert 10 < hx.iterate(hot, state, 3, key=jr.key(0)).stats["moved"] < 50


def test_a_run_that_is_looked_at_is_the_same(network, monkeypatch, capsys):
    warm = hx.DenseMemory(network.patterns, hx.Power(3), beta=0.5)
    state = warm.init(network.patterns.pattern(0))
    how: dict = dict(key=jr.key(1), track=[3, 0], observe=_mean)
    whole = hx.iterate(warm, state, 30, **how)
    assert not capsys.readouterr().err
    monkeypatch.setattr("hopfax._iterate._LOOK", 7 * 20 * 60)  # 6 divides 30, and 7 does not
    monkeypatch.setattr("hopfax._iterate._LEAST", 0)
    looked = hx.iterate(warm, state, 30, progress=True, **how)
    assert "hopfax: 30/30 step" in capsys.readouterr().err
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(looked), strict=True):
        np.testing.assert_array_equal(a, b)
    inside = jax.jit(lambda s: hx.iterate(warm, s, 30, progress=True, **how).final)(state)
    assert (inside.spins == whole.final.spins).all() and not capsys.readouterr().err


def test_one_program_serves_all_starts(network):
    traces = []

    def observe(t, state, network):
        traces.append(1)
        return t

    for flips in (1, 5, 9):
        state = network.init(network.patterns.corrupt(jr.key(flips), 3, flips))
        hx.iterate(network, state, 3, observe=observe)
        if flips == 1:
            first = len(traces)
    assert len(traces) == first > 0


def test_a_bad_value_under_a_trace_is_a_status(network):
    def run(beta):
        warm = hx.DenseMemory(network.patterns, hx.Power(3), beta=beta)
        state = warm.init(network.patterns.pattern(0))
        return hx.iterate(warm, state, 2, key=jr.key(0))

    runs = jax.vmap(run)(jnp.array([1.0, -1.0, jnp.nan]))
    assert [hx.STATUS[int(code)][0] for code in runs.status] == [
        "ok",
        "invalid_parameter",
        "invalid_parameter",
    ]
    assert np.isfinite(runs.overlaps[0]).all() and np.isnan(runs.overlaps[1:]).all()


def test_bad_states_and_interactions_under_a_trace_are_a_status(network):
    def run(rate, h):
        steep = hx.DenseMemory(network.patterns, hx.Exponential(rate))
        return hx.iterate(steep, hx.SpinState(h), 2).status

    good = network.patterns.pattern(0)
    rates, states = jnp.array([1.0, -1.0, jnp.nan]), jnp.stack([good, 0.5 * good])
    codes = jax.vmap(lambda rate: run(rate, good))(rates).tolist()
    codes += jax.vmap(lambda h: run(1.0, h))(states).tolist()
    bad = "invalid_parameter"
    assert [hx.STATUS[code][0] for code in codes] == ["ok", bad, bad, "ok", bad]


def test_a_run_that_is_not_finite_says_so(network):
    blown = hx.DenseMemory(
        hx.Patterns(jnp.full((1, 2), 1e200)), hx.Quadratic(), keep_diagonal=True, activation=Raw()
    )
    with pytest.raises(hx.SimulationError, match="nonfinite"):
        hx.iterate(blown, blown.init([1.0, 1.0]), 3)
    run = hx.iterate(blown, blown.init([1.0, 1.0]), 3, throw=False)
    assert hx.STATUS[int(run.status)][0] == "nonfinite"


class Raw(hx.AbstractActivation):
    def __call__(self, x):
        return x * x

    def slope(self, x):
        return 2 * x

    def potential(self, x):
        return x

    def averaged(self, x, std):
        return x


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_bad_arguments_are_named(network):
    state = network.init(network.patterns.pattern(0))
    warm = hx.DenseMemory(network.patterns, hx.Power(3), beta=1.0)
    big = hx.DenseMemory(hx.GeneratedPatterns(jr.key(0), 5000, 8), hx.Power(3))
    for call, words in (
        (lambda: hx.iterate(hx.Hopfield(network.patterns), state, 3), "hopfax.simulate"),
        (lambda: hx.simulate(network, state, jnp.arange(3.0)), "run it by hopfax.iterate"),
        (lambda: hx.Point(network, {}, [0.0, 1.0]), "function of named values"),
        (lambda: hx.iterate(network, state.spins, 3), "must come from network.init"),
        (lambda: hx.iterate(network, hx.SpinState(0 * state.spins), 3), "`spins` must be \\+-1"),
        (lambda: hx.iterate(network, state, -1), "`steps` must be"),
        (lambda: hx.iterate(network, state, 2.5), "`steps` must be"),
        (
            lambda: hx.iterate(network, state, 3, track=[20]),
            "`track` must hold indices from 0 to below 20",
        ),
        (lambda: hx.iterate(network, state, 3, track=[]), "`track` must be a list"),
        (lambda: hx.iterate(network, state, 3, key=jr.key(0)), "`key` is not used"),
        (lambda: hx.iterate(warm, state, 3), "needs a `key`"),
        (lambda: hx.iterate(network, state, 3, stimulus=np.ones(3)), "`stimulus` must have shape"),
        (lambda: hx.iterate(big, big.init(np.ones(8)), 3), "track=\\[0\\]"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            call()


CLAMPED = jnp.arange(60) % 3 == 0


def _by_hand(xi, h, steps, clamped, in_turn):
    """Cubic forces of all others, neuron by neuron."""
    h = h.copy()
    for _ in range(steps):
        old, felt = h.copy(), h if in_turn else h.copy()
        for i in np.flatnonzero(~clamped):
            u = (xi[:, i] * (xi @ felt - xi[:, i] * felt[i]) ** 2).sum()
            h[i] = np.sign(u) if u else old[i]
    return h


@pytest.mark.parametrize("update", ["parallel", "cyclic"])
def test_clamped_neurons_stay_and_the_others_feel_them(network, update):
    memory = hx.DenseMemory(network.patterns, hx.Power(3), update=update)
    state = memory.init(network.patterns.corrupt(jr.key(1), 3, 28))
    run = hx.iterate(memory, state, 3, clamped=CLAMPED)
    free = hx.iterate(memory, state, 3)
    h, xi = np.asarray(state.spins), np.asarray(network.patterns.xi)
    wanted = _by_hand(xi, h, 3, np.asarray(CLAMPED), update == "cyclic")
    assert (run.final.spins == wanted).all() and (run.final.spins != h).any()
    assert (run.final.spins != free.final.spins).any()
    assert (run.final.spins == h)[CLAMPED].all()
    assert run.observed is None and run.status == 0


def test_the_past_of_a_clamped_sequence_is_what_was_clamped(network):
    def made(update):
        options = {"share": 0.2, "tau": 2.0, "update": update}
        return hx.DenseSequence(network.patterns, hx.Power(3), hx.Power(3), **options)

    for update in ("parallel", "cyclic"):
        moving = made(update)
        run = hx.iterate(moving, moving.init(network.patterns.pattern(0)), 4, clamped=CLAMPED)
        kept = network.patterns.pattern(0)[CLAMPED]
        assert (run.final.spins[CLAMPED] == kept).all()
        assert jnp.allclose(run.final.past[CLAMPED], kept)
        assert not jnp.allclose(run.final.past, network.patterns.pattern(0))  # the others moved


TOLD = []


class _Counted(hx.AbstractMap):
    """A stranger's network: turns its neurons one after the other, and tells each step."""

    patterns: hx.Patterns

    @property
    def signs(self):
        return True

    @property
    def random(self):
        return False

    def domain(self):
        yield from ()

    def init(self, spins):
        return hx.SpinState(jnp.asarray(spins, float))

    def holds(self, state):
        return jnp.bool_(True)

    def overlaps(self, state):
        return self.patterns.overlap(state.spins)

    def step(self, state, stimulus=None, key=None):
        jax.debug.callback(lambda: TOLD.append(1))
        place = jnp.argmax(state.spins < 0)  # the first that is down, if any, goes up
        return hx.SpinState(state.spins.at[place].set(1.0))


class _ToAndFro(_Counted):
    """The same, which turns its first neuron once all others are up."""

    def step(self, state, stimulus=None, key=None):
        jax.debug.callback(lambda: TOLD.append(1))
        others = state.spins.at[0].set(1.0)
        place = jnp.where((others > 0).all(), 0, jnp.argmax(others < 0))
        return hx.SpinState(state.spins.at[place].multiply(-1.0))


def test_signs_at_rest_are_not_computed_again():
    TOLD.clear()
    other = _Counted(hx.patterns.hadamard(2, 16))
    start = jnp.ones(16).at[jnp.array([3, 5, 9])].set(-1)
    run = hx.iterate(other, other.init(start), 12)
    jax.effects_barrier()
    assert len(TOLD) == 4  # three that turn a neuron, and one that finds nothing to turn
    assert run.stats["last_change"] == 3 and run.stats["moved"] == 0 and run.stats["steps"] == 12
    assert (run.final.spins == 1).all() and run.ts.size == 13
    held = hx.iterate(other, other.init(start), 12, clamped=jnp.arange(16) < 4)
    assert (held.final.spins < 0).sum() == 3 and held.stats["last_change"] == 0


def test_cycles_of_two_are_not_computed_again():
    """The start itself is in the cycle, and one step before it."""
    TOLD.clear()
    other = _ToAndFro(hx.patterns.hadamard(2, 16))
    start = jnp.ones(16).at[5].set(-1)
    run = hx.iterate(other, other.init(start), 9, observe=_spins_of)
    jax.effects_barrier()
    assert len(TOLD) == 3  # there, fro, and there again
    up, down = jnp.ones(16), jnp.ones(16).at[0].set(-1)
    wanted = jnp.stack([start, *(down if t % 2 else up for t in range(9))])
    assert (run.observed == wanted).all() and run.stats["moved"] == 1
    assert run.stats["last_change"] == 9


def _spins_of(t, state, network):
    return state.spins


def test_a_batch_stops_when_all_of_it_rests():
    TOLD.clear()
    other = _Counted(hx.patterns.hadamard(2, 16))
    one = jnp.ones(16)
    starts = jnp.stack([one, one.at[3].set(-1), one.at[jnp.array([3, 5])].set(-1)])
    runs = jax.vmap(lambda h: hx.iterate(other, hx.SpinState(h), 12))(starts)
    jax.effects_barrier()
    assert runs.stats["last_change"].tolist() == [0, 1, 2] and (runs.final.spins == 1).all()
    assert len(TOLD) == 3  # rounds of all three runs, and no more


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_clamped_is_named(network):
    state = network.init(network.patterns.pattern(0))
    for wrong in ([1, 2, 3], jnp.ones(60), jnp.ones(59, bool)):
        with pytest.raises(ValueError, match=r"`clamped` must be True or False for each neuron"):
            hx.iterate(network, state, 1, clamped=wrong)
