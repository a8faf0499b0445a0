"""How all tests run: in float64, without silent dtype promotion, compiled quickly and once.

Do not import hopfax here: the type-checking import hook of the test run is installed later.
"""

import gc
import hashlib
import os
import pathlib
import platform
import signal
import sys
import tempfile
from importlib.metadata import version

_JAXLIB = version("jaxlib")
#: XLA reads its options when it starts, and aborts at one that it does not know. Nearly all the
#: time of the tests is that of the compiler, and nothing here is timed: programs are translated
#: without LLVM's optimisation, and with jaxlib 0.10 by the older emitters of fused loops, which
#: cost a third less. `XLA_FLAGS= pytest` compiles as for a user.
_QUICKLY = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if _JAXLIB.startswith("0.10."):
    _QUICKLY += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]


def _processor() -> str:
    """What compiled programs depend on: they are not for another processor."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        lines = [
            line for line in text.split("\n") if line.startswith(("flags", "Features", "model"))
        ]
    except OSError:
        lines = [platform.processor(), platform.machine()]
    return "\n".join(lines)


def _cache() -> str:
    """A folder of compiled programs that all workers share and later runs find again. It is another
    one for every jaxlib, Python and processor; any of them can be deleted."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    key = f"{_JAXLIB} {sys.version_info[:2]} {_processor()}"
    name = f"{_JAXLIB}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    folder = pathlib.Path(home) / "hopfax" / "tests" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to
        folder = pathlib.Path(tempfile.gettempdir()) / f"hopfax-tests-{name}"
    return str(folder)


os.environ.setdefault("XLA_FLAGS", " ".join(_QUICKLY))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _cache())
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Equinox's errors inside compiled programs call back into Python, and a program that calls back is
# not stored: without them nearly all are. What they would have said becomes NaN.
os.environ.setdefault("EQX_ON_ERROR", "nan")

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

# Tracing makes very many objects, nearly none of them in circles: Python looks for circles less
# often than it would, and never in what was imported.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")


#: Files that take longest; a worker has a whole file, and none is to begin one of these at the end,
#: when the other workers have nothing left to do.
FIRST = (
    *(
        "test_dynamics_orbits.py",
        "test_notebooks.py",
        "test_cli_dense.py",
        "test_event_driven.py",
        "test_fit.py",
    ),
    *("test_long_memory.py", "test_sequence.py", "test_theory_rate.py", "test_agreement_dense.py"),
    *("test_agreement_sequential.py", "test_cli_fit.py", "test_rate.py", "test_density.py"),
    *("test_second_derivatives.py", "test_theory_sequential.py", "test_theory_dense.py"),
    *("test_simulate.py", "test_losses.py", "test_search.py", "test_store.py", "test_executors.py"),
)


def pytest_addoption(parser):
    parser.addoption(
        "--first-cases",
        action="store_true",
        help="of every test only its first case, unless it is marked `every_case`",
    )


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config, items):
    """The longest files first; what is long is slow too; with `--first-cases` one case of each."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else 99)
    if config.getoption("first_cases"):
        first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}.values()
        kept = {item for item in items if item.get_closest_marker("every_case")}.union(first)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


#: A process may have 65530 memory maps on Linux, a compiled program takes hundreds of them, and the
#: compiler crashes when they are used up.
_MAPS = 20_000


def _maps() -> int:
    """How many memory maps this process has, or as many as are too many where none can say."""
    try:
        return pathlib.Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return _MAPS + 1


@pytest.fixture(scope="module", autouse=True)
def compiled_programs():
    """Lets go of them after a module, where they have become many."""
    yield
    if _maps() > _MAPS:
        jax.clear_caches()


@pytest.fixture
def ctrl_c():
    """Ctrl-C as Python handles it, whatever handles it around this test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def command(capsys):
    """Runs a command line; its exit status, what it said and what it complained of."""
    from hopfax.cli import main

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def as_a_user_runs_it():
    """Without the type checks of the test run, which would answer first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
