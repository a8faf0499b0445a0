"""Folds followed in two parameters: normal forms, and the gain at which a sequence is born."""

import dataclasses

import jax.numpy as jnp
import matplotlib.pyplot as plt
import normal_forms as nf
import numpy as np
import pytest
import zoo

import hopfax as hx

#: Points solve their equations to 4e-11, and a fold's parameter is as good as that.
CONVERGED = 1e-10


def cusp(x, y, pq):
    """Folds at q = 3 x^2, p = -2 x^3: 4 q^3 = 27 p^2, with a cusp where both are 0."""
    return pq[0] + pq[1] * x - x**3, -y


def isola(x, y, pq):
    """The circle x^2 + p^2 = q shrinks to a point: folds at p^2 = q."""
    return pq[1] - x**2 - pq[0] ** 2, -y


def takens(x, y, pq):
    """Folds at p = q^2 / 4, x = -q / 2, where the trace is x; nothing for q > 1/2."""
    there = jnp.where(pq[1] > 0.5, jnp.nan, pq[0])
    return y, there + pq[1] * x + x**2 + x * y


def followed(flow, start, of, between, along, **options):
    """The first fold of a branch in the first parameter, and its curve in the second one."""
    network = nf.plane(flow, jnp.zeros(2))
    make = hx.dynamics.along(network, "parameter[0]", "parameter[1]")
    begin = hx.dynamics.along(make(0.0, along[0]), "parameter[0]")
    found = hx.dynamics.branch(begin, network.init(x=start), between, step=0.1, until="fold")
    fold = found.special[-1]
    assert fold.parameter == pytest.approx(of, abs=1e-8)
    return make, fold, hx.dynamics.fold_curve(make, fold, along, **options)


def kinds(curve):
    return [point.kind for point in curve.special]


@pytest.fixture(scope="module")
def lip():
    edge = 2 / (3 * np.sqrt(3))
    return followed(cusp, [-1.4, 0.0], edge, (-1.0, 1.0), (1.0, -1.0))


def test_a_cusp_is_passed_and_named(lip):
    make, fold, curve = lip
    p, q = curve.threshold, curve.parameter
    assert np.abs(4 * q**3 - 27 * p**2).max() < CONVERGED
    assert kinds(curve) == ["cusp"]
    assert np.abs([curve.special[0].threshold, curve.special[0].parameter]).max() < 1e-8
    assert p[-1] == pytest.approx(-fold.parameter) and q[-1] == 1.0  # along the other side
    assert curve.stable.all() and curve.ended == "it leaves the interval at 1"
    assert str(curve).startswith(f"branch of {len(q)} folds of states of rest in parameter[1]")
    data = curve.to_xarray()
    assert data.attrs["kind"] == "folds of states of rest"
    assert (data["parameter[0]"] == p).all() and data["special_parameter[0]"].size == 1


def test_a_curve_goes_on_from_any_of_its_points(lip):
    make, _, curve = lip
    rest = hx.dynamics.steady_state(make(curve.threshold[2], curve.parameter[2]), curve.state(2))
    assert np.abs(np.real(rest.spectrum.eigenvalues)).min() < 1e-5  # the root of what rounding is
    again = hx.dynamics.fold_curve(make, curve.fold(2), (curve.parameter[2], 1.0))
    assert again.threshold[-1] == pytest.approx(curve.threshold[0], abs=CONVERGED)


def test_a_curve_of_folds_is_drawn_with_its_threshold(lip):
    ax = hx.plots.branch(lip[2])
    (solid,) = [line for line in ax.lines if len(line.get_xdata()) > 1]
    assert np.allclose(solid.get_ydata(), lip[2].threshold) and solid.get_linestyle() == "-"
    assert ax.get_ylabel() == "parameter[0]" and ax.get_xlabel() == "parameter[1]"
    assert "cusp" in [text.get_text() for text in ax.get_legend().get_texts()]
    plt.close(ax.figure)


def test_the_center_of_an_isola_is_a_turning_point():
    *_, curve = followed(isola, [1.0, 0.0], 1.0, (0.0, 2.0), (1.0, -1.0))
    assert kinds(curve) == ["turning point"] and abs(curve.special[0].parameter) < 1e-8
    assert np.abs(curve.threshold**2 - curve.parameter).max() < CONVERGED
    assert curve.threshold[-1] == pytest.approx(-1.0)


def test_a_second_critical_eigenvalue_is_named_and_an_end_says_where():
    *_, curve = followed(takens, [-0.2, 0.0], 0.25, (-0.3, 1.0), (-1.0, 1.0))
    assert np.abs(curve.threshold - curve.parameter**2 / 4).max() < CONVERGED
    assert kinds(curve) == ["Bogdanov-Takens point"] and abs(curve.special[0].parameter) < 1e-6
    assert (curve.stable == (curve.parameter > 0)).all()  # the other eigenvalue is -q / 2
    assert curve.ended == "no next point was found from 0.5 on, in steps however short"


@pytest.mark.slow
def test_the_critical_gain_over_tau_and_bias_is_that_of_single_searches():
    made, _ = zoo.cycle(P=4, tau=100.0, bias=0.01)
    make = hx.dynamics.along(made, "kappa", "tau")
    born = hx.dynamics.critical_gain(made)
    over_tau = hx.dynamics.fold_curve(make, born.end, (100.0, 50.0), step=0.5)
    assert over_tau.threshold[0] == pytest.approx(3.2169484849, abs=1e-9)
    single = hx.dynamics.critical_gain(make(5.0, 50.0))
    assert over_tau.threshold[-1] == pytest.approx(float(single.gain), abs=1e-9)
    assert over_tau.stable.all() and over_tau.to_xarray().attrs["kind"] == "folds of orbits"
    make = hx.dynamics.along(make(5.0, 50.0), "kappa", "bias")
    over_bias = hx.dynamics.fold_curve(make, over_tau.fold(-1), (0.01, 0.05), step=0.5)
    # known from another search, as in test_dynamics_orbits.py
    assert over_bias.threshold[-1] == pytest.approx(2.7930511132, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(make=lambda p, q: 3), r"`make\(0.3849, 1\)` must be a Flow, got int"),
        (dict(make=nf.plane(cusp)), "`make` must be a function of two numbers"),
        (dict(kind="cusp"), "`fold` must be a fold, but is a cusp"),
        (dict(vector=np.array([1.0, 0.0])), "`fold` is none of make"),
        (dict(returns=1.0, current=jnp.ones(2)), "orbits have none"),
        (dict(between=(1.0, 1.0)), "`between` must be two different numbers"),
        (dict(step=0.0), "`step` is a part of the interval"),
        (dict(max_steps=0), "`max_steps` must be a whole number >= 1"),
    ],
)
def test_bad_arguments_are_named(lip, change, text):
    make, fold, _ = lip
    given = dict(make=make, fold=fold, between=(1.0, -1.0)) | change
    of_fold = {key: given.pop(key) for key in ("kind", "vector", "returns") if key in given}
    if of_fold:
        given["fold"] = dataclasses.replace(fold, **of_fold)
    with pytest.raises((TypeError, ValueError), match=text):
        hx.dynamics.fold_curve(given.pop("make"), given.pop("fold"), given.pop("between"), **given)


def test_functions_of_another_number_of_parameters_are_named(lip):
    make, fold, curve = lip
    single = hx.dynamics.along(nf.plane(cusp, jnp.zeros(2)), "parameter[0]")
    with pytest.raises(TypeError, match="function of two numbers, .* is one of parameter"):
        hx.dynamics.fold_curve(single, fold, (1.0, 0.0))
    with pytest.raises(TypeError, match="function of one number, .* is one of parameter"):
        hx.dynamics.branch(make, fold.state, (1.0, 0.0))
    with pytest.raises(TypeError, match="a value for each of parameter"):
        make(1.0)
    with pytest.raises(ValueError, match="`names` must be one name"):
        hx.dynamics.along(nf.plane(cusp))
    branch = hx.dynamics.branch(single, fold.state, (-1.0, 0.0), max_steps=1)
    with pytest.raises(TypeError, match="only a curve of folds has a fold at every point"):
        branch.fold(0)
