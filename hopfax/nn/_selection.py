"""Input-driven selection among stored dynamics: a bank of linear memories behind two gates."""

from typing import Any, NamedTuple, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from equinox import AbstractVar
from jaxtyping import Array, Bool, Float

from .._errors import (
    as_count,
    as_key,
    check_bool,
    check_option,
    check_shape,
    check_type,
    shown,
)
from ._linear import MODES, Mode, Modes
from ._masked import counted_first
from ._precision import (
    arrived,
    check_state,
    check_weights,
    of_any_rank,
    weights_dtype,
    widened,
)
from ._selectors import COUNTER, AbstractSelector, ResidualSelector


class Gates(NamedTuple):
    """How much each slot of a `Bank` is written and read, each in [0, 1].

    **Example:**

    ```python
    layer = hx.nn.ResidualSelection(3, 2, slots=2, inference=True, key=jax.random.key(0))
    gates = layer.gates(jnp.eye(3)[jnp.array([0, 2, 1, 2])])
    isinstance(gates, hx.nn.Gates), gates.write.shape, gates.read.shape  # True, (4, 2), (4, 2)
    ```
    """

    write: Float[Array, "*T S"]
    read: Float[Array, "*T S"]


class Bank(eqx.Module):
    r"""S linear memories of the values of the inputs, written and read by weights.

    $$m^i_k = \Lambda_i m^i_{k-1} + g^i_k\, (W_v u_k), \qquad
    y_k = W_o \sum_i h^i_k m^i_k + D u_k + d.$$

    The weights multiply inputs and outputs, never $\Lambda$: for any weights in [0, 1] the memories
    stay below $\max_k |W_v u_k| / (1 - \lambda)$, mode by mode.

    At first a memory loses the share 1e-5 at every step, and $D$ and $d$ are zero.

    **Arguments:**

    - `inputs`, `outputs`: sizes of $u$ and $y$.
    - `slots`: how many memories there are, S.
    - `width`: size of one memory, by default that of the inputs.
    - `dtype`: of the parameters. Default: the default float.
    - `key`: keyword only; makes the initial parameters.

    **Raises:** ValueError naming the argument.

    **Example:**

    ```python
    bank = hx.nn.Bank(3, 2, slots=2, key=jax.random.key(0))
    first = jnp.array([1.0, 0.0])  # write to the first slot, and read it
    memory, y = bank.step(bank.init(), hx.nn.Gates(first, first), jnp.ones(3))
    memory[1], y.shape  # zeros, (2,)
    ```
    """

    value: Float[Array, "width inputs"]
    memory: Modes
    readout: Float[Array, "outputs width"]
    skip: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        slots: int,
        *,
        width: int | None = None,
        dtype: Any = None,
        key: Array,
    ):
        width = inputs if width is None else width
        inputs, outputs = as_count(inputs, "inputs"), as_count(outputs, "outputs")
        slots, width = as_count(slots, "slots"), as_count(width, "width")
        dtype = weights_dtype(dtype)
        check_weights(dtype, outputs=outputs, inputs=inputs)
        check_weights(dtype, width=width, inputs=inputs + outputs)
        check_weights(dtype, width=width, slots=slots)
        into, out = jr.split(as_key(key))
        self.value = jr.normal(into, (width, inputs), dtype) * width**-0.5
        self.memory = Modes(jnp.full((slots, width), COUNTER, dtype))
        self.readout = jr.normal(out, (outputs, width), dtype) * width**-0.5
        self.skip = jnp.zeros((outputs, inputs), dtype)
        self.bias = jnp.zeros(outputs, dtype)

    def __check_init__(self):
        rate, width = self.memory.log_rate, self.value.shape[0]
        check_shape(rate, "memory.log_rate", (*rate.shape[:1], width), "(slots, width)")

    @property
    def slots(self) -> int:
        """How many memories there are, S."""
        return self.memory.log_rate.shape[0]

    def init(self) -> Float[Array, "S width"]:
        """The memories before the first input, all zero."""
        return self.memory.init()

    def step(
        self, memory: Float[Array, "S width"], gates: Gates, u: Float[Array, " inputs"]
    ) -> tuple[Float[Array, "S width"], Float[Array, " outputs"]]:
        """The memories after one input, and what is read from them."""
        memory = self.memory.step(memory, gates.write[:, None] * (self.value @ u))
        return memory, self._read(memory, gates.read, u)

    def outputs(
        self, gates: Gates, us: Float[Array, "T inputs"], mode: Mode = "auto"
    ) -> Float[Array, "T outputs"]:
        """What is read at all steps; `mode` as in `Modes.states`."""
        return self.run(self.init(), gates, us, mode)[1]

    def run(
        self,
        memory: Float[Array, "S width"],
        gates: Gates,
        us: Float[Array, "T inputs"],
        mode: Mode = "auto",
        count: Array | None = None,
    ) -> tuple[Float[Array, "S width"], Float[Array, "T outputs"]]:
        """The memories after the first `count` inputs (default: all), and what is read at all
        steps, from the memories before them."""
        values = us @ self.value.T
        drive = gates.write[:, :, None] * values[:, None, :]
        memory, memories = self.memory.run(memory, drive, mode, count)
        return memory, jax.vmap(self._read)(memories, gates.read, us)

    def _read(self, memory, weights, u):
        return self.readout @ (weights @ memory) + self.skip @ u + self.bias


class AbstractSelection(eqx.Module):
    """The methods of `Selection` and `ResidualSelection`: two selectors and a bank."""

    write: AbstractVar[AbstractSelector]
    read: AbstractVar[AbstractSelector]
    bank: AbstractVar[Bank]
    mode: AbstractVar[Mode]

    def __check_init__(self):
        check_option(self.mode, "mode", MODES)
        check_type(self.bank, "bank", Bank, "a hopfax.nn.Bank")
        for name in ("write", "read"):
            if not isinstance(getattr(self, name), AbstractSelector):
                raise TypeError(f"`{name}` must be a selector, got {shown(getattr(self, name))}.")
            slots = getattr(self, name).slots
            if slots != self.bank.slots:
                raise ValueError(
                    f"`{name}` must select among as many slots as `bank` has, {self.bank.slots}, "
                    f"but it selects among {slots}."
                )

    def init(self) -> Any:
        """The state before the first input."""
        (self,) = widened(self)
        return self.write.init(), self.read.init(), self.bank.init()

    @of_any_rank
    def step(
        self,
        state: Any,
        u: Float[Array, " inputs"],
        *,
        key: Array | None = None,
        inference: bool | None = None,
    ) -> tuple[Any, Float[Array, " outputs"]]:
        """The state after one input, and the output then; `key` and `inference` as in a call.

        `jax.lax.scan` wants a function: `lambda state, u: layer.step(state, u)`, as a bound method
        of a module cannot be hashed. `layer(us, state)` gives the same, faster.
        """
        self = self._switched(inference)
        u = self._given(u, "u", 1)
        dtype = u.dtype
        check_state(state, self.init)
        self, state, u = widened(self, state, u)
        write, read, memory = state
        keys = _both(key)
        write, written = self.write.step(write, u, key=keys[0])
        read, wanted = self.read.step(read, u, key=keys[1])
        memory, y = self.bank.step(memory, Gates(written, wanted), u)
        return (write, read, memory), y.astype(dtype)

    @overload
    def __call__(
        self,
        us: Array,
        state: None = None,
        *,
        mask: Any = ...,
        key: Any = ...,
        inference: Any = ...,
    ) -> Array: ...
    @overload
    def __call__(
        self, us: Array, state: Any, *, mask: Any = ..., key: Any = ..., inference: Any = ...
    ) -> tuple[Array, Any]: ...
    @of_any_rank
    def __call__(
        self,
        us: Float[Array, "T inputs"],
        state: Any = None,
        *,
        mask: Bool[Array, " T"] | None = None,
        key: Array | None = None,
        inference: bool | None = None,
    ) -> Float[Array, "T outputs"] | tuple[Float[Array, "T outputs"], Any]:
        """The outputs at all steps; from a `state`, these and the state after them.

        **Arguments:**

        - `us`: (T, inputs).
        - `state`: of `init()`, a `step` or another call. Without one the layer starts anew and
          returns the outputs alone.
        - `mask`: True where a step counts; the others are left out, as if they were not there, and
          their outputs are zero. They may hold anything, NaN included.
        - `key`: for the noise of selectors that have some in training. Needed there.
        - `inference`: True for no noise, False for noise, None for what the selectors say
          (`equinox.nn.inference_mode` sets all of them).
        """
        self = self._switched(inference)
        us = self._given(us, "us", 2)
        dtype, given = us.dtype, state is not None
        order = None if mask is None else counted_first(mask, us.shape[0])
        us = us if order is None else order.taken(us)
        count = None if order is None else order.count
        if given:
            check_state(state, self.init)
        self, us, state = widened(self, us, state if given else self.init())
        write, read, memory = state
        (write, read), gates = self._gated(write, read, us, key, count)
        memory, ys = self.bank.run(memory, gates, us, self.mode, count)
        ys = (ys if order is None else order.put(ys)).astype(dtype)
        return (ys, (write, read, memory)) if given else ys

    @of_any_rank
    def gates(
        self,
        us: Float[Array, "T inputs"],
        *,
        key: Array | None = None,
        inference: bool | None = None,
    ) -> Gates:
        """How much each slot is written and read at all steps, each (T, S); else as a call."""
        self = self._switched(inference)
        us = self._given(us, "us", 2)
        dtype = us.dtype
        self, us = widened(self, us)
        gates = self._gated(self.write.init(), self.read.init(), us, key, None)[1]
        return Gates(*(weights.astype(dtype) for weights in gates))

    def _switched(self, inference: bool | None):
        """The layer in training or in inference, as a call wants it."""
        if inference is None:
            return self
        check_bool(inference, "inference")
        return eqx.nn.inference_mode(self, inference)

    def _given(self, us: Any, name: str, ndim: int) -> Array:
        """The inputs as a floating array; ValueError for another shape."""
        us, size = arrived(us, name), self.bank.value.shape[1]
        if us.ndim != ndim or us.shape[-1] != size:
            shape = ("T, " if ndim == 2 else "") + f"inputs = {size}"
            raise ValueError(
                f"`{name}` must have shape ({shape}), got {us.shape}. One sequence at a time; "
                "for a batch use jax.vmap."
            )
        return us

    def _gated(self, write: Any, read: Any, us: Array, key: Any, count: Any) -> tuple[Any, Gates]:
        """The states of both selectors after `count` checked inputs, and the gates at all steps, in
        the dtype of the parameters."""
        keys = _both(key)
        write, written = self.write.run(write, us, self.mode, count=count, key=keys[0])
        read, wanted = self.read.run(read, us, self.mode, count=count, key=keys[1])
        return (write, read), Gates(written, wanted)


def _both(key: Array | None) -> tuple[Array | None, Array | None]:
    """A key for each of the two selectors, if there is one."""
    if key is None:
        return None, None
    first, second = jr.split(as_key(key))
    return first, second


class Selection(AbstractSelection):
    """Input-driven selection among stored dynamics, from parts.

    One selector says to which of the memories of a `Bank` the present input is written, another
    which of them is read. Any selector goes with any bank.

    **Arguments:**

    - `write`, `read`: two selectors, each an `AbstractSelector` over as many slots as `bank` has.
    - `bank`: the `Bank`.
    - `mode`: how the linear parts are computed: "auto", "recurrent" or "scan"; see `Modes.states`.

    **Raises:** ValueError naming the argument.

    **Example:**

    ```python
    keys = jax.random.split(jax.random.key(0), 3)
    write = hx.nn.ResidualSelector(3, 2, key=keys[0])  # by what was seen so far
    read = hx.nn.SaliencySelector(jnp.eye(2, 3))  # by the present input
    layer = hx.nn.Selection(write, read, hx.nn.Bank(3, 2, slots=2, key=keys[1]))
    us = jnp.eye(3)[jnp.array([0, 2, 1, 2])]
    layer(us, inference=True).shape  # (4, 2); in training `write` wants a key, for its noise
    ```
    """

    write: AbstractSelector
    read: AbstractSelector
    bank: Bank
    mode: Mode = eqx.field(static=True)

    def __init__(
        self, write: AbstractSelector, read: AbstractSelector, bank: Bank, *, mode: Mode = "auto"
    ):
        self.write, self.read, self.bank, self.mode = write, read, bank, mode


class ResidualSelection(AbstractSelection):
    r"""A sequence layer that selects with linear time-invariant systems alone.

    A `ResidualSelector` detects events in the input and counts them, and writes the present input
    to the slot of a `Bank` whose count it is; a second one, with a detector of its own, does the
    same for reading:

    $$m^i_k = \lambda m^i_{k-1} + g^i_k\, (W_v u_k), \qquad
    y_k = W_o \sum_i h^i_k m^i_k + D u_k + d.$$

    All recurrences have constant coefficients, so a whole sequence is computed by a few
    convolutions with exponentials (as scans), and the state is bounded for any gates. In the models
    of Gu & Dao 2023, arXiv:2312.00752, the recurrence itself depends on the input. Casti,
    Zampieri, Pasqualetti 2025, arXiv:2505.17932.

    In training every call needs a `key`, for the noise without which what is learned does not hold
    on longer sequences (see `ResidualSelector`); begin with short ones. When it is trained,
    `equinox.nn.inference_mode(layer)` is the layer without noise.

    **Arguments:**

    - `inputs`, `outputs`: sizes of $u$ and $y$.
    - `slots`: S, how many inputs can be told apart by their order.
    - `taps`: how many of the last inputs a detector sees; `modes`: complex modes of each detector.
    - `width`: size of one memory, by default that of the inputs.
    - `jitter`: noise in training, see `ResidualSelector`. `inference`: whether there is none.
    - `mode`: how a call computes: "recurrent", "scan" or "auto"; see `Modes.states`. The numbers
      agree up to rounding, in single precision to 1e-5 of the largest output over ten thousand
      steps.
    - `dtype`: of the parameters. Default: the default float.
    - `key`: keyword only; makes the initial parameters.

    **Raises:** ValueError naming the argument; without a `key` in training.

    **Example:**

    ```python
    import equinox

    layer = hx.nn.ResidualSelection(3, 2, slots=2, key=jax.random.key(0))
    us = jnp.eye(3)[jnp.array([0, 2, 1, 2])]  # four one-hot tokens
    layer(us, key=jax.random.key(1))  # with the noise of training
    layer = equinox.nn.inference_mode(layer)
    layer(us).shape  # (4, 2)
    ys, state = layer(us, layer.init())  # the same, to go on from
    state, y = layer.step(state, us[0])
    ```
    """

    write: ResidualSelector
    read: ResidualSelector
    bank: Bank
    mode: Mode = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        slots: int = 4,
        taps: int = 4,
        modes: int = 0,
        width: int | None = None,
        jitter: float = 1.0,
        inference: bool = False,
        mode: Mode = "auto",
        dtype: Any = None,
        key: Array,
    ):
        written, wanted, bank = jr.split(as_key(key), 3)
        options: Any = dict(taps=taps, modes=modes, jitter=jitter, inference=inference, dtype=dtype)
        self.write = ResidualSelector(inputs, slots, **options, key=written)
        self.read = ResidualSelector(inputs, slots, **options, key=wanted)
        self.bank = Bank(inputs, outputs, slots, width=width, dtype=dtype, key=bank)
        self.mode = mode
