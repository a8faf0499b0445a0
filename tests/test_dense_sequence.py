"""Dense memories that hold, and then call: against sums written out, and by how long they hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from test_dense import random_case

import hopfax as hx

FORMS = {
    "at once": {},
    "delay": {"delay": 3},
    "weights": {"delay": [0.2, 0.0, 0.5, 0.3]},
    "trace": {"tau": 2.5},
    "matrix": {"delay": 2, "transition": "matrix"},
    "in turn": {"delay": 2, "update": "cyclic"},
    "in turn at once": {"update": "cyclic"},
    "weighed in turn": {"delay": [0.3], "update": "cyclic"},
    "kept": {"delay": 1, "keep_diagonal": True},
}


def literal(xi, A, h0, steps, share, delay=0, tau=None, update="", keep_diagonal=False, **_):
    """The same dynamics one neuron at a time, with orders 2 and 3."""
    N = xi.shape[1]
    w = np.eye(delay + 1)[-1] if np.ndim(delay) == 0 else np.asarray(delay)
    graded = tau is not None or np.ndim(delay) > 0
    last, trace, states = [h0] * len(w), h0.copy(), [h0]
    for _ in range(steps):
        h = states[-1].copy()
        past = trace if tau is not None else w @ np.array(last)
        new = h.copy()
        for i in range(N):
            now = new if update == "cyclic" else h
            felt = now if tau is None and np.ndim(delay) == 0 and delay == 0 else past
            own = 0.0 if keep_diagonal else 1.0
            X = xi @ now - own * xi[:, i] * now[i]
            Y = xi @ felt - (0.0 if graded else own) * xi[:, i] * felt[i]
            u = share * (xi[:, i] @ X) / N + (1 - share) * ((A.T @ xi)[:, i] @ Y**2) / N**2
            new[i] = now[i] if abs(u) < 1e-12 else np.sign(u)
        last = [new, *last[:-1]]
        trace = trace if tau is None else trace + (new - trace) / tau
        states.append(new)
    return np.array(states)


def _spins(t, state, network):
    return state.spins


@pytest.mark.parametrize("name", list(FORMS))
def test_every_form_is_the_sum_of_its_two_terms(name):
    xi, h, rng = random_case(4, N=12, M=5)
    how, A = dict(FORMS[name]), np.roll(np.eye(5), 1, axis=0)
    if how.get("transition") == "matrix":
        how["transition"] = A = rng.normal(size=(5, 5))
    network = hx.DenseSequence(hx.Patterns(xi), hx.Power(2), hx.Power(3), share=0.35, **how)
    run = hx.iterate(network, network.init(h), 7, observe=_spins)
    assert (np.asarray(run.observed) == literal(xi, A, h, 7, 0.35, **how)).all()
    first = hx.iterate(network, network.init(h), 3)  # and on from there, with its past
    assert (hx.iterate(network, first.final, 4).overlaps == run.overlaps[3:]).all()


def visits(network, steps=40):
    run = hx.iterate(network, network.init(network.patterns.pattern(0)), steps)
    return hx.observables.visited(run), np.asarray(hx.observables.dwell_times(run))


def test_memories_last_as_long_as_the_delay():
    patterns = hx.patterns.hadamard(4, 256)
    for delay in (0, 1, 4):
        how = {"share": 0.45, "delay": delay, "keep_diagonal": True}
        order, dwells = visits(hx.DenseSequence(patterns, hx.Power(3), hx.Power(3), **how))
        assert (np.asarray(order) == np.arange(len(order)) % 4).all()
        assert (dwells == delay + 1).all()
    held = hx.DenseSequence(patterns, hx.Power(3), hx.Power(3), share=0.55, delay=2)
    assert visits(held)[0].tolist() == [0]


@pytest.mark.parametrize(("share", "tau"), [(0.3, 3.0), (0.4, 4.0), (0.4, 8.0)])
def test_memories_last_until_the_trace_has_risen(share, tau):
    q, t = 1 - 1 / tau, np.arange(1, 60)
    expected = 1 + int(np.argmax((1 - share) * ((1 - q**t) ** 2 - q ** (2 * t)) > share))
    patterns = hx.patterns.hadamard(8, 1024)
    how = {"share": share, "tau": tau, "keep_diagonal": True}
    _, dwells = visits(hx.DenseSequence(patterns, hx.Power(3), hx.Power(3), **how), 80)
    assert (np.abs(dwells - expected) <= 1).all() and len(dwells) > 3


@pytest.mark.parametrize("delay", [2, (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("follow", [hx.Exponential(), hx.Power(3)])
def test_shares_compare_exponential_terms_with_others(delay, follow):
    """Whether or not a term leaves neurons out of their own field."""
    patterns = hx.patterns.hadamard(4, 64)
    for hold in (hx.Exponential(), hx.Power(3)):
        held = hx.DenseSequence(patterns, hold, follow, share=0.6, delay=delay)
        assert visits(held, 9)[0].tolist() == [0]
        moved = hx.DenseSequence(patterns, hold, follow, share=0.4, delay=delay)
        assert (visits(moved, 20)[1] == 3).all()


def test_a_share_of_all_or_nothing_is_one_of_the_terms():
    xi, h, _ = random_case(9, N=20, M=6)
    patterns = hx.Patterns(xi)
    one = {"share": 1.0, "delay": 2}
    held = hx.DenseSequence(patterns, hx.Power(3), hx.Power(4), **one)
    still = hx.DenseMemory(patterns, hx.Power(3))
    assert (held.field(held.init(h)) == still.field(still.init(h))).all()
    assert held.still.energy(still.init(h)) == still.energy(still.init(h))
    moved = hx.DenseSequence(patterns, hx.Power(3), hx.Power(4), share=0.0)
    moving = hx.DenseMemory(patterns, hx.Power(4), transition="cyclic")
    assert (moved.field(moved.init(h)) == moving.field(moving.init(h))).all()


def test_graded_neurons_have_derivatives_through_their_past():
    xi, h, _ = random_case(2, N=12, M=4)
    xi = jnp.asarray(xi)
    called = jnp.roll(xi, -1, axis=0)

    def reached(tau, share):
        network = hx.DenseSequence(
            hx.Patterns(xi), hx.Power(3), hx.Power(3), share=share, tau=tau,
            activation=hx.Tanh(3.0), keep_diagonal=True,
        )  # fmt: skip
        return hx.iterate(network, network.init(0.8 * h), 3).overlaps[-1]

    def literal(tau, share):
        h_ = trace = jnp.asarray(0.8 * h)
        for _ in range(3):
            u = share * (xi @ h_) ** 2 @ xi + (1 - share) * (xi @ trace) ** 2 @ called
            h_ = jnp.tanh(3.0 * u / 144)
            trace = trace + (h_ - trace) / tau
        return xi @ h_ / 12

    at = (jnp.asarray(2.5), jnp.asarray(0.4))
    assert_close(reached(*at), literal(*at), 1e-13, "rounding")
    for found, expected in zip(
        jax.jacfwd(reached, (0, 1))(*at), jax.jacfwd(literal, (0, 1))(*at), strict=True
    ):
        assert_close(found, expected, 1e-12, "rounding")


def test_noise_needs_a_key_and_moves_the_sequence_on():
    patterns = hx.patterns.hadamard(4, 256)
    network = hx.DenseSequence(
        patterns, hx.Power(3), hx.Power(3), share=0.4, delay=2, beta=8.0, keep_diagonal=True
    )
    start = network.init(patterns.pattern(0))
    with pytest.raises(ValueError, match="`key`"):
        network.step(start)
    run = hx.iterate(network, start, 12, key=jax.random.key(0))
    assert hx.observables.visited(run).tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.5}, "`share`"),
        ({"delay": 2, "tau": 3.0}, "`delay` and `tau`"),
        ({"delay": -1}, "`delay`"),
        ({"delay": [[1.0]]}, "`delay`"),
        ({"delay": [0.0, 0.0]}, "`delay`"),
        ({"tau": 0.5}, "`tau`"),
        ({"transition": None}, "`transition`"),
        ({"follow": hx.Softmax()}, "`hold` and `follow`"),
        ({"follow": hx.ManyBody(3), "tau": 2.0}, "`follow`: ManyBody is of states of signs"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    given = {"hold": hx.Power(3), "follow": hx.Power(3), "share": 0.4} | wrong
    with pytest.raises((ValueError, TypeError)) as caught:
        hx.DenseSequence(hx.patterns.hadamard(4, 16), **given)
    assert message in str(caught.value)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_states_of_another_network_are_refused():
    network = hx.DenseSequence(
        hx.patterns.hadamard(4, 16), hx.Power(3), hx.Power(3), share=0.4, delay=2
    )
    with pytest.raises(TypeError, match="no past"):
        hx.iterate(network, hx.SpinState(network.patterns.pattern(0)), 2)
    with pytest.raises(TypeError, match="no past"):
        network.field(np.ones(16))
    other = hx.DenseSequence(
        hx.patterns.hadamard(4, 16), hx.Power(3), hx.Power(3), share=0.4, delay=5
    )
    with pytest.raises(ValueError, match=r"state\.past"):
        hx.iterate(network, other.init(network.patterns.pattern(0)), 2)
