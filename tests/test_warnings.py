"""Warnings: at the user's line, from whatever depth, and without touching the process's filters."""

import threading
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import ROOT

import hopfax as hx
from hopfax._errors import hushed, warn

TWINS = [[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]


class Slope(eqx.Module):
    """A model of one number."""

    slope: jax.Array


def many_patterns():
    """More patterns than neurons, which a run warns of."""
    patterns = hx.Patterns([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0)
    hx.simulate(network, network.init(saliency=[1.0, 0.0, 0.0]), [0.0, 1.0])


def failing_sweep():
    hx.sweep(hx.theory.sequential.fixed_points, {"kappa": [5.0, np.nan]}, progress=False)


def flat_fit(callback=None):
    options = dict(where=lambda m: m.slope, optimizer=optax.adam(0.1), progress=False)
    hx.fit(Slope(jnp.ones(3)), lambda m: 1.0 + 0.0 * m.slope.sum(), callback=callback, **options)


def inside_a_fit():
    """Another of the user's functions, which hopfax calls."""
    flat_fit(lambda progress: hx.Patterns(TWINS) is None)


@pytest.mark.parametrize(
    ("call", "category"),
    [
        (lambda: hx.Patterns(TWINS), hx.PhysicsWarning),
        (lambda: hx.Patterns(np.asarray(TWINS), binary=True), hx.PhysicsWarning),
        (lambda: hx.patterns.active([TWINS[0], TWINS[0]]), hx.PhysicsWarning),
        (many_patterns, hx.PhysicsWarning),
        (failing_sweep, hx.SweepWarning),
        (flat_fit, hx.FitWarning),
        (inside_a_fit, hx.PhysicsWarning),
    ],
)
def test_a_warning_names_the_line_of_the_user(call, category):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    found = [w for w in caught if issubclass(w.category, category)]
    assert found and {w.filename for w in found} == {__file__}


def test_a_worker_thread_has_no_such_line_and_warns_all_the_same():
    with pytest.warns(UserWarning, match="from a thread"):
        thread = threading.Thread(target=warn, args=("from a thread", UserWarning))
        thread.start()
        thread.join()


def test_hushed_is_for_one_thread_and_one_category():
    def other():
        warn("from another thread", hx.FitWarning)

    with pytest.warns(UserWarning) as caught:
        with hushed(hx.FitWarning):
            filters = list(warnings.filters)
            warn("not said", hx.FitWarning)
            warn("of another kind", hx.PhysicsWarning)
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert filters == warnings.filters
        warn("later", hx.FitWarning)
    assert [str(w.message) for w in caught] == ["of another kind", "from another thread", "later"]


def test_all_warnings_go_by_that_one_helper():
    wrong = []
    for file in (ROOT / "hopfax").rglob("*.py"):
        text = file.read_text()
        if "warnings.warn(" in text or "stacklevel" in text:
            wrong.append(str(file))
    assert not wrong, f"use hopfax._errors.warn, which finds the user's line: {wrong}"
