"""A fit that is interrupted, and what it says of its progress."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hopfax as hx
from hopfax import _progress

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


@pytest.fixture
def ctrl_c():
    """Ctrl-C as Python handles it, whatever handles it around this test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
