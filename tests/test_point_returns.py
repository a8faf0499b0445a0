"""What the function of a sweep may return, and what is refused by name, before it is too late."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from points import network_point

import hopfax as hx

pytestmark = pytest.mark.usefixtures("as_a_user_runs_it")
GRID = {"x": np.linspace(0.0, 1.0, 8)}
OPTIONS = dict(tile=2, chunk=2, progress=False)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (77, ValueError, r"`status` 77, but must return a key of hopfax.STATUS \(0 ok, 1 max_step"),
        (-1, ValueError, "`status` -1"),  # what was not computed
        (np.int8(50), ValueError, "`status` 50"),
        (0.0, TypeError, r"`status` .* one whole number, .* but is float64\[\]"),
        (True, TypeError, r"but is bool\[\]"),
        ([0, 0], TypeError, r"but is int\d+\[2\]"),
    ],
)
def test_a_status_that_is_no_code_is_named_before_the_sweep(status, error, text, tmp_path):
    value = jnp.asarray(status) if isinstance(status, list) else status
    with pytest.raises(error, match=text):
        hx.sweep(lambda x: {"y": x, "status": value}, GRID, store=tmp_path / "store", tag="a")
    assert not list(tmp_path.rglob("*.json"))


def late(x):
    """Fails with a code of its own at the last points."""
    return {"y": 2 * x, "status": jnp.where(x > 0.8, 77, 0)}


def test_a_status_found_late_ends_the_sweep_and_is_not_stored(tmp_path):
    with pytest.raises(ValueError, match="`status` 77"):
        hx.sweep(late, GRID, **OPTIONS)
    with pytest.raises(ValueError, match="`status` 77"):
        hx.sweep(late, GRID, store=tmp_path / "store", tag="a", **OPTIONS)
    there = hx.open_sweep(tmp_path / "store", partial=True)
    assert set(np.unique(there.status)) <= {-1, 0} and int(there.status[-1]) == -1
    with pytest.raises(ValueError, match="`status` 77"):
        hx.refine(late, {}, along="x", between=(0.0, 1.0), of="status")


class Ends(NamedTuple):
    """Numbers by name."""

    first: object
    last: object


def first(trajectory):
    return trajectory.overlaps[0, 0]


def pair(trajectory):
    return [trajectory.overlaps[0, 0], trajectory.overlaps[-1]]


def ends(trajectory):
    return Ends(trajectory.overlaps[0], trajectory.overlaps[-1])


@pytest.mark.parametrize(
    ("observe", "names"),
    [(first, {"value"}), (pair, {"value_0", "value_1"}), (ends, {"first", "last"})],
)
def test_a_point_may_observe_a_number_a_list_or_a_tuple_of_names(observe, names):
    point = network_point(observe=observe)
    assert set(point({})) - {"status", "steps"} == {name.split("_")[0] for name in names}
    found = hx.sweep(point, {"kappa": [5.0]}, progress=False)
    assert set(found.data_vars) == names | {"status", "steps"}


@pytest.mark.parametrize(
    ("observe", "error", "text"),
    [
        (lambda run: None, TypeError, "`observe`: .*<lambda> must return .* returned nothing"),
        (lambda run: {}, TypeError, "returned nothing"),
        (lambda run: "high", TypeError, "`observe`: .* but returned str"),
        (lambda run: {"name": "high"}, TypeError, "returned str"),
        (lambda run: {"status": run.status}, ValueError, "`observe`: it returns 'status'"),
        (lambda run: {"steps": 3}, ValueError, "'steps', which is the run's own"),
    ],
)
def test_what_else_it_may_return_is_refused_by_name(observe, error, text):
    with pytest.raises(error, match=text):
        hx.sweep(network_point(observe=observe), {"kappa": [5.0]}, progress=False)
