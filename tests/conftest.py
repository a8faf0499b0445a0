"""All tests run in float64 and without silent dtype promotion.

Do not import hopfax here: the type-checking import hook of the test run is installed later.
"""

import os
from importlib.metadata import version

# Most of the time of the tests is that of the compiler. With jaxlib 0.10 a third of it goes with the
# older emitters of fused loops, for programs that run as fast (0.11 was not tried, 0.12 gains
# nothing). XLA reads its options when it starts, and aborts at one it does not know.
# `XLA_FLAGS= pytest` goes without.
if version("jaxlib").startswith("0.10."):
    quickly = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", quickly)

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="module", autouse=True)
def compiled_programs():
    """Lets go of them after each module. A process may have 65530 memory maps on Linux, a compiled
    program takes hundreds of them, and the compiler crashes when they are used up."""
    yield
    jax.clear_caches()


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
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
