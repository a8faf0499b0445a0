"""What a state of rest is called."""

from collections.abc import Callable

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
_LESS = 0.1  # the part of the distance (1 - cosine) to one memory that is near enough


def name_by_memories(
    x: np.ndarray, overlaps: np.ndarray, xi: Callable[[int], np.ndarray], signs: bool
) -> tuple[str, float]:
    """What a state is called by the memories nearest to it, and its overlap with that: a memory, or
    the majority of an odd number of memories, for signs; the sum of any number of memories, to
    which it has a cosine, for graded neurons. `xi(k)` is memory k."""
    near = np.argsort(-np.abs(overlaps), kind="stable")[: 2 * _MOST_MIXED].tolist()
    rows = {k: np.copysign(1.0, overlaps[k]) * xi(k) for k in near}

    def alike(members: list[int]) -> float:
        total = np.sum([rows[k] for k in members], axis=0)
        total = np.sign(total) if signs else total
        size = np.linalg.norm(total) * np.linalg.norm(x)
        return float(total @ x / size) if size else 0.0

    if signs:
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
    signed = [f"{'-' if overlaps[k] < 0 else ''}{k}" for k in sorted(best)]
    if len(best) == 1:
        return signed[0].replace(str(best[0]), f"memory {best[0]}"), alike(best)
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
