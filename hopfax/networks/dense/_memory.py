"""Dense associative memory in discrete time, over any number of patterns."""

from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation
from ..._distances import averages
from ..._errors import as_count
from ..._interactions import AbstractInteraction
from ..._types import ArrayLike, PerNeuron, PerPattern
from ...patterns import AbstractPatterns
from .._base import AbstractMap, Bound
from .._field import Learning, activation_bounds
from . import _energies
from ._checks import (
    check_arguments,
    check_consistency,
    check_kinds,
    checked_spins,
    checked_stimulus,
    checked_temperature,
    checked_values,
    known_spins,
)
from ._choice import associated
from ._domain import interaction_bounds
from ._prepared import Prepared, check_stored, prepared, stored_bounds
from ._similarities import (
    Similarity,
    as_weights,
    check_similarity,
    default_similarity,
    weight_bounds,
)
from ._spins import SpinState
from ._stream import overlap_sums
from ._transitions import AbstractTransition, TransitionLike, as_transition
from ._updates import Update

Rule: TypeAlias = Literal["leading", "difference"]
#: Patterns read at a time, by kind of device. On a CPU half or twice as many take 5 to 10 % more.
_BLOCK = {"cpu": 1024}
_LARGE_BLOCK = 16384


class DenseMemory(AbstractMap):
    r"""A dense associative memory in discrete time.

    $$u_i = \frac{1}{N^{n-1}} \sum_\mu \xi^\mu_i\, f(X^\mu_i), \qquad
    X^\mu_i = \sum_{j \ne i} \xi^\mu_j h_j, \qquad h_i \leftarrow \mathrm{sgn}\, u_i,$$

    with the reduced force $f$ of the interaction ($x^{n-1}$ for `Power(n)`). Where $u_i = 0$ the
    spin stays as it is. Patterns are read in blocks, so their number is limited by time, not by the
    memory of the machine: pack them (`hopfax.patterns.pack`), or let them be made anew whenever
    they are read (`hopfax.GeneratedPatterns`). Leaving out a neuron's coupling to itself is exact
    for any $f$ and costs nothing, as for signs

    $$f(X - \xi_i h_i) = f_e(X) - \xi_i h_i f_o(X), \qquad f_{e,o} = \tfrac12 [f(X+1) \pm f(X-1)].$$

    Krotov, Hopfield 2016, arXiv:1606.01164; Demircigil et al. 2017, arXiv:1702.01929.

    **Arguments:**

    - `patterns`: memories of any kind that `hopfax.patterns` makes.
    - `interaction`: `Power(3)`, `ManyBody(3)`, `Exponential()`, `Softmax(beta)`, ...
    - `transition`: which memory calls which, for a memory that moves through a sequence. Memory
      $\mu$ then acts through what it calls, $\sum_\nu A_{\nu\mu} \xi^\nu$ in place of $\xi^\mu$
      (the overlap $X^\mu$ stays that with $\xi^\mu$): "cyclic" (each calls the next one, the last
      one the first), "chain" (the last one calls none), the numbers (P,) of the memories that
      each one calls (-1: none), or the matrix $A$ (P, P), entries `[next, current]`, full or
      sparse (of SciPy or `jax.experimental.sparse`; kept as a table of the calls of each memory, as
      wide as the longest list). Such a memory has no energy. Sompolinsky,
      Kanter 1986; Chaudhry, Zavatone-Veth, Krotov, Pehlevan 2023, arXiv:2306.04532.
    - `beta`: inverse temperature of Glauber dynamics, $P(h_i = s) = \frac12 (1 + s \tanh \beta
      u_i)$. Default: temperature zero.
    - `activation`: $h_i \leftarrow \psi(u_i)$ in place of the sign: graded neurons.
    - `rule`: "leading" for the force above, or "difference" for $F(X_i + 1) - F(X_i - 1)$, what the
      energy gains by the sign of one neuron. With the second, updates of one neuron at a time never
      raise the energy, at any N. The two differ by O(1/N) (for exponential interactions by a
      constant factor, which is left out).
    - `update`: all neurons in "parallel", or one after the other, each once a step, in "cyclic" or
      "random" order.
    - `keep_diagonal`: whether $X$ includes neuron i itself. Default: only for `Softmax`, whose
      update is $x \leftarrow \sum_\mu \xi^\mu \mathrm{softmax}_\mu(\beta\, \xi^\mu \cdot x)$,
      without a sign. Leaving it out of graded neurons is fast for `Quadratic` and `Power` alone.
    - `block`: how many patterns are read at a time (default: 1024 on a CPU, else 16384).
    - `learning`: "hebbian", or "pseudo_inverse" for up to N correlated memories: forces are those
      of $N C^{-1} m$ in place of $X = N m$, with the Gram matrix $C_{\mu\nu} = \xi^\mu \cdot
      \xi^\nu / N$. Neurons then feel themselves, and there is no energy.
    - `similarity`: what $X$ is, for memories of different lengths: "dot", $\xi \cdot h$; "cosine",
      $N\, \xi \cdot h / |\xi| |h|$; or "euclidean", $-|\xi - h|^2/2$, of `Softmax` and
      `Exponential`; the last two with `keep_diagonal=True`. Default: "dot"; of `Epanechnikov`
      "euclidean". For signs all are the same up to a constant. Overlaps, and the memories that are
      `visited` by them, remain dot products; `associate(state, jnp.eye(P))` tells what each memory
      weighs. Millidge et al. 2022, arXiv:2202.04557.
    - `weights`: (P,) above 0: a memory counts $w_\mu$ times, $F \to w_\mu F$.

    **Raises:** ValueError/TypeError for arguments that contradict each other.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    state = memory.init(memory.patterns.corrupt(jax.random.key(0), mu=0, flips=4))
    memory.overlaps(state)[0]  # 0.5
    memory.overlaps(memory.step(state))  # 1, 0, 0, 0
    ```
    """

    patterns: AbstractPatterns
    interaction: AbstractInteraction
    transition: AbstractTransition | None
    beta: Float[Array, ""] | None
    activation: AbstractActivation | None
    rule: Rule = eqx.field(static=True)
    update: Update = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)
    block: int = eqx.field(static=True)
    learning: Learning = eqx.field(static=True)
    similarity: Similarity = eqx.field(static=True)
    weights: PerPattern | None

    def __init__(
        self,
        patterns: AbstractPatterns,
        interaction: AbstractInteraction,
        *,
        transition: TransitionLike = None,
        beta: ArrayLike | None = None,
        activation: AbstractActivation | None = None,
        rule: Rule = "leading",
        update: Update = "parallel",
        keep_diagonal: bool | None = None,
        block: int | None = None,
        learning: Learning = "hebbian",
        similarity: Similarity | None = None,
        weights: ArrayLike | None = None,
    ):
        check_arguments(patterns, interaction, rule=rule, update=update, learning=learning)
        if block is None:
            block = _BLOCK.get(jax.default_backend(), _LARGE_BLOCK)
        block = as_count(block, "block")
        self.patterns, self.interaction = patterns, interaction
        self.transition = as_transition(transition, patterns)
        self.activation, self.rule, self.update, self.block = activation, rule, update, block
        self.beta = checked_temperature(beta, patterns)
        kept = averages(interaction) or learning == "pseudo_inverse"
        self.keep_diagonal = kept if keep_diagonal is None else keep_diagonal
        self.learning, self.weights = learning, as_weights(weights, patterns)
        self.similarity = default_similarity(interaction) if similarity is None else similarity
        check_kinds(self)
        check_consistency(self)
        check_similarity(self)
        if learning == "pseudo_inverse":
            check_stored(patterns)

    @property
    def signs(self) -> bool:
        """Whether the neurons are +-1, not graded."""
        return self.activation is None and not averages(self.interaction)

    @property
    def averages(self) -> bool:
        """Whether states are means of memories."""
        return self.activation is None and averages(self.interaction)

    def init(self, spins: ArrayLike) -> SpinState:
        """The state with these `spins` (N,), e.g. `patterns.corrupt(key, mu, flips)`.

        **Raises:** ValueError for another shape, or values other than +-1 where neurons are signs.
        """
        return SpinState(checked_spins(self, spins, "spins"))

    def checked(self, state: SpinState) -> SpinState:
        """`state` in the precision of the network. **Raises:** as `init` does."""
        return self.init(state.spins)

    def holds(self, state: SpinState) -> Bool[Array, ""]:
        """Whether `state` is legal: finite, and +-1 where the neurons are signs."""
        spins = state.spins
        return (jnp.abs(spins) == 1).all() if self.signs else jnp.isfinite(spins).all()

    def overlaps(self, state: SpinState) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot h / N$ for all memories.

        **Raises:** ValueError for a state that is none of this network's; under a trace NaN.
        """
        spins, legal = known_spins(self, state)
        X = overlap_sums(self.patterns, spins, self.signs, self.block)
        return legal(X / self.patterns.N)

    def field(self, state: SpinState, stimulus: PerNeuron | None = None) -> PerNeuron:
        r"""$u$, the fields that the neurons feel.

        For `Exponential` and `Softmax` they are divided by $\sum_\mu e^{\beta X_\mu}$ (without the
        diagonal also by $e^\beta$), so that $|u| \le 1$ for patterns of signs.

        **Arguments:** `stimulus`: $y$ (N,). The force of every memory is multiplied by its saliency
        $\xi^\mu \cdot y / N$ (input-driven plasticity). With `Quadratic()` this is the input-driven
        Hopfield network, which stores $M = \alpha N^2$ patterns.

        Derivatives with respect to patterns and states are those of the sum as it is written above,
        which no identity of signs goes into (not known for `ManyBody` and `Simplicial`).

        **Raises:** ValueError for a stimulus of another shape than (N,), or a state that is none of
        this network's (see `holds`); under a trace such a state has fields of NaN.
        """
        spins, legal = known_spins(self, state)
        stimulus = checked_stimulus(self, stimulus)
        return legal(self.prepared().field(spins, stimulus))

    def energy(self, state: SpinState) -> Float[Array, ""]:
        r"""$-\sum_\mu F(X_\mu)$; for `Softmax` $x \cdot x / 2 - \mathrm{lse}_\beta(\Xi x)$, or
        $-\mathrm{lse}_\beta(-|\xi - x|^2/2)$ if it is "euclidean".

        At temperature zero, signs never raise it

        - one at a time (`update` "cyclic" or "random") with `rule="difference"`;
        - in parallel with `keep_diagonal=True`, if F is convex (even powers, rectified powers,
          exponential). Without the diagonal, parallel updates can raise it.

        Updates of `Softmax` and `Epanechnikov` never raise it. Those by an `activation` can.

        **Raises:** ValueError for a memory whose forces have no energy (with a `transition`, by the
        pseudo-inverse, of the similarity "cosine"); where
        it is beyond the largest float, as that of `Exponential` is from $\lambda X$ = 88 (float32)
        or 709 (float64) on: `log_energy` gives its logarithm; and for a state that is none of this
        network's. Under a trace both give NaN.
        """
        spins, legal = known_spins(self, state)
        return _energies.energy(self, spins, legal)

    def log_energy(self, state: SpinState) -> Float[Array, ""]:
        r"""$\log(-E) = \log \sum_\mu e^{\lambda X_\mu}$ of `Exponential`, which never overflows as
        $E$ does. Whatever lowers $E$ raises it.

        **Raises:** ValueError for another interaction, and as `energy` does.
        """
        spins, legal = known_spins(self, state)
        return legal(_energies.log_energy(self, spins))

    def associate(self, state: SpinState, values: ArrayLike) -> Float[Array, "*K"]:
        r"""$\frac1s \sum_\mu v^\mu f(X_\mu)$: what a state calls up where each memory carries
        `values` (P, K), such as another image or the code of a class, or one number (P,); forces
        are scaled as in `field`, and no neuron is left out. For `Softmax` this is attention with
        the memories as keys. Of codes of signs take the sign. Kosko 1988.

        **Raises:** ValueError for other shapes, or a state that is none of this network's.

        **Example:**

        ```python
        memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
        cue = memory.init(memory.patterns.corrupt(jax.random.key(0), mu=2, flips=3))
        memory.associate(cue, jnp.eye(4))  # 0.016, 0.016, 0.391, 0.016: it is of class 2
        ```
        """
        spins, legal = known_spins(self, state)
        return legal(associated(self, spins, checked_values(self, values)))

    @property
    def random(self) -> bool:
        """Whether a step draws random numbers: at a temperature, or in random order."""
        return self.beta is not None or self.update == "random"

    def step(
        self, state: SpinState, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> SpinState:
        """The state after one update of every neuron, all at once or one after the other.

        **Arguments:** `stimulus` as for `field`; `key`: a PRNG key, where random numbers are drawn.

        **Raises:** ValueError where a `key` is needed and missing, or for a state that is none of
        this network's (under a trace the next one is NaN). TypeError if a step of signs is
        differentiated: signs do not move with the parameters, and 0 would be wrong.
        """
        return self.prepared().step(state, stimulus, key)

    def prepared(self, clamped: Bool[Array, " N"] | None = None) -> Prepared:
        """What makes the steps of a run, in which neurons that are `clamped` stay as they are."""
        return prepared(self, clamped)

    def domain(self):
        """Temperature, gain, weights of memories and parameters of an interaction are positive
        (those of `Simplicial`, `Polynomial` finite)."""
        yield from interaction_bounds(self.interaction)
        yield from weight_bounds(self.weights)
        if self.transition is not None:
            yield from self.transition.domain()
        if self.learning == "pseudo_inverse":
            yield from stored_bounds(self.patterns)
        if self.beta is not None:
            yield Bound("beta", self.beta, 0.0, True)
        if self.activation is not None:
            yield from activation_bounds(self.activation)
