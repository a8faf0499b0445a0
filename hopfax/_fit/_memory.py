"""What tells a network where in a sequence it is, and so which strategies are tried, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..losses import Events
from ._automaton import follows_itself, memory_span
from ._moving import of_rates
from ._strategies import Task

Memory = Literal["transition", "contexts", "suffixes"]

#: Kinds of memory for which there are more memories than items, each made by a stage of this name.
LARGER: tuple[Memory, ...] = ("contexts", "suffixes")

_HELD = 3  # items up to which the saliencies that they leave behind may hold a history ...
_OFTEN = 2  # times that a successor comes before another one looks like a mistake
_NAMED = 2  # memories, and successors of each, that are named
_SHORT = 12  # ... and transitions; longer ones take minutes, and mostly fail


def successors(targets: Sequence[Events]) -> dict[int, Counter[int]]:
    """Which memories follow each, and how often."""
    found: dict[int, Counter[int]] = {}
    for events in targets:
        source, target = np.asarray(events.memory), np.asarray(events.switches[0])
        for a, b in zip(source[: target.size].tolist(), target.tolist(), strict=True):
            found.setdefault(a, Counter())[b] += 1
    return found


def branches(targets: Sequence[Events]) -> str:
    """Which memories have several successors, in words; empty if none has."""
    found = [(a, after) for a, after in successors(targets).items() if len(after) > 1]
    said = [
        f"memory {a} is followed by "
        + " and by ".join(f"{b} ({_times(n)})" for b, n in after.most_common(_NAMED))
        + (f" and {len(after) - _NAMED} more" if len(after) > _NAMED else "")
        for a, after in sorted(found)[:_NAMED]
    ]
    more = f", and {len(found) - _NAMED} more have several" if len(found) > _NAMED else ""
    return ", ".join(said) + more


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def skipped(targets: Sequence[Events]) -> str:
    """A place where a row seems to be missing, in words; empty if there is none.

    It is one at which a memory is followed, once, by what otherwise comes after its own successor,
    while all other memories have one successor.
    """
    after = successors(targets)
    several = [a for a, found in after.items() if len(found) > 1]
    if len(several) != 1 or len(after[several[0]]) > 2:
        return ""
    a = several[0]
    (usual, often), (other, once) = after[a].most_common()
    if once != 1 or often < _OFTEN or other not in after.get(usual, ()):
        return ""
    return (
        f"`target`: memory {a} is followed by {usual} ({_times(often)}) and once by {other}, which "
        f"otherwise follows {usual}: a row of memory {usual} seems to be missing"
        f"{_where(targets, a, other)}. "
        "As it stands, what follows depends on a longer history, so that a longer memory is tried "
        "(contexts), which takes longer and may fail."
    )


def _where(targets: Sequence[Events], a: int, b: int) -> str:
    """Where memory `b` follows `a`, in words."""
    for k, events in enumerate(targets):
        of = f" of sequence {k}" if len(targets) > 1 else ""
        target, times = events.switches
        pairs = zip(np.asarray(events.memory).tolist(), np.asarray(target).tolist(), strict=False)
        for place, pair in enumerate(pairs):
            if pair == (a, b):
                at = "" if times is None else f", at t = {float(times[place]):.5g}"
                return f" before entry {place + 1}{of}{at}"
    return ""


class Plan(NamedTuple):
    """Strategies in the order in which they are tried, and why each kind of memory is taken."""

    strategies: list[str]
    reasons: dict[Memory, str]


def plan(task: Task, memory: str, strategy: str) -> Plan:
    """Which strategies to try for a sequence.

    **Raises:** ValueError naming the argument that does not go with `memory`, or the target that
    the network as it is cannot show.
    """
    if of_rates(task.network):
        return _of_rates(task, memory, strategy)
    obstacle = _obstacle(task, strategy)
    if memory in LARGER and obstacle:
        raise ValueError(f"{obstacle}, but memory={memory!r} makes a network of its own.")
    if memory == "suffixes" and task.timed:
        raise ValueError("`target` has times, which memory='suffixes' does not keep.")
    if memory in LARGER:
        return Plan([memory], {memory: "as asked"})
    twice = follows_itself(task.targets)
    if twice is not None and (memory == "transition" or obstacle):
        raise ValueError(
            f"`target`: memory {twice} follows itself, which the network as it is cannot show. "
            "Join the two entries to one longer stay, or use memory='contexts'"
            + (f" (here {obstacle})." if obstacle else ".")
        )
    names = [strategy] if strategy != "auto" else ["surrogate", "gradient"]
    if strategy == "auto" and task.where is None:
        names = ["design", *names]
    if memory == "transition" or obstacle:
        return Plan(names, {"transition": obstacle if obstacle else "as asked"})
    return _chosen(task.targets, twice, names)


def _of_rates(task: Task, memory: str, strategy: str) -> Plan:
    """The design, which is all that there is for firing rates."""
    kind = "for a TwoTimescaleHopfield"
    if memory in LARGER:
        raise ValueError(f"memory={memory!r} is {kind}: of firing rates only 'transition'.")
    instead = "of firing rates hopfax.fit fits all else, with losses.switch_times"
    if strategy not in ("auto", "design"):
        raise ValueError(f"strategy={strategy!r} is {kind}; {instead}.")
    for name in ("where", "constraint"):
        if getattr(task, name) is not None:
            raise ValueError(f"`{name}` is {kind}; {instead}.")
    if (twice := follows_itself(task.targets)) is not None:
        raise ValueError(
            f"`target`: memory {twice} follows itself, which the network cannot show. Join the two "
            "entries to one longer stay."
        )
    return Plan(["design"], {"transition": "as asked" if memory != "auto" else "of firing rates"})


def _obstacle(task: Task, strategy: str) -> str:
    """What was given that belongs to the network as it is; empty if nothing was."""
    for name in ("where", "constraint", "saliency", "prior"):
        if getattr(task, name) is not None:
            return f"`{name}` is of the network as it is"
    if strategy not in ("auto", "design"):
        return f"`strategy`={strategy!r} fits the network as it is"
    return ""


def _chosen(targets: Sequence[Events], twice: int | None, names: list[str]) -> Plan:
    """What "auto" takes."""
    span = memory_span(targets)
    if twice is not None:
        return Plan(["contexts"], {"contexts": f"memory {twice} follows itself"})
    if span is None:
        return Plan(["contexts"], {"contexts": "sequences that begin alike lead to different ones"})
    if span == 1:
        return Plan(names, {"transition": "every memory has one successor"})
    depends, who = f"the next one depends on the last {span}", branches(targets)
    if span > _HELD:
        return Plan(["contexts"], {"contexts": f"{depends}: {who}"})
    if (count := sum(events.switches[0].size for events in targets)) > _SHORT:
        return Plan(["contexts"], {"contexts": f"{depends}, in {count} transitions: {who}"})
    return Plan(
        ["design", "contexts"],
        {
            "transition": f"{depends}, and the saliencies that these leave behind decide: {who}",
            "contexts": f"{depends}, and no gains were found by which their saliencies decide: "
            f"{who}",
        },
    )
