"""The house: imports point down, extras stay optional, importing costs little.

A module sees the floors below its own and, of its own floor, only its own package.
"""

import ast

import pytest
from helpers import ROOT, run_python

PACKAGE = ROOT / "hopfax"

#: Every module or package directly inside hopfax/, lowest floor first. A new one is listed here.
FLOORS = (
    ("_types", "_misc", "_errors", "_status", "_progress", "_identity"),
    ("patterns", "_activations", "_rate_activations", "_interactions", "_inputs"),
    ("networks", "theory"),
    ("_trajectory",),
    ("_engines", "_arguments"),
    ("_simulate", "_iterate", "observables"),
    ("losses", "constraints"),
    ("_sweep", "designs", "_fit", "nn"),
    ("_serialise", "plots"),
    ("cli", "examples"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
#: Import names of the packages behind the extras. Only cli/, and modules named like one of them,
#: may import them at their top level.
OPTIONAL = {
    *("xarray", "zarr", "numcodecs", "h5netcdf", "matplotlib", "tyro", "tqdm", "PIL"),
    *("sklearn", "dask", "distributed", "flax", "orbax", "safetensors"),
}


def _module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source, module, is_package):
    """Absolute dotted names that `source` imports, in-function and relative imports included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            if base == "hopfax":  # `from hopfax import x` or `from . import x`: x may be a module
                for alias in node.names:
                    yield f"hopfax.{alias.name}" if alias.name in FLOOR else "hopfax"
            else:
                yield base


def _floor_of(name):
    if name not in FLOOR:
        raise AssertionError(
            f"hopfax/{name} stands on no floor. List it in FLOORS of tests/test_architecture.py, "
            "as low as its imports allow."
        )
    return FLOOR[name]


def _wrong_imports(source, module, is_package=False):
    """What is wrong with the imports of `source`, as sentences."""
    if module == "hopfax":  # the index sees all
        return []
    own = module.split(".")[1]
    wrong = []
    for target in _imports(source, module, is_package):
        first, *rest = target.split(".")
        if first != "hopfax" or (rest and rest[0] == own):
            continue
        if own == "__main__":
            if rest[:1] != ["cli"]:
                wrong.append(f"{module} imports {target}, but may see only cli")
            continue
        if not rest:
            if own != "cli":
                wrong.append(f"{module} imports the index `hopfax` itself, which is above it")
            continue
        here, there = _floor_of(own), _floor_of(rest[0])
        ground = here == there == 0 and FLOORS[0].index(rest[0]) < FLOORS[0].index(own)
        if there >= here and not ground:
            where = "up" if there > here else "sideways"
            wrong.append(
                f"{module} (floor {here}) imports {target} (floor {there}): points {where}"
            )
    return wrong


FILES = sorted(PACKAGE.rglob("*.py"))


def _id(file):
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_imports_point_down(file):
    module = _module_name(file)
    if module not in ("hopfax", "hopfax.__main__"):
        _floor_of(module.split(".")[1])
    wrong = _wrong_imports(file.read_text(), module, file.name == "__init__.py")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("hopfax._simulate", "from ._sweep import f", "up"),
        ("hopfax._simulate", "from ._iterate import f", "sideways"),
        ("hopfax._simulate", "def f():\n    from hopfax.observables import g", "sideways"),
        ("hopfax.theory.sequential", "from ..networks._base import f", "sideways"),
        ("hopfax.networks._dense", "from .. import theory", "sideways"),
        ("hopfax.networks._dense", "import hopfax._simulate", "up"),
        ("hopfax._activations", "from . import patterns", "sideways"),
        ("hopfax._types", "from ._errors import f", "sideways"),
        ("hopfax._simulate", "import hopfax as hx", "above"),
        ("hopfax._simulate", "from . import HardTanh", "above"),
        ("hopfax.__main__", "from ._simulate import simulate", "only cli"),
        ("hopfax._simulate", "from ._types import A", ""),
        ("hopfax._errors", "from ._types import A", ""),
        ("hopfax.networks._dense", "from ._base import B\nfrom ..patterns import P", ""),
        ("hopfax.cli._sweep", "import hopfax as hx\nfrom .._sweep import sweep", ""),
        ("hopfax.__main__", "from .cli import main", ""),
    ],
)
def test_the_rule_catches_what_it_should(module, source, word):
    wrong = _wrong_imports(source, module)
    assert len(wrong) == bool(word)
    assert word in "".join(wrong)


def test_a_relative_import_in_a_package_index_is_resolved():
    source = "from ._base import A\nfrom .._simulate import f"
    assert list(_imports(source, "hopfax.networks", True)) == [
        "hopfax.networks._base",
        "hopfax._simulate",
    ]
    assert len(_wrong_imports(source, "hopfax.networks", True)) == 1


def test_an_unlisted_module_is_told_where_to_go():
    with pytest.raises(AssertionError, match="List it in FLOORS"):
        _floor_of("_brand_new")


def _at_import(body):
    """The statements that run when a module is imported: all but those inside functions."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _at_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from _at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from _at_import(handler.body)


def _optional_at_import(source):
    found = set()
    for node in _at_import(ast.parse(source).body):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found & OPTIONAL


def _in_cli(file):
    return file.relative_to(PACKAGE).parts[0] == "cli"


def _may_need_extras(file):
    """The command line, and modules and packages that bear the name of what they need."""
    return _in_cli(file) or file.stem in OPTIONAL or file.parent.name in OPTIONAL


def _speaks(file):
    """Whether `file` is run from a command line."""
    return _in_cli(file) or file.relative_to(PACKAGE).parts[0] == "examples"


def test_extras_are_imported_late():
    early = {
        _id(file): found
        for file in FILES
        if not _may_need_extras(file) and (found := _optional_at_import(file.read_text()))
    }
    assert not early, f"import these inside the functions that need them: {early}"


def test_the_search_for_early_imports_finds_them():
    early = "try:\n    import xarray as xr\nexcept ImportError:\n    from matplotlib import pyplot"
    assert _optional_at_import(early) == {"xarray", "matplotlib"}
    late = "if TYPE_CHECKING:\n    import zarr\ndef f():\n    import xarray"
    assert _optional_at_import(late) == set()


def _prints(source):
    """Line numbers of calls of print."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def test_only_the_command_line_prints():
    assert _prints('"""print(1)"""\nprint(2)') == [2]
    lines = {_id(f): found for f in FILES if not _speaks(f) and (found := _prints(f.read_text()))}
    assert not lines, f"log to the logger `hopfax` instead of printing: {lines}"


def test_importing_hopfax_imports_no_extra():
    code = f"""
import sys
import diffrax, equinox, jax, optax, optimistix
before = set(sys.modules)
import hopfax
new = {{name.split(".")[0] for name in set(sys.modules) - before}}
assert "hopfax" in new
print(*sorted(new & set({sorted(OPTIONAL)!r})))
"""
    assert run_python(code) == ""


def test_importing_hopfax_makes_no_array():
    # An array at import fixes the dtype and starts a device. With a platform that does not exist,
    # starting any device raises.
    code = """
import hopfax
import jax.numpy as jnp
try:
    jnp.zeros(1)
except RuntimeError as error:
    print("no_such_platform" in str(error))
"""
    assert run_python(code, JAX_PLATFORMS="no_such_platform") == "True"


def test_importing_hopfax_is_quick():
    code = """
import time
import diffrax
start = time.process_time()  # of this process alone, whatever else the machine does
import hopfax
print(time.process_time() - start)
"""
    times = []
    while len(times) < 6 and min(times, default=1.0) >= 0.3:  # best of up to six
        times.append(float(run_python(code)))
    assert min(times) < 0.3, f"import hopfax took {times} s on top of diffrax"
