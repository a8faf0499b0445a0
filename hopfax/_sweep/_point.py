"""`Point`: one run of a network as a pure function of named values."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _names, _status
from .._arguments import Arguments, check_times, checked, checked_input, pitfalls
from .._engines import Diffrax, EventDriven, as_method
from .._errors import (
    as_count,
    as_float,
    as_key,
    check_at_least,
    check_bool,
    check_mapping,
    check_shape,
    filled,
    shown,
)
from .._names import unknown
from .._report import Reported
from .._simulate import simulate
from .._types import ArrayLike, Input, is_concrete
from ..networks import AbstractFlow, check_flow
from ..observables import Selected, summary


class Point(Reported, eqx.Module):
    r"""One point of a sweep: a run reduced to numbers, as a function of named parameters.

    **Arguments:**

    - `network`: the network, with the values of all parameters that are not swept.
    - `init`: keyword arguments of `network.init`, e.g. `dict(saliency=...)`.
    - `ts`: save times in fast time constants; with `per_tau=True` in slow ones, i.e. multiplied by
      the (largest) `tau` of the point.
    - `observe`: a function `trajectory -> dict of arrays` (or one array, which is then called
      "value"; `status` and `steps` are the run's own), written with jax.numpy and defined once,
      at module level; or names of observables, such as `["regime", "switch_times"]` (all of them:
      see `hopfax.observables.Selected`). Only what it returns is kept of a run. Default:
      `hopfax.observables.summary`, which gives `regime` (a code; the dataset's `regime.attrs` has
      the meanings), `switches`, `dwell` and `overlap`.
    - `noise`, `stimulus`, `current`, `method`, `max_steps`: as in `hopfax.simulate`; by default
      hard tanh is integrated exactly, event by event. An input may also be given by its
      coefficients, `dict(weights=...)` (P,), and is then $\sum_\mu$ `weights`$_\mu \xi^\mu$.

    A sweep varies parameters by name: any array of the network ("kappa", "activation.gain"), a
    start value ("init.saliency"), an input ("stimulus", "current", "stimulus.weights",
    "stimulus.values" of `Pulses`) or "noise", also those that the point is not given. One entry is
    "transition[1,0]"; a letter stands for all places, so "transition[i,i]" is the diagonal. The
    last word of a name will do ("gain") where there is only one. What decides how the network is
    made, such as its sizes, is swept by a `Recipe`.

    **Raises:** TypeError or ValueError naming the argument at fault.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))
    point.names()  # 'patterns.xi', 'transition', 'kappa', ..., 'noise', 'current', 'stimulus'
    point({"kappa": 6.0})["switches"]  # 3
    ```
    """

    network: AbstractFlow
    init: dict[str, Array]
    ts: Float[Array, " T"]
    observe: Callable
    noise: Float[Array, ""] | None
    stimulus: Input | dict[str, Array]
    current: Input | dict[str, Array]
    method: Diffrax | EventDriven | Literal["auto"]
    per_tau: bool = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        network: AbstractFlow,
        init: Mapping[str, ArrayLike],
        ts: ArrayLike,
        *,
        observe: Callable | str | Sequence[str] = summary,
        noise: ArrayLike | None = None,
        stimulus: Input | Mapping[str, ArrayLike] = None,
        current: Input | Mapping[str, ArrayLike] = None,
        method: Diffrax | EventDriven | Literal["auto"] = "auto",
        per_tau: bool = False,
        max_steps: int = 65536,
    ):
        check_bool(per_tau, "per_tau")
        check_flow(network, "; sweep a function of named values that calls hopfax.iterate.")
        if per_tau and network.slow_constant() is None:
            kind = type(network).__name__
            raise ValueError(
                f"`per_tau` needs a network with a slow time constant, not {kind} (a class of your "
                "own tells it by `slow_constant()`)."
            )
        dtype = network.patterns.dtype
        if not isinstance(init, Mapping):
            raise TypeError(
                f"`init` must be a dict of arguments of network.init, got {shown(init)}."
            )
        self.network = network
        self.init = {name: as_float(value, f"init.{name}", dtype) for name, value in init.items()}
        self.ts = as_float(ts, "ts", dtype)
        check_times(self.ts)
        named: Any = observe
        function = callable(observe) and not isinstance(observe, type)
        self.observe = named if function else Selected(named)
        if noise is not None:
            strength = as_float(noise, "noise")
            check_shape(strength, "noise", (), "()")
            check_at_least(strength, "noise", 0.0, strict=False)
        self.stimulus = _input(stimulus, "stimulus", network, self.ts)
        self.current = _input(current, "current", network, self.ts)
        as_method(method)
        self.method = method
        max_steps = as_count(max_steps, "max_steps", most=2**31 - 1)
        self.noise = None if noise is None else as_float(noise, "noise", dtype)
        self.per_tau, self.max_steps = per_tau, max_steps
        try:
            network.init(**self.init)  # so that bad start values are refused now
        except TypeError as error:
            known = [p for p in inspect.signature(network.init).parameters]
            raise TypeError(f"`init`: {error}; {type(network).__name__} takes {known}.") from error

    def names(self) -> list[str]:
        """The names of everything that a sweep can vary."""
        return _names.names(self)

    def with_values(self, values: Mapping[str, ArrayLike]) -> "Point":
        """This point with other values of some parameters.

        **Raises:** ValueError for an unknown name, or for a value of another shape than it has.
        """
        point = self
        for name, value in values.items():
            place = _names.find(self, name)
            old = place.getter(self)
            value = as_float(value, name, self.network.patterns.dtype if old is None else old.dtype)
            if value.ndim:
                check_shape(value, name, place.shape, "that of the parameter")
            point = place.put(point, value)
        return point

    def inputs(self) -> tuple[Input, Input]:
        """The stimulus and the current, each one number a neuron, a path or None."""
        patterns: Any = self.network.patterns

        def given(value: Any) -> Input:
            return patterns.field(value["weights"]) if isinstance(value, dict) else value

        return given(self.stimulus), given(self.current)

    def pitfalls(self, values: Mapping[str, ArrayLike]) -> list[str]:
        """Why a run with these values, which are known, will hardly show what it is meant to show;
        nothing of values for which there is no run."""
        point = self.with_values(values)
        inputs = point.inputs()
        try:
            state = point.network.init(**point.init)
            given = checked(Arguments(point.network, state, point.ts, *inputs, None, None))
        except ValueError:
            return []  # a bad point is a status
        return pitfalls(given)

    def __call__(self, values: Mapping[str, ArrayLike], key: Array | None = None) -> dict[str, Any]:
        """Run the point with `values` in place of its own.

        **Returns:** what `observe` returns of the run, its `status` and its number of `steps`.
        """
        check_mapping(values, "values", "a dict of the parameters by name")
        if key is not None:
            key = as_key(key)
        point = self.with_values(values)
        network = point.network
        ts = point.ts
        if point.per_tau:
            ts = ts * jnp.max(jnp.asarray(network.slow_constant()))
        stimulus, current = point.inputs()
        trajectory = simulate(
            network,
            network.init(**point.init),
            ts,
            stimulus=stimulus,
            current=current,
            noise=point.noise,
            key=key if point.noise is not None else None,
            method=point.method,
            max_steps=point.max_steps,
            throw=False,
        )
        outputs = _by_name(point.observe(trajectory), "observe", point.observe)
        if own := {"status", "steps"} & set(outputs):
            raise ValueError(
                f"`observe`: it returns {min(own)!r}, which is the run's own; name it otherwise."
            )
        return {
            **outputs,
            "status": trajectory.status,
            "steps": trajectory.counters["steps"].astype(jnp.int32),
        }


def _input(value: Any, name: str, network: AbstractFlow, ts: Array) -> Any:
    """An input as a point keeps it: a path as it is, an array (N,), or its coefficients (P,).

    **Raises:** ValueError or TypeError for anything else.
    """
    if isinstance(value, diffrax.AbstractPath):
        return value
    if not isinstance(value, Mapping):
        return checked_input(value, name, network, ts)
    if set(value) != {"weights"}:
        raise ValueError(
            f"`{name}` must be an array (N,), a path, or dict(weights=...), its coefficients in "
            f"the memories; got a dict of {sorted(map(str, value))}."
        )
    weights = as_float(value["weights"], f"{name}.weights", network.patterns.dtype)
    return {"weights": filled(weights, f"{name}.weights", (network.patterns.P,), "(P,)")}


class FunctionPoint(eqx.Module):
    """A pure JAX function of named arguments as a point.

    Where an argument is not finite, the function is given 1 in its place and the status says that
    a parameter is invalid: a NaN could keep an iteration inside the function, and with it the whole
    tile, from ending.
    """

    function: Callable
    wants_key: bool = eqx.field(static=True)

    def __init__(self, function: Callable, names: Iterable[str]):
        self.function = jax.tree.map(
            lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, function
        )
        parameters = inspect.signature(function).parameters
        self.wants_key = "key" in parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for name in names:
            if name not in parameters and not open_ended:
                raise unknown(name, [p for p in parameters if p != "key"])
        given = {*names, "key"}
        for name, p in parameters.items():
            if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                if name not in given:
                    raise ValueError(f"`grid` lacks {name!r}, which the function needs.")

    def __call__(self, values: Mapping[str, Array], key: Array | None = None) -> dict[str, Any]:
        """The function's outputs, and the `status`: its own if it returns one, else 0."""
        valid = jnp.asarray(True)
        for value in values.values():
            valid = valid & jnp.isfinite(value).all()
        safe = {name: jnp.where(jnp.isfinite(v), v, jnp.ones_like(v)) for name, v in values.items()}
        out = self._outputs(safe | ({"key": key} if self.wants_key else {}))
        status = _checked_status(out.pop("status", 0))
        status = jnp.where(valid, status, _status.INVALID_PARAMETER)
        return {**out, "status": status.astype(jnp.int32)}

    def _outputs(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the function returns, by name; a single array is called "value".

        **Raises:** TypeError if the function cannot be traced, or returns anything but numbers.
        """
        name = _name_of(self.function)
        try:
            out = self.function(**arguments)
        except _UNTRACEABLE as error:
            raise TypeError(
                f"`point`: {name} cannot be compiled: write it with jax.numpy in place of numpy "
                "and math, and jnp.where in place of `if`."
            ) from error
        return _by_name(out, "point", self.function)


_NUMBERS = (jax.Array, np.ndarray, np.generic, int, float, complex)
_UNTRACEABLE = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
)


def takes_seed(point: Point | Callable) -> bool:
    """Whether a point is a function with an argument `seed`; the axis "seed" then sets no key."""
    return not isinstance(point, Point) and "seed" in inspect.signature(point).parameters


def _by_name(out: Any, argument: str, function: Callable) -> dict[str, Any]:
    """What the function given as `argument` returned, by name; a single array is called "value".

    **Raises:** TypeError for anything but numbers.
    """
    leaves = jax.tree.leaves(out)
    bad = [leaf for leaf in leaves if not isinstance(leaf, _NUMBERS)]
    if bad or not leaves:
        raise TypeError(
            f"`{argument}`: {_name_of(function)} must return an array, a dict of arrays or a "
            f"NamedTuple, but returned {type(bad[0]).__name__ if bad else 'nothing'}."
        )
    if isinstance(out, Mapping):
        return dict(out)
    if hasattr(out, "_asdict"):  # a NamedTuple, as the theory functions return
        return dict(out._asdict())
    return {"value": out}


def _name_of(function: Callable) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _checked_status(status: Any) -> Array:
    """The status that a function returned, as a whole number.

    **Raises:** TypeError for anything else; ValueError for one that is known to be no code.
    """
    array = status if isinstance(status, jax.Array) else np.asarray(status)
    if array.shape != () or not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            "`point`: the `status` that it returns must be one whole number, a key of "
            f"hopfax.STATUS, but is {array.dtype}{list(array.shape)}."
        )
    if is_concrete(array):
        _status.check(np.asarray(array))
    return jnp.asarray(array, jnp.int32)
