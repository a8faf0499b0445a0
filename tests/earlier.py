"""Writes the files of tests/data/NAME with the version of hopfax that runs this:
`python tests/earlier.py tests/data/NAME`. They are kept: later versions must read them.

One model and one stored sweep of each family; the sweep of sequences has half of its blocks, so
that it has to be gone on with.
"""

import pathlib
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx


def networks():
    """One network of each family, and the start of a run."""
    patterns = hx.patterns.hadamard(3, 16)
    sets = hx.patterns.sunflower(3, 0.25, 0.5, 16)
    moving = hx.TwoTimescaleHopfield(patterns, hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.02)
    rates = hx.RateMemory(sets, activation=hx.Logistic(2.0, 0.1))
    flow = hx.DenseFlow(patterns, hx.Power(3), activation=hx.Tanh(2.0))
    return {
        "sequential": (moving, dict(saliency=[4.0, 0.0, 0.0])),
        "rate": (rates, dict(weights=[0.8, 0.1, 0.1])),
        "dense": (flow, dict(weights=[0.8, 0.3, 0.0])),
    }


def point(name):
    """What is swept of a family, and over what."""
    network, start = networks()[name]
    ts = jnp.linspace(0.0, 60.0, 31)
    swept = "bias" if name == "sequential" else "activation.gain"
    values = np.linspace(0.01, 0.03, 16) if swept == "bias" else np.linspace(2.0, 3.0, 16)
    return hx.Point(network, start, ts, observe=["regime", "overlaps_end"]), {swept: values}


def main(folder):
    """Write all."""
    folder.mkdir(parents=True, exist_ok=True)
    memory = hx.DenseMemory(hx.patterns.hadamard(3, 16), hx.ManyBody(3), beta=2.0)
    for name, model in {**{n: net for n, (net, _) in networks().items()}, "memory": memory}.items():
        hx.save(folder / f"{name}.hopfax", model, notes={"version": hx.__version__})
    for name in networks():
        store = folder / f"{name}.sweep"
        shutil.rmtree(store, ignore_errors=True)
        part = (0, 2) if name == "sequential" else None
        hx.sweep(*point(name), tile=8, chunk=8, store=store, part=part, progress=False)
    hx.sweep(
        hx.theory.sequential.fixed_points,
        {"kappa": np.linspace(4.0, 7.0, 8)},
        tile=8,
        store=folder / "theory.sweep",
        progress=False,
    )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main(pathlib.Path(sys.argv[1]))
