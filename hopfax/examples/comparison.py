"""One task for every family of memories: images from damaged cues, and a sequence from its start.

`python -m hopfax.examples.comparison [--seeds 10] [--out comparison.png]` stores the first image of
every digit of scikit-learn (`pip install "hopfax[data,plot]"`) in nine networks, prints one table
and draws one figure. An image is 64 pixels, of which the 24 darkest are ink, so that all have the
same activity. What a network is given is always the same picture in black and white, as +-1 or as
0 and 1:

- **erased**: a share of the ink pixels, drawn at random, turned to paper;
- **flipped**: a share of all pixels, drawn at random, turned from ink to paper or back.

A cue is recalled if all 64 pixels of the final state are right. Then each network is started in the
image of 0 and should show the ten digits one after the other. The two-timescale networks, the one
with slow synapses and the dense memories have an order of their memories then; the others are
started in the same way, for comparison.

The images resemble each other, with overlaps of up to 0.88 as +-1. Pseudo-inverse couplings (+-1)
and the projection design (rates) make up for that; the dense memory does by its high order (at
n = 3 it recalls none). Rates have the default currents; at this activity they add up to a
background excitation, which helps with lost ink. Input-driven networks take the cue as stimulus and
as start, so less ink is a weaker stimulus. Dense memories are iterated: one steps through the
digits, the other holds each for two steps (`DenseSequence`). The two-timescale networks hold what
they retrieve in the first task, as each memory calls itself; in the second each calls the next.
"""

import argparse
import pathlib
from collections.abc import Callable, Sequence
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
from .._types import Network, State
from ..networks import (
    DenseMemory,
    DenseSequence,
    Hopfield,
    InputDrivenHopfield,
    InputDrivenRateMemory,
    RateMemory,
    SlowSynapseHopfield,
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


class Replay(NamedTuple):
    """A run from the image of 0: `order` of the memories it showed, overlaps `m` over `ts`."""

    order: list[int]
    ts: np.ndarray
    m: np.ndarray


class Family(NamedTuple):
    """How the networks of one family are given a picture, run, and read.

    - `start(network, cue)`: the state that shows a cue, an image of 0 and 1.
    - `readout(state)`: where a state has ink.
    - `settle(network, state, inputs)`: the state in the end of a retrieval.
    - `follow(network, state, inputs)`: a longer run, as a `Replay`.
    - `inputs(cue)`: what `simulate` is given beside the start.
    - `slow`: whether `start` takes slow saliencies, too, as `saliency`.
    """

    start: Callable[..., State]
    readout: Callable[[State], Bool[Array, " N"]]
    settle: Callable[[Network, State, dict[str, Any]], State]
    follow: Callable[[Network, State, dict[str, Any]], Replay]
    inputs: Callable[[Float[Array, " N"]], dict[str, Any]] = lambda cue: {}
    slow: bool = False


def _field(network: Network, cue: Float[Array, " N"], **slow: Any) -> State:
    return network.init(field=2 * cue - 1, **slow)


def _rates(network: Network, cue: Float[Array, " N"], **slow: Any) -> State:
    silent, full = network.activation(network.a), network.activation(network.b)
    return network.init(rates=silent + (full - silent) * cue, **slow)


def _spins(network: Network, cue: Float[Array, " N"]) -> State:
    return network.init(2 * cue - 1)


def _settled(network: Network, state: State, inputs: dict[str, Any]) -> State:
    return simulate(network, state, np.array([0.0, HORIZON]), throw=False, **inputs).final


def _followed(network: Network, state: State, inputs: dict[str, Any]) -> Replay:
    ts = np.linspace(0.0, REPLAY * TAU, 1201)
    run = simulate(network, state, ts, **inputs)
    return Replay(np.asarray(visited(run)).tolist(), ts / TAU, np.asarray(run.overlaps))


def _iterated(network: Network, state: State, inputs: dict[str, Any]) -> State:
    return iterate(network, state, STEPS, throw=False).final


def _steps_followed(network: Network, state: State, inputs: dict[str, Any]) -> Replay:
    run = iterate(network, state, STEPS)
    dual = jnp.linalg.inv(network.patterns.gram())  # overlaps of 1 at a memory and 0 at the others
    m, ts = np.asarray(run.overlaps @ dual), np.linspace(0.0, REPLAY, STEPS + 1)
    return Replay(list(dict.fromkeys(np.abs(m).argmax(1).tolist())), ts, m)


def _as_signs(cue: Float[Array, " N"]) -> dict[str, Any]:
    return {"stimulus": 2 * cue - 1}


def _as_light(cue: Float[Array, " N"]) -> dict[str, Any]:
    return {"stimulus": cue, "current": WEAK * cue}


_SIGNS = Family(_field, lambda state: state.neurons > 0.0, _settled, _followed)
_RATES = Family(_rates, lambda state: state.neurons > 0.5, _settled, _followed)
_DENSE = Family(_spins, lambda state: state.spins > 0, _iterated, _steps_followed)


class Entrant(NamedTuple):
    """A network that takes part, and how its family is given a picture, run, and read."""

    network: Network
    family: Family


def networks(images: Float[Array, "P 64"], order: bool = False) -> dict[str, Entrant]:
    """All networks with these memories, by name. With `order` the two-timescale networks go through
    them one after the other; else they stay in one."""
    rates, signs = Patterns(images, binary=False), Patterns(2 * images - 1)
    P = len(images)
    transition = cyclic(P) if order else jnp.eye(P)
    inverse: Any = dict(learning="pseudo_inverse")
    slow: Any = dict(tau=TAU, bias=0.01 if order else 0.0)
    lit: Any = dict(tau=TAU, bias=0.2 if order else 0.0)
    return {
        "Hopfield": Entrant(Hopfield(signs, activation=Tanh(4.0), **inverse), _SIGNS),
        "input-driven Hopfield": Entrant(
            InputDrivenHopfield(signs, activation=Tanh(4.0), **inverse),
            _SIGNS._replace(inputs=_as_signs),
        ),
        "two-timescale Hopfield": Entrant(
            TwoTimescaleHopfield(
                signs, transition, kappa=5.0, activation=Tanh(2.0), **slow, **inverse
            ),
            _SIGNS._replace(slow=True),
        ),
        "slow synapses": Entrant(
            SlowSynapseHopfield(
                signs, transition, strength=0.6 if order else 0.0, tau=TAU, **inverse
            ),
            _SIGNS,
        ),
        "dense, n = 20": Entrant(
            DenseMemory(signs, Power(20), transition="cyclic" if order else None), _DENSE
        ),
        "dense, held": Entrant(
            DenseSequence(signs, Power(20), Power(20), share=0.4 if order else 0.6, delay=1), _DENSE
        ),
        "rate": Entrant(RateMemory(rates), _RATES),
        "input-driven rate": Entrant(
            InputDrivenRateMemory(rates), _RATES._replace(inputs=_as_light)
        ),
        "two-timescale rate": Entrant(
            TwoTimescaleRateMemory(rates, transition, kappa=4.0 if order else 1.5, **lit),
            _RATES._replace(slow=True),
        ),
    }


def shown(entrant: Entrant, cue: Float[Array, " N"]) -> State:
    """The state that shows a cue; slow saliencies begin equal."""
    network, family = entrant
    P = network.patterns.P
    slow = dict(saliency=jnp.full(P, jnp.max(network.kappa))) if family.slow else {}
    return family.start(network, cue, **slow)


@eqx.filter_jit
def recall(entrant: Entrant, cues: Float[Array, "n 64"]) -> Bool[Array, "n 64"]:
    """What a network makes of each cue."""
    network, family = entrant

    def one(cue):
        state = shown(entrant, cue)
        return family.readout(family.settle(network, state, family.inputs(cue)))

    return jax.vmap(one)(cues)


def recalled(entrant: Entrant, images: Array, cues: Array) -> Float[np.ndarray, "levels seeds"]:
    """Share of images that a network recalls, for every level and seed."""
    found = recall(entrant, cues.reshape(-1, images.shape[1]))
    right = (found == (images > 0.5)[jnp.arange(len(found)) % len(images)]).all(1)
    return np.asarray(right.reshape(cues.shape[:3]).mean(2, dtype=cues.dtype))


def replay(entrant: Entrant) -> Replay:
    """What a network shows from memory 0 on, with nothing else than its own inputs."""
    network, family = entrant
    patterns = network.patterns
    image = (patterns.xi[0] > 0).astype(patterns.dtype)
    if family.slow:
        first = jnp.zeros(patterns.P).at[0].set(jnp.max(network.kappa) / 2)
        state = network.init(saliency=first, weights=jnp.zeros(patterns.P).at[0].set(1.0))
    else:
        state = family.start(network, image)
    return family.follow(network, state, family.inputs(image))


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
    """Share of cues to which, of all images, the right one is the closest: the best possible."""
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
    for name, entrant in still.items():
        if only is None or name in only:
            erased, flipped = (recalled(entrant, given.images, cues) for cues in given[1:])
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
    "slow synapses": dict(color="#CC79A7", ls="--", marker="v"),
    "dense, n = 20": dict(color="#000000", marker="D"),
    "dense, held": dict(color="#000000", ls="--", marker="d"),
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
    """Run the comparison, print the table and store the figure."""
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
