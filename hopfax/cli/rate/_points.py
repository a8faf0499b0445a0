"""The theory of a rate memory at one point, and a simulation of it."""

from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hopfax as hx

from ...theory import rate

Kind: TypeAlias = Literal["logistic", "rectified_tanh", "hard_sigmoid", "threshold_linear"]
#: The activations by their names on the command line.
ACTIVATIONS: dict[Kind, Any] = {
    "logistic": hx.Logistic,
    "rectified_tanh": hx.RectifiedTanh,
    "hard_sigmoid": hx.HardSigmoid,
    "threshold_linear": hx.ThresholdLinear,
}
#: What a design is made of, in the order in which axes are drawn.
VALUES = ("gain", "threshold", "a", "b")
#: Values where nothing else is said, those of arXiv:2411.07388.
REFERENCE = {"gain": 4.8, "threshold": 0.2, "a": -0.3, "b": 0.95}
ACTIVITY = 0.2
#: How a memory is tested: each rate is moved by `NUDGE`, and after `HORIZON` all must be nearer.
NUDGE, HORIZON = 1e-3, 40.0
#: An eigenvalue so small that it changes a perturbation by less than e^4 in this time.
MARGINAL = 0.1


class Storage(eqx.Module):
    """Stability of the balanced set at activity q, over gain, threshold and both currents.

    A function that `hopfax.sweep` takes. With an `input` to the active neurons of a memory, `alone`
    says whether that leaves a single state of rest in the memory's plane.
    """

    kind: Kind = eqx.field(static=True)
    q: float = eqx.field(static=True)
    input: float | None = eqx.field(static=True)

    def __call__(self, gain: Any, threshold: Any, a: Any, b: Any) -> dict[str, Any]:
        """The outputs at one point."""
        phi = ACTIVATIONS[self.kind](gain, threshold)
        found = rate.phase(gain, threshold, a, b, self.q, ACTIVATIONS[self.kind])
        outputs = {
            "storage": found.storage.astype(jnp.int8),
            "eigenvalue": found.eigenvalue,
            "block": rate.stability(phi, a, b, self.q).block,
            "margin": found.margin,
            "kappa": found.kappa,
            "gamma": found.gamma,
        }
        if self.input is not None:
            alone = rate.globally_stable(phi, a, b, self.q, input_active=self.input).stable
            outputs["alone"] = alone & found.stable
        return outputs


class Perturbed(eqx.Module):
    """How far the rates are from memory 0 of the balanced set at the end, when they began at most
    `NUDGE` away from it; over gain, threshold and both currents.

    Neurons with the same memories are moved alike, at random: what is private decays anyway.
    """

    patterns: Any
    direction: jax.Array
    kind: Kind = eqx.field(static=True)

    def __init__(self, kind: Kind, q: float, N: int, seed: int = 0):
        self.patterns, self.kind = hx.patterns.balanced(q, N), kind
        weights = jr.normal(jr.key(seed), (self.patterns.P + 1,), self.patterns.dtype)
        direction = weights[0] + self.patterns.field(weights[1:])
        self.direction = direction / abs(direction).max()

    def run(self, ts: np.ndarray, gain: Any, threshold: Any, a: Any, b: Any) -> tuple[Any, Any]:
        """The run at one point, saved at `ts`, and the rates of memory 0."""
        phi = ACTIVATIONS[self.kind](gain, threshold)
        network = hx.RateMemory(self.patterns, a=a, b=b, activation=phi)
        memory = network.rescaled(np.eye(self.patterns.P)[0])
        nudge = jnp.asarray(NUDGE, memory.dtype)
        start = network.init(rates=jnp.maximum(memory + nudge * self.direction, 0.0))
        return hx.simulate(network, start, ts, throw=False), memory

    def __call__(self, gain: Any, threshold: Any, a: Any, b: Any) -> dict[str, Any]:
        """The outputs at one point."""
        run, memory = self.run(np.array([0.0, HORIZON]), gain, threshold, a, b)
        return {
            "distance": abs(run.final.rates - memory).max(),
            "status": run.status,
        }


class Nudged(eqx.Module):
    """The runs of `Perturbed`, as functions of time."""

    of: Perturbed

    def __call__(self, gain: Any, threshold: Any, a: Any, b: Any) -> hx.Trajectory:
        """The run at one point."""
        return self.of.run(np.linspace(0.0, HORIZON, 81), gain, threshold, a, b)[0]
