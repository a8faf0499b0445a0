"""Memories: stored, packed into bits, made anew when needed, or spread over devices."""

from ._base import AbstractPatterns as AbstractPatterns
from ._classes import ENUMERATED as ENUMERATED
from ._files import load as load
from ._images import from_images as from_images
from ._make import (
    active as active,
    balanced as balanced,
    correlated as correlated,
    degrade as degrade,
    hadamard as hadamard,
    random as random,
    sparse as sparse,
    sunflower as sunflower,
)
from ._many import (
    GeneratedPatterns as GeneratedPatterns,
    PackedPatterns as PackedPatterns,
    ShardedPatterns as ShardedPatterns,
    pack as pack,
    shard as shard,
)
from ._stored import Patterns as Patterns, SiteClasses as SiteClasses

__all__ = [
    "AbstractPatterns",
    "GeneratedPatterns",
    "PackedPatterns",
    "Patterns",
    "ShardedPatterns",
    "SiteClasses",
    "active",
    "balanced",
    "correlated",
    "degrade",
    "from_images",
    "hadamard",
    "load",
    "pack",
    "random",
    "shard",
    "sparse",
    "sunflower",
]


def __dir__():
    return sorted(__all__)
