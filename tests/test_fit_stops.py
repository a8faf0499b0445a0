"""A fit that is interrupted, and what it says of its progress."""

import os
import signal
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import zoo

import hopfax as hx
from hopfax import _progress
from hopfax._fit import _loop, _sequence

WANTED = jnp.array([1.0, 2.0])


def away(model):
    return jnp.sum(jnp.sqrt(1 + jnp.square(model - WANTED)))


def off(model):
    return model - WANTED + 0.1 * jnp.square(model)


def fit(loss=away, **options):
    options = dict(optimizer=optax.adam(0.1), steps=100, progress=False) | options
    return hx.fit(jnp.zeros(2), loss, where=lambda model: model, **options)


def press(progress):
    if progress.step >= 40:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_gives_the_best_so_far(ctrl_c, tmp_path):
    file = tmp_path / "fit.ckpt"
    with pytest.warns(hx.FitWarning, match="interrupted"):
        found = fit(callback=press, checkpoint=file)
    assert found.ending == "interrupted" and int(found.steps) == 40
    history = found.history.loss.values
    assert float(found.loss) == history.min() < history[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    whole, rest = fit(), fit(checkpoint=file)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(rest), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_after_ctrl_c_nothing_is_computed_any_more(ctrl_c):
    with pytest.warns(hx.FitWarning, match="interrupted"):
        found = fit(off, callback=press)
    assert found.ending == "interrupted" and found.stderr is None and found.goodness is None
    assert "interrupted after 40 steps" in str(found)


def test_an_interruption_that_a_callback_raises_is_its_own():
    def cut(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(callback=cut)


def test_progress_is_lines_where_there_is_no_terminal(capsys, monkeypatch):
    fit(progress="auto")
    assert not capsys.readouterr().err
    fit(progress=True)
    (line,) = capsys.readouterr().err.splitlines()  # the end: it took no ten seconds
    assert line.startswith("hopfax: 100/100 step, loss 2")
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    fit(progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["20/100", "40/100"] and len(lines) == 6
    assert "left" in lines[0] and "left" not in lines[-1]
    fit(progress="auto")  # said what it had to say, and then that it has ended
    assert len(capsys.readouterr().err.splitlines()) == 6
    fit(progress=False)
    assert not capsys.readouterr().err


def test_a_line_estimates_the_rest_from_what_was_done_here(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: clock[0])
    with _progress.progress(800, "point", "auto", done=600) as lines:
        clock[0] = 9.0
        lines.update(10)
        clock[0] = 200.0
        lines.update(90)
        clock[0] = 201.0
        lines.update(100)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "hopfax: 700/800 point, 200 s, about 3 min left",
        "hopfax: 800/800 point, 201 s",
    ]
    with _progress.progress(200, "step", True) as lines:  # of a fit, which may end before
        clock[0] = 213.0
        lines.update(20)
    assert "20/200 step, 12 s, at most 2 min left" in capsys.readouterr().err


def test_a_unit_that_takes_long_is_spoken_of_by_a_thread(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "_EVERY", 0.05)
    monkeypatch.setattr(_progress, "_TICK", 0.01)
    with _progress.progress(3, "start", True), _progress.progress(9, "step", True):
        time.sleep(0.5)  # as a compiler
    lines = capsys.readouterr().err.splitlines()
    assert 4 < len(lines) < 14, "one of the two speaks for both"
    assert all("0/3 start" in line or "0/9 step" in line for line in lines)


@pytest.mark.slow
def test_the_search_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    network, state = zoo.cycle(P=3, N=16, kappa=4.6, tau=30.0, bias=0.015)
    ts = jnp.linspace(0.0, 330.0, 111)
    values = hx.simulate(network, state, ts).overlaps.at[40:55].set(jnp.nan)
    loss = hx.losses.overlap_path(ts, values, init=dict(saliency=[4.0, 0.0, 0.0]), sigma=0.05)
    guess = eqx.tree_at(lambda net: net.kappa, network, 1.3 * network.kappa)

    def found(progress):
        return hx.fit(
            guess, loss, where=lambda net: net.kappa, absolute_sigma=True, progress=progress
        )

    assert found(True).losses.size > 1
    assert any(" start," in line for line in capsys.readouterr().err.splitlines())
    found(False)
    assert not capsys.readouterr().err


CYCLE = hx.Events([0, 2, 1, 3], [0.0, 23.6, 52.0, 73.3], end=104.0, cycle=True)


def blank():
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), np.zeros((4, 4)), kappa=5.0, tau=20.0, bias=0.01
    )


@pytest.mark.slow
def test_ctrl_c_in_a_sequence_gives_the_best_so_far(ctrl_c, monkeypatch):
    advance, calls = _loop.advance, []

    def pressed(*arguments):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(*arguments)

    monkeypatch.setattr(_loop, "_EVERY", 1)
    monkeypatch.setattr(_loop, "advance", pressed)
    with pytest.warns(hx.FitWarning, match="the search was interrupted"):
        found = hx.fit_sequence(blank(), CYCLE, progress=False)
    assert found.interrupted and repr(found).startswith("interrupted; this is the best so far")
    assert [stage.name for stage in found.stages] == ["design", "refinement"]
    assert found.fit is not None and found.fit.ending == "interrupted" and len(calls) == 4
    assert found.reproduced and found.error < found.stages[0].error


def test_ctrl_c_before_there_is_anything_ends_a_sequence(ctrl_c, monkeypatch):
    def pressed(task):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(_sequence, "design", pressed)
    with pytest.raises(KeyboardInterrupt):
        hx.fit_sequence(blank(), CYCLE, progress=False)
