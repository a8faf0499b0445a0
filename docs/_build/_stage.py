"""Puts the site's Markdown together in build/site: pages with the outputs of their code, notebooks,
the files of the top folder that are pages too, and what is generated."""

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import _api, _execute, _stored
from ._execute import Code, Output, PageError

ROOT = Path(__file__).resolve().parents[2]
DOCS, SITE = ROOT / "docs", ROOT / "build" / "site"
#: Files outside docs/ that are pages of the site.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
_FRONT = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)
_MARKER = re.compile(r"^<!-- (agreement|help|gallery)(?:: (\S+))? -->$", re.M)
_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(((?!https?:|mailto:|#)[^)\s]+)\)")


@dataclasses.dataclass(frozen=True)
class Page:
    """A page with code: `name` is its address without the ending, `stored` whether its outputs are
    kept in docs/stored."""

    name: str
    parts: tuple[str | Code, ...]
    stored: bool


def pages() -> Iterator[Page]:
    """The pages under docs/ and the notebooks."""
    for file in sorted(DOCS.rglob("*.md")):
        name = file.relative_to(DOCS).with_suffix("").as_posix()
        if name.startswith(("stored/", "_")):
            continue
        text, stored = file.read_text(), False
        if front := _FRONT.match(text):
            if front[1].strip() != "run: stored":
                raise PageError(f"{name}: its front matter may only be `run: stored`.")
            text, stored = text[front.end() :], True
        yield Page(name, tuple(_execute.parts_of_page(text)), stored)
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        parts = _execute.parts_of_notebook(file.read_text())
        yield Page(f"notebooks/{file.stem}", tuple(parts), True)


def stage(say: Callable[[str], None], fresh: bool = False) -> None:
    """Write build/site/docs and its mkdocs.yml.

    **Raises:** PageError for a page whose code fails or whose stored outputs are out of date, and
    if the pages are not those of the navigation.
    """
    target = SITE / "docs"
    shutil.rmtree(SITE, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copytree(DOCS / "assets", target / "assets")
    shutil.copy(DOCS / "mkdocs.yml", SITE)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each page has a kernel of its own
        listed = list(pages())
        shown = list(pool.map(lambda page: outputs(page, say, fresh), listed))
    texts = {
        page.name: _rendered(page, target, *got) for page, got in zip(listed, shown, strict=True)
    }
    made = {f"{name}.md": text for name, text in texts.items()} | _api.pages()
    for source, name in INCLUDED.items():
        made[name] = _relinked((ROOT / source).read_text(), source)
    for name, text in made.items():
        filled = _MARKER.sub(lambda found: _generated(found[1], found[2], texts), text)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(filled)
    _check_navigation(set(made))


def outputs(
    page: Page, say: Callable[[str], None], fresh: bool
) -> tuple[Sequence[Sequence[Output]], str]:
    """What a page's blocks show, and when they were run if that was not now."""
    if not any(isinstance(part, Code) and part.run for part in page.parts):
        return [], ""
    if page.stored and not fresh:
        if why := _stored.stale(_stored.STORED, page.name, page.parts):
            raise PageError(f"{page.name}: {why}. Run: python -m docs store {page.name}")
        return _stored.load(_stored.STORED, page.name)
    if fresh or _stored.stale(_stored.CACHE, page.name, page.parts):
        found, seconds = _execute.run(page.name, page.parts)
        say(f"{page.name}: {seconds:.0f} s")
        _stored.store(_stored.CACHE, page.name, page.parts, found, seconds)
    return _stored.load(_stored.CACHE, page.name)[0], ""


def _rendered(page: Page, target: Path, shown: Sequence[Sequence[Output]], made: str) -> str:
    """A page's Markdown with what each block shows below it; pictures are written beside it."""
    waiting = iter(shown)
    folder = (target / page.name).parent
    text, heading, count = "", "", 0
    for part in page.parts:
        if isinstance(part, str):
            text += part
            if headings := re.findall(r"^#+ (.+)$", part, re.M):
                heading = headings[-1]
            continue
        if not part.hidden:
            text += f"```python\n{part.source}```\n"
        for output in next(waiting) if part.run else ():
            if output.picture:
                name, count = f"{Path(page.name).name}-{count}.png", count + 1
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(output.picture)
                alt = (part.alt or heading).replace("[", "").replace("]", "")
                wide, high = _execute.size(output.picture)
                size = f"width={wide} height={high}"  # so that text does not jump when it is loaded
                text += f"\n![{alt}]({name}){{ .drawn loading=lazy {size} }}\n"
            elif output.text:
                text += f"\n```{{ .text .shown }}\n{output.text}\n```\n"
        text += "\n"
    return text + (f"\n<small>{made}</small>\n" if made else "")


def _generated(kind: str, what: str | None, texts: dict[str, str]) -> str:
    if kind == "gallery":
        return _gallery(texts)
    assert what is not None
    if kind == "help":
        return f"```{{ .text .shown }}\n{_help(what)}\n```"
    if importlib.util.find_spec("docs._build.agreement") is None:
        raise PageError("there is no docs/_build/agreement.py.")
    from . import agreement  # pyright: ignore[reportAttributeAccessIssue]

    if why := agreement.stale(what):
        raise PageError(f"the table of agreement of {what}: {why}.")
    return agreement.table(what)


def _help(command: str) -> str:
    """What `hopfax COMMAND --help` prints, in plain characters."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "hopfax", command, "--help"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    if done.returncode:
        raise PageError(f"`hopfax {command} --help` fails: {done.stderr.strip()}")
    lines: list[str] = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines():
        lines += (
            textwrap.wrap(line, 100, break_long_words=False) if len(line) > 100 else [line.rstrip()]
        )
    return "\n".join(lines).strip("\n")


def _gallery(texts: dict[str, str]) -> str:
    """A grid of the first picture under each second-level heading of the gallery's pages."""
    cards: list[str] = []
    for name, text in texts.items():
        if not name.startswith("gallery/") or name == "gallery/index":
            continue
        for section in re.split(r"^## ", text, flags=re.M)[1:]:
            title = section.splitlines()[0].strip()
            if picture := re.search(r"!\[[^\]]*\]\(([^)]+)\)", section):
                page = Path(name).name
                anchor = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
                cards.append(
                    f"[![{title}]({picture[1]}){{ loading=lazy }}<br>{title}]({page}.md#{anchor})"
                )
    if not cards:
        raise PageError("the gallery has no picture.")
    return '<div class="gallery" markdown>\n\n' + "\n\n".join(cards) + "\n\n</div>"


def _relinked(text: str, source: str) -> str:
    """A file of the tree as a page: links to other pages lead to those, links to files become their
    names."""

    def link(found: re.Match[str]) -> str:
        path, _, anchor = found[2].partition("#")
        inside = os.path.normpath(os.path.join(os.path.dirname(source), path))
        page = INCLUDED.get(inside) or (
            inside.removeprefix("docs/") if inside.startswith("docs/") else None
        )
        if page is None:
            return found[1] if found[1].startswith("`") else f"`{found[1]}`"
        return f"[{found[1]}]({page}{'#' + anchor if anchor else ''})"

    return _LINK.sub(link, text)


def _check_navigation(made: set[str]) -> None:
    """Every page is in the navigation, and every entry of it is a page."""
    listed = set(re.findall(r"(\S+\.md)$", (DOCS / "mkdocs.yml").read_text(), re.M))
    for what, names in (
        ("pages are not in the navigation of docs/mkdocs.yml", made - listed),
        ("entries of the navigation are no pages", listed - made),
    ):
        if names:
            raise PageError(f"{what}: {', '.join(sorted(names))}.")
