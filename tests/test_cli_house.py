"""The house of the command line: drawers below, families that do not see each other, commands.

A drawer (`hopfax/cli/_x.py`) imports the library and other drawers. A cell (`hopfax/cli/F/C.py`),
and what else lies in its folder, imports drawers, the library and its own folder. A command that is
the same for all families (`hopfax/cli/C.py`) imports drawers, and finds cells by name.
"""

import ast
import dataclasses
import importlib
import sys
import threading

import jax.numpy as jnp
import pytest
from cli_helpers import elsewhere as elsewhere, refusal
from helpers import ROOT

import hopfax.cli
from hopfax.cli import _families
from hopfax.cli._ahead import ahead

PACKAGE = ROOT / "hopfax" / "cli"
FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
CELLS = [
    (family, command)
    for family in _families.FAMILIES
    for command in _families.COMMANDS
    if f"{family}.{command}" in FILES
]
EMPTY = [
    (family, command)
    for command in _families.COMMANDS
    if command not in FILES
    for family in _families.FAMILIES
    if (family, command) not in CELLS
]


def inner_imports(source, module):
    """Modules of the command line that a module of it imports, also inside functions."""
    package = ["hopfax", "cli", *module.split(".")[:-1]]
    if module.endswith("__init__"):
        module = module.removesuffix("__init__").rstrip(".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            targets = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for target in targets:
            parts = target.split(".")
            if parts[:2] != ["hopfax", "cli"]:
                continue
            inner = parts[2:]
            while inner and ".".join(inner) not in FILES and not _folder(inner):
                inner = inner[:-1]  # a name in a module
            yield ".".join(inner) or "__init__"


def _folder(parts):
    return len(parts) == 1 and parts[0] in _families.FAMILIES


def kind_of(module):
    """Index, drawer, command, or the family that a module belongs to."""
    first, *rest = module.split(".")
    if first == "__init__":
        return "index"
    if first in _families.FAMILIES:
        return first
    return "command" if not rest and not first.startswith("_") else "drawer"


def wrong_imports(source, module):
    """What is wrong with the imports of a module, as sentences."""
    here = kind_of(module)
    allowed = {"drawer"} | ({here} if here in _families.FAMILIES else set())
    return [
        f"{module} ({here}) imports {target} ({kind_of(target)})"
        for target in inner_imports(source, module)
        if kind_of(target) not in allowed
    ]


@pytest.mark.parametrize("module", FILES)
def test_imports_keep_to_drawers_and_the_own_folder(module):
    assert not wrong_imports(FILES[module].read_text(), module)


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("_output", "from ._console import say\nfrom .. import patterns", ""),
        ("_output", "def f():\n    from .plot import stored", "plot (command)"),
        ("_output", "from .dense import sweep", "dense.sweep (dense)"),
        ("plot", "from ._families import cell", ""),
        ("plot", "from .sequential.sweep import Sweep", "sequential.sweep (sequential)"),
        ("plot", "from .reproduce import Reproduce", "reproduce (command)"),
        ("rate.sweep", "from .. import _output\nfrom . import _points", ""),
        ("rate.sweep", "from ..dense._points import memories", "dense._points (dense)"),
        ("rate.sweep", "import hopfax.cli.dense.sweep", "dense.sweep (dense)"),
        ("rate.sweep", "from ..plot import stored", "plot (command)"),
        ("rate.sweep", "from .. import main", "__init__ (index)"),
    ],
)
def test_the_rule_catches_what_it_should(module, source, word):
    wrong = wrong_imports(source, module)
    assert len(wrong) == bool(word) and word in "".join(wrong)


def circles(graph):
    """Modules that can be reached from themselves."""

    def beyond(start):
        found, waiting = set(), [start]
        while waiting:
            for target in graph.get(waiting.pop(), ()):
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return found

    return {module for module in graph if module in beyond(module)}


def test_nothing_imports_itself_on_any_way():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {"a", "b", "c"}
    graph = {
        module: set(inner_imports(file.read_text(), module)) - {"__init__"}
        for module, file in FILES.items()
    }
    assert any(graph.values()) and not circles(graph)


# Families and commands


@pytest.mark.parametrize(("family", "command"), CELLS)
def test_a_cell_has_what_its_command_needs(family, command):
    module = importlib.import_module(f"hopfax.cli.{family}.{command}")
    if command in FILES:  # of all families: it asks the cell
        assert callable(getattr(module, command))
        return
    kind = _families.kind(command, family)
    assert kind.__module__ == module.__name__ and dataclasses.is_dataclass(kind)
    assert {field.name: field.default for field in dataclasses.fields(kind)}["network"] == family
    # which `plot` and `report` ask for
    assert command != "sweep" or (callable(module.stored) and callable(module.again))


def test_every_file_belongs_to_a_command():
    folders = {entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").is_file()}
    why = "a family is a folder with an __init__.py, and a name in `Family` of cli/_families.py"
    assert folders == set(_families.FAMILIES), why
    public = {name.split(".")[-1] for name in FILES if not name.split(".")[-1].startswith("_")}
    assert public == set(_families.COMMANDS)


@pytest.mark.parametrize(("family", "name"), EMPTY)
def test_a_command_that_a_family_lacks_says_for_which_it_is(command, family, name):
    status, out, err = command(name, "--network", family)
    assert status == 2 and not out
    others = ", ".join(f for f, c in CELLS if c == name)
    answer = f"`{name}` is not for {family} networks; it is for {others}."
    assert refusal(err) == f"hopfax: error: {answer}"


TOY = """
import dataclasses
import pathlib
from typing import Literal

from .._console import say


@dataclasses.dataclass(frozen=True)
class Theory:
    '''Print what is known of toys.'''

    network: Literal["toy"] = "toy"
    '''Family of networks.'''
    size: int = 3
    '''How many.'''
    config: pathlib.Path | None = None
    '''A TOML file with these settings.'''

    def __call__(self):
        say(f"{self.size} toys")
        return 0
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A family with one command, as a folder and a name."""
    folder = tmp_path / "families" / "toy"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "theory.py").write_text(TOY)
    monkeypatch.setattr(hopfax.cli, "__path__", [*hopfax.cli.__path__, str(folder.parent)])
    monkeypatch.setattr(_families, "FAMILIES", (*_families.FAMILIES, "toy"))
    yield
    for name in [name for name in sys.modules if name.startswith("hopfax.cli.toy")]:
        del sys.modules[name]


def test_a_folder_and_a_name_make_a_family(command, toy, tmp_path):
    status, out, err = command("theory", "--network", "toy", "--size", 5)
    assert status == 0 and out == "5 toys\n", err
    _, out, _ = command("theory", "--network", "toy", "--help")
    assert "Print what is known of toys" in out and "--size" in out and "--kappa" not in out
    (tmp_path / "toy.toml").write_text('network = "toy"\nsize = 7\n')
    status, out, err = command("theory", "--config", "toy.toml")
    assert status == 0 and out == "7 toys\n", err
    for name, others in (("fit", "sequential"), ("sweep", "sequential, dense, rate")):
        status, _, err = command(name, "--network", "toy")
        answer = f"`{name}` is not for toy networks; it is for {others}."
        assert status == 2 and refusal(err) == f"hopfax: error: {answer}"


def test_what_is_made_ready_ahead_fails_in_silence_and_ends_with_the_command():
    taken, go = [], threading.Event()

    def broken():
        raise OSError("is said where it is taken in earnest")

    with ahead(broken, lambda: taken.append(jnp.result_type(float))):
        pass
    assert taken == [jnp.float64]  # after the failure, and waited for
    with pytest.raises(KeyError), ahead(lambda: go.wait(10), lambda: taken.append("late")):
        raise KeyError
    go.set()
    for thread in threading.enumerate():
        if thread.name == "hopfax-ahead":
            thread.join()
    assert taken == [jnp.float64]
