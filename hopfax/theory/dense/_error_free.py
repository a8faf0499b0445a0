"""How many memories are recalled without any error at finite size."""

import math

from ..._errors import as_count, as_number, check_bool, check_option
from ..._interactions import AbstractInteraction
from ._exact_recall import Cue
from ._transitions import MOST_M, MOST_N, Calls

_RESOLUTION = 1e-3  # relative, of a capacity


def error_free_capacity(
    interaction: AbstractInteraction,
    N: int,
    probability: float = 0.5,
    *,
    what: str = "sequence",
    flips: int = 0,
    keep_diagonal: bool = False,
) -> int:
    r"""The largest number of memories that are recalled without any error.

    By bisection on `transition_recall` or, for static memories, `exact_recall`. As $N \to \infty$,
    from $N M q \sim 1$ with Gaussian noise, for orders $n \ge 2$,

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

    A static memory is a fixed point up to $M_T$; from a cue of overlap m one step recalls it up to
    $m^{2(n-1)} M_T$. Equal memories are then no obstacle, and the exponential of a high rate is
    limited by those that differ in one neuron, $M \to 2 \ln(1/P)\, 2^N / N$.

    **Arguments:** `interaction`, `N`, `keep_diagonal`: as in `transition_recall`. `probability`:
    that there is no error; in (0, 1). `what`: "transition", from one memory to the next,
    "sequence", all M transitions of the cycle, or "memory", a static one. `flips`: of a "memory",
    wrong neurons of the cue; without any, that it is a fixed point.

    **Returns:** M, a Python int, such that M memories reach `probability` and a number larger by
    0.1 % (or 1) does not; 1 if two memories do not. The approximations of `transition_recall`
    put it off by 1 to 2 %. It takes about a second for N = 1000 and ten for N = 10,000.

    **Raises:** as `transition_recall` and `exact_recall` do; ValueError for a capacity above 1e30,
    for `flips` of what is no "memory", and for a "memory" with `keep_diagonal`.

    Assumptions: those of `transition_recall`. The finite sizes are derived here.

    **Example:**

    ```python
    hx.theory.dense.error_free_capacity(hx.Power(3), 80)  # 138
    hx.theory.dense.error_free_capacity(hx.Power(3), 80, what="transition")  # 380
    hx.theory.dense.error_free_capacity(hx.Power(3), 80, what="memory", flips=8)  # 164
    ```
    """
    N = as_count(N, "N", 2, MOST_N)
    probability = _fraction(probability)
    check_option(what, "what", ("transition", "sequence", "memory"))
    check_bool(keep_diagonal, "keep_diagonal")
    flips = as_count(flips, "flips", 0, (N - 1) // 2)
    if what == "memory":
        if keep_diagonal:
            raise ValueError("`keep_diagonal` must be False for what='memory': it is not derived.")
        cue = Cue.of(interaction, N, flips)
    elif flips:
        raise ValueError("`flips` are of what='memory'; a sequence is recalled from its memories.")
    else:
        calls = Calls.of(interaction, N, bool(keep_diagonal))

    def reaches(M):
        if what == "memory":
            return cue.recall(M).recall >= probability
        return calls.chances(N, M)[what == "sequence"] >= probability

    low, high = 1, 2
    while reaches(high):
        low, high = high, 16 * high
        if low > MOST_M:
            raise ValueError(f"`N` = {N} has a capacity above {MOST_M:.0e}, too large to find.")
    while high - low > max(1.0, _RESOLUTION * low):
        middle = math.isqrt(low * high) if high > 2 * low else (low + high) // 2
        middle = min(max(middle, low + 1), high - 1)
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return low


def _fraction(probability: float) -> float:
    value = as_number(probability, "probability")
    if not 0 < value < 1:
        raise ValueError(f"`probability` must be in (0, 1), but is {value:g}.")
    return value
