"""The pages of Start and Gallery have a place for everything that is public; their code runs when
the site is built."""

import inspect
import pathlib
import re

import pytest

import hopfax as hx
from hopfax import plots
from hopfax.cli import _families

DOCS = pathlib.Path(__file__).parents[1] / "docs"
GALLERY = sorted(page for page in (DOCS / "gallery").glob("*.md") if page.stem != "index")
_BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def code(page):
    """All lines of Python on a page."""
    return "\n".join(_BLOCK.findall(page.read_text()))


def pictures(page):
    """Heading, prose and code of each picture."""
    for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
        heading, body = part.split("\n", 1)
        yield heading, _BLOCK.sub("", body).strip(), "\n".join(_BLOCK.findall(body))


def test_every_function_of_plots_has_a_picture_in_the_gallery():
    functions = {name for name in plots.__all__ if inspect.isfunction(getattr(plots, name))}
    functions -= {"report"}  # a page of its own, docs/howto/report.md
    shown = set(re.findall(r"hx\.plots\.(\w+)\(", "\n".join(map(code, GALLERY))))
    assert functions and not functions - shown, f"not in docs/gallery: {functions - shown}"
    assert not shown - set(plots.__all__), f"no such functions: {shown - set(plots.__all__)}"


def test_the_gallery_has_pictures_with_a_sentence_and_few_lines():
    found = [picture for page in GALLERY for picture in pictures(page)]
    assert len(found) >= 24
    for heading, prose, lines in found:
        assert prose.endswith(".") and len(prose.split()) >= 15, heading
        assert 1 <= len([line for line in lines.splitlines() if line.strip()]) <= 24, heading


def test_the_index_of_the_gallery_lists_its_pages():
    linked = re.findall(r"\]\((\w+\.md)\)", (DOCS / "gallery" / "index.md").read_text())
    assert sorted(linked) == [page.name for page in GALLERY]


def test_every_network_has_its_place_where_one_is_chosen():
    page = DOCS / "start" / "choosing_network.md"
    table = page.read_text().split("```", 1)[0]
    networks = {
        name
        for name, item in vars(hx).items()
        if inspect.isclass(item)
        and issubclass(item, hx.AbstractNetwork)
        and not name.startswith("Abstract")
    }
    headings = {heading for heading, *_ in pictures(page)}
    assert len(networks) >= 10 and not networks - headings, networks - headings
    missing = [name for name in networks if f"](#{name.lower()})" not in table]
    assert not missing, missing
    assert all(f"hx.{name}(" in code(page) for name in networks)


@pytest.mark.parametrize("command", _families.COMMANDS)
def test_every_command_is_told_of(command):
    text = (DOCS / "start" / "command_line.md").read_text()
    told = re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    part = dict(told)[command]
    assert f"<!-- help: {command} -->" in part
    assert f"\nhopfax {command}" in part and "*Files:*" in part
    assert f"[`{command}`](#{command})" in text
