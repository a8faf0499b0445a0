r"""Linear time-invariant systems: diagonal, stable by construction, in two exact forms.

The states of $x_k = \lambda x_{k-1} + v_k$ can be computed one after the other, T steps; or by an
associative scan, as pairs (decay, input) of successive stretches combine to that of both, in
O(log T) steps one after the other. Both are exact but for rounding, and no state sees an input that
comes after it: not its rounding errors, and no NaN. (A convolution by FFT mixes all steps; it was
the slowest form, too.)
"""

import math
from typing import Any, Literal, TypeAlias

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
from ._placed import beside
from ._precision import check_weights, weights_dtype

Mode: TypeAlias = Literal["auto", "recurrent", "scan"]
MODES = ("auto", "recurrent", "scan")


class Modes(eqx.Module):
    r"""First-order linear filters side by side, each with its own decay.

    $$x_k = \lambda x_{k-1} + s\, v_k, \qquad \lambda = \exp(-e^\nu + i \theta), \quad x_{-1} = 0.$$

    $|\lambda| < 1$ for any $\nu$, and $\lambda^k$ is computed as $\exp(-k e^\nu + i k \theta)$,
    which stays accurate for $\lambda$ near one. For complex modes the real and imaginary parts of
    $v$ and $x$ are two real entries, the axis before those of the modes.
    Orvieto et al. 2023, arXiv:2303.06349.

    **Arguments:**

    - `log_rate`: $\nu$, of any shape.
    - `angle`: $\theta$, of the same shape, for complex modes; None for real ones.
    - `scaled`: whether $s = \sqrt{1 - |\lambda|^2}$, which keeps $x$ as large as white $v$, or 1.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    modes = hx.nn.Modes(jnp.log(jnp.log(jnp.array([2.0]))))  # a decay of 1/2
    modes.states(jnp.array([[1.0], [0.0], [0.0]]), "recurrent")  # 1, 0.5, 0.25
    ```
    """

    log_rate: Float[Array, "*modes"]
    angle: Float[Array, "*modes"] | None
    scaled: bool = eqx.field(static=True)

    def __init__(
        self, log_rate: ArrayLike, angle: ArrayLike | None = None, *, scaled: bool = False
    ):
        self.log_rate = as_float(log_rate, "log_rate")
        self.angle = None if angle is None else as_float(angle, "angle", self.log_rate.dtype)
        if self.angle is not None:
            check_shape(self.angle, "angle", self.log_rate.shape, "that of `log_rate`")
        check_bool(scaled, "scaled")
        for name, value in (("log_rate", self.log_rate), ("angle", self.angle)):
            check_finite(value, name)
        self.scaled = scaled

    def init(self) -> Array:
        """The state before the first input: zeros, of the shape of one input."""
        parts = () if self.angle is None else (2,)
        return jnp.zeros(parts + self.log_rate.shape, self.log_rate.dtype)

    def step(self, x: Array, v: Array) -> Array:
        """The state after one step, from the state before it and the input."""
        rate = jnp.exp(self.log_rate)
        x = _complex(x, 0) if self.angle is not None else x
        v = _complex(v, 0) if self.angle is not None else v
        x = self.powers(1)[1] * x + self._scale(rate) * v
        return x if self.angle is None else jnp.stack([x.real, x.imag])

    def states(self, vs: Array, mode: Mode = "auto") -> Array:
        """The states at all steps, (T, ...), from the inputs at all steps, (T, ...).

        **Arguments:** `mode`: "recurrent", one step after the other; "scan", an associative scan
        of depth O(log T); "auto", the first on a CPU, where it is the quicker one from a few
        hundred steps on, and for a length that is not known yet (`jax.export`); else the second.
        They give the same numbers up to rounding.
        """
        return self.run(self.init(), vs, mode)[1]

    def run(
        self, x: Array, vs: Array, mode: Mode = "auto", count: Array | None = None
    ) -> tuple[Array, Array]:
        """The state after the first `count` inputs (default: all), and the states at all steps,
        from a state `x` before them."""
        check_option(mode, "mode", MODES)
        x = beside(x, self, vs)
        if not _in_parallel(mode, vs.shape[0]):

            def step(x, v):
                x = self.step(x, v)
                return x, x

            last, xs = jax.lax.scan(step, x, vs)
            return (last if count is None else after(x, xs, count)), xs
        first = x
        if self.angle is not None:
            x, vs = _complex(x, 0), _complex(vs, 1)
        decay = self.powers(1)[1]
        vs = self._scale(jnp.exp(self.log_rate)) * vs
        vs = jnp.concatenate([vs[:1] + decay * x, vs[1:]])
        xs = scanned(jnp.broadcast_to(decay, vs.shape), vs)
        xs = xs if self.angle is None else jnp.stack([xs.real, xs.imag], axis=1)
        return after(first, xs, count), xs

    def powers(self, last: int) -> Array:
        r"""$\lambda^k$ for k = 0..last, (last + 1, ...), complex for complex modes."""
        check_weights(self.log_rate.dtype, last=last + 1, modes=2 * self.log_rate.size)
        steps = jnp.arange(last + 1, dtype=self.log_rate.dtype)
        steps = steps.reshape((-1,) + (1,) * self.log_rate.ndim)
        size = jnp.exp(-steps * jnp.exp(self.log_rate))
        if self.angle is None:
            return size
        turn = steps * self.angle
        return jax.lax.complex(size * jnp.cos(turn), size * jnp.sin(turn))

    def _scale(self, rate: Array) -> Array:
        # 1 - |lam|^2 without cancellation for |lam| near one
        scale = jnp.sqrt(-jnp.expm1(-2 * rate)) if self.scaled else jnp.ones_like(rate)
        return scale if self.angle is None else jax.lax.complex(scale, jnp.zeros_like(scale))


class LinearSystem(eqx.Module):
    r"""A causal LTI system: taps on the last inputs, and modes that remember all of them.

    $$y_k = \sum_{l=0}^{L-1} F_l u_{k-l} + \Re\, C x_k, \qquad x_k = \Lambda x_{k-1} + S B u_k.$$

    $\Lambda$ and $S$ are those of `Modes`. With modes it starts with decays $|\lambda|$ spread
    over [0.3, 0.999] and angles over [0, pi].

    **Arguments:**

    - `inputs`, `outputs`: sizes of $u$ and $y$.
    - `taps`: L. `modes`: how many complex ones.
    - `scale`: standard deviation of the entries of $F$ and of $C$ at first.
    - `dtype`: of the coefficients. Default: the default float.
    - `key`: keyword only; makes the initial coefficients.

    **Raises:** ValueError naming the argument.

    **Example:**

    ```python
    system = hx.nn.LinearSystem(2, 3, taps=2, modes=4, key=jax.random.key(0))
    us = jnp.ones((5, 2))
    ys = system.outputs(us, "recurrent")  # (5, 3)
    state, y = system.step(system.init(), us[0])  # y = ys[0]
    ```
    """

    taps: Float[Array, "outputs L inputs"]
    modes: Modes | None
    into: Float[Array, "2 modes inputs"] | None
    out: Float[Array, "2 outputs modes"] | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        taps: int = 1,
        modes: int = 0,
        scale: float = 0.3,
        dtype: Any = None,
        key: Array,
    ):
        inputs, outputs = as_count(inputs, "inputs"), as_count(outputs, "outputs")
        taps, modes = as_count(taps, "taps"), as_count(modes, "modes", 0)
        scale = as_number(scale, "scale")
        check_finite(scale, "scale")
        dtype = weights_dtype(dtype)
        check_weights(dtype, outputs=outputs, taps=taps, inputs=inputs)
        check_weights(dtype, modes=modes, inputs=2 * max(inputs, outputs))
        keys = jr.split(as_key(key), 4)
        self.taps = scale * jr.normal(keys[0], (outputs, taps, inputs), dtype)
        self.modes = self.into = self.out = None
        if modes:
            rate = np.geomspace(-np.log(0.3), -np.log(0.999), modes)
            angle = jr.uniform(keys[1], (modes,), dtype, 0.0, math.pi)
            self.modes = Modes(jnp.asarray(np.log(rate), dtype), angle, scaled=True)
            self.into = jr.normal(keys[2], (2, modes, inputs), dtype) * 2**-0.5
            self.out = scale * jr.normal(keys[3], (2, outputs, modes), dtype)

    def __check_init__(self):
        parts = (self.modes, self.into, self.out)
        given = [part for part in parts if part is not None]
        if len(given) not in (0, len(parts)):
            raise ValueError("`modes` need both `into` and `out`, and these need `modes`.")
        if self.modes is not None and self.into is not None:
            shape = (self.into.shape[1],)
            check_shape(self.modes.log_rate, "modes.log_rate", shape, "that of `into`")

    def init(self) -> tuple[Array, Array | None]:
        """The state before the first input: the last L - 1 inputs and the modes, all zero."""
        _, L, inputs = self.taps.shape
        memory = None if self.modes is None else self.modes.init()
        return jnp.zeros((L - 1, inputs), self.taps.dtype), memory

    def step(self, state: tuple, u: Float[Array, " inputs"]) -> tuple[tuple, Array]:
        """The state after one input, and the output then, (outputs,)."""
        past, x = beside(state, self, u)
        window = jnp.concatenate([u[None], past])  # the latest first, as the taps
        y = jnp.einsum("oli,li->o", self.taps, window)
        if self.modes is not None:
            x = self.modes.step(x, self._drive(u))
            y = y + self._read(x)
        return (window[:-1], x), y

    def outputs(
        self, us: Float[Array, "T inputs"], mode: Mode = "auto"
    ) -> Float[Array, "T outputs"]:
        """The outputs at all steps; `mode` as in `Modes.states`."""
        return self.run(self.init(), us, mode)[1]

    def run(
        self,
        state: tuple,
        us: Float[Array, "T inputs"],
        mode: Mode = "auto",
        count: Array | None = None,
    ) -> tuple[tuple, Float[Array, "T outputs"]]:
        """The state after the first `count` inputs (default: all), and the outputs at all steps,
        from a state before them."""
        T, L = us.shape[0], self.taps.shape[1]
        past, x = beside(state, self, us)
        heard = jnp.concatenate([past[::-1], us])
        ys = sum(heard[L - 1 - lag : T + L - 1 - lag] @ self.taps[:, lag].T for lag in range(L))
        if self.modes is not None:
            x, xs = self.modes.run(x, jax.vmap(self._drive)(us), mode, count)
            ys = ys + jax.vmap(self._read)(xs)
        end = T if count is None else count
        past = jax.lax.dynamic_slice_in_dim(heard, end, L - 1)[::-1]
        return (past, x), jnp.asarray(ys)

    def _drive(self, u: Array) -> Array:
        assert self.into is not None
        return self.into @ u

    def _read(self, x: Array) -> Array:
        assert self.out is not None
        return self.out[0] @ x[0] - self.out[1] @ x[1]


def scanned(decay: Array, drive: Array) -> Array:
    r"""$x_k = a_k x_{k-1} + b_k$ from $x_{-1} = 0$ for all k, by an associative scan; $a$ and $b$
    are (T, ...)."""

    def join(earlier, later):
        return earlier[0] * later[0], earlier[1] * later[0] + later[1]

    return jax.lax.associative_scan(join, (decay, drive))[1]


def after(first: Array, xs: Array, count: Array | None) -> Array:
    """The state after `count` steps (default: all), of those at all steps and the one before."""
    return jnp.concatenate([first[None], xs])[-1 if count is None else count]


def _in_parallel(mode: Mode, T: Any) -> bool:
    """Whether all steps are computed at once, and not one after the other."""
    if mode == "auto":
        return isinstance(T, int) and jax.default_backend() != "cpu"
    if mode == "scan" and not isinstance(T, int):
        raise ValueError(
            "`mode` = 'scan' needs a length that is known: to export a layer for any length, "
            "make it with mode='recurrent' or 'auto'."
        )
    return mode == "scan"


def _complex(pair: Array, axis: int) -> Array:
    real, imaginary = jnp.moveaxis(pair, axis, 0)
    return jax.lax.complex(real, imaginary)
