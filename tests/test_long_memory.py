"""Sequences whose next item depends on a long history: automata, and the networks made of them."""

import functools
import itertools
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import ROOT
from scipy.optimize import minimize_scalar

import hopfax as hx
from hopfax._fit._automaton import END, automaton, follows_itself, memory_span
from hopfax._fit._listening import _chosen
from hopfax._fit._suffixes import suffixes

TAU = 20.0
NOISE = 0.05  # of the field at the start


def network(P, N=16, **options):
    """A network of P random memories that knows nothing of a sequence."""
    options = dict(kappa=6.0, tau=TAU, bias=0.01) | options
    return hx.TwoTimescaleHopfield(
        hx.patterns.random(jr.key(3), P, N), jnp.zeros((P, P)), **options
    )


def thrice(P, seed):
    """A cycle that passes each of P memories three times, in random order, none after itself."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(np.repeat(np.arange(P), 3))
        if (order != np.roll(order, 1)).all():
            return order


def played(found, sequence=0, *, dwells, seed=None, **options):
    """The items that a run of the found network shows, from its start or one with noise in it."""
    net = found.network
    start = net.init(saliency=found.saliency[sequence])
    if seed is not None:
        noise = NOISE * jr.normal(jr.key(seed), start.field.shape, start.field.dtype)
        start = net.init(saliency=found.saliency[sequence], field=start.field + noise)
    method = options.pop("method", hx.EventDriven(switches=128))
    run = hx.simulate(net, start, [0.0, dwells * 2.0 * TAU], method=method, **options)
    return hx.observables.visited(run, items=found.items).tolist()


# Automata


def futures(sequences):
    """For each entry what follows it, written out to a length at which all differences show."""
    longest = 2 * sum(events.memory.size for events in sequences)
    for events in sequences:
        memory = events.memory.tolist()
        for k in range(len(memory)):
            rest = memory[k:] + (memory * longest if events.cycle else [END])
            yield tuple(rest[:longest])


def random_sequences(seed):
    """A few short sequences over few items, open or cycles, with all kinds of repetitions."""
    rng = np.random.default_rng(seed)
    return [
        hx.Events(
            np.tile(rng.integers(0, rng.integers(2, 4), rng.integers(2, 7)), rng.integers(1, 4)),
            cycle=bool(rng.random() < 0.5),
        )
        for _ in range(rng.integers(1, 5))
    ]


def test_an_automaton_has_one_state_for_each_future():
    """Against the definition: entries share a state exactly if all that follows them is equal."""
    sizes = set()
    for seed in range(200):
        sequences = random_sequences(seed)
        found = automaton(sequences)
        states = np.concatenate(found.paths)
        following = list(futures(sequences))
        assert len(set(following)) == found.item.size
        assert len(set(zip(states.tolist(), following, strict=True))) == found.item.size
        for events, path in zip(sequences, found.paths, strict=True):
            assert found.item[path].tolist() == events.memory.tolist()
            last = path[0] if events.cycle else END
            assert found.following[path].tolist() == [*path[1:].tolist(), last]
        sizes.add(found.item.size - states.size)
    assert len(sizes) > 8  # many were smaller than their sequences


def test_states_are_told_apart_by_dwells():
    timed = [hx.Events([0, 1, 2], [0.0, 10.0, last], end=40.0) for last in (30.0, 30.0, 25.0)]
    assert automaton(timed[:2]).item.size == 3
    assert automaton(timed).item.size == 6
    assert automaton([hx.Events([0, 1, 2])] * 3).item.size == 3


def test_the_span_is_the_shortest_history_that_decides():
    def decides(sequences, span):
        """Whether the last `span` items decide the next, by a table of all histories."""
        table = {}
        for events in sequences:
            memory = events.memory.tolist()
            before = memory * 40 if events.cycle else [None]
            rest = memory + memory[:1] if events.cycle else memory
            for k in range(len(rest) - 1):
                past = tuple((before + rest[: k + 1])[-span:])
                if table.setdefault(past, rest[k + 1]) != rest[k + 1]:
                    return False
        return True

    for seed in range(200):
        sequences = random_sequences(seed)
        known = [span for span in range(1, 40) if decides(sequences, span)]
        assert memory_span(sequences) == (known[0] if known else None)
    assert memory_span([hx.Events([0, 2, 3]), hx.Events([1, 2, 4])]) == 2
    assert memory_span([hx.Events([0, 2, 3]), hx.Events([0, 2, 4])]) is None


def test_items_that_follow_themselves_are_found():
    assert follows_itself([hx.Events([0, 1, 0], cycle=True)]) == 0
    assert follows_itself([hx.Events([0, 1, 0])]) is None
    assert follows_itself([hx.Events([0, 1]), hx.Events([1, 2, 2])]) == 2


# Prediction suffix trees


def tree_by_definition(lines, P, c=2.0):
    """Probabilities after any history, by a recursion over the ends of it that are contexts."""
    pairs = [
        (tuple(line[max(0, k - 8) : k]), line[k]) for line in lines for k in range(1, len(line))
    ]
    price = 0.5 * np.log(len(pairs))

    def count(context):
        seen = [item for past, item in pairs if past[len(past) - len(context) :] == context]
        return np.bincount(seen, minlength=P).astype(float)

    def mixed(number, coarse):
        new = c * np.count_nonzero(number)
        return (number + new * coarse) / (number.sum() + new) if new else coarse

    @functools.cache
    def worth(context: tuple) -> tuple:
        """The longest end that gains more than its price, and the probabilities after it."""
        if not context:
            return context, mixed(count(context), np.full(P, 1 / P))
        end, coarse = worth(context[1:])
        fine = mixed(count(context), coarse)
        gain = count(context) @ np.log(fine / coarse)
        seen = count(context).any()
        return (context, fine) if seen and (len(context) == 1 or gain > price) else (end, coarse)

    histories = {past[k:] for past, _ in pairs for k in range(len(past))}
    kept = {worth(history)[0] for history in histories}
    known = {context[:k] for context in kept for k in range(1, len(context) + 1)}

    @functools.cache
    def probability(context: tuple) -> np.ndarray:
        if context and context not in known:
            return probability(context[1:])
        coarse = probability(context[1:]) if context else np.full(P, 1 / P)
        return mixed(count(context), coarse)

    return lambda history: probability(tuple(history[-8:]))


def random_lines(seed, P):
    """Lines of a random chain of second order, in which items may follow themselves."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(P, 0.2), (P, P))
    for length in rng.integers(12, 40, 4):
        line = rng.integers(0, P, 2).tolist()
        while len(line) < length:
            line.append(int(rng.choice(P, p=table[line[-2], line[-1]])))
        yield line


def test_a_suffix_tree_is_an_automaton_without_loss():
    """Along any line, also one that it was not made of, and in no state that follows itself."""
    deepest = 0
    for seed in range(8):
        P = 3
        lines = list(random_lines(seed, P))
        c = [1.0, 2.0, 4.0][seed % 3]
        tree = suffixes([hx.Events(line) for line in lines], P, c)
        expected = tree_by_definition(lines, P, c)
        assert tree.item[:P].tolist() == list(range(P))
        assert (tree.following != np.arange(tree.item.size)[:, None]).all()
        for line in (lines[0], np.random.default_rng(seed).integers(0, P, 30).tolist()):
            state = line[0]
            for k in range(1, len(line)):
                assert tree.item[state] == line[k - 1]
                found = tree.probability[state]
                np.testing.assert_allclose(found, expected(line[:k]), rtol=1e-12)  # rounding
                state = tree.following[state, line[k]]
        deepest = max(deepest, tree.item.size)
    assert deepest > 6  # more than one context an item


# Networks


@pytest.fixture(scope="module")
def three_times():
    """Cycles of 8 memories, each three times: three orders, and what was found for them."""
    orders = [thrice(8, seed) for seed in range(3)]
    return orders, [hx.fit_sequence(network(8, 40), order, progress=False) for order in orders]


@pytest.mark.slow
def test_a_long_history_is_kept_by_contexts(three_times):
    """22 % of such cycles were found before, by the saliencies that memories leave behind."""
    for seed, (order, found) in enumerate(zip(*three_times, strict=True)):
        assert found.reproduced and found.memory == "contexts"
        assert "depends on the last 3" in found.reason
        assert found.network.patterns.xi.shape == (24, 40 + 64)
        assert np.bincount(found.items).tolist() == [3] * 8
        shown = played(found, dwells=50, seed=seed)
        assert len(shown) > 48 and shown[:49] == [*order, *order, order[0]]


@pytest.mark.slow
def test_each_copy_begins_with_the_pattern_of_its_item(three_times):
    _, (found, *_) = three_times
    given = network(8, 40).patterns.xi
    xi = np.asarray(found.network.patterns.xi)
    assert np.array_equal(xi[:, :40], given[found.items])
    code = xi[:, 40:]
    assert np.array_equal(code @ code.T, 64 * np.eye(24))  # sums of signs are exact
    assert "24 memories of 104 neurons" in str(found)


@pytest.mark.slow
def test_a_line_of_a_chorale_is_replayed_from_its_first_note():
    """36 notes, 12 of pitch and length: two follow themselves, and ten notes back decide."""
    notes = json.loads((ROOT / "tests/data/chorale.json").read_text())["notes"]
    kinds = sorted({tuple(note) for note in notes})
    line = [kinds.index(tuple(note)) for note in notes]
    found = hx.fit_sequence(network(len(kinds), 32), hx.Events(line), progress=False)
    assert found.reproduced and found.network.patterns.P == len(line)
    for seed in range(2):
        assert played(found, dwells=len(line) + 2, seed=seed) == line  # and then it is silent


@pytest.mark.slow
def test_several_sequences_live_in_one_network():
    """Two begin alike, two end alike, one is a cycle; each has a start of its own."""
    sequences = [
        hx.Events([0, 1, 2, 3, 0]),
        hx.Events([0, 1, 2, 0, 3, 0]),
        hx.Events([2, 0, 0, 1], cycle=True),
    ]
    found = hx.fit_sequence(network(4), sequences, progress=False)
    assert found.reproduced and found.saliency.shape == (3, found.network.patterns.P)
    assert found.network.patterns.P == 9 + 4  # the end "3, 0" is shared
    for k, events in enumerate(sequences):
        memory = events.memory.tolist()
        shown = played(found, k, dwells=8)
        if events.cycle:
            assert len(shown) > 8 and shown[:8] == 2 * memory
        else:
            assert shown == memory


@pytest.mark.slow
def test_times_are_kept_too():
    """No least squares: the gain that charges a memory is corrected by how long it then lasts."""
    dwell = np.random.default_rng(0).uniform(20.0, 45.0, 9)
    time = np.concatenate([[0.0], np.cumsum(dwell)])
    order = [0, 0, 1, 0, 0, 1, 0, 0, 2]
    found = hx.fit_sequence(network(3), hx.Events(order, time[:-1], end=time[-1]), progress=False)
    assert found.reproduced and found.error < 1e-4  # of a fast time constant
    start = found.network.init(saliency=found.saliency[0])
    run = hx.simulate(found.network, start, [0.0, 400.0])
    assert np.abs(hx.observables.switch_times(run) - time[1:-1]).max() < 1e-4
    around = hx.Events(order, time[:-1], end=time[-1], cycle=True)
    found = hx.fit_sequence(network(3), around, progress=False)
    assert found.reproduced and found.error < 0.1  # the first round is not yet steady


@pytest.mark.slow
def test_noise_needs_an_even_readout():
    """Overlaps that noise starts have either sign; an even readout does not mind."""
    order = thrice(5, 0)
    found = hx.fit_sequence(network(5, readout="abs"), order, progress=False)
    method = hx.Diffrax(switches=128)
    options = dict(noise=NOISE, key=jr.key(0), method=method, max_steps=None)
    shown = played(found, dwells=20, **options)
    assert len(shown) > 16 and shown[:16] == [*order, order[0]]
    found = hx.fit_sequence(network(5), order, progress=False)
    with pytest.warns(hx.PhysicsWarning, match="noise as the strongest seed.*`readout='abs'`"):
        played(found, dwells=2, **options)  # it is said before the run


@pytest.mark.slow
def test_a_high_gain_makes_long_dwells_which_are_waited_for():
    found = hx.fit_sequence(network(3, kappa=25.0), [0, 1, 0, 2], memory="contexts", progress=False)
    assert found.reproduced and found.network.kappa == 25.0


@pytest.mark.slow
@pytest.mark.parametrize("order", [[0, 1], [0, 1, 2]])
def test_short_cycles_have_contexts_if_asked_for(order):
    found = hx.fit_sequence(network(3), order, memory="contexts", progress=False)
    assert found.reproduced and found.reason == "as asked"
    assert played(found, dwells=8)[:7] == (4 * order)[:7]


@pytest.fixture(scope="module")
def learnt():
    """A network of the contexts of one tune, played four times over."""
    tune = [0, 1, 0, 2]
    target = hx.Events(4 * tune)
    return tune, target, hx.fit_sequence(network(3), target, memory="suffixes", progress=False)


@pytest.mark.slow
def test_a_network_of_suffixes_goes_on_by_itself(learnt):
    """It was given four rounds, and makes eight."""
    tune, _, found = learnt
    assert found.reproduced and found.memory == "suffixes"
    assert found.network.patterns.P == 3 + 2 + 3  # items, 0 after 1 or 2, and twins of the items
    gain = float((found.network.kappa * found.network.transition).max())
    dwells = 32 * np.log(gain) / 2.0  # `played` takes two slow time constants for each
    assert played(found, dwells=dwells)[:24] == 6 * tune


@pytest.mark.slow
def test_what_is_expected_of_a_listener_is_what_the_tree_says(learnt):
    """After one item, before which nothing was, exactly; later up to what older ones have left."""
    tune, target, found = learnt
    tree = suffixes([target], 3)
    heard = [0, 1, 0, 2, 0, 1, 1, 0]
    expected = found.listen(heard)
    state, rows = heard[0], [tree.probability[heard[0]]]
    for item in heard[1:]:
        state = tree.following[state, item]
        rows.append(tree.probability[state])
    logs = np.log(rows)
    centred = [z - z.mean(axis=1, keepdims=True) for z in (expected, logs)]
    beta = np.sum(centred[1][0] ** 2) / np.sum(centred[0][0] * centred[1][0])
    np.testing.assert_allclose(beta * centred[0][0], centred[1][0], rtol=1e-10)  # rounding
    assert np.abs(beta * centred[0] - centred[1]).max() < 0.1 * np.ptp(logs)
    assert expected[:3].argmax(axis=1).tolist() == [1, 0, 2]
    short = found.listen(heard, dwell=10.0)
    assert (short[0] < expected[0]).all()


@pytest.mark.slow
def test_probabilities_of_one_tune_are_those_of_its_tree(learnt):
    """After one item, before which nothing was, exactly; later but for what older ones left."""
    _, target, found = learnt
    tree = suffixes([target], 3)
    heard = [0, 1, 0, 2, 0]
    shown = found.probabilities(heard)
    np.testing.assert_allclose(shown[0], tree.probability[0], rtol=1e-10)  # rounding
    state, rows = heard[0], [tree.probability[heard[0]]]
    for item in heard[1:]:
        state = tree.following[state, item]
        rows.append(tree.probability[state])
    assert np.abs(shown - rows).max() < 0.02  # a fiftieth of a saliency is left
    z = 0.3 * found.listen(heard)
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    given = found.probabilities(heard, inverse_temperature=0.3)
    np.testing.assert_allclose(given, expected, rtol=1e-12)


def test_what_predicts_lines_that_were_not_learnt_best_is_chosen():
    """Against a search over inverse temperatures, of each tree by definition."""
    P, taken = 3, set()
    for seed in range(4):
        lines = list(random_lines(seed, P))
        found, least = {}, {}
        for c in (1.0, 2.0, 4.0):
            rows, came = [], []
            for part in range(4):
                rest = [line for k, line in enumerate(lines) if k != part]
                tree, line = tree_by_definition(rest, P, c), lines[part]
                rows += [np.log(tree(line[:k])) for k in range(1, len(line))]
                came += line[1:]
            logs = np.array(rows)
            assert np.ptp(logs, axis=1).max() < 9.0  # nats, where saliencies end

            def loss(beta, logs=logs, came=came):
                scaled = beta * logs
                chosen = scaled[np.arange(len(came)), came]
                return np.mean(np.log(np.exp(scaled).sum(axis=1)) - chosen)

            best: Any = minimize_scalar(
                loss, bounds=(0, 4), method="bounded", options={"xatol": 1e-9}
            )
            found[c], least[c] = best.x, best.fun
        c, beta = _chosen([hx.Events(line) for line in lines], P)
        assert c == min(least, key=least.__getitem__)
        assert abs(beta - found[c]) < 1e-6 and 0.1 < beta < 3.9  # at the root of rounding
        taken.add(c)
    assert len(taken) > 1
    assert _chosen([hx.Events(lines[0])], P) == (2.0, 1.0)


@pytest.mark.slow
def test_a_chain_of_contexts_can_be_listened_to(three_times):
    (order, *_), (found, *_) = three_times
    path = automaton([hx.Events(order, cycle=True)]).paths[0]
    assert path[0] == np.flatnonzero(np.asarray(found.items) == order[0])[0]
    assert found.listen(order).argmax(axis=1)[:-1].tolist() == order[1:].tolist()


# What is made of it


@pytest.mark.slow
def test_a_found_network_is_one_as_any_other(three_times, tmp_path):
    """It is saved with its items and its start, simulated, and swept over."""
    (order, *_), (found, *_) = three_times
    whole = {"network": found.network, "items": found.items, "saliency": found.saliency}
    hx.save(tmp_path / "melody.eqx", whole)
    again = hx.load(tmp_path / "melody.eqx")
    assert eqx.tree_equal(again["network"], found.network)
    start = again["network"].init(saliency=again["saliency"][0])
    run = hx.simulate(again["network"], start, [0.0, 8 * TAU])
    shown = hx.observables.visited(run, items=again["items"])
    assert shown.tolist() == order[: shown.size].tolist() and shown.size > 4
    traced = jax.jit(lambda run, items: hx.observables.visited(run, items=items))
    padded = traced(run, again["items"])
    assert padded[: shown.size].tolist() == shown.tolist() and (padded[shown.size :] == -1).all()

    point = hx.Point(
        again["network"], dict(saliency=again["saliency"][0]), [0.0, 8 * TAU], observe="visited"
    )
    swept = hx.sweep(point, {"kappa": [5.5, 6.0]})
    first = swept.visited.values[1]
    assert found.items[first[first >= 0]].tolist() == shown.tolist()


# Which memory is taken


@pytest.mark.slow
def test_auto_takes_the_least_that_does_and_says_why():
    independent = network(3, learning="pseudo_inverse")
    found = hx.fit_sequence(independent, [0, 2, 1], progress=False)
    assert found.memory == "transition" and found.reason == "every memory has one successor"
    assert found.items.tolist() == [0, 1, 2]
    found = hx.fit_sequence(network(3), hx.Events([0, 0, 1]), strategy="design", progress=False)
    assert found.memory == "contexts" and found.reason == "memory 0 follows itself"
    assert "memory: contexts, memory 0 follows itself" in str(found)


REPEATED = hx.Events([0, 1, 1, 2])


@pytest.mark.usefixtures("as_a_user_runs_it")
@pytest.mark.parametrize(
    ("target", "options", "match"),
    [
        ([0, 1, 2], dict(memory="long"), "`memory` must be one of"),
        ([0, 1, 2], dict(memory="contexts", where=lambda n: n.kappa), "`where` is of the network"),
        ([0, 1, 2], dict(memory="contexts", saliency=np.ones(4)), "`saliency` is of the network"),
        (
            [0, 1, 2],
            dict(memory="contexts", constraint=hx.constraints.Positive()),
            "`constraint` is of the network",
        ),
        (
            [0, 1, 2],
            dict(memory="contexts", strategy="gradient"),
            "`strategy`='gradient' fits the network as it is",
        ),
        (REPEATED, dict(memory="transition"), "`target`: memory 1 follows itself"),
        (REPEATED, dict(strategy="surrogate"), "or use memory='contexts' .here `strategy`"),
        (REPEATED, dict(where=lambda n: n.kappa), "memory 1 follows itself"),
        ([0, 0], {}, "memory 0 alone, for ever"),
        (hx.Events([0, 1], [0.0, 9.0]), dict(memory="suffixes"), "has times, which memory='suff"),
        ([0, 1, 2], dict(memory="suffixes", saliency=np.ones(4)), "but memory='suffixes' makes"),
        ([0, 7], dict(memory="contexts"), "names memory 7, but there are 4"),
    ],
)
def test_what_does_not_go_together_is_named(target, options, match):
    with pytest.raises(ValueError, match=match):
        hx.fit_sequence(network(4), target, **options)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_losses_of_an_order_refuse_what_follows_itself():
    for loss in (
        lambda: hx.losses.order(REPEATED, P=4),
        lambda: hx.losses.order([0, 1, 0], P=4),
        lambda: hx.losses.event_map(REPEATED, saliency=np.ones(4)),
    ):
        with pytest.raises(ValueError, match="follows itself at entry"):
            loss()


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_runs_it")
def test_names_of_items_are_one_for_each_memory():
    net = network(3)
    run = hx.simulate(net, net.init(saliency=[4.0, 0.0, 0.0]), [0.0, 1.0])
    assert hx.observables.visited(run, items=[5, 6, 7]).tolist() == [5]
    for items, match in (([1, 2], "`items` must have shape"), ([0.5, 1, 2], "`items` must hold")):
        with pytest.raises(ValueError, match=match):
            hx.observables.visited(run, items=items)


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_what_cannot_be_listened_to_is_named():
    independent = network(3, learning="pseudo_inverse")
    found = hx.fit_sequence(independent, [0, 1, 2], progress=False)
    assert found.listen([0, 1]).argmax(axis=1).tolist() == [1, 2]
    for given, match in (
        (([0, 3],), "names item 3, but there are 3"),
        (([],), "must list the items"),
        (([0.5],), "`memory` must hold"),
        (([0, 1], -1.0), "`dwell` must be > 0"),
        (([0, 1], [1.0, 2.0, 3.0]), "`dwell` must have shape"),
    ):
        with pytest.raises(ValueError, match=match):
            found.listen(*given)
    for given, match in (
        (dict(), "only a network made with memory='suffixes'"),
        (dict(inverse_temperature=0.0), "`inverse_temperature` must be > 0"),
        (dict(inverse_temperature=[1.0, 2.0]), "`inverse_temperature` must have shape"),
    ):
        with pytest.raises(ValueError, match=match):
            found.probabilities([0, 1], **given)


def test_all_spans_of_short_orders_agree_with_the_automaton():
    """A cycle has as many states as its least period, whatever the items."""
    for order in itertools.product(range(2), repeat=6):
        period = next(p for p in range(1, 7) if 6 % p == 0 and order[:p] * (6 // p) == order)
        assert automaton([hx.Events(order, cycle=True)]).item.size == period
