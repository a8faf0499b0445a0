"""What tells a network where in a sequence it is, and so which strategies are tried, and why."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..losses import Events
from ._automaton import follows_itself, memory_span
from ._moving import of_rates
from ._strategies import Task

Memory = Literal["transition", "contexts", "suffixes"]

#: Kinds of memory for which there are more memories than items, each made by a stage of this name.
LARGER: tuple[Memory, ...] = ("contexts", "suffixes")

_HELD = 3  # items up to which the saliencies that they leave behind may hold a history ...
_SHORT = 12  # ... and transitions; longer ones take minutes, and mostly fail


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
    depends = f"the next one depends on the last {span}"
    if span > _HELD:
        return Plan(["contexts"], {"contexts": depends})
    if (count := sum(events.switches[0].size for events in targets)) > _SHORT:
        return Plan(["contexts"], {"contexts": f"{depends}, in {count} transitions"})
    return Plan(
        ["design", "contexts"],
        {
            "transition": f"{depends}, and the saliencies that these leave behind decide",
            "contexts": f"{depends}, and no gains were found by which their saliencies decide",
        },
    )
