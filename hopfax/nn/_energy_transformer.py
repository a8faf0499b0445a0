"""A transformer block whose tokens descend one energy."""

import math
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._errors import (
    as_count,
    as_key,
    as_number,
    as_real,
    check_at_least,
    check_option,
    check_shape,
)
from ._precision import arrived, as_size, check_weights, of_any_rank, weights_dtype, widened

Hidden: TypeAlias = Literal["relu", "softmax"]
Mask: TypeAlias = Bool[Array, "*H S"]

_HIDDEN = ("relu", "softmax")
_EPS = 1e-5


class EnergyTransformer(eqx.Module):
    r"""A transformer block that is one associative memory of all tokens (Hoover et al. 2023,
    arXiv:2302.07253): they descend an energy, by which they fit to each other and to memories.

    With normed tokens $g_c = \gamma\,(x_c - \bar x_c)/\sqrt{\mathrm{var}(x_c) + 10^{-5}} + \delta$,
    keys $k_{hb} = W^K_h g_b$ and queries $q_{hc} = W^Q_h g_c$,

    $$E = -\frac1\beta \sum_h \sum_c \log \sum_{b \neq c} e^{\beta\, k_{hb} \cdot q_{hc}}
    - \frac12 \sum_c \sum_\mu \max(\xi_\mu \cdot g_c, 0)^2, \qquad
    x \leftarrow x - \alpha\, \frac{\partial E}{\partial g}.$$

    The first part is attention, with weights shared by all steps; it moves a token both towards
    what it attends to and towards what attends to it. The second stands for the two linear maps of
    a transformer.

    *When the energy falls.* $g$ is the gradient of a function of $x$ whose Hessian $M$ is positive
    semi-definite, as $\gamma > 0$; it is trained by its logarithm. So while the tokens move
    continuously, by $\dot x = -\partial E/\partial g$, $\dot E = -\sum_c d_c \cdot M_c d_c \le 0$
    with $d_c = \partial E/\partial g_c$, whatever the weights and also if some tokens are `known`.
    A step of size $\alpha$ lowers $E$ by $\alpha \sum_c d_c \cdot M_c d_c$ and an error of order
    $\alpha^2$: there is a size below which it falls, but no one size is below it for all weights
    and states. Compare `energy` before and after.

    **Arguments:**

    - `num_heads`: heads $H$ of the attention.
    - `size`: features of a token.
    - `num_memories`: how many memories $\xi_\mu$ there are.
    - `qk_size`: features of a key and query in one head. Default: `size // num_heads`.
    - `hidden`: "relu", as above, or "softmax": then the second part of the energy is
      $-\frac1{\beta'} \sum_c \log \sum_\mu e^{\beta'\, \xi_\mu \cdot g_c}$, and memories compete.
    - `beta`, `hidden_beta`: inverse temperatures $\beta$ and, of "softmax", $\beta'$; > 0. Default:
      $1/\sqrt{\mathtt{qk\_size}}$ and $1/\sqrt{\mathtt{size}}$.
    - `steps`: updates in one call. `step_size`: $\alpha$, > 0.
    - `dtype`: of the parameters. Default: the default float.
    - `key`: keyword only; makes the initial parameters.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    block = hx.nn.EnergyTransformer(2, 8, 16, step_size=0.1, key=jax.random.key(0))
    tokens = jax.random.normal(jax.random.key(1), (5, 8))
    known = jnp.arange(5) < 3
    completed = block(tokens, known)  # (5, 8); the first three are as they were
    block.energy(completed) < block.energy(tokens)  # True
    ```
    """

    query: Float[Array, "H qk_size size"]
    keys: Float[Array, "H qk_size size"]
    memories: Float[Array, "M size"]
    log_scale: Float[Array, ""]
    bias: Float[Array, " size"]
    hidden: Hidden = eqx.field(static=True)
    beta: float = eqx.field(static=True)
    hidden_beta: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    step_size: float = eqx.field(static=True)

    def __init__(
        self,
        num_heads: int,
        size: int,
        num_memories: int,
        *,
        qk_size: int | None = None,
        hidden: Hidden = "relu",
        beta: float | None = None,
        hidden_beta: float | None = None,
        steps: int = 12,
        step_size: float = 0.1,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        dtype, H, M = weights_dtype(dtype), as_count(num_heads, "num_heads"), num_memories
        size, M = as_size(size, "size"), as_size(M, "num_memories")
        if qk_size is None and size % H:
            raise ValueError(
                f"`size` must be a multiple of `num_heads` = {H}, got {size}; or give `qk_size`, "
                "the features of a head."
            )
        qk_size = size // H if qk_size is None else as_size(qk_size, "qk_size")
        check_weights(dtype, num_heads=H, qk_size=qk_size, size=size)
        check_weights(dtype, num_memories=M, size=size)
        keys, unit = jr.split(as_key(key), 3), 1 / math.sqrt(size)
        self.query = unit * jr.normal(keys[0], (H, qk_size, size), dtype)
        self.keys = unit * jr.normal(keys[1], (H, qk_size, size), dtype)
        self.memories = unit * jr.normal(keys[2], (M, size), dtype)
        self.log_scale, self.bias = jnp.zeros((), dtype), jnp.zeros(size, dtype)
        self.hidden, self.steps = hidden, as_count(steps, "steps")
        beta = 1 / math.sqrt(qk_size) if beta is None else beta
        hidden_beta = unit if hidden_beta is None else hidden_beta
        self.beta, self.hidden_beta = as_number(beta, "beta"), as_number(hidden_beta, "hidden_beta")
        self.step_size = as_number(step_size, "step_size")

    def __check_init__(self):
        check_option(self.hidden, "hidden", _HIDDEN)
        as_count(self.steps, "steps")
        for name in ("beta", "hidden_beta", "step_size"):
            check_at_least(getattr(self, name), name, 0.0, strict=True)
        size = self.memories.shape[1]
        check_shape(self.keys, "keys", self.query.shape, "that of `query`")
        check_shape(self.query, "query", (*self.query.shape[:2], size), "(H, qk_size, size)")
        check_shape(self.bias, "bias", (size,), "(size,)")

    @property
    def scale(self) -> Float[Array, ""]:
        r"""The scale $\gamma$ of normed tokens."""
        return jnp.exp(self.log_scale)

    @of_any_rank
    def __call__(
        self,
        x: Float[Array, "S size"],
        known: Bool[Array, " S"] | None = None,
        *,
        mask: Mask | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "S size"]:
        """The tokens after `steps` updates, (S, size), of the dtype of `x`.

        **Arguments:**

        - `x`: the tokens, (S, size).
        - `known`: True where a token keeps its value, (S,); the others are completed. Default: none
          is.
        - `mask`: True where there is a token, (S,): the others keep their value, which may be
          anything, and take no part. Or True at [c, b] where token c attends to b, (S, S) or
          (H, S, S). No token attends to itself.
        - `key`: not used.
        """
        x, attends, there = self._checked(x, mask)
        free = there
        if known is not None:
            known = jnp.asarray(as_real(known, "known"))
            check_shape(known, "known", (x.shape[0],), "(S,)")
            if known.dtype != jnp.bool_:
                raise TypeError(f"`known` must be boolean, True where kept, got {known.dtype}.")
            free = there & ~known
        (self, wide), dtype = widened(self, jnp.where(there[:, None], x, 0.0)), x.dtype

        def step(state, _):
            slope = jax.grad(self._energy)(self._normed(state), attends, there)
            return jnp.where(free[:, None], state - self.step_size * slope, state), None

        end = lax.scan(step, wide, None, length=self.steps)[0].astype(dtype)
        return jnp.where(free[:, None], end, x)

    @of_any_rank
    def energy(self, x: Float[Array, "S size"], *, mask: Mask | None = None) -> Float[Array, ""]:
        """$E$ of the tokens, which they descend. `mask` is as in a call."""
        x, attends, there = self._checked(x, mask)
        (self, wide), dtype = widened(self, jnp.where(there[:, None], x, 0.0)), x.dtype
        return self._energy(self._normed(wide), attends, there).astype(dtype)

    def _normed(self, x: Array) -> Array:
        """The normed tokens $g$."""
        away = x - x.mean(1, keepdims=True)
        spread = jnp.sqrt(jnp.square(away).mean(1, keepdims=True) + _EPS)
        return self.scale * away / spread + self.bias

    def _energy(self, g: Array, attends: Array, there: Array) -> Array:
        """$E$ of normed tokens; a token that attends to none adds nothing to the first part."""
        queries, keys = (jnp.einsum("hzd,sd->hsz", w, g) for w in (self.query, self.keys))
        scores = self.beta * jnp.einsum("hcz,hbz->hcb", queries, keys)
        some = attends.any(-1, keepdims=True)
        scores = jnp.where(some, jnp.where(attends, scores, -jnp.inf), 0.0)
        attention = jnp.where(some[..., 0], jax.nn.logsumexp(scores, axis=-1), 0.0)
        fields = g @ self.memories.T
        if self.hidden == "relu":
            stored = jnp.square(jax.nn.relu(fields)).sum(1) / 2
        else:
            stored = jax.nn.logsumexp(self.hidden_beta * fields, axis=1) / self.hidden_beta
        return -attention.sum() / self.beta - jnp.where(there, stored, 0.0).sum()

    def _checked(self, x: Any, mask: Any) -> tuple[Array, Array, Array]:
        """The tokens, who attends to whom, (H or 1, S, S), and which tokens are there, (S,)."""
        x, (H, _, size) = arrived(x, "x"), self.query.shape
        S = x.shape[0] if x.ndim == 2 else "S"
        check_shape(x, "x", (S, size), "(S, size)", "A batch is vmapped, by jax.vmap.")
        others, there = ~jnp.eye(S, dtype=bool)[None], jnp.ones(S, bool)
        if mask is None:
            return x, others, there
        mask = jnp.asarray(as_real(mask, "mask"))
        if mask.dtype != jnp.bool_:
            raise TypeError(f"`mask` must be boolean, True where a token counts, got {mask.dtype}.")
        if mask.shape == (S,):
            return x, others & mask & mask[:, None], mask
        if mask.shape not in ((S, S), (1, S, S), (H, S, S)):
            raise ValueError(
                f"`mask` must have shape (S,), (S, S) or (num_heads, S, S) with (num_heads, S) = "
                f"{(H, S)}, got {mask.shape}."
            )
        return x, others & mask, there
