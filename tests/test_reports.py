"""How things show themselves: a short report as text, the same one in HTML."""

import xml.etree.ElementTree as ElementTree

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo

import hopfax as hx
from hopfax import _report

THINGS = zoo.networks() | zoo.maps()


def page(thing):
    """The HTML of a thing, which must be well formed, as a tree."""
    return ElementTree.fromstring(thing._repr_html_())


def words(tree):
    return " ".join(" ".join(tree.itertext()).split())


@pytest.mark.parametrize("name", THINGS)
def test_networks_states_and_patterns_are_shown_in_a_few_lines(name):
    network, state, _ = THINGS[name]
    for thing in (network, state, network.patterns):
        if type(thing).__module__ == "outside" and thing is state:
            continue  # a class of somebody else
        lines = repr(thing).splitlines()
        assert len(lines) <= 14 and max(map(len, lines)) <= 120
        assert "f64[" not in repr(thing) and repr(thing) == str(thing)
        shown = words(page(thing))
        for line in lines:
            assert " ".join(line.split()) in shown, "text and HTML are one report"
    assert type(network).__name__ in repr(network).splitlines()[0]
    assert f"{network.patterns.N} neurons" in repr(network).splitlines()[0]


def test_a_network_shows_its_parameters_and_its_matrix():
    network, _ = zoo.cycle()
    text = repr(network)
    assert "3 memories of signs, 16 neurons" in text
    assert "kappa          5\n" in text and "the cycle 0 -> 1 -> 2 -> 0" in text
    tree = page(network)
    filled = [r.get("fill") for r in tree.iter("rect")]
    assert len(filled) == 1 + 3 and filled[0] == "white"
    other = eqx.tree_at(
        lambda n: n.transition, network, jnp.array([[0.0, -1, 0], [0.5, 0, 0], [1, 1, 0]])
    )
    assert "3 x 3, -1 to 1" in repr(other)
    tree = page(other)
    assert len(list(tree.iter("line"))) == 1, "the negative entry"
    fills = {r.findtext("title"): r.get("fill") for r in tree.iter("rect") if r.findtext("title")}
    assert fills["0 to 1: 0.5"] != fills["0 to 2: 1"] and len(fills) == 4


def test_a_run_shows_what_it_visited_and_when():
    network, start = zoo.cycle()
    run = hx.simulate(network, start, jnp.linspace(0.0, 100.0, 51))
    times = hx.observables.switch_times(run)
    order = hx.observables.visited(run)
    later = [f"{mu} at {t:.5g}" for mu, t in zip(order[1:], times, strict=True)]
    assert len(later) > 1 and ", ".join(["0", *later]) in repr(run)
    assert "run from 0 to 100 fast time constants: 3 memories, 51 saves" in repr(run)
    assert "event-driven, on classes" in repr(run)
    tree = page(run)
    assert words(tree).startswith("run from 0 to 100")
    lines = list(tree.iter("polyline"))
    assert len(lines) == 6  # three overlaps, three saliencies
    drawn = [tuple(map(float, pair.split(","))) for pair in lines[1].get("points", "").split()]
    overlaps = np.asarray(run.overlaps)
    low, high = overlaps.min(), overlaps.max()
    expected = 4 + (high - overlaps[:, 1]) / (high - low) * 82
    np.testing.assert_allclose([y for _, y in drawn], expected, atol=0.051)  # one decimal
    count = int(run.switches.count)
    assert repr(run.switches).startswith(f"{count} switches\n  0 -> 1  at {times[0]:.6g}")
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), run)
    assert repr(batch).startswith("2 runs, each a run") and "2 ok" in repr(batch)


def test_a_run_in_discrete_time_is_shown_in_steps():
    network, state, _ = THINGS["DenseMemory"]
    run = hx.iterate(network, state, steps=2)
    assert repr(run).startswith("run from 0 to 2 steps: 5 memories, 3 saves")
    assert "visited              0\n" in repr(run) and len(list(page(run).iter("polyline"))) == 5


def test_what_has_no_values_yet_is_shown_all_the_same():
    network, state = zoo.cycle()
    seen = []

    @jax.jit
    def inside(network, state):
        seen.extend([repr(network), repr(state), network._repr_html_()])
        return network.kappa

    inside(network, state)
    assert "float64[3, 3]" in seen[0] and "kappa          float64[]" in seen[0]
    assert all("Traced" not in text for text in seen)
    strange = jax.tree.map(lambda _: None, network)
    assert "TwoTimescaleHopfield" in repr(strange) and "TwoTimescale" in strange._repr_html_()


def test_many_points_of_a_line_keep_its_peaks():
    values = np.zeros((100_000, 1))
    values[54_321] = 1.0
    picture = _report.lines_svg(np.arange(100_000.0), values, "overlaps")
    assert len(picture) < 20_000
    heights = [
        float(pair.split(",")[1]) for pair in picture.split('points="')[1].split('"')[0].split()
    ]
    assert min(heights) == 4.0 and max(heights) == 86.0
    assert _report.lines_svg(np.arange(3.0), np.full((3, 1), np.nan), "overlaps") == ""


def test_markup_in_a_name_is_no_markup():
    report = _report.Report("<b>", [("a&b", "<i>")])
    assert "<b>" not in report.html.replace("<strong>", "") and "&lt;i&gt;" in report.html


def test_a_plan_and_a_fit_are_shown_as_they_are_printed():
    plan = hx.sweep_plan(hx.theory.sequential.fixed_points, {"kappa": np.linspace(4, 8, 4)})
    assert repr(plan) == str(plan) and "4 in 1 tiles of 4" in words(page(plan))
    found = hx.fit(
        {"a": jnp.zeros(2)},
        lambda model: jnp.array([1.0, 2.0, 2.1]) - model["a"][jnp.array([0, 1, 1])],
        where=lambda model: model["a"],
        progress=False,
    )
    (first, *rest) = str(found).splitlines()
    assert first.startswith("converged after") and repr(found) == str(found)
    assert rest[-1].startswith("  a[1] = 2.05 +- ")
    tree = page(found)
    cells = [cell.text for cell in tree.iter("td")]
    assert len(cells) == 2 and str(cells[1]).startswith("2.05 +- ")
    assert len(list(tree.iter("polyline"))) == 1
    assert repr(found.goodness) == str(found.goodness) and "p = " in repr(found.goodness)


def test_points_and_losses_are_shown_in_a_few_lines():
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    switches = hx.losses.switch_times([32.0, 63.0], init=start)
    path = hx.losses.saliency_path([0.0, 1.0, 2.0], np.ones((3, 4)), init=start, sigma=0.1)
    known = hx.losses.prior(lambda net: net.kappa, 5.0, sigma=1.0)
    both = repr(hx.losses.same_run(switches, path)).splitlines()
    assert both[0] == "recording of 2 switch times and a path of 4 saliencies at 3 times"
    assert "  init         saliency = 4, 0, 0, 0" in both
    expected = ["sum of losses", "  1 x recording of 2 switch times", "  2.5 x Prior"]
    assert repr(switches + 2.5 * known).splitlines() == expected
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    point = hx.Point(network, start, jnp.linspace(0.0, 100.0, 51))
    assert "  ts         51 numbers, 0 to 100" in repr(point).splitlines()
    assert "<table" in point._repr_html_() and len(repr(point).splitlines()) == 8
