"""What a state of rest is called."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

_RETRIEVED = 0.5  # the overlap of a memory that is retrieved
_MIXED = 0.25  # the least overlap of a part of a mixture
_SILENT = 1e-3  # below it no memory is there


def name_by_overlaps(overlaps: np.ndarray) -> str:
    """What overlaps with the memories tell: "memory 0", "-memory 0", "mixture 0 -1 2", "silent" or
    "spurious"."""
    sizes = np.abs(overlaps)
    if sizes.max() < _SILENT:
        return "silent"
    parts = np.flatnonzero(sizes > _MIXED)
    if not parts.size:
        return "spurious"
    top = int(np.argmax(sizes))
    if parts.size == 1 or (sizes[top] > _RETRIEVED and np.sort(sizes)[-2] < sizes[top] / 2):
        return f"{'-' if overlaps[top] < 0 else ''}memory {top}"
    signed = [f"{'-' if overlaps[k] < 0 else ''}{k}" for k in parts]
    return f"mixture {' '.join(signed)}"


_MOST_MIXED = 8  # memories of a mixture
_IS = 0.75  # the least overlap of a state with what it is called
_LESS = 0.1  # the part of what one memory leaves of a state that is little enough

#: What states are compared with: majorities of memories, or sums, of which the direction counts,
#: or means.
Kind: TypeAlias = Literal["signs", "directions", "means"]


class Memories(NamedTuple):
    """The memories that states are called by. `row(k)`: memory k; `squares`: (P,) their squared
    lengths; `spread`: the mean squared distance of memories from their mean; `kind` as above."""

    row: Callable[[int], np.ndarray]
    squares: np.ndarray
    spread: float
    kind: Kind


def name_by_memories(x: np.ndarray, overlaps: np.ndarray, known: Memories) -> tuple[str, float]:
    r"""What a state is called by the memories nearest to it, and its overlap with that: one memory,
    or several.

    Signs are compared with the majority of an odd number of memories by the overlap; graded states
    by the cosine with a sum of memories, each with its sign; or, where states are means, by
    $1 - |x - \bar\xi|^2 / 2 V$, with V the `spread`, which is the overlap of memories of unit
    variance. `overlaps`: the state's, divided by N.
    """
    products = overlaps * x.size
    if known.kind == "means":
        order = np.argsort(known.squares - 2 * products, kind="stable")
    else:
        sizes = np.sqrt(np.where(known.squares > 0, known.squares, np.inf))
        order = np.argsort(-np.abs(products / sizes), kind="stable")
    near = order[: 2 * _MOST_MIXED].tolist()
    turned = {k: -1.0 if known.kind != "means" and overlaps[k] < 0 else 1.0 for k in near}
    rows = {k: turned[k] * known.row(k) for k in near}

    def alike(members: list[int]) -> float:
        total = np.sum([rows[k] for k in members], axis=0)
        if known.kind == "means":
            away = ((x - total / len(members)) ** 2).sum()
            return float(1 - away / (2 * known.spread))
        total = np.sign(total) if known.kind == "signs" else total
        size = np.linalg.norm(total) * np.linalg.norm(x)
        return float(total @ x / size) if size else 0.0

    if known.kind == "signs":
        tried = [near[:size] for size in range(1, min(len(near), _MOST_MIXED) + 1, 2)]
        best = max(tried, key=alike)
    else:
        tried = [[max(near, key=lambda k: alike([k]))]]
        while len(last := tried[-1]) < min(len(near), _MOST_MIXED):
            tried.append(max(([*last, k] for k in near if k not in last), key=alike))
        away = np.array([1 - alike(members) for members in tried])
        enough = max(2 * away.min(), _LESS * away[0])
        best = tried[int(np.argmax(away <= enough))]
    if alike(best) < _IS:
        return "spurious", alike(best)
    if len(best) == 1:
        return f"{'-' if turned[best[0]] < 0 else ''}memory {best[0]}", alike(best)
    signed = [f"{'-' if turned[k] < 0 else ''}{k}" for k in sorted(best)]
    return f"mixture {' '.join(signed)}", alike(best)


_ALIKE = 1e-3  # levels of neurons that differ by less are equal
_FEW, _MOST = 0.25, 0.75  # uniform levels of networks that are silent or saturated
_SHAPED = 0.99  # correlation of levels with a memory whose shape they have


def name_by_rates(levels: np.ndarray, xi: np.ndarray, counts: np.ndarray) -> str:
    """What the rates tell, as levels: 0 at a silent neuron and 1 at an active one of a memory.

    "silent", "saturated" or "uniform" where all neurons have one level, below 1/4, above 3/4 or
    between; "memory 0" where those above 1/2 are those of that memory; "mixture 0 1" where they
    are those of two or more memories, of any of them, of all or of most; "weak memory 0" for its
    shape at lower rates, as of the saddle at the edge of its basin; "spurious" for all else.
    """
    there = counts > 0
    levels, xi, counts = levels[there], xi[:, there] > 0.5, counts[there]
    if np.ptp(levels) < _ALIKE:
        level = levels.mean()
        return "silent" if level < _FEW else "saturated" if level > _MOST else "uniform"
    active = levels > 0.5
    same = np.flatnonzero((xi == active).all(1))
    if same.size:
        return f"memory {same[0]}"
    shares = np.array([_correlation(levels, row, counts) for row in xi])
    parts = np.flatnonzero(shares > _MIXED)
    order = parts[np.argsort(-shares[parts], kind="stable")]
    for size in range(2, len(order) + 1):
        if size < len(order) and shares[order[size - 1]] - shares[order[size]] < _ALIKE:
            continue  # memories that have equal parts go together
        chosen = np.sort(order[:size])
        number = xi[chosen].sum(0)
        if any((active == (number >= least)).all() for least in range(1, size + 1)):
            return f"mixture {' '.join(map(str, chosen))}"
    if shares.max() > _SHAPED:
        return f"weak memory {int(np.argmax(shares))}"
    return "spurious"


def _correlation(levels: np.ndarray, row: np.ndarray, counts: np.ndarray) -> float:
    """Of levels with a memory, over neurons."""
    share = counts / counts.sum()
    x, y = levels - share @ levels, row - share @ row
    return float(share @ (x * y) / np.sqrt((share @ x**2) * (share @ y**2)))
