"""The machine that a command runs on: precision, devices, a Dask cluster."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import jax

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
