"""The state of a dense memory."""

import equinox as eqx
from jaxtyping import Array, Float

from ..._report import Reported
from ..._types import PerNeuron


class SpinState(Reported, eqx.Module):
    """The state of a dense memory: `spins` (N,), +-1 or graded. `past`: what a `DenseSequence`
    remembers of earlier ones; of a `DenseMemory` None.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    state = memory.init(memory.patterns.pattern(0))
    state.spins.shape  # (16,)
    ```
    """

    spins: PerNeuron
    past: Float[Array, "*T N"] | None = None
