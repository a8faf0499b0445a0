"""Selectors: what decides, step by step, which slot of a bank is written or read."""

import abc
import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._errors import (
    as_count,
    as_float,
    as_key,
    as_number,
    check_bool,
    check_finite,
    check_option,
    check_shape,
)
from .._types import ArrayLike
from ..networks import FieldState, TwoTimescaleHopfield, check_kind
from ..networks._base import Inputs
from ._free import FreeNetwork
from ._linear import LinearSystem, Mode, Modes
from ._placed import beside
from ._precision import check_weights, weights_dtype

#: Logarithm of the rate of a counter, which loses the share 1e-5 of its count at every step.
COUNTER = math.log(1e-5)


class AbstractSelector(eqx.Module):
    """A function from inputs (T, d) to weights (T, S) in [0, 1]: which of S slots is selected.

    It is causal: weights depend on the inputs until then. To write one of your own, subclass this
    and give `init`, `step` and `slots`; whole sequences are then computed step by step, unless
    `run` is given, too.

    **Example:**

    ```python
    class Largest(hx.nn.AbstractSelector):  # the slot of the largest entry of the input
        size: int

        @property
        def slots(self):
            return self.size

        def init(self):
            return ()  # it remembers nothing

        def step(self, state, u, *, key=None):
            return state, jax.nn.one_hot(jnp.argmax(u), self.size, dtype=u.dtype)


    bank = hx.nn.Bank(3, 2, slots=3, key=jax.random.key(0))
    layer = hx.nn.Selection(Largest(3), Largest(3), bank)
    layer(jnp.eye(3)).shape  # (3, 2)
    ```
    """

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """How many slots there are, S."""

    @abc.abstractmethod
    def init(self) -> Any:
        """The state before the first input."""

    @abc.abstractmethod
    def step(
        self, state: Any, u: Float[Array, " d"], *, key: Array | None = None
    ) -> tuple[Any, Float[Array, " S"]]:
        """The state after one input, and the weights then.

        A `key` is for noise in training. A selector that draws has a field `inference`, which
        `equinox.nn.inference_mode` sets, and raises without a key unless that is True.
        """

    def run(
        self,
        state: Any,
        us: Float[Array, "T d"],
        mode: Mode = "auto",
        *,
        count: Array | None = None,
        key: Array | None = None,
    ) -> tuple[Any, Float[Array, "T S"]]:
        """The state after the first `count` inputs (default: all), and the weights at all steps,
        from a state before them; `mode` as in `Modes.states`, `key` as in `step`."""
        T = us.shape[0]
        steps, state = jnp.arange(T), beside(state, self, us, count, key)

        def body(state, now):
            k, u = now
            new, weights = self.step(state, u, key=None if key is None else jr.fold_in(key, k))
            if count is not None:
                new = jax.tree.map(lambda new, old: jnp.where(k < count, new, old), new, state)
            return new, weights

        return jax.lax.scan(body, state, (steps, us))

    def weights(
        self, us: Float[Array, "T d"], mode: Mode = "auto", *, key: Array | None = None
    ) -> Float[Array, "T S"]:
        """The weights at all steps, from the start; else as `run`."""
        return self.run(self.init(), us, mode, key=key)[1]


class ResidualSelector(AbstractSelector):
    r"""Selects by residuals, the parts of the input that linear systems cannot explain.

    $$a_k = \sigma\Big(b + \sum_{l=0}^{L-1} F_l u_{k-l} + \dots\Big), \qquad
    n_k = \lambda n_{k-1} + a_k,$$
    $$r^i_k = n_k - c_i, \qquad w^i_k = a_k\, \mathrm{softmax}_i(-\beta\, |r^i_k|^2).$$

    Slot i stands for the hypothesis that $c_i$ events have been seen; its residual vanishes when
    that is true. An event is what the `detector` accepts, a linear system with L taps and, with
    `modes`, a memory of all inputs. With taps alone, $-F$ is a parity relation of a pattern of L
    tokens, and $a$ says whether it holds. All dynamics are linear and time-invariant, so that a
    whole sequence is computed by a few scans; only $\sigma$ and the softmax are not linear.

    $\sigma(x) = \min(1, \max(0, 1.2/(1 + e^{-x}) - 0.1))$ is exactly 0 and 1 at its ends
    (Louizos et al. 2018, arXiv:1712.01312): inputs that are no events do not move the count at all,
    however many they are. In training noise of the size `jitter` is added to the argument of
    $\sigma$. It drives $a$ to exactly 0 or 1, so that what was learned holds on longer sequences,
    too; without it small errors of $a$ add up in $n$. As with `equinox.nn.Dropout`, a call needs a
    `key` for it unless `inference` is True (or `jitter` is 0).

    Casti, Zampieri, Pasqualetti 2025, arXiv:2505.17932, have the three linear blocks and the
    gate; this parametrisation is hopfax's own.

    **Arguments:**

    - `inputs`: size of $u$. `slots`: S; $c = 1, \dots, S$ at first.
    - `taps`: L. `modes`: complex modes of the detector.
    - `beta`: $\beta > 0$ at first. `bias`: $b$ at first.
    - `scale`: standard deviation of the detector's coefficients at first, right for inputs of unit
      norm.
    - `jitter`: standard deviation of the noise, not trained.
    - `inference`: whether there is none; `equinox.nn.inference_mode` switches it.
    - `dtype`: of the parameters. Default: the default float.
    - `key`: keyword only; makes the initial parameters.

    **Raises:** ValueError naming the argument; without a `key` in training.

    **Example:**

    ```python
    selector = hx.nn.ResidualSelector(3, 2, taps=2, inference=True, key=jax.random.key(0))
    weights = selector.weights(jnp.eye(3), "recurrent")  # (3, 2)
    ```
    """

    detector: LinearSystem
    bias: Float[Array, ""]
    counter: Modes
    ladder: Float[Array, " S"]
    log_beta: Float[Array, ""]
    jitter: float = eqx.field(static=True)
    inference: bool  # not static, for eqx.nn.inference_mode

    def __init__(
        self,
        inputs: int,
        slots: int,
        *,
        taps: int = 1,
        modes: int = 0,
        beta: float = 1.0,
        bias: float = 0.0,
        scale: float = 0.3,
        jitter: float = 1.0,
        inference: bool = False,
        dtype: Any = None,
        key: Array,
    ):
        slots = as_count(slots, "slots")
        check_weights(np.float32, slots=slots)
        _check_positive(beta, "beta")
        dtype = weights_dtype(dtype)
        self.detector = LinearSystem(
            inputs, 1, taps=taps, modes=modes, scale=scale, dtype=dtype, key=key
        )
        self.bias = _number(bias, "bias", dtype)
        self.counter = Modes(jnp.asarray(COUNTER, dtype))
        self.ladder = jnp.arange(1, slots + 1, dtype=dtype)
        self.log_beta = jnp.asarray(math.log(beta), dtype)
        self.jitter = as_number(jitter, "jitter")
        check_bool(inference, "inference")
        self.inference = inference

    def __check_init__(self):
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"`jitter` must be >= 0, got {self.jitter!r}.")
        if (made := self.detector.taps.shape[0]) != 1:
            raise ValueError(f"`detector` must have one output, but has {made}.")
        check_shape(self.counter.log_rate, "counter.log_rate", (), "()")

    @property
    def slots(self) -> int:
        """How many slots there are, S."""
        return self.ladder.shape[0]

    def init(self) -> Any:
        """The detector before the first input, and a count of zero."""
        return self.detector.init(), self.counter.init()

    def step(self, state, u, *, key=None):
        """The state after one input, and the weights then; `key` as in `weights`."""
        heard, count = state
        heard, evidence = self.detector.step(heard, u)
        accepted = saturating(self._jittered(evidence[0] + self.bias, key))
        count = self.counter.step(count, accepted)
        return (heard, count), self._select(accepted, count)

    def run(self, state, us, mode: Mode = "auto", *, count=None, key=None):
        """The state after the first `count` inputs, and the weights at all steps, with jitter from
        the `key` unless `inference` is True."""
        heard, first = state
        heard, evidence = self.detector.run(heard, us, mode, count)
        accepted = saturating(self._jittered(evidence[:, 0] + self.bias, key))
        last, counts = self.counter.run(first, accepted, mode, count)
        return (heard, last), jax.vmap(self._select)(accepted, counts)

    def _jittered(self, evidence: Array, key: Array | None) -> Array:
        """The argument of the sigmoid, with noise in training; ValueError if that has no key."""
        if self.inference or self.jitter == 0:
            return evidence
        if key is None:
            raise ValueError(
                f"`key` is needed in training, for noise of the size `jitter` = {self.jitter:g}: "
                "make one with jax.random.key(seed), anew for every call. To call the layer "
                "without noise take equinox.nn.inference_mode(layer), or inference=True."
            )
        noise = jr.normal(as_key(key), evidence.shape, evidence.dtype)
        return evidence + self.jitter * noise

    def _select(self, accepted: Array, count: Array) -> Float[Array, " S"]:
        """The weights at one step, from $a_k$ and $n_k$."""
        energies = jnp.square(count - self.ladder)
        return accepted * jax.nn.softmax(-jnp.exp(self.log_beta) * energies)


class SaliencySelector(AbstractSelector):
    r"""Selects by the resemblance of the present input to stored patterns.

    $$s_i = \xi^i \cdot u_k, \qquad w^i_k = \mathrm{softmax}_i(\beta\, s_i)
    \quad\text{or}\quad w^i_k = \frac{1}{1 + e^{-\beta (s_i - \theta)}}.$$

    It has no memory. The saliencies are those of input-driven plasticity (Betteti, Baggio, Bullo,
    Zampieri, Science Advances 2025, arXiv:2411.05849), where they are divided by N and enter as
    they are, without softmax or threshold. For patterns of equal norm the softmax selects by
    residuals, too: it is $\mathrm{softmax}(-\beta\, |u - \xi^i|^2 / 2)$.

    **Arguments:**

    - `patterns`: $\xi$, (S, d), one a row; trained like any weight.
    - `beta`: $\beta > 0$.
    - `form`: "softmax", one slot against the others, or "threshold", each by itself.
    - `threshold`: $\theta$, for the form "threshold".

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    selector = hx.nn.SaliencySelector(jnp.eye(2, 3), beta=4.0)  # two patterns of size 3
    selector.weights(jnp.eye(3)[:2])  # 0.98, 0.02 and 0.02, 0.98
    ```
    """

    patterns: Float[Array, "S d"]
    log_beta: Float[Array, ""]
    threshold: Float[Array, ""] | None
    form: Literal["softmax", "threshold"] = eqx.field(static=True)

    def __init__(
        self,
        patterns: ArrayLike,
        *,
        beta: float = 1.0,
        form: Literal["softmax", "threshold"] = "softmax",
        threshold: float | None = None,
    ):
        _check_positive(beta, "beta")
        self.patterns = as_float(patterns, "patterns")
        check_finite(self.patterns, "patterns")
        if self.patterns.ndim != 2 or 0 in self.patterns.shape:
            raise ValueError(f"`patterns` must have shape (S, d), got {self.patterns.shape}.")
        dtype = self.patterns.dtype
        self.log_beta = jnp.asarray(math.log(beta), dtype)
        self.threshold = None if threshold is None else _number(threshold, "threshold", dtype)
        self.form = form

    def __check_init__(self):
        check_option(self.form, "form", ("softmax", "threshold"))
        if (self.threshold is None) == (self.form == "threshold"):
            raise ValueError(
                '`threshold` must be given for `form="threshold"`, and only for it, '
                f"got {self.threshold!r}."
            )

    @property
    def slots(self) -> int:
        """How many slots there are, S."""
        return self.patterns.shape[0]

    def init(self) -> Any:
        """An empty state: it remembers nothing."""
        return ()

    def step(self, state, u, *, key=None):
        """The same empty state, and the weights."""
        saliency = self.patterns @ u
        beta = jnp.exp(self.log_beta)
        if self.threshold is None:
            return state, jax.nn.softmax(beta * saliency)
        return state, jax.nn.sigmoid(beta * (saliency - self.threshold))

    def run(self, state, us, mode: Mode = "auto", *, count=None, key=None):
        """The same empty state, and the weights at all steps."""
        return state, jax.vmap(lambda u: self.step((), u)[1])(us)


class TwoTimescaleSelector(AbstractSelector):
    r"""Selects by the state of a two-timescale network, to which the input is a current.

    $$w^\mu_k = \mathrm{softmax}_\mu(\beta\, m_\mu(x_k)), \qquad
    (x_k, z_k) = \Phi(x_{k-1}, z_{k-1};\; I = g\, u_k).$$

    The slow saliencies remember what was selected. So a memory stays selected when its input is
    gone, and gives way only to an input that is strong or lasts (hysteresis); with a transition
    matrix that is no multiple of the identity the network moves on by itself. $\Phi$ is `substeps`
    Euler steps of `dt` fast time constants. They are always taken one after the other: `mode` makes
    no difference. Betteti, Baggio, Zampieri 2026, arXiv:2603.03201.

    **Arguments:**

    - `network`: a `TwoTimescaleHopfield` of S memories of N = d neurons. All its numbers are
      trained, $\kappa$ and $\tau$ by their logarithms, so that they stay positive. The property of
      this name is the network that they make.
    - `gain`: $g$. `beta`: $\beta > 0$.
    - `dt`: length of an Euler step, between 0 and 1. `substeps`: steps for every input.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard([1, 2], 4)
    network = hx.TwoTimescaleHopfield(patterns, jnp.eye(2), kappa=2.0, tau=20.0)
    selector = hx.nn.TwoTimescaleSelector(network, gain=2.0, beta=20.0)
    shown = jnp.tile(patterns.xi[0], (20, 1))
    quiet = jnp.zeros((20, 4))
    selector.weights(jnp.concatenate([shown, quiet]))[-1].round(2)  # 1, 0: it remembers
    ```
    """

    parameters: FreeNetwork
    gain: Float[Array, ""]
    log_beta: Float[Array, ""]
    dt: float = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    def __init__(
        self,
        network: TwoTimescaleHopfield,
        *,
        gain: float = 1.0,
        beta: float = 4.0,
        dt: float = 0.25,
        substeps: int = 4,
    ):
        check_kind(network, TwoTimescaleHopfield)
        _check_positive(beta, "beta")
        substeps = as_count(substeps, "substeps")
        self.parameters = FreeNetwork(network)
        self.dt, self.substeps = as_number(dt, "dt"), substeps
        dtype = network.patterns.xi.dtype
        self.gain = _number(gain, "gain", dtype)
        self.log_beta = jnp.asarray(math.log(beta), dtype)

    def __check_init__(self):
        as_count(self.substeps, "substeps")
        if not 0 < self.dt < 1:
            raise ValueError(f"`dt` must lie between 0 and 1 fast time constants, got {self.dt!r}.")

    @property
    def network(self) -> TwoTimescaleHopfield:
        """The network with the present parameters."""
        return self.parameters.network

    @property
    def slots(self) -> int:
        """How many slots there are: the memories of the network."""
        return self.parameters.shape[0]

    def init(self) -> Any:
        """The state of the network at rest: field and saliencies are zero."""
        (P, N), dtype = self.parameters.shape, self.parameters.dtype
        return FieldState(jnp.zeros(N, dtype), jnp.zeros(P, dtype))

    def step(self, state, u, *, key=None):
        """The state of the network after one input, and the weights then."""
        network, inputs = self.network, Inputs(current=self.gain * u)
        state = beside(state, self, u)

        def substep(state, _):
            rate = network.vector_field(0.0, state, inputs)
            return jax.tree.map(lambda x, slope: x + self.dt * slope, state, rate), None

        state, _ = jax.lax.scan(substep, state, None, length=self.substeps)
        overlaps = network.overlaps(state)
        return state, jax.nn.softmax(jnp.exp(self.log_beta) * overlaps)


def saturating(x: Array) -> Array:
    r"""$\min(1, \max(0, 1.2/(1 + e^{-x}) - 0.1))$: exactly 0 below -2.4 and 1 above 2.4."""
    return jnp.clip(1.2 * jax.nn.sigmoid(x) - 0.1, 0.0, 1.0)


def _check_positive(value: Any, name: str) -> None:
    number = as_number(value, name)
    if not 0 < number < math.inf:
        raise ValueError(f"`{name}` must be a number > 0, got {number:g}.")


def _number(value: Any, name: str, dtype: Any) -> Array:
    """A finite scalar parameter."""
    value = as_float(value, name, dtype)
    check_shape(value, name, (), "()")
    check_finite(value, name)
    return value
