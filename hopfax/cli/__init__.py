"""The command `hopfax`: one dataclass a command, its fields the options."""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, Union

from .._cache import compilation_cache
from .._errors import SimulationError, SweepFailed
from . import _families, _interrupt
from ._console import complain
from ._machine import precision
from ._models import family_of
from ._settings import arguments_from, family_in

__all__ = ["main"]

_DESCRIPTION = """Associative memories that move: simulate them, sweep them, and lay the exact
theory beside. Every command has --help; `hopfax sweep` alone is a complete first run."""


_PIPE = 141  # 128 + SIGPIPE, as other programs end


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0: done. 1: a run or a check failed. 2: the input is at fault; one line on stderr says how.
    130: interrupted. 141: nobody reads the output any more. With HOPFAX_DEBUG=1 errors keep their
    traceback.
    """
    with contextlib.ExitStack() as stack:
        _interrupt.advise(list)
        if argv is None:  # a process of its own
            stack.enter_context(_interrupt.interruptible())
        stack.enter_context(warnings.catch_warnings())
        warnings.showwarning = _one_line
        try:
            return _run((sys.argv[1:] if argv is None else list(argv)) or ["--help"])
        except KeyboardInterrupt as stop:
            return _interrupted(stop)
        except BrokenPipeError:  # whoever read has gone, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _PIPE
        except Exception as error:
            if _interrupt.seen():  # which some code that calls back turns into errors of its own
                return _interrupted(error)
            if os.environ.get("HOPFAX_DEBUG", "0") not in ("", "0"):
                raise
            status = _status(error)
            if status is None:
                return _misfit(error)
            text = " ".join(str(error).split())
            complain("\n".join([f"hopfax: error: {text}", *_notes(error)]))
            return status


def _run(argv: list[str]) -> int:
    try:
        import tyro
    except ImportError:
        complain('hopfax: the command line needs tyro: pip install "hopfax[cli]"')
        return 2
    try:
        return _dispatch(argv, tyro)
    except SystemExit as stop:  # of the argument parser: 0 after --help, 2 after bad arguments
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _interrupted(stop: BaseException) -> int:
    _interrupt.say(_notes(stop))
    return _interrupt.STATUS


def _dispatch(argv: list[str], tyro: ModuleType) -> int:
    asked = argv[0] in _families.COMMANDS
    command: Any = _command(argv, tyro) if asked else _any_command(argv, tyro)
    with contextlib.ExitStack() as stack:
        stack.enter_context(compilation_cache())
        if hasattr(command, "precision"):
            stack.enter_context(precision(command.precision))
        return command()


def _command(argv: list[str], tyro: ModuleType) -> Any:
    """The command asked for, with its options. Others are not imported: they would take a second.

    **Raises:** ValueError if it is not for the family that the command line names.
    """
    kind = _families.kind(argv[0], _family(argv))
    options = _configured(argv, kind, tyro)
    return tyro.cli(kind, args=argv[1:], prog=f"hopfax {argv[0]}", **options)


def _any_command(argv: list[str], tyro: ModuleType) -> Any:
    """The list of commands, as `--help` or a command line without one asks for; as a rule it ends
    the process. One that the first family lacks stands as another family has it."""

    def choice(command: str) -> Any:
        kind = _families.kind(command, (_families.families_with(command) or _families.FAMILIES)[0])
        first = (kind.__doc__ or "").split("\n")[0]
        return Annotated[kind, tyro.conf.subcommand(command, description=first)]

    choices = tuple(map(choice, _families.COMMANDS))
    command: Any = Union[choices]  # type: ignore[arg-type]  # noqa: UP007
    return tyro.cli(command, args=argv, prog="hopfax", description=_DESCRIPTION)


def _family(argv: list[str]) -> str:
    """The family of networks that a command line names, or its `--config` file or `--model`."""
    asked = _given(argv, "network")
    if asked is None and (file := _given(argv, "config")) is not None:
        asked = family_in(pathlib.Path(file), argv[0])
    if asked is None and (file := _given(argv, "model")) is not None:
        asked = family_of(pathlib.Path(file), argv[0])
    return asked if asked in _families.FAMILIES else _families.FAMILIES[0]


def _given(argv: list[str], name: str) -> str | None:
    """The value of an option, if it is given one."""
    search = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    search.add_argument(f"--{name}")
    try:
        return getattr(search.parse_known_args(argv[1:])[0], name)
    except argparse.ArgumentError:  # without a value; the real parser says so better
        return None


def _configured(argv: list[str], kind: Any, tyro: ModuleType) -> dict[str, Any]:
    """What the command's `--config` file sets, as its default; nothing without a file."""
    if "config" not in {field.name for field in dataclasses.fields(kind)}:
        return {}
    given = _given(argv, "config")
    if given is None:
        return {}
    file = pathlib.Path(given)
    arguments = arguments_from(file, argv[0], kind)
    return {"default": tyro.cli(kind, args=arguments, prog=f"hopfax {argv[0]}, file {file}")}


def _misfit(error: Exception) -> int:
    """A fault of the program, unless packages are installed that do not go together: then of them.

    **Raises:** the error, where all packages are as they are required.
    """
    from ._requirements import unmet

    if not (misfits := unmet()):
        raise error
    text = "; ".join(misfits)
    complain(
        f"hopfax: error: {type(error).__name__} among packages that do not go together: {text}. "
        "Install hopfax into an environment of its own (python -m venv), or what is required here."
    )
    return 2


def _status(error: Exception) -> int | None:
    """Exit status of an error that is the user's or the run's, not a fault of the program."""
    if isinstance(error, SimulationError | SweepFailed):
        return 1
    return 2 if isinstance(error, ValueError | TypeError | OSError | ImportError) else None


def _notes(error: BaseException) -> list[str]:
    """What was added to an error on its way: how to go on after it, and what is kept."""
    notes = list(getattr(error, "__notes__", []))
    own = isinstance(error, KeyboardInterrupt) and notes and str(error)
    return [str(error), *notes] if own else notes


def _one_line(message, category, filename, lineno, file=None, line=None) -> None:
    del filename, lineno, file, line
    text = " ".join(str(message).split())
    complain(f"hopfax: {category.__name__}: {text}")
