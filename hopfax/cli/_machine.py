"""The machine that a command runs on: precision, devices, a Dask cluster, compiled programs."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import jax
from jax.experimental.compilation_cache import compilation_cache as _programs

from .._errors import missing

Precision: TypeAlias = Literal["float64", "float32"]


@contextlib.contextmanager
def precision(name: Precision) -> Iterator[None]:
    """Arrays made inside are float64 or float32. Enter it before the first one is made.

    It is set for all threads and put back afterwards.
    """
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", name == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@contextlib.contextmanager
def compilation_cache() -> Iterator[None]:
    """Programs compiled inside are kept in `cache_folder()`, where the next process finds them.

    Not those that diffrax integrates with: they call back into Python, so JAX cannot store them.
    Nothing is changed where a cache is configured already (JAX_COMPILATION_CACHE_DIR=FOLDER; empty
    for none) or the folder cannot be written. Everything is put back afterwards.
    """
    folder = cache_folder()
    wanted = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,  # small programs, too: there are many
    }
    if jax_option("jax_compilation_cache_dir") is not None or not _writable(folder):
        yield
        return
    before = {name: jax_option(name) for name in wanted}
    try:
        for name, value in wanted.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        _programs.reset_cache()  # which holds on to its folder


def cache_folder() -> pathlib.Path:
    """The user's folder of compiled programs: hopfax/jax in $XDG_CACHE_HOME or ~/.cache."""
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # unset, or to be ignored, as that standard says
        base = pathlib.Path(os.path.expanduser("~")) / ".cache"
    return base / "hopfax" / "jax"


def jax_option(name: str) -> Any:
    """The value of one of JAX's options."""
    return getattr(jax.config, name)  # `read` refuses some


def host_devices(number: int) -> None:
    """Make a CPU appear as so many devices. Before JAX is first used.

    **Raises:** ValueError if it is too late, or the number is below 1.
    """
    if number < 1:
        raise ValueError(f"`devices` must be at least 1, got {number}.")
    if number > 1:
        try:
            jax.config.update("jax_num_cpu_devices", number)
        except RuntimeError as error:
            if jax.default_backend() == "cpu" and len(jax.devices()) < number:
                raise ValueError(
                    f"`devices` is {number}, but JAX has been started with {len(jax.devices())}."
                ) from error


@contextlib.contextmanager
def dask_client(address: str) -> Iterator[Any]:
    """A client of the Dask scheduler at an address.

    **Raises:** ImportError naming the extra; OSError if nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise missing("dask.distributed", "dask", "--dask") from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise OSError(f"`dask`: no scheduler answers at {address}: {error}") from error
    with client:
        yield client


def _writable(folder: pathlib.Path) -> bool:
    """Whether files can be written to the folder, which is made if need be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
