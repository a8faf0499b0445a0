"""The state of a dense memory."""

import equinox as eqx

from ..._report import Reported
from ..._types import PerNeuron


class SpinState(Reported, eqx.Module):
    """The state of a dense memory: `spins` (N,), +-1 or graded.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    state = memory.init(memory.patterns.pattern(0))
    state.spins.shape  # (16,)
    ```
    """

    spins: PerNeuron
