"""Branches of closed orbits, and the gain at which a sequence is born."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._errors import as_count, check_option, check_type
from .._types import ArrayLike
from ._branch import interval, part_of, seen
from ._continuation import Settings, follow
from ._curves import Branch
from ._orbit import Orbit
from ._parameter import as_maker, made
from ._reduced import Given, checked, reduced, tolerance
from ._shooting import Shooting, relabelling


def orbit_branch(
    make: Any,
    start: Orbit,
    between: ArrayLike,
    *,
    until: str | None = None,
    step: float = 0.02,
    max_steps: int = 300,
) -> Branch:
    r"""Closed orbits as one parameter varies, through their folds.

    Pseudo-arclength continuation (Keller 1977) of the shooting equations $S\, \Phi_D(u) = u$. On
    the way are found, to about rounding: *folds*, where a stable and an unstable orbit meet, which
    is where a sequence is born; *period doublings* (a multiplier is -1); *Neimark-Sacker points* (a
    pair of multipliers on the unit circle); *branch points*.

    **Arguments:**

    - `make`: a function of one number that returns a network, as of `branch`.
    - `start`: the orbit at `between[0]`, of `hopfax.dynamics.orbit`.
    - `between`, `until`, `step`, `max_steps`: as of `branch`.

    **Returns:** a `Branch`, whose `returns` are the times after which the orbits come back.

    **Raises:** ValueError/TypeError for bad arguments, also for a `start` that is no orbit.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=100.0, bias=0.01)
    start = hx.dynamics.orbit(network, network.init(saliency=[4.0, 0.0, 0.0, 0.0]))
    make = hx.dynamics.along(network, "kappa")
    found = hx.dynamics.orbit_branch(make, start, (5.0, 3.0), until="fold", step=0.1)
    found.special[0]  # fold at 3.2169484849: below it the sequence dies
    ```
    """
    make, (name,) = as_maker(make)
    begin, end = interval(between)
    kinds = ("fold", "branch point", "period doubling", "Neimark-Sacker point")
    check_option(until, "until", (None, *kinds))
    steps, length = as_count(max_steps, "max_steps"), part_of(step)
    check_type(start, "start", Orbit, "an orbit, as of hopfax.dynamics.orbit")
    if not start.converged:
        raise ValueError("`start` is no closed orbit: its search did not converge.")
    network = made(make, begin)
    dtype = network.patterns.dtype
    template = checked(network, start.state, "start")
    scale = float(start.returns)
    places = relabelling(reduced(network, template, Given()), start.order)
    equation = Shooting(make, template, places, scale, dtype)
    u = np.append(start.vector[:-1], 1.0)[None]
    size = max(1.0, float(np.sqrt((u[0, :-1] ** 2).mean())))
    metric = np.append(np.full(u.shape[1] - 1, 1 / ((u.shape[1] - 1) * size**2)), 1.0)
    tol = tolerance(dtype) * size
    curves = follow(equation, u, Settings((begin, end), length, steps, tol, metric, until))

    def look(u: np.ndarray, p: np.ndarray) -> tuple[Any, Any, Any]:
        given = jnp.asarray(u[:, :-1], dtype), jnp.asarray(p, dtype)
        return seen(make, template, Given(), *given)

    return Branch.of(name, curves, look, scale=scale, order=start.order)
