r"""Whether a least-squares fit describes its data.

Residuals of the right model at its global minimum are independent, and of variance one if their
standard deviations are known. So there are two tests:

    standard deviations known     chi-squared: $\sum_k r_k^2$ against its distribution
    always                        Ljung-Box: are residuals of neighbouring times correlated?

The second one needs no scale. A run that is late by a part of a dwell, or that decays too fast, is
wrong at many times in a row. Chi-squared hardly sees that where data are many: its standard
deviation is 37 with 680 degrees of freedom, so that a false minimum 70 above the global one (141
more) had p = 0.02. The correlation of residuals tells it.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammainc, gammaincc
from jaxtyping import Array, Bool, Float, Int

from .._report import Report, Reported
from ..losses._order import EventMap
from ..losses._terms import AbstractTerm, Path

_POOR = 1e-3  # p-values below are no chance
_TOO_GOOD = 1e-4  # and p-values of the lower tail: of no other hypothesis than a wrong sigma
_UNLIKELY = 1e-4  # and those of correlations, where chi-squared is the test and fine
_FEWEST = 10  # degrees of freedom with which correlations are tested
_LAGS = 10  # at most, and a fifth of the times: as is usual


class Goodness(Reported, eqx.Module):
    r"""Whether the residuals $r_k$ at the end of a fit are those of the right model.

    - `chi_squared`: $\sum_k r_k^2$.
    - `degrees`: the residuals that were observed, less the parameters that they determine.
    - `p_value`: the probability of a worse value of the test, if the model is right; NaN where
      nothing can be tested (no degrees of freedom, or too few data without known standard
      deviations).
    - `correlation`: the p-value of the test of Ljung and Box, also where chi-squared is the test.
      There it is that of correlations in units of the standard deviations that were said, so that
      residuals which are far smaller say nothing.
    - `poor`: whether `p_value` is below 0.001, or `correlation` below 0.0001. Residuals as small as
      the tolerance of the fit are never called poor.
    - `lower_tail`: the probability of a smaller chi-squared, NaN where `p_value` is, and for the
      other test. `overstated`: whether it is below 0.0001, so that the standard deviations of the
      data were given as too large. Residuals as small as the tolerance of the fit, as of data
      without noise, say nothing of that.
    - `test`: "chi-squared" if standard deviations are known (`absolute_sigma` of `hopfax.fit`),
      otherwise "Ljung-Box": whether residuals of neighbouring times are correlated.

    G. M. Ljung and G. E. P. Box 1978, doi:10.1093/biomet/65.2.297.

    **Example:**

    ```python
    x, noise = jnp.linspace(0.0, 1.0, 40), 0.1 * jax.random.normal(jax.random.key(0), (40,))
    found = hx.fit(
        jnp.zeros(1),
        lambda slope: (slope * x - (2.0 * x + noise)) / 0.1,
        where=lambda slope: slope,
        absolute_sigma=True,
        progress=False,
    )
    found.goodness.poor, found.goodness.degrees  # False, 39
    found.goodness.p_value  # 0.5
    ```
    """

    chi_squared: Float[Array, ""]
    degrees: Int[Array, ""]
    p_value: Float[Array, ""]
    poor: Bool[Array, ""]
    lower_tail: Float[Array, ""]
    overstated: Bool[Array, ""]
    correlation: Float[Array, ""]
    test: Literal["chi-squared", "Ljung-Box"] = eqx.field(static=True)

    def _report(self) -> Report:
        of = f"chi-squared {float(self.chi_squared):.4g} at {int(self.degrees)} degrees of freedom"
        p, near = float(self.p_value), float(self.correlation)
        if self.test == "Ljung-Box":
            of = "correlation of residuals (Ljung-Box)"
        elif self.poor and not p < _POOR:
            return Report(
                f"{of}, p = {p:.2g}, but residuals of neighbouring times are correlated "
                f"(Ljung-Box, p = {near:.2g})"
            )
        if self.overstated:
            reduced = float(self.chi_squared) / int(self.degrees)
            return Report(
                f"{of}, far below what is expected (p = {float(self.lower_tail):.2g} of the lower "
                "tail): the standard deviations of the data are smaller than was said, about "
                f"{reduced**0.5:.2g} of it, and so are all standard errors. Give a smaller "
                "`sigma`, or leave `absolute_sigma` out, which estimates it"
            )
        return Report(f"{of}, p = {p:.2g}")


def goodness(
    residuals: Float[Array, " r"],
    seen: Bool[Array, " r"],
    determined: Int[Array, ""],
    least: Float[Array, ""],
    columns: int,
    absolute: bool,
) -> Goodness:
    """Whether residuals are those of the right model.

    **Arguments:** `seen`: which of them were observed. `determined`: how many parameters the data
    determine. `least`: the norm of residuals that the fit cannot tell from zero. `columns`: how
    many of them belong to one time. `absolute`: whether their standard deviations are known.
    """
    square = jnp.sum(jnp.square(residuals))
    columns = columns if residuals.size % columns == 0 else 1
    rows, counted = residuals.reshape(-1, columns), seen.reshape(-1, columns)
    lower = jnp.full_like(square, jnp.nan)
    degrees = jnp.sum(seen).astype(jnp.int32) - determined.astype(jnp.int32)
    neighbours = ljung_box(rows, counted, 1.0 if absolute else 0.0)
    neighbours = jnp.where(degrees >= _FEWEST, neighbours, jnp.nan)
    p = neighbours
    if absolute:
        freedom = degrees.astype(square.dtype)
        p = jnp.where(degrees > 0, _beyond(square, freedom), jnp.nan)
        lower = jnp.where(degrees > 0, gammainc(jnp.maximum(freedom, 1.0) / 2, square / 2), lower)
    p = jnp.where(jnp.isfinite(square), p, 0.0)
    exact = square <= jnp.square(least)
    poor, overstated = (p < _POOR) & ~exact, (lower < _TOO_GOOD) & ~exact
    poor = poor | ((neighbours < _UNLIKELY) & ~exact)
    test = "chi-squared" if absolute else "Ljung-Box"
    return Goodness(square, degrees, p, poor, lower, overstated, neighbours, test)


def ljung_box(
    residuals: Float[Array, "T n"], seen: Bool[Array, "T n"], variance: float = 0.0
) -> Float[Array, ""]:
    r"""The p-value of the test of Ljung and Box, for n series side by side, with gaps.

    $Q = N (N + 2) \sum_k \hat\rho_k^2 / N_k$, with N residuals and $N_k$ pairs that are k times
    apart, is a chi-squared variable with as many degrees of freedom as there are lags k.
    $\hat\rho_k = \sum r_t r_{t+k} / \sum r_t^2$, of all series: without a mean, which is zero, too,
    if the model is right. NaN for fewer than five times. `variance`: what that of the residuals is
    taken for if it is smaller.
    """
    T = len(residuals)
    lags = min(_LAGS, T // 5)
    if not lags:
        return jnp.full((), jnp.nan, residuals.dtype)
    power = jnp.sum(jnp.square(residuals))
    count = seen.astype(residuals.dtype)
    power = jnp.maximum(power, variance * jnp.sum(count))
    unit = residuals / jnp.sqrt(jnp.where(power > 0, power, 1.0))
    rho = [jnp.sum(unit[k:] * unit[:-k]) for k in range(1, lags + 1)]
    pairs = [jnp.sum(count[k:] * count[:-k]) for k in range(1, lags + 1)]
    rho, pairs = jnp.stack(rho), jnp.stack(pairs)
    N, used = jnp.sum(count), pairs > 0
    Q = N * (N + 2) * jnp.sum(jnp.where(used, jnp.square(rho) / jnp.where(used, pairs, 1.0), 0.0))
    p = _beyond(Q, jnp.sum(used).astype(Q.dtype))
    return jnp.where(used.any() & (power > 0), p, jnp.nan)


def _beyond(square: Float[Array, ""], degrees: Float[Array, ""]) -> Float[Array, ""]:
    """The probability that a chi-squared variable exceeds a value."""
    return gammaincc(jnp.maximum(degrees, 1.0) / 2, square / 2)


def columns(loss: Any, data: Any, output: Callable[[], jax.ShapeDtypeStruct]) -> int:
    """How many residuals belong to one time: those of the neighbours in time lie so far apart.

    0 where residuals are no observations, as the margins of `losses.event_map`. `output`: what the
    loss returns, which is expensive to know.
    """

    def found(kind):
        parts = jax.tree.leaves((loss, data), is_leaf=lambda node: isinstance(node, kind))
        return [part for part in parts if isinstance(part, kind)]

    if found(EventMap):
        return 0
    terms = found(AbstractTerm)
    if not terms:  # a function of the user's own: its first axis is time
        return max(math.prod(output().shape[1:]), 1)
    sizes = {term.values.shape[-1] if isinstance(term, Path) else 1 for term in terms}
    return sizes.pop() if len(sizes) == 1 else 1
