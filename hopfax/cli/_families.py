"""Families of networks and commands, and the module of each pair: the cell of a table.

The cell of family F and command C is the module `hopfax/cli/F/C.py`; a family without that module
does not have the command. A cell holds the class of the command's options, named as the command
(`Sweep` in sweep.py), and for `reproduce` the function that measures. That class is a frozen
dataclass with the fields `network: Family = "<family>"` and `config: pathlib.Path | None = None`;
its docstring and the strings under its fields are the help (an option that other cells have, too,
has its type and help in `_options`); `__call__` does the work, prints by `_console.say` and returns
the exit status, 0 for done. A field `precision: Precision` is obeyed.
A command that is the same for all families has its class in `hopfax/cli/C.py`, and asks the
family's cell if it needs one.

A new family is a folder and a name in `Family`; a new command is a module in each family that has
it (or one module for all) and a name in `COMMANDS`.
"""

import importlib
import importlib.util
from types import ModuleType
from typing import Literal, TypeAlias, get_args

#: The families of networks; the first is what settings are of that do not say.
Family: TypeAlias = Literal["sequential", "dense", "rate", "input_driven"]
FAMILIES: tuple[str, ...] = get_args(Family)
#: What `reproduce` measures: a family, or a part of one.
Target: TypeAlias = Literal["sequential", "dense", "sequences", "rate", "input_driven"]
#: The families of the parts; what is measured of part P of family F is `hopfax/cli/F/_P.py`.
PARTS: dict[str, str] = {"sequences": "dense"}
#: The commands in the order of the help; in a settings file their names are tables.
COMMANDS: tuple[str, ...] = (
    *("sweep", "run", "fit", "theory", "dynamics", "plot", "report", "explore", "reproduce"),
    "doctor",
)


def kind(command: str, family: str) -> type:
    """The class of a command's options: that of all families, or else the family's own.

    **Raises:** ValueError if the command is not for this family; it says for which it is.
    """
    found = getattr(_module(command) or cell(family, command), command.capitalize())
    if "network" not in found.__dataclass_fields__ and has(family, command) and not _there(command):
        raise TypeError(
            f"{found.__module__}: {found.__name__} needs a field `network: Family = {family!r}`."
        )
    return found


def cell(family: str, command: str) -> ModuleType:
    """What a family has of a command.

    **Raises:** ValueError if it has none; it says which families have it.
    """
    found = _module(f"{family}.{command}")
    if found is None:
        others = ", ".join(families_with(command))
        raise ValueError(f"`{command}` is not for {family} networks; it is for {others}.")
    return found


def measuring(target: str) -> ModuleType:
    """What measures a target of `reproduce`."""
    if target not in PARTS:
        return cell(target, "reproduce")
    return importlib.import_module(f"{__package__}.{PARTS[target]}._{target}")


def has(family: str, command: str) -> bool:
    """Whether a command is for a family."""
    return _there(command) or _there(f"{family}.{command}")


def families_with(command: str) -> list[str]:
    """The families that have a command of their own."""
    return [family for family in FAMILIES if _there(f"{family}.{command}")]


def _module(name: str) -> ModuleType | None:
    """A module of this package, None if there is no such module."""
    return importlib.import_module(f"{__package__}.{name}") if _there(name) else None


def _there(name: str) -> bool:
    return importlib.util.find_spec(f"{__package__}.{name}") is not None
