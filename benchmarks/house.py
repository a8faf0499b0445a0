"""How the code is built, in numbers: `python -m benchmarks.house [CHECKOUT ...]`, a line each."""

import ast
import io
import json
import pathlib
import re
import sys
import tokenize


def functions(tree):
    """Every function of a module, with its lines of code (no docstring, no comments)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = set()
            for part in body:
                for inner in ast.walk(part):
                    if hasattr(inner, "lineno"):
                        lines |= {inner.lineno, inner.end_lineno}
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                        lines |= set(range(inner.lineno, inner.end_lineno + 1))
            yield node, len(lines)


def annotations(tree):
    """Every annotation of an argument, a result or a field."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
            yield from (arg.annotation for arg in every if arg is not None and arg.annotation)
            if node.returns is not None:
                yield node.returns


def questions(tree):
    """Questions to something named as a network for its type or attributes."""
    for node in ast.walk(tree):
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args
        if named and node.func.id in ("isinstance", "hasattr", "getattr"):
            if {"network", "net", "flow", "model"} & set(ast.unparse(node.args[0]).split(".")):
                yield node


def is_abstract(node):
    """Whether a line of a class is something that a subclass must give."""
    if isinstance(node, ast.FunctionDef):
        return any("abstractmethod" in ast.unparse(d) for d in node.decorator_list)
    kinds = ("AbstractVar", "AbstractClassVar")
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith(kinds)


def late_imports(tree):
    """Imports of hopfax's own modules inside functions."""
    for node, _ in functions(tree):
        for inner in ast.walk(node):
            if isinstance(inner, ast.ImportFrom) and inner.level:
                yield inner


def comments(source):
    """Lines that are a comment or end in one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})


def measure(checkout):
    """The numbers of one checkout."""
    package = pathlib.Path(checkout) / "hopfax"
    files = sorted(package.rglob("*.py"))
    sources = {f.relative_to(package).as_posix(): f.read_text() for f in files}
    trees = {name: ast.parse(source) for name, source in sources.items()}
    every = {f"{name}:{f.name}": k for name, t in trees.items() for f, k in functions(t)}
    longest = max(every, key=lambda name: every[name])
    lengths = {name: len(source.splitlines()) for name, source in sources.items()}
    widest = max(lengths, key=lambda name: lengths[name])
    types = [ast.unparse(a) for tree in trees.values() for a in annotations(tree)]
    base = trees["networks/_base.py"]
    (flow,) = (n for n in base.body if isinstance(n, ast.ClassDef) and n.name == "AbstractFlow")
    (root,) = (n for n in base.body if isinstance(n, ast.ClassDef) and n.name == "AbstractNetwork")
    owed = [f for c in (root, flow) for f in c.body if is_abstract(f)]
    engine = [n for n in sources if n.startswith(("_event_driven", "_engines"))]
    code = sum(len(re.findall(r"^\s*[^\s#]", sources[n], re.M)) for n in engine)
    nothing = re.compile(r'"""[^"]*"""\s+return None\n')
    tests = pathlib.Path(checkout) / "tests"
    return {
        "checkout": str(checkout),
        "modules": len(files),
        "lines": sum(lengths.values()),
        "longest module": f"{widest}: {lengths[widest]}",
        "modules over 500 lines": sum(k > 500 for k in lengths.values()),
        "longest function": f"{longest}: {every[longest]}",
        "functions over 60 lines": sum(k > 60 for k in every.values()),
        "a flow owes": len(owed),
        "methods of networks that only return None": sum(
            len(nothing.findall(s)) for n, s in sources.items() if n.startswith("networks/")
        ),
        "type questions outside networks": sum(
            len(list(questions(t))) for n, t in trees.items() if not n.startswith("networks/")
        ),
        "late imports of its own": sum(len(list(late_imports(t))) for t in trees.values()),
        "share of Any in annotations": round(
            sum(re.search(r"\bAny\b", a) is not None for a in types) / len(types), 3
        ),
        "comment lines per 100 of the engines": round(
            100 * sum(comments(sources[n]) for n in engine) / code, 1
        ),
        "test functions": sum(
            len(re.findall(r"^def test_", f.read_text(), re.M)) for f in tests.rglob("test_*.py")
        ),
    }


if __name__ == "__main__":
    for checkout in sys.argv[1:] or ["."]:
        print(json.dumps(measure(checkout), indent=1))
