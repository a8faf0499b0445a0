"""One task for every family of memories: images from damaged cues, and a sequence from its start.

`python -m hopfax.examples.comparison [--seeds 10] [--out comparison.png]` stores the first image of
every digit of scikit-learn (`pip install "hopfax[data,plot]"`) in seven networks, prints one table
and draws one figure. An image is 64 pixels, of which the 24 darkest are ink, so that all have the
same activity. What a network is given is always the same picture in black and white, as +-1 or as
0 and 1:

- **erased**: a share of the ink pixels, drawn at random, turned to paper;
- **flipped**: a share of all pixels, drawn at random, turned from ink to paper or back.

A cue is recalled if all 64 pixels of the final state are right. Then each network is started in the
image of 0 and should show the ten digits one after the other. Only the two-timescale networks know
an order; what the others do from the same start is measured all the same.

The images resemble each other, with overlaps of up to 0.88 as +-1. Pseudo-inverse couplings for +-1
and the projection design for rates undo that; the dense memory does by its order (at n = 3 it
recalls none). Rates have the default currents; at this activity that is a net background
excitation, which helps with lost ink. Input-driven networks take the cue as stimulus and as start,
so less ink is a weaker stimulus. Dense memories are iterated. The two-timescale networks hold what
they retrieve in the first task, by a transition that is the identity; in the second they cycle.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._activations import Tanh
from .._errors import missing
from .._interactions import Power
from .._iterate import iterate
from .._simulate import simulate
from ..networks import (
    DenseMemory,
    Hopfield,
    InputDrivenHopfield,
    InputDrivenRateMemory,
    RateMemory,
    TwoTimescaleHopfield,
    TwoTimescaleRateMemory,
    cyclic,
)
from ..observables import visited
from ..patterns import Patterns, active

INK, PIXELS = 24, 64
#: Damage, as a share of the ink or of all pixels.
ERASED = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8)
FLIPPED = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
#: Time constants of a retrieval, steps of an iteration, and slow time constants of a replay.
HORIZON, STEPS, REPLAY = 60.0, 20, 24.0
TAU = 50.0
#: A weak current in the direction of the cue, for the input-driven rate memory.
WEAK = 0.15


class Task(NamedTuple):
    """Stored images, 1 for ink, and damaged ones of two kinds: (levels, seeds, images, pixels)."""

    images: Float[Array, "P 64"]
    erased: Float[Array, "L S P 64"]
    flipped: Float[Array, "M S P 64"]


def load() -> Float[Array, "10 64"]:
    """The first image of every digit, 1 where there is ink."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing("scikit-learn", "data", "The comparison") from error
    found: Any = load_digits()
    first = [found.images[np.argmax(found.target == digit)] for digit in range(10)]
    return active(np.stack(first), INK / PIXELS).xi


def erase(rng: np.random.Generator, image: np.ndarray, share: float) -> np.ndarray:
    """The image without this share of its ink."""
    damaged, ink = image.copy(), np.flatnonzero(image)
    damaged[rng.choice(ink, round(share * ink.size), replace=False)] = 0
    return damaged


def flip(rng: np.random.Generator, image: np.ndarray, share: float) -> np.ndarray:
    """The image with this share of its pixels turned around."""
    damaged = image.copy()
    there = rng.choice(image.size, round(share * image.size), replace=False)
    damaged[there] = 1 - damaged[there]
    return damaged


def task(seeds: int = 10, erased=ERASED, flipped=FLIPPED) -> Task:
    """Every image, damaged to every level once a seed."""
    images = load()
    rows = np.asarray(images)

    def damaged(how, shares):
        cues = [
            [
                [how(np.random.default_rng((seed, mu)), row, share) for mu, row in enumerate(rows)]
                for seed in range(seeds)
            ]
            for share in shares
        ]
        return jnp.asarray(np.array(cues))

    return Task(images, damaged(erase, erased), damaged(flip, flipped))


def networks(images: Float[Array, "P 64"], order: bool = False) -> dict[str, Any]:
    """All networks with these memories. With `order` the two-timescale ones go through them."""
    rates, signs = Patterns(images, binary=False), Patterns(2 * images - 1)
    P = len(images)
    transition = cyclic(P) if order else jnp.eye(P)
    inverse: Any = dict(learning="pseudo_inverse")
    slow: Any = dict(tau=TAU, bias=0.01 if order else 0.0)
    lit: Any = dict(tau=TAU, bias=0.2 if order else 0.0)
    return {
        "Hopfield": Hopfield(signs, activation=Tanh(4.0), **inverse),
        "input-driven Hopfield": InputDrivenHopfield(signs, activation=Tanh(4.0), **inverse),
        "two-timescale Hopfield": TwoTimescaleHopfield(
            signs, transition, kappa=5.0, activation=Tanh(2.0), **slow, **inverse
        ),
        "dense, n = 20": DenseMemory(signs, Power(20)),
        "rate": RateMemory(rates),
        "input-driven rate": InputDrivenRateMemory(rates),
        "two-timescale rate": TwoTimescaleRateMemory(
            rates, transition, kappa=4.0 if order else 1.5, **lit
        ),
    }


def _state(network: Any, cue: Float[Array, " N"]) -> Any:
    """The state that shows a cue; slow saliencies begin equal."""
    P, dtype = network.patterns.P, cue.dtype
    slow = dict(saliency=jnp.full(P, jnp.max(network.kappa))) if hasattr(network, "kappa") else {}
    if isinstance(network, DenseMemory):
        return network.init(2 * cue - 1)
    if hasattr(network, "rescaled"):
        phi = network.activation
        silent, full = phi(network.a), phi(network.b)
        return network.init(rates=silent + (full - silent) * cue.astype(dtype), **slow)
    return network.init(field=2 * cue - 1, **slow)


def _image(network: Any, state: Any) -> Bool[Array, " N"]:
    """Where a state has ink."""
    if isinstance(network, DenseMemory):
        return state.spins > 0
    return state.neurons > (0.5 if hasattr(network, "rescaled") else 0.0)


def _inputs(network: Any, cue: Float[Array, " N"]) -> dict[str, Any]:
    if network.stimulated != "required":
        return {}
    if hasattr(network, "rescaled"):
        return {"stimulus": cue, "current": WEAK * cue}
    return {"stimulus": 2 * cue - 1}


@eqx.filter_jit
def recall(network: Any, cues: Float[Array, "n 64"]) -> Bool[Array, "n 64"]:
    """What a network makes of each cue."""

    def one(cue):
        start = _state(network, cue)
        if isinstance(network, DenseMemory):
            return _image(network, iterate(network, start, STEPS, throw=False).final)
        ts = np.array([0.0, HORIZON])
        run = simulate(network, start, ts, throw=False, **_inputs(network, cue))
        return _image(network, run.final)

    return jax.vmap(one)(cues)


def recalled(network: Any, images: Array, cues: Array) -> Float[np.ndarray, "levels seeds"]:
    """Share of images that a network recalls, for every level and seed."""
    found = recall(network, cues.reshape(-1, images.shape[1]))
    right = (found == (images > 0.5)[jnp.arange(len(found)) % len(images)]).all(1)
    return np.asarray(right.reshape(cues.shape[:3]).mean(2, dtype=cues.dtype))


class Replay(NamedTuple):
    """A run from the image of 0: `order` of the memories it showed, overlaps `m` over `ts`."""

    order: list[int]
    ts: np.ndarray
    m: np.ndarray


def replay(network: Any) -> Replay:
    """Start in memory 0, with nothing else than the network's own inputs."""
    patterns = network.patterns
    images = (patterns.xi > 0).astype(patterns.dtype)
    if isinstance(network, DenseMemory):
        run = iterate(network, _state(network, images[0]), STEPS)
        dual = jnp.linalg.inv(patterns.gram())  # 1 at a memory and 0 at the others, as elsewhere
        m, ts = np.asarray(run.overlaps @ dual), np.linspace(0.0, REPLAY, STEPS + 1)
        return Replay(list(dict.fromkeys(np.abs(m).argmax(1).tolist())), ts, m)
    ts = np.linspace(0.0, REPLAY * TAU, 1201)
    start = _state(network, images[0])
    if hasattr(network, "kappa"):
        first = jnp.zeros(patterns.P).at[0].set(jnp.max(network.kappa) / 2)
        start = network.init(saliency=first, weights=jnp.zeros(patterns.P).at[0].set(1.0))
    run = simulate(network, start, ts, **_inputs(network, images[0]))
    return Replay(np.asarray(visited(run)).tolist(), ts / TAU, np.asarray(run.overlaps))


def right_order(order: Sequence[int], P: int) -> int:
    """How many memories were shown in the right order from the first, each once, P at most."""
    steps = [mu == k for k, mu in enumerate(order[:P])]
    return steps.index(False) if False in steps else len(steps)


class Found(NamedTuple):
    """Of one network: shares recalled (levels, seeds) from both kinds of cues, and its replay."""

    erased: Float[np.ndarray, "L S"]
    flipped: Float[np.ndarray, "M S"]
    replay: Replay | None


def nearest(images: Array, cues: Array) -> Float[np.ndarray, "levels seeds"]:
    """Share of cues from which the right image differs in the fewest pixels: what is possible."""
    apart = jnp.abs(cues[..., None, :] - images).sum(-1)
    return np.asarray((apart.argmin(-1) == jnp.arange(len(images))).mean(2, dtype=cues.dtype))


def run(seeds: int = 10, only: Sequence[str] | None = None) -> tuple[Task, dict[str, Found]]:
    """The task, and what every network (or `only` those named) does in it, by name."""
    given = task(seeds)
    found = {
        "nearest image": Found(
            nearest(given.images, given.erased), nearest(given.images, given.flipped), None
        )
    }
    still, moving = (networks(given.images, order) for order in (False, True))
    for name, network in still.items():
        if only is None or name in only:
            erased, flipped = (recalled(network, given.images, cues) for cues in given[1:])
            found[name] = Found(erased, flipped, replay(moving[name]))
    return given, found


def table(found: dict[str, Found]) -> str:
    """Percent recalled and the standard error over seeds, and how many digits a replay shows."""

    def cells(shares):
        errors = shares.std(1, ddof=1) / shares.shape[1] ** 0.5 if shares.shape[1] > 1 else None
        spread = np.zeros(len(shares)) if errors is None else errors
        return [
            f"{100 * m:4.0f} ±{100 * e:2.0f}" for m, e in zip(shares.mean(1), spread, strict=True)
        ]

    heads = [f"{share:.0%}".rjust(8) for share in ERASED + FLIPPED]
    wide = max(map(len, found))
    lines = [
        f"{'':<{wide}}  {'% recalled, ink erased':<{9 * len(ERASED)}}"
        f"{'% recalled, pixels flipped':<{9 * len(FLIPPED)}} digits in order",
        f"{'':<{wide}} " + " ".join(heads),
    ]
    for name, row in found.items():
        shown = "-" if row.replay is None else str(right_order(row.replay.order, 10))
        numbers = " ".join(cell.rjust(8) for cell in cells(row.erased) + cells(row.flipped))
        lines.append(f"{name:<{wide}} {numbers} {shown:>8}")
    return "\n".join(lines)


_STYLES = {
    "nearest image": dict(color="0.6", ls=":", marker=""),
    "Hopfield": dict(color="#0072B2", marker="o"),
    "input-driven Hopfield": dict(color="#56B4E9", marker="s"),
    "two-timescale Hopfield": dict(color="#0072B2", ls="--", marker="^"),
    "dense, n = 20": dict(color="#000000", marker="D"),
    "rate": dict(color="#D55E00", marker="o"),
    "input-driven rate": dict(color="#E69F00", marker="s"),
    "two-timescale rate": dict(color="#D55E00", ls="--", marker="^"),
}


def draw(given: Task, found: dict[str, Found]) -> Any:
    """Cues, shares recalled over the damage, and what follows the image of 0."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("matplotlib", "plot", "The comparison's figure") from error
    figure = Figure(figsize=(10.4, 9.6), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.15, 2.6, 3.1))
    top, middle, bottom = parts
    shown = [("stored", given.images[2])]
    shown += [(f"{s:.0%} erased", given.erased[k, 0, 2]) for k, s in enumerate(ERASED) if k % 2]
    shown += [(f"{s:.0%} flipped", given.flipped[k, 0, 2]) for k, s in enumerate(FLIPPED) if k % 2]
    for ax, (text, image) in zip(top.subplots(1, len(shown)), shown, strict=True):
        ax.imshow(np.asarray(image).reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_title(text, fontsize="small")
    axes = middle.subplots(1, 2, sharey=True)
    kinds = (
        ("erased", ERASED, "ink pixels erased (%)"),
        ("flipped", FLIPPED, "pixels flipped (%)"),
    )
    for ax, (kind, levels, text) in zip(axes, kinds, strict=True):
        for name, row in found.items():
            shares = getattr(row, kind)
            error = shares.std(1) / max(shares.shape[1] - 1, 1) ** 0.5
            style: Any = _STYLES[name]
            x = 100 * np.array(levels)
            style = dict(ms=4.5, mfc="white", lw=1.4, capsize=2, label=name) | style
            ax.errorbar(x, 100 * shares.mean(1), 100 * error, **style)
        ax.set(xlabel=text, ylim=(-3, 103))
        ax.grid(color="0.93")
    axes[0].set_ylabel("images recalled, all 64 pixels (%)")
    handles, names = axes[0].get_legend_handles_labels()
    middle.legend(
        handles, names, loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    rows = [(name, row.replay) for name, row in found.items() if row.replay is not None]
    strips = bottom.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, run) in zip(strips, rows, strict=True):
        ax.pcolormesh(
            run.ts, np.arange(len(run.m[0])), np.abs(run.m.T), cmap="Blues", vmin=0, vmax=1
        )
        ax.set(yticks=[0, 9], xlim=(0, REPLAY))
        count = right_order(run.order, run.m.shape[1])
        ax.set_title(f"{name}: {count} of 10 in order", fontsize="small", loc="left", pad=2)
    bottom.supylabel("digit, shade: overlap", fontsize="medium")
    bottom.supxlabel(
        rf"time (slow time constants, $\tau = {TAU:g}$; dense: {STEPS} steps)", fontsize="medium"
    )
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table and draws the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("comparison.png"))
    given = parser.parse_args(argv)
    if given.seeds < 1:
        parser.error(f"argument --seeds: must be at least 1, got {given.seeds}")
    posed, found = run(given.seeds)
    print(table(found))
    draw(posed, found).savefig(given.out, dpi=130)
    print(f"drawn to {given.out}")


if __name__ == "__main__":
    main()
