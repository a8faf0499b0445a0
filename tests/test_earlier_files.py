"""Models and stores that an earlier version wrote are read, and gone on with."""

import functools
import importlib
import json
import re
import shutil

import earlier as earlier_version
import equinox as eqx
import numpy as np
import pytest
from helpers import ROOT, assert_close

import hopfax as hx
from hopfax._identity import canonical, describe, difference

DATA = ROOT / "tests" / "data"
#: Written by earlier.py in the tree of version 0.1 before each family had a folder of its own.
FAMILIES = ("sequential", "rate", "dense")
OTHER_VERSIONS = pytest.mark.filterwarnings("ignore:.*begun with other versions.*")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    shutil.unpack_archive(DATA / "before_0_1.zip", folder)
    return folder


@pytest.fixture(scope="module")
def earlier_layers(tmp_path_factory):
    """Layers as version 0.1 wrote them, and what they returned."""
    folder = tmp_path_factory.mktemp("earlier_layers")
    shutil.unpack_archive(DATA / "layers_0_1.zip", folder)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_an_earlier_version_is_read(name, earlier):
    network, start = earlier_version.networks()[name]
    with pytest.warns(UserWarning, match="earlier version and is not sealed"):
        back = hx.load(earlier / f"{name}.hopfax")
    assert type(back) is type(network)
    state = network.init(**{key: np.asarray(value) for key, value in start.items()})
    assert_close(back.overlaps(state), network.overlaps(state), 1e-15, "the same arrays")


def test_a_dense_memory_of_an_earlier_version_is_read(earlier):
    with pytest.warns(UserWarning, match="earlier version and is not sealed"):
        memory = hx.load(earlier / "memory.hopfax")
    assert isinstance(memory, hx.DenseMemory) and memory.interaction == hx.ManyBody(3)


@pytest.mark.parametrize(
    "name", ["retrieval", "sequence", "simplex", "box", "selection", "selector"]
)
def test_a_layer_of_an_earlier_version_returns_what_it_did(name, earlier_layers):
    layer = eqx.nn.inference_mode(hx.load(earlier_layers / f"{name}.hopfax"))
    known = np.load(earlier_layers / "layers.npz")
    inputs = [known[key] for key in known.files if key.startswith(f"{name}_")]
    assert_close(eqx.filter_jit(layer)(*inputs), known[name], 1e-12, "the same sums")


@pytest.mark.slow
@OTHER_VERSIONS
@pytest.mark.parametrize("name", FAMILIES)
def test_a_store_of_an_earlier_version_is_read_and_gone_on_with(name, earlier, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(earlier / f"{name}.sweep", store)
    begun = hx.open_sweep(store, partial=True).load()
    assert int((begun.status >= 0).sum()) == (8 if name == "sequential" else 16)
    point, grid = earlier_version.point(name)
    whole = hx.sweep(point, grid, tile=8, store=store, resume="must", progress=False).load()
    assert (whole.status == 0).all()
    fresh = hx.sweep(point, grid, tile=8, progress=False)
    # another processor or compiler may round otherwise; the solvers' tolerances are 1e-9 and 1e-8
    assert_close(whole.overlaps_end, fresh.overlaps_end, 1e-6, "the tolerances of the solvers")
    assert (whole.regime.values == fresh.regime.values).all()
    with pytest.raises(hx.ConfigMismatch, match="grid"):
        hx.sweep(point, {key: 1.1 * v for key, v in grid.items()}, tile=8, store=store)


@OTHER_VERSIONS
def test_a_store_of_theory_is_known_by_its_public_name(earlier, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(earlier / "theory.sweep", store)
    grid = {"kappa": np.linspace(4.0, 7.0, 8)}
    again = hx.sweep(hx.theory.sequential.fixed_points, grid, tile=8, store=store, resume="must")
    exact = hx.theory.sequential.fixed_points(grid["kappa"])
    assert_close(again.upper, exact.upper, 1e-12, "rounding")
    with pytest.raises(hx.ConfigMismatch, match="point"):
        hx.sweep(hx.theory.sequential.saliency_map, {**grid, "Z": [2.0]}, tile=8, store=store)


def test_every_public_name_is_known_by_the_place_that_it_had():
    """Stores name functions and classes by their modules, many of which have moved."""
    names = json.loads((DATA / "names_0_1.json").read_text())
    moved = []
    for public, former in names.items():
        module, name = public.split(":")
        item = getattr(importlib.import_module(module), name)
        now = f"{item.__module__}:{item.__qualname__}"
        stored = canonical({"point": former, "axis": "2.5"})
        assert stored == canonical({"point": now, "axis": "2.5"}), public
        moved.append(former != now)
    assert len(names) > 200 and sum(moved) > 80


@pytest.mark.parametrize("interaction", [hx.Quadratic(), hx.Power(3), hx.ManyBody(4)])
def test_a_kernel_is_known_by_the_names_that_its_parts_had(interaction):
    point = functools.partial(
        hx.theory.dense.solve_gfa, hx.theory.dense.kernel(interaction), steps=3
    )
    now = describe(point, "point")
    former = {
        key: re.sub(
            r"^hopfax\.theory\.dense:(Linear|Power|ManyBody)$", r"hopfax.theory._kernels:_\1", entry
        )
        for key, entry in now.items()
    }
    assert former != now and difference(former, now) == "" and canonical(former) == canonical(now)
