"""What is too large is refused before it is begun, with the number of bytes."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx
from hopfax import _errors
from hopfax._errors import check_memory, in_words, machine_memory

pytestmark = pytest.mark.usefixtures("as_a_user_runs_it")


def test_sizes_in_words():
    assert in_words(5) == "5 bytes" and in_words(5_400_000_000) == "5.4 GB"
    assert in_words(10**17) == "1e+05 TB" and in_words(8 * 10**20) == "10^20 bytes"
    assert in_words(2**100_000) == "10^30000 bytes"  # beyond the largest float


def test_memory_is_asked_for_before_it_is_taken(monkeypatch):
    assert 10**8 < machine_memory() < 10**15
    monkeypatch.setattr(_errors, "machine_memory", lambda: 4 * 10**9)
    check_memory("N", 4 * 10**9, "as much as there is")
    with pytest.raises(
        ValueError, match=r"^`N` is too large: 3 x N numbers would take 12 GB, and this machine"
    ) as error:
        check_memory("N", 12 * 10**9, "3 x N numbers", "Take fewer.")
    assert str(error.value).endswith("has 4 GB of memory. Take fewer.")


KEY = jax.random.key(0)
HUGE = 10**12
CUBE = hx.Power(3)
PATTERNS = hx.patterns.hadamard(2, 4)
NETWORK = hx.TwoTimescaleHopfield(PATTERNS, hx.cyclic(2), kappa=5.0, tau=20.0, bias=0.01)
START = NETWORK.init(saliency=[1.0, 0.0])
MEMORY = hx.DenseMemory(PATTERNS, CUBE)
SPINS = MEMORY.init(PATTERNS.xi[0])
ROUND = hx.Events([0, 1], [0.0, 1.0], end=2.0, cycle=True)
RANGES = {"kappa": (3.0, 7.0)}
sequential, dense, rate = hx.theory.sequential, hx.theory.dense, hx.theory.rate


def outer(t, state, network):
    """Far too much to be saved often."""
    return jnp.broadcast_to(t, (10**5, 10**5))


def thousand(x, y):
    """As many numbers from every point."""
    return x + y * jnp.arange(1000.0)


def fit(**options):
    return hx.fit(jnp.ones(2), jnp.sum, where=lambda m: m, key=KEY, progress=False, **options)


#: Name of the argument, and a call that asks for more than any machine has.
DOORS = [
    ("N", lambda: hx.patterns.random(KEY, 3, HUGE)),
    ("P", lambda: hx.patterns.random(KEY, HUGE, 3)),
    ("N", lambda: hx.patterns.correlated(KEY, 3, HUGE, 0.2)),
    ("N", lambda: hx.patterns.hadamard(3, HUGE)),
    ("N", lambda: hx.patterns.hadamard(10**10, 8)),
    ("N", lambda: hx.patterns.hadamard([2**39], 2**40)),
    ("N", lambda: hx.patterns.balanced(0.5, HUGE)),
    ("N", lambda: hx.patterns.sunflower(3, 0.25, 0.5, HUGE)),
    ("N", lambda: hx.patterns.sparse(KEY, 3, HUGE, 0.25)),
    ("P", lambda: hx.cyclic(10**7)),
    ("P", lambda: hx.constraints.zero_diagonal(10**7)),
    ("points", lambda: hx.designs.random(RANGES, HUGE)),
    ("points", lambda: hx.designs.sobol(RANGES, 2**40)),
    ("rounds", lambda: ROUND.repeated(HUGE)),
    ("P", lambda: sequential.dwell_time(5.0, 20.0, 10**9)),
    ("P", lambda: sequential.critical_gain(10**9)),
    ("P", lambda: sequential.fixed_points(5.0, 10**9)),
    ("P", lambda: sequential.basin_edge(5.0, 10**9)),
    ("P", lambda: sequential.saliency_map(5.0, 5.0, 10**9)),
    ("P", lambda: sequential.gain_for_period(50.0, 10**9, 20.0)),
    ("P", lambda: sequential.saliency_orbit(5.0, 5.0, 3, 10**9)),
    ("steps", lambda: sequential.saliency_orbit(5.0, 5.0, HUGE)),
    ("steps", lambda: sequential.itinerary(hx.cyclic(3), 5.0, 20.0, [4.0, 0.0, 0.0], HUGE)),
    ("P", lambda: hx.plots.saliency_map(5.0, P=10**9)),
    ("steps", lambda: hx.plots.saliency_map(5.0, steps=HUGE)),
    ("steps", lambda: dense.map_trajectory(CUBE, 0.05, 0.6, HUGE)),
    ("steps", lambda: dense.solve_gfa(CUBE, 0.05, 0.6, 10**7)),
    ("paths", lambda: dense.solve_gfa(CUBE, 0.05, 0.6, 2, paths=2**40)),
    ("scrambles", lambda: dense.solve_gfa(CUBE, 0.05, 0.6, 2, scrambles=HUGE)),
    ("horizon", lambda: dense.basin_edge(CUBE, 0.05, 10**7)),
    ("horizon", lambda: dense.convergence_time(CUBE, 0.05, 0.6, 10**7)),
    ("horizon", lambda: dense.apparent_capacity(CUBE, 10**7)),
    ("most", lambda: rate.planar_equilibria(hx.HardSigmoid(), -0.3, 0.95, 0.2, most=HUGE)),
    ("steps", lambda: hx.iterate(MEMORY, SPINS, HUGE)),
    ("steps", lambda: hx.iterate(MEMORY, SPINS, 10**7, observe=outer)),
    ("ts", lambda: hx.simulate(NETWORK, START, np.zeros(10**7), observe=outer)),
    ("switches", lambda: hx.EventDriven(switches=HUGE)),
    ("switches", lambda: hx.Diffrax(switches=HUGE)),
    ("order", lambda: hx.EventDriven(order=10**6)),
    (
        "max_steps",
        lambda: hx.simulate(
            NETWORK, START, [0.0, 1.0], method=hx.Diffrax(dense=True), max_steps=HUGE
        ),
    ),
    ("steps", lambda: fit(steps=HUGE)),
    ("starts", lambda: fit(starts=HUGE)),
    ("tile", lambda: hx.sweep(jnp.sin, {"x": [1.0, 2.0]}, tile=HUGE)),
    ("tile", lambda: hx.sweep_plan(jnp.sin, {"x": [1.0, 2.0]}, tile=HUGE)),
    ("grid", lambda: hx.sweep(thousand, {"x": np.ones(10**5), "y": np.ones(10**4)})),
    (
        "coarse",
        lambda: hx.refine(jnp.sin, {}, along="x", between=(0.0, 1.0), of="y", coarse=HUGE),
    ),
    ("num_memories", lambda: hx.nn.HopfieldLookup(HUGE, 1, 4, key=KEY)),
    ("num_queries", lambda: hx.nn.HopfieldPooling(HUGE, 1, 4, key=KEY)),
    ("query_size", lambda: hx.nn.HopfieldRetrieval(1, 10**7, key=KEY)),
    ("num_memories", lambda: hx.nn.DenseMemoryLayer(HUGE, 4, key=KEY)),
    ("taps", lambda: hx.nn.LinearSystem(2, 2, taps=HUGE, key=KEY)),
    ("modes", lambda: hx.nn.LinearSystem(2, 2, modes=HUGE, key=KEY)),
    ("slots", lambda: hx.nn.Bank(2, 2, HUGE, key=KEY)),
    ("slots", lambda: hx.nn.ResidualSelector(2, HUGE, key=KEY)),
    ("outputs", lambda: hx.nn.ResidualSelection(2, HUGE, key=KEY)),
    ("in_size", lambda: hx.nn.SequenceMemory(NETWORK, HUGE, key=KEY)),
    ("window", lambda: hx.nn.parity_relations(np.eye(2), [[1.0, 0.0]], HUGE)),
]


@pytest.mark.parametrize(("name", "call"), DOORS)
def test_absurd_sizes_are_refused_by_name_at_once(name, call):
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=f"`{name}`"):
        call()
    assert time.perf_counter() - begin < 20


def test_their_messages_give_the_bytes_and_what_there_is():
    with pytest.raises(ValueError, match=r"`N` is too large: .* would take 72 TB, .* of memory\."):
        hx.patterns.random(KEY, 3, HUGE)  # three times 8 bytes


@pytest.mark.parametrize("order", [200, 10**6])
@pytest.mark.parametrize("kind", [hx.Power, hx.ManyBody, hx.RectifiedPower])
def test_orders_beyond_the_largest_float_are_refused(kind, order):
    with pytest.raises(ValueError, match="`interaction` must have an order of at most 150"):
        dense.capacity(kind(order))


@pytest.mark.slow
def test_what_fits_is_not_refused():
    long = sequential.critical_gain(10**5)  # the sum of as many terms
    assert float(long) == pytest.approx(4.0, abs=1e-12)
    assert len(hx.patterns.random(KEY, 2, 10**6).xi) == 2
