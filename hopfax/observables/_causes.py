"""The causes for which a sequence ends: for each a function that knows it when it sees it.

A run is given by its end (`Last`). A function returns None where the cause is another; they are
asked in the order of the tables below, since what comes first would look like what comes later: a
memory without a seed also fades, and so does one that was retrieved with the opposite sign.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._trajectory import RETRIEVED
from ..networks import TwoTimescaleHopfield, seeds_of
from ._diagnosis import Diagnosis, made
from ._last import Last
from ._sequence import _stability
from ._threshold import Threshold, edge_of, slope_at_zero, threshold_of


def number(visits: int) -> str:
    return "1 memory was" if visits == 1 else f"{visits} memories were"


def since(last: Last) -> str:
    return f"memory {last.memory}, from t = {last.since:.5g} on"


def _goes_on(last: Last, network: TwoTimescaleHopfield | None) -> Diagnosis | None:
    if last.regime != "sequence" or (network is not None and _negative(last, network)):
        return None
    text = f"{number(last.visits)} retrieved in turn, the last one, {since(last)}; it did not end."
    return made("goes on", last, math.nan, [text], memories=last.visits)


def _no_seed(last: Last, network: TwoTimescaleHopfield | None) -> Diagnosis | None:
    if last.visits != 1 or last.before >= 0:
        return None
    other = float(np.abs(last.m[:, last.others]).max(initial=0.0))
    if other > last.small:
        return None
    gone = math.isfinite(last.end)
    texts = [
        f"memory {last.memory} was retrieved from the start, and no other overlap ever differed "
        "from zero"
    ]
    if network is None:
        if not gone:
            return None
        texts[0] += ", so that nothing could take over when it let go."
    else:
        seeds, called = np.abs(seeds_of(network)), np.asarray(network.transition)[last.others]
        none = seeds[:, last.memory].max(initial=0.0) <= last.small
        if not none or not called[:, last.memory].any() or _kept(last, network) is not None:
            return None
        texts[0] += ", because nothing seeds it."
        texts.append(
            "Bias, noise and correlations are absent: exactly orthogonal memories never move."
        )
    if gone:
        texts.append(f"It let go at t = {last.end:.5g}.")
    texts.append("Give a small `bias` (0.01), noise, or memories that overlap.")
    time = last.end if gone else last.since
    return made("no seed", last, time, texts, largest_other_overlap=other)


def _blend(last: Last, network: TwoTimescaleHopfield | None) -> Diagnosis | None:
    """A tie, or another mixture, in which the run rested."""
    span = last.blend
    if span is None:
        return None
    m = last.m[(span.start + span.stop) // 2]
    mixed = np.flatnonzero((np.abs(m) > 0.25) & (np.abs(m) < 0.75))
    begin = float(last.ts[span.start])
    names = ", ".join(f"{mu} ({m[mu]:.3g})" for mu in mixed)
    evidence = {f"overlap_{mu}": m[mu] for mu in mixed}
    texts = []
    if last.z is not None:
        z = last.z[span.start]
        evidence |= {f"saliency_{mu}": z[mu] for mu in mixed}
        listed = ", ".join(f"{z[mu]:.4g}" for mu in mixed)
        texts.append(f"When that began their saliencies were {listed}.")
    if mixed.size == 2 and abs(abs(m[mixed[0]]) - abs(m[mixed[1]])) < 1e-3:
        cause, what = "tie", "two memories shared the field equally"
        texts.append(
            "This state is a symmetric saddle: any difference of seeds or of gains decides."
        )
    else:
        cause, what = "mixture", f"{mixed.size} memories shared the field"
        texts.append(
            "Such a mixture is stable where saliencies are large and alike; gains that differ more "
            "let one of them win."
        )
    left = span.stop < len(last.ts)
    until = f" to {last.ts[span.stop - 1]:.5g}" if left else " to the end of the run"
    texts.insert(0, f"from t = {begin:.5g}{until} {what}: {names}.")
    return made(cause, last, begin, texts, **evidence)


def _pull(network: TwoTimescaleHopfield, m: np.ndarray) -> jax.Array:
    r"""$\kappa A f(m)$: where the saliencies would go if the overlaps stayed."""
    overlaps = jnp.asarray(m, network.patterns.xi.dtype)
    return network.tau * network.slow_rate(overlaps, jnp.zeros_like(overlaps))


def _drive(last: Last, network: TwoTimescaleHopfield, save: int) -> np.ndarray:
    """`_pull` at the overlaps of a save."""
    return np.asarray(_pull(network, last.m[save]), float)


def _negative(last: Last, network: TwoTimescaleHopfield) -> bool:
    """Whether the last memory stands on its head and so drives no other one."""
    m = last.m[last.first : last.held + 1, last.memory]
    if last.memory < 0 or m.size == 0 or not m[np.abs(m).argmax()] < -RETRIEVED:
        return False
    save = last.first + int(np.abs(m).argmax())
    called = np.asarray(network.transition)[last.others, last.memory] > 0
    return bool(called.any() and (_drive(last, network, save)[last.others] <= last.small).all())


def _sign_flip(last: Last, network: TwoTimescaleHopfield) -> Diagnosis | None:
    if not _negative(last, network):
        return None
    save = last.first + int(np.abs(last.m[last.first : last.held + 1, last.memory]).argmax())
    m, drive = last.m[save, last.memory], _drive(last, network, save)
    called = np.asarray(network.transition)[:, last.memory] * (np.arange(len(drive)) != last.memory)
    successor = int(called.argmax())
    time = last.end if math.isfinite(last.end) else math.nan
    there = float(last.ts[-1]) if math.isnan(time) else time
    lowest = math.nan if last.z is None else float(last.saliency_at(there)[successor])
    texts = [
        f"memory {last.memory} was retrieved with the opposite sign at t = {last.since:.5g} "
        f"(overlap {m:.3g}), because its seed was negative.",
        f"With readout={network.readout!r} the drive of its successor, memory {successor}, is then "
        f"{drive[successor]:.4g}, and the saliency of that one was {lowest:.4g} at "
        f"t = {there:.5g}: none is there to take over.",
        "Use a larger `bias`, patterns.gauge_cycle(), learning='pseudo_inverse', or "
        "readout='abs' or 'square'.",
    ]
    if math.isnan(time):
        texts.insert(2, "The run ended before that memory let go.")
    numbers = dict(overlap=m, drive_of_successor=drive[successor], saliency_of_successor=lowest)
    return made("sign flip", last, time, texts, **numbers)


def _level(network: TwoTimescaleHopfield) -> float:
    """The saliency below which no memory exists."""
    return 1.0 / slope_at_zero(network)


def _kept(last: Last, network: TwoTimescaleHopfield) -> str | None:
    """What holds the last memory for ever at its overlaps of the last save; None if nothing."""
    if math.isfinite(last.end) or last.memory < 0 or not last.at_rest:
        return None
    m = last.m[-1]
    if not float(_stability(_pull(network, m), last.memory, network)) > 0:
        return None
    alone = np.where(np.arange(m.size) == last.memory, m, 0.0)
    own = float(_pull(network, alone)[last.memory])
    return "self-loop" if own > _level(network) else "crosstalk"


def _held(last: Last, network: TwoTimescaleHopfield) -> Diagnosis | None:
    """The last memory is still there: for ever, or not yet gone."""
    if math.isfinite(last.end) or last.memory < 0:
        return None
    mu, level, drive = last.memory, _level(network), _drive(last, network, -1)
    z = math.nan if last.z is None else float(last.z[-1, mu])
    numbers = dict(saliency=z, drive_of_itself=drive[mu], level=level)
    there = f"{since(last)}, was still there at the end of the run"
    cause = _kept(last, network)
    if cause is None:
        texts = [f"{there}, at t = {last.ts[-1]:.5g}."]
        tau = float(np.broadcast_to(np.asarray(network.tau), (len(drive),))[mu])
        if z > level > drive[mu]:
            left = tau * math.log((z - drive[mu]) / (level - drive[mu]))
            numbers["time_to_escape"] = left
            texts.append(
                f"Its saliency was {z:.4g}; it falls to {level:.4g}, where the memory ends, about "
                f"{left:.4g} later: run longer to see what follows."
            )
        else:
            texts.append("The overlaps had not come to rest: run longer to see what follows.")
        return made("too short", last, math.nan, texts, **numbers)
    own = float(np.broadcast_to(np.asarray(network.kappa), (len(drive),))[mu])
    weight = float(np.asarray(network.transition)[mu, mu])
    texts = [f"{there}, and never lets go."]
    if cause == "self-loop":
        texts.append(
            f"Its call to itself, kappa A[{mu}, {mu}] = {own * weight:.4g}, keeps its saliency at "
            f"{drive[mu]:.4g}, and a memory exists above {level:.4g}. Lower that entry below "
            f"{level / own:.4g}."
        )
    else:
        texts.append(
            f"Overlaps with other memories charge it all the time: its saliency stays at "
            f"{drive[mu]:.4g}, and a memory exists above {level:.4g}. Use "
            "learning='pseudo_inverse', or memories that overlap less."
        )
    return made(cause, last, last.since, texts, **numbers)


def _undecided(last: Last, network: TwoTimescaleHopfield) -> Diagnosis | None:
    """No memory is there, but one may still come."""
    if last.z is None or not math.isfinite(last.end):
        return None
    level, z = _level(network), last.z[-1]
    top = int(z.argmax())
    seeds = seeds_of(network)[top, last.memory] if last.memory >= 0 else 1.0
    if z[top] <= level or seeds <= 0:
        return None
    texts = [
        f"memory {last.memory} let go at t = {last.end:.5g}, and at the end of the run, at t = "
        f"{last.ts[-1]:.5g}, no other had been retrieved.",
        f"The saliency of memory {top} was {z[top]:.4g}, above {level:.4g}, so that it may still "
        "take over: run longer.",
    ]
    return made("too short", last, math.nan, texts, saliency=z[top], level=level)


def _never(last: Last, network: TwoTimescaleHopfield) -> Diagnosis | None:
    """No memory was ever retrieved."""
    if last.memory >= 0 or last.z is None:
        return None
    level, top = _level(network), int(last.z[0].argmax())
    z = float(last.z[0, top])
    texts = [
        f"no memory was ever retrieved; the largest start saliency was {z:.4g}, of memory {top}."
    ]
    if z > level:
        return None
    texts.append(f"Below {level:.4g} no memory exists.")
    return made("weak start", last, float(last.ts[0]), texts, saliency=z, level=level)


def _faded(last: Last, network: TwoTimescaleHopfield) -> Diagnosis | None:
    """The last memory has let go, and no other has taken over."""
    if last.memory < 0 or last.z is None:
        return None
    level, z = _level(network), last.saliency_at(last.end)
    calls = np.asarray(network.transition)[last.others, last.memory]
    best = int(last.others[z[last.others].argmax()])
    numbers = dict(saliency_of_successor=z[best], level=level)
    texts = [
        f"memory {last.memory} was retrieved at t = {last.since:.5g} as number {last.visits}, let "
        f"go at t = {last.end:.5g}, and no other took over."
    ]
    if not (calls > 0).any():
        texts.append(f"It calls no other: its column of `transition` is at most {calls.max():.3g}.")
        return made("no successor", last, last.end, texts, **numbers)
    texts.append(
        f"At that moment the largest other saliency was {z[best]:.4g}, of memory {best}; a memory "
        f"exists above {level:.4g}."
    )
    if (found := _beside_theory(last, network, texts, numbers)) is not None:
        return found
    above = z[best] / level
    seed = float(seeds_of(network)[best, last.memory])
    tau = float(np.broadcast_to(np.asarray(network.tau), z.shape)[best])
    # The overlap of a memory at rest grows at the rate z/level - 1, while z decays by itself.
    growth = tau * (above - 1 - math.log(above)) if above > 1 else 0.0
    numbers |= dict(seed=seed, growth=growth)
    if growth < 1:
        texts.append("Raise what calls it: `kappa`, or its entry of `transition`.")
        return made("weak successor", last, last.end, texts, **numbers)
    texts.append(
        f"Until that had decayed, its overlap could grow by a factor of about "
        f"{math.exp(growth):.3g}, which is not enough for its seed of {seed:.3g}. Use a larger "
        "`bias`."
    )
    return made("weak seed", last, last.end, texts, **numbers)


def _beside_theory(
    last: Last, network: TwoTimescaleHopfield, texts: list[str], numbers: dict[str, Any]
) -> Diagnosis | None:
    """What the critical gain and the edge of the basin say of a memory that has faded; what they
    are is added to `texts` and `numbers`."""
    assert last.z is not None
    found = threshold_of(network, last.memory)
    if isinstance(found, str):
        texts.append(found)
        return None
    text, gap = _compared(found)
    texts.append(text)
    numbers |= dict(kappa=found.kappa, critical_gain=found.critical, above_critical=gap)
    if gap < 0:
        return made("below threshold", last, last.end, texts, **numbers)
    start = float(last.z[0].max())
    edge = edge_of(network, found, last.z[0])
    if edge is None or start >= edge:
        return None
    numbers |= dict(start_saliency=start, basin_edge=edge)
    texts.append(
        f"The start saliency was {start:.4g}, below {edge:.4g}, the least from which a sequence "
        "goes on at this gain."
    )
    return made("weak start", last, last.end, texts, **numbers)


def _compared(found: Threshold) -> tuple[str, float]:
    """The gain beside the critical one, and how far it is above."""
    gap = found.kappa - found.critical
    side = "below" if gap < 0 else "above"
    of = "an endless chain" if found.P == math.inf else f"a cycle of {found.P:.0f} memories"
    sure = ""
    if math.isfinite(found.error):
        sure = f", which may be too large by up to {found.error:.2g}"
    text = (
        f"The gain kappa = {found.kappa:.4g} is {abs(gap):.3g} {side} the critical gain "
        f"{found.critical:.4g} of {of} ({found.limit}{sure})."
    )
    return text, gap


_Rule = Callable[[Last, Any], Diagnosis | None]
#: Asked in this order; the first that knows an answer gives it.
OF_ANY: tuple[_Rule, ...] = (_goes_on, _no_seed, _blend)
OF_TWO_TIMESCALES: tuple[_Rule, ...] = (
    *(_goes_on, _no_seed, _blend, _sign_flip, _held, _never, _undecided, _faded),
)
