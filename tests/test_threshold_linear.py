"""Threshold-linear networks: the equation, exact runs, and all of their fixed points."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from helpers import assert_close

import hopfax as hx

TLN = hx.ThresholdLinearNetwork
fixed_points = hx.theory.rate.threshold_linear_fixed_points


def field(W, b, x):
    return -x + np.maximum(W @ x + b, 0.0)


def some(N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, N)) - 0.7, rng.normal(size=N) + 0.5, rng.random(N)


def edges(N, seed):
    """A random graph, entry [to, from]."""
    graph = np.random.default_rng(seed).random((N, N)) < 0.5
    np.fill_diagonal(graph, False)
    return graph.astype(float)


def test_the_equation():
    W, b, x = some(5)
    network = TLN(W, b)
    current = jnp.linspace(-1.0, 1.0, 5)
    state = network.init(rates=x)
    rate = network.vector_field(0.0, state, hx.Inputs(current=current)).rates
    assert_close(rate, field(W, b + current, x), 1e-14, "rounding")
    assert_close(network.overlaps(state), x, 1e-14, "overlaps are rates")


def test_weights_of_a_graph():
    graph = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    network = TLN.combinatorial(graph, epsilon=0.2, delta=0.4, theta=2.0)
    wanted = [[0.0, -1.4, -0.8], [-0.8, 0.0, -1.4], [-1.4, -0.8, 0.0]]
    assert_close(network.W, np.array(wanted), 1e-15, "rounding")
    assert_close(network.b, np.full(3, 2.0), 0, "as given")


@pytest.mark.slow
def test_runs_are_exact_also_with_pulses():
    W, b, x = some(5, 3)
    W = W - 1.5 * np.eye(5)
    network = TLN(W, b)
    ts = np.linspace(0.0, 12.0, 25)
    pulses = hx.Pulses([0.0, 4.0, 12.0], np.array([np.zeros(5), np.linspace(1.0, -1.0, 5)]))
    run = hx.simulate(network, network.init(rates=x), ts, current=pulses)
    other = hx.simulate(network, network.init(rates=x), ts, current=pulses, method=zoo.tight())
    assert run.method == "event-driven" and run.reduction == "sites"
    assert_close(run.overlaps, other.overlaps, 1e-7, "steps of diffrax over kinks")
    # Without kinks it is the exponential of a matrix: all neurons of a fixed point stay active.
    still = TLN(-0.5 * np.ones((3, 3)), 1.0)
    start = np.array([0.5, 0.3, 0.4])
    run = hx.simulate(still, still.init(rates=start), jnp.array([0.0, 2.0]))
    A, rest = -np.eye(3) - 0.5, np.full(3, 0.4)
    wanted = rest + jax.scipy.linalg.expm(2.0 * A) @ (start - rest)
    assert_close(run.overlaps[-1], wanted, 1e-10, "the tolerance of the series")


def test_a_large_network_is_left_to_diffrax():
    network = TLN(-0.01 * np.ones((70, 70)), 1.0)
    run = hx.simulate(network, network.init(rates=0.1), jnp.array([0.0, 0.5]))
    assert run.method == "diffrax"


@pytest.mark.slow
def test_a_cycle_of_three_neurons_fires_in_turn():
    """Morrison, Degeratu, Itskov, Curto 2016: one fixed point, unstable, and a limit cycle."""
    network = TLN.combinatorial(hx.cyclic(3))
    found = fixed_points(network)
    assert found.supports.tolist() == [[True] * 3] and found.stable.tolist() == [False]
    # All are alike: x = theta - (1 - epsilon) x - (1 + delta) x.
    assert_close(found.rates[0], np.full(3, 1 / (3 - 0.25 + 0.5)), 1e-14, "rounding")
    ts = np.linspace(0.0, 100.0, 201)
    run = hx.simulate(network, network.init(rates=[0.3, 0.1, 0.0]), ts)
    number = int(run.switches.count)
    assert number > 12
    assert run.switches.target[:number].tolist() == [(k + 1) % 3 for k in range(number)]
    dwells = np.diff(np.asarray(run.switches.time)[:number])
    assert_close(dwells[-6:], np.full(6, dwells[-1]), 1e-8, "the attraction of the cycle")


@pytest.mark.parametrize("seed", range(6))
def test_fixed_points_are_all_of_them(seed):
    """Cell by cell again, without a batch; and where runs come to rest."""
    W, b, _ = some(4, seed)
    found = fixed_points(W, b)
    wanted = []
    for size in range(5):
        for active in itertools.combinations(range(4), size):
            x = np.zeros(4)
            at = list(active)
            x[at] = np.linalg.solve(np.eye(size) - W[np.ix_(at, at)], b[at])
            if np.abs(field(W, b, x)).max() < 1e-12 and (x[at] > 0).all():
                wanted.append(x)
    assert len(found.rates) == len(wanted)
    for x in wanted:
        assert np.abs(found.rates - x).max(1).min() < 1e-12
    for support, x, growth in zip(found.supports, found.rates, found.growth, strict=True):
        slopes = np.where(support, 1.0, 0.0)
        jacobian = -np.eye(4) + slopes[:, None] * W
        assert abs(np.linalg.eigvals(jacobian).real.max() - growth) < 1e-12
        assert (support == (x > 0)).all()


@pytest.mark.parametrize("seed", range(4))
def test_target_free_cliques_are_the_stable_cliques(seed):
    """Curto, Geneson, Morrison 2019: a clique supports a fixed point iff no neuron outside gets
    edges from all of it, and that is stable; the number of all fixed points is odd."""
    graph = edges(6, seed)
    found = fixed_points(TLN.combinatorial(graph))
    assert len(found.supports) % 2 == 1 and len(found.singular) == 0
    stable = {tuple(np.flatnonzero(s)) for s in found.supports[found.stable]}
    every = {tuple(np.flatnonzero(s)) for s in found.supports}
    for size in range(1, 7):
        for clique in itertools.combinations(range(6), size):
            inside = graph[np.ix_(clique, clique)]
            if inside.sum() != size * (size - 1):
                continue
            outside = [i for i in range(6) if i not in clique]
            target_free = not any(graph[i, list(clique)].all() for i in outside)
            assert (clique in stable) == (clique in every) == target_free


@pytest.mark.slow
def test_sixteen_neurons_and_no_more():
    found = fixed_points(TLN.combinatorial(np.zeros((16, 16))))
    # Without edges every set of neurons is a fixed point, and single ones are stable.
    assert found.stable.sum() == 16 and len(found.supports) == 2**16 - 1
    with pytest.raises(ValueError, match="`W` must be of at most 16 neurons, but is of 17"):
        fixed_points(np.zeros((17, 17)), 1.0)


def test_a_line_of_fixed_points_is_said_to_be_singular():
    found = fixed_points([[0.0, -1.0], [-1.0, 0.0]], 1.0)
    assert found.singular.tolist() == [[True, True]]
    assert len(found.supports) == 2  # its ends, each with the other neuron at its threshold


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"`W` must have shape \(N, N\)"):
        TLN(np.zeros((2, 3)), 1.0)
    with pytest.raises(ValueError, match="`graph` must have entries 1"):
        TLN.combinatorial(np.eye(3))
    with pytest.raises(ValueError, match=r"`epsilon` must be below .* = 0.3333, but is 0.4"):
        TLN.combinatorial(hx.cyclic(3), epsilon=0.4)
    network = TLN.combinatorial(hx.cyclic(3))
    state = network.init(rates=0.2)
    with pytest.raises(ValueError, match="no energy"):
        network.energy(state)
    with pytest.raises(ValueError, match="reduction='classes' is not exact here"):
        hx.simulate(network, state, [0.0, 1.0], method=hx.Diffrax(reduction="classes"))
    with pytest.raises(ValueError, match="`W` must be known, not be traced"):
        jax.jit(lambda W: fixed_points(W, 1.0).rates)(network.W)
    with pytest.raises(ValueError, match="`network` must be a ThresholdLinearNetwork"):
        fixed_points(hx.RateMemory(hx.patterns.sunflower(3, 0.25, 0.5, 16)))
