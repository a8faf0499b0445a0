"""Axes of a sweep as the commands are given them: --axis NAME LO HI COUNT [log]."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ._limits import check_points

_FORMS = "NAME LO HI COUNT, NAME LO HI COUNT log, or NAME VALUE,VALUE,..."


def grid_of(
    axes: Sequence[Sequence[str]],
    whole: Collection[str],
    words: Mapping[str, Collection[str]],
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The values of every axis by its name, in the order given; of one that is given twice, those
    given last.

    **Arguments:** `whole`: the axes of whole numbers. `words`: those of words, and which there are.
    `aliases`: other words for names.

    **Raises:** ValueError naming the option for anything else than its forms.
    """
    found = {}
    for given in axes:
        name, *rest = given or ("",)
        name = (aliases or {}).get(name, name)
        found[name] = _values(name, rest, name in whole, words.get(name))
    check_points([len(values) for values in found.values()])
    return found


def made_axes(grid: Mapping[str, Any], made: Collection[str], asked: Any) -> list[str]:
    """The axes of which networks are made, one after the other.

    **Raises:** ValueError if there are some, and the network is that of a model.
    """
    found = [name for name in grid if name in made]
    if found and asked.model is not None:
        raise ValueError(f"`axis`: {found[0]} says how a network is made; that of --model is made.")
    return found


def _values(
    name: str, rest: Sequence[str], whole: bool, words: Collection[str] | None
) -> np.ndarray | list[str]:
    """What one axis goes through."""
    said = " ".join([name, *rest])
    wrong = ValueError(f"`axis` must be {_FORMS}; got {said!r}.")
    if len(rest) == 1:
        listed = rest[0].split(",")
        if words is not None:
            if strange := [word for word in listed if word not in words]:
                known = ", ".join(words)
                raise ValueError(f"`axis`: {name} is one of {known}, got {strange[0]!r}.")
            return listed
        values = np.array([_number(text, wrong) for text in listed])
        if whole and (parts := values[values != values.round()]).size:
            raise ValueError(f"`axis`: {name} goes through whole numbers, got {parts[0]:g}.")
    elif words is None and len(rest) in (3, 4) and rest[3:] in ([], ["log"]):
        low, high = (_number(text, wrong) for text in rest[:2])
        count = _number(rest[2], wrong)
        if count != int(count) or count < 1:
            raise ValueError(f"`axis`: the COUNT of {name} must be at least 1, got {rest[2]}.")
        check_points([int(count)])
        if rest[3:] and min(low, high) <= 0:
            raise ValueError(f"`axis`: {name} goes through logarithms, so LO and HI must be > 0.")
        space = np.geomspace if rest[3:] else np.linspace
        values = space(low, high, int(count))
    else:
        raise wrong
    return np.unique(values.round().astype(np.int64)) if whole else values


def numbers_of(option: str, name: str, rest: Sequence[str]) -> np.ndarray:
    """The numbers of an option NAME VALUE,VALUE,...: an array, or one number.

    **Raises:** ValueError naming the option for anything else.
    """
    said = " ".join([name, *rest])
    wrong = ValueError(f"`{option}` must be NAME VALUE,VALUE,...; got {said!r}.")
    if len(rest) != 1:
        raise wrong
    values = np.array([_number(text, wrong) for text in rest[0].split(",")])
    return values if values.size > 1 else values[0]


def _number(text: str, wrong: ValueError) -> float:
    try:
        value = float(text)
    except ValueError:
        raise wrong from None
    if not math.isfinite(value):
        raise wrong
    return value
