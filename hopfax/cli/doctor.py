"""`hopfax doctor`: what is installed, and what JAX finds."""

import dataclasses
import os
import pathlib
import platform

import jax

import hopfax

from .._cache import cache_folder, jax_option
from ._console import say
from ._requirements import installed, unmet

_CORE = ("jax", "jaxlib", "diffrax", "equinox", "optimistix", "lineax", "optax", "numpy")
#: Optional packages and the extra that brings each.
_EXTRAS = {
    "xarray": "io",
    "zarr": "io",
    "h5netcdf": "io",
    "pillow": "io",
    "matplotlib": "plot",
    "tyro": "cli",
    "tqdm": "cli",
    "flatbuffers": "cli",
    "scikit-learn": "data",
    "distributed": "dask",
    "bokeh": "web",
}


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Show versions, devices and settings; put this into a bug report.

    Missing optional packages are named with the line that installs them, and installed ones that
    do not go together with the version that is required.
    """

    def __call__(self) -> int:
        """Print them."""
        how = "" if installed("hopfax") else " (a source tree; to check packages: pip install -e .)"
        rows = [("python", platform.python_version()), ("hopfax", hopfax.__version__ + how)]
        rows += [(name, installed(name) or "MISSING") for name in _CORE]
        for name, extra in _EXTRAS.items():
            rows.append((name, installed(name) or f'missing: pip install "hopfax[{extra}]"'))
        try:
            devices = ", ".join(f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.devices())
        except RuntimeError as error:
            devices = f"NONE: {' '.join(str(error).split())}"
        wide = "on" if jax.config.read("jax_enable_x64") else "off"
        rows += [
            ("system", platform.platform()),
            ("processors", str(os.cpu_count())),
            ("devices", devices),
            ("precision", f"float64 in commands (--precision); in Python jax_enable_x64 is {wide}"),
            ("compilation cache", _cache()),
            *(("DOES NOT FIT", sentence) for sentence in unmet()),
        ]
        width = max(len(name) for name, _ in rows)
        say("\n".join(f"{name.ljust(width)}  {value}" for name, value in rows))
        return 0


def _cache() -> str:
    """Where compiled programs are kept, and how many; or why they are not."""
    folder = jax_option("jax_compilation_cache_dir")
    if not jax_option("jax_enable_compilation_cache"):
        return "off (jax_enable_compilation_cache, or JAX_ENABLE_COMPILATION_CACHE, is false)"
    if folder == "":
        return "off (JAX_COMPILATION_CACHE_DIR is empty)"
    if folder is None:
        return (
            f"off: cannot write to {cache_folder()} (JAX_COMPILATION_CACHE_DIR=FOLDER "
            "names another)"
        )
    compiled, traced = (
        _size(pathlib.Path(folder), each) for each in ("*-cache", "traced/*.program")
    )
    return f"on: {folder} ({compiled}; traced: {traced}); in Python by hopfax.compilation_cache()"


def _size(folder: pathlib.Path, pattern: str) -> str:
    """How many programs there are in a folder, and how large they are."""
    files = [file.stat() for file in folder.glob(pattern)]
    return f"{len(files)} programs, {sum(file.st_size for file in files) / 2**20:.1f} MiB"
