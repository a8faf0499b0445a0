"""Input-driven plasticity: the stimulus shapes the landscape instead of pushing the state."""

import equinox as eqx

from ..._activations import AbstractActivation, HardTanh
from ..._types import ArrayLike
from ...patterns import Patterns
from .._base import without_stimulus
from .._field import (
    AbstractQuadraticHopfield,
    Learning,
    check_options,
    shared_bounds,
    start,
)
from .._states import FieldState


class InputDrivenHopfield(AbstractQuadraticHopfield):
    r"""A Hopfield network whose couplings follow the stimulus $u$ (input-driven plasticity).

    $$\dot x = -x + \sum_\mu \alpha_\mu(u)\, m_\mu\, \xi^\mu + I(t), \qquad
    \alpha_\mu(u) = \xi^\mu \cdot u / N.$$

    The stimulus $u$ deepens the wells of the memories it resembles; the additive current $I$ is
    kept apart. For orthogonal memories $u = \sum_\mu c_\mu \xi^\mu$ gives $\alpha = c$, and a
    memory is retrieved iff $\alpha_\mu \psi'(0) > 1$; in general $\alpha = C c$ with the Gram
    matrix $C$.
    Betteti, Baggio, Bullo, Zampieri, Science Advances 2025, arXiv:2411.05849.

    **Arguments:** as in `Hopfield`, but `activation` is `HardTanh()` by default, of gain 1. At this
    gain a memory as stimulus, $u = \xi^\mu$, is just too weak; take $2 \xi^\mu$. The published
    simulations use `Tanh(10.0)` and `keep_diagonal=False`.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.InputDrivenHopfield(patterns)
    cue = network.init(weights=[0.3, 0.3, 0.0, 0.0])
    stimulus = patterns.field(jnp.array([2.0, 1.2, 0.0, 0.0]))
    run = hx.simulate(network, cue, jnp.array([0.0, 20.0]), stimulus=stimulus)
    run.overlaps[-1]  # 1, 0, 0, 0: the stimulus made the first well deeper
    ```
    """

    patterns: Patterns
    activation: AbstractActivation
    learning: Learning = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)
    stimulated = "required"

    def __init__(
        self,
        patterns: Patterns,
        *,
        activation: AbstractActivation = HardTanh(),
        learning: Learning = "hebbian",
        keep_diagonal: bool = True,
    ):
        self.patterns, self.activation = patterns, activation
        self.learning, self.keep_diagonal = learning, keep_diagonal
        check_options(self)

    def init(
        self, *, field: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> FieldState:
        r"""The state with this `field` (N,), or with $x = \sum_\mu$ `weights`$_\mu \xi^\mu$."""
        return start(self, field, weights, None)

    def saliency(self, slow, evidence):
        r"""$\alpha(u)$, the overlaps of the stimulus."""
        if evidence is None:
            raise ValueError(without_stimulus(self))
        return evidence

    def coupling(self, saliency):
        """The saliencies, on the diagonal."""
        return saliency

    def for_theory(self):
        """Memories, activation and how they are stored; N counts the neurons, not their classes."""
        how = dict(learning=self.learning, keep_diagonal=self.keep_diagonal)
        N = self.patterns.N if self.patterns.counts is None else self.patterns.size
        return self.patterns.for_theory() | how | dict(activation=self.activation, N=N)

    def domain(self):
        """That of activation and memories."""
        yield from shared_bounds(self)
