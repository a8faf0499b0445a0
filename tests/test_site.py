"""The documentation site: whatever the library has, has a page. `python -m docs build` makes it."""

import importlib
import inspect
import re

import pytest
from helpers import ROOT

from docs._build import _api, _execute, _stage, _stored
from hopfax.cli import _families

PAGES = {page.name: page for page in _stage.pages()}
NAVIGATION = re.findall(r"(\S+)\.md$", (ROOT / "docs" / "mkdocs.yml").read_text(), re.M)


def text_of(name):
    return (ROOT / "docs" / f"{name}.md").read_text()


def test_every_public_name_has_an_entry_with_an_example_on_some_page():
    entries = _api.documented(_api.pages())
    seen = {id(_object(path)) for path in entries}
    missing = []
    for module in ("hopfax", *_api.MODULES):
        found = importlib.import_module(module)
        for name in dir(found):
            item = getattr(found, name)
            if not name.startswith("_") and not inspect.ismodule(item) and id(item) not in seen:
                missing.append(f"{module}.{name}")
    assert not missing, "give them a place in the docstring of their module"


def _object(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_public_module_has_a_page():
    from test_public import MODULES

    assert set(MODULES) == {"hopfax", *_api.MODULES}


def test_every_command_is_explained_with_its_help():
    shown = re.findall(r"^<!-- help: (\w+) -->$", text_of("start/command_line"), re.M)
    assert sorted(shown) == sorted(_families.COMMANDS)


def test_the_claims_of_every_family_are_on_its_page_of_the_theory():
    for family in _families.families_with("reproduce"):
        assert f"<!-- agreement: {family} -->" in text_of(f"theory/{family}")
    for part, family in _families.PARTS.items():
        assert f"<!-- agreement: {part} -->" in text_of(f"theory/{family}")


def test_the_navigation_holds_every_page_once_and_nothing_else():
    generated = {name.removesuffix(".md") for name in (*_api.pages(), *_stage.INCLUDED.values())}
    assert sorted(NAVIGATION) == sorted({*PAGES, *generated})


@pytest.mark.parametrize("name", sorted(name for name, page in PAGES.items() if page.stored))
def test_stored_outputs_belong_to_the_code(name):
    page = PAGES[name]
    if any(isinstance(part, _execute.Code) and part.run for part in page.parts):
        why = _stored.stale(_stored.STORED, name, page.parts)
        assert why is None, f"{why}: run `python -m docs store {name}`"


def test_nothing_is_stored_of_what_is_no_page():
    stored = {
        file.parent.relative_to(_stored.STORED).as_posix()
        for file in _stored.STORED.rglob("outputs.json")
    }
    assert stored <= {name for name, page in PAGES.items() if page.stored}


def test_blocks_of_a_page_are_those_at_its_margin():
    text = (
        "One.\n\n```python hide\na = 1\n```\n\n    ```python\n    no\n    ```\n\n"
        '```python alt="x"\na\n```\n'
    )
    parts = _execute.parts_of_page(text)
    blocks = [part for part in parts if isinstance(part, _execute.Code)]
    assert [block.source for block in blocks] == ["a = 1\n", "a\n"]
    assert blocks[0].hidden and not blocks[1].hidden and blocks[1].alt == "x"
    assert _execute.digest(parts) != _execute.digest(parts[:2])
    with pytest.raises(_execute.PageError, match="marked twice"):
        _execute.parts_of_page("```python twice\n1\n```\n")


@pytest.mark.slow
def test_a_page_shows_what_its_code_does_and_a_failing_one_is_named():
    code = [
        _execute.Code("print(1)\n1 + 1"),
        _execute.Code("import matplotlib.pyplot as plt\nplt.plot([1, 2])"),
    ]
    outputs, _ = _execute.run("some/page", code)
    assert [item.text for item in outputs[0]] == ["1\n2"]
    (drawn,) = outputs[1]
    assert drawn.picture.startswith(b"\x89PNG") and not drawn.text
    with pytest.raises(_execute.PageError, match="some/page") as failed:
        _execute.run("some/page", [_execute.Code("1 / 0")])
    assert "ZeroDivisionError" in str(failed.value)


def test_an_equation_becomes_mathml_and_a_page_that_loads_from_elsewhere_is_refused(tmp_path):
    from docs._build import _html

    page = tmp_path / "page.html"
    page.write_text(r'<p><span class="arithmatex">\(\dot x = -x\)</span></p>')
    _html.finish(tmp_path)
    assert "<math" in page.read_text() and "arithmatex" not in page.read_text()
    page.write_text(r'<span class="arithmatex">\(\nonsense{x}\)</span>')
    with pytest.raises(_execute.PageError, match="nonsense"):
        _html.finish(tmp_path)
    page.write_text('<script src="https://elsewhere.org/a.js"></script>')
    with pytest.raises(_execute.PageError, match="loads from the network"):
        _html.finish(tmp_path)
    page.write_text('<a href="https://arxiv.org/abs/2603.03201">a link that is clicked</a>')
    _html.finish(tmp_path)
