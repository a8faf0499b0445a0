"""Phase boundaries by division, and designs."""

import jax.numpy as jnp
import numpy as np
import points
import pytest

import hopfax as hx


def steps(x, edges):
    """A class that rises by one at every edge."""
    return {"level": jnp.sum(x >= edges).astype(jnp.int32)}


def test_every_change_is_found_to_the_tolerance():
    edges = np.array([[0.1, 0.55, 0.9], [0.3, 0.7, 2.0], [3.0, 3.0, 3.0]])
    ds = hx.refine(steps, {"edges": edges}, along="x", between=(0.0, 1.0), of="level", tol=1e-6)
    assert ds.x.dims == ("edges", "change") and ds.x.shape == (3, 3)
    expected = np.where(edges < 1, edges, np.nan)
    np.testing.assert_allclose(ds.x, expected, rtol=0, atol=1e-6)
    known = np.isfinite(expected)
    assert (ds.width.values[known] <= 1e-6).all() and np.isnan(ds.width.values[~known]).all()
    assert ds.below.values.tolist() == [[0, 1, 2], [0, 1, -1], [-1, -1, -1]]
    assert ds.above.values.tolist() == [[1, 2, 3], [1, 2, -1], [-1, -1, -1]]
    assert ds.attrs["points"] < 500  # a grid of this spacing has 3e6


def test_one_class_against_the_rest():
    edges = np.array([0.1, 0.55, 0.9])

    def level(x):
        return steps(x, edges)

    ds = hx.refine(level, {}, along="x", between=(0.0, 1.0), of="level", into=2, tol=1e-9)
    np.testing.assert_allclose(ds.x, edges[1:], rtol=0, atol=1e-9)
    assert ds.above.values.tolist() == [1, 0]


def test_failure_is_a_class():
    def fragile(x):
        return {"level": jnp.int32(0), "status": jnp.where(x > 0.3, 3, 0)}

    ds = hx.refine(fragile, {}, along="x", between=(0.0, 1.0), of="level")
    assert abs(float(ds.x[0]) - 0.3) < 1e-4 and ds.above.values.tolist() == [-1]
    ds = hx.refine(fragile, {}, along="x", between=(0.0, 1.0), of="status", into="nonfinite")
    assert abs(float(ds.x[0]) - 0.3) < 1e-4


def test_a_boundary_that_is_not_there():
    ds = hx.refine(steps, {"edges": [[5.0]]}, along="x", between=(0.0, 1.0), of="level")
    assert ds.x.shape == (1, 0)


def test_noise_of_a_line_is_that_of_its_point():
    """A random edge is the same for every value along the line, or division would not converge."""
    import jax.random as jr

    def noisy(x, scale, key):
        return {"level": (x > scale * jr.uniform(key)).astype(jnp.int32)}

    grid = {"scale": np.ones(5), "seed": [7, 8]}
    ds = hx.refine(noisy, grid, along="x", between=(0.0, 1.0), of="level", tol=1e-8)
    edge = ds.x.isel(change=0).values
    np.testing.assert_allclose(edge, np.broadcast_to(edge[0], (5, 2)), rtol=0, atol=1e-8)
    assert abs(edge[0, 0] - edge[0, 1]) > 1e-3


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (dict(between=(1.0, 0.0)), ValueError, "`between` must be"),
        (dict(between=(0.0, np.nan)), ValueError, "`between` must be"),
        (dict(tol=0.0), ValueError, "`tol` must be above"),
        (dict(coarse=0), ValueError, "`coarse`"),
        (dict(of="levl"), ValueError, r"`of` must be an output of whole numbers, one of \['level'"),
        (dict(of="status", into="good"), ValueError, "no class 'good'"),
        (dict(along="z"), ValueError, "unknown parameter 'z'"),
        (dict(along="edges"), ValueError, "also an axis"),
    ],
)
def test_bad_arguments(change, error, text):
    options = dict(along="x", between=(0.0, 1.0), of="level") | change
    with pytest.raises(error, match=text):
        hx.refine(steps, {"edges": [[0.5]]}, **options)


def test_designs():
    ranges = {"kappa": (2.0, 6.0), "tau": (10.0, 1000.0)}
    for design in (hx.designs.random, hx.designs.sobol):
        ((names, (kappa, tau)),) = design(ranges, 64, seed=1, log=["tau"]).items()
        assert names == ("kappa", "tau") and kappa.shape == tau.shape == (64,)
        assert (2 <= kappa).all() and (kappa < 6).all() and (10 <= tau).all() and (tau < 1000).all()
        again = design(ranges, 64, seed=1, log=["tau"])[names]
        other = design(ranges, 64, seed=2, log=["tau"])[names]
        assert (again[0] == kappa).all() and (other[0] != kappa).any()
        assert abs(np.log10(tau).mean() - 2) < 0.3  # uniform in its logarithm
    # A Sobol design of 2^k points has one in every interval of length 2^-k, in every direction.
    ((_, (kappa, tau)),) = hx.designs.sobol(ranges, 64, log=["tau"]).items()
    for unit in ((kappa - 2) / 4, np.log10(tau / 10) / 2):
        assert (np.sort((unit * 64).astype(int)) == np.arange(64)).all()
    ds = hx.sweep(
        points.wave, hx.designs.sobol({"x": (0, 1), "y": (1, 2)}, 8), tile=8, progress=False
    )
    assert ds.value.dims == ("x+y",)
    np.testing.assert_allclose(ds.value, np.sin(ds.x * ds.y), rtol=1e-12)


@pytest.mark.parametrize(
    ("ranges", "options", "error", "text"),
    [
        ({}, {}, TypeError, "`ranges` must be a non-empty dict"),
        ({"x": (1, 0)}, {}, ValueError, "'x' needs least < largest"),
        ({"x": (0, np.inf)}, {}, ValueError, "'x' must have a least and a largest"),
        ({"x": 3}, {}, ValueError, "'x' must have a least and a largest"),
        ({"x": (0, 1)}, {"points": 0}, ValueError, "`points` must be a whole number >= 1"),
        ({"x": (0, 1)}, {"points": 48}, ValueError, "power of two.*32 and 64"),
        ({"x": (0, 1)}, {"log": ["x"]}, ValueError, "'x' must be positive"),
        ({"x": (0, 1)}, {"log": ["y"]}, ValueError, "'y', which has no range"),
        ({"x": (0, 1)}, {"log": "x"}, TypeError, "`log` must list names"),
        ({"x": (0, 1)}, {"log": True}, TypeError, "`log` must list names"),
        ({"x": (0, 1)}, {"seed": 0.5}, TypeError, "`seed` must be a whole number"),
    ],
)
def test_bad_designs(ranges, options, error, text, as_a_user_runs_it):
    with pytest.raises(error, match=text):
        hx.designs.sobol(ranges, **dict(points=8) | options)
