"""The notebooks run from top to bottom and are stored without outputs."""

import json
import re

import pytest
from helpers import ROOT, run_python

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: Those that take more than half a minute. What they show is stored, and belongs to their code
#: (tests/test_site.py); `pytest -m ""` runs them.
LONG = ("04", "05", "06", "07", "08", "09", "11", "14")
RUN = """
import json, os, pathlib, warnings
from matplotlib import pyplot
import hopfax
warnings.simplefilter("error", hopfax.PhysicsWarning)
cells = json.loads(pathlib.Path({file!r}).read_text())["cells"]
os.chdir({folder!r})
namespace = {{"__name__": "__main__"}}
for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
    exec(compile("".join(cell["source"]), f"code cell {{number}}", "exec"), namespace)
figures = pyplot.get_fignums()
assert figures, "the notebook draws nothing"
for figure in figures:
    pyplot.figure(figure).canvas.draw()
"""


def code_cells(file):
    """The code cells of a notebook."""
    cells = json.loads(file.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def prose_before_code(cells):
    """Every code cell, with the Markdown right before it."""
    before = ""
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            yield before, text
        before = text if cell["cell_type"] == "markdown" else ""


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_begins_with_what_one_will_see_and_says_what_pictures_show(file):
    cells = json.loads(file.read_text())["cells"]
    title, opening = "".join(cells[0]["source"]).split("\n\n")[:2]
    assert title.startswith("# ") and opening.startswith("You will see ") and "." in opening
    draws = re.compile(
        r"^\s*(?:draw\(|\w*plots\.|hx\.plots\.|.*\.(?:imshow|pcolormesh|plot|errorbar)\()", re.M
    )
    for prose, code in prose_before_code(cells):
        if draws.search(code) and not code.lstrip().startswith(("def ", "import ")):
            assert len(prose) > 60, f"no words for the picture of:\n{code}"


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_outputs_are_stripped(file):
    for cell in code_cells(file):
        assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[pytest.mark.long] if file.stem[:2] in LONG else [], id=file.stem)
        for file in NOTEBOOKS
    ],
)
def test_notebook_runs_from_top_to_bottom(file, tmp_path):
    """In an interpreter of its own, without silent promotion."""
    environment = dict(JAX_ENABLE_X64="1", JAX_NUMPY_DTYPE_PROMOTION="strict", MPLBACKEND="Agg")
    run_python(RUN.format(file=str(file), folder=str(tmp_path)), **environment)
