"""Handwritten digits of which the lower half is erased: what was written there, and which digit?

`python -m hopfax.examples.digits [--seed 0] [--steps 600]` trains three memories on the 8 x 8
digits of scikit-learn (`pip install "hopfax[data]"`) and prints their accuracy and the error of the
pixels they complete beside those of two baselines, on digits that they have not seen. All see the
upper 32 pixels only.

- **retrieval**: `hx.nn.HopfieldRetrieval` from the training set itself: an upper half looks up
  whole digits and their labels. It learns by what it compares and how sharply; in training no digit
  may look up itself.
- **lookup**: `hx.nn.HopfieldLookup`, a table of 512 items that it learns.
- **dense**: `hx.nn.DenseMemoryLayer`, 512 memories of pixels and ten label units, all of them
  learned; the upper half is known, and the rest of the state completes itself in two steps.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._errors import missing
from .._interactions import Softmax
from ..nn import DenseMemoryLayer, HopfieldLookup, HopfieldRetrieval

SEEN, PIXELS, CLASSES = 32, 64, 10
MEMORIES = 512
#: A unit of the label; the scale of a pixel is near one, too.
UNIT = 2.0


class Digits(NamedTuple):
    """Images (n, 64), their mean zero and variance one over all pixels, and labels (n,)."""

    images: Float[Array, "n 64"]
    labels: Int[Array, " n"]


def load(key: PRNGKeyArray) -> tuple[Digits, Digits]:
    """1297 digits to learn from and 500 others, at random."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing("scikit-learn", "data", "The digits example") from error

    found: Any = load_digits()
    order = jr.permutation(key, len(found.target))
    images = jnp.asarray(found.data, jnp.float32)[order]
    images = (images - images.mean()) / images.std()
    labels = jnp.asarray(found.target)[order]
    return Digits(images[500:], labels[500:]), Digits(images[:500], labels[:500])


def with_labels(digits: Digits) -> Float[Array, "n 74"]:
    """Pixels and ten label units."""
    return jnp.concatenate(
        [digits.images, UNIT * jax.nn.one_hot(digits.labels, CLASSES, dtype=digits.images.dtype)],
        axis=1,
    )


class Retrieval(eqx.Module):
    """Completes from the training set: a mean over its digits and labels, weighted by how similar
    their upper halves are."""

    layer: HopfieldRetrieval

    def __init__(self, key: PRNGKeyArray):
        self.layer = HopfieldRetrieval(
            1,
            SEEN,
            value_size=PIXELS + CLASSES,
            qk_size=SEEN,
            beta=1.0,
            learn_beta=True,
            norms=("query", "memory"),
            projections=("query", "memory"),
            dtype=jnp.float32,
            key=key,
        )
        # To begin with, what is compared are the pixels.
        same = jnp.eye(SEEN, dtype=jnp.float32)
        self.layer = eqx.tree_at(
            lambda it: (it.query_proj.weight, it.memory_proj.weight), self.layer, (same, same)
        )

    def __call__(self, seen, train: Digits, itself):
        mask = jnp.arange(len(train.labels)) != itself
        return self.layer(seen, train.images[:, :SEEN], with_labels(train), mask=mask)


class Lookup(eqx.Module):
    """Completes from a table of halves, digits and labels, all learned."""

    layer: HopfieldLookup

    def __init__(self, key: PRNGKeyArray):
        self.layer = HopfieldLookup(
            MEMORIES,
            1,
            SEEN,
            value_size=PIXELS + CLASSES,
            beta=0.2,
            learn_beta=True,
            separate_values=True,
            norms=(),
            projections=(),
            dtype=jnp.float32,
            key=key,
        )

    def __call__(self, seen, train: Digits, itself):
        return self.layer(seen)


class Dense(eqx.Module):
    """Completes its own state, which holds pixels and label units, while the seen pixels stay."""

    layer: DenseMemoryLayer

    def __init__(self, key: PRNGKeyArray):
        beta = Softmax(jnp.float32(0.3))
        self.layer = DenseMemoryLayer(
            MEMORIES, PIXELS + CLASSES, interaction=beta, steps=2, dtype=jnp.float32, key=key
        )

    def __call__(self, seen, train: Digits, itself):
        start = jnp.zeros(PIXELS + CLASSES, seen.dtype).at[:SEEN].set(seen)
        return self.layer(start, jnp.arange(PIXELS + CLASSES) < SEEN)


#: How each model is made, and its learning rate.
MODELS: dict[str, tuple[Callable[[PRNGKeyArray], eqx.Module], float]] = {
    "retrieval": (Retrieval, 0.003),
    "lookup": (Lookup, 0.03),
    "dense": (Dense, 0.03),
}


def loss(model, batch: Digits, train: Digits, itself) -> Float[Array, ""]:
    """Squared error of the erased pixels, and cross-entropy of the label."""
    found = jax.vmap(model, (0, None, 0))(batch.images[:, :SEEN], train, itself)
    error = jnp.mean((found[:, SEEN:PIXELS] - batch.images[:, SEEN:]) ** 2)
    logits = 5 / UNIT * found[:, PIXELS:]  # up to 5 apart
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    return error + entropy.mean()


def trained(model, train: Digits, steps: int, rate: float, key: PRNGKeyArray):
    """The model after `steps` of Adam on batches of 64."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def all_steps(model, state, train):
        dynamic, static = eqx.partition(model, eqx.is_inexact_array)

        def step(carry, key):
            dynamic, state = carry
            rows = jr.randint(key, (64,), 0, len(train.labels))
            batch = Digits(train.images[rows], train.labels[rows])
            gradient = jax.grad(
                lambda it: loss(eqx.combine(it, static), batch, train, rows),
            )(dynamic)
            with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
                updates, state = optimizer.update(gradient, state, dynamic)
            return (optax.apply_updates(dynamic, updates), state), None

        (dynamic, _), _ = jax.lax.scan(step, (dynamic, state), jr.split(key, steps))
        return eqx.combine(dynamic, static)

    return all_steps(model, state, train)


@eqx.filter_jit
def scores(model, test: Digits, train: Digits) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Accuracy, and the root mean squared error of the erased pixels."""
    nothing = jnp.full(len(test.labels), -1)
    found = jax.vmap(model, (0, None, 0))(test.images[:, :SEEN], train, nothing)
    right = found[:, PIXELS:].argmax(1) == test.labels
    error = jnp.sqrt(jnp.mean((found[:, SEEN:PIXELS] - test.images[:, SEEN:]) ** 2))
    return right.mean(dtype=jnp.float32), error


def baselines(train: Digits, test: Digits) -> dict[str, dict[str, float]]:
    """The nearest neighbour; logistic and linear regression."""
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    seen, unseen = (digits.images[:, :SEEN].tolist() for digits in (train, test))
    lower, labels = train.images[:, SEEN:].tolist(), train.labels.tolist()
    found = {}
    for name, classifier, regressor in (
        ("nearest", KNeighborsClassifier(1), KNeighborsRegressor(1)),
        ("regression", LogisticRegression(max_iter=1000), LinearRegression()),
    ):
        said = jnp.asarray(classifier.fit(seen, labels).predict(unseen))
        drawn = jnp.asarray(regressor.fit(seen, lower).predict(unseen), jnp.float32)
        error = jnp.sqrt(jnp.mean((drawn - test.images[:, SEEN:]) ** 2))
        right = (said == test.labels).mean(dtype=jnp.float32)
        found[name] = {"accuracy": float(right), "error": float(error)}
    return found


def run(seed: int = 0, steps: int = 600) -> dict[str, dict[str, float]]:
    """Accuracy and error of the completed pixels (in standard deviations) of all, by name."""
    keys = jr.split(jr.key(seed), 1 + 2 * len(MODELS))
    train, test = load(keys[0])
    found = baselines(train, test)
    for number, (name, (make, rate)) in enumerate(MODELS.items()):
        model = trained(make(keys[1 + 2 * number]), train, steps, rate, keys[2 + 2 * number])
        accuracy, error = scores(model, test, train)
        found[name] = {"accuracy": float(accuracy), "error": float(error)}
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Train all models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args(argv)
    if given.steps < 1:
        parser.error(f"argument --steps: must be at least 1, got {given.steps}")
    print(f"{'':<12} {'accuracy':>8} {'error':>8}")
    for name, numbers in run(given.seed, given.steps).items():
        print(f"{name:<12} {numbers['accuracy']:8.3f} {numbers['error']:8.3f}")


if __name__ == "__main__":
    main()
