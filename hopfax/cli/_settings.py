"""Settings of a command: what identifies a result, as a TOML file and as options."""

import dataclasses
import difflib
import json
import pathlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._files import read_bytes
from . import _families

#: The file of settings that a command writes beside its results.
FILE = "settings.toml"
#: Fields that say where and how, not what is computed.
PLACES = ("config", "out", "picture", "overwrite", "store", "resume", "devices", "dask")
PLACES += ("part", "chunk", "dry_run")
#: Fields that came later: left out at their default, as in settings from before. A command has
#: those that it alone got later in its own `LATER`.
_LATER = {"transpose": False}
_BYTES = 1 << 20  # of a file of settings at most


def settings(command: Any) -> dict[str, Any]:
    """What a command's dataclass computes with: its fields without None and `PLACES`.

    The first family of networks is left out: it is what settings without `network` are of.
    """
    later = _LATER | getattr(command, "LATER", {})
    found = {
        field.name: getattr(command, field.name)
        for field in dataclasses.fields(command)
        if field.name not in PLACES
        and (field.name not in later or getattr(command, field.name) != later[field.name])
    }
    if found.get("network") == _families.FAMILIES[0]:
        del found["network"]
    return plain(found)


def changed(command: Any, names: Iterable[str]) -> list[str]:
    """Those of these options that have another value than the default."""
    return [name for name in names if getattr(command, name) != getattr(type(command), name)]


def bare(command: Any, **other: Any) -> Any:
    """The options without `PLACES`, of which no result depends; `other`: new values."""
    known = type(command).__dataclass_fields__
    places = {name: known[name].default for name in PLACES if name in known}
    return dataclasses.replace(command, **places | other)


def chosen(command: Any, correlation: float | None = None, **values: Any) -> Any:
    """The options with these values, but None. `correlation` makes memories anew."""
    if correlation is not None:
        values["patterns"] = f"correlated:{correlation}"
    given = {name: value for name, value in values.items() if value is not None}
    return dataclasses.replace(command, **given)


def plain(value: Any) -> Any:
    """A value as JSON and TOML hold it: dicts without None, lists, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, pathlib.PurePath) else value


def to_toml(settings: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """Settings as a TOML text that `--config` reads back; nested ones become tables."""
    entries = plain(settings)
    lines = [f"# {comment}" for comment in comments]
    lines += [f"{key} = {_toml(value)}" for key, value in entries.items() if not _nested(value)]
    for key, value in entries.items():
        if _nested(value):
            lines += ["", f"[{key}]"] + [
                f"{name} = {_toml(entry)}" for name, entry in value.items()
            ]
    return "\n".join(lines) + "\n"


def arguments_from(file: pathlib.Path, command: str, kind: type) -> list[str]:
    """The settings in a TOML file as command-line arguments of the dataclass `kind`.

    Keys are field names; a table named after a command holds keys for that command alone.

    **Raises:** FileNotFoundError; ValueError naming an unknown key and its nearest neighbours.
    """
    return _flags(read(file, command), kind, file, "")


def read(file: pathlib.Path, command: str) -> dict[str, Any]:
    """The settings for a command in a TOML file.

    **Raises:** FileNotFoundError; ValueError for a file that is no TOML.
    """
    try:
        found = parsed(read_bytes(file, "config", most=_BYTES))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"`config`: there is no file {str(file)!r}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"`config`: {file} is no TOML file: it is not in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"`config`: {file} is no TOML file: {error}.") from error
    tables = {
        name: found.pop(name) for name in _families.COMMANDS if isinstance(found.get(name), dict)
    }
    return found | tables.get(command, {})


def parsed(content: bytes) -> dict[str, Any]:
    """What a TOML file says, which may begin with the mark of a byte order, as on Windows.

    **Raises:** TOMLDecodeError, UnicodeDecodeError.
    """
    try:
        return _restored(tomllib.loads(content.decode("utf-8-sig")))
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from error
    except ValueError as error:
        if isinstance(error, tomllib.TOMLDecodeError | UnicodeDecodeError):
            raise
        # a number with thousands of digits
        raise tomllib.TOMLDecodeError(str(error).split(";")[0]) from error


def family_in(file: pathlib.Path, command: str) -> str | None:
    """The family of networks that a file of settings names, None if it names none that there is.

    **Raises:** as `read`.
    """
    found = read(file, command).get("network")
    return found if found in _families.FAMILIES else None


def options_from(file: pathlib.Path, command: str, kind: Callable[..., Any]) -> Any:
    """The dataclass `kind` with the settings that a command wrote to a file.

    **Raises:** as `read`, and ValueError for settings that are not of this kind.
    """
    found: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in read(file, command).items()
    }
    for name in {"model", "classes"} & found.keys():
        found[name] = pathlib.Path(found[name])
    try:
        return kind(**found)
    except TypeError as error:
        raise ValueError(f"{file} has not the settings of `hopfax {command}`: {error}.") from error


def _nested(value: Any) -> bool:
    return isinstance(value, dict)


def _toml(value: Any) -> str:
    # Booleans, strings and lists of them are written in TOML as in JSON; floats as in Python.
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):  # TOML has no pairs of surrogates, and JSON may leave DEL as it is
        whole = _SURROGATE.sub(lambda found: f"\0{ord(found[0]):04x}", value)
        return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


#: Bytes in the name of a file that are no text, as Python has them. TOML cannot hold them: they are
#: written after a character that no name of a file contains.
_SURROGATE = re.compile("[\ud800-\udfff]")


def _restored(value: Any) -> Any:
    """A value with the bytes that `_toml` has put into words."""
    if isinstance(value, str):
        return re.sub("\0([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), value)
    if isinstance(value, list):
        return [_restored(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _restored(entry) for key, entry in value.items()}
    return value


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
        elif isinstance(value, list) and value and all(isinstance(v, list) for v in value):
            for each in value:  # an option that may be given more than once
                arguments += [flag, *map(str, each)]
        elif isinstance(value, str) and value.startswith("-"):  # no option
            arguments.append(f"{flag}={value}")
        else:
            arguments += [flag, *map(str, value if isinstance(value, list) else [value])]
    return arguments
