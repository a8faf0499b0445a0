"""The two-timescale network as a recurrent layer: it learns sequences and replays them."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Bool, Float

from .. import _status
from .._engines import Diffrax, EventDriven
from .._errors import (
    as_count,
    as_float,
    as_key,
    as_number,
    check_at_least,
    check_bool,
    check_finite,
    check_option,
    check_shape,
    check_type,
    shown,
)
from .._simulate import simulate
from .._types import ArrayLike
from ..constraints import AbstractConstraint, Unconstrained
from ..networks import FieldState, TwoTimescaleHopfield, check_kind
from ..patterns import Patterns
from ._free import Free, FreeNetwork, as_reach, near
from ._masked import as_mask, only
from ._placed import beside
from ._precision import arrived, check_weights, of_any_rank, widened

Output: TypeAlias = Literal["overlaps", "saliency", "rates"]


#: Where the parameters of a layer are, by name.
PARTS: dict[str, Callable[[Any], Any]] = {
    "transition": lambda layer: layer.parameters.transition,
    "kappa": lambda layer: layer.parameters.kappa,
    "tau": lambda layer: layer.parameters.tau,
    "bias": lambda layer: layer.parameters.bias,
    "activation": lambda layer: layer.parameters.activation,
    "patterns": lambda layer: layer.parameters.patterns,
    "encoder": lambda layer: layer.encoder,
    "current_gain": lambda layer: layer.gains.current,
    "stimulus_gain": lambda layer: layer.gains.stimulus,
}


class ExponentialEuler(eqx.Module):
    r"""Equal steps of length $h$ in which both decays are exact and all else is constant:

    $$x \leftarrow e^{-h} x + (1 - e^{-h})\, F(x, z), \qquad
    z \leftarrow e^{-h/\tau} z + (1 - e^{-h/\tau})\, \kappa A f(m).$$

    They are of first order in $h$: handovers come too late by O(h). Each step is a weighted mean of
    the old state and a bounded drive, so that the state cannot grow beyond it, however long the
    steps are. Hochbruck, Ostermann, Acta Numerica 19 (2010), section 2.1.

    **Arguments:** `steps`: how many a call of `SequenceMemory.step` takes.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    layer = hx.nn.SequenceMemory(network, dt=10.0, method=hx.nn.ExponentialEuler(16))
    state, overlaps = layer.step(layer.init(), network.patterns.xi[0])
    overlaps.round(2)  # 1, 0, 0, 0
    ```
    """

    steps: int = eqx.field(static=True)

    def __init__(self, steps: int = 32):
        self.steps = as_count(steps, "steps", most=2**31 - 1)


class Gains(eqx.Module):
    """How strongly an input drives the field, and the saliencies if it does."""

    current: Free
    stimulus: Free | None


class SequenceMemory(eqx.Module):
    r"""A two-timescale Hopfield network as a recurrent layer.

    Every input $u_k$ is held for a time `dt`, while the network moves by

    $$\dot x = -x + \sum_\mu \big( (z_\mu + g_s s_\mu)\, m_\mu + b_\mu \big)\, \xi^\mu + g_c\, h,
    \qquad \tau \dot z = -z + \kappa\, A f(m), \qquad h = W u_k, \quad
    s_\mu = \xi^\mu \cdot h / N.$$

    The input makes the memories that it resembles salient ($g_s$, input-driven plasticity) and
    drives the field ($g_c$; saliency alone cannot move a field that is zero). Memories that are
    shown charge their successors, so $z$ at the end of a step predicts the next item. Without input
    the network replays the sequence that $A$ holds, with its own dwell times, if $\kappa$ is large
    enough (`hopfax.theory.sequential.critical_gain`, `dwell_time`).

    **Arguments:**

    - `network`: a `TwoTimescaleHopfield`; its parameters are where training starts, and its
      patterns' dtype is that of the layer.
    - `in_size`: the size of the inputs. None for N, without a projection; otherwise $W$ is drawn
      with entries of variance 1/`in_size`.
    - `dt`: how long an input is held, in fast time constants. Static.
    - `output`: what a step returns: "overlaps" $m$ (P,), what is recalled; "saliency" $z$ (P,),
      what comes next; or "rates" $\psi(x)$ (N,).
    - `current_gain`: $g_c$. An item that is shown is recalled at once if this is larger than the
      saliency of the memory that is active.
    - `stimulus_gain`: $g_s$. None: inputs drive the field alone and make no memory salient. With
      `method=EventDriven()` it must be None.
    - `constraint`: what $A$ obeys in training, from `hopfax.constraints`: `Simplex()` for columns
      that sum to one, so that the gain cannot hide in $A$; `Positive()`; `zero_diagonal(P)`.
    - `reach`: a factor above 1, within which $\kappa$, $\tau$, bias, activation and the gains of
      the input stay about their start, with their signs, and what is zero stays zero. With 1.25 a
      gain of 1.5 times the critical one stays above it. `math.inf`: no bounds.
    - `learn_patterns`: whether the memories are learned; otherwise they are constants.
    - `method`: `ExponentialEuler(steps)`; or `hopfax.EventDriven()` (hard tanh, exact) or
      `hopfax.Diffrax(...)`, by which `hopfax.simulate` then runs every step. `jax.export` takes the
      first for any batch and length, the second for any length, and no diffrax.
    - `key`: for $W$; needed with `in_size`.

    **Raises:** ValueError/TypeError naming the argument.

    **Replay.** Without input (zeros) a step lets the network go on for a time `dt`: an item lasts
    its dwell time divided by `dt`, about one step if `dt` is close to the dwell time
    (`hopfax.theory.sequential.dwell_time`). Otherwise take equal items in a row as one.

    **Training.** What is learned are floating arrays that may take any value in training: the
    matrix $A$ under a constraint, the encoder $W$, and the logarithms of $\kappa$, $\tau$, $b$,
    $g_s$, $g_c$ (and of numbers of the activation), which stay within the factor `reach` of their
    start. The property `network` is the network that they make, for simulation, sweeps and theory.

    To train everything, take `eqx.partition(layer, eqx.is_inexact_array)`, as for any layer; to
    begin with the order alone, `eqx.partition(layer, layer.trainable("transition"))`. With
    `Simplex()` and `output="saliency"`, whose entries serve as logits, `optax.adam(1e-2)` will do.
    Without bounds a loss of the next item makes gains large and $\tau$ short, which scales the
    logits, until nothing hands over, and memories lose their orthogonality: they are constants by
    default. So ten of ten random cycles of eight items are learned and replayed (300 steps);
    without bounds none is, with memories that are trained two are.

    An item with several successors needs a memory for each context: `hopfax.examples.melodies`.

    Gradients reach $A$ and $\kappa$ through saliencies, but hard tanh is flat where it saturates:
    to train patterns or encoder, take a smooth activation such as `Tanh(4.0)`.

    Dynamics: Betteti, Baggio, Zampieri 2026, arXiv:2603.03201; input-driven plasticity: Betteti,
    Baggio, Bullo, Zampieri 2025, arXiv:2411.05849.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(list(range(1, 9)), 16)
    A = jnp.full((8, 8), 1 / 8)  # the transition matrix: any memory may follow any other
    net = hx.TwoTimescaleHopfield(patterns, A, kappa=6.0, tau=8.0, bias=0.01)
    layer = hx.nn.SequenceMemory(net, output="saliency", constraint=hx.constraints.Simplex())
    layer(patterns.xi[:4]).shape  # (4, 8): what comes next, for every memory
    ys, state = layer(patterns.xi[:4], layer.init())  # the same, to go on from
    state, y = layer.step(state, jnp.zeros(16))
    ```
    """

    parameters: FreeNetwork
    gains: Gains
    encoder: Float[Array, "N I"] | None
    method: ExponentialEuler | Diffrax | EventDriven
    dt: float = eqx.field(static=True)
    output: Output = eqx.field(static=True)

    @of_any_rank
    def __init__(
        self,
        network: TwoTimescaleHopfield,
        in_size: int | None = None,
        *,
        dt: float = 10.0,
        output: Output = "overlaps",
        current_gain: ArrayLike = 2.0,
        stimulus_gain: ArrayLike | None = 1.0,
        constraint: AbstractConstraint = Unconstrained(),
        reach: float = 1.25,
        learn_patterns: bool = False,
        method: ExponentialEuler | Diffrax | EventDriven = ExponentialEuler(),
        key: jax.Array | None = None,
    ):
        check_kind(network, TwoTimescaleHopfield)
        check_type(constraint, "constraint", AbstractConstraint, "one of hopfax.constraints")
        check_bool(learn_patterns, "learn_patterns")
        dtype, reach = network.patterns.xi.dtype, as_reach(reach)
        self.parameters = FreeNetwork(
            network, constraint=constraint, reach=reach, learn_patterns=learn_patterns
        )
        self.encoder = _encoder(network.patterns, in_size, key)
        self.gains = _gains(current_gain, stimulus_gain, dtype, reach)
        self.dt, self.output, self.method = as_number(dt, "dt"), output, method

    @of_any_rank
    def __check_init__(self):
        check_option(self.output, "output", ("overlaps", "saliency", "rates"))
        check_at_least(as_float(self.dt, "dt"), "dt", 0.0, strict=True)
        _check_method(self.method, self.gains.stimulus)
        if self.encoder is not None:
            shape = (self.parameters.shape[1], self.encoder.shape[1])
            check_shape(self.encoder, "encoder", shape, "(N, in_size)")

    @property
    @of_any_rank
    def network(self) -> TwoTimescaleHopfield:
        """The network with the present parameters."""
        return self.parameters.network

    @property
    def patterns(self) -> Patterns:
        """The memories."""
        return self.network.patterns

    def trainable(self, *names: str) -> "SequenceMemory":
        """Which arrays to train: a tree like the layer, True at those of these parameters.

        `eqx.partition(layer, layer.trainable("transition"))` splits the layer by it, and
        `optax.multi_transform` takes labels that are made of it.

        **Arguments:** `names`: "transition", "kappa", "tau", "bias", "activation", "patterns" (of
        the network), "encoder", "current_gain", "stimulus_gain". None: all that is learned.

        **Raises:** ValueError for another name, or for a parameter that the layer does not learn.
        """
        learned = {name: jax.tree.map(eqx.is_inexact_array, at(self)) for name, at in PARTS.items()}
        learned = {name: part for name, part in learned.items() if any(jax.tree.leaves(part))}
        chosen = jax.tree.map(lambda _: False, self)
        for name in names or learned:
            check_option(name, "names", tuple(learned))
            chosen = eqx.tree_at(PARTS[name], chosen, learned[name])
        return chosen

    @property
    def in_size(self) -> int:
        """The size of one input."""
        return self.parameters.shape[1] if self.encoder is None else self.encoder.shape[1]

    @of_any_rank
    def inputs(self, u: Float[Array, " I"]) -> dict[str, Float[Array, " N"] | None]:
        """The `stimulus` and `current` of `hopfax.simulate` that have the effect of an input."""
        drive = u if self.encoder is None else self.encoder @ u
        gains = self.gains
        stimulus = None if gains.stimulus is None else gains.stimulus.value * drive
        return {"stimulus": stimulus, "current": gains.current.value * drive}

    @of_any_rank
    def init(
        self, *, saliency: ArrayLike | None = None, field: ArrayLike | None = None
    ) -> FieldState:
        """A state to start from, by default at rest: nothing is salient, nothing recalled.

        **Arguments:** `saliency` (P,), zero if not given, and `field` (N,), by default that of
        `TwoTimescaleHopfield.init`.
        """
        (self,) = widened(self)
        network = self.network
        if saliency is None:
            saliency = jnp.zeros(network.patterns.P, network.patterns.xi.dtype)
        state = network.init(saliency=saliency, field=field)
        return FieldState(state.field, state.saliency)  # currents will leave the patterns' span

    @of_any_rank
    def step(
        self, state: FieldState, u: Float[Array, " I"]
    ) -> tuple[FieldState, Float[Array, " O"]]:
        """The state after the input `u` was held for a time `dt`, and the output then.

        Both are NaN if the step is made by `hopfax.simulate` and fails. `jax.lax.scan` wants a
        function: `lambda state, u: layer.step(state, u)`, as a bound method of a module cannot be
        hashed. `layer(us, state)` gives the same.
        """
        u = arrived(u, "u")
        check_shape(u, "u", (self.in_size,), "(in_size,)")
        dtype = u.dtype
        self, state, u = widened(self, _started(self, state), u)
        network, state = self.network, beside(state, self, u)
        state, y = _advance(self, network, network.decoder(), state, u)
        return state, y.astype(dtype)

    @overload
    def __call__(
        self, us: Array, state: None = None, *, mask: Any = ..., key: Any = ...
    ) -> Array: ...
    @overload
    def __call__(
        self, us: Array, state: FieldState, *, mask: Any = ..., key: Any = ...
    ) -> tuple[Array, FieldState]: ...
    @of_any_rank
    def __call__(
        self,
        us: Float[Array, "T I"],
        state: FieldState | None = None,
        *,
        mask: Bool[Array, " T"] | None = None,
        key: jax.Array | None = None,
    ) -> Float[Array, "T O"] | tuple[Float[Array, "T O"], FieldState]:
        """The outputs for a sequence of inputs; from a `state`, these and the state after them.

        **Arguments:**

        - `us`: (T, in_size), zeros where there is no input.
        - `state`: of `init(...)`, a `step` or another call. Without one the layer starts from
          `init()` and returns the outputs alone.
        - `mask`: True where a step counts. In the others no time passes, and their outputs are
          zero. They may hold anything, NaN included.
        - `key`: not used.
        """
        us = arrived(us, "us")
        if us.shape[1:] != (self.in_size,):
            raise ValueError(f"`us` must have shape (T, in_size = {self.in_size}), got {us.shape}.")
        dtype, given = us.dtype, state is not None
        if mask is not None:
            mask = as_mask(mask, us.shape[0])
            us = only(mask, us)
        start = self.init() if state is None else _started(self, state)
        self, start, us = widened(self, start, us)
        network, start = self.network, beside(start, self, us, mask)
        decoder = network.decoder()

        def body(state, now):
            u, counts = now
            new, y = _advance(self, network, decoder, state, u)
            if counts is None:
                return new, y
            new = jax.tree.map(lambda new, old: jnp.where(counts, new, old), new, state)
            return new, jnp.where(counts, y, 0.0)

        end, ys = lax.scan(body, start, (us, mask))
        ys = ys.astype(dtype)
        return (ys, end) if given else ys


def _advance(layer, network, decoder, state, u) -> tuple[FieldState, Array]:
    method = layer.method
    if isinstance(method, ExponentialEuler):
        state = _euler(layer, network, decoder, state, u, method.steps)
    else:
        state = _simulated(layer, network, state, u, method)
    if layer.output == "saliency":
        assert state.saliency is not None
        return state, state.saliency
    rates = network.activation(state.field)
    return state, rates if layer.output == "rates" else network.read(rates, decoder)


def _euler(layer, network, decoder, state, u, steps: int) -> FieldState:
    given = layer.inputs(u)
    current, stimulus = given["current"], given["stimulus"]
    evidence = None if stimulus is None else network.patterns.overlap(stimulus)
    h = jnp.asarray(layer.dt / steps, state.field.dtype)
    fast, slow = -jnp.expm1(-h), -jnp.expm1(-h / network.tau) * network.tau

    def body(state, _):
        rates = network.activation(state.field)
        saliency = network.saliency(state.saliency, evidence)
        pull = network.relax(rates, state.saliency, saliency, decoder)
        drive = network.patterns.field(pull.weights) + current
        if pull.residual is not None:
            drive = drive + pull.residual
        field = state.field + fast * (drive - state.field)
        z = state.saliency + slow * pull.slow
        return FieldState(field, z), None

    return lax.scan(body, state, length=steps)[0]


def _simulated(layer, network, state, u, method: Diffrax | EventDriven) -> FieldState:
    ts = jnp.asarray([0.0, layer.dt], state.field.dtype)
    given: Any = layer.inputs(u)
    try:
        run = simulate(network, state, ts, **given, method=method, throw=False)
    except TypeError as error:
        if "manual axis" not in str(error):
            raise
        raise ValueError(
            f"`method` = {type(method).__name__} is not for jax.shard_map with check_vma=True: "
            "take check_vma=False there, or hopfax.nn.ExponentialEuler for the layer."
        ) from error
    fine, end = run.status == _status.OK, run.final
    field, z = (jnp.where(fine, v, jnp.nan) for v in (end.field, end.saliency))
    return FieldState(field, z)


def _check_method(method: Any, stimulus_gain: Any) -> None:
    """TypeError for what is no method, ValueError for one that takes no stimulus."""
    if not isinstance(method, ExponentialEuler | Diffrax | EventDriven):
        raise TypeError(
            "`method` must be hopfax.nn.ExponentialEuler(...), hopfax.EventDriven(...) or "
            f"hopfax.Diffrax(...), got {shown(method)}."
        )
    if isinstance(method, EventDriven) and stimulus_gain is not None:
        raise ValueError(
            "`stimulus_gain` must be None with method=EventDriven(...), to which a stimulus "
            "beside the slow saliency is not known; hopfax.Diffrax(...) takes both."
        )


def _encoder(patterns: Patterns, in_size: int | None, key: Any) -> Float[Array, "N I"] | None:
    """The projection $W$ of the inputs, or None if there is none."""
    if in_size is None:
        return None
    in_size = as_count(in_size, "in_size")
    if key is None:
        raise ValueError("`in_size` needs a `key`: make one with jax.random.key(seed).")
    shape = (patterns.N, in_size)
    check_weights(patterns.dtype, in_size=in_size, N=patterns.N)
    return jr.normal(as_key(key), shape, patterns.xi.dtype) / in_size**0.5


def _started(layer: SequenceMemory, state: Any) -> FieldState:
    """A state of the layer, whose field need not lie in the patterns' span."""
    if not isinstance(state, FieldState) or state.saliency is None:
        raise TypeError("`state` must be a FieldState with saliency: from init(...) or a step.")
    P, N = layer.patterns.xi.shape
    check_shape(state.field, "state.field", (N,), "(N,)")
    check_shape(state.saliency, "state.saliency", (P,), "(P,)")
    return FieldState(state.field, state.saliency)


def _gains(current: ArrayLike, stimulus: ArrayLike | None, dtype, reach: float) -> Gains:
    driving = near(_gain(current, "current_gain", dtype), reach)
    if stimulus is None:
        return Gains(driving, None)
    return Gains(driving, near(_gain(stimulus, "stimulus_gain", dtype), reach))


def _gain(value: ArrayLike, name: str, dtype) -> Float[Array, ""]:
    value = as_float(value, name, dtype)
    check_shape(value, name, (), "()")
    check_finite(value, name)
    return value
