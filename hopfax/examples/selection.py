"""Train a selective memory, or a baseline, on a task that needs selection; many seeds at once.

`python -m hopfax.examples.selection --curriculum --batch 64 --steps 1000` trains ten seeds of
`hopfax.nn.ResidualSelection` on selective copying in one program, and prints how often each answers
a whole sequence rightly, at the lengths it was trained on and at longer ones. `--model gru` trains
another model, `--task induction --trigger 3 5` another task; `--help` lists the options.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from .._errors import as_count, as_key
from ..nn import ResidualSelection
from .baselines import BASELINES
from .tasks import induction_head, selective_copying


class Task(NamedTuple):
    """What to draw and what to answer.

    `draw(key, length)` gives tokens, (T,), and the answers at the last `answers` steps, whole
    numbers from 0 to `classes` - 1. `tokens`: how many tokens there are.
    """

    name: str
    tokens: int
    classes: int
    answers: int
    draw: Callable[[Array, int], tuple[Array, Array]]


def copying(values: int = 8, items: int = 3) -> Task:
    """Selective copying as a `Task`, the length being that of the context."""

    def draw(key, length):
        tokens, targets = selective_copying(key, values=values, items=items, context=length)
        return tokens, targets - 1

    return Task(f"copying, M = {items}, V = {values}", values + 2, values, items, draw)


def induction(values: int = 8, trigger: tuple[int, ...] = (0,)) -> Task:
    """The induction head as a `Task`, the length being that of the whole sequence."""

    def draw(key, length):
        tokens, target = induction_head(key, values=values, trigger=trigger, length=length)
        return tokens, target[None]

    return Task(f"induction, L = {len(trigger)}, V = {values}", values, values, 1, draw)


class Phase(NamedTuple):
    """A part of the training: `steps` updates, which take turns between the `lengths`."""

    lengths: tuple[int, ...]
    steps: int


class Scores(NamedTuple):
    """How one length was answered by each of S seeds."""

    sequence: Float[Array, " S"]  # share of sequences with all answers right
    answers: Float[Array, "S M"]  # share right at each of the M answers


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a training: scores at each length, the way there, and the models.

    `loss` and `accuracy` (of whole training sequences) are means over the `chunk` of steps that
    ends at `steps`, (chunks, S). `models` has a leading axis of seeds.
    """

    task: str
    parameters: int
    phases: tuple[Phase, ...]
    batch: int
    lr: float
    seconds: float
    steps: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    scores: dict[int, Scores]
    models: Any

    def as_json(self) -> dict:
        """All but the models, in plain Python."""
        return {
            "task": self.task,
            "parameters": self.parameters,
            "phases": [[list(phase.lengths), phase.steps] for phase in self.phases],
            "batch": self.batch,
            "lr": self.lr,
            "seconds": round(self.seconds, 1),
            "steps": self.steps.tolist(),
            "loss": np.round(self.loss, 5).tolist(),
            "accuracy": np.round(self.accuracy, 4).tolist(),
            "scores": {
                str(length): {
                    "sequence": np.asarray(score.sequence).tolist(),
                    "answers": np.asarray(score.answers).tolist(),
                }
                for length, score in self.scores.items()
            },
        }

    def table(self) -> str:
        """Sequence and token accuracy of every seed at every length, and their mean."""
        head = "seed  final loss" + "".join(f"{f'T = {T}':>17}" for T in self.scores)
        lines = [head, " " * 16 + "    sequence token" * len(self.scores)]
        for seed, loss in enumerate(self.loss[-1]):
            row = [(s.sequence[seed], s.answers[seed].mean()) for s in self.scores.values()]
            lines.append(_line(str(seed), loss, row))
        row = [(s.sequence.mean(), s.answers.mean()) for s in self.scores.values()]
        return "\n".join([*lines, _line("mean", self.loss[-1].mean(), row)])


def _line(name, loss, row) -> str:
    return f"{name:<4}{loss:12.4f}" + "".join(f"{a:12.3f}{b:6.3f}" for a, b in row)


def train(
    init: Callable[[Array], Any],
    task: Task,
    *,
    phases: Sequence[tuple[Sequence[int], int]],
    seeds: int = 10,
    batch: int = 32,
    lr: float = 0.01,
    evaluate: Sequence[int] = (),
    sequences: int = 1024,
    chunk: int = 100,
    key: Array,
    report: Callable[[str], None] | None = None,
) -> Result:
    """Train `seeds` models side by side, and score each at every length of `evaluate`.

    The loss is the cross-entropy at the last steps, where the answers are; the optimiser is Adam
    with a cosine schedule over all phases and gradients clipped to norm 1. Every seed has its own
    initial model, its own training sequences and its own sequences to be scored on. A phase is one
    compiled program, run once per chunk.

    **Arguments:**

    - `init`: makes a model from a key; `model(tokens)` gives logits, (T, classes), and
      `model(tokens, key=key)`, in training, perhaps noisy ones.
    - `task`: see `copying` and `induction`.
    - `phases`: pairs of lengths and steps, one after the other. Steps are updates on `batch`
      sequences of one length; the lengths of a phase take turns. Rounded up to whole chunks.
    - `lr`: the learning rate at first.
    - `evaluate`: lengths; `sequences`: how many of each, rounded up to whole batches.
    - `chunk`: steps between two reports to `report`, a function of a line of text.

    **Raises:** ValueError naming the argument.
    """
    key = as_key(key)
    counts = dict(seeds=seeds, batch=batch, sequences=sequences, chunk=chunk)
    check(task, phases=phases, lr=lr, evaluate=evaluate, **counts)
    plan = [_planned(tuple(lengths), number, chunk) for lengths, number in phases]
    start = time.perf_counter()
    made, drawn, scored = jr.split(key, 3)
    models = eqx.filter_jit(eqx.filter_vmap(init))(jr.split(made, seeds))
    arrays, static = eqx.partition(models, eqx.is_inexact_array)
    total = sum(phase.steps for phase, _ in plan)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(lr, total))
    )
    state = (arrays, jax.jit(jax.vmap(optimizer.init))(arrays))
    steps, losses, accuracies = [0], [], []
    for number, (phase, rounds) in enumerate(plan):
        run = _chunk(static, task, optimizer, phase.lengths, rounds, batch)
        for part in range(phase.steps // (rounds * len(phase.lengths))):
            now = jr.fold_in(jr.fold_in(drawn, number), part)
            state, (loss, accuracy) = run(state, jr.split(now, seeds))
            steps.append(steps[-1] + rounds * len(phase.lengths))
            losses.append(np.asarray(loss))
            accuracies.append(np.asarray(accuracy))
            if report:
                solved = int((accuracies[-1] >= 0.99).sum())
                report(
                    f"step {steps[-1]:6d}  loss {loss.mean():.4f}  accuracy "
                    f"{accuracy.mean():.3f}  solved {solved}/{seeds}"
                )
    models = eqx.combine(state[0], static)
    return Result(
        task=task.name,
        parameters=sum(leaf[0].size for leaf in jax.tree.leaves(arrays)),
        phases=tuple(phase for phase, _ in plan),
        batch=batch,
        lr=lr,
        seconds=time.perf_counter() - start,
        steps=np.array(steps[1:]),
        loss=np.array(losses),
        accuracy=np.array(accuracies),
        scores={
            length: score(models, task, length, sequences=sequences, key=jr.fold_in(scored, length))
            for length in evaluate
        },
        models=models,
    )


def score(models: Any, task: Task, length: int, *, sequences: int = 1024, key: Array) -> Scores:
    """Share of right answers of each of S models (stacked) on fresh sequences of one length."""
    seeds = jax.tree.leaves(eqx.filter(models, eqx.is_inexact_array))[0].shape[0]
    arrays, static = eqx.partition(models, eqx.is_array)
    block = min(sequences, 64)  # attention keeps T x T weights of every sequence at work

    def one(arrays, key):
        model = eqx.combine(arrays, static)

        def part(_, key):
            return None, _marks(model, task, jr.split(key, block), length)[1]

        return jax.lax.scan(part, None, jr.split(key, -(-sequences // block)))[1]

    right = jax.jit(lambda arrays, keys: jax.lax.map(lambda xs: one(*xs), (arrays, keys)))(
        arrays, jr.split(key, seeds)
    )
    right = np.asarray(right).reshape(seeds, -1, task.answers)
    return Scores(right.all(-1).mean(1), right.mean(1))


def _marks(model, task: Task, keys, length: int, noise=None):
    """Cross-entropies and which answers are right, both (batch, M), of one model on one batch;
    `noise`: a key for the model, in training."""
    tokens, targets = jax.vmap(lambda key: task.draw(key, length))(keys)
    read = (lambda xs, key: model(xs)) if noise is None else lambda xs, key: model(xs, key=key)
    logits = jax.vmap(read)(tokens, keys if noise is None else jr.split(noise, keys.shape[0]))
    logits = logits[:, -task.answers :]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return losses, logits.argmax(-1).astype(targets.dtype) == targets


def _chunk(static, task, optimizer, lengths, rounds, batch):
    """A compiled program: `rounds` updates at each of the lengths, for all seeds."""

    def loss(arrays, key, length):
        drawn, noise = jr.split(key)
        model = eqx.combine(arrays, static)
        losses, right = _marks(model, task, jr.split(drawn, batch), length, noise)
        return losses.mean(), right.all(-1).mean(dtype=losses.dtype)

    def turn(state, key):
        marks = []
        for length, now in zip(lengths, jr.split(key, len(lengths)), strict=True):
            arrays, memory = state
            mark, slope = jax.value_and_grad(loss, has_aux=True)(arrays, now, length)
            with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
                updates, memory = optimizer.update(slope, memory, arrays)
            state = optax.apply_updates(arrays, updates), memory
            marks.append(jnp.stack(mark))
        return state, jnp.stack(marks).mean(0)

    def one(state, key):
        state, marks = jax.lax.scan(turn, state, jr.split(key, rounds))
        return state, tuple(marks.mean(0))

    return jax.jit(jax.vmap(one))


def check(task: Task, *, phases, lr: float, evaluate, **counts: int) -> None:
    """ValueError naming what `train` cannot work with, before anything is compiled."""
    if not phases:
        raise ValueError("`phases` must hold at least one pair (lengths, steps).")
    for name, value in counts.items():
        as_count(value, name)
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"`lr` must be a positive number, got {lr}.")
    for lengths, steps in phases:
        as_count(steps, "phases")
        if not tuple(lengths):
            raise ValueError("`phases` must name at least one length for each phase.")
    for length in {*evaluate, *(length for lengths, _ in phases for length in lengths)}:
        jax.eval_shape(lambda length=length: task.draw(jr.key(0), length))


def _planned(lengths: tuple[int, ...], steps: int, chunk: int) -> tuple[Phase, int]:
    """A phase with steps of whole chunks, and how often a chunk visits each length."""
    rounds = -(-min(chunk, steps) // len(lengths))
    per_chunk = rounds * len(lengths)
    return Phase(lengths, -(-steps // per_chunk) * per_chunk), rounds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hopfax.examples.selection",
        description="Train many seeds of a small sequence model on a task that needs selection.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--task", choices=("copying", "induction"), default="copying")
    add("--values", type=int, default=8, help="values to copy, or tokens of the induction head")
    add("--items", type=int, default=3, help="tokens to copy")
    add("--trigger", type=int, nargs="+", default=[0], help="tokens of the trigger")
    add("--model", choices=tuple(MODELS), default="residual")
    add("--seeds", type=int, default=10)
    add("--steps", type=int, default=2000)
    add("--lengths", type=int, nargs="+", help="to train on (8 24 for copying, 32 64 else)")
    add("--phases", nargs="+", metavar="LENGTHS:STEPS", help="in place of --steps: 8:500 8,24:1500")
    add("--curriculum", action="store_true", help="begin with short sequences, then --lengths")
    add("--batch", type=int, default=32)
    add("--lr", type=float, help="learning rate; a default for each model")
    add(
        "--evaluate",
        type=int,
        nargs="+",
        help="lengths (those of the last phase, 2x and 4x the longest)",
    )
    add("--sequences", type=int, default=1024, help="to score each seed on, per length")
    add("--chunk", type=int, default=100, help="steps between two lines of progress")
    add("--seed", type=int, default=0, help="of everything random")
    add("--json", type=pathlib.Path, metavar="FILE", help="write the results here")
    add("--quiet", action="store_true", help="no lines of progress")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; 0, or 2 if an argument is at fault."""
    arguments = _parser().parse_args(argv)
    try:
        settings = _settings(arguments)
        check(**settings)
    except ValueError as error:
        print(f"selection: error: {error}", file=sys.stderr)
        return 2
    report = None if arguments.quiet else lambda text: print(text, flush=True)
    if report:
        lengths = "; ".join(f"{steps} steps at {lengths}" for lengths, steps in settings["phases"])
        report(f"{arguments.model} on {settings['task'].name}: {lengths}")
    make, _ = MODELS[arguments.model]
    result = train(
        lambda key: make(settings["task"], key),
        **settings,
        key=jr.key(arguments.seed),
        report=report,
    )
    print(f"\n{arguments.model}: {result.parameters} parameters, {result.seconds:.0f} s\n")
    print(result.table())
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"model": arguments.model, "seed": arguments.seed} | result.as_json()
        arguments.json.write_text(json.dumps(record))
    return 0


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    """What `train` is to be given."""
    if given.task == "copying":
        task, lengths, shortest = copying(given.values, given.items), [8, 24], given.items
    else:
        task, lengths = induction(given.values, tuple(given.trigger)), [32, 64]
        shortest = 4 * len(given.trigger) + 2
    phases = [(given.lengths or lengths, given.steps)]
    if given.curriculum:
        phases = curriculum(shortest, *phases[0])
    if given.phases:
        if given.lengths or given.curriculum:
            raise ValueError("`--phases` excludes `--lengths` and `--curriculum`.")
        phases = [_phase(text) for text in given.phases]
    last = sorted(set(phases[-1][0]))
    evaluate = given.evaluate or [*last, 2 * last[-1], 4 * last[-1]]
    return {
        "task": task,
        "phases": phases,
        "seeds": given.seeds,
        "batch": given.batch,
        "lr": MODELS[given.model][1] if given.lr is None else given.lr,
        "evaluate": evaluate,
        "sequences": given.sequences,
        "chunk": given.chunk,
    }


def _phase(text: str) -> tuple[list[int], int]:
    try:
        lengths, steps = text.split(":")
        return [int(length) for length in lengths.split(",")], int(steps)
    except ValueError as error:
        raise ValueError(
            f"`--phases` must look like 8:500 or 8,24:1500 (lengths:steps), got {text!r}."
        ) from error


def curriculum(
    shortest: int, lengths: Sequence[int], steps: int
) -> list[tuple[tuple[int, ...], int]]:
    """Phases that begin with short sequences: `shortest` and half as long again for a fifth of the
    `steps`, twice and four times `shortest` for a fifth, and then `lengths`."""
    s, fifth = shortest, -(-steps // 5)
    return [
        ((s, s + s // 2 + 1), fifth),
        ((2 * s, 4 * s), fifth),
        (tuple(lengths), steps - 2 * fifth),
    ]


class Selective(eqx.Module):
    """`hopfax.nn.ResidualSelection` on one-hot tokens."""

    layer: ResidualSelection

    def __call__(self, tokens: Int[Array, " T"], *, key: Array | None = None) -> Array:
        """Logits at every step; with a `key`, for training, the selectors jitter."""
        value = self.layer.bank.value
        us = jax.nn.one_hot(tokens, value.shape[1], dtype=value.dtype)
        return self.layer(us, key=key, inference=key is None)


def _residual(task: Task, key: Array) -> Selective:
    # one slot for each answer; on a CPU "scan" is the quickest form for short sequences
    return Selective(
        ResidualSelection(task.tokens, task.classes, slots=task.answers, mode="scan", key=key)
    )


def _baseline(name: str) -> Callable[[Task, Array], Any]:
    return lambda task, key: BASELINES[name](task.tokens, task.classes, key=key)


#: What makes each model from a task and a key, and its learning rate.
MODELS: dict[str, tuple[Callable[[Task, Array], Any], float]] = {
    "lti": (_baseline("lti"), 0.01),
    "lti-mlp": (_baseline("lti-mlp"), 0.01),
    "gru": (_baseline("gru"), 0.01),
    "s6": (_baseline("s6"), 0.01),
    "mamba": (_baseline("mamba"), 0.01),
    "attention": (_baseline("attention"), 0.005),
    "residual": (_residual, 0.02),
}


if __name__ == "__main__":
    sys.exit(main())
