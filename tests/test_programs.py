"""Compiled programs are released before they use up the memory maps of the process."""

import threading
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import ROOT

import hopfax as hx
from hopfax import _programs
from hopfax._programs import jitted, tidy

PATTERNS = hx.patterns.hadamard(4, 16)
MEMORY = hx.DenseMemory(PATTERNS, hx.Power(3))
STATE = MEMORY.init(PATTERNS.xi[0])


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """As in a process that has not released anything yet."""
    monkeypatch.setattr(_programs._Kept, "left", 0)
    monkeypatch.setattr(_programs._Kept, "told", False)


@pytest.fixture
def lowered(monkeypatch):
    """The number of maps at which programs are released: 100 more than there are now."""
    jax.clear_caches()
    left, share = _programs._maps(), _programs._SHARE
    monkeypatch.setattr(_programs._Kept, "left", left)
    monkeypatch.setattr(_programs, "_limit", lambda: round(left + 100 / share))
    return left + 100


def test_many_shapes_keep_within_the_limit_and_say_so_once(lowered):
    @jitted
    def sums(x):
        return jnp.cumsum(jnp.sin(x)) @ x

    found, most = [], 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            for n in range(2, 32):
                found.append(float(sums(jnp.linspace(0.0, 1.0, n))))
                most = max(most, _programs._maps())
    assert found[: len(found) // 2] == found[len(found) // 2 :]  # released programs come again
    # What a look allows, and what is compiled until the next one.
    assert most < lowered + 100
    said = [w for w in caught if issubclass(w.category, RuntimeWarning)]
    assert len(said) == 1 and said[0].filename == __file__
    assert "vmap" in str(said[0].message) and "memory maps" in str(said[0].message)


def test_a_process_that_has_grown_releases_many_programs_earlier(monkeypatch):
    released = []
    monkeypatch.setattr(_programs, "_release", lambda limit: released.append(limit))
    monkeypatch.setattr(_programs, "_limit", lambda: 1000)
    monkeypatch.setattr(_programs, "machine_memory", lambda: 10**9)
    for maps, memory in ((399, 10**6), (90, 2 * 10**8), (120, 2 * 10**8)):
        monkeypatch.setattr(_programs, "_maps", lambda maps=maps: maps)
        monkeypatch.setattr(_programs, "_memory", lambda memory=memory: memory)
        monkeypatch.setattr(_programs._Kept, "memory", 0)
        _programs._Kept.seen = -1
        tidy()
    assert released == [1000]  # only the last: many programs, in a large process


def test_what_cannot_be_released_does_not_release_at_every_look(monkeypatch):
    released = []
    monkeypatch.setattr(_programs, "_maps", lambda: 900)
    monkeypatch.setattr(_programs, "_limit", lambda: 1000)
    monkeypatch.setattr(jax, "clear_caches", lambda: released.append(1))
    for _ in range(3):
        _programs._Kept.seen = -1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tidy()
    assert len(released) == 1  # later at 900 + 0.4 * 100


def test_without_a_limit_nothing_is_done(monkeypatch):
    monkeypatch.setattr(_programs, "_limit", lambda: 0)
    monkeypatch.setattr(_programs, "_release", lambda limit: pytest.fail("released"))
    _programs._Kept.seen = -1
    tidy()


def level(x):
    return {"level": jnp.where(x > 0.5, 1, 0)}


class Slope(eqx.Module):
    """A model of one number."""

    slope: jax.Array


def run_network():
    patterns = hx.Patterns([[1.0, 1.0], [1.0, -1.0]])
    network = hx.OneTimescaleHopfield(patterns, hx.cyclic(2))
    hx.simulate(network, network.init(field=[0.5, 0.1]), [0.0, 1.0])


def run_fit():
    options = dict(where=lambda m: m.slope, optimizer=optax.adam(0.1), steps=3, progress=False)
    hx.fit(Slope(jnp.ones(2)), lambda m: (m.slope**2).sum(), **options)


@pytest.mark.parametrize(
    "door",
    [
        run_network,
        lambda: hx.iterate(MEMORY, STATE, 1),
        lambda: hx.sweep(lambda x: 2 * x, {"x": [1.0, 2.0]}, progress=False),
        lambda: hx.refine(level, {}, along="x", between=(0.0, 1.0), of="level", tol=0.1),
        run_fit,
        lambda: hx.nn.HopfieldLookup(2, 1, 4, key=jax.random.key(0))(jnp.ones((1, 4))),
        lambda: hx.theory.sequential.fixed_points(5.0),
    ],
)
def test_every_door_looks(door, monkeypatch):
    looks = []
    monkeypatch.setattr(_programs, "_maps", lambda: looks.append(1) or 1)
    _programs._Kept.seen = -1
    door()
    assert looks


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an option of CPUs")
def test_parts_of_a_program_run_one_after_another(monkeypatch):
    """Whatever calls it, and in the tiles of sweeps: in parallel, XLA has let fits go astray."""
    asked = []

    def filter_jit(function, **options):
        asked.append(options.get("compiler_options"))
        return jit(function, **options)

    def tile(lowered, options=None, **_):
        asked.append(options)
        return compiling(lowered, options)

    jit, compiling = eqx.filter_jit, jax.stages.Lowered.compile
    monkeypatch.setattr(eqx, "filter_jit", filter_jit)
    called = jitted(lambda x: 3 * x)
    monkeypatch.undo()
    monkeypatch.setattr(jax.stages.Lowered, "compile", tile)
    assert called(jnp.ones(())) == 3
    hx.sweep(lambda x: 5 * x, {"x": [1.0, 2.0]}, progress=False)
    inside, alone, swept = asked
    option = "xla_cpu_enable_concurrency_optimized_scheduler"
    assert inside is None and alone[option] is False and swept[option] is False


def test_no_program_is_compiled_beside_that_door():
    beside = []
    for file in sorted((ROOT / "hopfax").rglob("*.py")):
        inside = file.relative_to(ROOT / "hopfax").parts
        if inside[0] == "examples" or file.name in ("_programs.py", "_program.py"):
            continue  # these call what looks
        if any(word in file.read_text() for word in ("filter_jit", "@jax.jit", "= jax.jit(")):
            beside.append(str(file))
    assert not beside, f"use hopfax._programs.jitted, which bounds what is kept: {beside}"


def test_releasing_changes_no_result(monkeypatch):
    """Neither while another thread runs a program, nor in the middle of a trace."""
    monkeypatch.setattr(_programs._Kept, "told", True)
    state = PATTERNS.xi[0] * jnp.where(jnp.arange(16) < 3, -1.0, 1.0)
    ready = threading.Event()

    def last(spins):
        return hx.iterate(MEMORY, MEMORY.init(spins), 2000).overlaps[-1]

    def runs():
        ready.set()
        return [last(state) for _ in range(4)]

    before, found = np.asarray(last(state)), []
    thread = threading.Thread(target=lambda: found.extend(runs()))
    thread.start()
    ready.wait()
    for _ in range(3):
        _programs._release(1)
    thread.join()

    monkeypatch.setattr(_programs, "tidy", lambda: _programs._release(1))  # at every door
    found += [jax.jit(last)(state), jax.vmap(last)(state[None])[0]]
    for one in found:
        np.testing.assert_array_equal(one, before)
