"""Branches: states of rest as one parameter varies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import as_count, as_number, check_option
from .._programs import jitted
from .._types import ArrayLike, Input, State
from ..networks import neurons_of
from ._continuation import AbstractEquation, Settings, Slope, follow, pairs, product
from ._curves import Branch
from ._parameter import as_maker, made
from ._reduced import Given, checked, checked_inputs, left_out, reduced, tolerance
from ._steady import spectrum_of

_BYTES = 2**27  # that the Jacobians of the lanes which are computed together may take


class Rest(AbstractEquation):
    """States of rest of `make(p)`, for B starts."""

    neutral = 0.0

    def __init__(self, make: Any, template: State, given: Given, others: int, dtype: Any):
        self.given = (make, template, given)
        self.others, self.dtype = others, dtype

    def slope(self, u: np.ndarray, p: np.ndarray, memory: np.ndarray, lanes: np.ndarray) -> Slope:
        """By forward derivatives of the exact form, of a fitting number of lanes at once."""
        asked, B = np.flatnonzero(lanes), len(u)
        sizes = sorted({-(-B // 16), -(-B // 4), B})
        size = next(size for size in sizes if size >= len(asked))
        places = np.resize(asked, size) if asked.size else np.zeros(size, int)
        given = jnp.asarray(u[places], self.dtype), jnp.asarray(p[places], self.dtype)
        found = [np.asarray(part) for part in _linearised(*self.given, *given)]
        whole = [np.zeros((B, *part.shape[1:])) for part in found]
        for into, part in zip(whole, found, strict=True):
            into[places] = part
        return Slope(*whole)

    def spectrum(self, slope: Slope) -> np.ndarray:
        """Eigenvalues of the exact form."""
        good = np.isfinite(slope.by_state).all((1, 2), keepdims=True)
        return spectrum_of(np.where(good, slope.by_state, 0.0), self.others).eigenvalues

    def unstable(self, spectrum: np.ndarray) -> np.ndarray:
        """Those with a positive real part."""
        return (np.real(spectrum) > 0).sum(1)

    def tests(self, spectrum: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
        """A Hopf point: two eigenvalues whose sum is zero."""
        return {"Hopf point": (product(pairs(spectrum, np.add)), 2)}


@jitted
def _linearised(make, template, given, u, p):
    """F (B, n), its derivatives by u (B, n, n) and by p (B, n), or (B, n, 2) of two numbers."""

    def rate(u, p):
        form = reduced(make(p), template, given)
        return form.rate(u)

    def one(point):
        u, p = point
        by_state, by_parameter = jax.jacfwd(rate, argnums=(0, 1))(u, p)
        return rate(u, p), by_state, by_parameter

    each = u.shape[1] * neurons_of(template).size * u.dtype.itemsize
    together = int(max(1, min(len(u), _BYTES // each)))
    return jax.lax.map(one, (u, p), batch_size=together)


@jitted
def _starts(make, states, given, p):
    """The vectors of B states."""
    return jax.vmap(lambda state: reduced(make(p), state, given).start)(states)


@jitted
def seen(make, template, given, u, p):
    """States, overlaps and saliencies of B vectors."""

    def one(u, p):
        form = reduced(make(p), template, given)
        return form.state(u), form.overlaps(u), form.saliency(u)

    return jax.vmap(one)(u, p)


def branch(
    make: Any,
    start: State,
    between: ArrayLike,
    *,
    stimulus: Input = None,
    current: Input = None,
    until: str | None = None,
    step: float = 0.02,
    max_steps: int = 500,
) -> Branch:
    r"""States of rest as one parameter varies, through all folds on the way.

    The curve of solutions of $F(u, p) = 0$ is followed by pseudo-arclength continuation (Keller
    1977) in the network's smallest exact form. On it are found, to about rounding:

    - *folds*, where the parameter turns back and a stable and an unstable state meet;
    - *branch points*, where another curve of states crosses (transcritical, pitchfork);
    - *Hopf points*, where two conjugate eigenvalues cross the imaginary axis and an orbit is born.

    With hard tanh $F$ is piecewise linear: a curve has kinks, a fold is a corner of it.

    **Arguments:**

    - `make`: a function of one number that returns a network: `hopfax.dynamics.along(network,
      "kappa")`, or your own. Define it once: every new lambda is a new compilation.
    - `start`: a state of `make(between[0])`, near a state of rest. With a leading axis of size B in
      all its arrays (as `jax.vmap` of `init` makes), B branches are followed at once.
    - `between`: where the parameter begins, and towards where it goes; the branch ends where it
      leaves this interval at either side.
    - `stimulus`, `current`: constant inputs, (N,).
    - `until`: end at the first special point of that kind.
    - `step`: the longest step, as a part of the interval (states count by their root mean square,
      relative to that of the start or to 1).
    - `max_steps`: the most steps.

    **Returns:** a `Branch`. What could not be followed ends there and says why; no point of a
    branch is unconverged. A start with no state of rest near it has a branch without points.

    **Raises:** ValueError/TypeError for bad arguments.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(3, 16)
    network = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    make = hx.dynamics.along(network, "gain")
    found = hx.dynamics.branch(make, network.init(weights=[0.9, 0.0, 0.0]), (2.0, 0.5))
    found.special[0]  # branch point at 1: the memory ends there
    ```
    """
    make, (name,) = as_maker(make)
    begin, end = interval(between)
    kinds = ("fold", "branch point", "Hopf point")
    check_option(until, "until", (None, *kinds))
    steps, length = as_count(max_steps, "max_steps"), part_of(step)
    network = made(make, begin)
    states, several = _batched(network, start)
    template = jax.tree.map(lambda leaf: leaf[0], states)
    given = checked_inputs(network, stimulus, current)
    dtype = network.patterns.dtype
    u = np.asarray(_starts(make, states, given, jnp.asarray(begin, dtype)), float)
    others = left_out(network, reduced(network, template, given))
    equation = Rest(make, template, given, others, dtype)
    scale = np.maximum(1.0, np.sqrt((u**2).mean()))
    metric = np.full(u.shape[1], 1 / (u.shape[1] * scale**2))
    tol = tolerance(dtype) * scale
    curves = follow(equation, u, Settings((begin, end), length, steps, tol, metric, until))

    def look(u: np.ndarray, p: np.ndarray) -> tuple[Any, Any, Any]:
        return seen(make, template, given, jnp.asarray(u, dtype), jnp.asarray(p, dtype))

    return Branch.of(name, curves, look, several)


def interval(between: Any) -> tuple[float, float]:
    try:
        begin, end = between
    except (TypeError, ValueError):
        raise ValueError(
            f"`between` must be two numbers, where the parameter begins and ends, got {between!r}."
        ) from None
    begin, end = as_number(begin, "between[0]"), as_number(end, "between[1]")
    if begin == end or not np.isfinite([begin, end]).all():
        raise ValueError(f"`between` must be two different numbers, got {(begin, end)}.")
    return begin, end


def part_of(step: Any) -> float:
    step = as_number(step, "step")
    if not 0 < step <= 1:
        raise ValueError(f"`step` is a part of the interval, between 0 and 1, got {step:g}.")
    return step


def _batched(network: Any, start: State) -> tuple[State, bool]:
    """Starts with a leading axis, and whether there was one."""
    leaves = jax.tree.leaves(start)
    if leaves and np.ndim(leaves[0]) == 2:
        first = checked(network, jax.tree.map(lambda leaf: leaf[0], start), "start")
        dtypes = jax.tree.map(lambda leaf: leaf.dtype, first)
        return jax.tree.map(lambda leaf, kind: jnp.asarray(leaf, kind), start, dtypes), True
    state = checked(network, start, "start")
    return jax.tree.map(lambda leaf: leaf[None], state), False
