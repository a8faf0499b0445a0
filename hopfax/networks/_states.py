"""States of networks in continuous time, and what reaches them from outside."""

from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._report import Reported
from .._types import PerNeuron, PerPattern, State


class Inputs(NamedTuple):
    """What reaches the neurons at one moment: `stimulus` sets saliency, `current` is added.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.InputDrivenHopfield(patterns)
    inputs = hx.Inputs(stimulus=2.0 * patterns.xi[0])
    network.saliencies(network.init(weights=[1.0, 0.0, 0.0, 0.0]), inputs)  # 2, 0, 0, 0
    ```
    """

    stimulus: PerNeuron | None = None
    current: PerNeuron | None = None


def neurons_of(state: State) -> PerNeuron:
    """One number a neuron: the first array of a state."""
    return jax.tree.leaves(state)[0]


class FieldState(Reported, eqx.Module):
    r"""State of a Hopfield network.

    - `field`: $x$, one value a neuron.
    - `saliency`: $z$, one value a memory, where it is part of the dynamics; else None.
    - `trace`: what slow synapses remember of the overlaps, (stages, P); else None.
    - `weights`: $y$ with $x = \sum_\mu y_\mu \xi^\mu$ where the field is known to lie in the span
      of the patterns, else None. It says what `field` says, in P numbers, and exact reductions rely
      on it (and then ignore `field`): to change the field, make a new state with `network.init`.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    state = network.init(weights=[0.5, 0.0, 0.0, 0.0])
    state.field.shape, state.weights  # (16,); 0.5, 0, 0, 0
    ```
    """

    field: PerNeuron
    saliency: PerPattern | None = None
    weights: PerPattern | None = None
    trace: Float[Array, "S P"] | None = None

    @property
    def neurons(self) -> PerNeuron:
        """One number a neuron: the field."""
        return self.field


class RateState(Reported, eqx.Module):
    r"""State of a firing-rate network.

    - `rates`: $x \ge 0$, one firing rate a neuron.
    - `saliency`: $z$, one value a memory, where it is part of the dynamics; else None.
    - `inhibition`: the rate of the inhibitory unit, where there is one; else None.

    **Example:**

    ```python
    network = hx.RateMemory(hx.patterns.sunflower(3, 0.25, 0.5, 16))
    network.init(weights=[1.0, 0.0, 0.0]).rates.shape  # 16
    ```
    """

    rates: PerNeuron
    saliency: PerPattern | None = None
    inhibition: Float[Array, ""] | None = None

    @property
    def neurons(self) -> PerNeuron:
        """One number a neuron: the rate."""
        return self.rates
