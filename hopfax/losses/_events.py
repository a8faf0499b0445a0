"""Observed sequences: which memory was entered when."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import (
    as_count,
    as_float,
    as_indices,
    check_array,
    check_bool,
    check_finite,
    check_shape,
    check_type,
    shown,
)
from .._report import Reported
from .._types import ArrayLike, is_concrete


class Events(Reported, eqx.Module):
    """A sequence of memories: memory `memory[k]` is entered at `time[k]`.

    **Arguments:**

    - `memory`: (K,) indices. Where one directly follows itself, only `hopfax.fit_sequence` can show
        that, by contexts.
    - `time`: (K,) increasing, in fast time constants, the first being when the sequence begins;
        None if only the order is known.
    - `end`: when the last memory gives way, if that was seen. It is a datum like the other times.
    - `until`: how long the last memory is known to have stayed, if it was not seen to give way. A
        switch before that contradicts the data, a later one does not.
    - `join`: entries in which a memory follows itself are joined to one longer stay, as those that
        `hopfax.observables.visited` finds where a memory leaves the lead and takes it again.
    - `cycle`: whether the first memory follows the last one, over and over. With times, `end` is
        then the end of the first round.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    events = hx.Events([0, 2, 1], [0.0, 25.0, 50.0], end=70.0, cycle=True)
    order, times = events.switches  # 2, 1, 0 at 25, 50, 70
    events.dwells  # 25, 25, 20
    events.repeated(2).memory  # 0, 2, 1, 0, 2, 1
    ```
    """

    memory: Int[Array, " K"]
    time: Float[Array, " K"] | None
    end: Float[Array, ""] | None
    until: Float[Array, ""] | None
    cycle: bool = eqx.field(static=True)

    def __init__(
        self,
        memory: ArrayLike,
        time: ArrayLike | None = None,
        *,
        end: ArrayLike | None = None,
        until: ArrayLike | None = None,
        cycle: bool = False,
        join: bool = False,
    ):
        memory = as_indices(memory, "memory")
        if memory.ndim != 1 or memory.size < 2:
            raise ValueError(
                "`memory` must hold at least two indices of memories, one after the other, got "
                f"an array of shape {memory.shape}."
            )
        check_bool(cycle, "cycle")
        self.memory = jnp.asarray(memory, jnp.int32)
        self.time = None if time is None else as_float(time, "time")
        self.end = None if end is None else as_float(end, "end")
        self.until = None if until is None else as_float(until, "until")
        self.cycle = cycle
        for name, last in (("end", self.end), ("until", self.until)):
            if last is not None:
                check_shape(last, name, (), "()")
                check_finite(last, name)
                if self.time is None:
                    raise ValueError(f"`{name}` is a time, so `time` must be given, too.")
        if self.until is not None and (cycle or self.end is not None):
            raise ValueError(
                "`until` is for a last memory that was not seen to give way: not with `end`, and "
                "not for a `cycle`."
            )
        if self.time is not None and self.time.shape != self.memory.shape:
            raise ValueError(
                f"`time` must have one entry a memory, the shape {self.memory.shape} of `memory`, "
                f"got {self.time.shape}."
            )
        if cycle and self.time is not None and end is None:
            raise ValueError("`end` must say when the first round of a timed cycle is over.")
        check_bool(join, "join")
        if join:
            self._join()
        times = [leaf for leaf in (self.time, self.end, self.until) if leaf is not None]
        if self.time is not None and all(is_concrete(leaf) for leaf in times):
            flat = np.concatenate([np.atleast_1d(np.asarray(leaf)) for leaf in times])
            if not np.isfinite(flat).all():
                bad = int(np.argmin(np.isfinite(flat)))
                raise ValueError(f"`time` must be finite, but entry {bad} is {flat[bad]:g}.")
            if not (np.diff(flat) > 0).all():
                bad = int(np.argmin(np.diff(flat) > 0))
                raise ValueError(
                    "`time` must increase, and `end` or `until` come last, but entries "
                    f"{bad} and {bad + 1} are {flat[bad]:g} and {flat[bad + 1]:g}."
                )

    def _join(self) -> None:
        """Drops entries in which a memory follows itself."""
        if not is_concrete(self.memory):
            raise ValueError("`join` needs to know `memory`: it is not for traced arrays.")
        order = np.asarray(self.memory)
        kept = np.append(True, order[1:] != order[:-1])
        if kept.sum() < 2:
            raise ValueError("`memory` must hold two memories at least; it names one alone.")
        self.memory = self.memory[kept]
        self.time = None if self.time is None else self.time[kept]

    @property
    def switches(self) -> tuple[Int[Array, " S"], Float[Array, " S"] | None]:
        """The memory that each transition leads to, and the times (None if they are not known)."""
        target = self.memory[1:]
        time = None if self.time is None else self.time[1:]
        if self.cycle:
            target = jnp.concatenate([target, self.memory[:1]])
            if time is not None and self.end is not None:
                time = jnp.concatenate([time, self.end[None]])
        return target, time

    @property
    def dwells(self) -> Float[Array, " K"]:
        """How long each memory was active; NaN for the last one if its end was not seen.

        **Raises:** ValueError if the times are not known.
        """
        if self.time is None:
            raise ValueError("these events have no `time`.")
        last = jnp.full(1, jnp.nan, self.time.dtype)
        last = last if self.end is None else self.end[None]
        return jnp.diff(jnp.concatenate([self.time, last]))

    @property
    def last_stay(self) -> Float[Array, ""] | None:
        """How long the last memory stayed, or stayed at least; None if that is not known."""
        last = self.end if self.until is None else self.until
        return None if last is None or self.time is None else last - self.time[-1]

    def repeated(self, rounds: int) -> "Events":
        """A cycle as an open sequence of so many rounds.

        **Raises:** ValueError if it is no cycle.
        """
        if not self.cycle:
            raise ValueError("`cycle`: only a cycle can be repeated.")
        rounds = as_count(rounds, "rounds")
        check_array("the sequence", 16, rounds=rounds, events=self.memory.size)
        memory = jnp.tile(self.memory, rounds)
        if self.time is None or self.end is None:
            return Events(memory)
        period = self.end - self.time[0]
        shifts = jnp.arange(rounds, dtype=period.dtype)[:, None] * period
        return Events(memory, (self.time + shifts).ravel(), end=self.end + (rounds - 1) * period)


def events_of(target: Any) -> list[Events]:
    """A list of sequences, from one of them, several, or a plain order, which is read as a
    cycle."""
    if isinstance(target, Events):
        return [target]
    if isinstance(target, list | tuple) and target and isinstance(target[0], Events):
        for events in target:
            check_type(events, "target", Events, "Events, a list of them, or an order of memories")
        return list(target)
    order = as_indices(target, "target")
    if order.ndim > 1:
        raise ValueError(
            f"`target` must be one order of memories, or a list of hopfax.Events where there are "
            f"several, got {shown(target)}."
        )
    if order.ndim != 1 or order.size < 2:
        raise ValueError(f"`target` must name at least two memories, got {shown(target)}.")
    return [Events(order, cycle=True)]
