"""Compiled programs that outlive the process: where they are kept, and what turns that on.

    JAX's own cache     <folder>/*-cache      machine code, by the text of the program
    `hopfax._traced`    <folder>/traced/      the text itself, by what it was made of

The first saves the compiler, the second also the Python that writes a program down.
"""

import contextlib
import os
import pathlib
import tempfile
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache as _programs

from ._values import check_path

_DIR = "jax_compilation_cache_dir"


class _Traced:
    """Where traced programs are kept, if they are: one place for the process."""

    folder: pathlib.Path | None = None


def compilation_cache(
    folder: str | os.PathLike | None = None,
) -> contextlib.AbstractContextManager[pathlib.Path | None]:
    """Keep compiled programs in a folder, where the next process finds them.

    From the call on, for the whole process; in a `with` statement until its end. A program that is
    there is read in a tenth of a second instead of compiled for seconds, to the same results. Not
    kept are programs that call back into Python, as `diffrax.StepTo` and implicit solvers make
    them (unless EQX_ON_ERROR=nan is set in the environment). Commands of `hopfax` do this by
    themselves.

    **Arguments:**

    - `folder`: where; made if it is not there. Default: that which JAX is configured for, which is
      then left as it is (JAX_COMPILATION_CACHE_DIR; empty for none), else hopfax/jax in
      $XDG_CACHE_HOME or ~/.cache. Nobody else should be able to write there: what it holds is run.
      It can be deleted at any time.

    **Returns:** a context manager that gives the folder, None where programs are not kept: if the
    default cannot be written.

    **Raises:** OSError if `folder` is given and cannot be written; TypeError unless it is a path.

    **Example:**

    ```python
    with hx.compilation_cache():
        hx.theory.sequential.critical_gain(4)  # 3.6107; compiled, or read
    ```
    """
    configured = jax_option(_DIR)
    if folder is not None:
        check_path(folder, "folder")
        place = pathlib.Path(folder).expanduser().absolute()
        if not _writable(place):
            raise OSError(f"`folder`: cannot write to {place}; name another one.")
    elif configured is not None:
        return contextlib.nullcontext(pathlib.Path(configured) if configured else None)
    elif not _writable(place := cache_folder()):
        return contextlib.nullcontext(None)
    return _Keeping(place)


class _Keeping(contextlib.AbstractContextManager):
    """The options that keep programs in a folder, from now on; put back at the end of a `with`."""

    def __init__(self, folder: pathlib.Path):
        wanted = {
            _DIR: str(folder),
            "jax_persistent_cache_min_compile_time_secs": 0.0,  # small ones, too: there are many
        }
        self.folder = folder
        self._before = {name: jax_option(name) for name in wanted}, _Traced.folder
        self._set(wanted, folder / "traced")

    def __enter__(self) -> pathlib.Path:
        return self.folder

    def __exit__(self, *_: Any) -> None:
        self._set(*self._before)

    def _set(self, options: dict[str, Any], traced: pathlib.Path | None) -> None:
        for name, value in options.items():
            jax.config.update(name, value)
        _Traced.folder = traced
        _programs.reset_cache()  # which holds on to its folder, or to having none


def cache_folder() -> pathlib.Path:
    """The user's folder of compiled programs: hopfax/jax in $XDG_CACHE_HOME or ~/.cache."""
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # unset, or to be ignored, as that standard says
        base = pathlib.Path(os.path.expanduser("~")) / ".cache"
    return base / "hopfax" / "jax"


def traced_folder() -> pathlib.Path | None:
    """Where traced programs are kept; None while they are not."""
    return _Traced.folder


def jax_option(name: str) -> Any:
    """The value of one of JAX's options."""
    return getattr(jax.config, name)  # `read` refuses some


def _writable(folder: pathlib.Path) -> bool:
    """Whether files can be written to the folder, which is made if need be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
