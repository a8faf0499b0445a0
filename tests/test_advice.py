"""A run that needs too many steps is told what helps, and it does help."""

import re

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx

pytestmark = pytest.mark.usefixtures("as_a_user_runs_it")
XI = np.asarray(hx.patterns.hadamard(3, 8).xi)
IMPLICIT = hx.Diffrax(solver=diffrax.Kvaerno5())


def run(tau=20.0, begin=0.0, dwells=2.0, dtype=np.float64, activation=hx.HardTanh(), **options):
    """A cycle of three memories for so many slow time constants."""
    network = hx.TwoTimescaleHopfield(
        hx.Patterns(XI.astype(dtype)),
        hx.cyclic(3).astype(dtype),
        kappa=5.0,
        tau=tau,
        bias=0.02,
        activation=activation,
    )
    start = network.init(saliency=[4.0, 0.0, 0.0])
    return hx.simulate(network, start, begin + tau * dwells * np.linspace(0, 1, 3), **options)


def corner(**options):
    """A start at a kink that the motion leaves along the kink, where the exact engine stands."""
    network = hx.OneTimescaleHopfield(hx.Patterns([[1.0, 1.0], [1.0, -1.0]]), hx.cyclic(2))
    return hx.simulate(network, network.init(field=[1.0, 0.1]), [0.0, 1.0], **options)


FEW = dict(max_steps=300)
SMOOTH = dict(tau=1e5, activation=hx.Tanh())
LATE = dict(dtype=np.float32, method=hx.Diffrax())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "given", "advice", "helps"),
    [
        (run, SMOOTH | FEW, "lasts 2e+05 times .* implicit solver, method=hopfax.Diffrax(solver="
         "diffrax.Kvaerno5()).", SMOOTH | dict(method=IMPLICIT)),
        (run, LATE | FEW | dict(begin=1e6), "float32 tells times near 1e+06 apart by 0.1 only: use "
         "double precision, .* or let `ts` begin at 0.", LATE),
        (run, LATE | FEW | dict(tau=1e7), "float32 tells times near 2e+07 apart by 2 "
         "only: use double precision, jax.config.update(\"jax_enable_x64\", True).", dict(tau=1e7)),
        (corner, FEW, "let diffrax integrate it, method=hopfax.Diffrax().",
         dict(method=hx.Diffrax())),
        (run, dict(max_steps=5, method=hx.Diffrax()), "raise `max_steps`, or loosen the tolerance",
         dict(method=hx.Diffrax())),
    ],
    ids=["stiff", "late", "long", "corner", "few"],
)  # fmt: skip
def test_the_advice_on_steps_helps(case, given, advice, helps):
    pattern = re.escape(advice).replace(re.escape(".*"), ".*")
    with pytest.raises(hx.SimulationError, match=pattern):
        case(**given)
    assert int(case(**helps).status) == 0


@pytest.mark.slow
def test_an_implicit_solver_finds_the_same_switches():
    explicit, implicit = (run(dwells=4.0, method=m) for m in (hx.Diffrax(), IMPLICIT))
    assert int(implicit.switches.count) == int(explicit.switches.count) > 1
    # Both at the kinks of hard tanh, where the tolerance of 1e-8 gives errors of 1e-5 or so.
    difference = jnp.abs(implicit.switches.time - explicit.switches.time)
    assert float(jnp.nanmax(difference)) < 1e-3


def test_the_general_advice_is_that_of_the_cases():
    _, meaning = hx.STATUS[1]
    assert "Kvaerno5" in meaning and "double precision" in meaning and "begin at 0" in meaning
