"""Dense memories that hold each memory for a time, and then call the next one."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._activations import AbstractActivation
from ..._errors import as_float, check_shape, check_within, shown
from ..._interactions import AbstractInteraction
from ..._types import ArrayLike, PerNeuron, PerPattern
from ...patterns import AbstractPatterns
from .._base import AbstractMap, Bound
from ._checks import (
    check_felt,
    check_same_kind,
    checked_key,
    checked_spins,
    checked_stimulus,
    known_spins,
)
from ._choice import feel_of, field_at_a_memory, response_of, whole_field
from ._domain import interaction_bounds
from ._memory import DenseMemory
from ._spins import SpinState
from ._stream import overlap_sums
from ._traces import AbstractTrace, as_trace
from ._transitions import AbstractTransition, TransitionLike, as_transition
from ._updates import Update, kept, one_by_one

_ROUNDING = 1e-6  # by which a share may be beyond its ends


class DenseSequence(AbstractMap):
    r"""A dense memory that holds each memory for a time and then moves on to the next.

    $$u_i = \lambda\, u^{\mathrm{hold}}_i(h) + (1 - \lambda)\, u^{\mathrm{follow}}_i(\bar h), \qquad
    u^{\mathrm{hold}}_i(h) = \frac1s \sum_\mu \xi^\mu_i f(X^\mu_i), \qquad
    u^{\mathrm{follow}}_i(\bar h) = \frac1{\bar s} \sum_\mu \eta^\mu_i \bar f(\bar X^\mu),$$

    the fields of two `DenseMemory`: one whose memories hold themselves, and one whose memories call
    others, $\eta^\mu = \sum_\nu A_{\nu\mu} \xi^\nu$. The second feels the past, $\bar h$: the state
    `delay` steps ago, a weighted sum of the last ones, or a low-pass trace with the time
    constant `tau`. As overlaps are linear, this is also the trace of the overlaps. Without noise
    from other memories a memory lasts `delay` + 1 steps if $\lambda < 1/2$, and for ever else. With
    a trace, and $q = 1 - 1/\tau$, it lasts for about the least number of steps t with
    $(1 - \lambda) [\bar f(1 - q^t) - \bar f(q^t)] > \lambda f(1)$, both forces in units of those at
    full overlap.

    Sompolinsky, Kanter 1986; Kleinfeld 1986; Chaudhry, Zavatone-Veth, Krotov, Pehlevan 2023,
    arXiv:2306.04532 (MixedNet).

    **Arguments:**

    - `patterns`: memories of any kind that `hopfax.patterns` makes.
    - `hold`, `follow`: the interaction of each term: `Power(3)`, `Exponential()`, ...
    - `share`: $\lambda$, between 0 and 1, the weight of the term that holds.
    - `transition`: which memory calls which, as for `DenseMemory`.
    - `delay`: how many steps ago the state is felt by the second term (a Python int), or the
      weights (T,) of the states 0, 1, ..., T - 1 steps ago, which are added as they are. `tau`: the
      time constant of its trace, at least 1, in steps. At most one of the two; default: no delay.
      Where neurons move one after the other, weights and trace are those before the step.
    - `beta`, `activation`, `update`, `keep_diagonal`, `block`: as for `DenseMemory`. With weights
      or a trace the second term leaves no neuron out, as these are no states of signs.

    The field of an exponential interaction is in units of that at a memory itself, so that `share`
    compares terms of all interactions alike (those of powers up to 1/N).

    **Raises:** ValueError/TypeError for arguments that contradict each other.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.DenseSequence(patterns, hx.Power(3), hx.Power(3), share=0.4, delay=2)
    run = hx.iterate(network, network.init(patterns.pattern(0)), steps=6)
    run.overlaps.argmax(1)  # 0, 1, 1, 1, 2, 2, 2
    ```
    """

    patterns: AbstractPatterns
    hold: AbstractInteraction
    follow: AbstractInteraction
    share: Float[Array, ""]
    transition: AbstractTransition
    trace: AbstractTrace
    beta: Float[Array, ""] | None
    activation: AbstractActivation | None
    update: Update = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)
    block: int = eqx.field(static=True)

    def __init__(
        self,
        patterns: AbstractPatterns,
        hold: AbstractInteraction,
        follow: AbstractInteraction,
        *,
        share: ArrayLike,
        transition: TransitionLike = "cyclic",
        delay: ArrayLike | None = None,
        tau: ArrayLike | None = None,
        beta: ArrayLike | None = None,
        activation: AbstractActivation | None = None,
        update: Update = "parallel",
        keep_diagonal: bool | None = None,
        block: int | None = None,
    ):
        check_same_kind(hold, follow, activation)
        self.patterns, self.hold, self.follow = patterns, hold, follow
        still = DenseMemory(
            patterns,
            hold,
            beta=beta,
            activation=activation,
            update=update,
            keep_diagonal=keep_diagonal,
            block=block,
        )
        calls = as_transition(transition, patterns)
        if calls is None:
            raise ValueError(
                "`transition` says which memory calls which, and cannot be None here; a memory "
                "without is a DenseMemory."
            )
        self.transition = calls
        self.share = as_float(share, "share", patterns.dtype)
        check_within(self.share, "share", 0.0, 1.0)
        self.trace = as_trace(delay, tau, patterns.dtype)
        self.beta, self.activation, self.block = still.beta, activation, still.block
        self.update, self.keep_diagonal = update, still.keep_diagonal

    def __check_init__(self):
        check_shape(self.share, "share", (), "()")
        as_transition(self.transition, self.patterns)
        check_felt(self.follow, self.trace.signs)
        for made in (lambda: self.still, self._moving):  # which say what does not fit
            made()

    @property
    def signs(self) -> bool:
        """Whether the neurons are +-1, not graded."""
        return self.still.signs

    @property
    def still(self) -> DenseMemory:
        """The static memory of the first term alone."""
        return self._part(self.hold, None, self.keep_diagonal)

    def _moving(self) -> DenseMemory:
        """The network of the second term alone. Only states of signs can leave a neuron out."""
        kept = self.keep_diagonal or not self.trace.signs
        return self._part(self.follow, self.transition, kept)

    def _part(self, interaction, transition, kept) -> DenseMemory:
        return DenseMemory(
            self.patterns,
            interaction,
            transition=transition,
            beta=self.beta,
            activation=self.activation,
            update=self.update,
            keep_diagonal=kept,
            block=self.block,
        )

    @property
    def random(self) -> bool:
        """Whether a step draws random numbers: at a temperature, or in random order."""
        return self.still.random

    def init(self, spins: ArrayLike) -> SpinState:
        """The state with these `spins` (N,), which it has had for ever: its past is the same.

        **Raises:** ValueError for another shape, or for values other than +-1 where the neurons are
        signs.
        """
        spins = checked_spins(self.still, spins, "spins")
        return SpinState(spins, self.trace.begun(spins))

    def checked(self, state: SpinState) -> SpinState:
        """`state` in the precision of the network, with its past.

        **Raises:** TypeError/ValueError unless it is one of this network, from `init` or a run.
        """
        past = self._past(state)
        return SpinState(checked_spins(self.still, state.spins, "state.spins"), past)

    def _past(self, state: SpinState) -> Float[Array, "*T N"]:
        """What is remembered beside a state."""
        if not isinstance(state, SpinState) or state.past is None:
            found = "of another network" if isinstance(state, SpinState) else shown(state)
            raise TypeError(f"`state` has no past; make it with network.init(spins), got {found}.")
        shape = jax.eval_shape(self.trace.begun, state.spins).shape
        check_shape(state.past, "state.past", shape, "that of network.init")
        return as_float(state.past, "state.past", self.patterns.dtype)

    def holds(self, state: SpinState) -> Bool[Array, ""]:
        """Whether `state` is legal: finite, and +-1 where the neurons are signs."""
        return self.still.holds(state) & jnp.isfinite(self._past(state)).all()

    def overlaps(self, state: SpinState) -> PerPattern:
        r"""$m_\mu = \xi^\mu \cdot h / N$ for all memories.

        **Raises:** as those of `DenseMemory`.
        """
        return self.still.overlaps(state)

    def field(self, state: SpinState, stimulus: PerNeuron | None = None) -> PerNeuron:
        r"""$u$, the fields that the neurons feel.

        **Arguments:** `stimulus`: as of `DenseMemory.field`, in both terms.

        **Raises:** as that of `DenseMemory`.
        """
        followed = self._followed(state, stimulus)
        held = self.still.field(SpinState(state.spins), stimulus)
        return self._together(held, followed)

    def _together(self, held: Array, followed: Array) -> Array:
        """The field of both terms, each in units of an exponential field at a memory itself, which
        is less than 1 where neurons are left out."""
        unit, moved = (field_at_a_memory(part) for part in (self.still, self._moving()))
        return self.share * held / unit + (1 - self.share) * followed / moved

    def _followed(self, state: SpinState, stimulus: PerNeuron | None) -> PerNeuron:
        """The field of the second term."""
        past, moving = self.trace.felt(self._past(state), state.spins), self._moving()
        if self.trace.signs:
            return moving.field(SpinState(past), stimulus)
        return whole_field(moving, past, checked_stimulus(moving, stimulus))

    def step(
        self, state: SpinState, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> SpinState:
        """The state after one update of every neuron, all at once or one after the other.

        **Arguments:** as of `DenseMemory.step`.

        **Raises:** as `DenseMemory.step` does.
        """
        return self.prepared().step(state, stimulus, key)

    def prepared(self, clamped: Bool[Array, " N"] | None = None) -> "_Prepared":
        """What makes the steps of a run, in which neurons that are `clamped` stay as they are."""
        return _Prepared(self, clamped)

    def domain(self):
        """Of every part, and a share between 0 and 1."""
        yield from self.still.domain()
        yield from interaction_bounds(self.follow)
        yield Bound("share", self.share, -_ROUNDING)
        yield Bound("share", 1 - self.share, -_ROUNDING, label="1 - share")
        yield from self.trace.domain()
        yield from self.transition.domain()


class _Prepared(eqx.Module):
    """A sequence as the steps of a run need it, with the neurons that stay as they are."""

    network: DenseSequence
    clamped: Bool[Array, " N"] | None

    def step(
        self, state: SpinState, stimulus: PerNeuron | None = None, key: jax.Array | None = None
    ) -> SpinState:
        """As that of the network."""
        network, still = self.network, self.network.still
        key = checked_key(still, key)
        respond = response_of(still)
        h, legal = known_spins(still, state)
        if network.update == "parallel":
            new = kept(self.clamped, h, respond(network.field(state, stimulus), h, key))
        else:
            new = self._one_by_one(state, stimulus, key)
        new = legal(new)
        return SpinState(new, network.trace.after(network._past(state), h, new))

    def _one_by_one(self, state: SpinState, stimulus: PerNeuron | None, key) -> PerNeuron:
        network, h = self.network, state.spins
        still, moving = network.still, network._moving()
        stimulus = checked_stimulus(still, stimulus)
        hold = feel_of(still, h, stimulus)
        if network.trace.present:
            follow = feel_of(moving, h, stimulus)
        else:  # of the past, which does not change during a step
            followed = network._followed(state, stimulus)
            follow = lambda i, X, xi, old: followed[i]  # noqa: E731

        def feel(*site):
            return network._together(hold(*site), follow(*site))

        X = overlap_sums(network.patterns, h, still.signs, network.block)
        how = network.update, key, self.clamped
        return one_by_one(feel, response_of(still), network.patterns.column, h, X, *how)
