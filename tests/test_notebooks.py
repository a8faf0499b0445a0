"""The notebooks run from top to bottom and are stored without outputs."""

import json

import pytest
from helpers import ROOT, run_python

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONG = ("05_fit_a_sequence",)
RUN = """
import json, pathlib, warnings
from matplotlib import pyplot
import hopfax
warnings.simplefilter("error", hopfax.PhysicsWarning)
cells = json.loads(pathlib.Path({file!r}).read_text())["cells"]
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


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_outputs_are_stripped(file):
    for cell in code_cells(file):
        assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[pytest.mark.long] if file.stem in LONG else [], id=file.stem)
        for file in NOTEBOOKS
    ],
)
def test_notebook_runs_from_top_to_bottom(file):
    """In an interpreter of its own, without silent promotion."""
    environment = dict(JAX_ENABLE_X64="1", JAX_NUMPY_DTYPE_PROMOTION="strict", MPLBACKEND="Agg")
    run_python(RUN.format(file=str(file)), **environment)
