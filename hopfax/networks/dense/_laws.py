r"""How the overlaps with all memories become the fields of all neurons: one law a class.

The field of neuron $i$ is a sum of forces over the memories,

$$u_i = \frac1s \sum_\mu \xi^\mu_i\, f(X^\mu_i), \qquad X^\mu_i = X_\mu - \xi^\mu_i h_i,$$

where $X^\mu_i$ leaves out the neuron's own part of the overlap. Taken literally this needs another
force for each pair of memory and neuron. But for $\xi = \pm 1$ the force can be taken apart so that
each memory needs only a few numbers $w_k$, $v_c$ that are the same for all neurons:

$$u_i = \frac1s \Big[ \sum_k a_{ki} \sum_\mu \xi^\mu_i\, w_k(X_\mu)
+ \sum_c b_{ci} \sum_\mu v_c(X_\mu) \Big],$$

one product with the patterns for each $k$. `AbstractSum` is this formula; its subclasses say what
$a$, $b$, $v$, $w$ are. Where memories call others (`_transitions`), the first factor $\xi^\mu_i$ of
both formulas is $\eta^\mu_i$, and $v_c$ has the factor $\xi^\mu_i \eta^\mu_i$, which was 1.

The forces of exponential interactions are $e^{\beta X}$, which no float holds when $\beta X$ is in
the hundreds. `AbstractExponential` therefore works with $e^{\beta X - \mathrm{top}}$, where *top*
is the largest exponent met so far, and divides the field by the sum of all exponentials, so that
the common factor cancels.
"""

import abc
import math
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float

from ..._interactions import AbstractInteraction, difference
from ..._types import PerNeuron, PerPattern
from ...patterns import AbstractPatterns
from ._blocks import Block
from ._similarities import Seen
from ._stream import stream
from ._transitions import AbstractTransition

#: $a$, and $b$ where there is one.
Factors: TypeAlias = tuple[Float[Array, "... N"], ...]


class AbstractForce(eqx.Module):
    """The force of one memory, a function of the overlap without the neuron itself."""

    interaction: AbstractVar[AbstractInteraction]
    N: AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """The force at the overlap `y`."""

    @abc.abstractmethod
    def scale(self) -> float | Float[Array, ""]:
        """$s$, by which sums of forces are divided."""


class Leading(AbstractForce):
    """The reduced derivative $f$ of the energy: the force to leading order in 1/N."""

    interaction: AbstractInteraction
    N: int = eqx.field(static=True)

    def __call__(self, y):
        return self.interaction.force(y, self.N)

    def scale(self):
        return self.interaction.scale(self.N)


class Difference(AbstractForce):
    """The exact difference in energy between the two signs of a neuron."""

    interaction: AbstractInteraction
    N: int = eqx.field(static=True)

    def __call__(self, y):
        return difference(self.interaction, y, self.N)

    def scale(self):
        return self.interaction.scale(self.N) * 2 * self.interaction.reduction()


class AbstractLaw(eqx.Module):
    """How overlaps become fields. Blocks of memories are added up one after the other: `empty` is
    the sum of none, `of_block` that of one block, `merged` joins two sums, and `field` multiplies
    the sum of all by the `factors` of the neurons."""

    @abc.abstractmethod
    def factors(self, h: PerNeuron) -> Factors:
        """By what each neuron of state `h` multiplies the sums."""

    @abc.abstractmethod
    def empty(self, factors: Factors) -> Any:
        """The sum over no memory."""

    @abc.abstractmethod
    def of_block(
        self, block: Block, X: Float[Array, " b"], saliency: Float[Array, " b"] | None
    ) -> Any:
        """The sum over the memories of a block with overlaps `X`, weighed by `saliency`."""

    @abc.abstractmethod
    def merged(self, a: Any, b: Any) -> Any:
        """The sum over the memories of two sums."""

    @abc.abstractmethod
    def field(self, total: Any, factors: Factors) -> PerNeuron:
        """The fields of all neurons."""

    @abc.abstractmethod
    def field_of_one(
        self,
        X: PerPattern,
        xi: PerPattern,
        called: PerPattern,
        h: Float[Array, ""],
        saliency: PerPattern | None,
    ) -> Float[Array, ""]:
        """The field of one neuron, at `h` and with entries `xi` in the memories, and `called` in
        what they call."""


def added(called: PerPattern, forces: PerPattern, saliency: PerPattern | None) -> Float[Array, ""]:
    """The sum of the forces of all memories on one neuron with entries `called` in what they
    call."""
    return (called * (forces if saliency is None else forces * saliency)).sum()


def fields(
    law: AbstractLaw,
    patterns: AbstractPatterns,
    h: PerNeuron,
    stimulus: PerNeuron | None,
    *,
    signs: bool,
    size: int,
    transition: AbstractTransition | None,
    seen: Seen,
    overlaps: PerPattern | None = None,
    recomputed: bool = False,
    answers: int | None = None,
) -> Float[Array, " K"]:
    """The fields of all neurons, with patterns read in blocks of `size`; `signs`: whether `h` is
    known to be +-1; `seen`: what the law sees of overlaps; `overlaps`: in place of those of `h`,
    not divided by N; `transition`, `recomputed`: as in `stream`; `answers`: how many numbers
    memories call, where these are no patterns."""

    def use(block: Block, given):
        law, h, stimulus, overlaps, seen = given
        if overlaps is None:
            X = block.overlaps(h, signs)
        else:
            X = overlaps[jnp.minimum(block.numbers, overlaps.size - 1)]
        X, saliency = seen.of_block(block, X, h)
        if stimulus is not None:
            given = block.overlaps(stimulus, False)
            saliency = given if saliency is None else given * saliency
        return law.of_block(block, X, saliency)

    factors = law.factors(h if answers is None else jnp.zeros(answers, h.dtype))
    given = (law, h, stimulus, overlaps, seen)
    how = {"transition": transition, "recomputed": recomputed}
    total = stream(patterns, use, law.merged, law.empty(factors), given, size, **how)
    u = law.field(total, factors)
    return u if stimulus is None else u / patterns.N


# Forces that are added as they are


class Sums(eqx.Module):
    r"""What blocks add up: $\sum_\mu \eta^\mu w_k(X_\mu)$ and $\sum_\mu \xi^\mu \eta^\mu
    v_c(X_\mu)$."""

    forces: Float[Array, "k N"]
    terms: Float[Array, "c #N"]


class AbstractSum(AbstractLaw):
    """Forces that are added as they are."""

    force: AbstractVar[AbstractForce]

    @abc.abstractmethod
    def forces_on_one(self, X: PerPattern, xi: PerPattern, h: Float[Array, ""]) -> PerPattern:
        """The forces of all memories on one neuron."""

    @abc.abstractmethod
    def weights(self, X: Float[Array, " b"]) -> Float[Array, "k b"]:
        """$w$, the weights of the patterns."""

    @abc.abstractmethod
    def terms(self, X: Float[Array, " b"]) -> Float[Array, "c b"]:
        """$v$, the terms that are the same for all neurons."""

    def field_of_one(self, X, xi, called, h, saliency):
        return added(called, self.forces_on_one(X, xi, h), saliency) / self.force.scale()

    def empty(self, factors) -> Sums:
        a, b = factors
        return Sums(jnp.zeros_like(a), jnp.zeros_like(b))

    def of_block(self, block, X, saliency) -> Sums:
        share = jnp.where(block.valid, jnp.ones_like(X), 0.0)
        share = share if saliency is None else share * saliency
        return Sums(block.project(share * self.weights(X)), block.own(share * self.terms(X)))

    def merged(self, a: Sums, b: Sums) -> Sums:
        return jax.tree.map(jnp.add, a, b)

    def field(self, total: Sums, factors):
        a, b = factors
        return ((a * total.forces).sum(0) + (b * total.terms).sum(0)) / self.force.scale()


class Whole(AbstractSum):
    """Neurons feel the whole overlap, themselves included: $w = f(X)$."""

    force: AbstractForce

    def forces_on_one(self, X, xi, h):
        return self.force(X)

    def weights(self, X):
        return self.force(X)[None]

    def terms(self, X):
        return jnp.zeros((0, *X.shape), X.dtype)

    def factors(self, h):
        return jnp.ones_like(h)[None], jnp.zeros((0, *h.shape), h.dtype)


class SignsWithoutSelf(AbstractSum):
    r"""Signs that do not feel themselves. As $\xi_i h_i = \pm 1$, the force is split into an even
    and an odd part:

    $$f(X - \xi_i h_i) = \tfrac12 [f(X+1) + f(X-1)] - \xi_i h_i\, \tfrac12 [f(X+1) - f(X-1)].$$
    """

    force: AbstractForce

    def forces_on_one(self, X, xi, h):
        return self.force(X - xi * h)

    def _both(self, X):
        """$f(X+1)$ and $f(X-1)$. A sum over the other N - 1 neurons is at most N - 1; beyond it, a
        force is felt by nobody, and could overflow."""
        most = self.force.N - 1
        return self.force(jnp.minimum(X + 1, most)), self.force(jnp.maximum(X - 1, -most))

    def weights(self, X):
        up, down = self._both(X)
        return ((up + down) / 2)[None]

    def terms(self, X):
        up, down = self._both(X)
        return ((up - down) / 2)[None]

    def factors(self, h):
        return jnp.ones_like(h)[None], -h[None]


class GradedWithoutSelf(AbstractSum):
    r"""Graded neurons that do not feel themselves, for forces $X^p$: by the binomial theorem, with
    $\xi_i^2 = 1$,

    $$\xi_i (X - \xi_i h_i)^p = \sum_{j\ \mathrm{even}} \binom pj h_i^j\, \xi_i X^{p-j}
    - \sum_{j\ \mathrm{odd}} \binom pj h_i^j\, X^{p-j}.$$
    """

    force: AbstractForce
    power: int = eqx.field(static=True)

    def forces_on_one(self, X, xi, h):
        return self.force(X - xi * h)

    def weights(self, X):
        return jnp.stack([X ** (self.power - j) for j in range(0, self.power + 1, 2)])

    def terms(self, X):
        return jnp.stack([X ** (self.power - j) for j in range(1, self.power + 1, 2)])

    def factors(self, h):
        signed = [math.comb(self.power, j) * (-h) ** j for j in range(self.power + 1)]
        return jnp.stack(signed[::2]), jnp.stack(signed[1::2])


class Mean(AbstractLaw):
    """The mean of what memories call, weighted by their forces, which are not negative; neurons
    that feel none stay as they are."""

    force: AbstractForce

    def factors(self, h):
        return (h,)

    def empty(self, factors) -> tuple[Array, Array]:
        return jnp.zeros_like(factors[0]), jnp.zeros((), factors[0].dtype)

    def of_block(self, block, X, saliency):
        share = jnp.where(block.valid, self.force(X), 0.0)
        share = share if saliency is None else share * saliency
        return block.project(share), share.sum()

    def merged(self, a, b):
        return a[0] + b[0], a[1] + b[1]

    def field(self, total, factors):
        forces, norm = total
        return jnp.where(norm > 0, forces / jnp.where(norm > 0, norm, 1.0), factors[0])

    def field_of_one(self, X, xi, called, h, saliency):
        raise NotImplementedError  # means of memories move all at once


# Forces that are exponentials


class ExponentialSums(eqx.Module):
    """What blocks add up, in units of exp(`top`): the forces, and the sum of all exponentials."""

    top: Float[Array, ""]
    forces: Float[Array, "k N"]
    norm: Float[Array, ""]


class AbstractExponential(AbstractLaw):
    """Forces that are exponentials, divided by the sum of all of them."""

    interaction: AbstractVar[AbstractInteraction]
    N: AbstractVar[int]

    @abc.abstractmethod
    def project(
        self, block: Block, X: Float[Array, " b"], top: Float[Array, ""], share: Float[Array, " b"]
    ) -> Float[Array, "k N"]:
        """Sums of forces, in units of exp(`top`), over a block of memories with overlaps `X` and
        these weights."""

    def up_to(
        self, top: Float[Array, ""], X: Float[Array, "..."], share: Float[Array, " b"]
    ) -> Float[Array, "..."]:
        """Forces at overlaps `X` times `share`, in units of exp(`top`). No exponent of the block is
        larger but those of padding, whose share is 0 and could meet an infinity."""
        exponent = self.exponent(
            X
        )  # no minimum: its derivative would be halved where both are equal
        return share * jnp.exp(jnp.where(exponent > top, top, exponent) - top)

    def exponent(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\beta y$, the exponent of the force at overlap `y`."""
        return self.interaction.force(y, self.N)

    def empty(self, factors) -> ExponentialSums:
        (a,) = factors
        zero = jnp.zeros((), a.dtype)
        return ExponentialSums(zero + lowest(a.dtype), jnp.zeros_like(a), zero)

    def of_block(self, block, X, saliency) -> ExponentialSums:
        exponent = self.exponent(X)
        top = jnp.where(block.valid, exponent, lowest(X.dtype)).max()
        norm = jnp.where(block.valid, jnp.exp(exponent - top), 0.0).sum()
        share = jnp.where(block.valid, jnp.ones_like(X), 0.0)
        share = share if saliency is None else share * saliency
        return ExponentialSums(top, self.project(block, X, top, share), norm)

    def merged(self, a: ExponentialSums, b: ExponentialSums) -> ExponentialSums:
        top = jnp.maximum(a.top, b.top)
        scaled = (jax.tree.map(lambda leaf, s=s: leaf * jnp.exp(s.top - top), s) for s in (a, b))
        total = jax.tree.map(jnp.add, *scaled)
        return eqx.tree_at(lambda s: s.top, total, top)

    def field(self, total: ExponentialSums, factors):
        (a,) = factors
        return (a * total.forces).sum(0) / total.norm


class ExponentialWhole(AbstractExponential):
    """Neurons feel the whole overlap, themselves included."""

    interaction: AbstractInteraction
    N: int = eqx.field(static=True)

    def project(self, block, X, top, share):
        return block.project(self.up_to(top, X, share)[None])

    def factors(self, h):
        return (jnp.ones_like(h)[None],)

    def field_of_one(self, X, xi, called, h, saliency):
        exponent = self.exponent(X)
        forces = jnp.exp(exponent - exponent.max())
        return added(called, forces, saliency) / forces.sum()


class ExponentialWithoutSelf(AbstractExponential):
    r"""Signs that do not feel themselves.

    The memories that agree with a neuron and those that do not are added up apart, as sums of
    positive terms. Their forces differ by a factor $e^{2\beta}$, so that in a difference of the two
    sums the smaller would be lost. Fields are also divided by $e^\beta$, so that $|u| \le 1$.
    """

    interaction: AbstractInteraction
    N: int = eqx.field(static=True)

    def project(self, block, X, top, share):
        return block.split(self.up_to(top, X, share))

    def factors(self, h):
        rate = self.exponent(jnp.ones_like(h))
        return (jnp.stack([jnp.exp(-rate * (1 + h)), jnp.exp(-rate * (1 - h))]),)

    def field_of_one(self, X, xi, called, h, saliency):
        exponent = self.exponent(X)
        top = exponent.max()
        own = self.exponent(jnp.ones((), X.dtype))
        forces = jnp.exp(self.exponent(X - xi * h) - (top + own))
        forces = forces if saliency is None else forces * saliency
        forces = called * forces
        u = jnp.where(forces > 0, forces, 0.0).sum() + jnp.where(forces < 0, forces, 0.0).sum()
        return u / jnp.exp(exponent - top).sum()


class ExponentialOfFew(AbstractExponential):
    """The same for few memories: forces are exponentials of the overlaps that neurons feel, X - 1
    or X + 1. So equal ones, of a memory that agrees and one that does not, are equal to the last
    bit, and a tie is a tie."""

    interaction: AbstractInteraction
    N: int = eqx.field(static=True)

    def project(self, block, X, top, share):
        top = top + self.exponent(jnp.ones_like(top))
        forces = self.up_to(top, jnp.stack([X - 1, X + 1]), share)
        return block.split(forces).reshape(4, -1)

    def factors(self, h):
        up, down = (1 + h) / 2, (1 - h) / 2
        return (jnp.stack([up, down, down, up]),)

    def field_of_one(self, X, xi, called, h, saliency):
        one = ExponentialWithoutSelf(self.interaction, self.N)
        return one.field_of_one(X, xi, called, h, saliency)


def lowest(dtype: np.dtype) -> float:
    """The most negative float: the exponent of nothing, whose exponential is 0. Minus infinity
    would give NaN as its difference to itself."""
    return float(jnp.finfo(dtype).min)
