"""Parameters from what was seen."""

import jax

import hopfax as hx

network = hx.TwoTimescaleHopfield(
    hx.patterns.hadamard(4, 64), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
)


def gain(net: hx.TwoTimescaleHopfield) -> jax.Array:
    """The parameter that is fitted."""
    return net.kappa


loss = hx.losses.switch_times([30.0, 58.0], init={"saliency": [4.0, 0.0, 0.0, 0.0]}, sigma=0.5)
result: hx.FitResult = hx.fit(network, loss, where=gain, constraint=hx.constraints.Positive())
fitted = float(result.model.kappa)
history = result.history
seen = hx.Events([0, 1, 2, 0, 3], [0.0, 130.0, 262.0, 390.0, 520.0], end=655.0)
found: hx.SequenceFit = hx.fit_sequence(network, seen)
shown: bool = bool(found.reproduced)
hx.save("model.eqx", found.network)
