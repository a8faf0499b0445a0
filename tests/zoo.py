"""One small specimen of every public class, for the tests that hold for all of them."""

from typing import Any, NamedTuple

import diffrax
import jax.numpy as jnp
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


def networks() -> dict[str, Specimen]:
    """Every network; a new one gets a line here."""
    patterns = hx.patterns.hadamard([1, 2, 3], 16)  # the third is the product of the others
    stimulus = patterns.field(jnp.array([2.0, 1.0, 0.5]))
    weights = jnp.array([0.9, 0.3, -0.2])
    two, start = cycle()
    one = hx.OneTimescaleHopfield(patterns, 2 * jnp.eye(3) + 1.5 * hx.cyclic(3))
    classic = hx.Hopfield(patterns, activation=hx.Tanh(2.0))
    driven = hx.InputDrivenHopfield(patterns)
    return {
        "Hopfield": Specimen(classic, classic.init(weights=weights), {}),
        "InputDrivenHopfield": Specimen(
            driven, driven.init(weights=weights), dict(stimulus=stimulus)
        ),
        "OneTimescaleHopfield": Specimen(one, one.init(weights=weights), {}),
        "TwoTimescaleHopfield": Specimen(two, start, {}),
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
