"""The training harness: it learns, scores as counted by hand, and says what it cannot do."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

from hopfax.examples import selection
from hopfax.examples.baselines import BASELINES
from hopfax.nn import ResidualSelection


class Oracle(eqx.Module):
    """Copies the first item rightly, and says 0 to every other query; `wrong` spoils that too."""

    wrong: jax.Array

    def __call__(self, tokens, *, key=None):
        content = (tokens > 0) & (tokens < 5)
        first = tokens[jnp.argmax(content)] - 1
        query = jnp.cumsum(tokens == 5)
        answer = jnp.where(query == 1, first, 0)
        return jax.nn.one_hot(answer, 4) * (1 - 2 * self.wrong)


@pytest.fixture(scope="module")
def trained():
    task = selection.copying(values=2, items=1)
    lines = []
    result = selection.train(
        lambda key: BASELINES["lti"](task.tokens, task.classes, key=key),
        task,
        phases=[((2,), 40), ((3,), 30)],
        seeds=2,
        batch=8,
        lr=0.05,
        evaluate=(3, 5),
        sequences=100,
        chunk=20,
        key=jr.key(0),
        report=lines.append,
    )
    return result, lines


@pytest.mark.slow
def test_two_seeds_learn_to_copy_one_token(trained):
    result, _ = trained
    # The second phase's steps are rounded up to whole chunks.
    assert result.steps.tolist() == [20, 40, 60, 80]
    assert result.phases == (((2,), 40), ((3,), 40))
    assert result.loss.shape == result.accuracy.shape == (4, 2)
    assert (result.loss[-1] < result.loss[0] / 4).all()
    assert result.loss[0, 0] != result.loss[0, 1]  # seeds differ
    assert (result.accuracy[-1] == 1).all()
    assert (result.scores[3].sequence == 1).all()
    assert result.scores[5].answers.shape == (2, 1)


def test_lengths_take_turns_in_whole_chunks():
    assert selection._planned((2, 3), 30, 20) == (((2, 3), 40), 10)
    assert selection._planned((2, 3, 5), 20, 100) == (((2, 3, 5), 21), 7)


def test_each_chunk_is_reported(trained):
    _, lines = trained
    assert len(lines) == 4
    assert lines[-1].startswith("step     80  loss 0.") and lines[-1].endswith("solved 2/2")


def test_a_result_reads_as_a_table_and_as_json(trained):
    result, _ = trained
    lines = result.table().splitlines()
    assert [line.split()[0] for line in lines] == ["seed", "sequence", "0", "1", "mean"]
    assert "T = 3" in lines[0] and "T = 5" in lines[0]
    assert lines[-1].split()[2:4] == ["1.000", "1.000"]
    record = json.loads(json.dumps(result.as_json()))
    assert record["parameters"] == 24 * 2 + 2 * 24 * 4 + (48 + 4) * 2 + 2
    assert record["scores"]["3"]["sequence"] == [1.0, 1.0]


def test_scores_count_whole_sequences_and_single_answers():
    models = Oracle(jnp.array([0.0, 1.0]))
    scores = selection.score(
        models, selection.copying(values=4, items=2), 6, sequences=4096, key=jr.key(0)
    )
    # The second answer, always 0, is right for a quarter; whoever is wrong on purpose says
    # 1 where 0 is meant (the first of three equal logits), else 0.
    error = 4 * np.sqrt(0.25 * 0.75 / 4096)
    assert scores.sequence.shape == (2,) and scores.answers.shape == (2, 2)
    assert scores.answers[0, 0] == 1 and scores.answers[1, 0] == 0
    assert_close(scores.answers[:, 1], np.array([0.25, 0.25]), error, "four standard errors")
    assert_close(scores.sequence, np.array([scores.answers[0, 1], 0]), 0, "the first is right")


@pytest.mark.slow
def test_a_gated_network_learns_an_induction_head_by_the_command_line(tmp_path, capsys):
    file = tmp_path / "results" / "gru.json"
    options = (
        "--model gru --task induction --values 3 --lengths 6 8 --steps 600 --lr 0.02 --seeds 2"
    )
    status = selection.main(
        [*options.split(), "--evaluate", "8", "--sequences", "64", "--json", str(file)]
    )
    assert status == 0 and "mean" in capsys.readouterr().out
    record = json.loads(file.read_text())
    assert record["model"] == "gru" and list(record["scores"]) == ["8"]
    assert min(record["scores"]["8"]["sequence"]) > 0.9  # a half is chance


def test_a_curriculum_ends_at_the_lengths_asked_for():
    phases = selection.curriculum(4, (8, 24), 1000)
    assert phases == [((4, 7), 200), ((8, 16), 200), ((8, 24), 600)]


@pytest.mark.slow
def test_a_selective_memory_reads_one_hot_tokens():
    model = selection.Selective(ResidualSelection(6, 4, slots=2, taps=1, key=jr.key(0)))
    call = eqx.filter_jit(lambda model, *xs, **options: model(*xs, **options))
    tokens = jnp.array([0, 3, 5])
    rest = eqx.nn.inference_mode(model)
    expected = call(rest.layer, jnp.eye(6)[tokens])
    assert_close(call(rest, tokens), expected, 1e-12, "rounding in float64")
    assert (call(model, tokens, key=jr.key(1)) != expected).any()  # it jitters in training


@pytest.mark.parametrize(
    "options, text",
    [
        ("--steps 0", "`phases` must be a whole number >= 1, got 0"),
        ("--seeds 0", "`seeds` must be a whole number >= 1, got 0"),
        ("--lr nan", "`lr` must be a positive number, got nan"),
        ("--phases 8-500", "`--phases` must look like 8:500 or 8,24:1500"),
        ("--phases 8:5 --lengths 8", "`--phases` excludes `--lengths` and `--curriculum`"),
        ("--items 9 --lengths 8", "`context` must be >= 9, got 8"),
        ("--task induction --trigger 0 9", "`trigger` must hold whole numbers from 0 to"),
    ],
)
def test_arguments_at_fault_are_named(options, text, capsys, as_a_user_runs_it):
    assert selection.main(options.split()) == 2
    assert text in capsys.readouterr().err


def test_nothing_to_train_on_is_an_error():
    task = selection.copying()
    with pytest.raises(ValueError, match="`phases` must hold at least one pair"):
        selection.train(lambda key: None, task, phases=[], key=jr.key(0))
    with pytest.raises(ValueError, match="`phases` must name at least one length"):
        selection.train(lambda key: None, task, phases=[((), 5)], key=jr.key(0))
