"""Memories inside a model."""

import equinox as eqx
import jax
import jax.numpy as jnp

import hopfax as hx


class Classifier(eqx.Module):
    """Pools a set of items and scores three classes."""

    pool: hx.nn.HopfieldPooling
    head: eqx.nn.Linear

    def __init__(self, *, key: jax.Array) -> None:
        first, second = jax.random.split(key)
        self.pool = hx.nn.HopfieldPooling(1, 2, 8, key=first)
        self.head = eqx.nn.Linear(8, 3, key=second)

    def __call__(self, items: jax.Array) -> jax.Array:
        pooled: jax.Array = self.pool(items)
        return self.head(pooled.reshape(-1))


model = Classifier(key=jax.random.key(0))
scores = jax.vmap(model)(jnp.ones((4, 5, 8)))
layer = hx.nn.HopfieldRetrieval(2, 8, steps=2, key=jax.random.key(1))
parameters, apply = hx.nn.to_functional(layer)
selection = hx.nn.ResidualSelection(3, 2, slots=2, key=jax.random.key(2))
state = selection.init()
