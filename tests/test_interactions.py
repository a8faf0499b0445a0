"""Interactions against their definitions, written out."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from helpers import assert_close
from hypothesis import given, settings, strategies as st

import hopfax as hx

ALL = zoo.interactions()
SIGNS_ONLY = ("ManyBody", "Simplicial")


def symmetric(values, k):
    """e_k by enumeration."""
    return sum(math.prod(chosen) for chosen in itertools.combinations(values, k))


def potential(interaction, values):
    """F of the entries xi_i h_i, from the definition of every class."""
    X, N = sum(values), len(values)
    match interaction:
        case hx.Quadratic():
            return X**2 / 2
        case hx.Power(order=n):
            return X**n
        case hx.RectifiedPower(order=n):
            return max(X, 0) ** n
        case hx.ManyBody(order=n):
            return math.factorial(n) * symmetric(values, n)
        case hx.Polynomial(weights=weights):
            n = max(weights)
            return sum(float(b) * N ** ((n - k) / 2) * X**k for k, b in weights.items())
        case hx.Simplicial(weights=weights):
            n = max(weights)
            return sum(
                float(b) * math.factorial(k) * N ** ((n - k) / 2) * symmetric(values, k)
                for k, b in weights.items()
            )
        case hx.Epanechnikov(beta=beta):  # X is minus half a squared distance
            return max(1 + float(beta) * X, 0)
        case hx.Exponential(rate=rate):
            return math.exp(float(rate) * X)
        case hx.Softmax(beta=beta):
            return math.exp(float(beta) * X)


EVERY = pytest.mark.parametrize("name", list(ALL))


@EVERY
@settings(max_examples=25, deadline=None)
@given(signs=st.lists(st.sampled_from([-1, 1]), min_size=2, max_size=10))
def test_potential_is_the_definition(name, signs):
    X = jnp.asarray(float(sum(signs)))
    found = ALL[name].potential(X, len(signs))
    expected = float(potential(ALL[name], signs))
    assert_close(found, expected, 1e-12 * (1 + abs(expected)), "rounding")


@pytest.mark.parametrize("order", range(2, 7))
@settings(max_examples=10, deadline=None)
@given(signs=st.lists(st.sampled_from([-1, 1]), min_size=2, max_size=9))
def test_n_body_forces_are_sums_over_sets_of_other_neurons(order, signs):
    N = len(signs)
    y = jnp.asarray(float(sum(signs[1:])))
    expected = math.factorial(order - 1) * symmetric(signs[1:], order - 1)
    assert float(hx.ManyBody(order).force(y, N)) == expected  # integers
    mixture = hx.Simplicial({order: 0.5, 1: 2.0})
    both = 0.5 * expected + 2.0 / order * N ** ((order - 1) / 2)
    assert_close(mixture.force(y, N), both, 1e-12 * (1 + abs(both)), "rounding")


@EVERY
def test_the_exact_force_is_the_leading_one_in_large_networks(name):
    """F(y + 1) - F(y - 1) -> 2 r f(y), with relative error O(1/y)."""
    interaction = ALL[name]
    N, y = 10_000, jnp.asarray([3000.0, 5000.0])
    if interaction.exponential:  # there a constant factor, sinh(rate)/rate
        N, y = 100, jnp.asarray([20.0, 30.0])
    exact = interaction.potential(y + 1, N) - interaction.potential(y - 1, N)
    leading = interaction.force(y, N)
    if interaction.exponential:
        rate = float(interaction.reduction())
        assert_close(exact / jnp.exp(leading), jnp.full(2, 2 * math.sinh(rate)), 1e-12, "rounding")
    else:
        ratio = exact / (2 * interaction.reduction() * leading)
        assert_close(ratio, jnp.ones(2), 1e-6, "1/y^2 for the third order")


@EVERY
def test_the_gradient_of_the_lagrangian_is_the_force(name):
    interaction = ALL[name]
    m = jnp.asarray([0.8, -0.3, 0.1])
    if name in SIGNS_ONLY or name == "Epanechnikov":
        words = "states of \\+-1 only" if name in SIGNS_ONLY else "function of distances"
        with pytest.raises(ValueError, match=words):
            interaction.lagrangian(m, 100)
        return
    N = 100
    found = jax.grad(interaction.lagrangian)(m, N)
    force = interaction.force(m * N, N)
    if name == "Softmax":
        expected = jnp.exp(force) / jnp.exp(force).sum()
    elif name == "Exponential":
        expected = jnp.exp(force - interaction.force(jnp.asarray(float(N)), N))
    else:
        expected = force / interaction.scale(N)
    assert_close(found, expected, 1e-12, "rounding")


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hx.Power(1), "`order` must be a whole number >= 2"),
        (lambda: hx.Power(2.5), "`order` must be a whole number"),
        (lambda: hx.ManyBody(True), "`order` must be a whole number"),
        (lambda: hx.Exponential(0.0), "`rate` must be > 0"),
        (lambda: hx.Softmax(-1.0), "`beta` must be > 0"),
        (lambda: hx.RectifiedPower("3"), "`order` must hold real numbers"),
        (lambda: hx.RectifiedPower(1.5), "`order` must be a finite number >= 2"),
        (lambda: hx.Softmax([1.0, 2.0]), "`beta` must have shape"),
        (lambda: hx.Simplicial({}), "`weights` must be a dict"),
        (lambda: hx.Simplicial({3: 1.0, "a": 2.0}), "`order` must be a whole number"),
        (lambda: hx.Simplicial({1: 1.0}), "`order` must be a whole number >= 2"),
        (lambda: hx.Simplicial({3: np.nan}), "weights"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
