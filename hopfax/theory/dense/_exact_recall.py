"""Recall of static memories without any error at finite size."""

import math
from typing import NamedTuple

import numpy as np

from ..._errors import as_count
from ..._interactions import AbstractInteraction
from ._finite import Force, force_at
from ._noise_tails import PairTerms, Terms, binomial, joint_ratio, merged, merged_pairs, tail
from ._transitions import MOST_M, MOST_N

# A memory that is closer to a cue than its own makes an error by itself. How large its force is
# does not matter and is cut off at this many signals: far larger ones would hide what is near 1.
_MOST = 2.0
_MOST_WHOLE = 2.0**40  # beyond, ties of whole numbers are too rare to matter


class ExactRecall(NamedTuple):
    """What one step makes of a cue at finite size.

    `error`: the probability that a given neuron is wrong after it, of those that the cue has right.
    `uncorrected`: the same of those that the cue has wrong (NaN without flips). `recall`: that all
    N neurons are right.

    **Example:**

    ```python
    found = hx.theory.dense.exact_recall(hx.Power(3), N=100, M=300, flips=5)
    found.error, found.uncorrected, found.recall  # 0.0038, 0.0027, 0.7178
    ```
    """

    error: float
    uncorrected: float
    recall: float


def exact_recall(interaction: AbstractInteraction, N: int, M: int, flips: int = 0) -> ExactRecall:
    r"""Probability that one step recalls one of M random memories without any error.

    A cue has `flips` = k wrong neurons. The field of neuron i, times its sign in the memory, is
    c - S, with the signal $c = f(N - 1 - 2k)$ of a neuron that is right, $f(N + 1 - 2k)$ of one
    that is wrong, and noise $S = \sum_{\mu} s_\mu f(Y_\mu)$ of the M - 1 other memories, as in
    `transition_recall`. A neuron whose field is 0 keeps its sign: a right one is lost with the
    exact probability $q = P(S > c)$, a wrong one stays with $q' = P(S \ge c)$. With
    $\Lambda = -(N - k) \ln (1 - q) - k \ln (1 - q')$, all N are right with the probability

    $$P = \begin{cases} \big(1 + (r - 1) \Lambda\big)^{-1/(r-1)} & r > 1 \\
    e^{-\Lambda - (1 - r) \Lambda^2 / 2} & r \le 1, \end{cases}$$

    where r is the ratio of the probability that two neurons are both wrong to that of independent
    ones, at the saddle point. The noise of two neurons has the correlation $K'(1) / K(1) N$, and
    they share the size of the overlaps, which makes r > 1. Where single memories that resemble the
    cue make the errors (high orders at small N, exponentials), r < 1: a neuron that differs from
    such a memory leaves fewer others that do.

    Without flips, P is the probability that **the memory is a fixed point**. A state at rest is
    equal to the memory only then, so P is an upper bound for recall by any number of steps, and is
    attained by cues well inside the basin: for `Power(3)`, N = 200 and M = 1333, a scaled load of
    0.1, it is 0.852, and of 2,560 cues with a tenth of their signs wrong 0.845 came to rest at the
    memory itself. One step is enough for 0.024 of them.

    **Arguments:** `interaction`: of `hopfax` or of your own, with signs. `N`, `M`: neurons and
    memories, Python ints. `flips`: wrong neurons of the cue, fewer than N/2.

    **Returns:** an `ExactRecall` of Python numbers. `error` and `uncorrected` are exact to 1e-3 of
    themselves (below 1e-39 an upper bound) where other memories are hardly ever nearer to the cue
    than its own; where they are, as with exponentials and flips among few neurons, to 3 % of
    themselves up to 0.2 and 6 % at 0.4. `recall` was within 0.01 of simulated networks of 12 to
    200 neurons without flips (0.06 for `Power(5)` at N = 20, of which one neuron in ten errs), and
    with flips within 0.03 (0.08 for exponentials); independent neurons would be off by up to 0.13.

    **Raises:** ValueError for Softmax and Epanechnikov, whose states are no signs, for an
    interaction without a finite-size form, where N is too small for its order, and for flips that
    leave no signal.

    Assumes independent unbiased patterns, zero temperature, a parallel update without
    self-coupling. The law of large networks is that of McEliece, Posner, Rodemich, Venkatesh 1987
    (order 2) and of `error_free_capacity`. Derived here.

    **Example:**

    ```python
    hx.theory.dense.exact_recall(hx.Power(3), N=200, M=1333).recall  # 0.8517
    hx.theory.dense.exact_recall(hx.Exponential(0.5), N=14, M=120).recall  # 0.9435
    ```
    """
    N, M = as_count(N, "N", 2, MOST_N), as_count(M, "M", most=MOST_M)
    return Cue.of(interaction, N, as_count(flips, "flips", 0, (N - 1) // 2)).recall(M)


class Cue(NamedTuple):
    """Signals of the right and of the wrong neurons of a cue, and what one of the other memories
    may contribute to the noise of a neuron, with its sign, and to that of two, all in units of the
    signal of a memory itself."""

    N: int
    flips: int
    right: float
    wrong: float
    f: np.ndarray
    logp: np.ndarray
    pair: PairTerms
    lattice: tuple[float, float]  # the step between sums, and one of the numbers that are added

    @classmethod
    def of(cls, interaction: AbstractInteraction, N: int, flips: int) -> "Cue":
        """A cue with so many flips.

        **Raises:** ValueError where they leave no signal.
        """
        force = force_at(interaction, N, N - 1)
        right, wrong = (float(force.of(N + s - 2 * flips)) for s in (-1, 1))
        if not right > 0:
            raise ValueError(f"`flips` = {flips} of {N} neurons leave no signal of the memory.")
        y = N - 1 - 2.0 * np.arange(N)
        f = force.of(y)
        # Neuron i feels s f(z + s'), and neuron k feels s' f(z + s): z is the overlap without them,
        # s and s' are how they agree with the memory.
        z, logz = N - 2 - 2.0 * np.arange(N - 1), binomial(N - 2) - math.log(4.0)
        up, down = force.of(z + 1), force.of(z - 1)
        first, second = (
            np.concatenate([-up, down, up, -down]),
            np.concatenate([-up, down, -down, up]),
        )
        pair = merged_pairs(first, second, np.tile(logz, 4))
        return cls(N, flips, right, wrong, f, binomial(N - 1), pair, _lattice(force, f))

    def recall(self, M: int) -> ExactRecall:
        """What becomes of it among M memories."""
        if M == 1:
            return ExactRecall(0.0, 0.0 if self.flips else math.nan, 1.0)
        n = M - 1.0
        level = self._threshold(self.right, M, True)
        terms = self._terms(level)
        error = min(tail(terms, n), 0.5)
        first, second = (np.clip(x / level, -_MOST, _MOST) for x in (self.pair.f, self.pair.g))
        pair = PairTerms(first, second, self.pair.logp)
        excess = joint_ratio(terms, pair, n) - 1
        lost, uncorrected = -(self.N - self.flips) * math.log1p(-error), math.nan
        if self.flips:
            terms = self._terms(self._threshold(self.wrong, M, False))
            uncorrected = min(tail(terms, n), 0.5)
            lost -= self.flips * math.log1p(-uncorrected)
        if excess * lost > 1e-9:
            return ExactRecall(error, uncorrected, math.exp(-math.log1p(excess * lost) / excess))
        return ExactRecall(error, uncorrected, math.exp(-lost + excess * lost**2 / 2))

    def _terms(self, level: float) -> Terms:
        """Magnitudes of the noise of a neuron in units of the level that it must pass."""
        return merged(np.minimum(abs(self.f) / level, _MOST), self.logp)

    def _threshold(self, c: float, M: int, above: bool) -> float:
        """Where the tail of the noise begins: half a step below the first sum of whole numbers that
        is larger than c (`above`) or not less."""
        step, least = self.lattice
        if not step:
            return c
        # Sums of M - 1 numbers that are all equal to `least` but for multiples of the step
        over = (c - (M - 1) * least) / step
        over -= math.floor(over)
        over = 0.0 if min(over, 1 - over) < 1e-6 else over
        return c + step * (0.5 - over) if over or above else c - step / 2


def _lattice(force: Force, f: np.ndarray) -> tuple[float, float]:
    """The step between sums of whole numbers with random signs, and one of these numbers; 0, 0
    where forces are not whole numbers."""
    if not force.whole or abs(f).max() > _MOST_WHOLE * force.whole:
        return 0.0, 0.0
    numbers = abs(f) / force.whole
    whole = np.unique(np.rint(numbers)).astype(np.int64)
    if abs(numbers - np.rint(numbers)).max() > 1e-3:
        return 0.0, 0.0
    step = np.gcd.reduce(np.concatenate([2 * whole, np.diff(whole)]))
    return float(step) * force.whole, float(whole[0]) * force.whole
