r"""Tails of the noise of a finite network: sums of M - 1 terms $s f(Y)$ with random signs s.

The generating function of the sum is the power $M - 1$ of $\Phi(z) = E \cosh z f(Y)$, a sum of at
most N terms, and its tail is an integral over z along a line through the saddle point, where
nothing cancels. In NumPy: double precision whatever JAX is set to, and nothing is compiled.
"""

import math
from typing import NamedTuple

import numpy as np

_SMOOTHED = 0.05  # of 1 / theta: the width of a Gaussian that is added to sums of _FINE terms
_FINE = 40  # Sums of fewer are coarser: the width is smaller by the square of their number.
_LEAST_EXPONENT = -90.0  # tails below e^-90 = 1e-39 are only bounded
_MOST_TERMS = 500_000  # of an array at one time
_MANY = 400  # terms, from which on the steps of a discrete sum are finer than what is added to it


class Terms(NamedTuple):
    """What one memory may contribute to the noise: magnitudes `f` > 0, in units of the signal, and
    the logarithms of their probabilities."""

    f: np.ndarray
    logp: np.ndarray


class PairTerms(NamedTuple):
    """The same for two neurons of one network, which see nearly the same overlap; with signs."""

    f: np.ndarray
    g: np.ndarray
    logp: np.ndarray


def merged(f: np.ndarray, logp: np.ndarray) -> Terms:
    """Terms of distinct magnitudes that are not 0."""
    f, logp = _gathered(f, logp)
    return Terms(f[f > 0], logp[f > 0])


def merged_pairs(f: np.ndarray, g: np.ndarray, logp: np.ndarray) -> PairTerms:
    """Distinct pairs; the two neurons are alike, so that their order does not matter."""
    pairs, logp = _gathered(np.maximum(f, g) + 1j * np.minimum(f, g), logp)
    return PairTerms(np.real(pairs), np.imag(pairs), logp)


def with_random_signs(f: np.ndarray, g: np.ndarray, logp: np.ndarray) -> PairTerms:
    """Pairs of magnitudes whose signs are random and independent."""
    f, g = np.concatenate([f, f, -f, -f]), np.concatenate([g, -g, g, -g])
    return merged_pairs(f, g, np.tile(logp - math.log(4.0), 4))


def _gathered(values: np.ndarray, logp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values that are possible, and the logarithms of their probabilities."""
    values, place = np.unique(values, return_inverse=True)
    top = np.full(values.shape, -math.inf)
    np.maximum.at(top, place, logp)
    safe = np.where(np.isfinite(top), top, 0.0)
    total = np.zeros(values.shape)
    np.add.at(total, place, np.exp(logp - safe[place]))
    there = total > 0
    return values[there], safe[there] + np.log(total[there])


def binomial(count: int) -> np.ndarray:
    """Logarithms of the probabilities of 0, ..., `count` minus signs among random signs."""
    k = np.arange(1, count + 1)
    steps = np.log((count - k + 1) / k)
    return np.concatenate([[0.0], np.cumsum(steps)]) - count * math.log(2.0)


def tail(terms: Terms, n: float) -> float:
    r"""$P(S > 1) + P(S = 1)/2$ for the sum S of n terms with random signs.

    $$\frac{1}{\pi} \int_0^\infty \mathrm{Re}\, \frac{\Phi(z)^n e^{-z}}{z}\, dt, \qquad
    z = \theta + it ,$$

    by the trapezoidal rule, which converges exponentially. The line of integration goes through the
    saddle point $\theta$ of the integrand. A Gaussian of 1/20 of $1/\theta$ is added to the sum,
    which makes the integrand decay for discrete sums as well and changes the result by 1e-3 of
    itself; where S equals 1 it still counts half. Tails below 1e-39 are only bounded, by
    $\Phi(\theta)^n e^{-\theta}$."""
    theta, (log_phi, _, variance) = _saddle(lambda theta: _tilted(terms, n, theta), terms)
    if (exponent := log_phi - theta) < _LEAST_EXPONENT:
        return math.exp(max(exponent, -700.0))
    width = _SMOOTHED * min(1.0, terms.f.size / _FINE) ** 2 / theta
    step = 2 * math.pi / max(20 * math.sqrt(variance), 4.0)  # no wrapping around within 20 sigma
    t = step * np.arange(math.ceil(9 / width / step) + 1)
    a = theta * terms.f
    cosh = np.exp(terms.logp + np.logaddexp(a, -a) - math.log(2.0) - log_phi / n)
    matters = n * cosh * np.minimum(1.0, (t[-1] * terms.f) ** 2) > 1e-18
    f, cosh, sinh = terms.f[matters], cosh[matters], (cosh * np.tanh(a))[matters]
    total = 0.0
    for part in np.array_split(t, max(1, t.size * f.size // _MOST_TERMS)):
        phase = np.multiply.outer(part, f)
        # Phi(z) / Phi(theta) = 1 + x + iy, and its logarithm, where x and y may be 1e-20
        x, y = -2 * np.sin(phase / 2) ** 2 @ cosh, np.sin(phase) @ sinh
        size = np.maximum(x * (2 + x) + y**2, 2.0**-53 - 1)  # where Phi(z) is 0
        log = np.log1p(size) / 2 + 1j * np.arctan2(y, 1 + x)
        z = theta + 1j * part
        integrand = np.exp(n * log - 1j * part + (width * z) ** 2 / 2) / z
        total += float(integrand.real @ np.where(part == 0, 0.5, 1.0))
        if f.size > _MANY and abs(integrand).max() < 1e-17 * abs(total):
            break
    return math.exp(exponent) * total * step / math.pi


def joint_ratio(one: Terms, two: PairTerms, n: float) -> float:
    r"""$P(S > 1, S' > 1) / P(S > 1)^2$ of two neurons to the leading order of the saddle point,

    $$\frac{e^{K_2 - 2\theta_2}}{e^{2K - 2\theta}}\;
    \frac{\theta^2 K''}{\theta_2^2 \sqrt{\det K_2''}},$$

    with $K = n \ln E \cosh \theta f$ and $K_2 = n \ln E\, e^{\theta_2 (f + g)}$, where f and g have
    their signs and the same distribution. The factors that this leaves out cancel for the most
    part. Independent neurons have the ratio 1."""
    theta, (single, _, variance) = _saddle(lambda theta: _tilted(one, n, theta), one)
    both, (joint, _, own, shared) = _saddle(lambda theta: _tilted_pair(two, n, theta), one)
    determinant = own**2 - shared**2
    if not (theta > 0 and both > 0 and determinant > 0 and variance > 0):
        return 1.0
    exponent = joint - 2 * both - 2 * (single - theta)
    factor = theta**2 * variance / (both**2 * math.sqrt(determinant))
    return factor * math.exp(min(exponent, 700.0))


def _saddle(tilted, terms):
    """The tilt at which the mean is 1, or the largest that is of use, and what `tilted` says."""
    low, high = 0.0, min(len(terms.f) * 2 * math.log(2.0) + 60.0, 700.0)
    for _ in range(50):
        theta = (low + high) / 2
        low, high = (theta, high) if tilted(theta)[1] < 1 else (low, theta)
    return theta, tilted(theta)


def _log_cosh_1(a):
    """log(cosh a - 1) for a >= 0."""
    with np.errstate(divide="ignore"):
        return a - math.log(2.0) + 2 * np.log(-np.expm1(-a))


def _log_sum(x):
    top = x.max()
    return top + math.log(np.exp(x - top).sum()) if np.isfinite(top) else -math.inf


def _tilted(terms, n, theta):
    """n log Phi(theta), and mean and variance of the tilted sum."""
    a = theta * terms.f
    log_phi = float(np.logaddexp(0.0, _log_sum(terms.logp + _log_cosh_1(a))))
    weight = np.exp(terms.logp + np.logaddexp(a, -a) - math.log(2.0) - log_phi)
    mean = (weight * np.tanh(a)) @ terms.f
    return n * log_phi, n * mean, n * max(weight @ terms.f**2 - mean**2, 0.0)


def _tilted_pair(terms, n, theta):
    """The same for two neurons with the same tilt, and their covariance. As the mean of f + g is 0,
    $e^t - 1 - t$ and $e^t - 1$ may stand for $e^t$, and only terms of one sign are added up."""
    both = terms.f + terms.g
    t = theta * both
    log_phi = float(np.logaddexp(0.0, _log_sum(terms.logp + _log_exp_2(t))))
    with np.errstate(divide="ignore"):
        raised = np.maximum(t, 0.0) + np.log(-np.expm1(-abs(t)))  # log |e^t - 1|
    mean = np.exp(terms.logp + raised - log_phi) @ abs(both) / 2
    weight = np.exp(terms.logp + t - log_phi)
    own = weight @ (terms.f**2 + terms.g**2) / 2 - mean**2
    return n * log_phi, n * mean, n * own, n * (weight @ (terms.f * terms.g) - mean**2)


def _log_exp_2(t):
    """log(e^t - 1 - t)."""
    small, large = abs(t) < 1e-4, t > 40
    rest = np.where(small | large, 1.0, t)
    with np.errstate(divide="ignore"):
        series = 2 * np.log(abs(t)) + np.log1p(np.where(small, t, 0.0) / 3) - math.log(2.0)
    return np.where(small, series, np.where(large, t, np.log(np.expm1(rest) - rest)))
