"""A layer of hopfax, held by a Flax NNX module."""

from typing import Any

import equinox as eqx

from ..._errors import missing
from .._functional import opened

try:
    from flax import nnx
except ImportError as error:  # pragma: no cover
    raise missing("flax", "flax", "hopfax.nn.flax") from error


class Layer(nnx.Module):
    """Any layer of `hopfax.nn` inside a Flax NNX model.

    Its floating arrays are `nnx.Param`s in `parameters`, so that optimisers, `nnx.state`,
    `nnx.split` and checkpoints see them. Like the layer itself it takes one example: batch it by
    `nnx.vmap` (or by `jax.vmap` over what closes over the model). `model.eval()` puts a layer that
    draws into inference mode, and `model.train()` back: by the attribute `deterministic`.

    What the layer has is also had here, with the present parameters: `memory.beta`,
    `memory.init()`, `memory.step(state, u)`; `memory.layer` is the layer itself. They are to be
    read; a name that Flax has, too, is Flax's.

    **Arguments:** `layer`: an `equinox.Module`; its values are where training starts.

    **Example:**

    ```python
    from flax import nnx
    from hopfax.nn.flax import Layer


    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Linear(3, 16, rngs=rngs, param_dtype=float)
            self.memory = Layer(hx.nn.HopfieldLookup(64, 4, 16, key=rngs.params()))

        def __call__(self, x):
            return self.memory(self.embed(x))


    model = Model(nnx.Rngs(0))
    model(jnp.ones((2, 3))).shape  # two queries: (2, 16)
    model.memory.retrieval.beta  # 0.5
    ```
    """

    def __init__(self, layer: eqx.Module):
        parameters, self._made = opened(layer)
        self._inferring = opened(eqx.nn.inference_mode(layer))[1]
        self.deterministic = False  # as in Flax's Dropout, for `nnx.Module.eval` to set
        self.parameters = nnx.Dict({name: nnx.Param(x) for name, x in parameters.items()})

    @property
    def layer(self) -> Any:
        """The layer with the present parameters."""
        # Not by `items`: `nnx.tabulate` puts an integer beside them and methods inside `jax.jit`.
        parameters = {name: self.parameters[name][...] for name in self._made.names}
        return (self._inferring if self.deterministic else self._made)(parameters)

    def __call__(self, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        """What the layer returns, or one of its other methods."""
        return getattr(self.layer, method)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Flax makes modules without __init__, and asks for names of its own.
        if name.startswith("_") or name in ("layer", "parameters"):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        layer = self.layer
        try:
            return getattr(layer, name)
        except AttributeError as error:
            kind = type(layer).__name__
            raise AttributeError(f"neither Layer nor its {kind} has {name!r}", name=name) from error
