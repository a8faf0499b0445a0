"""What `hopfax run` prints: the table of switches, and what became of images."""

import math
from typing import Any

import numpy as np

import hopfax as hx

from .._console import number, table
from ._run_result import FRAMES, Result


def report(run: Result, name: str) -> str:
    """The table of switches."""
    rows = []
    for k in range(max(len(run.switches), len(run.predicted))):
        measured, predicted, escape = (
            float(times[k]) if k < len(times) else math.nan
            for times in (run.switches, run.predicted, run.escapes)
        )
        here = f"{run.visited[k]} -> {run.visited[k + 1]}" if k < len(run.switches) else "none"
        numbers = (measured, predicted, measured - predicted, escape)
        rows.append((f"{k + 1}: {here}", *(number(x, 3) for x in numbers)))
    head = ("switch", "measured", "predicted", "difference", "escape")
    note = "Times in fast time constants"
    if not len(run.predicted) and not len(run.escapes):
        head, rows = head[:2], [row[:2] for row in rows]
        note += "; no prediction is derived for these settings."
    elif not len(run.predicted):
        head = (head[0], head[1], head[4])
        rows = [(row[0], row[1], row[4]) for row in rows]
        note += (
            "; no prediction of switches is derived for these settings.\nEscape: without a seed, "
            "tau -> infinity."
        )
    else:
        note += (
            ". Predicted for orthogonal memories: the first switch from its\nformula, later ones "
            "at the steady dwell. Escape: without a seed, tau -> infinity."
        )
    P, N = run.network.patterns.P, run.network.patterns.N
    lines = [
        f"{name}: {P} memories, {N} neurons, reduction to {run.trajectory.reduction}; "
        f"outcome: {run.regime}",
        note,
        table(head, rows) if rows else "no switch took place",
    ]
    lines += _ended(run)
    if int(run.trajectory.switches.count) > run.trajectory.switches.time.shape[0]:
        lines.append("More switches took place than are kept; shorten the horizon.")
    return "\n".join(lines) + "\n"


def _ended(run: Result) -> list[str]:
    """Why the sequence did not go on, and which memory was shown with the opposite sign."""
    why = hx.observables.diagnose(run.trajectory, run.network)
    if why.cause == "sign flip":
        return [str(why)]
    shown = run.visited[: len(run.frames)]
    opposite = matches(run)[shown, np.arange(len(shown))] < -0.5
    lines = [] if why.cause == "goes on" else [str(why)]
    if opposite.any():
        first = shown[int(np.argmax(opposite))]
        lines.append(
            f"Memory {first} was retrieved with the opposite sign, because its seed was negative."
        )
    return lines


def explain(runs: dict[str, Result]) -> list[str]:
    """What became of the images, and why, in sentences that hold for these runs."""
    network = next(iter(runs.values())).network
    gram = np.asarray(network.patterns.gram())
    apart = gram[~np.eye(len(gram), dtype=bool)]
    lines = []
    if apart.size:
        lines.append(
            f"The images overlap each other by {apart.min():.2f} to {apart.max():.2f} (mean "
            f"{apart.mean():.2f}); the theory is for 0."
        )
    return lines + [f"{name}: {_fate(run)}" for name, run in runs.items()]


def matches(run: Result) -> np.ndarray:
    """Overlap of every frame's signs with every memory, (P, F)."""
    xi = np.asarray(run.network.patterns.xi)
    return xi @ np.sign(run.frames).T / xi.shape[1]


def _fate(run: Result) -> str:
    count = len(run.switches) + 1
    seen = min(count, FRAMES)
    path = " -> ".join(map(str, run.visited[:seen])) + (" ..." if count > seen else "")
    if run.regime == "sequence":
        own = float(matches(run)[run.visited[:seen], np.arange(seen)].min())
        shown = "exactly" if own == 1.0 else f"with an overlap of at least {own:.3f}"
        text = f"goes round, {path}, and shows {shown} the active memory's image in mid-dwell."
        if run.network.learning == "pseudo_inverse":
            text += (
                " Its overlaps are C^-1 m, which is 1 for the image shown and 0 for all others, "
                "however alike they are; so only the successor is charged."
            )
        return text
    if _unrest(run) > 0.05 or run.regime not in ("mixed", "locked"):
        return f"passes {path}; outcome within the horizon: {run.regime}."
    xi, final = np.asarray(run.network.patterns.xi), run.trajectory.final
    image = np.sign(np.asarray(run.network.activation(final.field)))
    at_end, vote, z = xi @ image / xi.shape[1], np.sign(xi.sum(axis=0)), np.asarray(final.saliency)
    agree = np.mean(image[vote != 0] == vote[vote != 0])
    text = (
        f"passes {path} and comes to rest in one image that overlaps the {len(xi)} memories by "
        f"{at_end.min():.2f} to {at_end.max():.2f}. It is the pixelwise majority vote of all of "
        f"them in {100 * agree:.0f} % of the pixels."
    )
    edge = run.network.escape_level()
    if edge is not None and z.min() > float(edge):
        text += (
            " What the images have in common is enough to charge every memory all the time: the "
            f"saliencies stay at {z.min():.2f} to {z.max():.2f} and none falls to "
            f"{float(edge):g}, where an orthogonal memory would let go."
        )
    return text


def _unrest(run: Result) -> float:
    """Largest change of field or saliency per slow time constant at the end."""
    change: Any = run.network.vector_field(0.0, run.trajectory.final)
    tau = float(np.max(np.asarray(run.network.tau)))
    return tau * max(float(np.abs(x).max()) for x in (change.field, change.saliency))
