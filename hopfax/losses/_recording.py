"""Losses of a recorded run: how it began, and what was seen of it."""

from collections.abc import Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._engines import Auto, Diffrax, EventDriven, as_method
from .._errors import as_float, check_finite, check_shape, shown
from .._programs import jitted
from .._report import Report, fields_report
from .._simulate import simulate
from .._status import OK
from .._trajectory import Trajectory
from .._types import ArrayLike, Input, Network, is_concrete
from ..networks import neurons_of
from ._base import LOST, AbstractLoss, Derivative
from ._terms import AbstractTerm, Compared, Path

_SLOTS = 64  # switches that a run logs by default
_MANY = 64  # classes beyond which transits are Runge-Kutta steps, to whose tolerance
_TIGHT = 1e-12  # derivatives are a thousand times more sensitive than times


def _field(t, state, network):
    """The field of all neurons, which the run is to save."""
    return neurons_of(state)


@jitted
def _compared(term: AbstractTerm, run: Trajectory, rows: Array) -> Compared:
    """`AbstractTerm.compared` in one program, not in one for each operation."""
    return term.compared(run, rows)


class Recording(AbstractLoss):
    """A loss that compares a run of the network with what was seen of it.

    Made by `switch_times`, `dwell_times`, `saliency_path`, `overlap_path`, `field_path` and
    `shooting`; `same_run` joins several.

    - `init`: the start, as keyword arguments of `network.init`.
    - `terms`: what was seen.
    - `t0`, `end`: when the run begins and ends; None for `end`: as late as the terms need.
    - `stimulus`, `current`, `noise`, `key`, `method`: as in `hopfax.simulate`.
    - `sigma_known`: whether the standard deviations of all that was seen were given.
    - `strict`: whether all residuals of a run that fails are infinite, as a probability density
      wants them. By default only those that are no numbers are replaced, by 1000, from which a fit
      finds back.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.switch_times([31.0, 61.0], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]))
    run = loss.run(network)  # the hx.Trajectory that is compared
    hx.observables.switch_times(run)[:2]  # 30.85, 61.18
    loss(network)  # -0.15, 0.18
    ```
    """

    init: dict[str, Array]
    terms: tuple[AbstractTerm, ...]
    t0: Float[Array, ""]
    end: Float[Array, ""] | None
    stimulus: Input
    current: Input
    noise: Float[Array, ""] | None
    key: Any
    method: Any
    sigma_known: bool = eqx.field(static=True)
    strict: bool = eqx.field(static=True, default=False)

    def run(self, network: Network, *, derivative: Derivative = "reverse") -> Trajectory:
        """The run of `network` that is compared, saved at the times that the terms need.

        **Arguments:** `derivative`: by which mode the run will be differentiated, as in
        `hopfax.simulate`.
        """
        last = jnp.stack([term.until() for term in self.terms]).max()
        last = last if self.end is None else self.end
        ts = jnp.concatenate([self.t0[None], *(term.times() for term in self.terms), last[None]])
        paths = [term for term in self.terms if isinstance(term, Path)]
        return simulate(
            network,
            network.init(**self.init),
            jnp.sort(ts).astype(network.patterns.xi.dtype),
            stimulus=self.stimulus,
            current=self.current,
            noise=self.noise,
            key=self.key,
            method=self._method(network),
            derivative=derivative,
            observe=_field if any(term.of == "field" for term in paths) else None,
            throw=False,
        )

    def __call__(
        self, network: Network, *, derivative: Derivative = "reverse"
    ) -> Float[Array, " R"]:
        run = self.run(network, derivative=derivative)
        rows = self._rows(run)
        parts = [term.residuals(run, row) for term, row in zip(self.terms, rows, strict=True)]
        found = jnp.concatenate(parts)
        if self.strict:
            return jnp.where(jnp.isfinite(found) & (run.status == OK), found, jnp.inf)
        return jnp.where(jnp.isfinite(found), found, LOST)

    def compared(self, network: Network) -> list[Compared]:
        """What was seen beside what the network shows, for each of `terms`, for a picture."""
        run = self.run(network)
        return [
            _compared(term, run, row) for term, row in zip(self.terms, self._rows(run), strict=True)
        ]

    def _rows(self, run: Trajectory) -> list[Array]:
        """The saves that each term needs."""
        times = (term.times().astype(run.ts.dtype) for term in self.terms)
        return [jnp.searchsorted(run.ts, ts) for ts in times]

    def _report(self) -> Report:
        seen = " and ".join(term._report().title for term in self.terms)
        return fields_report(self, f"recording of {seen}", ("terms", "t0", "strict"))

    @property
    def sees_classes_only(self) -> bool:
        """Whether a network with one neuron for each class of equal ones has the same residuals.

        That is so if neurons with equal patterns stay equal, because nothing from outside tells
        them apart, and if the field is not compared neuron by neuron.
        """
        outside = (self.stimulus, self.current, self.noise)
        inside = set(self.init) <= {"saliency", "weights"}
        single = any(isinstance(term, Path) and term.of == "field" for term in self.terms)
        return inside and not single and all(part is None for part in outside)

    def _method(self, network: Network) -> Any:
        """The given method; or exact integration, where there is one, with a log that is long
        enough."""
        if self.method != "auto":
            return self.method
        count = max(term.count() for term in self.terms)
        slots = max(_SLOTS, 1 << (count + count // 4).bit_length())
        patterns = network.patterns
        many = min(patterns.N, 2 ** (patterns.P - 1)) > _MANY
        exact = EventDriven(tol=_TIGHT if many else 1e-9, switches=slots)
        return Auto(exact, Diffrax(switches=slots))


def same_run(*recordings: Recording) -> Recording:
    """Several losses of one and the same run, which is then simulated once.

    **Arguments:** `recordings`: what `switch_times`, `saliency_path` and the like return, for equal
    starts and inputs. Those of the first are used, and the latest `end`.

    **Returns:** a loss with the residuals of all, one after the other.

    **Raises:** TypeError for anything else; ValueError if the starts are known to differ.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    both = hx.losses.same_run(
        hx.losses.switch_times([31.0, 61.0], init=start),
        hx.losses.dwell_times([30.0], init=start),
    )
    both(network)  # -0.15, 0.18, 0.33
    ```
    """
    if not recordings:
        raise TypeError("`recordings` must name at least one recording.")
    for recording in recordings:
        if not isinstance(recording, Recording):
            raise TypeError(f"`recordings` must be recordings, got {type(recording).__name__}.")
    first, *others = recordings
    ends = [r.end for r in recordings if r.end is not None]
    terms = first.terms
    for other in others:
        mine, its = (r for r in (first.init, other.init))
        known = all(is_concrete(leaf) for leaf in jax.tree.leaves((mine, its)))
        if set(mine) != set(its) or (
            known and any(not np.array_equal(mine[name], its[name]) for name in mine)
        ):
            raise ValueError("`recordings` must begin alike (`init`) to be of the same run.")
        terms = (*terms, *other.terms)
    end = jnp.stack(ends).max() if ends else None
    return Recording(
        first.init,
        terms,
        first.t0,
        end,
        first.stimulus,
        first.current,
        first.noise,
        first.key,
        first.method,
        all(recording.sigma_known for recording in recordings),
    )


def recording(
    term: AbstractTerm, init: Mapping[str, ArrayLike], options: dict[str, Any], sigma_known: bool
) -> Recording:
    """A loss of one term; `options`: how the run is made; `sigma_known`: whether `sigma` was given.

    **Raises:** TypeError for a start that is no dict, and for options that are not known.
    """
    if not isinstance(init, Mapping) or not init:
        raise TypeError(
            "`init` must be a dict of arguments of network.init, e.g. dict(saliency=...), got "
            f"{shown(init)}."
        )
    known = {"t0", "end", "stimulus", "current", "noise", "key", "method"}
    if unknown := options.keys() - known:
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}; known are {sorted(known)}.")
    as_method(options.get("method", "auto"))
    for name in ("t0", "end", "noise"):
        if (value := options.get(name)) is not None:
            value = as_float(value, name)
            check_shape(value, name, (), "()")
            check_finite(value, name)
    for name in ("stimulus", "current"):
        value = options.get(name)
        if value is not None and not isinstance(value, diffrax.AbstractPath):
            value = as_float(value, name)
            if value.ndim != 1 or not value.size:
                raise ValueError(f"`{name}` must have shape (N,), got {value.shape}.")
            check_finite(value, name)
    noise, end = options.get("noise"), options.get("end")
    return Recording(
        {name: as_float(value, f"init.{name}") for name, value in init.items()},
        (term,),
        as_float(options.get("t0", 0.0), "t0"),
        None if end is None else as_float(end, "end"),
        options.get("stimulus"),
        options.get("current"),
        None if noise is None else as_float(noise, "noise"),
        options.get("key"),
        options.get("method", "auto"),
        sigma_known,
    )
