"""Theory of a network that is given as such: what it says of itself, by the names of arguments."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

_Answer = TypeVar("_Answer")


@runtime_checkable
class Telling(Protocol):
    """A network or patterns, which the theory asks for nothing but this."""

    def for_theory(self) -> dict[str, Any]: ...


def takes_network(
    read: Callable[[Mapping[str, Any], Collection[str]], Mapping[str, Any]],
) -> Callable[[Callable[..., _Answer]], Callable[..., _Answer]]:
    """A function of the theory that may be given a network, or patterns, in place of its first
    arguments: whatever these say fills the arguments of those names, and what follows fills the
    others in order. Keywords win.

    `read`: from what the network says, and the names of all arguments, to values of some; it raises
    ValueError where the theory does not hold for the network.
    """

    def with_network(function: Callable[..., _Answer]) -> Callable[..., _Answer]:
        names = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> _Answer:
            first = args[0] if args else kwargs.get("network")
            if not isinstance(first, Telling):
                return function(*args, **kwargs)
            known = {k: v for k, v in read(first.for_theory(), names).items() if k in names}
            rest = [name for name in names if name not in known and name not in kwargs]
            if len(args) - 1 > len(rest):
                raise TypeError(
                    f"{function.__name__}: beside a {type(first).__name__} there are {len(rest)} "
                    f"arguments, {rest}, got {len(args) - 1}."
                )
            return function(**{**known, **dict(zip(rest, args[1:], strict=False)), **kwargs})

        return call

    return with_network
