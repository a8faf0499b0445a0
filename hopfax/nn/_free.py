"""A two-timescale network whose parameters may take any value in training."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._activations import AbstractActivation
from .._constant import Constant
from .._errors import as_number, check_type
from .._types import is_concrete
from ..constraints import AbstractConstraint, Masked, Simplex, Unconstrained
from ..networks import Learning, Readout, TwoTimescaleHopfield
from ..patterns import Patterns


class Near(AbstractConstraint):
    r"""Values that stay within a factor of those at the start, $v = v_0\, e^{r \tanh(u / r)}$ with
    $r = \ln(\mathrm{reach})$; without bounds, $v = v_0 e^u$, where `reach` is infinite.

    Signs do not change, and zeros stay zero. Weight decay draws $u$ to 0, and so $v$ to the start.
    """

    start: Float[Array, "..."]
    reach: float = eqx.field(static=True)

    def free(self, value, name):
        return jnp.zeros_like(value)

    def value(self, free):
        if math.isinf(self.reach):
            return self.start * jnp.exp(free)
        far = math.log(self.reach)
        return self.start * jnp.exp(far * jnp.tanh(free / far))

    def moves(self, value):
        return value != 0


class Support(AbstractConstraint):
    """A `Simplex` whose entries off the mask are zero, whatever the free array holds there.

    The free array of `Simplex` has minus infinity there, which weight decay turns into NaN.
    """

    mask: Bool[Array, "..."]

    def free(self, value, name):
        return jnp.where(self.mask, Simplex().free(value, name), 0.0)

    def value(self, free):
        return Simplex().value(jnp.where(self.mask, free, -jnp.inf))

    def moves(self, value):
        return self.mask & Simplex().moves(value)


class Free(eqx.Module):
    """A parameter in the form in which it is learned: `value` is what `constraint` makes of `free`.

    The numbers of the constraint itself, as the bounds of a box, are constants.
    """

    free: Float[Array, "..."]
    constraint: Constant

    def __check_init__(self):
        check_type(self.constraint.value, "constraint", AbstractConstraint, "a constraint")

    @property
    def value(self) -> Float[Array, "..."]:
        """The parameter, in the dtype of the free array."""
        return self.constraint.of_dtype(self.free.dtype).value(self.free)


def free(value: Array, constraint: AbstractConstraint, name: str) -> Free:
    """A parameter that starts from `value`; ValueError, with its name, where that is not allowed.

    Entries that a mask holds keep the value of the start.
    """
    if isinstance(constraint, Masked):
        constraint = constraint.around(value)
    if isinstance(constraint, Simplex):
        constraint = Support(constraint.moves(value))
    return Free(constraint.free(value, name), Constant(constraint))


def near(value: Array, reach: float) -> Free:
    """A parameter that stays within a factor of its value at the start."""
    return Free(jnp.zeros_like(value), Constant(Near(value, reach)))


class FreeNetwork(eqx.Module):
    r"""A `TwoTimescaleHopfield`, every parameter in its free form.

    $\kappa$ and $\tau$ are `near` their start, and so are bias and activation if `reach` is finite;
    else they are free. Patterns are constants unless they are learned, as `counts` are.
    """

    patterns: Free | Constant
    counts: Constant
    transition: Free
    kappa: Free
    tau: Free
    bias: Free
    activation: tuple[Free, ...]
    form: Constant
    readout: Readout = eqx.field(static=True)
    learning: Learning = eqx.field(static=True)
    keep_diagonal: bool = eqx.field(static=True)

    def __init__(
        self,
        network: TwoTimescaleHopfield,
        *,
        constraint: AbstractConstraint = Unconstrained(),
        reach: float = math.inf,
        learn_patterns: bool = True,
    ):
        dtype = network.patterns.xi.dtype
        xi, counts = network.patterns.xi, network.patterns.counts

        def cast(leaf: Any) -> Any:
            return leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf

        def other(value: Array) -> Free:
            if math.isinf(reach):
                return free(value, Unconstrained(), "")
            return near(value, reach)

        _check_positive(network.kappa, "network.kappa")
        _check_positive(network.tau, "network.tau")
        self.patterns = free(xi, Unconstrained(), "") if learn_patterns else Constant(xi)
        self.counts = Constant(counts)
        constraint = jax.tree.map(cast, constraint)
        self.transition = free(network.transition, constraint, "network.transition")
        self.kappa, self.tau = near(network.kappa, reach), near(network.tau, reach)
        self.bias = other(network.bias)
        activation = jax.tree.map(cast, network.activation)
        gains = jax.tree.leaves(eqx.filter(activation, eqx.is_inexact_array))
        self.activation = tuple(other(gain) for gain in gains)
        self.form = Constant(activation)
        self.readout, self.learning = network.readout, network.learning
        self.keep_diagonal = network.keep_diagonal

    def __check_init__(self):
        eqx.filter_eval_shape(lambda self: self.network, self)  # which checks its parameters

    @property
    def shape(self) -> tuple[int, int]:
        """P and N."""
        stored = self.patterns.free if isinstance(self.patterns, Free) else self.patterns.bits
        P, N = stored.shape
        return P, N

    @property
    def dtype(self):
        """That of the parameters."""
        return self.transition.free.dtype

    @property
    def network(self) -> TwoTimescaleHopfield:
        """The network with the present parameters."""
        dtype = self.dtype
        xi, counts = self.patterns.value.astype(dtype), self.counts.of_dtype(dtype)
        return TwoTimescaleHopfield(
            Patterns(xi, counts=counts, check_patterns=False),
            self.transition.value,
            kappa=self.kappa.value,
            tau=self.tau.value,
            bias=self.bias.value,
            readout=self.readout,
            activation=self._activation(),
            learning=self.learning,
            keep_diagonal=self.keep_diagonal,
        )

    def _activation(self) -> AbstractActivation:
        gains, rest = eqx.partition(self.form.of_dtype(self.dtype), eqx.is_inexact_array)
        structure = jax.tree.structure(gains)
        present = jax.tree.unflatten(structure, [gain.value for gain in self.activation])
        return eqx.combine(present, rest)


#: The classes of which the files of layers consist, besides public ones.
PARTS = (Free, FreeNetwork, Near, Support)


def as_reach(value: Any) -> float:
    """A factor above 1, or infinity."""
    reach = as_number(value, "reach")
    if not reach > 1:
        raise ValueError(f"`reach` must be a factor above 1, or infinity, got {reach:g}.")
    return reach


def _check_positive(value: Array, name: str) -> None:
    if is_concrete(value) and not bool((value > 0).all()):
        least = float(value.min())
        raise ValueError(
            f"`{name}` must be positive, as training changes it by factors, but is {least:g}."
        )
