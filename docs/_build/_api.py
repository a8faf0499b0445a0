"""The pages of the API: every public name, in the groups of the docstrings of hopfax."""

import importlib
import inspect
import re
from typing import Any

import hopfax as hx

#: The public modules beside `hopfax`, with the title of their page.
MODULES = {
    "hopfax.patterns": "Making and reading memories",
    "hopfax.observables": "Observables",
    "hopfax.designs": "Designs",
    "hopfax.dynamics": "Dynamics",
    "hopfax.losses": "Losses",
    "hopfax.constraints": "Constraints",
    "hopfax.plots": "Pictures",
    "hopfax.nn": "Layers",
    "hopfax.nn.flax": "Layers for Flax",
    "hopfax.theory.sequential": "Theory of sequences",
    "hopfax.theory.dense": "Theory of dense memories",
    "hopfax.theory.rate": "Theory of rate memories",
    "hopfax.theory.input_driven": "Theory of the input-driven field",
}
_GROUP = re.compile(r"^(?:  )?(\w[\w ]*?)  +(.*)$")


def groups() -> dict[str, list[str]]:
    """Titles and names of the groups into which the docstring of `hopfax` puts its names."""
    found: dict[str, list[str]] = {}
    title = ""
    lines = (hx.__doc__ or "").splitlines()
    start = next(i for i, line in enumerate(lines) if "import hopfax as hx" in line)
    for line in lines[start + 1 :]:
        if opened := _GROUP.match(line):
            title, line = opened[1], opened[2]
        for name in re.findall(r"\w+", line):
            if name in hx.__all__ and not inspect.ismodule(getattr(hx, name)):
                found.setdefault(title, []).append(name)
    return {title: list(dict.fromkeys(names)) for title, names in found.items()}


def pages() -> dict[str, str]:
    """The pages, by their address within the site."""
    made: dict[str, str] = {}
    rows: list[tuple[str, str, str, str]] = []  # page, title, path, sentence
    seen: set[int] = set()
    for title, names in groups().items():
        page = f"api/{title.lower().replace(' ', '_')}.md"
        made[page] = _page(title[0].upper() + title[1:], "", [f"hopfax.{name}" for name in names])
        rows += [(page, title, f"hopfax.{name}", _sentence(getattr(hx, name))) for name in names]
        seen |= {id(getattr(hx, name)) for name in names}
    for module, title in MODULES.items():
        found = importlib.import_module(module)
        names = [name for name in dir(found) if not name.startswith("__")]
        new = [name for name in names if id(getattr(found, name)) not in seen]
        # what is used comes before what others are derived from
        new.sort(key=lambda name: (name.startswith("Abstract"), not name[0].isupper(), name))
        page = f"api/{module.removeprefix('hopfax.').replace('.', '_')}.md"
        intro = f"`{module}`: {inspect.getdoc(found) or ''}".split("\n\n")[0]
        made[page] = _page(title, intro, [f"{module}.{name}" for name in new])
        rows += [(page, title, f"{module}.{name}", _sentence(getattr(found, name))) for name in new]
        seen |= {id(getattr(found, name)) for name in new}
    return {"api/index.md": _index(rows)} | made


def documented(made: dict[str, str]) -> set[str]:
    """The names that have an entry on some page."""
    return {path for text in made.values() for path in re.findall(r"^::: (\S+)$", text, re.M)}


def _page(title: str, intro: str, paths: list[str]) -> str:
    entries = "\n\n".join(f"::: {path}" for path in paths)
    return f"# {title}\n\n{intro}\n\n{entries}\n"


def _index(rows: list[tuple[str, str, str, str]]) -> str:
    lines = [
        "# API",
        "",
        "Every public name with its equation, shapes, units, errors, source and an example that",
        "runs. `import hopfax as hx` is meant everywhere.",
    ]
    title = ""
    for page, group, path, sentence in rows:
        if group != title:
            title = group
            lines += ["", f"## [{group[0].upper() + group[1:]}]({page.removeprefix('api/')})", ""]
            lines += ["| name | what it is |", "|---|---|"]
        short = path.replace("hopfax.", "hx.", 1)
        lines.append(f"| [`{short}`][{path}] | {sentence} |")
    return "\n".join(lines) + "\n"


def _sentence(item: Any) -> str:
    """The first sentence of a docstring, on one line of a table."""
    if not (inspect.isclass(item) or inspect.isroutine(item)):
        return f"a constant, {type(item).__name__}"
    first = " ".join((inspect.getdoc(item) or "").split("\n\n")[0].split())
    first = re.split(r"(?<=[^.][.:])(?<! al\.)(?<!e\.g\.)(?<!i\.e\.)\s", first)[0].rstrip(":")
    return first.replace("|", "\\|")
