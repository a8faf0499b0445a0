"""Dense associative memory in discrete time, over any number of patterns."""

import math
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation
from ..._errors import as_float, as_key, check_at_least, check_finite, check_option, check_shape
from ..._interactions import AbstractInteraction, ManyBody, Power, Quadratic, Simplicial, Softmax
from ..._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ...patterns import AbstractPatterns
from .._base import AbstractMap, Bound
from .._field import activation_bounds
from . import _laws, _updates
from ._domain import interaction_bounds
from ._stream import Block, collect
from ._updates import Update

Rule: TypeAlias = Literal["leading", "difference"]
#: Patterns read at a time, by kind of device. On a CPU half or twice as many take 5 to 10 % more.
_BLOCK = {"cpu": 1024}
_LARGE_BLOCK = 16384


class SpinState(eqx.Module):
    """The state of a dense memory: `spins` (N,), +-1 or graded.

    **Example:**

    ```python
    memory = hx.DenseMemory(hx.patterns.hadamard(4, 16), hx.Power(3))
    state = memory.init(memory.patterns.pattern(0))
    state.spins.shape  # (16,)
    ```
    """

    spins: PerNeuron


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
      without a sign. For graded neurons it can be left out with `Quadratic` and `Power` only.
    - `block`: how many patterns are read at a time (default: 1024 on a CPU, else 16384).

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
    beta: Float[Array, ""] | None
    activation: AbstractActivation | None
    rule: Rule = eqx.field(static=True)
    update: Update = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)
    block: int = eqx.field(static=True)

    def __init__(
        self,
        patterns: AbstractPatterns,
        interaction: AbstractInteraction,
        *,
        beta: ArrayLike | None = None,
        activation: AbstractActivation | None = None,
        rule: Rule = "leading",
        update: Update = "parallel",
        keep_diagonal: bool | None = None,
        block: int | None = None,
    ):
        if not isinstance(patterns, AbstractPatterns):
            raise TypeError(
                f"`patterns` must be hopfax patterns, got {type(patterns).__name__}; wrap the "
                "array: Patterns(xi)."
            )
        if not isinstance(interaction, AbstractInteraction):
            raise TypeError(f"`interaction` must be one such as Power(3), got {interaction!r}.")
        check_option(rule, "rule", ("leading", "difference"))
        check_option(update, "update", ("parallel", "cyclic", "random"))
        if block is None:
            block = _BLOCK.get(jax.default_backend(), _LARGE_BLOCK)
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise ValueError(f"`block` must be a Python int of at least 1, got {block!r}.")
        self.patterns, self.interaction = patterns, interaction
        self.activation, self.rule, self.update, self.block = activation, rule, update, block
        self.beta = None if beta is None else as_float(beta, "beta", patterns.dtype)
        if self.beta is not None:
            check_shape(self.beta, "beta", (), "()")
            check_at_least(self.beta, "beta", 0.0, strict=True)
        modern = isinstance(interaction, Softmax)
        self.keep_diagonal = modern if keep_diagonal is None else keep_diagonal
        _check_kinds(self)
        _check_consistency(self)

    @property
    def signs(self) -> bool:
        """Whether the neurons are +-1, not graded."""
        return self.activation is None and not isinstance(self.interaction, Softmax)

    def init(self, spins: ArrayLike) -> SpinState:
        """The state with these `spins` (N,), e.g. `patterns.corrupt(key, mu, flips)`.

        **Raises:** ValueError for another shape, or for values other than +-1 where the neurons are
        signs.
        """
        return SpinState(self._checked(spins, "spins"))

    def holds(self, state: SpinState) -> Bool[Array, ""]:
        """Whether `state` is legal: finite, and +-1 where the neurons are signs."""
        spins = state.spins
        return (jnp.abs(spins) == 1).all() if self.signs else jnp.isfinite(spins).all()

    def overlaps(self, state: SpinState) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot h / N$ for all memories."""
        return self._sums(state.spins, self.signs) / self.patterns.N

    def field(self, state: SpinState, stimulus: PerNeuron | None = None) -> PerNeuron:
        r"""$u$, the fields that the neurons feel.

        For `Exponential` and `Softmax` they are divided by $\sum_\mu e^{\beta X_\mu}$ (without the
        diagonal also by $e^\beta$), so that $|u| \le 1$ for patterns of signs.

        **Arguments:** `stimulus`: $y$ (N,). The force of every memory is multiplied by its saliency
        $\xi^\mu \cdot y / N$ (input-driven plasticity). With `Quadratic()` this is the input-driven
        Hopfield network, which stores $M = \alpha N^2$ patterns.

        **Raises:** ValueError for a stimulus of another shape than (N,).
        """
        stimulus = self._checked_stimulus(stimulus)
        return _laws.fields(
            self._law(), self.patterns, state.spins, stimulus, signs=self.signs, size=self.block
        )

    def energy(self, state: SpinState) -> Float[Array, ""]:
        r"""$-\sum_\mu F(X_\mu)$; for `Softmax` $x \cdot x / 2 - \mathrm{lse}_\beta(\Xi x)$.

        At temperature zero, signs never raise it

        - one at a time (`update` "cyclic" or "random") with `rule="difference"`;
        - in parallel with `keep_diagonal=True`, if F is convex (even powers, rectified powers,
          exponential). Without the diagonal, parallel updates can raise it.

        Updates of `Softmax` never raise it. Graded neurons with an `activation` can.
        """
        given = self.interaction, self.patterns, state.spins
        how = {"signs": self.signs, "size": self.block}
        if isinstance(self.interaction, Softmax):
            log = _laws.log_sum_of_exponentials(*given, **how)
            return (state.spins**2).sum() / 2 - log / self.interaction.beta.astype(log.dtype)
        if self.interaction.exponential:
            return -jnp.exp(_laws.log_sum_of_exponentials(*given, **how))
        return -_laws.sum_of_potentials(*given, **how)

    @property
    def random(self) -> bool:
        """Whether a step draws random numbers: at a temperature, or in random order."""
        return self.beta is not None or self.update == "random"

    def step(
        self, state: SpinState, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> SpinState:
        """The state after one update of every neuron, all at once or one after the other.

        **Arguments:** `stimulus` as for `field`; `key`: a PRNG key, where random numbers are drawn.

        **Raises:** ValueError where a `key` is needed and missing.
        """
        if self.random and key is None:
            raise ValueError(
                "this memory draws random numbers (`beta`, or `update='random'`), so it needs a "
                "`key`: make one with jax.random.key(seed)."
            )
        key = None if key is None else as_key(key)
        h, respond = state.spins, self._response()
        if self.update == "parallel":
            return SpinState(respond(self.field(state, stimulus), h, key))
        stimulus = self._checked_stimulus(stimulus)
        saliency = None if stimulus is None else self._sums(stimulus, False)
        X = self._sums(h, True)
        law, patterns = self._law(), self.patterns
        return SpinState(
            _updates.one_by_one(law, respond, patterns, h, X, saliency, self.update, key)
        )

    def domain(self):
        """Temperature and gain are positive, and so are the parameters of an interaction (the
        weights of `Simplicial` need only be finite)."""
        yield from interaction_bounds(self.interaction)
        if self.beta is not None:
            yield Bound("beta", self.beta, 0.0, True)
        if self.activation is not None:
            yield from activation_bounds(self.activation)

    def _checked(self, spins: ArrayLike, name: str) -> PerNeuron:
        spins = as_float(spins, name, self.patterns.dtype)
        check_shape(spins, name, (self.patterns.N,), "(N,)")
        check_finite(spins, name)
        if self.signs and is_concrete(spins) and (np.abs(np.asarray(spins)) != 1).any():
            raise ValueError(
                f"`{name}` must be +-1 for {type(self.interaction).__name__} without an "
                "`activation`."
            )
        return spins

    def _checked_stimulus(self, stimulus: ArrayLike | None) -> PerNeuron | None:
        if stimulus is None:
            return None
        stimulus = as_float(stimulus, "stimulus", self.patterns.dtype)
        check_shape(stimulus, "stimulus", (self.patterns.N,), "(N,)")
        return stimulus

    def _sums(self, state: PerNeuron, signs: bool) -> PerPattern:
        """The overlaps with all memories, not divided by N."""

        def use(block: Block, state):
            return block.overlaps(state, signs)

        return collect(self.patterns, use, state, self.block)

    def _law(self) -> _laws.AbstractLaw:
        """How the overlaps become fields."""
        interaction, N = self.interaction, self.patterns.N
        if interaction.exponential:
            whole = self.keep_diagonal
            law = _laws.ExponentialWhole if whole else _laws.ExponentialWithoutSelf
            return law(interaction, N)
        force = _laws.Leading if self.rule == "leading" else _laws.Difference
        if self.keep_diagonal:
            return _laws.Whole(force(interaction, N))
        if self.signs:
            return _laws.SignsWithoutSelf(force(interaction, N))
        assert isinstance(interaction, Quadratic | Power)  # as was checked
        return _laws.GradedWithoutSelf(force(interaction, N), interaction.order - 1)

    def _response(self) -> _updates.AbstractResponse:
        """How neurons answer their fields."""
        if self.activation is not None:
            return _updates.Graded(self.activation)
        if not self.signs:
            return _updates.Field()
        return _updates.Sign() if self.beta is None else _updates.Glauber(self.beta)


def _check_kinds(memory: DenseMemory) -> None:
    """TypeError/ValueError for an argument that does not fit a dense memory by itself."""
    patterns, interaction = memory.patterns, memory.interaction
    if memory.activation is not None and not isinstance(memory.activation, AbstractActivation):
        raise TypeError(
            f"`activation` must be a hopfax activation such as Tanh(), got {memory.activation!r}."
        )
    if not isinstance(memory.keep_diagonal, bool):
        raise TypeError(f"`keep_diagonal` must be True or False, got {memory.keep_diagonal!r}.")
    if getattr(patterns, "counts", None) is not None:
        raise ValueError(
            "`patterns` have `counts`, so each column stands for several neurons; a dense memory "
            "in discrete time needs a column for every neuron (DenseFlow takes classes)."
        )
    order, most = getattr(interaction, "order", 0), float(jnp.finfo(patterns.dtype).max)
    if order * math.log(patterns.N) > math.log(most):
        raise ValueError(
            f"`interaction` of order {order} at N = {patterns.N} has energies of N^{order}, beyond "
            f"what {patterns.dtype} holds ({most:.1e}); enable double precision "
            '(jax.config.update("jax_enable_x64", True)) or use Exponential.'
        )


def _check_consistency(memory: DenseMemory) -> None:
    """ValueError for the first pair of arguments that contradict each other."""
    kind = type(memory.interaction).__name__
    signs, without = memory.signs, not memory.keep_diagonal
    for wrong, message in (
        (
            memory.beta is not None and not signs,
            "`beta` is the temperature of signs; graded neurons have none.",
        ),
        (
            memory.update != "parallel" and not signs,
            f"`update={memory.update!r}` is for signs; graded neurons move in parallel.",
        ),
        (
            isinstance(memory.interaction, Softmax) and without,
            "`keep_diagonal=False`: the state of Softmax is a mean of patterns, which has no "
            "self-coupling to leave out; for signs use Exponential.",
        ),
        (
            not signs and without and not isinstance(memory.interaction, Quadratic | Power),
            f"`keep_diagonal=False` of graded neurons is known for Quadratic and Power, not "
            f"for {kind}; keep it, or use signs.",
        ),
        (
            not signs and without and not memory.patterns.binary,
            "`keep_diagonal=False` of graded neurons needs patterns of +-1; these are real.",
        ),
        (
            signs and without and not memory.patterns.binary,
            "`keep_diagonal=False` needs patterns of +-1; these are real-valued (or traced: say "
            "Patterns(xi, binary=True)).",
        ),
        (
            memory.rule == "difference" and not (signs and without),
            "`rule='difference'` compares the two signs of a neuron, so the diagonal is out and "
            "neurons are not graded.",
        ),
        (
            isinstance(memory.interaction, ManyBody | Simplicial) and not (signs and without),
            f"{kind} sums over sets of different neurons: there is no diagonal to keep, and "
            "states are +-1.",
        ),
    ):
        if wrong:
            raise ValueError(message)
