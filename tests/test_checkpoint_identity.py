"""A checkpoint answers for its own fit alone: for its data, functions and settings."""

import functools
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hopfax as hx
from hopfax._fit._checkpoint import identity

SCALE = np.array([1.0, 2.0])


def of(value):
    return identity({"fit": value})


def same(a, b):
    return of(a) == of(b)


def over(times, power=2):
    """A loss that closes over its data."""

    def loss(model):
        return jnp.sum((model - times) ** power)

    return loss


def power(model, exponent=2, *, shift=0.0):
    return jnp.sum((model - shift) ** exponent)


def by_global(model):
    return model * SCALE


def by_helper(model):
    return by_global(model)


class Callable:
    """An object with state that is no dataclass."""

    def __init__(self, times):
        self.times = times

    def __call__(self, model):
        return model - self.times

    def method(self, model):
        return model + self.times


class Slotted:
    __slots__ = ("times",)

    def __init__(self, times):
        self.times = times

    def __call__(self, model):
        return model - self.times


class Field(eqx.Module):
    times: jax.Array

    def __call__(self, model):
        return model - self.times


def classes(body):
    """Two classes of one name that differ in a method."""

    class Loss(eqx.Module):
        def __call__(self, model):
            return body(model)

    return Loss()


A, B = np.array([30.0, 60.0]), np.array([33.0, 63.0])
PAIRS = {
    "an array in a closure": lambda x: over(x),
    "an array inside a list in a closure": lambda x: over([x]),
    "a closure in a closure": lambda x: lambda model: over(x)(model),
    "a default": lambda x: lambda model, times=x: model - times,
    "a partial": lambda x: functools.partial(power, shift=x),
    "a jitted closure": lambda x: jax.jit(over(x)),
    "a filter_jitted closure": lambda x: eqx.filter_jit(over(x)),
    "an object": Callable,
    "a method": lambda x: Callable(x).method,
    "an object with slots": Slotted,
    "a module": lambda x: Field(jnp.asarray(x)),
    "data of a library loss": lambda x: hx.losses.switch_times(x, init=dict(saliency=[4.0, 0.0])),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_data_that_a_loss_carries_count(kind):
    make = PAIRS[kind]
    assert same(make(A), make(A.copy()))
    assert not same(make(A), make(B))


@pytest.mark.parametrize(
    "first, second",
    [
        (lambda m: m + 1.0, lambda m: m + 2.0),
        (lambda m: jnp.sin(m), lambda m: jnp.cos(m)),
        (lambda m: m + m, lambda m: m * m),
        (lambda m: [k for k in (m, 1)], lambda m: [k for k in (m, 2)]),
        (over(A), over(A, 3)),
        (classes(lambda m: m), classes(lambda m: -m)),
        (lambda m, n=1: m, lambda m, n=2: m),
    ],
)
def test_the_code_of_a_function_counts(first, second):
    assert not same(first, second)


def test_what_a_function_names_counts(monkeypatch):
    before = of(by_helper)
    assert of(by_helper) == before
    monkeypatch.setitem(globals(), "SCALE", np.array([1.0, 3.0]))
    assert of(by_helper) != before
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "by_global", lambda model: model)
    assert of(by_helper) != before


@pytest.mark.parametrize(
    "first, second",
    [
        (optax.adam(0.05), optax.adam(0.06)),
        (optax.adam(0.05), optax.adam(0.05, b1=0.8)),
        (optax.adam(0.05), optax.sgd(0.05)),
        (
            optax.chain(optax.clip(1.0), optax.sgd(0.1)),
            optax.chain(optax.clip(2.0), optax.sgd(0.1)),
        ),
        (
            optax.adam(optax.exponential_decay(0.1, 10, 0.5)),
            optax.adam(optax.exponential_decay(0.1, 10, 0.6)),
        ),
    ],
)
def test_settings_of_an_optimiser_count(first, second):
    assert not same(first, second)
    assert same(optax.adam(0.05), optax.adam(0.05))


@pytest.mark.parametrize("what", [threading.Lock(), np.random.default_rng(0), iter([1])])
def test_what_cannot_be_told_apart_is_refused_by_name(what):
    def loss(model, hidden=what):
        return model

    with pytest.raises(TypeError, match=r"`fit\.defaults\[0\]` is a .*`data=`.*eqx\.Module"):
        of(loss)


def test_functions_that_name_themselves_or_each_other_end():
    def down(model, k=3):
        return model if k == 0 else up(model, k - 1)

    def up(model, k):
        return down(model, k)

    assert same(down, down) and not same(down, up)


def test_a_finished_checkpoint_is_not_given_for_other_data(tmp_path):
    """The fault: other times, or another rate of learning, and the old result came back."""
    file = tmp_path / "fit.ckpt"
    model = dict(x=jnp.array([1.0, 2.0]))

    def fit(times, rate=0.1):
        loss = lambda m: jnp.sum((m["x"] - times) ** 2)  # noqa: E731
        options = dict(optimizer=optax.adam(rate), steps=20, checkpoint=file, progress=False)
        return hx.fit(model, loss, where=lambda m: m["x"], **options)

    found = fit(A)
    assert fit(A.copy()).loss == found.loss  # the same fit in all but the identity of objects
    with pytest.raises(hx.ConfigMismatch, match=r"another fit.*times.*30.*33"):
        fit(B)
    with pytest.raises(hx.ConfigMismatch, match="another fit.*optimizer"):
        fit(A, 0.2)
    with pytest.raises(TypeError, match="`fit.problem.loss.lock` is a lock.*`data=`"):
        lock = threading.Lock()
        hx.fit(
            model,
            lambda m: jnp.sum(m["x"] ** 2) + 0 * (lock is None),
            where=lambda m: m["x"],
            optimizer=optax.adam(0.1),
            checkpoint=file,
            progress=False,
        )
