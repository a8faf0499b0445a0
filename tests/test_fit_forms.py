"""Fits in float32, and side by side on several devices."""

import os
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx

START = dict(saliency=[4.0, 0.0, 0.0, 0.0])


def network(kappa, tau):
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=kappa, tau=tau, bias=0.01
    )


def short(tree):
    """All floats in float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, tree)


@pytest.fixture(scope="module")
def losses():
    """Noisy recordings of a network with kappa = 5 and tau = 20."""
    true = network(5.0, 20.0)
    run = hx.simulate(true, true.init(**START), jnp.linspace(0.0, 200.0, 41))
    rng = np.random.default_rng(0)
    times = hx.observables.switch_times(run)[:5]
    rows = rng.normal(size=(41, 4))
    return dict(
        switches=hx.losses.switch_times(times + 0.3 * rows[:5, 0], init=START, sigma=0.3),
        saliencies=hx.losses.saliency_path(
            run.ts, run.saliency + 0.05 * rows, init=START, sigma=0.05
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["switches", "saliencies"])
def test_a_fit_in_float32_is_that_in_float64(losses, name):
    """Also where 64 bits are enabled. Within a few hundredths of a standard error."""
    options = dict(
        where=lambda net: (net.kappa, net.tau), absolute_sigma=True, starts=1, progress=False
    )
    begin = network(5.1, 20.4)
    wide = hx.fit(begin, losses[name], **options)
    found = hx.fit(short(begin), short(losses[name]), **options)
    assert found.values.dtype == jnp.float32 and found.ending == wide.ending == "converged"
    off = (np.asarray(found.values, float) - wide.values) / wide.stderr
    assert np.abs(off).max() < 0.05
    np.testing.assert_allclose(found.stderr, wide.stderr, rtol=5e-3)
    np.testing.assert_allclose(found.loss, wide.loss, rtol=1e-4)


@pytest.mark.slow
def test_a_fit_of_many_data_in_float32_ends_no_standard_error_too_early():
    """A hundred thousand residuals, whose sum of squares hides a step of one standard error from a
    bound in units of its last place."""
    x = jnp.linspace(0.0, 3.0, 100_000)
    noise = jnp.asarray(np.random.default_rng(1).normal(size=x.size))

    def fitted(x, noise, begin, derivative):
        data = jnp.exp(-x) + noise
        return hx.fit(
            {"a": begin},
            lambda model: jnp.exp(-model["a"] * x) - data,
            where=lambda model: model["a"],
            absolute_sigma=True,
            derivative=derivative,
            progress=False,
        )

    wide = fitted(x, noise, jnp.asarray(1.3), "forward")
    error = float(wide.stderr[0])
    begin = jnp.asarray(wide.values[0] + 2.5 * error, jnp.float32)
    found = fitted(short(x), short(noise), begin, "forward")
    # The sum itself is good to a tenth of one.
    assert abs(float(found.values[0]) - float(wide.values[0])) < 0.3 * error
    # Reverse mode, too, asks for no r * r numbers.
    fewer = [
        fitted(x[::50], noise[::50], jnp.asarray(1.3), mode) for mode in ("forward", "reverse")
    ]
    np.testing.assert_allclose(fewer[0].values, fewer[1].values, rtol=1e-8)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, equinox as eqx, hopfax as hx
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
jax.config.update("jax_enable_x64", True)
x, noise = jnp.linspace(0.0, 3.0, 12), np.random.default_rng(0).normal(size=(8, 12))

def fitted(noise, begin):
    data = jnp.exp(-x) + 0.1 * noise
    return hx.fit(
        {"a": begin}, lambda m: (jnp.exp(-m["a"] * x) - data) / 0.1,
        where=lambda m: m["a"], absolute_sigma=True, progress=False,
    )

batch = eqx.filter_jit(eqx.filter_vmap(fitted))
rows = NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), P("rows"))
begin = jnp.linspace(0.8, 1.3, 8)
plain = batch(jnp.asarray(noise), begin)
spread = batch(jax.device_put(noise, rows), jax.device_put(begin, rows))
assert len(spread.values.sharding.device_set) == 2
for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(spread)):
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
low = np.asarray(spread.interval().low)
np.testing.assert_allclose(low, plain.interval().low, rtol=1e-12)

# on explicit axes a fit says what to do, and that helps
mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Explicit,))
explicit = NamedSharding(mesh, P("rows"))
given = jax.device_put(noise, explicit), jax.device_put(begin, explicit)
with jax.set_mesh(mesh):
    try:
        batch(*given)
        raise AssertionError("no error")
    except ValueError as error:
        assert "jax.sharding.auto_axes" in str(error), error
    again = jax.sharding.auto_axes(batch, out_sharding=P("rows"))(*given)
np.testing.assert_allclose(again.values, plain.values, rtol=1e-12)
"""


@pytest.mark.slow
def test_fits_side_by_side_on_two_devices_are_those_on_one():
    """From starts, and to data, that are sharded."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHARDED)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
