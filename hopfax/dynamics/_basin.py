"""Edges of basins: where along a line of starts the fate of a run changes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _status
from .._errors import SimulationError, as_number, check_bool
from .._programs import jitted
from .._report import Report, Reported
from .._simulate import simulate
from .._types import Input, State
from ..networks import AbstractFlow
from ..observables import REGIMES, classify
from ._orbit import horizon_of
from ._reduced import Given, checked, checked_inputs
from ._shooting import exactly

_LANES = 16  # starts that are run at once
_SAVES = 301  # of the half of a run in which it is judged
_DOUBLINGS = 4  # of the horizon, where runs near the edge change their fate later
_PLACED = ("locked", "spurious", "mixed", "tie")  # regimes of which the memory is told


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class BasinEdge(Reported):
    """Where along a line of starts the fate of a run changes.

    - `fraction`: where on the way from `a` (0) to `b` (1), the middle of the bracket. `width`: of
      the bracket.
    - `states`: the starts at its two ends, on the side of `a` and on that of `b`.
    - `fates`: what becomes of runs from there, in words.
    - `horizon`: the time after which the fates were told apart.
    - `status`: 0, or a code of `hopfax.STATUS` where a fate still changed in a longer run.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.Tanh(2.0))
    a, b = network.init(weights=[1.0, 0.0]), network.init(weights=[0.0, 3.0])
    found = hx.dynamics.basin_edge(network, a, b, horizon=100.0)
    found.fates  # ('locked in memory 0', 'locked in memory 1')
    ```
    """

    fraction: float
    width: float
    states: tuple[State, State]
    fates: tuple[str, str]
    horizon: float
    status: int

    @property
    def converged(self) -> bool:
        """Whether the fates at both sides are settled."""
        return self.status == _status.OK

    def _report(self) -> Report:
        title = f"edge of a basin at {self.fraction:.12g} of the way"
        if not self.converged:
            title = "no edge of a basin: near it fates still change in a longer run"
        rows = [("width of the bracket", f"{self.width:.2g}"), ("before it", self.fates[0])]
        rows += [("after it", self.fates[1]), ("told apart after", f"{self.horizon:g}")]
        return Report(title, rows)


def basin_edge(
    network: AbstractFlow,
    a: State,
    b: State,
    *,
    stimulus: Input = None,
    current: Input = None,
    horizon: float | None = None,
    tol: float = 1e-9,
    throw: bool = True,
) -> BasinEdge:
    r"""The edge of a basin of attraction on the line of starts $a + s\,(b - a)$.

    Above its critical gain a sequence has a basin: from some starts it goes on, from others it
    dies. The edge between them is the stable manifold of a saddle, of the unstable orbit that the
    stable one meets at the fold, or of a state of rest. It is enclosed by runs: 16 starts at once
    tell in which part of the bracket the fate changes, which leaves a 17th of it each time. The
    runs are those of `orbit`, without an error but rounding for hard tanh.

    The fate is the verdict of `hopfax.observables.classify` on the second half of the run; of what
    is retrieved and stays it is told which memory, and with which sign. A run that begins near the
    edge follows the saddle for long, $\sim \ln(1/\delta)$ at the distance $\delta$, before it is
    decided. So the runs from both ends of the bracket are continued to twice the horizon. Should
    their fates change then, the search is made again with a horizon of twice the length, up to
    four times.

    **Arguments:**

    - `network`: the network. `a`, `b`: two states of it with different fates.
    - `stimulus`, `current`: constant inputs, (N,).
    - `horizon`: of each run, in fast time constants; by default 90 slow time constants.
    - `tol`: the width of the bracket, as a part of the way from `a` to `b`.
    - `throw`: raise if the fates are not settled; else look at `status`.

    **Returns:** a `BasinEdge`. Where the line crosses several edges it is the first one from `a` on
    that the starts tried tell apart.

    **Raises:** ValueError/TypeError for bad arguments, also where `a` and `b` have the same fate;
    `SimulationError` where runs near the edge are not decided.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(2, 16), activation=hx.Tanh(2.0))
    a, b = network.init(weights=[1.0, 0.0]), network.init(weights=[0.0, 3.0])
    hx.dynamics.basin_edge(network, a, b, horizon=100.0).fraction  # 0.25: of equal weights
    ```
    """
    a, b = checked(network, a, "a"), checked(network, b, "b")
    if jax.tree.structure(a) != jax.tree.structure(b):
        raise ValueError(
            "`a` and `b` must be states of the same form, as there is no line between them else; "
            "give both `weights`, or neither."
        )
    given = checked_inputs(network, stimulus, current)
    horizon = horizon_of(network, horizon)
    tol = as_number(tol, "tol")
    if not 0 < tol < 1:
        raise ValueError(f"`tol` is a part of the way from a to b, between 0 and 1, got {tol:g}.")
    check_bool(throw, "throw")
    tol = max(tol, 8 * float(jnp.finfo(network.patterns.dtype).eps))
    line = _Line(network, given, a, b)
    low, high, fates, settled = _bracket(line, horizon, tol)
    for _ in range(_DOUBLINGS):
        if settled:
            break
        horizon *= 2
        low, high, fates, settled = _bracket(line, horizon, tol)
    status = _status.OK if settled else _status.SOLVER_FAILED
    if throw and not settled:
        raise SimulationError(
            f"the runs near the edge, at {(low + high) / 2:.10g} of the way, are not decided after "
            f"{horizon:g}: their fates, {fates[0]!r} and {fates[1]!r}, still change in a longer "
            "run. Give a larger `horizon` or `tol`; `throw=False` returns what there is.",
            status,
        )
    ends = [line.state(fraction) for fraction in (low, high)]
    return BasinEdge(
        (low + high) / 2, high - low, (ends[0], ends[1]), (fates[0], fates[1]), horizon, status
    )


@dataclasses.dataclass(frozen=True)
class _Line:
    """Starts on the line from `a` to `b`, and what becomes of them."""

    network: AbstractFlow
    given: Given
    a: State
    b: State

    def state(self, fractions: Any) -> State:
        """The starts there, with a leading axis for several."""
        s = jnp.asarray(fractions, self.network.patterns.dtype)[..., None]
        return jax.tree.map(lambda a, b: (1 - s) * a + s * b, self.a, self.b)

    def fates(self, fractions: np.ndarray, horizon: float, halves: int = 1) -> list[str]:
        """The fates of so many starts, after some halves of the horizon and another one."""
        states = self.state(np.resize(fractions, _LANES))
        ts = jnp.linspace(0.0, horizon / 2, _SAVES, dtype=self.network.patterns.dtype)
        for _ in range(halves):
            states, _ = _moved(self.network, self.given, states, ts)
        _, told = _moved(self.network, self.given, states, ts)
        rows = zip(*(part.tolist() for part in told), strict=True)
        return [_fate(*row) for row in rows][: len(fractions)]


def _bracket(line: _Line, horizon: float, tol: float) -> tuple[float, float, list[str], bool]:
    """The fractions between which the fate of `a` ends, the fates there, and whether they are the
    same after twice the time."""
    grid = np.linspace(0.0, 1.0, _LANES)
    found = line.fates(grid, horizon)
    _check(found[0], found[-1], horizon)
    while True:
        other = next(k for k, fate in enumerate(found) if fate != found[0])
        low, high, fates = float(grid[other - 1]), float(grid[other]), [found[0], found[other]]
        if high - low <= tol:
            return low, high, fates, line.fates(np.array([low, high]), horizon, 3) == fates
        inner = np.linspace(low, high, _LANES + 2)
        found = [fates[0], *line.fates(inner[1:-1], horizon), fates[1]]
        grid = inner


def _check(first: str, last: str, horizon: float) -> None:
    """**Raises:** ValueError for fates between which there is no edge."""
    for name, fate in (("a", first), ("b", last)):
        if fate == "undecided":
            raise ValueError(
                f"`{name}`: what becomes of a run from there is undecided after {horizon:g} fast "
                "time constants; give a larger `horizon`."
            )
    if first == last:
        raise ValueError(
            f"`a` and `b` must have different fates, but the runs from both have the same one "
            f"after {horizon:g} fast time constants: {first!r}. Take another start."
        )


def _fate(regime: int, memory: int, negative: bool, status: int) -> str:
    """What becomes of a run, in words."""
    if status != _status.OK:
        return _status.name(status)
    name = REGIMES[regime]
    return f"{name} in {'-' * bool(negative)}memory {memory}" if name in _PLACED else name


@jitted
def _moved(network, given, states, ts):
    """The states at the last time, and what each run did: its regime, the leading memory, whether
    that is retrieved with the opposite sign, and the status."""

    def one(state):
        run = simulate(
            network,
            state,
            ts,
            stimulus=given.stimulus,
            current=given.current,
            method=exactly(ts.dtype),
            derivative="forward",
            throw=False,
        )
        last = run.overlaps[-1]
        memory = jnp.argmax(jnp.abs(last))
        return run.final, (classify(run), memory, last[memory] < 0, run.status)

    return jax.vmap(one)(states)
