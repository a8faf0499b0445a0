"""The house: imports point down and in no circle, families do not see each other, nothing is too
long, networks are asked through their contract, extras stay optional, importing costs little.

A module sees the floors below its own and, of its own floor, only its own package.
"""

import ast
import re

import pytest
from helpers import ROOT, run_python

PACKAGE = ROOT / "hopfax"

#: Every module or package directly inside hopfax/, lowest floor first. A new one is listed here.
FLOORS = (
    (
        *("_types", "_misc", "_roots", "_values", "_errors", "_status", "_progress"),
        *("_interrupt", "_code", "_identity", "_cache", "_traced", "_programs", "_undefined"),
        *("_palette", "_report", "_constant", "_names", "_version"),
    ),
    ("_files", "_distinct"),
    ("patterns", "_activations", "_rate_activations", "_interactions", "_inputs"),
    ("_distances",),
    ("networks", "theory"),
    ("_trajectory",),
    ("_engines", "_arguments"),
    ("_simulate", "_iterate", "observables"),
    ("dynamics",),
    ("losses", "constraints"),
    ("_sweep", "_fit", "nn"),
    ("_serialise", "plots", "designs", "_explore"),
    ("cli", "examples"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
#: Import names of the packages behind the extras. Only cli/, and modules named like one of them,
#: may import them at their top level.
OPTIONAL = {
    *("xarray", "zarr", "numcodecs", "h5netcdf", "matplotlib", "tyro", "tqdm", "PIL"),
    *("sklearn", "dask", "distributed", "flax", "orbax", "safetensors", "blackjax", "numpyro"),
    *("bokeh", "contourpy", "jinja2", "tornado"),
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


#: Packages whose folders are families: a family does not see its sisters.
FAMILIES = ("networks", "theory", "cli")


def _sisters(source, module, is_package=False):
    """Imports from one family's folder into another one's."""
    parts = module.split(".")
    if len(parts) < 3 or parts[1] not in FAMILIES or parts[2].startswith("_"):
        return []
    folder = PACKAGE / parts[1]
    if not (folder / parts[2]).is_dir():
        return []
    return [
        f"{module} imports {target}, of another family"
        for target in _imports(source, module, is_package)
        for there in [target.split(".")]
        if there[:2] == parts[:2]
        and len(there) > 2
        and there[2] != parts[2]
        and (folder / there[2]).is_dir()
    ]


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("hopfax.networks.rate._family", "from ..hopfield._two_timescale import T", 1),
        ("hopfax.networks.rate._family", "from .._slow import cyclic\nfrom ._wiring import W", 0),
        ("hopfax.theory.dense._gfa", "from ..rate import design", 1),
        ("hopfax.cli.dense.sweep", "from ..rate._diagram import f", 1),
        ("hopfax.cli.dense.sweep", "from .._output import Output\nfrom ...networks import N", 0),
    ],
)
def test_a_sister_is_noticed(module, source, found):
    assert len(_sisters(source, module)) == found


def test_no_family_imports_a_sister():
    wrong = [
        line
        for file in FILES
        for line in _sisters(file.read_text(), _module_name(file), file.name == "__init__.py")
    ]
    assert not wrong, "\n".join(wrong)


def _import_time(source):
    """`source` without what runs later than its import: bodies of functions, type checking."""
    kept = [n for n in _at_import(ast.parse(source).body) if isinstance(n, IMPORTS)]
    return "\n".join(ast.unparse(node) for node in kept)


IMPORTS = (ast.Import, ast.ImportFrom)


def _circle(graph):
    """Names along a circle of a graph (name -> names); None if it has none."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        path.append(name)
        for following in sorted(graph.get(name, ())):
            if (found := visit(following)) is not None:
                return found
        done.add(path.pop())
        return None

    return next((found for name in sorted(graph) if (found := visit(name))), None)


def test_a_circle_is_noticed():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _import_time("def f():\n    from . import b\nfrom . import c") == "from . import c"


def _modules(source, module, is_package):
    """Modules that an import names, `from . import name` included."""
    names = {_module_name(file) for file in FILES}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                (base,) = {*_imports(ast.unparse(_only(node, alias)), module, is_package)}
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in names else base
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _only(node, alias):
    return ast.ImportFrom(node.module, [alias], node.level)


def test_no_imports_go_in_a_circle():
    graph = {}
    for file in FILES:
        module, is_package = _module_name(file), file.name == "__init__.py"
        if module != "hopfax":  # the index, which the command line alone may import
            targets = set(_modules(_import_time(file.read_text()), module, is_package))
            graph[module] = {t for t in targets if t.startswith("hopfax.")} - {module}
    assert len(graph) > 100
    assert _circle(graph) is None


MOST = {"module": 500, "function": 60, "class": 250}


def _too_long(source):
    """Modules, functions and classes beyond the limits; docstrings and comments of a function do
    not count."""
    tree, lines = ast.parse(source), len(source.splitlines())
    if lines > MOST["module"]:
        yield f"the module has {lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > MOST["class"]:
                yield f"class {node.name} has {lines} lines"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            code = node.body[1:] if ast.get_docstring(node) is not None else node.body
            used = {k for part in code for k in _code_lines(part)}
            if len(used) > MOST["function"]:
                yield f"{node.name} has {len(used)} lines of code"


def _code_lines(part):
    for node in ast.walk(part):
        if isinstance(node, ast.expr | ast.stmt | ast.excepthandler):
            yield from (node.lineno, node.end_lineno)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_what_is_too_long_is_noticed():
    long = "def f():\n" + '    """Doc.\n\n    More.\n    """\n' + "    x = 1\n" * 60
    assert not list(_too_long(long))
    assert list(_too_long(long + "    x = 2\n")) == ["f has 61 lines of code"]
    assert list(_too_long("# a comment\n" * 501)) == ["the module has 501 lines"]
    assert list(_too_long("class A:\n" + "    x = 1\n" * 250)) == ["class A has 251 lines"]


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_nothing_is_too_long(file):
    assert not list(_too_long(file.read_text()))


#: Where a network may be asked for its type: its own folder, and the commands of its own family.
OWN = ("networks/", "cli/sequential/", "cli/dense/", "cli/rate/")
NETWORK_NAMES = {"network", "net", "flow"}


def _questions(source):
    """Calls of isinstance, hasattr or getattr on something named as a network."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        if node.func.id in ("isinstance", "hasattr", "getattr"):
            asked = ast.unparse(node.args[0])
            if NETWORK_NAMES & set(asked.split(".")):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def test_a_question_to_a_network_is_noticed():
    assert len(list(_questions("isinstance(network, Hopfield)"))) == 1
    assert len(list(_questions("getattr(trial.network.activation, 'gain', None)"))) == 1
    assert not list(_questions("isinstance(networks, tuple)\nnetwork.escape_level()"))


def test_networks_are_asked_through_their_contract():
    asked = {
        _id(file): found
        for file in FILES
        if not _id(file).startswith(OWN) and (found := list(_questions(file.read_text())))
    }
    assert not asked, f"give AbstractFlow a method with a default in place of: {asked}"


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
        # With bytecode, as an installed package has it: some machines write none by default.
        times.append(float(run_python(code, PYTHONDONTWRITEBYTECODE="")))
    assert min(times) < 0.3, f"import hopfax took {times} s on top of diffrax"


#: What changes an option of the whole process, for all threads, and where that may stand: the
#: command line, whose process it is, the worker processes of a sweep, and `compilation_cache`,
#: which a user calls for just that.
GLOBAL = re.compile(
    r"config\.update\(|catch_warnings|simplefilter|filterwarnings|np\.seterr|random\.seed\("
    r"|rcParams|matplotlib\.use\(|os\.environ\[[^]]*\] =|os\.putenv|os\.chdir|set_printoptions"
    r"|setrecursionlimit|setswitchinterval"
)
MAY_BE_GLOBAL = ("cli/", "examples/", "_sweep/_remote.py", "_cache.py")


def _global_changes(source):
    """Lines of code that change such an option; strings, which may advise it, do not count."""
    source = re.sub(
        r'"""(.*?)"""|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', '""', source, flags=re.S
    )
    return [line.strip() for line in source.split("\n") if GLOBAL.search(line.partition("#")[0])]


def test_a_change_of_a_global_option_is_noticed():
    assert _global_changes('jax.config.update("jax_enable_x64", True)\nos.environ["A"] = "b"') != []
    assert _global_changes('text = "call jax.config.update(1)"  # np.seterr') == []


def test_the_library_changes_no_global_option():
    changed = {
        _id(file): found
        for file in FILES
        if not _id(file).startswith(MAY_BE_GLOBAL) and (found := _global_changes(file.read_text()))
    }
    # Warnings of zarr, while a store is made, and of pillow, of bombs: only a filter reaches them.
    for file in ("_sweep/_store.py", "patterns/_images.py"):
        assert all("warnings" in line or "simplefilter" in line for line in changed.pop(file, []))
    assert not changed, f"pass it on, or use a context of JAX or of _errors.hushed: {changed}"
