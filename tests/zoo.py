"""One small specimen of every public class, for the tests that hold for all of them."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import outside
import reference as ref

import hopfax as hx


def tight(reduction: Any = "auto", dense=False, tolerance=1e-10):
    """A method whose error is set by the kinks, near 1e-8."""
    control = diffrax.PIDController(rtol=tolerance, atol=tolerance, pcoeff=0.3, icoeff=0.4)
    return hx.Diffrax(controller=control, reduction=reduction, dense=dense)


def fixed(reduction: Any = "auto"):
    """Constant steps of a fixed number: exactness and gradients are free of step-size noise."""
    return hx.Diffrax(diffrax.Tsit5(), diffrax.ConstantStepSize(), 0.25, reduction)


def cycle(P=3, N=16, kappa=5.0, tau=20.0, bias=0.02, start=4.0, **options):
    """A cyclic two-timescale network of Hadamard memories, started in memory 0."""
    patterns = hx.patterns.hadamard(P, N)
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(P), kappa=kappa, tau=tau, bias=bias, **options
    )
    return network, network.init(saliency=jnp.zeros(P).at[0].set(start))


class Specimen(NamedTuple):
    """A network, a start and the inputs it needs."""

    network: Any
    state: Any
    inputs: dict


def arguments(state) -> dict[str, Any]:
    """What `init` makes the state from, as NumPy arrays."""
    found = {k: np.asarray(v) for k, v in vars(state).items() if v is not None}
    if "weights" in found:
        del found["field"]
    return found


def parts(state) -> list:
    """All arrays of a state, the neurons' first; without `weights`, which say the field again."""
    found = dict(vars(state)) if isinstance(state, eqx.Module) else {"neurons": state}
    found.pop("weights", None)
    return jax.tree.leaves(list(found.values()))


def rate_networks() -> dict[str, Specimen]:
    """Every network of firing rates."""
    patterns = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    mixed = jnp.array([0.8, 0.3, 0.1])
    plain = hx.RateMemory(patterns, activation=hx.Logistic(2.0, 0.1))
    driven = hx.InputDrivenRateMemory(patterns, learning="covariance")
    stimulus = patterns.field(jnp.array([1.0, 0.9, 0.5]))
    dale = hx.DaleRateMemory(patterns, tau_inhibition=0.5, activation=hx.RectifiedTanh())
    moving = hx.TwoTimescaleRateMemory(
        patterns, hx.cyclic(3), kappa=3.0, tau=5.0, bias=0.2, activation=hx.HardSigmoid(2.0, 0.1)
    )
    linear = hx.ThresholdLinearNetwork(
        [[0.0, -1.5, -0.75], [-0.75, 0.0, -1.5], [-1.5, -0.75, 0.2]], [1.0, 0.9, 1.1]
    )
    called = moving.init(saliency=jnp.array([1.2, 0.3, 0.0]), weights=mixed)
    return {
        "DaleRateMemory": Specimen(dale, dale.init(weights=mixed, inhibition=0.1), {}),
        "InputDrivenRateMemory": Specimen(
            driven, driven.init(weights=mixed), dict(stimulus=stimulus)
        ),
        "RateMemory": Specimen(plain, plain.init(weights=mixed), {}),
        "ThresholdLinearNetwork": Specimen(linear, linear.init(rates=[0.3, 0.1, 0.0]), {}),
        "TwoTimescaleRateMemory": Specimen(moving, called, {}),
    }


def networks() -> dict[str, Specimen]:
    """Every network; a new one gets a line here."""
    patterns = hx.patterns.hadamard([1, 2, 3], 16)  # the third is the product of the others
    stimulus = patterns.field(jnp.array([2.0, 1.0, 0.5]))
    weights = jnp.array([0.9, 0.3, -0.2])
    two, start = cycle()
    one = hx.OneTimescaleHopfield(patterns, 2 * jnp.eye(3) + 1.5 * hx.cyclic(3))
    classic = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    driven = hx.InputDrivenHopfield(patterns)
    delayed = hx.SlowSynapseHopfield(patterns, hx.cyclic(3), strength=0.8, tau=5.0, stages=2)
    dense = hx.DenseFlow(patterns, hx.Power(3), activation=hx.Tanh(2.0), tau_hidden=0.5)
    return {
        "DenseFlow": Specimen(dense, dense.init(weights=weights), {}),
        "Hopfield": Specimen(classic, classic.init(weights=weights), {}),
        "InputDrivenHopfield": Specimen(
            driven, driven.init(weights=weights), dict(stimulus=stimulus)
        ),
        "OneTimescaleHopfield": Specimen(one, one.init(weights=weights), {}),
        "SlowSynapseHopfield": Specimen(delayed, delayed.init(weights=weights, trace=0.1), {}),
        "TwoTimescaleHopfield": Specimen(two, start, {}),
        "from outside": Specimen(*outside.tiring(), {}),
        **rate_networks(),
    }


def maps() -> dict[str, Specimen]:
    """Every network in discrete time, in some of its forms."""
    patterns = hx.patterns.random(jax.random.key(0), 5, 9)
    start = patterns.corrupt(jax.random.key(1), 0, 2)
    graded = dict(activation=hx.Tanh(2.0))
    found = {
        "DenseMemory": hx.DenseMemory(patterns, hx.Power(3)),
        "packed": hx.DenseMemory(hx.patterns.pack(patterns), hx.ManyBody(3), block=2),
        "generated": hx.DenseMemory(
            hx.GeneratedPatterns(jax.random.key(2), 5, 9), hx.RectifiedPower(3), beta=2.0
        ),
        "in turn": hx.DenseMemory(patterns, hx.Exponential(0.5), update="random"),
        "graded": hx.DenseMemory(patterns, hx.Power(3), **graded),
        "softmax": hx.DenseMemory(patterns, hx.Softmax(0.3)),
        "near": hx.DenseMemory(patterns, hx.Epanechnikov(0.2), weights=[1.0, 2.0, 1.0, 0.5, 1.0]),
        "cosine": hx.DenseMemory(patterns, hx.Softmax(0.3), similarity="cosine"),
        "cyclic": hx.DenseMemory(hx.patterns.pack(patterns), hx.Power(3), transition="cyclic"),
        "called": hx.DenseMemory(patterns, hx.Power(4), transition=[2, -1, 0, 4, 3]),
        "matrix": hx.DenseMemory(patterns, hx.Power(2), transition=0.5 * hx.cyclic(5)),
        "decorrelated": hx.DenseMemory(patterns, hx.Power(3), learning="pseudo_inverse"),
        "PairwiseMemory": hx.PairwiseMemory(
            patterns, synapses=jnp.sign, kept=0.8, key=jax.random.key(3), beta=2.0
        ),
        "DenseSequence": hx.DenseSequence(patterns, hx.Power(2), hx.Power(3), share=0.4, tau=2.0),
        "delayed": hx.DenseSequence(patterns, hx.Power(2), hx.Power(3), share=0.4, delay=2),
    }
    return {name: Specimen(net, net.init(start), {}) for name, net in found.items()}


class Layer(NamedTuple):
    """A layer, the arguments of one call, whether it can be exported for any length, and the
    parameters that derivatives do not reach."""

    layer: Any
    inputs: tuple
    any_length: bool = False


def layers() -> dict[str, Layer]:
    """Every layer, in some of its forms, without noise."""
    us = jax.random.normal(jax.random.key(9), (4, 8))
    patterns = hx.patterns.hadamard([1, 2, 3], 8)
    smooth = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(3), kappa=5.0, tau=8.0, bias=0.05, activation=hx.Tanh(3.0)
    )
    euler = hx.nn.ExponentialEuler(4)
    sequence = hx.nn.SequenceMemory(
        smooth, 8, dt=2.0, method=euler, constraint=hx.constraints.Simplex(), key=jax.random.key(1)
    )
    nn, keys = hx.nn, jax.random.split(jax.random.key(0), 10)
    rows, items = jax.random.normal(keys[0], (3, 4)), jax.random.normal(keys[1], (5, 4))
    dense = dict(interaction=hx.RectifiedPower(3))
    short, parts = us[:, :3], jax.random.split(jax.random.key(2), 5)
    by_residual = nn.ResidualSelector(3, 2, taps=2, modes=2, key=parts[0])
    by_saliency = nn.SaliencySelector(rows[:2, :3])
    by_state = nn.TwoTimescaleSelector(
        hx.TwoTimescaleHopfield(
            hx.patterns.hadamard([1, 2], 4), jnp.eye(2), kappa=2.0, tau=4.0, activation=hx.Tanh(2.0)
        )
    )
    bank = nn.Bank(3, 2, 2, key=parts[1])
    wide = nn.Bank(4, 2, 2, width=3, key=parts[2])
    residual = {"slots": 2, "taps": 2}
    specimens = {
        "HopfieldRetrieval": Layer(nn.HopfieldRetrieval(1, 4, key=keys[2]), (rows, items)),
        "in steps and blocks": Layer(
            nn.HopfieldRetrieval(2, 4, steps=2, learn_beta=True, block=2, key=keys[3]),
            (rows, items),
        ),
        "HopfieldRetrieval, entmax": Layer(
            nn.HopfieldRetrieval(2, 4, steps=2, separation=nn.Entmax(1.5, learn=True), key=keys[3]),
            (rows, items),
        ),
        "HopfieldRetrieval, grouped": Layer(
            nn.HopfieldRetrieval(
                2,
                4,
                num_kv_heads=1,
                positions=nn.RelativeBias(2, 2, key=keys[1]),
                extra_items=("bias", "zero"),
                steps=2,
                block=2,
                key=keys[2],
            ),
            (rows, items),
        ),
        "HopfieldRetrieval, at rest": Layer(
            nn.HopfieldRetrieval(2, 4, steps=None, positions=nn.Rotary(), key=keys[2]),
            (rows, items),
        ),
        "HopfieldLookup": Layer(nn.HopfieldLookup(5, 2, 4, steps=2, key=keys[4]), (rows,)),
        "HopfieldPooling": Layer(nn.HopfieldPooling(2, 2, 4, key=keys[5]), (items,)),
        "EnergyTransformer": Layer(nn.EnergyTransformer(2, 4, 3, steps=2, key=keys[6]), (rows,)),
        "HopfieldEncoder": Layer(nn.HopfieldEncoder(2, 4, width=3, key=keys[5]), (rows,)),
        "HopfieldDecoder": Layer(
            nn.HopfieldDecoder(2, 4, width=3, activation="gelu", norm_first=True, key=keys[4]),
            (rows, items),
        ),
        "DenseMemoryLayer": Layer(nn.DenseMemoryLayer(5, 4, steps=3, key=keys[6]), (rows[0],)),
        "spherical": Layer(nn.DenseMemoryLayer(5, 4, **dense, steps=2, key=keys[7]), (rows[0],)),
        "at rest": Layer(
            nn.DenseMemoryLayer(5, 4, interaction=hx.Softmax(2.0), steps=None, key=keys[8]),
            (rows[0],),
        ),
        "SequenceMemory": Layer(sequence, (us,), any_length=True),
        "ResidualSelection": Layer(
            nn.ResidualSelection(3, 2, **residual, mode="scan", key=parts[3]), (short,)
        ),
        "step by step": Layer(
            nn.ResidualSelection(3, 2, **residual, key=parts[4]), (short,), any_length=True
        ),
        "Selection": Layer(nn.Selection(by_residual, by_saliency, bank, mode="scan"), (short,)),
        "by state": Layer(
            nn.Selection(by_state, by_state, wide, mode="recurrent"), (us[:, :4],), any_length=True
        ),
    }
    return eqx.nn.inference_mode(specimens)


def interactions() -> dict[str, Any]:
    """Every interaction."""
    return {
        "Epanechnikov": hx.Epanechnikov(0.2),
        "Exponential": hx.Exponential(0.3),
        "ManyBody": hx.ManyBody(3),
        "Polynomial": hx.Polynomial({2: 0.5, 3: 1.0}),
        "Power": hx.Power(3),
        "Quadratic": hx.Quadratic(),
        "RectifiedPower": hx.RectifiedPower(3),
        "Simplicial": hx.Simplicial({2: 0.5, 3: 1.0}),
        "Softmax": hx.Softmax(0.3),
    }


def activations() -> dict[str, Any]:
    """Every activation."""
    return {
        "HardTanh": hx.HardTanh(),
        "Tanh": hx.Tanh(2.0),
        "Erf": hx.Erf(2.0),
        "Rational": hx.Rational(2.0),
        "Arctan": hx.Arctan(2.0),
        "GaussianAverage": hx.GaussianAverage(hx.HardTanh(2.0), 0.3),
    }


def rate_activations() -> dict[str, Any]:
    """Every activation of rate networks."""
    return {
        "HardSigmoid": hx.HardSigmoid(3.0, 0.1),
        "Logistic": hx.Logistic(3.0, 0.1),
        "RectifiedTanh": hx.RectifiedTanh(3.0, 0.1),
        "ThresholdLinear": hx.ThresholdLinear(3.0, 0.1),
    }


def of_scenario(scenario):
    """The library's network, start and inputs for one of the reference's scenarios."""
    s = scenario
    patterns = hx.patterns.hadamard(list(s["columns"]), s["N"])
    if s["network"] == "one_timescale":
        P = patterns.P
        Q = s["self_strength"] * jnp.eye(P) + s["transition_strength"] * hx.cyclic(P)
        network = hx.OneTimescaleHopfield(patterns, Q)
        return network, network.init(weights=s["span"])
    gain = s.get("tanh_gain")
    network = hx.TwoTimescaleHopfield(
        patterns,
        s.get("transition", ref.cyclic(patterns.P)),
        kappa=s["kappa"],
        tau=s["tau"],
        bias=s["bias"],
        readout=s.get("readout", "linear"),
        activation=hx.HardTanh() if gain is None else hx.Tanh(gain),
    )
    start = {"field": s["field"]} if "field" in s else {"weights": s["span"]}
    return network, network.init(saliency=s["saliency"], **start)
