"""Dense associative memory in continuous time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._activations import AbstractActivation, HardTanh
from ..._errors import as_float, check_at_least, check_finite, check_shape, filled, shown
from ..._interactions import AbstractInteraction, Softmax
from ..._types import ArrayLike
from ...patterns import Patterns
from .._base import Bound
from .._field import AbstractHopfield, activation_bounds, check_options, start
from .._states import FieldState, Inputs
from ._domain import interaction_bounds


class DenseFlow(AbstractHopfield):
    r"""A dense associative memory in continuous time, with a layer of hidden units, one a memory:

    $$\dot x = -x + \sum_\mu f_\mu(w)\, \xi^\mu + I, \qquad \tau_h \dot w = -w + m, \qquad
    m_\mu = \xi^\mu \cdot \psi(x) / N.$$

    $f = \partial L / \partial w$ with the interaction's Lagrangian: $f_\mu = w_\mu^{n-1}$ for
    `Power(n)`, $\mathrm{softmax}_\mu(\beta N w)$ for `Softmax(beta)`. Without `tau_hidden` the
    hidden units follow at once, $w = m$. Then $f_\mu = s_\mu m_\mu$ with $s_\mu = f(m_\mu)/m_\mu$:
    a Hopfield network with saliencies that the *state* sets. `InputDrivenHopfield` takes them from
    the stimulus instead; `Power(3)` is that network with its own state as stimulus, `Quadratic()`
    is `Hopfield`. Time is in units of the neurons' time constant. With every reduction of
    `hopfax.simulate`, the cost does not depend on N while memories are few. With random ones in
    proportion to $N^{n-1}$ all neurons are followed, with $\xi$ stored and P N operations an
    evaluation; the exact theory of that is `hopfax.theory.dense.solve_flow`.
    Krotov, Hopfield 2021, arXiv:2008.06996.

    **Arguments:**

    - `patterns`: stored memories (`Patterns`).
    - `interaction`: one with graded states: not `ManyBody`, `Simplicial`.
    - `activation`: the pointwise $\psi$.
    - `tau_hidden`: $\tau_h > 0$; the state's `saliency` is then $w$.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.DenseFlow(patterns, hx.Power(3), activation=hx.Tanh(2.0))
    cue = network.init(weights=[0.8, 0.3, 0.0, 0.0])
    hx.simulate(network, cue, jnp.array([0.0, 20.0])).overlaps[-1]  # 0.946, 0, 0, 0
    ```
    """

    patterns: Patterns
    interaction: AbstractInteraction
    activation: AbstractActivation
    tau_hidden: Float[Array, ""] | None
    learning = "hebbian"
    keep_diagonal = True

    def __init__(
        self,
        patterns: Patterns,
        interaction: AbstractInteraction,
        *,
        activation: AbstractActivation = HardTanh(),
        tau_hidden: ArrayLike | None = None,
    ):
        self.patterns, self.interaction, self.activation = patterns, interaction, activation
        if not isinstance(interaction, AbstractInteraction):
            raise TypeError(
                f"`interaction` must be one such as Power(3), got {shown(interaction)}."
            )
        check_options(self, signed=not isinstance(interaction, Softmax))
        self.tau_hidden = None
        if tau_hidden is not None:
            self.tau_hidden = as_float(tau_hidden, "tau_hidden", patterns.dtype)
            check_shape(self.tau_hidden, "tau_hidden", (), "()")
            check_at_least(self.tau_hidden, "tau_hidden", 0.0, strict=True)
        interaction.lagrangian(jnp.zeros(1, patterns.dtype), 1)  # speaks up if there is none

    def init(
        self,
        *,
        field: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        saliency: ArrayLike | None = None,
    ) -> FieldState:
        r"""The state with this `field` (N,), or with $x = \sum_\mu$ `weights`$_\mu \xi^\mu$; with
        `tau_hidden` and hidden units w at `saliency` (P,) (default: where they rest, $w = m$)."""
        state = start(self, field, weights, None)
        if self.tau_hidden is None:
            if saliency is not None:
                raise ValueError(
                    "`saliency`, the hidden units, needs `tau_hidden` to have dynamics."
                )
            return state
        w = self.overlaps(state) if saliency is None else saliency
        w = as_float(w, "saliency", self.patterns.dtype)
        w = filled(w, "saliency", (self.patterns.P,), "(P,)")
        check_finite(w, "saliency")
        return FieldState(state.field, w, state.weights)

    def crowded(self):
        """Forces of order 3 and above hold more memories than neurons."""
        linear = getattr(self.interaction, "order", None) == 2
        return linear and self.patterns.P > self.patterns.N

    def saliency(self, slow, evidence):
        """The hidden units, where they have dynamics."""
        return slow

    def recurrent(self, overlaps, saliency):
        """$f(w)$."""
        w = overlaps if saliency is None else saliency
        return jax.grad(self.interaction.lagrangian)(w, self.patterns.size)

    def slow_constant(self):
        r"""$\tau_h$."""
        return self.tau_hidden

    def slow_rate(self, overlaps, slow):
        r"""$\dot w$."""
        if slow is None or self.tau_hidden is None:
            return None
        return (overlaps - slow) / self.tau_hidden

    def energy(self, state: FieldState, inputs: Inputs | None = None) -> Float[Array, ""]:
        r"""The energy that the flow descends where L is convex:

        $$E = \sum_i \int_0^{\psi(x_i)} \psi^{-1}(s)\, ds - I \cdot \psi(x) +
        N [(w - m) \cdot f(w) - L(w)],$$

        with $w = m$ for fast hidden units. Krotov, Hopfield 2021, arXiv:2008.06996, eq. 2.
        """
        inputs = Inputs() if inputs is None else inputs
        rates = self.activation(state.field)
        m = self.patterns.overlap(rates)
        w = m if state.saliency is None else state.saliency
        density = self.patterns.mean(self.activation.potential(state.field))
        lagrangian = self.interaction.lagrangian(w, self.patterns.size)
        density = density + ((w - m) * self.recurrent(m, w)).sum() - lagrangian
        if inputs.current is not None:
            density = density - self.patterns.mean(inputs.current * rates)
        return self.patterns.size * density

    def domain(self):
        """Time constant, gain and the interaction's own parameter are positive."""
        yield from interaction_bounds(self.interaction)
        if self.tau_hidden is not None:
            yield Bound("tau_hidden", self.tau_hidden, 0.0, True)
        yield from activation_bounds(self.activation)
