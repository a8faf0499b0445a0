"""Small models of sequences to set beside a selective memory.

Linear, recurrent, selective and attentive ones. Each takes the tokens of one sequence, (T,), and
gives logits at every step, (T, classes), from what it has read so far. Models may take a `key` in
training; these ignore it. With the default sizes and ten tokens they have 1000 to
2720 parameters.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import check_option
from .._types import default_float
from ..nn._linear import scanned

Mode: TypeAlias = Literal["recurrent", "scan"]
Logits: TypeAlias = Float[Array, "T classes"]


class LinearBank(eqx.Module):
    r"""A bank of linear time-invariant systems, complex and diagonal, with or without an MLP.

    $$x_k = \Lambda x_{k-1} + \sqrt{1 - |\Lambda|^2}\, B e(u_k), \qquad
    y_k = \mathrm{readout}([\Re x_k, \Im x_k, e(u_k)]),$$

    $e$ one-hot, $|\lambda| = \exp(-\exp \nu)$ at first spread over [0.5, 0.999]. The real and
    imaginary parts of B are kept apart, as optimisers like them. With the
    `readout` "linear" no such bank, of any size, can copy three tokens of three kinds from any
    places. The modes are those of Orvieto et al. 2023, arXiv:2303.06349.

    **Arguments:** `tokens`, `classes`: how many of each there are. `modes`: complex ones.
    `hidden`: width of the MLP (GELU).
    """

    log_decay: Float[Array, " modes"]
    angle: Float[Array, " modes"]
    inputs: Float[Array, "2 modes tokens"]
    readout: eqx.nn.Linear | eqx.nn.MLP

    def __init__(
        self,
        tokens: int,
        classes: int,
        *,
        modes: int = 24,
        readout: Literal["linear", "mlp"] = "linear",
        hidden: int = 16,
        dtype: Any = None,
        key: Array,
    ):
        check_option(readout, "readout", ("linear", "mlp"))
        dtype = default_float() if dtype is None else dtype
        into, out, turn = jr.split(key, 3)
        rate = np.geomspace(-np.log(0.5), -np.log(0.999), modes)
        self.log_decay = jnp.asarray(np.log(rate), dtype)
        self.angle = jr.uniform(turn, (modes,), dtype, 0.0, np.pi)
        self.inputs = jr.normal(into, (2, modes, tokens), dtype) / np.sqrt(2)
        width = 2 * modes + tokens
        if readout == "linear":
            self.readout = eqx.nn.Linear(width, classes, dtype=dtype, key=out)
        else:
            self.readout = eqx.nn.MLP(width, classes, hidden, 1, jax.nn.gelu, dtype=dtype, key=out)

    def __call__(self, tokens: Int[Array, " T"], *, key: Array | None = None) -> Logits:
        """Logits at every step."""
        rate = jnp.exp(self.log_decay)
        size = jnp.exp(-rate)
        decay = jax.lax.complex(size * jnp.cos(self.angle), size * jnp.sin(self.angle))
        us = _one_hot(tokens, self.inputs.shape[2], size.dtype)
        scale = jnp.sqrt(-jnp.expm1(-2 * rate))
        drive = jax.lax.complex(*(scale * (us @ part.T) for part in self.inputs))
        xs = linear_recurrence(jnp.broadcast_to(decay, drive.shape), drive)
        return jax.vmap(self.readout)(jnp.concatenate([xs.real, xs.imag, us], axis=1))


class GRU(eqx.Module):
    """A gated recurrent unit on one-hot tokens, and a linear readout.

    Cho et al. 2014, arXiv:1406.1078.

    **Arguments:** `tokens`, `classes`: how many of each there are. `hidden`: states.
    """

    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __init__(
        self, tokens: int, classes: int, *, hidden: int = 16, dtype: Any = None, key: Array
    ):
        dtype = default_float() if dtype is None else dtype
        into, out = jr.split(key)
        self.cell = eqx.nn.GRUCell(tokens, hidden, dtype=dtype, key=into)
        self.readout = eqx.nn.Linear(hidden, classes, dtype=dtype, key=out)

    def __call__(self, tokens: Int[Array, " T"], *, key: Array | None = None) -> Logits:
        """Logits at every step."""
        dtype = self.cell.weight_hh.dtype
        us = _one_hot(tokens, self.cell.input_size, dtype)

        def step(x, u):
            x = self.cell(u, x)
            return x, x

        _, xs = jax.lax.scan(step, jnp.zeros(self.cell.hidden_size, dtype), us)
        return jax.vmap(self.readout)(xs)


class SelectiveLayer(eqx.Module):
    r"""The block of Mamba around its selective state space model, S6.

    $$[x_k, z_k] = W_\mathrm{in} \mathrm{norm}(u_k), \quad
    v_k = \mathrm{silu}(\mathrm{conv}(x)_k), \quad
    \Delta_k = \mathrm{softplus}(w\, (s \cdot v_k) + b), \quad B_k = W_B v_k, \quad C_k = W_C v_k,$$
    $$h_k = e^{\Delta_k A} h_{k-1} + \Delta_k v_k B_k^\top, \qquad
    y_k = u_k + W_\mathrm{out} \left[(h_k C_k + D v_k)\, \mathrm{silu}(z_k)\right].$$

    $A < 0$ is diagonal, -1..-n at first, $\Delta$ of rank one, 0.001 to 0.1 at first. With
    `taps=1` there is no convolution and what is selected depends on the present token alone.
    Gu & Dao 2023, arXiv:2312.00752, algorithm 2 and figure 3.

    **Arguments:** `width` of $u$; `inner` of $x$, $v$ and $z$; `states` (n) for each of the inner
    channels; `taps` of the convolution. `mode`: "recurrent", or "scan" (associative).
    """

    norm: eqx.nn.RMSNorm
    into: eqx.nn.Linear
    kernel: Float[Array, "taps inner"]
    offset: Float[Array, " inner"]
    select: eqx.nn.Linear
    step: eqx.nn.Linear
    log_rate: Float[Array, "inner states"]
    skip: Float[Array, " inner"]
    out: eqx.nn.Linear
    mode: Mode = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        *,
        inner: int = 16,
        states: int = 4,
        taps: int = 4,
        mode: Mode = "recurrent",
        dtype: Any = None,
        key: Array,
    ):
        check_option(mode, "mode", ("recurrent", "scan"))
        dtype = default_float() if dtype is None else dtype
        keys = jr.split(key, 6)
        self.norm = eqx.nn.RMSNorm(width, use_bias=False, dtype=dtype)
        self.into = eqx.nn.Linear(width, 2 * inner, use_bias=False, dtype=dtype, key=keys[0])
        bound = taps**-0.5
        self.kernel = jr.uniform(keys[1], (taps, inner), dtype, -bound, bound)
        if taps == 1:  # a gain, which starts as none
            self.kernel = jnp.ones_like(self.kernel)
        self.offset = jnp.zeros(inner, dtype)
        self.select = eqx.nn.Linear(inner, 1 + 2 * states, use_bias=False, dtype=dtype, key=keys[2])
        step = eqx.nn.Linear(1, inner, dtype=dtype, key=keys[3])
        first = jnp.exp(jr.uniform(keys[4], (inner,), dtype, np.log(1e-3), np.log(1e-1)))
        bias = jnp.log(jnp.expm1(first))  # softplus of it is `first`
        self.step = eqx.tree_at(lambda s: s.bias, step, bias)
        rates = jnp.asarray(np.log(np.arange(1, states + 1)), dtype)
        self.log_rate = jnp.broadcast_to(rates, (inner, states))
        self.skip = jnp.ones(inner, dtype)
        self.out = eqx.nn.Linear(inner, width, use_bias=False, dtype=dtype, key=keys[5])
        self.mode = mode

    def __call__(self, us: Float[Array, "T width"]) -> Float[Array, "T width"]:
        """The outputs of the layer at all steps."""
        T, states = us.shape[0], self.log_rate.shape[1]
        xs, zs = jnp.split(jax.vmap(self.into)(jax.vmap(self.norm)(us)), 2, axis=1)
        taps = self.kernel.shape[0]
        padded = jnp.pad(xs, ((taps - 1, 0), (0, 0)))
        mixed = self.offset + sum(self.kernel[lag] * padded[lag : lag + T] for lag in range(taps))
        vs = jax.nn.silu(mixed)
        low, B, C = jnp.split(jax.vmap(self.select)(vs), (1, 1 + states), axis=1)
        delta = jax.nn.softplus(jax.vmap(self.step)(low))
        decay = jnp.exp(-delta[:, :, None] * jnp.exp(self.log_rate))
        drive = (delta * vs)[:, :, None] * B[:, None, :]
        hs = linear_recurrence(decay, drive, self.mode)
        ys = jnp.einsum("tis,ts->ti", hs, C) + self.skip * vs
        return us + jax.vmap(self.out)(ys * jax.nn.silu(zs))


class AttentionLayer(eqx.Module):
    """Causal softmax attention with rotary positions, and an MLP, both behind a layer norm.

    Vaswani et al. 2017, arXiv:1706.03762; rotary positions: Su et al. 2021, arXiv:2104.09864.

    **Arguments:** `width`, divided among the `heads`; `hidden`: width of the MLP (GELU).
    """

    first: eqx.nn.LayerNorm
    project: eqx.nn.Linear
    out: eqx.nn.Linear
    second: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP
    heads: int = eqx.field(static=True)

    def __init__(
        self, width: int, *, heads: int = 2, hidden: int = 24, dtype: Any = None, key: Array
    ):
        if width % (2 * heads):
            raise ValueError(f"`width` must be a multiple of 2 heads = {2 * heads}, got {width}.")
        dtype = default_float() if dtype is None else dtype
        keys = jr.split(key, 3)
        self.first = eqx.nn.LayerNorm(width, dtype=dtype)
        self.project = eqx.nn.Linear(width, 3 * width, use_bias=False, dtype=dtype, key=keys[0])
        self.out = eqx.nn.Linear(width, width, use_bias=False, dtype=dtype, key=keys[1])
        self.second = eqx.nn.LayerNorm(width, dtype=dtype)
        self.mlp = eqx.nn.MLP(width, width, hidden, 1, jax.nn.gelu, dtype=dtype, key=keys[2])
        self.heads = heads

    def __call__(self, xs: Float[Array, "T width"]) -> Float[Array, "T width"]:
        """The outputs of the layer at all steps."""
        T, width = xs.shape
        parts = jax.vmap(self.project)(jax.vmap(self.first)(xs))
        q, k, v = jnp.moveaxis(parts.reshape(T, 3, self.heads, -1), 1, 0)
        scores = jnp.einsum("qhd,khd->hqk", _rotated(q), _rotated(k)) * q.shape[-1] ** -0.5
        past = np.tril(np.ones((T, T), bool))
        weights = jax.nn.softmax(jnp.where(past, scores, -jnp.inf), axis=-1)
        read = jnp.einsum("hqk,khd->qhd", weights, v).reshape(T, width)
        xs = xs + jax.vmap(self.out)(read)
        return xs + jax.vmap(self.mlp)(jax.vmap(self.second)(xs))


class Stack(eqx.Module):
    """Layers of one kind between an embedding and a normed linear readout.

    **Arguments:**

    - `tokens`, `classes`: how many of each there are.
    - `width`: size of the stream between layers. `layers`: how many, each made by
      `make(width, key=key)`.
    - `norm`: its kind, `equinox.nn.LayerNorm` or `equinox.nn.RMSNorm`.
    """

    embedding: Float[Array, "tokens width"]
    layers: tuple[Any, ...]
    norm: eqx.nn.LayerNorm | eqx.nn.RMSNorm
    readout: eqx.nn.Linear

    def __init__(
        self,
        tokens: int,
        classes: int,
        make: Callable[..., Any],
        *,
        layers: int = 2,
        width: int,
        norm: Any,
        dtype: Any = None,
        key: Array,
    ):
        dtype = default_float() if dtype is None else dtype
        into, out, *keys = jr.split(key, 2 + layers)
        self.embedding = jr.normal(into, (tokens, width), dtype)
        self.layers = tuple(make(width, dtype=dtype, key=k) for k in keys)
        self.norm = norm(width, use_bias=norm is eqx.nn.LayerNorm, dtype=dtype)
        self.readout = eqx.nn.Linear(width, classes, dtype=dtype, key=out)

    def __call__(self, tokens: Int[Array, " T"], *, key: Array | None = None) -> Logits:
        """Logits at every step."""
        xs = _one_hot(tokens, self.embedding.shape[0], self.embedding.dtype) @ self.embedding
        for layer in self.layers:
            xs = layer(xs)
        return jax.vmap(self.readout)(jax.vmap(self.norm)(xs))


def linear_recurrence(decay: Array, drive: Array, mode: Mode = "recurrent") -> Array:
    r"""$x_k = a_k x_{k-1} + b_k$ from $x_{-1} = 0$, entry by entry, for all k.

    **Arguments:** `decay` $a$ and `drive` $b$, (T, ...). `mode`: "recurrent", T steps one after
    the other, or "scan", an associative scan of depth O(log T).
    """
    if mode == "scan":
        return scanned(decay, drive)

    def step(x, now):
        x = now[0] * x + now[1]
        return x, x

    return jax.lax.scan(step, jnp.zeros_like(drive[0]), (decay, drive))[1]


def _one_hot(tokens: Array, count: int, dtype: Any) -> Array:
    return jax.nn.one_hot(tokens, count, dtype=dtype)


def _rotated(x: Float[Array, "T heads size"]) -> Float[Array, "T heads size"]:
    """Pairs of entries turned by angles in proportion to the step."""
    half = x.shape[-1] // 2
    speed = jnp.asarray(1e4 ** (-np.arange(half) / half), x.dtype)
    angle = jnp.arange(x.shape[0], dtype=x.dtype)[:, None, None] * speed
    a, b = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def _lti(tokens: int, classes: int, *, key: Array) -> LinearBank:
    return LinearBank(tokens, classes, key=key)


def _lti_mlp(tokens: int, classes: int, *, key: Array) -> LinearBank:
    return LinearBank(tokens, classes, readout="mlp", key=key)


def _gru(tokens: int, classes: int, *, key: Array) -> GRU:
    return GRU(tokens, classes, key=key)


def selective_ssm(
    tokens: int, classes: int, *, layers: int = 2, width: int = 8, key: Array, **options: Any
) -> Stack:
    """A `Stack` of selective state space models; `options`: those of `SelectiveLayer`."""
    make = functools.partial(SelectiveLayer, **options)
    norm = eqx.nn.RMSNorm
    return Stack(tokens, classes, make, layers=layers, width=width, norm=norm, key=key)


def _s6(tokens: int, classes: int, *, key: Array) -> Stack:
    return selective_ssm(tokens, classes, layers=1, width=12, inner=24, taps=1, key=key)


def _attention(tokens: int, classes: int, *, key: Array) -> Stack:
    return Stack(tokens, classes, AttentionLayer, width=12, norm=eqx.nn.LayerNorm, key=key)


#: What makes each baseline: `BASELINES[name](tokens, classes, key=key)`. "s6" is one layer without
#: convolution; "mamba" is two layers with one over four steps.
BASELINES: dict[str, Callable[..., Any]] = {
    "lti": _lti,
    "lti-mlp": _lti_mlp,
    "gru": _gru,
    "s6": _s6,
    "mamba": selective_ssm,
    "attention": _attention,
}
