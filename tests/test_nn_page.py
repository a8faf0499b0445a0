"""The page on layers: its code runs, and what its table names is there."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT

import hopfax as hx

TEXT = (ROOT / "docs" / "howto" / "layers.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_runs_it")
def test_its_code_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    space: dict = {}
    exec(compile("\n".join(blocks), "layers.md", "exec"), space)
    assert "fixed point" in capsys.readouterr().out
    seen = space["seen"]
    assert (jnp.diff(seen.energy, axis=0) <= 1e-6).all()
    assert hx.nn.RETRIEVED[seen.retrieved[0, 0]] == "the mean of many"  # as shown
    x, model = space["x"], space["model"]
    whole = model(x, x, mask="causal")
    np.testing.assert_allclose(space["y"], whole[-1], atol=1e-5)
    np.testing.assert_allclose(space["ys"], whole[:-1], atol=1e-5)
    assert (space["again"](x) == space["pool"](x)).all()
    learned = jax.tree.leaves(space["part"])
    assert len(learned) == 1 and learned[0].shape == (8, 8)
    # every shape that is shown
    for code, shape in re.findall(r"^([^\n#=]+\.shape)  # (\(\d+(?:, \d+)*,?\))", TEXT, re.M):
        assert str(eval(code, space)) == shape, code


def test_what_its_table_names_is_there():
    options = set(inspect.signature(hx.nn.HopfieldRetrieval).parameters) | set(dir(hx.nn))
    rows = [line.split("|")[2] for line in TEXT.splitlines() if line.startswith("|")][2:]
    named = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > 20 and named <= options


def test_a_query_with_nothing_to_read_is_zero_here_and_a_mean_in_equinox():
    import equinox as eqx

    x, mask = jax.random.normal(jax.random.key(1), (2, 4)), jnp.array([[False] * 2, [True] * 2])
    theirs = eqx.nn.MultiheadAttention(2, 4, key=jax.random.key(0))
    mean = theirs(jnp.zeros((1, 4)), x.mean(0, keepdims=True), x.mean(0, keepdims=True))[0]
    np.testing.assert_allclose(theirs(x, x, x, mask=mask)[0], mean, atol=1e-12)
    ours = hx.nn.HopfieldRetrieval(2, 4, key=jax.random.key(0))(x, x, mask=mask)
    assert (ours[0] == 0).all() and (ours[1] != 0).all()
