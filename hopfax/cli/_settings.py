"""Settings of a command: what identifies a result, as a TOML file and as options."""

import dataclasses
import difflib
import json
import pathlib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from . import _families

#: The file of settings that a command writes beside its results.
FILE = "settings.toml"
#: Fields that say where and how, not what is computed.
PLACES = ("config", "out", "overwrite", "store", "resume", "devices", "dask", "part")
PLACES += ("chunk", "dry_run")


def settings(command: Any) -> dict[str, Any]:
    """What a command's dataclass computes with: its fields without None and `PLACES`.

    The first family of networks is left out: it is what settings without `network` are of.
    """
    found = {
        field.name: getattr(command, field.name)
        for field in dataclasses.fields(command)
        if field.name not in PLACES
    }
    if found.get("network") == _families.FAMILIES[0]:
        del found["network"]
    return plain(found)


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
    if not file.is_file():
        raise FileNotFoundError(f"`config`: there is no file {str(file)!r}.")
    try:
        found = tomllib.loads(file.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"`config`: {file} is no TOML file: {error}.") from error
    tables = {
        name: found.pop(name) for name in _families.COMMANDS if isinstance(found.get(name), dict)
    }
    return found | tables.get(command, {})


def family_in(file: pathlib.Path, command: str) -> str | None:
    """The family of networks that a file of settings names, None if it names none that there is.

    **Raises:** as `read`.
    """
    found = read(file, command).get("network")
    return found if found in _families.FAMILIES else None


def _nested(value: Any) -> bool:
    return isinstance(value, dict)


def _toml(value: Any) -> str:
    # Booleans, strings and lists of them are written in TOML as in JSON; floats as in Python.
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


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
