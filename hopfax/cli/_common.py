"""What the commands share: precision, compiled programs, patterns, settings on disk, printing."""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

Precision: TypeAlias = Literal["float64", "float32"]

#: Fields that say where and how, not what is computed.
PLACES = ("config", "out", "overwrite", "store", "resume", "devices", "dask", "part")
PLACES += ("chunk", "dry_run")
#: The commands; in a settings file their names are tables.
COMMANDS = ("sweep", "run", "fit", "theory", "plot", "reproduce", "doctor")
#: Memories and neurons of made-up patterns, where nothing else is said.
MEMORIES, NEURONS = 4, 1024


def say(text: str = "") -> None:
    """Print one line (or several) now."""
    print(text, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns under their heads: the first flush left, the others flush right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]

    def join(line):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells[1:]]).rstrip()

    return "\n".join(
        [join(lines[0]), join(["-" * width for width in widths])] + list(map(join, lines[1:]))
    )


def number(value: Any, digits: int = 4) -> str:
    """A number for a table; a dash where there is none."""
    value = float(value)
    if math.isnan(value):
        return "-"
    return "inf" if math.isinf(value) else f"{value:.{digits}f}"


@contextlib.contextmanager
def precision(name: Precision) -> Iterator[None]:
    """Arrays made inside are float64 or float32. Enter it before the first one is made.

    It is set for all threads and put back afterwards.
    """
    import jax

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
    import jax
    from jax.experimental.compilation_cache import compilation_cache as programs

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
        programs.reset_cache()  # which holds on to its folder


def host_devices(number: int) -> None:
    """Make a CPU appear as so many devices. Before JAX is first used.

    **Raises:** ValueError if it is too late, or the number is none.
    """
    import jax

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
        from .._errors import missing

        raise missing("dask.distributed", "dask", "--dask") from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise OSError(f"`dask`: no scheduler answers at {address}: {error}") from error
    with client:
        yield client


def jax_option(name: str) -> Any:
    """The value of one of JAX's options."""
    import jax

    return getattr(jax.config, name)  # `read` refuses some


def cache_folder() -> pathlib.Path:
    """The user's folder of compiled programs: hopfax/jax in $XDG_CACHE_HOME or ~/.cache."""
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # unset, or to be ignored, as that standard says
        base = pathlib.Path(os.path.expanduser("~")) / ".cache"
    return base / "hopfax" / "jax"


def _writable(folder: pathlib.Path) -> bool:
    """Whether files can be written to the folder, which is made if need be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def patterns_from(source: str, P: int | None = None, N: int | None = None, seed: int = 0) -> Any:
    """Memories from `hadamard`, `random`, a .npy or .npz file, or a folder of PNG/JPEG images.

    **Arguments:** `P`, `N`: memories and neurons, by default 4 and 1024. From a file or folder the
    first `P` are taken (default: all), and a given `N` must be that of the file. `seed`: of the
    random patterns.

    **Raises:** ValueError, or FileNotFoundError, naming `patterns`, `memories` or `neurons`.
    """
    import jax

    from .. import patterns

    for name, value in (("memories", P), ("neurons", N)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    made = (P or MEMORIES, N or NEURONS)
    if source == "hadamard":
        P, N = made
        many = 2**P > N > P  # columns 1, 2, 4, ... do not suffice; any others are orthogonal, too
        try:
            return patterns.hadamard(list(range(1, P + 1)) if many else P, N)
        except ValueError as error:
            raise ValueError(str(error).replace("`N`", "`neurons`")) from error
    if source == "random":
        return patterns.random(jax.random.key(seed), *made)
    path = pathlib.Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"`patterns` must be hadamard, random, a .npy or .npz file, or a folder of images (for "
            f"`hopfax run` also digits); there is no {source!r}."
        )
    found = patterns.from_images(path) if path.is_dir() else patterns.load(path)
    if P is not None and P > found.P:
        raise ValueError(f"`memories` is {P}, but {source} holds {found.P}.")
    if N is not None and N != found.N:
        raise ValueError(f"`neurons` is {N}, but the memories in {source} have {found.N}.")
    return found if P in (None, found.P) else patterns.Patterns(found.xi[:P])


def write_zarr(dataset: Any, path: pathlib.Path) -> None:
    """Write `dataset` beside `path`, then move it there: a reader sees all of it or nothing."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        dataset.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_empty(*places: pathlib.Path) -> None:
    """Remove files, and folders if nothing is in them, in this order."""
    for place in places:
        with contextlib.suppress(OSError):
            place.rmdir() if place.is_dir() else place.unlink()


def digest(array: Any) -> str:
    """SHA-256 of an array's values."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def settings(command: Any) -> dict[str, Any]:
    """What a command's dataclass computes with: its fields without None and `PLACES`.

    The sequential family of networks is what settings without `network` are of.
    """
    found = {
        field.name: getattr(command, field.name)
        for field in dataclasses.fields(command)
        if field.name not in PLACES
    }
    if found.get("network") == "sequential":
        del found["network"]
    return _plain(found)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, pathlib.PurePath) else value


def output_folder(command: str, settings: Mapping[str, Any]) -> pathlib.Path:
    """`hopfax-out/<command>-<hash8>`, one place for each choice of settings (not created)."""
    text = json.dumps(_plain(settings), sort_keys=True)
    return pathlib.Path("hopfax-out") / f"{command}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def to_toml(settings: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """Settings as a TOML text that `--config` reads back; nested ones become tables."""
    plain = _plain(settings)
    lines = [f"# {comment}" for comment in comments]
    lines += [f"{key} = {_toml(value)}" for key, value in plain.items() if not _nested(value)]
    for key, value in plain.items():
        if _nested(value):
            lines += ["", f"[{key}]"] + [
                f"{name} = {_toml(entry)}" for name, entry in value.items()
            ]
    return "\n".join(lines) + "\n"


def _nested(value: Any) -> bool:
    return isinstance(value, dict)


def _toml(value: Any) -> str:
    # Booleans, strings and lists of them are written in TOML as in JSON; floats as in Python.
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def arguments_from(file: pathlib.Path, command: str, kind: type) -> list[str]:
    """The settings in a TOML file as command-line arguments of the dataclass `kind`.

    Keys are field names; a table named after a command holds keys for that command alone.

    **Raises:** FileNotFoundError; ValueError naming an unknown key and its nearest neighbours.
    """
    return _flags(_read(file, command), kind, file, "")


def network_in(file: pathlib.Path, command: str) -> str | None:
    """The family of networks that a file of settings is for, None if it does not say.

    **Raises:** as `arguments_from`.
    """
    found = _read(file, command).get("network")
    return found if isinstance(found, str) else None


def _read(file: pathlib.Path, command: str) -> dict[str, Any]:
    """The settings for a command in a file."""
    if not file.is_file():
        raise FileNotFoundError(f"`config`: there is no file {str(file)!r}.")
    try:
        found = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"`config`: {file} is no TOML file: {error}.") from error
    tables = {name: found.pop(name) for name in COMMANDS if isinstance(found.get(name), dict)}
    return found | tables.get(command, {})


def _flags(found: Mapping[str, Any], kind: type, file: pathlib.Path, prefix: str) -> list[str]:
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name != "config"}
    arguments = []
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=3, cutoff=0.4) or list(fields)
            listed = ", ".join(repr(prefix + known) for known in near)
            raise ValueError(
                f"`config`: {file} has an unknown key {prefix + key!r}; did you mean {listed}?"
            )
        inner = fields[name].type
        flag = "--" + (prefix + name).replace("_", "-")
        if isinstance(value, dict) and isinstance(inner, type) and dataclasses.is_dataclass(inner):
            arguments += _flags(value, inner, file, f"{prefix}{name}.")
        elif isinstance(value, bool):
            arguments.append(flag if value else flag[:2] + "no-" + flag[2:])
        else:
            arguments += [flag, *map(str, value if isinstance(value, list) else [value])]
    return arguments
