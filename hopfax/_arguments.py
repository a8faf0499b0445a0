"""What a run is given: checked, warned about, and made harmless where it is out of bounds."""

import operator
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ._errors import (
    PhysicsWarning,
    as_float,
    as_key,
    check_at_least,
    check_finite,
    check_shape,
    filled,
    warn,
)
from ._types import is_concrete
from .networks import (
    check_domain,
    check_flow,
    in_domain,
    without_stimulus,
)


class Arguments(eqx.Module):
    """What a run is given, besides how to integrate it."""

    network: Any
    state0: Any
    ts: Any
    stimulus: Any
    current: Any
    noise: Any
    key: Any


def checked(given: Arguments) -> Arguments:
    """Structure always, values where they are concrete; everything in the patterns' dtype."""
    network, state0 = given.network, given.state0
    check_flow(network, ": run it by hopfax.iterate.")
    dtype = network.patterns.dtype
    check_domain(network)
    state0 = network.checked(state0)
    ts = as_float(given.ts, "ts", dtype)
    check_times(ts)
    stimulus = checked_input(given.stimulus, "stimulus", network, ts)
    current = checked_input(given.current, "current", network, ts)
    if stimulus is not None and network.stimulated == "never":
        raise ValueError(
            f"{type(network).__name__} has no `stimulus`; additive input is `current`. Only "
            "networks that are input-driven or of two timescales let the stimulus set saliency."
        )
    if stimulus is None and network.stimulated == "required":
        raise ValueError(without_stimulus(network))
    noise, key = given.noise, given.key
    if noise is not None:
        noise = as_float(noise, "noise", dtype)
        check_shape(noise, "noise", (), "()")
        check_at_least(noise, "noise", 0.0, strict=False)
        if key is None:
            raise ValueError("`noise` needs a `key`: make one with jax.random.key(seed).")
        key = as_key(key)
    elif key is not None:
        raise ValueError("`key` is used only with `noise`; leave it out or set `noise`.")
    return Arguments(network, state0, ts, stimulus, current, noise, key)


def check_times(ts) -> None:
    """ValueError unless `ts` is a list of times that do not decrease."""
    if ts.ndim != 1 or ts.shape[0] < 1:
        raise ValueError(f"`ts` must have shape (T,) with T >= 1, got {ts.shape}.")
    if not is_concrete(ts):
        return
    times = np.asarray(ts)
    if np.isinf(times).any():
        raise ValueError("`ts` must be finite; integrate to a finite horizon and test for rest.")
    check_finite(ts, "ts")
    if (np.diff(times) < 0).any():
        k = int(np.argmax(np.diff(times) < 0))
        raise ValueError(
            f"`ts` must not decrease, but ts[{k}] = {times[k]:g} > ts[{k + 1}] = {times[k + 1]:g}."
        )


def checked_input(value: Any, name: str, network: Any, ts: Any) -> Any:
    """A constant input, an array or one number, as a finite array (N,); a path and None as they
    are."""
    if value is None:
        return None
    N, dtype = network.patterns.N, network.patterns.xi.dtype
    if not isinstance(value, diffrax.AbstractPath):
        value = filled(as_float(value, name, dtype), name, (N,), "(N,)")
        check_finite(value, name)
        return value
    shape = jax.eval_shape(value.evaluate, ts[0])
    if getattr(shape, "shape", None) != (N,):
        raise ValueError(f"`{name}` must give arrays of shape (N,) = ({N},), but gives {shape}.")
    if is_concrete(ts) and is_concrete(value.t0) and is_concrete(value.t1):
        begin, end = float(value.t0), float(value.t1)
        if float(ts[0]) < begin or float(ts[-1]) > end:
            raise ValueError(
                f"`{name}` covers times {begin:g} to {end:g}, but `ts` runs from "
                f"{float(ts[0]):g} to {float(ts[-1]):g}; lengthen the path (for silence, by a "
                "pulse of zeros)."
            )
    return value


def warn_about(given: Arguments, controller: Any) -> None:
    """PhysicsWarning for runs that are legal but will hardly show what they are meant to show."""
    network = given.network
    if network.crowded():
        warn(
            "more patterns than neurons (P > N): overlaps of this linear kind cannot hold them.",
            PhysicsWarning,
        )
    rtol = getattr(controller, "rtol", None)
    if given.ts.dtype == np.float32 and rtol is not None and is_concrete(rtol) and rtol < 1e-6:
        warn(
            f"rtol = {float(rtol):g} is below what float32 resolves; use rtol >= 1e-6 or enable "
            'double precision: jax.config.update("jax_enable_x64", True).',
            PhysicsWarning,
        )
    for text in pitfalls(given):
        warn(text, PhysicsWarning)


def pitfalls(given: Arguments) -> list[str]:
    """Why a legal run, as far as its values are known, will hardly show what it is meant to."""
    network, inputs = given.network, (given.stimulus, given.current)
    found = list(network.pitfalls(given.state0, given.current, given.noise))
    if given.noise is None:
        found += network.forms.pitfalls(network, given.state0, *inputs)
    return found


def _as_array(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, float | int) else leaf


def quarantine(given: Arguments) -> tuple[Arguments, Bool[Array, ""]]:
    """Put something harmless in place of a run that has a value outside its domain, so that a bad
    point of a batch takes a few steps like any other; its status says INVALID_PARAMETER and its
    output is discarded."""
    if all(is_concrete(leaf) for leaf in jax.tree.leaves(given)):
        # `checked` has refused whatever is out of bounds. A number of Python's that was put into a
        # network must not stay one: it would be a constant of the program, compiled for it alone.
        return jax.tree.map(_as_array, given), jnp.asarray(True)
    network, state0, ts = given.network, given.state0, given.ts
    inputs = [v for v in (given.stimulus, given.current) if isinstance(v, jax.Array)]
    valid = in_domain(network) & (jnp.diff(ts) >= 0).all()
    for leaf in jax.tree.leaves((state0, inputs, ts)):
        valid = valid & jnp.isfinite(leaf).all()
    if given.noise is not None:
        valid = valid & jnp.isfinite(given.noise) & (given.noise >= 0)

    def safe(value, harmless: Any = 0.0):
        return None if value is None else jnp.where(valid, value, harmless)

    xi, own = network.patterns.xi, jnp.asarray(True)
    for bound in network.domain():
        if bound.name == "patterns.xi":
            own = own & bound.holds()
            continue
        lowest = 0.0 if np.isinf(bound.lower) else bound.lower
        where = operator.attrgetter(bound.name)
        value = safe(where(network), lowest + 1.0 if bound.strict else lowest)
        network = eqx.tree_at(where, network, value)
    if not is_concrete(xi):  # else it has been checked, and may stay known to a trace
        # Large and shared: only its own faults may touch it. In its place: disjoint memories.
        P, N = xi.shape
        harmless = (jnp.arange(N) % (P + 1) == jnp.arange(P)[:, None]).astype(xi.dtype)
        xi = jnp.where(own & jnp.isfinite(xi).all(), xi, harmless)
    network = eqx.tree_at(lambda n: n.patterns.xi, network, xi)
    stimulus, current = (
        safe(v) if isinstance(v, jax.Array) else v for v in (given.stimulus, given.current)
    )
    state0 = jax.tree.map(safe, state0)
    ts = safe(ts, jnp.linspace(0.0, 1.0, ts.shape[0], dtype=ts.dtype))
    noise = safe(given.noise)
    return Arguments(network, state0, ts, stimulus, current, noise, given.key), valid
