"""Observables of one state: functions `(t, state, network)` for `simulate(observe=...)`."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._errors import check_type
from .._types import ArrayLike, State
from ..networks import AbstractFlow, AbstractNetwork, Inputs, checked_inputs


def energy(
    t: ArrayLike, state: State, network: AbstractFlow, inputs: Inputs | None = None
) -> Float[Array, ""]:
    """The network's energy (`network.energy`) at the saliency of the state and without inputs, but
    for the stimulus where that sets the saliency, as in `InputDrivenHopfield`.

    The fast field descends it as far as the saliency stands still; NotImplementedError where there
    is none.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 100.0, 51)
    run = hx.simulate(network, start, ts, observe=hx.observables.energy)
    run.observed  # -24.16, -21.11, -18.36, ...
    ```
    """
    check_type(network, "network", AbstractNetwork, "a hopfax network")
    state, inputs = network.checked(state), checked_inputs(inputs)
    if network.stimulated != "required" or inputs.stimulus is None:
        return network.energy(state)
    return network.energy(state, Inputs(stimulus=inputs.stimulus))


def mixture(t: ArrayLike, state: State, network: AbstractFlow) -> Int[Array, ""]:
    r"""How many memories are mixed in the state: overlaps with $1/4 < |m| < 3/4$.

    The odd mixture $\mathrm{sgn}(\xi^1 + \xi^2 + \xi^3)$ of three orthogonal memories has overlap
    1/2 with each; it is stable for equal saliencies above 2, which gains near 5 reach.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    state = network.init(saliency=[2.5, 2.5, 2.5, 0.0], weights=[0.5, 0.5, 0.5, 0.0])
    hx.observables.mixture(0.0, state, network)  # 3
    ```
    """
    check_type(network, "network", AbstractNetwork, "a hopfax network")
    m = jnp.abs(network.overlaps(network.checked(state)))
    return jnp.sum((m > 0.25) & (m < 0.75), dtype=jnp.int32)
