"""Edges of retrieval by bisection on the effective neuron, in each scramble for itself."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ._gfa import overlap
from ._search import bisect


@eqx.filter_jit
def basin_edge(problem, noise, steps, fraction):
    """Edge and plateau of every scramble."""

    def one(noise):
        run = lambda m0: overlap(problem._replace(m0=m0), noise, steps)[-1]  # noqa: E731
        plateau = run(jnp.ones_like(fraction))
        reached = lambda m0: run(m0) - fraction * plateau  # noqa: E731
        return bisect(reached, 0 * fraction, jnp.ones_like(fraction), 10), plateau

    return jax.lax.map(one, noise)


@eqx.filter_jit
def load(problem, noise, steps, threshold):
    """Where the last overlap crosses the threshold, between no load and that of `problem`."""

    def one(noise):
        run = lambda load: overlap(problem._replace(load=load), noise, steps)[-1]  # noqa: E731
        least = problem.load * 2.0**-13
        lost = lambda load: threshold - run(load)  # noqa: E731
        found = bisect(lost, least, problem.load, 13)
        inside = (lost(least) <= 0) & (lost(problem.load) > 0)
        return jnp.where(inside, found, jnp.nan)

    return jax.lax.map(one, noise)


def settled(m, tolerance):
    """The first time from which on each row stays within `tolerance` of its end, or NaN."""
    away = jnp.abs(m - m[:, -1:]) > tolerance
    times = jnp.arange(1, m.shape[1] + 1)
    first = jnp.where(away, times, 0).max(1)
    return jnp.where(first < m.shape[1] - 1, first.astype(m.dtype), jnp.nan)
