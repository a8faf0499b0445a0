"""What `hopfax report` shows of a model that `hopfax fit` wrote: its replay beside the target."""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ..._serialise import notes
from ...observables import switch_times, visited
from ...plots._html._page import Table
from ...plots._html._report import OneRun, of_trajectory

_LISTED = 60  # events in the table


def replayed(file: pathlib.Path) -> OneRun:
    """The run of a fitted model from its own start.

    **Raises:** ValueError for a model that was not written by `hopfax fit`; LoadError.
    """
    network, told = hx.load(file), notes(file)
    if not isinstance(network, hx.TwoTimescaleHopfield | hx.TwoTimescaleRateMemory):
        raise ValueError(
            f"`folder`: {file} holds {type(network).__name__}, which hopfax fit does not make."
        )
    if not {"saliency0", "horizon"} <= set(told):
        raise ValueError(
            f"`folder`: {file} does not say how its run starts; hopfax run --model {file} runs it, "
            "and hopfax report takes the folder of that run."
        )
    tau = float(np.max(np.asarray(network.tau)))
    start = network.init(saliency=jnp.asarray(told["saliency0"]))
    ts = jnp.linspace(0.0, float(told["horizon"]) * tau, 1601)
    run = hx.simulate(network, start, ts, throw=False, max_steps=1 << 20)
    page = of_trajectory(run, network, f"Replay of {file.name}")
    kappa = np.broadcast_to(np.asarray(network.kappa), (network.patterns.P,))
    matrix = r"gain $\kappa A$", kappa[:, None] * np.asarray(network.transition)
    tables = [*_beside(run, told), *page.tables, _parameters(network, told)]
    lines = [*page.lines, *_outcome(told)]
    report = str(told.get("report", ""))
    if report:
        rows = [(line.rstrip(),) for line in report.splitlines() if line.strip()]
        tables.append(Table("Report of the fit", (), rows))
    return page._replace(lines=lines, tables=tables, matrix=matrix)


def _outcome(told: dict[str, Any]) -> list[str]:
    source = f"Fitted to {told['fitted to']}" if "fitted to" in told else "Fitted"
    if "reproduced" not in told:
        return [f"{source}."]
    return [f"{source}; the target is {'' if told['reproduced'] else 'not '}reproduced."]


def _beside(run: Any, told: dict[str, Any]) -> list[Table]:
    """When each memory of the first target was entered, and when the network enters it."""
    targets = told.get("targets") or []
    if not targets:
        return []
    items = told.get("items")
    shown = np.asarray(visited(run, None if items is None else jnp.asarray(items))).tolist()
    times = [0.0, *np.asarray(switch_times(run)).tolist()]
    rows, wanted = [], targets[0]
    for k, memory in enumerate(wanted["memory"][:_LISTED]):
        at = None if wanted["time"] is None else wanted["time"][k] - wanted["time"][0]
        own = times[k] if k < len(times) else None
        which = str(shown[k]) if k < len(shown) else "-"
        gap = "-" if at is None or own is None else f"{own - at:.4g}"
        rows.append((str(k), str(memory), which, _number(at), _number(own), gap))
    head = ("place", "target", "network", "target enters at", "network enters at", "difference")
    of = " of the first sequence" if len(targets) > 1 else ""
    return [Table(f"Target and replay{of} (fast time constants)", head, rows, (3, 4, 5))]


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.5g}"


def _parameters(network: Any, told: dict[str, Any]) -> Table:
    rows = [
        (name, " ".join(f"{value:.6g}" for value in np.ravel(np.asarray(getattr(network, name)))))
        for name in ("kappa", "tau", "bias")
    ]
    rows.append(("start saliency", " ".join(f"{z:.6g}" for z in told["saliency0"])))
    rows.append(
        ("fast time constants in a unit of the file", f"{told.get('unit', float('nan')):.6g}")
    )
    return Table("Parameters", ("parameter", "value"), rows)
