"""Malformed calls of all public functions: none is taken, and every error names its argument."""

import collections

import fuzz
import pytest

pytestmark = pytest.mark.usefixtures("as_a_user_runs_it")

#: Cases that compile little; `pytest -m long tests/test_fuzz.py` makes all calls.
QUICK = {
    *("Arctan", "GaussianAverage", "Logistic", "Power", "Softmax", "Simplicial", "Pulses"),
    *("Diffrax", "EventDriven", "Events", "Events.repeated", "cyclic", "design_cycle", "Box"),
    *("Patterns", "GeneratedPatterns", "PackedPatterns", "Patterns.rows", "packed.column"),
    *("Patterns.corrupt", "Patterns.field", "SiteClasses.expand", "active", "balanced", "sparse"),
    *("correlated", "degrade", "from_images", "hadamard", "patterns.load", "pack", "shard"),
    *("sunflower", "Hopfield", "OneTimescaleHopfield", "TwoTimescaleHopfield", "RateMemory"),
    *("DaleRateMemory", "DenseMemory", "TwoTimescaleHopfield.init", "RateMemory.init"),
    *("escape_time", "gain_for_period", "saliency_map", "noise_limit", "exponential_load"),
    *("map_step", "kernel", "Kernel", "contraction_rate", "contraction_rate_max_norm"),
    *("Selected", "classify", "visited", "switch_times", "zero_diagonal", "Masked", "save"),
    *("load", "open_sweep", "designs.random", "designs.sobol", "losses.order", "event_map"),
    *("losses.switch_times", "saliency_path", "read_events", "shooting", "stack", "Bank"),
    *("ResidualSelector", "HopfieldRetrieval", "annihilator", "parity_relations", "Modes"),
}


def _told(verdicts):
    """How many calls there were of each verdict, and what is wrong, as sentences."""
    counts, wrong = collections.Counter(), []
    for v in verdicts:
        counts[v.verdict] += 1
        if v.verdict in fuzz.WRONG:
            wrong.append(f"{v.verdict}: {v.case}({v.argument}: {v.kind}): {v.text}")
    return counts, wrong


@pytest.mark.slow
def test_malformed_arguments_are_refused_by_name():
    with fuzz.quietly():
        counts, wrong = _told(fuzz.fuzz(names=QUICK))
    assert not wrong, "\n".join(wrong)
    assert counts["named"] > 3600


@pytest.mark.long
def test_all_malformed_arguments_are_refused_by_name():
    with fuzz.quietly():
        counts, wrong = _told(fuzz.fuzz())
    assert not wrong, "\n".join(wrong)
    assert counts["named"] > 15000
