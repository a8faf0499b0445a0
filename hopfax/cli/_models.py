"""Saved networks as the commands are given them, also those of classes from outside hopfax."""

import importlib.util
import pathlib
import sys
from collections.abc import Callable, Collection
from typing import Any

import equinox as eqx

import hopfax as hx

from .._serialise import kind_of
from ..networks import check_flow, check_map


def family_of(model: pathlib.Path, command: str) -> str | None:
    """The family of networks of which a command takes the one in a file; None for a file that
    cannot be read, or a network of no family. Networks in continuous time that have no cell of
    their own are run and swept as those of two timescales are."""
    try:
        kind = kind_of(model)
    except (OSError, ValueError):
        return None  # the command itself says so better
    if kind is None:
        return None
    folder = (kind.__module__.split(".") + [""] * 3)[2]
    if folder == "dense" and (command == "theory" or issubclass(kind, hx.AbstractMap)):
        return "dense"
    return "rate" if folder == "rate" else None


def load(model: pathlib.Path, classes: pathlib.Path | None = None) -> Any:
    """What is in a file of `hopfax.save`. `classes`: a Python file with the classes that it needs.

    **Raises:** FileNotFoundError; LoadError; ValueError for classes that cannot be imported.
    """
    if not model.exists():
        raise FileNotFoundError(f"`model`: there is no file {str(model)!r}.")
    known = [] if classes is None else classes_in(classes)
    try:
        return hx.load(model, classes=known)
    except hx.LoadError as error:
        if classes is None and "classes=[" in str(error):
            error.add_note("Here: --classes FILE.py, the Python file that has the class.")
        raise


def load_flow(model: pathlib.Path, classes: pathlib.Path | None = None) -> Any:
    """The network in continuous time in a file, of whatever family.

    **Raises:** as `load`, and ValueError for anything else.
    """
    network = load(model, classes)
    try:
        check_flow(network, ": it is for --network dense.")
    except TypeError as error:
        raise ValueError(_refusal(network, model, "continuous time", error)) from error
    return network


def load_map(model: pathlib.Path, classes: pathlib.Path | None = None) -> Any:
    """The network in discrete time in a file.

    **Raises:** as `load`, and ValueError for anything else.
    """
    network = load(model, classes)
    try:
        check_map(network)
    except TypeError as error:
        raise ValueError(_refusal(network, model, "discrete time", error)) from error
    return network


def load_kind(asked: Any, fits: Callable[[Any], bool], what: str) -> Any:
    """The network in the file of a command's `model`, if it fits; `what`: which ones do, in words.

    **Raises:** as `load`, and ValueError for any other.
    """
    network = load(asked.model, asked.classes)
    if not fits(network):
        found = type(network).__name__
        raise ValueError(f"`model` must hold {what}, but {asked.model} holds a {found}.")
    return network


def _refusal(network: Any, model: pathlib.Path, what: str, error: TypeError) -> str:
    found = type(network).__name__
    more = "; that is for --network dense" if "discrete time:" in str(error) else ""
    return f"`model` must hold a network in {what}, but {model} holds a {found}{more}."


def classes_in(file: pathlib.Path) -> list[type]:
    """The classes of a Python file, which is run for that.

    **Raises:** ValueError if it cannot be, or has none.
    """
    if file.suffix != ".py" or not file.is_file():
        raise ValueError(f"`classes` must be a Python file (.py), got {str(file)!r}.")
    name, place = file.stem, file.resolve()
    there = sys.modules.get(name)
    if there is None:
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None and spec.loader is not None
        there = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(there)
        except Exception as error:
            del sys.modules[name]
            raise ValueError(
                f"`classes`: {file} cannot be imported: {type(error).__name__}: {error}"
            ) from error
    elif pathlib.Path(getattr(there, "__file__", None) or "").resolve() != place:
        raise ValueError(f"`classes`: a module {name!r} is in use already; name {file} otherwise.")
    own = [item for item in vars(there).values() if isinstance(item, type)]
    found = [kind for kind in own if issubclass(kind, eqx.Module) and kind.__module__ == name]
    if not found:
        raise ValueError(f"`classes`: {file} has no class derived from equinox.Module.")
    return found


def check_alone(asked: Any, of_the_model: Collection[str], *also: Any) -> None:
    """ValueError for an option that a model has already, and for classes without a model. `also`:
    further values that count as the default."""
    if asked.model is None:
        if asked.classes is not None:
            raise ValueError("`classes` are those of a network in a file; give `model`, too.")
        return
    for name, field in type(asked).__dataclass_fields__.items():
        if name in of_the_model and getattr(asked, name) not in (field.default, *also):
            raise ValueError(f"`{name}` cannot be set together with `model`, which has it.")
