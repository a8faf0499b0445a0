"""Whether what is installed goes together."""

import importlib.metadata
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["installed", "unmet"]


def unmet() -> list[str]:
    """What hopfax and the packages under it require, and is installed in another version.

    One sentence each. Missing packages of hopfax itself are no such: they belong to extras. One
    that is missing below is, as "tyro 1.0.17 requires typeguard>=4.0.0, but it is missing". A
    source tree that is not installed has no list of requirements: nothing is found.
    """
    if installed("packaging") is None:
        return ["hopfax[cli] requires packaging, but it is missing"]
    if installed("hopfax") is None:
        return []
    found, seen, waiting = [], set(), ["hopfax"]
    while waiting:
        name = waiting.pop()
        for requirement in _requirements(name):
            version = installed(requirement.name)
            if version is None:
                if name == "hopfax":
                    continue
                found.append(f"{name} {installed(name)} requires {requirement}, but it is missing")
            elif not requirement.specifier.contains(version, prereleases=True):
                found.append(
                    f"{name} {installed(name)} requires {requirement.name}{requirement.specifier}, "
                    f"but {version} is installed"
                )
            if version is not None and requirement.name not in seen:
                seen.add(requirement.name)
                waiting.append(requirement.name)
    return found


def _requirements(name: str) -> "Iterator[Requirement]":
    """Those of a package that count on this machine; of hopfax also those of its extras."""
    from packaging.requirements import Requirement

    distribution = importlib.metadata.distribution(name)
    extras = distribution.metadata.get_all("Provides-Extra") or [] if name == "hopfax" else []
    for text in distribution.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            if requirement.name != name:  # hopfax[io,plot], whose packages are listed themselves
                yield requirement


def installed(name: str) -> str | None:
    """The version of a package that is installed, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
