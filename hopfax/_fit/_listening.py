"""A network that predicts: called by probabilities, and led along what it hears."""

import numpy as np

from .._errors import as_float, as_indices, check_at_least, check_shape
from .._types import ArrayLike
from ..losses import Events
from ._contexts import enlarged, steady
from ._moving import Moving, slope
from ._strategies import Made, Task, chain_gain, designed
from ._suffixes import suffixes
from ._trial import Trial

_GAIN = 20.0  # with less, dwells are short, and saliencies hold what earlier memories called
_LEAST = 0.1  # of the gain, for the least probable item, whose saliency still exceeds 1
_SUSTAINED = 4.4  # the least gain that sustains a chain, with a margin
_RANGE = 9.0  # nats by which an item may be less probable than the most probable one; 1 in 8000


def predicting(task: Task) -> Made:
    r"""A larger network with a memory for each context of the sequences' prediction suffix tree.

    At the end of a dwell in context $q$ the saliency of the context that item $i$ leads to is
    $\zeta_{qi} = a + b \ln p(i \mid q)$, with $a$ and $b$ the same for all, so that a softmax gives
    the tree's probabilities. By itself the network goes on with the most probable item, and any
    item that is heard instead has a memory of saliency above 1 to go to. The gain is that which
    brings a saliency to $\zeta$ in a dwell $T$, from the remainder that the context before, $r$,
    has left there if it called the same memory,
    $(\zeta_{qi} - e^{-T/\tau} \zeta_{ri}) / (1 - e^{-T/\tau})$.
    """
    tree = suffixes(task.targets, task.P)
    larger = enlarged(task, tree.item)
    gain = max(chain_gain(task), _GAIN)
    fade = 1 / steady(gain)
    ratio = np.log(tree.probability / tree.probability.max(axis=1, keepdims=True))
    span = min(max(-ratio.min(), 1.0), _RANGE)
    level = 1 + (1 - _LEAST) * np.maximum(ratio / span, -1.0)
    again = (tree.before >= 0)[:, None] & (tree.following[tree.before] == tree.following)
    level = level - np.where(again, fade * level[tree.before], 0.0)
    gains = np.zeros((tree.item.size, tree.item.size))
    gains[tree.following, np.arange(tree.item.size)[:, None]] = gain * level
    starts = np.zeros((len(task.targets), tree.item.size))
    first = [int(events.memory[0]) for events in task.targets]
    starts[np.arange(len(first)), first] = steady(gain)
    trial = designed(larger, gains, starts)
    lengths = [_followed(trial, tree.item, events) for events in task.targets]
    return Made(trial, None, tree.item, lengths)


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
