"""Memories: stored, packed into bits, made anew when needed, or spread over devices."""

from ._active import (
    active as active,
    balanced as balanced,
    degrade as degrade,
    sparse as sparse,
    sunflower as sunflower,
)
from ._base import AbstractPatterns as AbstractPatterns, as_key as as_key
from ._many import (
    GeneratedPatterns as GeneratedPatterns,
    PackedPatterns as PackedPatterns,
    ShardedPatterns as ShardedPatterns,
    pack as pack,
    shard as shard,
)
from ._stored import (
    ENUMERATED as ENUMERATED,
    Patterns as Patterns,
    SiteClasses as SiteClasses,
    correlated as correlated,
    from_images as from_images,
    hadamard as hadamard,
    load as load,
    random as random,
)
