"""Dense associative memory in discrete time, over any number of patterns."""

import math
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._activations import AbstractActivation
from .._errors import as_float, check_at_least, check_finite, check_option, check_shape
from .._interactions import (
    AbstractInteraction,
    ManyBody,
    Power,
    Quadratic,
    Simplicial,
    Softmax,
    difference,
)
from .._types import ArrayLike, PerNeuron, PerPattern, is_concrete
from ..patterns import AbstractPatterns, as_key
from ._base import AbstractMap, Bound
from ._field import activation_bounds
from ._stream import Block, collect, stream

Rule: TypeAlias = Literal["leading", "difference"]
Update: TypeAlias = Literal["parallel", "cyclic", "random"]
#: Patterns read at a time, by kind of device. On a CPU half or twice as many take 5 to 10 % more.
_BLOCK = {"cpu": 1024}
_LARGE_BLOCK = 16384


class SpinState(eqx.Module):
    """State of a dense memory: `spins`, one a neuron, +-1 or graded."""

    spins: PerNeuron


class DenseMemory(AbstractMap):
    r"""A dense associative memory in discrete time.

    $$u_i = \frac{1}{N^{n-1}} \sum_\mu \xi^\mu_i\, f(X^\mu_i), \qquad
    X^\mu_i = \sum_{j \ne i} \xi^\mu_j h_j, \qquad h_i \leftarrow \mathrm{sgn}\, u_i,$$

    with the reduced force $f$ of the interaction ($x^{n-1}$ for `Power(n)`). A tie $u_i = 0$ keeps
    the spin. Patterns are read in blocks, so their number is limited by time, not by memory: pack
    them (`hopfax.patterns.pack`) or let them be made anew (`hopfax.patterns.GeneratedPatterns`).
    Leaving out the self-coupling is exact for any $f$ and costs nothing, as for signs

    $$f(X - \xi_i h_i) = f_e(X) - \xi_i h_i f_o(X), \qquad f_{e,o} = \tfrac12 [f(X+1) \pm f(X-1)].$$

    Krotov, Hopfield 2016, arXiv:1606.01164; Demircigil et al. 2017, arXiv:1702.01929.

    **Arguments:**

    - `patterns`: memories, from anywhere in `hopfax.patterns`.
    - `interaction`: `Power(3)`, `ManyBody(3)`, `Exponential()`, `Softmax(beta)`, ...
    - `beta`: inverse temperature of Glauber dynamics, $P(h_i = s) = \frac12 (1 + s \tanh \beta
      u_i)$; without it temperature zero.
    - `activation`: $h_i \leftarrow \psi(u_i)$ in place of the sign: graded neurons.
    - `rule`: "leading", or "difference", which adds $F(X_i + 1) - F(X_i - 1)$: asynchronously it
      never raises the energy, at any N. The two differ by O(1/N) (for exponential interactions by
      a constant factor, which is left out).
    - `update`: all neurons in "parallel", or one after the other, each once a step, in "cyclic" or
      "random" order.
    - `keep_diagonal`: let $X$ include neuron i itself. Default: only for `Softmax`, whose state is
      $x \leftarrow \sum_\mu \xi^\mu \mathrm{softmax}_\mu(\beta\, \xi^\mu \cdot x)$, without a sign.
      Of graded neurons only `Quadratic` and `Power` can leave it out.
    - `block`: how many patterns are read at a time (default: 1024 on a CPU, else 16384).

    **Raises:** ValueError/TypeError for arguments that contradict each other.
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
        """Whether states are +-1."""
        return self.activation is None and not isinstance(self.interaction, Softmax)

    def init(self, spins: ArrayLike) -> SpinState:
        """The state with these `spins` (N,), e.g. `patterns.corrupt(key, mu, flips)`.

        **Raises:** ValueError for another shape, or values other than +-1 where states are signs.
        """
        return SpinState(self._checked(spins, "spins"))

    def holds(self, state: SpinState):
        """Whether `state` is one of the network: finite, and +-1 where states are signs."""
        spins = state.spins
        return (jnp.abs(spins) == 1).all() if self.signs else jnp.isfinite(spins).all()

    def overlaps(self, state: SpinState) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot h / N$ of all memories."""
        return self._sums(state.spins, self.signs) / self.patterns.N

    def field(self, state: SpinState, stimulus: PerNeuron | None = None) -> PerNeuron:
        r"""$u$, what the neurons feel.

        For `Exponential` and `Softmax` divided by $\sum_\mu e^{\beta X_\mu}$ (without the diagonal
        also by $e^\beta$), so that $|u| \le 1$ for patterns of signs.

        **Arguments:** `stimulus`: $y$ (N,), weighs the force of every memory with its saliency
        $\xi^\mu \cdot y / N$ (input-driven plasticity): with `Quadratic()` that is the input-driven
        Hopfield network, which then stores $M = \alpha N^2$ patterns.

        **Raises:** ValueError for a stimulus of another shape than (N,).
        """
        stimulus = self._checked_stimulus(stimulus)
        h, N = state.spins, self.patterns.N
        law, exponential = self._law(), self.interaction.exponential
        lowest = float(jnp.finfo(h.dtype).min)

        def use(block: Block, given):
            law, h, stimulus = given
            X = block.overlaps(h, law.signs)
            top, size = jnp.zeros((), X.dtype), jnp.ones_like(X)
            if exponential:
                exponent = law.force(X)
                top = jnp.where(block.valid, exponent, lowest).max()
                size = jnp.exp(exponent - top)
            size = jnp.where(block.valid, size, 0.0)
            norm = size.sum()
            if stimulus is not None:
                size = size * block.overlaps(stimulus, False)
            projected = law.project(block, size, X)
            return _Sums(top, projected, (size * law.counts(X)).sum(-1), norm)

        of_forces, of_counts = law.factors(h)
        zero = jnp.zeros((), h.dtype)
        top = zero + (lowest if exponential else 0.0)
        empty = _Sums(top, jnp.zeros_like(of_forces), jnp.zeros_like(of_counts[:, 0]), zero)
        merge = _merge_exponential if exponential else _merge
        total = stream(self.patterns, use, merge, empty, (law, h, stimulus), self.block)
        u = (of_forces * total.forces).sum(0) + total.counts @ of_counts
        u = u / (total.norm if exponential else law.scale())
        return u if stimulus is None else u / N

    def energy(self, state: SpinState) -> Float[Array, ""]:
        r"""$E = -\sum_\mu F(X_\mu)$; of `Softmax` $-\mathrm{lse}_\beta(\Xi x) + x \cdot x / 2$.

        Of signs at temperature zero never raised by `update="cyclic"` or "random" with
        `rule="difference"`, nor by parallel updates with `keep_diagonal=True` where F is convex
        (even powers, rectified, exponential); parallel updates without the diagonal can raise it.
        Never raised by those of `Softmax`. Graded neurons with an `activation` do not descend it.
        """
        law, exponential = self._law(), self.interaction.exponential
        lowest = float(jnp.finfo(state.spins.dtype).min)

        def use(block: Block, given):
            law, h = given
            X = block.overlaps(h, law.signs)
            if exponential:
                return jax.nn.logsumexp(jnp.where(block.valid, law.force(X), lowest))
            return jnp.where(block.valid, law.interaction.potential(X, law.N), 0.0).sum()

        merge = jnp.logaddexp if exponential else jnp.add
        empty = jnp.asarray(lowest if exponential else 0.0, state.spins.dtype)
        total = stream(self.patterns, use, merge, empty, (law, state.spins), self.block)
        if isinstance(self.interaction, Softmax):
            return (state.spins**2).sum() / 2 - total / self.interaction.beta.astype(total.dtype)
        return -jnp.exp(total) if exponential else -total

    @property
    def random(self):
        """Whether a step draws random numbers: at a temperature, or in random order."""
        return self.beta is not None or self.update == "random"

    def step(self, state, stimulus=None, key=None):
        """One update of every neuron, all at once or one after the other.

        **Raises:** ValueError without a `key` where random numbers are drawn.
        """
        if self.random and key is None:
            raise ValueError(
                "this memory draws random numbers (`beta`, or `update='random'`), so it needs a "
                "`key`: make one with jax.random.key(seed)."
            )
        key = None if key is None else as_key(key)
        if self.update != "parallel":
            stimulus = self._checked_stimulus(stimulus)
            return SpinState(self._one_by_one(state.spins, stimulus, key))
        return SpinState(self._respond(self.field(state, stimulus), state.spins, key))

    def domain(self):
        """Temperature, gain and the interaction's own parameters."""
        yield from interaction_bounds(self.interaction)
        if self.beta is not None:
            yield Bound("beta", self.beta, 0.0, True)
        if self.activation is not None:
            yield from activation_bounds(self.activation)

    def _checked(self, spins, name) -> PerNeuron:
        spins = as_float(spins, name, self.patterns.dtype)
        check_shape(spins, name, (self.patterns.N,), "(N,)")
        check_finite(spins, name)
        if self.signs and is_concrete(spins) and (np.abs(np.asarray(spins)) != 1).any():
            raise ValueError(
                f"`{name}` must be +-1 for {type(self.interaction).__name__} without an "
                "`activation`."
            )
        return spins

    def _checked_stimulus(self, stimulus) -> PerNeuron | None:
        if stimulus is None:
            return None
        stimulus = as_float(stimulus, "stimulus", self.patterns.dtype)
        check_shape(stimulus, "stimulus", (self.patterns.N,), "(N,)")
        return stimulus

    def _sums(self, state: PerNeuron, signs: bool) -> PerPattern:
        def use(block: Block, state):
            return block.overlaps(state, signs)

        return collect(self.patterns, use, state, self.block)

    def _law(self) -> "_Law":
        return _Law(self.interaction, self.rule, self.keep_diagonal, self.signs, self.patterns.N)

    def _respond(self, u, h, key):
        """The new value of neurons that feel `u`."""
        if self.activation is not None:
            return self.activation(u)
        if not self.signs:
            return u
        if self.beta is not None:
            draw = jr.uniform(key, u.shape, u.dtype)
            return jnp.where(draw < (1 + jnp.tanh(self.beta * u)) / 2, 1.0, -1.0).astype(u.dtype)
        return jnp.where(u == 0, h, jnp.sign(u))

    def _one_by_one(self, h, stimulus, key):
        """Every neuron once, each seeing those before it; overlaps are kept up to date."""
        N, patterns = self.patterns.N, self.patterns
        order = jnp.arange(N)
        keys = None
        if key is not None:
            key, draws = jr.split(key)
            keys = jr.split(draws, N)
            if self.update == "random":
                order = jr.permutation(key, order)
        z = None if stimulus is None else self._sums(stimulus, False)
        law, exponential = self._law(), self.interaction.exponential

        def visit(carry, site):
            h, X = carry
            i, key = site
            xi, old = patterns.column(i), h[i]
            y = X if self.keep_diagonal else X - xi * old
            force, norm = law.force(y), law.scale()
            if exponential:
                exponent = law.force(X)
                top = exponent.max()
                own = 0.0 if self.keep_diagonal else law.force(jnp.ones((), X.dtype))
                force, norm = jnp.exp(force - (top + own)), jnp.exp(exponent - top).sum()
            u = (xi * (force if z is None else force * z / N)).sum() / norm
            new = self._respond(u, old, key)
            return (h.at[i].set(new), X + xi * (new - old)), None

        (h, _), _ = jax.lax.scan(visit, (h, self._sums(h, True)), (order, keys))
        return h


class _Sums(eqx.Module):
    """What blocks add up: all but `top` are in units of exp(top)."""

    top: Float[Array, ""]
    forces: Float[Array, "k N"]
    counts: Float[Array, " c"]
    norm: Float[Array, ""]


def _merge(a: _Sums, b: _Sums) -> _Sums:
    return jax.tree.map(jnp.add, a, b)


def _merge_exponential(a: _Sums, b: _Sums) -> _Sums:
    top = jnp.maximum(a.top, b.top)
    scaled = (jax.tree.map(lambda leaf, s=s: leaf * jnp.exp(s.top - top), s) for s in (a, b))
    total = jax.tree.map(jnp.add, *scaled)
    return eqx.tree_at(lambda s: s.top, total, top)


class _Law(eqx.Module):
    r"""How overlaps become fields, apart from patterns and state:

    $$u_i = \sum_k a_{ki} [\Xi^T w_k(X)]_i + \sum_c b_{ci} \sum_\mu v_c(X_\mu).$$

    For exponential interactions w and v are what multiplies $e^{\beta X}$. Without the diagonal the
    memories that agree with a neuron and those that do not are added up apart, since their forces
    differ by $e^{2\beta}$: a difference of large sums would lose the smaller.
    """

    interaction: AbstractInteraction
    rule: Rule = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)
    signs: bool = eqx.field(static=True)
    N: int = eqx.field(static=True)

    def force(self, y):
        """The force at an overlap without the neuron itself; an exponent where exponential."""
        if self.rule == "difference" and not self.interaction.exponential:
            return difference(self.interaction, y, self.N)
        return self.interaction.force(y, self.N)

    def scale(self):
        """What the sum of forces is divided by."""
        scale = self.interaction.scale(self.N)
        return scale * 2 * self.interaction.reduction() if self.rule == "difference" else scale

    def project(self, block: Block, size, X) -> Float[Array, "k N"]:
        r"""$\Xi^T w$ over a block, every memory weighed by `size`."""
        if self.interaction.exponential and not self.keep_diagonal:
            return block.split(size)
        return block.project(size * self.forces(X))

    def forces(self, X) -> Float[Array, "k b"]:
        """w."""
        if self.interaction.exponential:
            return jnp.ones_like(X)[None]
        if self.keep_diagonal:
            return self.force(X)[None]
        if self.signs:
            return ((self.force(X + 1) + self.force(X - 1)) / 2)[None]
        return jnp.stack([X ** (self._power - j) for j in range(0, self._power + 1, 2)])

    def counts(self, X) -> Float[Array, "c b"]:
        """v."""
        if self.keep_diagonal or self.interaction.exponential:
            return jnp.zeros((0, *X.shape), X.dtype)
        if self.signs:
            return ((self.force(X + 1) - self.force(X - 1)) / 2)[None]
        return jnp.stack([X ** (self._power - j) for j in range(1, self._power + 1, 2)])

    def factors(self, h) -> tuple[Float[Array, "k N"], Float[Array, "c N"]]:
        """a and b."""
        one, none = jnp.ones_like(h)[None], jnp.zeros((0, *h.shape), h.dtype)
        if self.keep_diagonal:
            return one, none
        if self.interaction.exponential:
            rate = self.force(jnp.ones_like(h))  # in units of its exponential
            return jnp.stack([jnp.exp(-rate * (1 + h)), -jnp.exp(-rate * (1 - h))]), none
        if self.signs:
            return one, -h[None]
        # (X - xi h)^p of graded h, as xi^2 = 1
        signed = [math.comb(self._power, j) * (-h) ** j for j in range(self._power + 1)]
        return jnp.stack(signed[::2]), jnp.stack(signed[1::2])

    @property
    def _power(self) -> int:
        assert isinstance(self.interaction, Quadratic | Power)
        return self.interaction.order - 1


def interaction_bounds(interaction: AbstractInteraction):
    """The domain of an interaction's own parameters."""
    for name in ("rate", "beta"):
        if (value := getattr(interaction, name, None)) is not None:
            yield Bound(f"interaction.{name}", value, 0.0, True)
    if isinstance(interaction, Simplicial):
        for order, weight in interaction.weights.items():
            yield Bound(f"interaction.weights[{order}]", weight)


def _check_kinds(memory: DenseMemory) -> None:
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
    kind = type(memory.interaction).__name__
    modern = isinstance(memory.interaction, Softmax)
    if memory.beta is not None and not memory.signs:
        raise ValueError("`beta` is the temperature of signs; graded neurons have none.")
    if memory.update != "parallel" and not memory.signs:
        raise ValueError(
            f"`update={memory.update!r}` is for signs; graded neurons move in parallel."
        )
    if modern and not memory.keep_diagonal:
        raise ValueError(
            "`keep_diagonal=False`: the state of Softmax is a mean of patterns, which has no "
            "self-coupling to leave out; for signs use Exponential."
        )
    if not memory.signs and not memory.keep_diagonal:
        if not isinstance(memory.interaction, Quadratic | Power):
            raise ValueError(
                f"`keep_diagonal=False` of graded neurons is known for Quadratic and Power, not "
                f"for {kind}; keep it, or use signs."
            )
        if not memory.patterns.binary:
            raise ValueError(
                "`keep_diagonal=False` of graded neurons needs patterns of +-1; these are real."
            )
    if memory.signs and not memory.keep_diagonal and not memory.patterns.binary:
        raise ValueError(
            "`keep_diagonal=False` needs patterns of +-1; these are real-valued (or traced: say "
            "Patterns(xi, binary=True))."
        )
    if memory.rule == "difference" and (memory.keep_diagonal or not memory.signs):
        raise ValueError(
            "`rule='difference'` compares the two signs of a neuron, so the diagonal is out and "
            "neurons are not graded."
        )
    if isinstance(memory.interaction, ManyBody | Simplicial):
        if memory.keep_diagonal or not memory.signs:
            raise ValueError(
                f"{kind} sums over sets of different neurons: there is no diagonal to keep, and "
                "states are +-1."
            )
