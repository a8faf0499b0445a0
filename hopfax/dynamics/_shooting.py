r"""Closed orbits as zeros of a function: shooting.

An orbit closes after the time $D$ where $S\, \Phi_D(u) = u$: $\Phi_D$ is the flow, and $S$ relabels
the memories, where the network does not change under that, so that the orbit of a cycle of P
equal memories is known from one dwell of it. Any point of the orbit is a solution, so one is chosen
by a phase condition, $f(v) \cdot (u - v) = 0$ with the flow $f$ at a reference point $v$.
"""

from typing import Any, Literal

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .. import _status
from .._engines import Auto, Diffrax, EventDriven
from .._programs import jitted
from .._simulate import simulate
from .._types import State
from ..networks import AbstractFlow
from ..networks._forms import Core
from ._continuation import AbstractEquation, Slope, pairs, product, without
from ._reduced import Given, Reduced, reduced

_LONGEST = 0.25  # the largest step times the norm of the Jacobian: Dopri8 then errs by 1e-10
_SLOWEST = 0.1  # rates below this count as that


def exactly(dtype: Any, longest: Any = None) -> Auto:
    """Runs to the rounding of a dtype: exact events of order 24, or Dopri8 with tight steps, of at
    most `longest`."""
    eps = float(np.finfo(dtype).eps)
    tight = diffrax.PIDController(
        rtol=50 * eps, atol=50 * eps, pcoeff=0.3, icoeff=0.4, dtmax=longest
    )
    exact = EventDriven(order=24, tol=max(1e-14, 16 * eps), switches=8)
    return Auto(exact, Diffrax(solver=diffrax.Dopri8(), controller=tight))


def relabelling(form: Reduced, order: np.ndarray | None) -> Array | None:
    """Where in a vector stands what each entry becomes when memory `order[k]` is called k. Neurons
    (or classes of them) take the places of those that have the memories so named. None without an
    `order`, and where there are no such neurons."""
    if order is None:
        return None
    P, sites = len(order), form.system.sites
    main = order if sites is None else _columns(np.asarray(sites.xi), order)
    core = form.core_of(jnp.arange(form.start.size, dtype=form.start.dtype))
    slow = [leaf.shape[-1:] for leaf in jax.tree.leaves(core.slow)]
    if main is None or core.main.shape != main.shape or not set(slow) <= {(), (P,)}:
        return None
    named = jax.tree.map(lambda leaf: leaf[..., order] if leaf.ndim else leaf, core.slow)
    places = ravel_pytree(Core(core.main[main], named, core.noise))[0]
    return jnp.asarray(np.asarray(places).astype(int))


def _columns(xi: np.ndarray, order: np.ndarray) -> np.ndarray | None:
    """For each column the one that is equal to it when the rows are renamed; None if any lacks."""
    renamed = xi[order]
    here, there = np.lexsort(xi), np.lexsort(renamed)
    if (xi[:, here] != renamed[:, there]).any():
        return None
    places = np.empty_like(here)
    places[here] = there
    return places


def relabelled(u: Float[Array, " n"], places: Any) -> Float[Array, " n"]:
    """A vector with its entries from these places; None leaves it."""
    return u if places is None else u[places]


def moved(
    network: AbstractFlow,
    template: State,
    u: Float[Array, " n"],
    time: Any,
    places: Any,
    derivative: Literal["forward", "reverse"] = "forward",
) -> Float[Array, " n"]:
    r"""$S\, \Phi_D(u)$; NaN if the run fails."""
    form = reduced(network, template, Given())
    # Steps are controlled by the state's error. Near a state of rest, where that is none, they
    # would become so long that the derivatives are wrong: rates bound them.
    rates = jnp.linalg.norm(jax.jacfwd(form.rate)(jax.lax.stop_gradient(u)))
    longest = _LONGEST / jnp.maximum(jax.lax.stop_gradient(rates), _SLOWEST)
    run = simulate(
        network,
        form.state(u),
        jnp.stack([jnp.zeros_like(time), time]),
        method=exactly(u.dtype, longest),
        derivative=derivative,
        throw=False,
    )
    after = relabelled(reduced(network, run.final, Given()).start, places)
    return jnp.where(run.status == _status.OK, after, jnp.nan)


@jitted
def shot(make, template, places, scale, u, time, p, reference, flow):
    """The orbit's equations at u, D = `time` * `scale` and p (one number or two), and their
    derivatives by (u, time) and p; the rows are those of the state, then the phase."""

    def equations(x, p):
        u, time = x[:-1], x[-1] * scale
        after = moved(make(p), template, u, time, places)
        return jnp.append(after - u, flow @ (u - reference))

    def push(change):
        return jax.jvp(equations, (x, p), (change[: x.size], change[x.size :].reshape(p.shape)))

    x = jnp.append(u, time)
    basis = jnp.eye(x.size + p.size, dtype=x.dtype)
    residual, columns = jax.vmap(push, out_axes=(None, 1))(basis)
    return residual, columns[:, : x.size], columns[:, x.size :].reshape(x.size, *p.shape)


@jitted
def rate_at(make, template, u, p):
    """The flow at a vector."""
    return reduced(make(p), template, Given()).rate(u)


class Shooting(AbstractEquation):
    """Orbits of `make(p)` by shooting, lane by lane. A vector is (state, D / scale)."""

    neutral = 1.0

    def __init__(self, make: Any, template: State, places: Any, scale: float, dtype: Any):
        self.make, self.template, self.places = make, template, places
        self.scale, self.dtype = scale, dtype

    def _array(self, value: Any) -> Array:
        return jnp.asarray(value, self.dtype)

    def slope(self, u: np.ndarray, p: np.ndarray, memory: np.ndarray, lanes: np.ndarray) -> Slope:
        """By forward derivatives through the run."""
        B, n = u.shape
        whole = Slope(np.zeros((B, n)), np.zeros((B, n, n)), np.zeros((B, n, *p.shape[1:])))
        for lane in np.flatnonzero(lanes):
            reference, flow = np.split(memory[lane], 2)
            found = shot(
                self.make,
                self.template,
                self.places,
                self._array(self.scale),
                self._array(u[lane, :-1]),
                self._array(u[lane, -1]),
                self._array(p[lane]),
                self._array(reference),
                self._array(flow),
            )
            for into, part in zip(whole, found, strict=True):
                into[lane] = np.asarray(part)
        if (u[:, -1] <= 0).any():  # time does not run backwards
            whole.residual[u[:, -1] <= 0] = np.nan
        return whole

    def remembered(self, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        """A reference point, and the direction of the flow there."""
        kept = []
        for state, value in zip(u[:, :-1], p, strict=True):
            args = self.make, self.template, self._array(state), self._array(value)
            flow = np.asarray(rate_at(*args))
            size = np.linalg.norm(flow)
            kept.append(np.concatenate([state, flow / size if size > 0 else flow]))
        return np.stack(kept)

    def spectrum(self, slope: Slope) -> np.ndarray:
        """The multipliers of the return, without that of the direction of the flow, which is 1;
        the largest first."""
        part = slope.by_state[:, :-1, :-1]
        good = np.isfinite(part).all((1, 2), keepdims=True)
        n = part.shape[1]
        values = np.linalg.eigvals(np.where(good, part, 0.0) + np.eye(n)) + 0j
        rest = without(values, self.neutral)
        order = np.lexsort((np.imag(rest), -np.abs(rest)), axis=-1)
        return np.take_along_axis(rest, order, axis=-1)

    def unstable(self, spectrum: np.ndarray) -> np.ndarray:
        """Those outside the unit circle."""
        return (np.abs(spectrum) > 1).sum(1)

    def tests(self, spectrum: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
        """Period doublings, where a multiplier is -1, and Neimark-Sacker points, where a pair has
        the product 1."""
        around = pairs(spectrum, lambda a, b: a * b - 1)
        return {
            "period doubling": (product(spectrum + 1), 1),
            "Neimark-Sacker point": (product(around), 2),
        }


def is_symmetric(form: Reduced, places: Array, key: Any) -> bool:
    """Whether the equation of motion is the same for relabelled memories: tried at random states,
    of the size of the form's own and smaller, so that neurons are saturated in some."""
    return bool(_same_rate(form, places, key))


@jitted
def _same_rate(form, places, key):
    size = jnp.abs(form.start).max()
    draws = jax.random.uniform(key, (12, form.start.size), form.start.dtype, -1.0, 1.0)
    draws = draws * size * jnp.logspace(-1.0, 0.3, 12, dtype=draws.dtype)[:, None]

    def apart(u):
        one = form.rate(relabelled(u, places))
        other = relabelled(form.rate(u), places)
        return jnp.abs(one - other).max() / jnp.abs(one).max()

    return jax.vmap(apart)(draws).max() < 1e3 * jnp.finfo(draws.dtype).eps
