"""A network that predicts: called by probabilities, and led along what it hears."""

import numpy as np

from .._errors import as_float, as_indices, check_at_least, check_shape
from .._types import ArrayLike
from ..losses import Events
from ._contexts import enlarged, steady
from ._moving import Moving, slope
from ._strategies import Made, Task, chain_gain, designed
from ._suffixes import NEW, Suffixes, suffixes
from ._trial import Trial

_GAIN = 50.0  # with less, dwells are short, and saliencies hold what earlier memories called
_LEAST = 0.1  # of the gain, for the least probable item, whose saliency still exceeds 1
_SUSTAINED = 4.4  # the least gain that sustains a chain, with a margin
_RANGE = 9.0  # nats by which an item may be less probable than the most probable one; 1 in 8000
_PARTS = 4  # of the sequences, each predicted by the others
_HALVINGS = 30
_COLDEST = 4.0  # inverse temperature, where one part tells all of another


def predicting(task: Task) -> Made:
    r"""A larger network with a memory for each context of the sequences' prediction suffix tree.

    At the end of a dwell in context $q$ the saliency of the context that item $i$ leads to is
    $\zeta_{qi} = a + b \ln p(i \mid q)$, with $a$ and $b$ the same for all, so that a softmax gives
    the tree's probabilities. By itself the network goes on with the most probable item, and any
    item that is heard instead has a memory of saliency above 1 to go to. The gain is that which
    brings a saliency to $\zeta$ in a dwell $T$, from the remainder that the context before, $r$,
    has left there if it called the same memory,
    $(\zeta_{qi} - e^{-T/\tau} \zeta_{ri}) / (1 - e^{-T/\tau})$.

    The inverse temperature of the saliencies is $1 / b$, times that by which the trees of some of
    the sequences predict the others best, which also chooses how they count what is new.
    """
    new, beta = _chosen(task.targets, task.P)
    tree = suffixes(task.targets, task.P, new)
    larger = enlarged(task, tree.item)
    gain = max(chain_gain(task), _GAIN)
    fade = 1 / steady(gain)
    logs, span = _logs(tree)
    level = 1 + (1 - _LEAST) * logs / span
    again = (tree.before >= 0)[:, None] & (tree.following[tree.before] == tree.following)
    level = level - np.where(again, fade * level[tree.before], 0.0)
    gains = np.zeros((tree.item.size, tree.item.size))
    gains[tree.following, np.arange(tree.item.size)[:, None]] = gain * level
    starts = np.zeros((len(task.targets), tree.item.size))
    first = [int(events.memory[0]) for events in task.targets]
    starts[np.arange(len(first)), first] = steady(gain)
    trial = designed(larger, gains, starts)
    lengths = [_followed(trial, tree.item, events) for events in task.targets]
    beta = float(beta * span / ((1 - _LEAST) * gain * (1 - fade)))
    return Made(trial, None, tree.item, lengths, beta)


def _logs(tree: Suffixes) -> tuple[np.ndarray, float]:
    """Logarithms of probability below that of the most probable item, and how far they reach."""
    logs = np.log(tree.probability / tree.probability.max(axis=1, keepdims=True))
    span = min(max(-logs.min(), 1.0), _RANGE)
    return np.maximum(logs, -span), span


def _chosen(targets: list[Events], P: int) -> tuple[float, float]:
    """How often what is new counts (`new` of `suffixes`), and the inverse temperature, by which
    parts of the sequences are predicted best from the others."""
    parts = min(_PARTS, len(targets))
    if parts == 1:
        return NEW[0], 1.0
    best, least = (NEW[0], 1.0), np.inf
    for new in NEW:
        rows, came = [], []
        for part in range(parts):
            tree = suffixes([e for k, e in enumerate(targets) if k % parts != part], P, new)
            logs, _ = _logs(tree)
            for events in targets[part::parts]:
                memory = np.asarray(events.memory)
                state = memory[0]
                for item in memory[1:]:
                    rows.append(logs[state])
                    state = tree.following[state, item]
                came += memory[1:].tolist()
        if not came:
            break
        beta, loss = _tempered(np.array(rows), np.array(came))
        if loss < least:
            best, least = (new, beta), loss
    return best


def _tempered(logs: np.ndarray, came: np.ndarray) -> tuple[float, float]:
    r"""The inverse temperature of least log-loss of what came, (n,), from `logs` (n, P); that loss.

    Its derivative, the mean of $\langle \ln p \rangle_\beta - \ln p$, rises with $\beta$: the root
    is found by bisection.
    """
    seen = logs[np.arange(came.size), came].mean()
    low, high = 0.0, _COLDEST
    for _ in range(_HALVINGS):
        beta = (low + high) / 2
        weight = np.exp(beta * logs)
        expected = ((weight * logs).sum(axis=1) / weight.sum(axis=1)).mean()
        low, high = (beta, high) if expected < seen else (low, beta)
    return high, float(np.log(np.exp(high * logs).sum(axis=1)).mean() - high * seen)


def _followed(trial: Trial, items: np.ndarray, events: Events) -> int:
    """How many entries of a sequence are the most probable ones, and one more."""
    memory = np.asarray(events.memory)
    expected = listened(trial.network, items, memory, None).argmax(axis=1)
    wrong = expected[:-1] != memory[1:]
    return int(np.argmax(wrong)) + 2 if wrong.any() else memory.size


def listened(
    network: Moving, items: np.ndarray, memory: ArrayLike, dwell: ArrayLike | None
) -> np.ndarray:
    """The saliency of each item at the end of each entry; see `SequenceFit.listen`."""
    heard = np.asarray(as_indices(memory, "memory"))
    kinds = int(items.max()) + 1
    if heard.ndim != 1 or not heard.size:
        raise ValueError(f"`memory` must list the items that are heard, got shape {heard.shape}.")
    if heard.max() >= kinds:
        raise ValueError(f"`memory` names item {heard.max()}, but there are {kinds}.")
    tau = np.broadcast_to(np.asarray(network.tau), items.shape)
    drive = np.asarray(network.kappa * network.transition.T).T * slope(network)
    own = tau.max() * np.log(steady(max(drive.max(), _SUSTAINED)))
    stay = as_float(own if dwell is None else dwell, "dwell")
    check_at_least(stay, "dwell", 0.0, strict=True)
    if stay.ndim:
        check_shape(stay, "dwell", heard.shape, "(K,)")
    stays = np.broadcast_to(np.asarray(stay), heard.shape)
    of_item = [np.flatnonzero(items == item) for item in range(kinds)]
    order = np.argsort(items, kind="stable")
    begins = np.searchsorted(items[order], np.arange(kinds))
    present = np.isin(np.arange(kinds), items)
    now, saliency = of_item[heard[0]][0], np.zeros(items.size)
    found = np.full((heard.size, kinds), -np.inf)
    for k, stay in enumerate(stays):
        if k > 0:  # of the copies of what is heard, the one that was called most takes over
            copies = of_item[heard[k]]
            now = copies[np.argmax(drive[copies, now])]
        saliency = drive[:, now] + (saliency - drive[:, now]) * np.exp(-stay / tau)
        found[k, present] = np.maximum.reduceat(saliency[order], begins[present])
    return found
