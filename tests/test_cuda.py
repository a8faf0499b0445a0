"""What runs long is lowered for CUDA on this machine, as a GPU would be given it: no GPU is needed.

Nothing is compiled. What is looked for in the programs is what a GPU cannot do or waits for: calls
back into Python, and functions that exist on a CPU only.
"""

import concurrent.futures
import functools
import re
import types

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import zoo

import hopfax as hx
from hopfax import _traced
from hopfax._engines import _checks
from hopfax._fit import _fit, _loop
from hopfax._sweep import _plan, _program
from hopfax._sweep._job import job_of
from hopfax.networks.dense import _blocks

#: What these programs may call: factorisations by cuSOLVER, which jaxlib's CUDA plugin brings.
#: `cuhybrid_eig_real` computes eigenvalues on the host; it stands for `cusolver_geev_ffi`, which
#: JAX takes where it finds a cuSOLVER of 11.7.1 or later, as both extras have it.
ALLOWED = {
    *("cusolver_getrf_ffi", "cu_lu_pivots_to_permutation", "cusolver_syevd_ffi"),
    *("cusolver_geqrf_ffi", "cusolver_orgqr_ffi", "cusolver_ormqr_ffi", "cuhybrid_eig_real"),
}
START = {"saliency": [4.0, 0.0, 0.0]}
TS = np.linspace(0.0, 80.0, 5)
GAINS = {"kappa": np.linspace(2.0, 7.0, 4)}
TIMES = np.array([32.0, 63.0])
_LISTED = [jax.export.DisabledSafetyCheck.custom_call(name) for name in ALLOWED]


@pytest.fixture(scope="module", autouse=True)
def as_on_a_gpu():
    """hopfax takes the way that it takes there, and Equinox's checks raise, as they do for a user.
    What other tests have traced is forgotten, and what is traced here afterwards."""
    jax.clear_caches()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jax, "default_backend", lambda: "gpu")
        patched.setattr("equinox._errors.EQX_ON_ERROR", "raise")
        yield


class _Seen(Exception):
    """What hopfax was about to compile or run."""


def _halted(*given):
    raise _Seen(*given)


def _export(function, *structs):
    return jax.export.export(jax.jit(function), platforms=["cuda"], disabled_checks=_LISTED)(
        *structs
    )


def _of(function, *given):
    """A function of pytrees, whose arrays are arguments."""
    arrays, static = eqx.partition(
        given, lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)
    )
    return _export(
        lambda arrays: eqx.filter(function(*eqx.combine(arrays, static)), eqx.is_array), arrays
    )


def _sweep(point, grid=GAINS, key=None):
    """The program of a sweep, four points a tile."""
    with pytest.MonkeyPatch.context() as patched, pytest.raises(_Seen) as seen:
        patched.setattr(_program, "_compiled", _halted)
        job_of(point, grid, key, 4).program(jax.devices()[:1])
    static, structs = seen.value.args[:2]
    return _export(_program.strip_of(static), *structs.tree)


def _fitting(model, **options):
    """The loop of a fit to two switch times."""
    loss = hx.losses.switch_times(TIMES, init=START)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(_Seen) as seen:
        patched.setattr(_fit, "begin", _halted)
        hx.fit(model, loss, where=lambda net: net.kappa, progress=False, **options)
    (job,) = seen.value.args
    carry = eqx.filter_eval_shape(_loop.begin, job)
    return _of(_loop.advance, job, carry, jnp.asarray(1, jnp.int32))


def _loss_and_derivatives(model):
    """A loss, its gradient in reverse mode and its slope in forward mode."""
    loss = hx.losses.switch_times(TIMES, init=START)

    def of(kappa):
        return jnp.square(loss(eqx.tree_at(lambda net: net.kappa, model, kappa))).sum()

    def all_three(kappa):
        return jax.value_and_grad(of)(kappa), jax.jvp(of, (kappa,), (kappa,))

    return _of(all_three, model.kappa)


def _cycle(**options):
    return zoo.cycle(**options)[0]


def _smooth():
    return _cycle(activation=hx.Tanh(3.0))


def _point(model, init=START, **options):
    return hx.Point(model, init, TS, **options)


def _layer(name):
    """A layer and its gradient by the parameters."""
    layer, inputs, *_ = zoo.layers()[name]

    def total(layer, inputs):
        outs = jax.tree.leaves(layer(*inputs))
        return sum(jnp.sum(out) for out in outs if jnp.issubdtype(out.dtype, jnp.floating))

    return _of(eqx.filter_value_and_grad(total), layer, inputs)


def _dense(source, interaction=None, **options):
    """Three updates of a batch of states."""
    made = hx.GeneratedPatterns(jr.key(2), 40, 32)
    sources = {"packed": hx.patterns.pack, "stored": lambda p: hx.Patterns(p.rows(0, 40))}
    patterns = sources.get(source, lambda p: p)(made)
    net = hx.DenseMemory(patterns, interaction or hx.Power(3), block=16, **options)
    key = None if net.beta is None and net.update == "parallel" else jr.key(0)
    states = jnp.ones((4, 32), patterns.dtype)

    def updates(net, states):
        return jax.vmap(lambda s: hx.iterate(net, net.init(s), 3, key=key).overlaps)(states)

    return _of(updates, net, states)


def _counted():
    """All overlaps by counting bits, which a CPU does of its own accord."""
    return _of(lambda words, state: _blocks.count_bits(words, state), *_WORDS)


_WORDS = np.zeros((8, 2), np.uint32), np.zeros(2, np.uint32)


def _diagram(load, m0):
    return hx.theory.dense.solve_gfa(hx.Power(3), load, m0, 3, paths=64, scrambles=2).overlap[-1]


def _memory_stability():
    xi = hx.patterns.sunflower(3, 0.25, 0.5, 16).xi

    def point(gain):
        given = xi, hx.Logistic(2.0, 0.1), -0.5 * gain, gain, 0, "pseudo_inverse"
        return hx.theory.rate.memory_eigenvalues(*given).eigenvalues.real

    return _sweep(point, {"gain": [0.8, 1.0]})


LAYERS = {
    "HopfieldRetrieval",
    "DenseMemoryLayer",
    "SequenceMemory",
    "ResidualSelection",
    "by state",
}
_THEORY = hx.theory.sequential
#: Cheap ones first: each takes up to some seconds to trace, all of them a minute.
CHEAP = {
    "dense, stored": lambda: _dense("stored"),
    "dense, packed": lambda: _dense("packed", hx.ManyBody(3)),
    "dense, streamed": lambda: _dense("made anew", hx.RectifiedPower(3), beta=2.0),
    "dense, in turn": lambda: _dense("stored", hx.Exponential(0.5), update="random"),
    "dense, graded": lambda: _dense("stored", activation=hx.Tanh(2.0)),
    "dense, softmax": lambda: _dense("stored", hx.Softmax(0.3)),
    "dense, counted": _counted,
    "fixed points": lambda: _sweep(_THEORY.fixed_points),
    "critical gain": lambda: _sweep(
        lambda tau: _THEORY.critical_gain(4, tau=tau, bias=0.01), {"tau": [20.0, 50.0]}
    ),
    "layer at rest": lambda: _layer("at rest"),
    "layer in blocks": lambda: _layer("in steps and blocks"),
}
COSTLY = {
    **{f"layer: {name}": functools.partial(_layer, name) for name in sorted(LAYERS)},
    "sweep by events": lambda: _sweep(_point(_cycle())),
    "sweep by diffrax": lambda: _sweep(_point(_smooth())),
    "sweep with noise": lambda: _sweep(_point(_cycle(), noise=0.1), GAINS, jr.key(0)),
    "sweep of rates": lambda: _sweep(
        _point(zoo.rate_networks()["TwoTimescaleRateMemory"].network, {"saliency": [1.2, 0.3, 0.0]})
    ),
    "dwell time": lambda: _sweep(lambda kappa: _THEORY.dwell_time(kappa, 50.0, 4)),
    "basin edge": lambda: _sweep(lambda kappa: _THEORY.basin_edge(kappa)),
    "dense theory": lambda: _sweep(_diagram, {"load": [0.02, 0.05], "m0": [0.5, 0.9]}),
    "rate theory": _memory_stability,
    "fit by events": lambda: _fitting(_cycle()),
    "fit by diffrax": lambda: _fitting(_smooth()),
    "fit by gradients": lambda: _fitting(_cycle(), optimizer=optax.adam(1e-2)),
    "loss by events": lambda: _loss_and_derivatives(_cycle()),
    "loss by diffrax": lambda: _loss_and_derivatives(_smooth()),
}


#: In single precision: each kind of program once.
SINGLE = (
    *("dense, stored", "dense, packed", "dense, streamed", "fixed points", "layer at rest"),
    *("layer: SequenceMemory", "sweep by events", "sweep with noise", "fit by diffrax"),
)


def _check(exported, precision):
    text = exported.mlir_module()
    called = set(re.findall(r"custom_call @([^(]+)", text))
    assert called <= ALLOWED, f"not for a GPU: {called - ALLOWED}"
    assert exported.platforms == ("cuda",)
    assert "callback" not in text and not exported.ordered_effects
    assert not exported.unordered_effects
    # Half the width of a number is twice the speed or, on most GPUs, thirty times.
    assert precision == "float64" or "f64" not in text


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_programs_are_for_a_gpu(name):
    _check(CHEAP[name](), "float64")


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
def test_programs_are_for_a_gpu(name):
    _check(COSTLY[name](), "float64")


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_programs_in_single_precision_are_for_a_gpu(name):
    with jax.enable_x64(False):
        _check((CHEAP | COSTLY)[name](), "float32")


def test_only_checks_that_hopfax_has_made_are_left_out():
    made, other = "saveat.ts must lie between t0 and t1.", "`ts` must be something else."

    def steps(msg):
        return len(jax.make_jaxpr(lambda x, bad: eqxi.error_if(x, bad, msg))(1.0, True).eqns)

    every = eqxi.error_if
    with _checks.without_checks_made():
        assert steps(made) == 0 < steps(other)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert pool.submit(steps, made).result() > 0
    assert eqxi.error_if is every and steps(made) > 0


def test_kept_programs_are_for_the_platform_by_its_own_name():
    """Devices call it "gpu", programs "cuda": a program for "gpu" is refused by the device."""
    struct = (jax.ShapeDtypeStruct((3,), np.dtype("float32")),)
    _, program = _traced._made(lambda x: {"twice": 2 * x}, struct)
    (platform,) = jax.export.deserialize(bytearray(program)).platforms
    assert platform == jax.export.default_export_platform() != jax.default_backend()


def _planned(memory):
    """A sweep of a million points prepared for a GPU of 80 GB, a tile of which takes `memory`."""
    stats = {"bytes_limit": 80 * 10**9}
    device = types.SimpleNamespace(
        platform="gpu", device_kind="of 80 GB", memory_stats=lambda: stats
    )
    job = job_of(lambda x: x * jnp.ones(4), {"x": np.linspace(0.0, 1.0, 10**6)}, None, None)
    program = types.SimpleNamespace(
        memory=memory,
        tile=job.tile,
        devices=(device,),
        strip=1,
        compile_seconds=1.0,
        outputs={"value": jax.ShapeDtypeStruct((4,), np.dtype("float64"))},
    )
    probe = _plan._Probe(np.arange(job.tile), np.ones(job.tile), 0.05)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(job), "program", lambda self, devices: program)
        patched.setattr(_plan, "_probe", lambda job, program: probe)
        prepared = _plan.prepare_one(job, (device,), measure=True)
    return prepared.plan(prepared.blocks("auto"))


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_a_million_points_are_planned_for_a_gpu_of_80_gb():
    plan = _planned(memory=3 * 10**9)
    assert (plan.tile, plan.tiles, plan.workers) == (65536, 16, 2)
    assert plan.devices == ("gpu (of 80 GB)",) and plan.memory < 8 * 10**9
    # A block a tile, of which a thread writes one while the other computes the next.
    assert plan.block == (65536,) and plan.blocks == 16
    assert 0.3 < plan.seconds < 1.0
    # Where two tiles would take more than half of the memory, one is computed at a time.
    assert _planned(memory=30 * 10**9).workers == 1
    with pytest.raises(ValueError, match="65536 points needs 90 GB.* only 80 GB.*smaller `tile`"):
        _planned(memory=90 * 10**9)
    assert job_of(lambda x: x, {"x": np.ones(200)}, None, None).tile == 256  # no wider than needed
