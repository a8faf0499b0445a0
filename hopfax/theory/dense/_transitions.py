"""Recall without any error at finite size: one neuron, one transition, a whole sequence."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..._errors import as_count, as_number, check_bool, check_option
from ..._interactions import AbstractInteraction, Softmax
from ..._types import is_concrete
from ._finite import finite
from ._kernels import is_own, kernel
from ._noise_tails import PairTerms, Terms, binomial, joint_ratio, tail

_MOST_N, _MOST_M = 10**5, 10**30
_RESOLUTION = 1e-3  # relative, of a capacity


class TransitionRecall(NamedTuple):
    """Recall from one memory of a cycle to the next, at finite size.

    `error`: the probability that a given neuron is wrong. `transition`: that none of the N neurons
    is. `sequence`: that none is in any of the M transitions.

    **Example:**

    ```python
    recall = hx.theory.dense.transition_recall(hx.Power(3), N=60, M=227)
    recall.error, recall.transition, recall.sequence  # 0.0116, 0.5404, 0.0000
    ```
    """

    error: float
    transition: float
    sequence: float


def transition_recall(
    interaction: AbstractInteraction, N: int, M: int, *, keep_diagonal: bool = False
) -> TransitionRecall:
    r"""Probabilities of recall without error in a cycle of M random memories of N neurons.

    At memory $\nu$ the field of neuron i, times the sign $\xi^{\nu+1}_i$ that it should answer, is
    c - S: the signal $c = f(N - 1)$, and noise $S = \sum_{\mu \ne \nu} s_\mu f(Y_\mu)$ with
    independent signs $s_\mu$ and sums $Y_\mu$ of $N - 1$ signs. A neuron whose field is 0 keeps its
    sign, which is wrong half the time. Hence the exact

    $$q = P(S > c) + \tfrac12 P(S = c) = \frac{1}{\pi} \int_0^\infty \mathrm{Re}\,
    \frac{[E \cosh z f(Y)]^{M-1}\, e^{-zc}}{z}\, dt, \qquad z = \theta + it .$$

    For Gaussian noise it would be $\frac12 \mathrm{erfc} \sqrt{c^2 / 2 (M-1) E f^2}$.

    The errors of the N neurons of a transition are not independent: they share the overlaps $Y$.
    First, a memory that equals the state, of probability $2^{-N}$, leaves no chance. Otherwise,
    given all overlaps, neurons err independently with a probability $q_Y$. With $r$ the ratio of
    the probability that two neurons are both wrong to the square of that of one (at the saddle
    point), taking $q_Y$ as Gamma distributed leads to

    $$P_T = (1 - 2^{-N})^{M-1}\, P_1, \qquad P_1 = [1 + (r - 1) N q]^{-1/(r-1)}, \qquad
    P_S \approx (1 - 2^{-N})^{M(M-1)/2}\, P_1^M,$$

    where q and r are those without such a memory. Different transitions are nearly independent:
    $\ln P_S$ also has, to first order, the terms $M (Nq)^2 \ln r / 2$, as two transitions share one
    overlap, and $N\, [M q + \ln E_b\, e^{-M q(b)}]$ of the field
    $b = E f \sum_\mu \xi^\mu_i$, which a neuron feels in all of them ($E f > 0$ at odd n). For n
    even the negative of a memory counts as the memory itself.

    **Arguments:** `interaction`: of `hopfax` or of your own, with signs. `N`, `M`: neurons and
    memories, Python ints. `keep_diagonal`: whether a neuron's overlaps include itself; then
    $c = f(N)$ and Y are sums of N signs (the signs $s_\mu$ and $Y_\mu$ are then correlated, which
    changes q by a relative 1/N at most).

    **Returns:** a `TransitionRecall` of Python numbers. `error` is exact to 1e-3 of itself (below
    1e-39 an upper bound). `transition` was within 0.01 and `sequence` within 0.04 of simulated
    networks of 12 to 200 neurons (0.07 for the 11 memories of an order 2); independent neurons
    would be off by up to 0.13 and 0.23.

    **Raises:** ValueError for Softmax, whose states are not signs, for an interaction without a
    finite-size form, and where N is too small for its order.

    Assumes independent unbiased patterns, zero temperature, a parallel update of the memory itself.
    Derived here.

    **Example:**

    ```python
    hx.theory.dense.transition_recall(hx.Exponential(1.0), N=12, M=300).error  # 0.0340
    ```
    """
    N, M = as_count(N, "N", 2, _MOST_N), as_count(M, "M", most=_MOST_M)
    check_bool(keep_diagonal, "keep_diagonal")
    model = _model(interaction, N, bool(keep_diagonal))
    error = tail(model.all, M - 1.0) if M > 1 else 0.0
    return TransitionRecall(error, *_chances(model, N, M))


def error_free_capacity(
    interaction: AbstractInteraction,
    N: int,
    probability: float = 0.5,
    *,
    what: str = "sequence",
    keep_diagonal: bool = False,
) -> int:
    r"""The largest number of memories that are recalled without any error.

    By bisection on `transition_recall`. As $N \to \infty$, from $N M q \sim 1$ with Gaussian
    noise, for orders $n \ge 2$,

    $$M_T \to \frac{N^{n-1}}{2 K(1) \ln N}, \qquad M_S \to \frac{N^{n-1}}{2 n K(1) \ln N},$$

    with $K(1) = (2n - 3)!!$ for `Power`: the laws of Chaudhry, Zavatone-Veth, Krotov and Pehlevan
    2023, arXiv:2306.04532. They are approached slowly, as $\ln \ln N / \ln N$: for Power(3) they
    are 21 and 26 % too low at N = 10,000, where $N^{n-1} / K(1) x^2$ is within 1 %, with
    $Q(x) = \ln(1/P) / N$ or $\ln(1/P) / NM$ and Q the tail of a Gaussian. For the exponential of
    rate $\lambda$ Gaussian noise gives, as there, $M_T \to \beta^{N-1} / 2 \ln N$ and
    $M_S \to \beta^{N-1} / (2 N \ln \beta)$ with
    $\beta = e^{2\lambda} / \cosh 2\lambda < 2$. Random memories do not attain the second: two of M
    memories are equal with probability $M^2 2^{-N} / 2$, and what follows is then ambiguous; and
    of two that differ in one neuron, one is followed by an error if their successors differ there.
    Together,

    $$M_S \to \Big[ \frac{2\, \ln(1/P)}{1 + N/2} \Big]^{1/2} 2^{N/2}
    \qquad (\beta > \sqrt 2,\; \lambda > 0.2203).$$

    A transition is limited likewise, $M (1 + N/4)\, 2^{-N} < \ln(1/P)$. At $\lambda = 1$ this is of
    the size of the Gaussian limit up to some hundred neurons, at larger rates it is the stricter.

    **Arguments:** `interaction`, `N`, `keep_diagonal`: as in `transition_recall`. `probability`:
    that there is no error; in (0, 1). `what`: "transition", from one memory to the next, or
    "sequence", all M transitions of the cycle.

    **Returns:** M, a Python int, such that M memories reach `probability` and a number larger by
    0.1 % (or 1) does not; 1 if two memories do not. The approximations of `transition_recall`
    put it off by 1 to 2 %. It takes about a second for N = 1000 and ten for N = 10,000.

    **Raises:** as `transition_recall` does; ValueError for a capacity above 1e30.

    Assumptions: those of `transition_recall`. The finite sizes are derived here.

    **Example:**

    ```python
    hx.theory.dense.error_free_capacity(hx.Power(3), 80)  # 138
    hx.theory.dense.error_free_capacity(hx.Power(3), 80, what="transition")  # 380
    ```
    """
    N = as_count(N, "N", 2, _MOST_N)
    probability = _fraction(probability)
    check_option(what, "what", ("transition", "sequence"))
    check_bool(keep_diagonal, "keep_diagonal")
    model = _model(interaction, N, bool(keep_diagonal))

    def reaches(M):
        return _chances(model, N, M)[what == "sequence"] >= probability

    low, high = 1, 2
    while reaches(high):
        low, high = high, 16 * high
        if low > _MOST_M:
            raise ValueError(f"`N` = {N} has a capacity above {_MOST_M:.0e}, too large to find.")
    while high - low > max(1.0, _RESOLUTION * low):
        middle = math.isqrt(low * high) if high > 2 * low else (low + high) // 2
        middle = min(max(middle, low + 1), high - 1)
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return low


class _Model(NamedTuple):
    """What a memory that is not due contributes to the noise of a neuron, and the same if it is not
    equal to the state, for one neuron and for two. `same`: how many states count as equal.
    `lasting`: the part of the variance that is the same in all transitions."""

    all: Terms
    other: Terms
    pair: PairTerms
    same: int
    lasting: float


def _model(interaction: AbstractInteraction, N: int, keep_diagonal: bool) -> _Model:
    force = _force(interaction, N, N - 1 + keep_diagonal)
    count = N if keep_diagonal else N - 1  # of the signs in Y
    y, logp = count - 2.0 * np.arange(count + 1), binomial(count)
    f, p = force(y), np.exp(logp)
    lasting = float((p @ f) ** 2 / (p @ f**2))
    f = abs(f)
    same = 1 + bool(f[-1] > 1 - 1e-6)  # the negative of the state, too
    # A sum of N - 1 signs at its end comes from the state itself half the time.
    less = -math.inf if keep_diagonal else -math.log(2.0)
    rest = logp.copy()
    rest[[0, -1][:same]] += less
    rest = rest - math.log1p(-same * 2.0**-N)
    if keep_diagonal:
        pair = PairTerms(f, f, rest)
    else:
        z, logz = N - 2 - 2.0 * np.arange(N - 1), binomial(N - 2)
        up, down = abs(force(z + 1)), abs(force(z - 1))
        upper, lower = (logz - math.log(4.0) for _ in range(2))
        upper[0] = -math.inf
        if same == 2:
            lower[-1] = -math.inf
        joint = np.concatenate([upper, lower, logz - math.log(2.0)])
        joint = joint - math.log1p(-same * 2.0**-N)
        pair = PairTerms(np.concatenate([up, down, up]), np.concatenate([up, down, down]), joint)
    return _Model(_merged(f, logp), _merged(f, rest), pair, same, lasting)


def _chances(model: _Model, N: int, M: int) -> tuple[float, float]:
    """The probabilities of no error in one transition and in all of them."""
    if M == 1:
        return 1.0, 1.0
    n = M - 1.0
    q = min(tail(model.other, n), 0.5)
    ratio = joint_ratio(model.other, model.pair, n)
    wrong, excess = -N * math.log1p(-q), ratio - 1
    lost = math.log1p(excess * wrong) / excess if excess * wrong > 1e-9 else wrong
    equal = -math.log1p(-model.same * 2.0**-N)
    # How much less than M times the loss it is, as the errors of two transitions come together
    together = M * n / 2 * (N * q) ** 2 * math.expm1(math.log(ratio) / n)
    together += N * _kept_by_the_field(q, model.lasting, M)
    all_lost = max(M * lost - together, M * lost / 2)
    return math.exp(-n * equal - lost), math.exp(-M * n / 2 * equal - all_lost)


def _kept_by_the_field(q, lasting, M):
    r"""$M q + \ln E_b e^{-M q(b)}$ with a Gaussian field b of variance `lasting`, in a noise of
    variance 1 that is wrong with probability q."""
    from scipy.special import ndtr, ndtri  # not with hopfax, whose import it would slow down

    if not lasting * M * q > 1e-9:
        return 0.0
    g = np.linspace(-9.0, 9.0, 1001)
    weight = np.exp(-(g**2) / 2)
    weight, b = weight / weight.sum(), g * math.sqrt(lasting)
    x, spread = -ndtri(q), math.sqrt(1 - lasting)
    wrong = (ndtr((b - x) / spread) + ndtr((-b - x) / spread)) / 2
    least = wrong.min()
    return M * (q - least) + math.log(weight @ np.exp(-M * (wrong - least)))


def _merged(f, logp):
    """Terms of distinct magnitudes that are not 0."""
    f, place = np.unique(f, return_inverse=True)
    top = np.full(f.shape, -math.inf)
    np.maximum.at(top, place, logp)
    safe = np.where(np.isfinite(top), top, 0.0)
    total = np.zeros(f.shape)
    np.add.at(total, place, np.exp(logp - safe[place]))
    there = (f > 0) & (total > 0)
    return Terms(f[there], safe[there] + np.log(total[there]))


def _force(interaction, N, top):
    """The force of an overlap in units of that of the overlap `top`, as a function."""

    def known(values):
        if not is_concrete(values):
            raise TypeError("`interaction` must have known numbers, but they are traced by JAX.")
        return np.asarray(values, float)

    if isinstance(interaction, AbstractInteraction) and interaction.exponential:
        if isinstance(interaction, Softmax):
            raise ValueError("`interaction` must be of signs, but the states of Softmax are means.")
        exponent = lambda y: known(interaction.force(jnp.asarray(y, float), N))  # noqa: E731
        return lambda y: np.exp(exponent(y) - exponent(float(top)))
    if is_own(interaction):
        force = lambda y: known(interaction.force(jnp.asarray(y, float), N))  # noqa: E731
    else:
        model = kernel(interaction)
        force = lambda y: known(finite(model, jnp.asarray(y, float), N)[0])  # noqa: E731
    signal = float(force(float(top)))
    if not signal > 0:
        raise ValueError(
            f"`N` = {N} neurons are too few for this interaction: a memory that is recalled "
            "gives no signal."
        )
    return lambda y: force(y) / signal


def _fraction(probability: float) -> float:
    value = as_number(probability, "probability")
    if not 0 < value < 1:
        raise ValueError(f"`probability` must be in (0, 1), but is {value:g}.")
    return value
