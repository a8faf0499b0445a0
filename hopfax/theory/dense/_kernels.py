"""Noise kernels of the interactions: one function that defines the dynamics."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._distances import Epanechnikov
from ..._errors import as_count, check_callable, shown
from ..._interactions import (
    AbstractInteraction,
    Exponential,
    ManyBody,
    Polynomial,
    Power,
    Quadratic,
    RectifiedPower,
    Simplicial,
    Softmax,
)
from ..._types import is_concrete
from . import _forces as forces

Values = Float[Array, "..."]


class Kernel(eqx.Module):
    r"""The noise kernel $K(C) = E\, f(x) f(y)$ of a force $f$, with Gaussian x, y of covariance C.

    At $M = \alpha N^{n-1}$ memories the fields of two times whose states have overlap C carry noise
    of covariance $\alpha K(C)$, and react to what the neuron itself did with strength
    $\alpha K'(C)$ times the response: one function defines the dynamics.

    **Arguments:**

    - `function`: $K$, written with jax.numpy, elementwise. Use a function defined once at module
        level or a Module: a fresh lambda makes everything compile again.
    - `order`: $n \ge 3$; the signal is $m^{n-1}$.

    `hopfax.theory.dense.kernel` makes the kernels of the interactions.

    **Example:**

    ```python
    def own(C):
        return 1 + 2 * C**2  # that of Power(3)

    K = hx.theory.dense.Kernel(own, order=3)
    K(jnp.asarray(0.5)), K.slope(jnp.asarray(0.5)), K.signal(jnp.asarray(0.5))  # 1.5, 2.0, 0.25
    ```
    """

    function: Callable
    order: int | float = eqx.field(static=True)

    def __init__(self, function: Callable, order: int | float):
        check_callable(function, "function", "a function C -> K(C)")
        known = isinstance(function, forces.AbstractForce)
        order = order if known else as_count(order, "order", 2)
        if order < 3 and not known:
            raise ValueError(
                f"`order` of a kernel of your own must be at least 3, got {order}: at order 2 the "
                "memories react to each other and K alone does not define the dynamics."
            )
        self.function = function
        self.order = order

    def __call__(
        self, C: Values, variance: Values | None = None, other: Values | None = None
    ) -> Values:
        r"""$K(C)$; for states that are not signs $K$ at the variances $\langle h(t)^2 \rangle$ and
        $\langle h(t')^2 \rangle$.

        **Raises:** ValueError for variances if the kernel is a function of your own, which is known
        for signs only; and where K(1) is too large for the dtype of C.
        """
        check_order(self.order, C.dtype, self.function)
        if variance is None and other is None:
            return self.function(C)
        function = self.function
        if not isinstance(function, forces.AbstractForce):
            raise ValueError(
                "this kernel was given for signs only, as a function of C; graded states and "
                "biased memories need `kernel(interaction)`, which knows the variances as well."
            )
        one = jnp.ones((), C.dtype)
        return function.graded(
            C, one if variance is None else variance, one if other is None else other
        )

    def slope(
        self, C: Values, variance: Values | None = None, other: Values | None = None
    ) -> Values:
        r"""$K'(C)$ at fixed variances."""
        return jax.jvp(lambda C: self(C, variance, other), (C,), (jnp.ones_like(C),))[1]

    def own(self, C: Values, variance: Values, other: Values) -> Values:
        r"""$2\, \partial K/\partial a = E f''(x) f(y)$, $a$ being the first variance: what a neuron
        that feels itself feels of its present state, for each unit of response."""
        return 2 * jax.jvp(lambda a: self(C, a, other), (variance,), (jnp.ones_like(variance),))[1]

    def signal(self, m: Values) -> Values:
        r"""What the recalled memory contributes to the field at overlap m: $m^{n-1}$, its positive
        part for a rectified force."""
        if isinstance(function := self.function, forces.AbstractForce):
            return function.signal(m)
        return m ** (self.order - 1)

    @property
    def resummed(self) -> bool:
        """Whether memories react to each other (order 2)."""
        return isinstance(self.function, forces.Linear)

    @property
    def holds_diagonal(self) -> bool:
        """Whether neurons may feel themselves: at order 2 and for odd orders of `Power`."""
        odd = isinstance(self.function, forces.Power) and self.order % 2 == 1
        return odd or self.resummed

    @property
    def input_driven(self) -> bool:
        """Whether the memories are weighted by their overlap with an input."""
        return isinstance(self.function, forces.InputDriven)


_MOST_ORDER = 150  # (2 * 150 - 3)!! = 8.6e+305
_LEAST_SCALED = 0.02  # loads alpha = alpha' / K(1) from this alpha' on must be floats


def check_order(order: int | float, dtype: np.dtype, function: Callable) -> None:
    """ValueError where the loads at which a memory of this order retrieves, near 0.1 / K(1), are
    below the smallest float. For K(1) of a function of one's own nothing is known."""
    if not isinstance(function, forces.AbstractForce):
        return
    info, top = np.finfo(dtype), function.largest()
    if math.log(top) > math.log(_LEAST_SCALED) - math.log(float(info.tiny)):
        raise ValueError(
            f"`interaction` of order {order} has loads near 1 / K(1) = 1e-{math.log10(top):.0f}, "
            f"too small for {info.dtype}"
            + (
                '; enable double precision (jax.config.update("jax_enable_x64", True)).'
                if info.bits < 64
                else "."
            )
        )


#: What the functions of this package take: an interaction, or the kernel of one.
Model = AbstractInteraction | Kernel
_OURS = (Quadratic, Power, RectifiedPower, ManyBody, Simplicial, Polynomial)
_OURS += (Exponential, Softmax, Epanechnikov)


def is_own(interaction: Model) -> bool:
    """Whether it is an interaction of one's own, of which its methods are all that is known."""
    return isinstance(interaction, AbstractInteraction) and not isinstance(interaction, _OURS)


def kernel(interaction: Model) -> Kernel:
    r"""The noise kernel of an interaction.

    With $A_{pk} = (p!)^2 / (4^{(p-k)/2} ((p-k)/2)!^2\, k!)$ for even $p - k \ge 0$ and $p = n - 1$:

    | interaction | $K(C)$ |
    |---|---|
    | `Quadratic`, order 2 | $C$, and the memories react to each other |
    | `Power` | $\sum_k A_{pk} C^k$ |
    | `RectifiedPower` | half the arc-cosine kernel of order p, normalised to $(2p-1)!!/2$ at 1 |
    | `ManyBody` | $p!\, C^p$ |
    | `Simplicial` | $\sum_k (k b_k / n)^2 (k-1)!\, C^{k-1}$ |
    | `Polynomial` | $\sum_j j!\, h_j^2\, C^j$, $\sum_k (k b_k / n) x^{k-1} = \sum_j h_j He_j$ |
    | one of your own | $(a^2 + b^2)\, J_p(C) + 2 a b\, J_p(-C)$ |

    $J_p$ is the kernel of `RectifiedPower`, and $a = f(1)$, $b = f(-1)$ in units of the scale. The
    force of an interaction of your own must be homogeneous, $f(ty) = t^p f(y)$ for t > 0: then
    $N^{-p/2} f(\sqrt N x)$ does not depend on N, and $f(y) = a \max(y, 0)^p + b \max(-y, 0)^p$. Its
    attribute `order` says $n > 2$; there, and with `RectifiedPower`, n need not be whole.

    **Arguments:** `interaction`: of `hopfax` or of your own, or a `Kernel`, which comes back as it
    is.

    **Returns:** a `Kernel`, exact to rounding (1e-9 for fractional orders).

    **Diluted interactions.** If of all sets of n different neurons a random fraction c is kept and
    these are made stronger by 1/c, the couplings $J_S / c$ that are left make the noise
    $\alpha K + \alpha K (1 - c)/c$: that of the memories, and that of what is missing, in which the
    sums $J_S$ over memories have random signs. Each comes with its feedback, so the theory of
    `ManyBody` of order n >= 3 is that of the whole network at the load $\alpha / c$, and the number
    of memories is proportional to that of interactions. Of `Simplicial` it is the same at the load
    $\alpha / c_n$ with the weights $b_k \sqrt{c_n / c_k}$ of the lower orders.

    **Raises:** ValueError for exponential interactions, whose noise is not Gaussian, for one of
    your own without `order` or whose force is not homogeneous, and for a rectified force,
    `Simplicial` or one of your own of order 2, for which the theory is not known. Where K(1) is
    evaluated: for an order whose loads, near 0.1 / K(1), are no floats (from about 27 on in
    float32).

    Assumes independent unbiased patterns and $N \to \infty$. The rectified force, which mixes even
    and odd powers, has corrections of $O(N^{-1/2})$ (below order 3 of $O(N^{(2-n)/2})$), the others
    of $O(1/N)$: at N = 800 a trajectory of `RectifiedPower(3)` can be below this theory by 0.01.
    Arc-cosine kernels: Cho, Saul 2009. Diluted networks: Burns, Fukai 2023, arXiv:2305.05179; their
    theory is derived here. Mimura, Takeuchi, Sumikawa, Kabashima, Coolen 2026, arXiv:2506.00851.

    **Example:**

    ```python
    K = hx.theory.dense.kernel(hx.ManyBody(3))
    K(jnp.asarray(0.5)), K.order  # 0.5, 3
    ```
    """
    order = getattr(interaction, "order", 2)
    if isinstance(order, int | float) and order > _MOST_ORDER:
        raise ValueError(
            f"`interaction` must have an order of at most {_MOST_ORDER}, got {order}: the kernel "
            "grows as the factorial of the order, beyond the largest float."
        )
    match interaction:
        case Kernel():
            return interaction
        case Quadratic() | Power(order=2) | ManyBody(order=2):
            return Kernel(forces.Linear(), 2)
        case Power(order=n):
            return Kernel(forces.Power(n - 1), n)
        case ManyBody(order=n):
            return Kernel(forces.ManyBody(n - 1), n)
        case RectifiedPower(order=n):
            if n == 2:
                raise ValueError(
                    "`interaction` RectifiedPower(2) has no exact theory: at order 2 the memories "
                    "react to each other, which is resummed for linear forces only. Use order 3 "
                    "or more, or Quadratic()."
                )
            return Kernel(forces.Rectified(n - 1), n)
        case Simplicial() | Polynomial():
            if interaction.order == 2:
                raise ValueError(
                    f"`interaction` {type(interaction).__name__} of order 2 is a quadratic network "
                    "with a random field, for which no theory is derived; use Quadratic() or order "
                    "3 or more."
                )
            mixed = isinstance(interaction, Simplicial)
            force = (forces.Mixture if mixed else forces.Polynomial)(dict(interaction.weights))
            return Kernel(force, interaction.order)
        case Epanechnikov():
            raise ValueError(
                "`interaction` Epanechnikov has no theory here: its states are means of memories, "
                "not signs."
            )
        case AbstractInteraction(exponential=True):
            raise ValueError(
                f"`interaction` {type(interaction).__name__} has no Gaussian kernel: a few "
                "memories make most of its noise. Its one-step thresholds are those of "
                "`hopfax.theory.dense.exponential_load`."
            )
        case AbstractInteraction():
            force = forces.Own(interaction, _own_order(interaction) - 1)
            _check_homogeneous(force)
            return Kernel(force, force.p + 1)
    raise TypeError(
        "`interaction` must be an interaction of hopfax, a subclass of AbstractInteraction or a "
        f"Kernel, got {shown(interaction)}. Wrap a function C -> K(C) of your own as "
        "Kernel(function, order)."
    )


def _own_order(interaction: AbstractInteraction) -> int | float:
    """The order of an interaction of one's own."""
    kind, order = type(interaction).__name__, getattr(interaction, "order", None)
    if order is None:
        raise ValueError(
            f"`interaction` {kind} has no `order`, the number n of neurons that interact at once: "
            f"its load is M / N^(n-1). Say it in the class, as in `order = 4` for a force y^3."
        )
    if isinstance(order, bool) or not isinstance(order, int | float) or not order > 2:
        raise ValueError(
            f"`interaction` {kind} must have as `order` a Python number above 2, got "
            f"{shown(order)}: at order 2 the memories react to each other, which is known for "
            "Quadratic() alone."
        )
    return int(order) if float(order).is_integer() else order


_HOMOGENEOUS = 1e-4  # to which a force must be; single precision is enough


def _check_homogeneous(force: forces.Own) -> None:
    """ValueError where the values of a force are known and do not make a kernel."""
    interaction = force.interaction
    kind, p = type(interaction).__name__, force.p
    for N in (64, 16):
        y = jnp.asarray([N, -N, N / 4, -N / 4, N**0.5, -(N**0.5), 1.0, -1.0], float)
        with jax.ensure_compile_time_eval():
            found = interaction.force(y, N) / interaction.scale(N)
        if not is_concrete(found):
            return
        expected = np.asarray(force.signal(y / N))
        size = _HOMOGENEOUS * np.abs(expected).max() * np.abs(y / N) ** p
        if not (np.abs(found - expected) <= size).all():
            k = int(np.argmax(~(np.abs(found - expected) <= size)))
            raise ValueError(
                f"`interaction` {kind} of order {p + 1} must have a force proportional to "
                f"|y|^{p:g} on either side of 0, and a scale proportional to N^{p:g}, but force / "
                f"scale at y = {float(y[k]):g}, N = {N} is {float(found[k]):.3g} in place of "
                f"{float(expected[k]):.3g}. If the noise of large networks has a kernel "
                "nevertheless, give it as Kernel(function, order)."
            )


def input_driven_kernel() -> Kernel:
    r"""The kernel of the input-driven network,
    $W = \sum_\mu (\xi^\mu \cdot y)\, \xi^\mu \xi^{\mu T}$.

    With a fixed input y of $\pm 1$ and $M = \alpha N^2$ memories the noise has covariance
    $\alpha\, [C(t, t') + 2 c(t) c(t')]$, $c(t) = \langle y\, h(t) \rangle$, and the signal is
    $\mu m$, $\mu$ = `stimulus_overlap`, the overlap of the input with the recalled memory.

    **Returns:** a `Kernel` of order 3 with $K(C) = C$.

    Network: Betteti, Baggio, Bullo, Zampieri 2025. The theory at this load is derived here.

    **Example:**

    ```python
    K = hx.theory.dense.input_driven_kernel()
    hx.theory.dense.first_steps(K, 0.15, 0.5, 2, stimulus_overlap=0.8).overlap  # 0.5, 0.63, 0.84
    ```
    """
    return Kernel(forces.InputDriven(), 3)
