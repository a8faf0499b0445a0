"""What a release is made of agrees: version, citation, recipe of conda-forge, workflows, types."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from helpers import ROOT
from packaging.requirements import Requirement

import hopfax as hx

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Names that conda-forge has for packages of PyPI.
CONDA = {"matplotlib": "matplotlib-base", "flatbuffers": "python-flatbuffers"}
#: Extras whose packages the recipe requires, and those that it only bounds from below.
REQUIRED, BOUNDED = ("io", "plot", "cli"), ("data", "web", "dask", "flax")


def read(name):
    """A YAML file of the repository."""
    return yaml.safe_load((ROOT / name).read_text())


def bounds(requirements):
    """Lines of pyproject.toml as the recipe has them: names of conda-forge, a space, the bound."""
    parsed = [Requirement(line) for line in requirements]
    return {f"{CONDA.get(each.name, each.name)} {each.specifier}" for each in parsed}


def test_the_version_is_written_in_one_place():
    source = (ROOT / "hopfax" / "_version.py").read_text()
    assert f'__version__ = "{hx.__version__}"' in source
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert read("CITATION.cff")["version"] == hx.__version__
    assert read(".github/conda/recipe.yaml")["context"]["version"] == hx.__version__


def test_the_citation_has_the_papers():
    """Each is named in hopfax by its number of arXiv, and those of `hopfax reproduce` are there."""
    papers = read("CITATION.cff")["references"]
    numbers = [re.fullmatch(r"https://arxiv\.org/abs/(\d{4}\.\d{5})", p["url"]) for p in papers]
    assert all(numbers) and all(p["title"] and p["year"] and p["authors"] for p in papers)
    found = {number[1] for number in numbers if number}
    assert len(found) == len(papers)
    code = "\n".join(file.read_text() for file in (ROOT / "hopfax").rglob("*.py"))
    assert not {number for number in found if number not in code}
    assert {"2603.03201", "2411.05849", "2411.07388", "2506.00851", "2008.02217"} <= found


def test_the_recipe_requires_what_the_project_does():
    requirements = read(".github/conda/recipe.yaml")["requirements"]
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *(line for name in REQUIRED for line in extras[name])]
    python, *run = requirements["run"]
    assert python == "python >=${{ python_min }}"
    assert read(".github/conda/recipe.yaml")["context"]["python_min"] == "3.11"
    assert PROJECT["requires-python"] == ">=3.11"
    assert set(run) == bounds(needed) and len(run) == len(set(run))
    bounded = [line for name in BOUNDED for line in extras[name]]
    assert set(requirements["run_constraints"]) == bounds(bounded)
    # every extra is in one of the two, or is no part of a package for conda
    assert set(extras) == {*REQUIRED, *BOUNDED, "all", "cuda12", "cuda13", "test"} | (
        {"docs"} & set(extras)
    )


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda file: file.name
)
def test_workflows_may_do_no_more_than_they_need(file):
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in file.read_text()
    granted = [job.get("permissions", {}) for job in workflow["jobs"].values()]
    assert [each for each in granted if each] in ([], [{"id-token": "write"}])
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert "uses" not in step or re.search(r"@(v\d+|release/v1)$", step["uses"])
            for script in re.findall(r"\.ci/\w+", step.get("run", "")):
                assert (ROOT / script).is_file()


@pytest.mark.slow
def test_what_a_user_writes_passes_mypy():
    """`pyright` checks tests/typed, too, as part of the whole."""
    files = sorted((ROOT / "tests" / "typed").glob("*.py"))
    assert len(files) == 5
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
