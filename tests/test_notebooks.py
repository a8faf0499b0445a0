"""The notebooks run from top to bottom and are stored without outputs."""

import json

import matplotlib
import pytest
from helpers import ROOT
from matplotlib import pyplot

matplotlib.use("Agg")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONG = ("05_fit_a_sequence",)


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
    namespace = {"__name__": "__main__"}
    try:
        for number, cell in enumerate(code_cells(file)):
            source = "".join(cell["source"])
            exec(compile(source, f"{file.name}, code cell {number}", "exec"), namespace)
        figures = pyplot.get_fignums()
        assert figures, "the notebook draws nothing"
        for figure in figures:
            pyplot.figure(figure).canvas.draw()
    finally:
        pyplot.close("all")
