"""A layer of hopfax, held by a Flax NNX module."""

from typing import Any

import equinox as eqx

from ..._errors import missing
from .._functional import to_functional

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


    Model(nnx.Rngs(0))(jnp.ones((2, 3))).shape  # two queries: (2, 16)
    ```
    """

    def __init__(self, layer: eqx.Module):
        parameters, self._apply = to_functional(layer)
        self._infer = to_functional(eqx.nn.inference_mode(layer))[1]
        self.deterministic = False  # as in Flax's Dropout, for `nnx.Module.eval` to set
        self.parameters = nnx.Dict({name: nnx.Param(x) for name, x in parameters.items()})

    def __call__(self, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        """What the layer returns; `method="step"` and the like reach its other methods."""
        parameters = {name: parameter[...] for name, parameter in self.parameters.items()}
        apply = self._infer if self.deterministic else self._apply
        return apply(parameters, *args, method=method, **kwargs)
