"""Threshold-linear networks of any weights, which hold no memories but oscillate and compete."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._errors import as_float, check_at_least, check_finite, check_shape, filled
from ..._rate_activations import ThresholdLinear
from ..._types import ArrayLike, is_concrete
from ...patterns import Patterns
from .._base import Bound
from .._forms import AbstractForms, Core
from .._states import RateState
from ._family import AbstractRates, NoiseIn, check_noise_in, possible
from ._forms import RateSystem, carried
from ._unequal import time_constants, unequal_bounds
from ._wiring import Wiring


class WeightForms(AbstractForms):
    """All neurons: weights of their own make every one different."""

    def smallest(self, network, state, current, noise):
        """All neurons."""
        return "sites"

    def inexact(self, wanted, network, state, current, noise):
        """Only "sites" is exact."""
        if wanted in ("auto", "sites"):
            return None
        return f"a {type(network).__name__} has weights of its own for every neuron"

    def reduced(self, network, state, t0, stimulus, current, noisy, reduction):
        """The network's own equation, in the form of a rate network."""
        system = RateSystem(
            network=network,
            patterns=network.patterns,
            wiring=network.wiring(),
            stimulus=stimulus,
            current=current,
            rest=None,
            index=None,
            t0=t0,
        )
        quiet = jnp.zeros_like(state.rates) if noisy and carried(network) else None
        return system, Core(state.rates, None, quiet)

    def merged(self, network):
        """The network itself."""
        return network


class ThresholdLinearNetwork(AbstractRates):
    r"""A network of N threshold-linear neurons with any weights.

    $$\dot x = -x + [W x + b + u]_+$$

    Between the times at which neurons become active or silent it is linear, and up to 64 neurons
    are integrated exactly, from kink to kink. It has no stored memories: its `patterns` are the
    unit vectors, one for each neuron, so that overlaps are the rates, and the observables of
    sequences tell which neuron leads. `hopfax.theory.rate.threshold_linear_fixed_points` lists all
    its fixed points. Time is in units of the neurons' time constant.
    Hahnloser, Seung, Slotine, Neural Computation 15, 621 (2003).

    **Arguments:** `W`: the weights, (N, N), entry `[to, from]`. `b`: constant currents, (N,) or one
    number. `tau_rates`, `noise_in`: as of `RateMemory`; with time constants of their own neurons
    are integrated by diffrax.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    network = hx.ThresholdLinearNetwork.combinatorial(hx.cyclic(3))  # a cycle of three neurons
    start = network.init(rates=[0.3, 0.1, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 40.0, 81))
    run.switches.target[:6]  # 1, 2, 0, 1, 2, 0: they fire in turn
    ```
    """

    patterns: Patterns
    W: Float[Array, "N N"]
    b: Float[Array, " N"]
    tau_rates: Float[Array, "*#N"] | None
    noise_in: NoiseIn = eqx.field(static=True)
    forms = WeightForms()

    def __init__(
        self,
        W: ArrayLike,
        b: ArrayLike,
        *,
        tau_rates: ArrayLike | None = None,
        noise_in: NoiseIn = "rates",
    ):
        self.W = as_float(W, "W")
        if self.W.ndim != 2 or self.W.shape[0] != self.W.shape[1] or not self.W.size:
            raise ValueError(f"`W` must have shape (N, N) with N >= 1, got {self.W.shape}.")
        check_finite(self.W, "W")
        N = len(self.W)
        self.b = filled(as_float(b, "b", self.W.dtype), "b", (N,), "(N,)")
        check_finite(self.b, "b")
        self.patterns = Patterns(np.eye(N, dtype=self.W.dtype))
        self.tau_rates, self.noise_in = time_constants(tau_rates, self.patterns), noise_in
        check_noise_in(noise_in)
        for bound in unequal_bounds(self):
            check_at_least(bound.value, bound.name, 0.0, strict=True)

    @classmethod
    def combinatorial(
        cls,
        graph: ArrayLike,
        *,
        epsilon: ArrayLike = 0.25,
        delta: ArrayLike = 0.5,
        theta: ArrayLike = 1.0,
    ) -> "ThresholdLinearNetwork":
        r"""The combinatorial threshold-linear network of a directed graph.

        $$W_{ij} = -1 + \varepsilon \;\text{ if } j \to i, \qquad W_{ij} = -1 - \delta \;\text{ if
        not}, \qquad W_{ii} = 0, \qquad b_i = \theta.$$

        All neurons inhibit each other, along an edge less than elsewhere. Morrison, Degeratu,
        Itskov, Curto 2016, arXiv:1605.04463.

        **Arguments:**

        - `graph`: (N, N), entry `[to, from]` is 1 for an edge and 0 for none; 0 on the diagonal.
        - `epsilon`, `delta`: $\varepsilon, \delta > 0$ with $\varepsilon < \delta/(\delta + 1)$, so
          that two neurons with an edge in one direction alone have no joint stable state.
        - `theta`: $\theta > 0$.

        **Raises:** ValueError for anything else, where values are known.
        """
        edges = as_float(graph, "graph")
        if edges.ndim != 2 or edges.shape[0] != edges.shape[1]:
            raise ValueError(f"`graph` must have shape (N, N), got {edges.shape}.")
        if is_concrete(edges):
            known = np.asarray(edges)
            if not np.isin(known, (0, 1)).all() or np.diag(known).any():
                raise ValueError(
                    "`graph` must have entries 1 (an edge from column to row) and 0, and none from "
                    "a neuron to itself."
                )
        parts = {"epsilon": epsilon, "delta": delta, "theta": theta}
        numbers = {name: as_float(value, name, edges.dtype) for name, value in parts.items()}
        for name, value in numbers.items():
            check_shape(value, name, (), "()")
            check_at_least(value, name, 0.0, strict=True)
        eps, wide = numbers["epsilon"], numbers["delta"]
        if is_concrete(eps) and is_concrete(wide) and not eps < wide / (wide + 1):
            raise ValueError(
                f"`epsilon` must be below delta / (delta + 1) = {float(wide / (wide + 1)):.4g}, "
                f"but is {float(eps):.4g}."
            )
        W = jnp.where(edges > 0, eps - 1, -wide - 1)
        return cls(jnp.where(jnp.eye(len(edges), dtype=bool), 0.0, W), numbers["theta"])

    @property
    def activation(self) -> ThresholdLinear:
        """$[\\cdot]_+$."""
        return ThresholdLinear(1.0, 0.0)

    def init(self, *, rates: ArrayLike) -> RateState:
        """The state with these `rates` (N,), or one for all neurons."""
        rates = filled(as_float(rates, "rates", self.W.dtype), "rates", (len(self.W),), "(N,)")
        check_finite(rates, "rates")
        return RateState(possible(rates, "rates", "has entries"))

    def wiring(self) -> Wiring:
        """Overlaps that are the rates; the weights come in `drive`."""
        N, dtype = len(self.W), self.W.dtype
        eye, none = jnp.eye(N, dtype=dtype), jnp.zeros(N, dtype)
        zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
        return Wiring(one, N * eye, none, none, zero, eye, none)

    def drive(self, overlaps, saliency):
        """$W x$."""
        return self.W @ overlaps

    def constant(self):
        """$b$."""
        return self.b

    def resting(self, state):
        """What a state of rest is called: the neurons that fire in it, "support 0 2"."""
        firing = np.flatnonzero(np.asarray(state.rates) > 0)
        return f"support {' '.join(map(str, firing))}" if firing.size else "silent"

    def energy(self, state, inputs=None):
        """**Raises:** ValueError: the weights need not be symmetric."""
        raise ValueError(
            f"{type(self).__name__} has weights that are not symmetric in general, so it has no "
            "energy."
        )

    def for_theory(self):
        """Weights and constant currents.

        **Raises:** ValueError for time constants of their own, on which stability depends.
        """
        if self.tau_rates is not None:
            raise ValueError(
                "`network`: the theory is for time constants 1; leave out `tau_rates`."
            )
        return {"W": self.W, "b": self.b}

    def domain(self):
        """Weights and currents are finite, and the patterns the unit vectors."""
        yield Bound("W", self.W)
        yield Bound("b", self.b)
        yield from unequal_bounds(self)
        xi = self.patterns.xi
        if not is_concrete(xi):
            off = abs(xi - jnp.eye(len(xi), dtype=xi.dtype)).max()
            yield Bound("patterns.xi", -off, 0.0, label="distance from unit vectors, negative")
