"""Recall of sequences without any error at finite size: one neuron, one transition, all of them."""

import math
from typing import NamedTuple

import numpy as np

from ..._errors import as_count, check_bool
from ..._interactions import AbstractInteraction
from ._finite import force_at
from ._noise_tails import PairTerms, Terms, binomial, joint_ratio, merged, tail, with_random_signs

MOST_N, MOST_M = 10**5, 10**30


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
    even the negative of a memory counts as the memory itself. For static memories, to which ties
    and equal memories do no harm, see `exact_recall`.

    **Arguments:** `interaction`: of `hopfax` or of your own, with signs. `N`, `M`: neurons and
    memories, Python ints. `keep_diagonal`: whether a neuron's overlaps include itself; then
    $c = f(N)$ and Y are sums of N signs (the signs $s_\mu$ and $Y_\mu$ are then correlated, which
    changes q by a relative 1/N at most).

    **Returns:** a `TransitionRecall` of Python numbers. `error` is exact to 1e-3 of itself (below
    1e-39 an upper bound). `transition` was within 0.01 and `sequence` within 0.04 of simulated
    networks of 12 to 200 neurons (0.07 for the 11 memories of an order 2); independent neurons
    would be off by up to 0.13 and 0.23.

    **Raises:** ValueError for Softmax and Epanechnikov, whose states are no signs, for an
    interaction without a finite-size form, and where N is too small for its order.

    Assumes independent unbiased patterns, zero temperature, a parallel update of the memory itself.
    Derived here.

    **Example:**

    ```python
    hx.theory.dense.transition_recall(hx.Exponential(1.0), N=12, M=300).error  # 0.0340
    ```
    """
    N, M = as_count(N, "N", 2, MOST_N), as_count(M, "M", most=MOST_M)
    check_bool(keep_diagonal, "keep_diagonal")
    model = Calls.of(interaction, N, bool(keep_diagonal))
    error = tail(model.all, M - 1.0) if M > 1 else 0.0
    return TransitionRecall(error, *model.chances(N, M))


class Calls(NamedTuple):
    """What a memory that is not due contributes to the noise of a neuron, and the same if it is not
    equal to the state, for one neuron and for two. `same`: how many states count as equal.
    `lasting`: the part of the variance that is the same in all transitions."""

    all: Terms
    other: Terms
    pair: PairTerms
    same: int
    lasting: float

    @classmethod
    def of(cls, interaction: AbstractInteraction, N: int, keep_diagonal: bool) -> "Calls":
        """Those of an interaction among N neurons."""
        force = force_at(interaction, N, N - 1 + keep_diagonal).of
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
            pair = with_random_signs(f, f, rest)
        else:
            z, logz = N - 2 - 2.0 * np.arange(N - 1), binomial(N - 2)
            up, down = abs(force(z + 1)), abs(force(z - 1))
            upper, lower = (logz - math.log(4.0) for _ in range(2))
            upper[0] = -math.inf
            if same == 2:
                lower[-1] = -math.inf
            joint = np.concatenate([upper, lower, logz - math.log(2.0)])
            joint = joint - math.log1p(-same * 2.0**-N)
            first, second = np.concatenate([up, down, up]), np.concatenate([up, down, down])
            pair = with_random_signs(first, second, joint)
        return cls(merged(f, logp), merged(f, rest), pair, same, lasting)

    def chances(self, N: int, M: int) -> tuple[float, float]:
        """The probabilities of no error in one transition and in all of them."""
        if M == 1:
            return 1.0, 1.0
        n = M - 1.0
        q = min(tail(self.other, n), 0.5)
        ratio = max(1.0, joint_ratio(self.other, self.pair, n))
        wrong, excess = -N * math.log1p(-q), ratio - 1
        lost = math.log1p(excess * wrong) / excess if excess * wrong > 1e-9 else wrong
        equal = -math.log1p(-self.same * 2.0**-N)
        # How much less than M times the loss it is, as the errors of two transitions come together
        together = M * n / 2 * (N * q) ** 2 * math.expm1(math.log(ratio) / n)
        together += N * _kept_by_the_field(q, self.lasting, M)
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
