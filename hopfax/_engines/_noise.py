"""Private noise: a solver that samples its filtered part exactly.

A run under noise is integrated by diffrax with constant steps. Where the field is written in the
span of the patterns, noise takes it out of the span, in as many directions as there are neurons;
but what lies outside is filtered by the leak alone, and is an Ornstein-Uhlenbeck process that can
be sampled exactly beside the few coefficients in the span (`OrnsteinHeun`).
"""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..networks import Core


class OrnsteinHeun(diffrax.AbstractStratonovichSolver, diffrax.AbstractItoSolver):
    r"""Additive noise, with its filtered part exact: for runs in the span form under noise.

    There $x = \sum_\mu y_\mu \xi^\mu + r$ with $dr = -r\,dt + \sigma\,dB$, an Ornstein-Uhlenbeck
    process that nothing drives:

    $$r(t + h) = e^{-h} r(t) + \sigma \sqrt{\tfrac{1 - e^{-2h}}{2h}}\, \Delta B,$$

    which has the exact law at any step $h$ (Euler-Maruyama inflates the stationary variance by
    $1/(1 - h/2)$). $y$ and $z$ take a Heun step between the ends of $r$: strong order 1 in $h$.
    """

    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]]
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation

    def order(self, terms):
        """Order of convergence without noise: 2, as Heun's method."""
        return 2

    def strong_order(self, terms):
        """Order of strong convergence with noise: 1."""
        return 1

    def init(self, terms, t0, t1, y0, args):
        """No state is carried from step to step."""
        return None

    def step(self, terms, t0, t1, y0: Core, args, solver_state, made_jump):
        """The state at `t1`: first the filtered noise by its exact law, then a Heun step of the
        rest, which sees the noise at both ends."""
        assert y0.noise is not None
        drift, diffusion = terms.terms
        h = t1 - t0
        kick = diffusion.vf_prod(t0, y0, args, diffusion.contr(t0, t1)).noise
        # expm1, because 1 - exp(-2h) loses all digits at small steps.
        spread = jnp.sqrt(-jnp.expm1(-2 * h) / (2 * h))
        noise = jnp.exp(-h) * y0.noise + spread * kick
        first = drift.vf(t0, y0, args)
        ahead = self._moved(y0, first, h, noise)
        second = drift.vf(t1, ahead, args)
        mean = jax.tree.map(lambda a, b: (a + b) / 2, first, second)
        y1 = self._moved(y0, mean, h, noise)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The drift, of which diffrax takes the size of a first step."""
        return terms.terms[0].vf(t0, y0, args)

    def _moved(self, y: Core, rate: Core, h, noise) -> Core:
        """An Euler step of `main` and `slow` at these rates, with the noise that is known."""
        slow = jax.tree.map(lambda a, b: a + h * b, y.slow, rate.slow)
        return Core(y.main + h * rate.main, slow, noise)
