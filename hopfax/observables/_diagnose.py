"""Why a sequence ended, or never began: in words, with the numbers."""

import math

import jax

from .. import _status
from .._errors import check_type
from .._trajectory import RETRIEVED, Trajectory
from .._types import Network, is_concrete
from ..networks import AbstractNetwork, TwoTimescaleHopfield
from ._causes import OF_ANY, OF_TWO_TIMESCALES, number, since
from ._diagnosis import CAUSES, Diagnosis, made
from ._last import Last, last_of
from ._sequence import _check_run


def diagnose(trajectory: Trajectory, network: Network | None = None) -> Diagnosis:
    r"""Why a sequence ended, or never began, in plain words and with the numbers.

    A run of `TwoTimescaleHopfield` can end in these ways:

    - `no seed`: no overlap but that of the first memory ever differed from zero; bias, noise and
      correlations were absent, and an exactly orthogonal memory never moves.
    - `weak seed`: a successor's saliency was above $1/g$ when the last memory let go, but its seed
      was too small to grow before that saliency had decayed.
    - `sign flip`: the last memory was retrieved as $-\xi$, so that $\kappa A f(m)$ drives no other
      one to positive saliency (`readout="linear"` or "relu").
    - `below threshold`: the gain is below `theory.sequential.critical_gain` of the cycle; by how
      much, and in which limit that holds, is told.
    - `weak start`: the gain suffices, but the start saliency lies below the edge of the basin
      (`theory.sequential.basin_edge`), or below $1/g$, where no memory exists.
    - `weak successor`: no other saliency was above $1/g$ when the last memory let go, in a network
      of which no critical gain is derived.
    - `no successor`: the last memory calls no other one.
    - `self-loop`: the last memory holds its own saliency above $1/g$, by $\kappa A_{\mu\mu}$;
      `crosstalk`: other memories that overlap with it hold it.
    - `tie`: the run rested with two equal overlaps, as where two successors have equal saliency;
      `mixture`: with two or more between 1/4 and 3/4 that are not two equal ones.

    And it need not have ended: it `goes on`, or the run is `too short` to tell. A run may have
    `failed`, or been `stopped` by an event. Where nothing of this can be told, as of networks of
    other families or without the network, the cause is `unknown`, and the sentences say what is
    known.

    **Arguments:** `trajectory`: one run, no batch. `network`: which made it. Without it only that
    is told which overlaps, saliencies and status show.

    **Returns:** a `Diagnosis`. Noise and inputs of the run are not known to it; where they decide,
    its sentences do not say so.

    **Raises:** TypeError for what is no run or no network, or under a trace, where nothing can be
    put into words; ValueError for a batch, or a network of other size.

    Thresholds: Betteti, Baggio, Zampieri 2026, arXiv:2603.03201, and what `theory.sequential`
    derives from there.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    print(hx.observables.diagnose(run, network))  # goes on: 4 memories were retrieved ...
    ```
    """
    _check_run(trajectory, "diagnose")
    if not all(map(is_concrete, jax.tree.leaves((trajectory.overlaps, trajectory.status)))):
        raise TypeError(
            "`trajectory` must be known, as what became of it is put into words; under a trace "
            "use hopfax.observables.classify."
        )
    if network is not None:
        check_type(network, "network", AbstractNetwork, "a hopfax network")
        P = trajectory.overlaps.shape[-1]
        if network.patterns.P != P:
            raise ValueError(
                f"`network` has {network.patterns.P} memories, but the run has {P}; give the "
                "network that made it."
            )
    last = last_of(trajectory)
    if (found := _broken(trajectory, last)) is not None or last is None:
        assert found is not None
        return found
    moving = _moving(network)
    rules = OF_ANY if moving is None else OF_TWO_TIMESCALES
    for rule in rules:
        if (found := rule(last, moving)) is not None:
            return found
    return _unknown(last, network)


def _moving(network: Network | None) -> TwoTimescaleHopfield | None:
    """The network, if its slow equation is the one that the causes are about."""
    if network is None:
        return None
    try:
        told = network.for_theory()
    except ValueError:
        return None
    return network if {"transition", "readout", "keep_diagonal"} <= set(told) else None


def _broken(trajectory: Trajectory, last: Last | None) -> Diagnosis | None:
    """A run that did not reach its end."""
    status = int(trajectory.status)
    if status == _status.OK and last is not None:
        return None
    until = float(trajectory.ts[0]) if last is None else float(last.ts[-1])
    memory = -1 if last is None else last.memory
    if status == _status.STOPPED_BY_EVENT:
        text = f"an event of the user ended the run after t = {until:.5g}."
        cause = "stopped"
    else:
        name, meaning = _status.name(status), _status.meaning(status)
        text = f"the run failed after t = {until:.5g}, with the status {name}: {meaning}."
        cause = "failed"
    found = {"status": float(status)}
    return Diagnosis(CAUSES.index(cause), until, memory, found, (text, _last_words(last)))


def _last_words(last: Last | None) -> str:
    """Which memory was the last, and since when."""
    if last is None or last.memory < 0:
        return "No memory had been retrieved until then."
    return f"Until then {number(last.visits)} retrieved, the last one, {since(last)}."


def _unknown(last: Last, network: Network | None) -> Diagnosis:
    """What is known where the cause is not."""
    if network is None:
        why = "The run alone does not tell why: give the network, diagnose(run, network)."
    elif _moving(network) is None:
        why = (
            f"Why cannot be told of a {type(network).__name__}: causes are known of "
            "TwoTimescaleHopfield."
        )
    else:
        why = "None of the known causes fits."
    what = f"within the run its outcome is {last.regime!r}"
    if last.memory >= 0:
        gone = math.isfinite(last.end)
        then = f", which was gone at t = {last.end:.5g}" if gone else ", which was there at the end"
        what += f"; the last memory was {since(last)}{then}"
    texts = [f"{what}.", why]
    if last.memory >= 0 and last.m[last.first : last.held + 1, last.memory].min() < -RETRIEVED:
        texts.insert(1, "It was retrieved with the opposite sign.")
    return made("unknown", last, last.end, texts)
