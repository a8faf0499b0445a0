"""Malformed calls of every public function and class: `python tests/fuzz.py [WORD ...]` makes them
all (those of the names with a WORD), and prints what is wrong, `tests/test_fuzz.py` a part of them.

From a valid call each argument in turn is replaced by what it is not: text, objects, other shapes,
masked entries, NaN. The answer has to be an error that names the argument, raised in hopfax, or,
for what is legal, a result. Types are not checked by jaxtyping here, as for a user.
"""

import collections
import contextlib
import os
import pathlib
import sys
import tempfile
import traceback
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

#: What no argument is, whatever it is: unless the table `LEGAL` says so.
NEVER = {
    "text": "banana",
    "bytes": b"banana",
    "object": np.array([object(), None], dtype=object),
    "dict": {"banana": 1},
    "callable": lambda *arguments, **options: None,
    "class": hx.FieldState,
    "ragged": [[1.0, 2.0], [3.0]],
    "complex": 1.0 + 2.0j,
    "complexes": np.array([1.0 + 2.0j, 0.5]),
    "words": np.array(["a", "b"]),
    "set": {1.0, 2.0},
    "iterator": iter([1.0, 2.0]),
    "foreign": hx.FieldState(jnp.ones(2)),
    "masked": np.ma.masked_array([1.0, 2.0, 0.5], [False, True, False]),
    "nothing there": np.ma.masked,
    "dates": np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
    "duration": np.timedelta64(5, "s"),
    "rank": np.ones((2, 1, 3, 1, 2)),
    "empty": np.zeros(0),
    "NaN": float("nan"),
    "path": pathlib.Path("banana"),
}
#: What is legal for some arguments; a result must be free of NaN where that of the valid call is.
SOMETIMES = {
    "none": None,
    "bool": True,
    "list": [],
    "minus": -1,
    "zero": 0,
    "part": 0.5,
    "minus part": -0.5,
    "infinite": float("inf"),
    "minus infinite": -float("inf"),
    "huge": 1e300,
    "huge integer": 10**30,
    "longer": np.ones(7),
}


def made_from(value):
    """What differs from a valid value by little: other shapes, one entry that is none."""
    if isinstance(value, bool) or not isinstance(
        value, list | tuple | float | int | jax.Array | np.ndarray
    ):
        return {}, {}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"keys": jax.random.split(value, 2)}, {}
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or not array.size:
            return {}, {}
    except Exception:
        return {}, {}
    real = array.astype(float)
    first = np.arange(real.size).reshape(real.shape) == 0
    never = {
        "one masked": np.ma.masked_array(array, first),
        "one NaN": np.where(first, np.nan, real),
        "with an imaginary part": real + 1j,
        "of objects": np.where(first, None, array.astype(object)),
        "times": (10 * real).astype("timedelta64[s]"),
    }
    return never, {
        "batch": np.stack([array, array]),
        "column": array[..., None],
        "cut": array[:-1] if array.ndim else array,
    }


def of_theory():
    """Valid calls of the theory."""
    seq, dense, rate = hx.theory.sequential, hx.theory.dense, hx.theory.rate
    phi, power = hx.HardSigmoid(), hx.Power(3)
    design = dict(phi=phi, a=-0.3, b=0.95, q=0.2)
    xi = np.asarray(hx.patterns.balanced(0.2, 25).xi)
    of_xi = dict(xi=xi, phi=hx.Logistic(), a=-0.3, b=0.95)
    gfa = dict(paths=2**4, scrambles=2, seed=0)
    inputs = dict(saliency=1.0, input_active=0.0, input_silent=0.0)
    yield "basin_edge", seq.basin_edge, dict(kappa=5.0, P=4)
    yield "basin_edge of tau", seq.basin_edge, dict(kappa=5.0, P=4, tau=50.0, bias=0.01)
    yield "critical_gain", seq.critical_gain, dict(P=4, activation=hx.HardTanh())
    yield "critical_gain of tau", seq.critical_gain, dict(P=4, tau=50.0, bias=0.01)
    yield "critical_gain with noise", seq.critical_gain, dict(activation=hx.Tanh(), noise=0.1)
    yield "domain", seq.domain, dict(P=4, tau=50.0, bias=0.01)
    yield "error_band", seq.error_band, dict(bias=0.01)
    yield "dwell_time", seq.dwell_time, dict(kappa=5.0, tau=20.0, P=4, bias=0.01)
    yield "escape_time", seq.escape_time, dict(Z=4.0, tau=50.0, gain=1.0)
    yield "fixed_points", seq.fixed_points, dict(kappa=5.0, P=4)
    yield "fixed_points of tau", seq.fixed_points, dict(kappa=5.0, P=4, tau=50.0, bias=0.01)
    yield "gain_for_period", seq.gain_for_period, dict(period=103.6, P=4, tau=20.0)
    run = dict(kappa=5.0, tau=20.0, saliency0=[4.0, 0.0, 0.0, 0.0], steps=3, tie_margin=0.1)
    yield "itinerary", seq.itinerary, dict(transition=np.roll(np.eye(4), 1, 0)) | run
    yield "noise_limit", seq.noise_limit, dict(z=2.0)
    yield "retrieval_amplitude", seq.retrieval_amplitude, dict(z=2.0, activation=hx.HardTanh())
    yield "saliency_map", seq.saliency_map, dict(Z=[2.0, 2.0, 4.0], kappa=5.0, P=4)
    yield "saliency_orbit", seq.saliency_orbit, dict(Z0=4.0, kappa=5.0, steps=3, P=4)
    yield "switch_time", seq.switch_time, dict(Z0=4.0, kappa=5.0, tau=20.0, bias=0.01)
    yield "visited_before_collapse", seq.visited_before_collapse, dict(Z0=4.0, kappa=3.0)
    point = dict(interaction=power, load=0.08, m0=0.8)
    yield (
        "apparent_capacity",
        dense.apparent_capacity,
        dict(interaction=power, horizon=1, threshold=0.5, m0=1.0) | gfa,
    )
    yield (
        "dense.basin_edge",
        dense.basin_edge,
        dict(interaction=power, load=0.03, horizon=1, fraction=0.9) | gfa,
    )
    yield "capacity", dense.capacity, dict(interaction=power)
    yield "convergence_time", dense.convergence_time, point | dict(horizon=1, tolerance=0.1) | gfa
    yield "synaptic_capacity", dense.synaptic_capacity, dict(synapses=np.sign, kept=0.5)
    yield "exponential_load", dense.exponential_load, dict(m=0.8, rate=1.0)
    yield "finite_first_step", dense.finite_first_step, dict(interaction=power, N=10, M=20, m0=0.8)
    yield "first_steps", dense.first_steps, point | dict(steps=2)
    K = dense.input_driven_kernel()
    yield (
        "first_steps of inputs",
        dense.first_steps,
        dict(interaction=K, load=0.15, m0=0.5, steps=2, stimulus_overlap=0.8),
    )
    yield "kernel", dense.kernel, dict(interaction=power)
    yield "map_fixed_points", dense.map_fixed_points, dict(interaction=power, load=0.05)
    yield "map_step", dense.map_step, dict(interaction=power, load=0.05, m=0.6)
    yield (
        "map_trajectory",
        dense.map_trajectory,
        dict(interaction=power, load=0.05, m0=0.6, steps=2),
    )
    finite = dict(interaction=power, N=10)
    yield "exact_recall", dense.exact_recall, finite | dict(M=20, flips=1)
    yield "transition_recall", dense.transition_recall, finite | dict(M=20)
    yield (
        "error_free_capacity",
        dense.error_free_capacity,
        finite | dict(probability=0.5, what="sequence", keep_diagonal=True),
    )
    yield (
        "error_free_capacity of cues",
        dense.error_free_capacity,
        finite | dict(probability=0.5, what="memory", flips=1),
    )
    yield "sequence_capacity", dense.sequence_capacity, dict(interaction=power)
    yield "sequence_correlation", dense.sequence_correlation, point | dict(steps=2)
    yield (
        "sequence_fixed_points",
        dense.sequence_fixed_points,
        dict(interaction=power, load=0.05),
    )
    yield (
        "mixture_trajectory",
        dense.mixture_trajectory,
        dict(hold=power, follow=power, load=0.08, m0=0.8, steps=2, share=0.4, delay=1, beta=2.0)
        | gfa,
    )
    yield "sequence_trajectory", dense.sequence_trajectory, point | dict(steps=2, beta=2.0)
    yield (
        "solve_flow",
        dense.solve_flow,
        dict(interaction=power, load=0.08, weight=0.5, horizon=1.0, steps=2, spread=0.1) | gfa,
    )
    yield "solve_gfa", dense.solve_gfa, point | dict(steps=2, beta=2.0) | gfa
    yield (
        "solve_gfa graded",
        dense.solve_gfa,
        point
        | dict(steps=2, activation=hx.HardTanh(), self_coupling=True, interaction=hx.Quadratic())
        | gfa,
    )
    yield "Kernel", dense.Kernel, dict(function=lambda C: C**2, order=3)
    yield "balanced_spectrum", rate.balanced_spectrum, design
    yield "contraction_rate", rate.contraction_rate, dict(phi=phi, eigenvalue=0.1)
    yield (
        "contraction_rate_max_norm",
        rate.contraction_rate_max_norm,
        dict(phi=phi, weights=np.array([[0.0, -0.1], [0.1, 0.0]])),
    )
    yield (
        "critical_inhibition",
        rate.critical_inhibition,
        dict(phi=hx.Logistic(1.25, 0.1), a=-0.2, b=0.95, q=0.2, inhibition=41.0),
    )
    yield "critical_saliency", rate.critical_saliency, design
    yield "critical_saliency_planar", rate.critical_saliency_planar, design
    yield "crosstalk", rate.crosstalk, design | dict(P=14, N=1000, activity="fixed")
    yield (
        "dale_eigenvalues",
        rate.dale_eigenvalues,
        of_xi | dict(mu=0, tau=5.0, inhibition=1.5, learning="projection"),
    )
    yield "dale_inhibition", rate.dale_inhibition, of_xi | dict(learning="projection")
    yield (
        "dale_jacobian",
        rate.dale_jacobian,
        of_xi | dict(mu=0, tau=5.0, inhibition=1.5, learning="projection"),
    )
    yield "design", rate.design, design | dict(r=0.4)
    yield "globally_stable", rate.globally_stable, design | inputs
    yield "memory_eigenvalues", rate.memory_eigenvalues, of_xi | dict(mu=0, learning="projection")
    yield (
        "phase",
        rate.phase,
        dict(gain=4.8, threshold=0.2, a=-0.3, b=0.95, q=0.2, activation=hx.HardSigmoid),
    )
    yield "planar_equilibria", rate.planar_equilibria, design | inputs | dict(most=9)
    yield "spectrum", rate.spectrum, design | dict(r=0.4, P=5, learning="covariance")
    yield "stability", rate.stability, design


def of_networks():
    """Valid calls of what networks are made of, of networks and of their methods."""
    key = jax.random.key(0)
    for kind in (hx.HardTanh, hx.Tanh, hx.Erf, hx.Arctan, hx.Rational):
        yield kind.__name__, kind, dict(gain=2.0)
    yield "GaussianAverage", hx.GaussianAverage, dict(activation=hx.HardTanh(), std=0.5)
    for kind in (hx.Logistic, hx.HardSigmoid, hx.RectifiedTanh, hx.ThresholdLinear):
        yield kind.__name__, kind, dict(gain=2.0, threshold=0.1)
    for kind in (hx.Power, hx.RectifiedPower, hx.ManyBody):
        yield kind.__name__, kind, dict(order=3)
    yield "Exponential", hx.Exponential, dict(rate=0.5)
    yield "Softmax", hx.Softmax, dict(beta=0.5)
    yield "Epanechnikov", hx.Epanechnikov, dict(beta=0.5)
    yield "Simplicial", hx.Simplicial, dict(weights={2: 0.5, 3: 1.0})
    yield "Polynomial", hx.Polynomial, dict(weights={2: 0.5, 3: 1.0})
    yield "Pulses", hx.Pulses, dict(edges=[0.0, 1.0, 3.0], values=[[1.0, -1.0], [0.0, 0.0]])
    yield (
        "Diffrax",
        hx.Diffrax,
        dict(solver=None, controller=None, dt0=0.1, reduction="auto", dense=False, switches=64),
    )
    yield "EventDriven", hx.EventDriven, dict(order=12, tol=1e-9, dense=False, switches=64)
    yield "Events", hx.Events, dict(memory=[0, 2, 1], time=[0.0, 25.0, 50.0], end=70.0, cycle=True)
    events = hx.Events([0, 2, 1], [0.0, 25.0, 50.0], end=70.0, cycle=True)
    yield "Events.repeated", events.repeated, dict(rounds=2)
    yield "cyclic", hx.cyclic, dict(P=4)
    yield (
        "design_cycle",
        hx.design_cycle,
        dict(order=[0, 2, 1, 3], dwell=30.0, P=4, tau=20.0, delay=0.0),
    )
    xi = np.asarray(hx.patterns.hadamard(4, 16).xi)
    patterns = hx.Patterns(xi)
    packed = hx.patterns.pack(patterns)
    generated = hx.GeneratedPatterns(key, 4, 16)
    yield "Patterns", hx.Patterns, dict(xi=xi, binary=True, counts=np.ones(16), check_patterns=True)
    yield "GeneratedPatterns", hx.GeneratedPatterns, dict(key=key, P=4, N=16)
    yield "PackedPatterns", hx.PackedPatterns, dict(bits=jnp.array([[5]], jnp.uint32), N=4)
    for name, stored in (("Patterns", patterns), ("packed", packed), ("generated", generated)):
        yield f"{name}.pattern", stored.pattern, dict(mu=1)
        yield f"{name}.column", stored.column, dict(neuron=1)
        yield f"{name}.rows", stored.rows, dict(first=0, size=2)
        yield f"{name}.words", stored.words, dict(first=0, size=2)
        yield f"{name}.corrupt", stored.corrupt, dict(key=key, mu=1, flips=3)
    yield "Patterns.field", patterns.field, dict(weights=np.ones(4))
    yield "Patterns.overlap", patterns.overlap, dict(rates=np.ones(16))
    yield "Patterns.mean", patterns.mean, dict(values=np.ones(16))
    classes = patterns.site_classes()
    yield "SiteClasses.expand", classes.expand, dict(values=np.ones(classes.patterns.N))
    yield "SiteClasses.average", classes.average, dict(values=np.ones(16))
    sparse = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    module = hx.patterns
    yield "active", module.active, dict(values=np.array([[0.9, 0.1, 0.4, 0.7]]), q=0.5)
    yield "balanced", module.balanced, dict(q=0.5, N=16)
    yield "correlated", module.correlated, dict(key=key, P=4, N=16, rho=0.25)
    yield "degrade", module.degrade, dict(patterns=module.balanced(0.5, 16), key=key, mu=1, kept=5)
    yield (
        "from_images",
        module.from_images,
        dict(source=np.arange(24.0).reshape(2, 3, 4) % 7, shape=None, threshold="median"),
    )
    yield "hadamard", module.hadamard, dict(columns=4, N=16)
    yield "hadamard of columns", module.hadamard, dict(columns=[1, 2, 4], N=16)
    yield "patterns.load", module.load, dict(path="xi.npy")
    yield "pack", lambda sources: module.pack(sources), dict(sources=patterns)
    yield "patterns.random", module.random, dict(key=key, P=4, N=16)
    yield "shard", module.shard, dict(patterns=patterns, devices=None)
    yield "sparse", module.sparse, dict(key=key, P=4, N=16, q=0.25)
    yield "sunflower", module.sunflower, dict(P=3, q=0.25, r=0.5, N=16)
    field = dict(patterns=patterns, activation=hx.Tanh(2.0), learning="hebbian", keep_diagonal=True)
    two = dict(transition=hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01, readout="linear")
    rates = dict(
        patterns=sparse, a=-0.3, b=0.95, activation=hx.HardSigmoid(), learning="projection"
    )
    of_rates = two | dict(transition=hx.cyclic(3))
    yield "Hopfield", hx.Hopfield, field
    yield "InputDrivenHopfield", hx.InputDrivenHopfield, field
    yield "OneTimescaleHopfield", hx.OneTimescaleHopfield, field | dict(Q=np.eye(4))
    slow = dict(transition=hx.cyclic(4), strength=0.6, tau=20.0, stages=2, bias=0.01)
    yield "SlowSynapseHopfield", hx.SlowSynapseHopfield, field | slow
    yield "TwoTimescaleHopfield", hx.TwoTimescaleHopfield, field | two
    yield "RateMemory", hx.RateMemory, rates
    yield "InputDrivenRateMemory", hx.InputDrivenRateMemory, rates
    yield "DaleRateMemory", hx.DaleRateMemory, rates | dict(tau_inhibition=0.5, inhibition=8.0)
    yield "TwoTimescaleRateMemory", hx.TwoTimescaleRateMemory, rates | of_rates
    yield "ThresholdLinearNetwork", hx.ThresholdLinearNetwork, dict(W=-np.eye(4), b=np.ones(4))
    combinatorial = hx.ThresholdLinearNetwork.combinatorial
    graph = dict(graph=hx.cyclic(4), epsilon=0.25, delta=0.5, theta=1.0)
    yield "ThresholdLinearNetwork.combinatorial", combinatorial, graph
    yield (
        "DenseFlow",
        hx.DenseFlow,
        dict(patterns=patterns, interaction=hx.Power(3), activation=hx.Tanh(2.0), tau_hidden=0.5),
    )
    of_dense = dict(patterns=patterns, interaction=hx.Power(3), rule="leading", update="parallel")
    yield "DenseMemory", hx.DenseMemory, of_dense | dict(beta=2.0, keep_diagonal=False, block=4)
    yield "DenseMemory of numbers", hx.DenseMemory, of_dense | dict(transition=np.arange(4))
    yield "DenseMemory of a matrix", hx.DenseMemory, of_dense | dict(transition=np.eye(4))
    moved = dict(patterns=patterns, hold=hx.Power(2), follow=hx.Power(3), share=0.4)
    pairs = dict(patterns=patterns, kept=0.5, key=key, beta=2.0, update="random")
    yield "PairwiseMemory", hx.PairwiseMemory, pairs
    yield "DenseSequence", hx.DenseSequence, moved | dict(transition="cyclic", tau=2.0)
    yield "DenseSequence delayed", hx.DenseSequence, moved | dict(delay=2, update="cyclic")
    yield "DenseSequence weighed", hx.DenseSequence, moved | dict(delay=[0.5, 0.5], beta=2.0)
    yield (
        "DenseMemory graded",
        hx.DenseMemory,
        dict(patterns=patterns, interaction=hx.Power(3), activation=hx.Tanh(2.0)),
    )
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0], weights=[1.0, 0.0, 0.0, 0.0])
    state = network.init(**start)
    yield "TwoTimescaleHopfield.init", network.init, start
    yield (
        "TwoTimescaleHopfield.init of a field",
        network.init,
        dict(saliency=[4.0, 0.0, 0.0, 0.0], field=np.ones(16)),
    )
    yield "TwoTimescaleHopfield.energy", network.energy, dict(state=state, inputs=hx.Inputs())
    yield "TwoTimescaleHopfield.overlaps", network.overlaps, dict(state=state)
    yield "TwoTimescaleHopfield.rates", network.rates, dict(state=state)
    yield (
        "TwoTimescaleHopfield.saliencies",
        network.saliencies,
        dict(state=state, inputs=hx.Inputs()),
    )

    def flowing(**given):
        return network.vector_field(0.0, **given)

    yield "TwoTimescaleHopfield.vector_field", flowing, dict(state=state, inputs=hx.Inputs())
    classic = hx.Hopfield(**field)
    yield "Hopfield.init", classic.init, dict(weights=[1.0, 0.0, 0.0, 0.0])
    memory = hx.RateMemory(sparse)
    yield "RateMemory.init", memory.init, dict(rates=np.ones(16))
    yield "RateMemory.init of weights", memory.init, dict(weights=[1.0, 0.0, 0.0])
    yield "RateMemory.overlaps", memory.overlaps, dict(state=memory.init(weights=[1.0, 0.0, 0.0]))
    dale = hx.DaleRateMemory(sparse, tau_inhibition=0.5)
    yield "DaleRateMemory.init", dale.init, dict(rates=np.ones(16), inhibition=0.1)
    moving = hx.TwoTimescaleRateMemory(sparse, hx.cyclic(3), kappa=3.0, tau=20.0)
    yield (
        "TwoTimescaleRateMemory.init",
        moving.init,
        dict(saliency=[1.5, 0.0, 0.0], weights=[1.0, 0.0, 0.0]),
    )
    flow = hx.DenseFlow(patterns, hx.Power(3), activation=hx.Tanh(2.0))
    yield "DenseFlow.init", flow.init, dict(weights=[0.8, 0.3, 0.0, 0.0])
    dense = hx.DenseMemory(patterns, hx.Power(3))
    spins = dense.init(patterns.pattern(0))
    yield "DenseMemory.init", dense.init, dict(spins=np.asarray(patterns.pattern(0)))
    yield "DenseMemory.energy", dense.energy, dict(state=spins)
    yield "DenseMemory.field", dense.field, dict(state=spins, stimulus=None)
    yield "DenseMemory.overlaps", dense.overlaps, dict(state=spins)
    glauber = hx.DenseMemory(patterns, hx.Power(3), beta=1.0)
    yield "DenseMemory.step", glauber.step, dict(state=spins, stimulus=None, key=key)
    driven = dense
    ts = [0.0, 1.0, 2.0]
    run = dict(network=network, state0=state, ts=ts)
    yield (
        "simulate",
        hx.simulate,
        run
        | dict(
            current=np.zeros(16),
            method="auto",
            derivative="reverse",
            observe=None,
            event=None,
            max_steps=64,
            throw=True,
        ),
    )
    yield "simulate with noise", hx.simulate, run | dict(noise=0.01, key=key)
    yield (
        "simulate driven",
        hx.simulate,
        dict(
            network=hx.InputDrivenHopfield(patterns),
            state0=classic.init(weights=[1.0, 0, 0, 0]),
            ts=ts,
            stimulus=xi[0],
        ),
    )
    yield (
        "iterate",
        hx.iterate,
        dict(
            network=glauber, state0=spins, steps=2, key=key, track=[0, 1], observe=None, throw=True
        ),
    )
    yield "iterate graded", hx.iterate, dict(network=driven, state0=spins, steps=2)


def of_runs():
    """Valid calls of what reads runs, sweeps, fits and stores them, and of figures."""
    import matplotlib.pyplot as plt
    import xarray

    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01)
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    state, ts = network.init(**start), np.linspace(0.0, 100.0, 11)
    run = hx.simulate(network, state, ts)
    with_dense = hx.simulate(network, state, ts, method=hx.EventDriven(dense=True))
    yield "Trajectory.evaluate", with_dense.evaluate, dict(t=10.0)
    obs = hx.observables
    for observable in (obs.classify, obs.dwell_times, obs.summary, obs.switch_times, obs.visited):
        yield observable.__name__, observable, dict(trajectory=run)
    yield "escape_times", obs.escape_times, dict(trajectory=run, network=network)
    yield (
        "observables.energy",
        lambda **given: obs.energy(0.0, **given),
        dict(state=state, network=network, inputs=hx.Inputs()),
    )
    yield "mixture", lambda **given: obs.mixture(0.0, **given), dict(state=state, network=network)
    yield "Selected", obs.Selected, dict(names=["switches", "overlaps_end"])
    yield "Selected()", obs.Selected(["switches"]), dict(trajectory=run)
    point = hx.Point(network, start, ts)
    yield (
        "Point",
        hx.Point,
        dict(
            network=network,
            init=start,
            ts=ts,
            observe=obs.summary,
            noise=None,
            stimulus=None,
            current=None,
            method="auto",
            per_tau=False,
            max_steps=512,
        ),
    )
    yield "Point()", point, dict(values={"kappa": 5.0}, key=None)
    yield "Point() of kappa", lambda kappa: point({"kappa": kappa}), dict(kappa=5.0)
    yield (
        "Point() of a start",
        lambda saliency: point({"init.saliency": saliency}),
        dict(saliency=[4.0, 0, 0, 0]),
    )
    plain, grid = hx.theory.sequential.fixed_points, {"kappa": [4.0, 5.0]}
    many = dict(point=plain, grid=grid, key=None, tile=None, chunk="auto", devices=None)
    yield (
        "sweep",
        hx.sweep,
        many
        | dict(
            store=None,
            resume="auto",
            overwrite=False,
            part=None,
            tag=None,
            executor=None,
            on_failure="warn",
            progress="auto",
        ),
    )
    yield "sweep of a grid", lambda grid: hx.sweep(plain, {"kappa": grid}), dict(grid=[4.0, 5.0])
    yield "sweep_plan", hx.sweep_plan, many

    def exists(kappa):
        return {"exists": plain(kappa, 4).exists}

    yield (
        "refine",
        hx.refine,
        dict(
            point=exists,
            grid={},
            along="kappa",
            between=(1.0, 6.0),
            of="exists",
            into=None,
            tol=0.1,
            coarse=4,
            key=None,
            tile=4,
            devices=None,
        ),
    )
    yield "open_sweep", hx.open_sweep, dict(path="store", partial=False)
    yield "save", hx.save, dict(path="saved.hopfax", model=patterns, notes={"why": "an example"})
    yield "load", hx.load, dict(path="model.hopfax", cast=False, classes=())
    yield (
        "designs.random",
        hx.designs.random,
        dict(ranges={"kappa": (2.0, 6.0)}, points=6, seed=0, log=()),
    )
    yield (
        "designs.random of a range",
        lambda ranges: hx.designs.random({"kappa": ranges}, 6),
        dict(ranges=(2.0, 6.0)),
    )
    yield (
        "designs.sobol",
        hx.designs.sobol,
        dict(ranges={"kappa": (2.0, 6.0)}, points=8, seed=0, log=("kappa",)),
    )
    con = hx.constraints
    yield "Box", con.Box, dict(low=0.0, high=1.0)
    yield "Masked", con.Masked, dict(mask=np.eye(2, dtype=bool), among=con.Unconstrained())
    yield "zero_diagonal", con.zero_diagonal, dict(P=3, among=con.Unconstrained())
    times, loss = [32.0, 63.0], hx.losses
    yield (
        "losses.dwell_times",
        loss.dwell_times,
        dict(dwells=[30.0, 31.0], init=start, order=[0, 1, 2], sigma=1.0, method="auto"),
    )
    yield (
        "losses.switch_times",
        loss.switch_times,
        dict(times=times, init=start, order=[1, 2], sigma=1.0),
    )
    yield (
        "losses.switch_times of a run",
        loss.switch_times,
        dict(times=times, init=start, t0=0.0, end=70.0, current=None, stimulus=None),
    )
    yield (
        "losses.each",
        loss.each,
        dict(
            network=network,
            losses=loss.stack(
                [loss.event_map(hx.Events([0, 1, 2]), saliency=start["saliency"])] * 2
            ),
            derivative="reverse",
        ),
    )
    followed = loss.event_map(hx.Events([0, 1, 2]), saliency=start["saliency"])
    yield "losses.joint", loss.joint, dict(model=(network, followed), derivative="reverse")
    yield (
        "event_map",
        loss.event_map,
        dict(
            target=hx.Events([0, 2, 1, 3]),
            saliency=[4.0, 0.0, 0.0, 0.0],
            margin=0.2,
            sigma=1.0,
            delay=0.0,
        ),
    )
    paths = dict(ts=[0.0, 1.0, 2.0], values=np.ones((3, 4)))
    yield (
        "field_path",
        loss.field_path,
        paths | dict(values=np.ones((3, 16)), init=start, sigma=1.0),
    )
    yield "overlap_path", loss.overlap_path, paths | dict(init=start, sigma=1.0)
    yield "saliency_path", loss.saliency_path, paths | dict(init=start, sigma=1.0)
    yield (
        "losses.order",
        loss.order,
        dict(target=[0, 2, 1, 3], P=4, saliency=4.0, window=None, sharpness=2.0),
    )
    yield "read_events", loss.read_events, dict(path="events.csv")
    recording = loss.switch_times(times, init=start)
    yield (
        "same_run",
        lambda recordings: loss.same_run(*recordings),
        dict(recordings=[recording, recording]),
    )
    yield "stack", loss.stack, dict(losses=[recording, recording])
    yield (
        "shooting",
        loss.shooting,
        dict(ts=[0.0, 1.0, 2.0, 3.0], saliency=np.ones((4, 4)), windows=2, sigma=1.0),
    )
    yield "losses.value", loss.value, dict(output=jnp.ones(3))
    yield (
        "fit",
        hx.fit,
        dict(
            model={"a": jnp.zeros(2)},
            loss=lambda model: jnp.array([1.0, 2.0, 2.1]) - model["a"][jnp.array([0, 1, 1])],
            where=lambda model: model["a"],
            constraint=None,
            data=None,
            batch_size=None,
            optimizer=None,
            steps=3,
            patience=None,
            tolerance=1e-6,
            starts=1,
            spread=0.5,
            key=None,
            derivative="auto",
            absolute_sigma=False,
            callback=None,
            checkpoint=None,
            progress=False,
        ),
    )
    yield (
        "fit_sequence",
        hx.fit_sequence,
        dict(
            network=network,
            target=[0, 2, 1, 3],
            strategy="design",
            memory="auto",
            where=None,
            constraint=None,
            saliency=None,
            sigma=1.0,
            absolute_sigma=False,
            optimizer=None,
            steps=None,
            starts=1,
            key=None,
            progress=False,
        ),
    )
    plots = hx.plots
    swept = hx.sweep(point, {"kappa": [2.0, 4.0, 6.0], "init.saliency[0]": [2.0, 4.0]})
    flat = hx.sweep(lambda kappa, tau: tau * kappa, {"kappa": [4.0, 5.0], "tau": [1.0, 2.0]})
    cube = hx.sweep(
        lambda kappa, tau, bias: tau * kappa * bias,
        {n: [1.0, 2.0] for n in ("kappa", "tau", "bias")},
    )
    yield "curves", plots.curves, dict(dataset=hx.sweep(plain, grid), axes=None)
    yield "maps", plots.maps, dict(dataset=flat, axes=None)
    yield "facets", plots.facets, dict(dataset=cube, figure=None, theory=False)
    yield "overview", plots.overview, dict(dataset=swept, figure=None, theory=False)
    yield "phase_diagram", plots.phase_diagram, dict(dataset=swept, ax=None, theory=False)
    yield "dwell_curve", plots.dwell_curve, dict(dataset=swept, ax=None, theory=False)
    drawn = hx.sweep(
        lambda kappa, tau: tau * kappa,
        hx.designs.random({"kappa": (2.0, 6.0), "tau": (1.0, 2.0)}, 4),
    )
    yield "scatter", plots.scatter, dict(dataset=drawn, axes=None, theory=False)
    overlap = np.ones((2, 2))
    made = xarray.Dataset(
        {"overlap": (("load", "m0"), overlap), "error": (("load", "m0"), 0 * overlap)},
        {"load": [0.1, 0.2], "m0": [0.1, 0.9], "order": 3},
        {"interaction": "power", "steps": 5},
    )
    yield (
        "retrieval_diagram",
        plots.retrieval_diagram,
        dict(dataset=made, ax=None, variable="overlap", theory=False),
    )
    phases = hx.sweep(
        hx.theory.rate.phase,
        {"gain": [1.0, 4.0], "threshold": [0.0, 0.5], "a": [-0.3], "b": [0.95]},
    )
    phases.storage.attrs |= {"flag_values": [0, 1, 2], "flag_meanings": "unstable stable certified"}
    yield "storage_diagram", plots.storage_diagram, dict(dataset=phases, ax=None, theory=False)
    yield (
        "film_strip",
        plots.film_strip,
        dict(
            frames=np.ones((3, 4, 4)),
            labels=["a", "b", "c"],
            times=[0.0, 1.0, 2.0],
            colors=None,
            ax=None,
        ),
    )
    yield "plots.saliency_map", plots.saliency_map, dict(kappa=5.0, P=4, Z0=4.0, steps=3, ax=None)
    yield (
        "plots.trajectory",
        plots.trajectory,
        dict(traj=run, network=network, predicted=[1.0, 2.0], axes=None),
    )
    plt.close("all")


def of_layers():
    """Valid calls of layers."""
    nn, key = hx.nn, jax.random.key(0)
    patterns = hx.patterns.hadamard(2, 4)
    network = hx.TwoTimescaleHopfield(
        patterns, np.eye(2), kappa=2.0, tau=4.0, activation=hx.Tanh(2.0)
    )
    rows, us = jnp.ones((3, 4)), jnp.ones((5, 3))
    sizes = dict(key=key, dtype=None)
    yield "Bank", nn.Bank, dict(inputs=3, outputs=2, slots=2, width=None) | sizes
    yield (
        "DenseMemoryLayer",
        nn.DenseMemoryLayer,
        dict(num_memories=5, size=4, interaction=None, steps=2, max_steps=16) | sizes,
    )
    yield (
        "DenseMemoryLayer at rest",
        nn.DenseMemoryLayer,
        dict(
            num_memories=5, size=4, interaction=hx.Softmax(2.0), steps=None, max_steps=16, tol=1e-3
        )
        | sizes,
    )
    yield "ExponentialEuler", nn.ExponentialEuler, dict(steps=4)
    of_heads = dict(
        memory_size=None,
        value_size=None,
        output_size=None,
        qk_size=None,
        vo_size=None,
        beta=None,
        learn_beta=False,
        steps=1,
        norms=("query", "memory"),
        projections=("query", "memory", "value", "output"),
        use_bias=True,
        block="auto",
    )
    yield (
        "HopfieldRetrieval",
        nn.HopfieldRetrieval,
        dict(num_heads=1, query_size=4) | of_heads | sizes,
    )
    yield (
        "HopfieldLookup",
        nn.HopfieldLookup,
        dict(num_memories=5, num_heads=1, query_size=4, separate_values=False) | sizes,
    )
    yield (
        "HopfieldPooling",
        nn.HopfieldPooling,
        dict(num_queries=2, num_heads=1, query_size=4) | sizes,
    )
    yield (
        "LinearSystem",
        nn.LinearSystem,
        dict(inputs=2, outputs=2, taps=1, modes=2, scale=0.3) | sizes,
    )
    yield "Modes", nn.Modes, dict(log_rate=jnp.zeros(2), angle=jnp.zeros(2), scaled=False)
    yield (
        "ResidualSelection",
        nn.ResidualSelection,
        dict(inputs=3, outputs=2, slots=2, taps=2, modes=2, width=None, jitter=1.0, mode="scan")
        | sizes,
    )
    yield (
        "ResidualSelector",
        nn.ResidualSelector,
        dict(inputs=3, slots=2, taps=2, modes=2, beta=1.0, bias=0.0, scale=0.3, jitter=1.0) | sizes,
    )
    yield (
        "SaliencySelector",
        nn.SaliencySelector,
        dict(patterns=jnp.ones((2, 3)), beta=1.0, form="softmax", threshold=None),
    )
    residual = nn.ResidualSelector(3, 2, key=key)
    yield (
        "Selection",
        nn.Selection,
        dict(write=residual, read=residual, bank=nn.Bank(3, 2, 2, key=key), mode="scan"),
    )
    smooth = hx.TwoTimescaleHopfield(
        patterns, np.eye(2), kappa=2.0, tau=4.0, bias=0.05, activation=hx.Tanh(2.0)
    )
    yield (
        "SequenceMemory",
        nn.SequenceMemory,
        dict(
            network=smooth,
            in_size=3,
            dt=1.0,
            output="overlaps",
            current_gain=2.0,
            stimulus_gain=1.0,
            constraint=hx.constraints.Unconstrained(),
            reach=1.25,
            learn_patterns=False,
            method=nn.ExponentialEuler(4),
            key=key,
        ),
    )
    yield (
        "TwoTimescaleSelector",
        nn.TwoTimescaleSelector,
        dict(network=network, gain=1.0, beta=4.0, dt=0.25, substeps=4),
    )
    yield "annihilator", nn.annihilator, dict(modes=jnp.array([0.5, 0.25]))
    A, C = np.array([[0.5, 1.0], [0.0, 0.25]]), np.array([[1.0, 0.0]])
    yield "deadbeat_gain", nn.deadbeat_gain, dict(transition=A, output=C)
    yield "parity_relations", nn.parity_relations, dict(transition=A, output=C, window=3)
    retrieval = nn.HopfieldRetrieval(1, 4, key=key)
    yield "HopfieldRetrieval()", retrieval, dict(query=rows, memory=rows)
    yield "HopfieldLookup()", nn.HopfieldLookup(5, 1, 4, key=key), dict(query=rows)
    yield "HopfieldPooling()", nn.HopfieldPooling(2, 1, 4, key=key), dict(memory=rows)
    yield "DenseMemoryLayer()", nn.DenseMemoryLayer(5, 4, steps=2, key=key), dict(x=rows[0])
    residual = nn.ResidualSelection(3, 2, slots=2, taps=2, key=key)
    yield "ResidualSelection()", residual, dict(us=us, key=key, inference=False)
    yield (
        "SequenceMemory()",
        nn.SequenceMemory(smooth, 3, dt=1.0, method=nn.ExponentialEuler(2), key=key),
        dict(us=us),
    )
    yield "to_functional", nn.to_functional, dict(layer=retrieval)


#: What is right for some arguments, whatever it is for others: (case, argument): kinds.
LEGAL = {
    ("Box", "low"): {"empty", "rank"},  # bounds broadcast against a parameter not yet known
    ("Box", "high"): {"empty", "rank"},
    ("Kernel", "function"): {"callable", "class"},
    ("Masked", "mask"): {"empty", "rank"},
    ("Point", "observe"): {"callable"},
    ("fit", "callback"): {"callable", "class"},
    ("film_strip", "labels"): {"of objects"},
    ("fit", "where"): {"class"},
    ("fit_sequence", "constraint"): {"callable"},
    ("iterate", "observe"): {"callable", "class"},
    ("load", "classes"): {"class"},
    ("losses.value", "output"): {"empty", "rank"},
    **{
        (name, "sigma"): {"none"}  # not known
        for name in (
            *("losses.switch_times", "losses.dwell_times", "saliency_path", "overlap_path"),
            *("field_path", "shooting"),
        )
    },
    ("plots.trajectory", "predicted"): {"rank", "empty", "NaN", "one NaN"},  # padded
    ("open_sweep", "path"): {"text", "path"},  # by then a sweep is there
    ("save", "path"): {"text", "path"},
    ("load", "path"): {"text", "path"},
    ("save", "notes"): {"text", "dict", "ragged", "NaN"},
    ("simulate", "observe"): {"callable", "class"},
    ("sweep", "store"): {"text", "path"},
    ("sweep", "tag"): {"text"},
    ("sweep of a grid", "grid"): {"rank", "empty", "one NaN"},  # a bad point has a status
    ("to_functional", "layer"): {"foreign"},
    **{(f"losses.{name}", "init"): {"dict"} for name in ("dwell_times", "switch_times")},
    ("losses.switch_times of a run", "init"): {"dict"},
    **{(f"{name}_path", "init"): {"dict"} for name in ("field", "overlap", "saliency")},
    ("save", "model"): {
        *("text", "dict", "ragged", "complexes", "foreign", "masked", "nothing there"),
        *("rank", "empty", "NaN"),
    },
}
#: Layers are told nothing of values, as in any other library of them.
LAYERS = "()"
#: Functions of numbers, mapped over arrays of any shape.
MAPPED = {
    *("basin_edge", "critical_gain", "dwell_time", "escape_time", "fixed_points", "noise_limit"),
    *("gain_for_period", "retrieval_amplitude", "saliency_map", "saliency_orbit", "switch_time"),
    *("visited_before_collapse", "exponential_load", "finite_first_step", "map_fixed_points"),
    *("sequence_trajectory", "sequence_fixed_points"),
    *("map_step", "map_trajectory", "balanced_spectrum", "contraction_rate", "crosstalk"),
    *("critical_saliency", "design", "phase", "spectrum", "stability", "critical_inhibition"),
    *("domain", "error_band"),
}


def legal(case, argument, kind):
    """Whether an argument may be of a kind that is wrong for most."""
    if kind in LEGAL.get((case, argument), ()):
        return True
    if kind in ("rank", "empty") and case.partition(" of ")[0] in MAPPED:
        return True
    answers = ("Z", "Z0", "z", "m")  # of other functions, NaN where there is none
    if kind in ("NaN", "one NaN"):
        return argument in answers or case.endswith(LAYERS) or case == "domain"
    return False


class Verdict(collections.namedtuple("Verdict", "case argument kind verdict text")):
    """What a malformed call did."""


def named(argument, text):
    """Whether an error names an argument: in backticks, alone or as the beginning of a path."""
    if argument == "weights" and "`order`" in text:  # the keys of those of Simplicial
        return True
    return f"`{argument}" in text or f".{argument}`" in text or f"`{argument}`" in text


def judged(call, argument, arguments, kind, value, fine):
    """What a call does with a malformed argument: "named" if it is refused as it should be,
    "accepted" if it is not, else what is wrong."""
    try:
        found = call(**{**arguments, argument: value})
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        if any(frame.filename == __file__ for frame in frames[1:]):
            return "own", f"{type(error).__name__}: {error}"[:160]  # of the user's function
        here = [f for f in frames if "site-packages" not in f.filename]
        where = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}"
        if here:
            where = f"{pathlib.Path(here[-1].filename).name}:{here[-1].lineno} {where}"
        said = f"{type(error).__name__}: {error}"[:160] + f" [{where}]"
        good = isinstance(
            error, ValueError | TypeError | OSError | hx.SimulationError | ImportError
        )
        if good and (named(argument, str(error)) or isinstance(error, hx.SimulationError)):
            return "named", said
        raw = not good or "hopfax" not in frames[-1].filename
        return ("raw" if raw else "unnamed"), said
    try:
        if fine and not finite(found):
            return "NaN", repr(found)[:100]
    except Exception as error:  # what came out is nothing that can be looked at
        return "NaN", repr(error)
    return "accepted", repr(found)[:100].replace("\n", " ")


def finite(found):
    """Whether there is no NaN in a result."""
    leaves = jax.tree.leaves(found)
    floats = [
        np.asarray(x)
        for x in leaves
        if hasattr(x, "dtype") and np.issubdtype(np.asarray(x).dtype, np.floating)
    ]
    return not any(np.isnan(x).any() for x in floats)


def malformed(value):
    """All that an argument is replaced by, and whether it is never right."""
    never, sometimes = made_from(value)
    for kind, bad in (NEVER | never).items():
        yield kind, bad, True
    for kind, bad in (SOMETIMES | sometimes).items():
        yield kind, bad, False


SLOW = (
    "critical_gain of tau",
    "basin_edge of tau",
    "critical_gain with noise",
    "fixed_points of tau",
    "dwell_time",
)
PARTS = (of_theory, of_networks, of_runs, of_layers)


def everything(words=()):
    """The valid calls: their names, what is called, and with what."""
    parts = [part for part in PARTS if part.__name__ in words] or PARTS
    words = [word for word in words if not word.startswith("of_")]
    for part in parts:
        for name, call, arguments in part():
            if not words or any(word in name for word in words):
                yield name, call, arguments


@contextlib.contextmanager
def quietly():
    """In a folder with files to read, without warnings."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        np.save("xi.npy", hx.patterns.hadamard(4, 16).xi)
        hx.save("model.hopfax", hx.patterns.hadamard(4, 16))
        pathlib.Path("events.csv").write_text("time,memory\n0.0,0\n25.0,2\n50.0,1\n70.0,\n")
        hx.sweep(
            hx.theory.sequential.fixed_points, {"kappa": [4.0, 5.0]}, store="store", progress=False
        )
        try:
            yield
        finally:
            os.chdir(before)


#: Verdicts that no call may get.
WRONG = ("raw", "unnamed", "wrong", "invalid")


def fuzz(words=(), names=None):
    """A verdict of every malformed call, or of the cases with such `names` only."""
    for name, call, arguments in everything(words):
        if names is not None and name not in names:
            continue
        try:
            valid = call(**arguments)
        except BaseException as error:
            yield Verdict(name, "", "", "invalid", f"{type(error).__name__}: {error}"[:300])
            continue
        fine = finite(valid)
        for argument, value in arguments.items():
            for kind, bad, never in malformed(value):
                if name in SLOW and not never:
                    continue
                if kind == "iterator":
                    bad = iter([1.0, 2.0])
                if kind == "none" and value is None:
                    continue
                verdict, text = judged(call, argument, arguments, kind, bad, fine)
                if verdict in ("accepted", "NaN"):
                    verdict = "legal" if legal(name, argument, kind) else verdict
                if never and verdict == "accepted":
                    verdict = "wrong"
                yield Verdict(name, argument, kind, verdict, text)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


if __name__ == "__main__":
    import time

    jax.config.update("jax_enable_x64", True)
    counts, t0 = collections.Counter(), time.time()
    with quietly():
        for v in fuzz(sys.argv[1:]):
            counts[v.verdict] += 1
            if v.verdict != "named":
                print(
                    f"{v.verdict:8} {v.case} | {v.argument} | {v.kind} | {v.text}".replace(
                        "\n", " "
                    ),
                    flush=True,
                )
    print(sum(counts.values()), dict(counts), time.time() - t0)
