"""A stored sweep as zarr sees it: blocks that are complete, and nothing of the others."""

import asyncio
from collections.abc import Iterable
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from .._errors import StoreCorrupt
from ._manifest import Manifest
from ._store import Store


class Shown(LocalStore):
    """The zarr group of a store, in which the chunks of some blocks are there and no others.

    A chunk is given out only if its block is complete at that moment, and a block is shown as a
    whole or not at all: once a part of it was given out or was blank, so is the rest. For a chunk
    that is not there zarr reads what is blank. The checksums of a block are looked at again only
    where one of its files has been replaced; a bit that flips by itself is found by those of zarr.

    **Arguments:** `blocks`: those that are shown. `partial`: also those are blank that are not
    complete any more when they are first looked at.

    **Raises:** StoreCorrupt, when it is read, for a block that is not complete any more.
    """

    def __init__(self, store: Store, manifest: Manifest, blocks: Iterable[int], partial: bool):
        super().__init__(store.data, read_only=True)
        self._of = store
        self._manifest = manifest
        self._blocks = frozenset(blocks)
        self._partial = partial
        self._seen: dict[int, Any] = {}  # the versions of a block's files; None if it was blank

    def __reduce__(self):
        return Shown, (self._of, self._manifest, self._blocks, self._partial)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shown) and self.__reduce__()[1][1:] == other.__reduce__()[1][1:]

    __hash__ = None  # type: ignore[assignment]  # as it is with LocalStore

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """The bytes of a file, None if it is not there or not shown."""
        name = f"data.zarr/{key}"
        block = self._manifest.block_of(name)
        if block is None:
            return await super().get(key, prototype, byte_range)
        if block not in self._blocks or (block in self._seen and self._seen[block] is None):
            return None
        content = await asyncio.to_thread(self._content, block, name)
        if content is not None:
            return _buffer(prototype).from_bytes(content)
        if self._partial and self._seen.setdefault(block) is None:
            return None
        raise StoreCorrupt(
            f"`store`: {self._of.path / name} has been changed, damaged or removed since the sweep "
            "was opened. Open it again, or run the same sweep again to mend it."
        )

    def _content(self, k: int, name: str) -> bytes | None:
        """A file of block `k`; None unless the block is complete, before and after it is read."""
        versions = self._of.versions(self._manifest, k)
        if versions is None:
            return None
        if versions != self._seen.get(k):
            if self._of.done(self._manifest, k) is None:
                return None
            self._seen[k] = versions
        try:
            content = (self._of.path / name).read_bytes()
        except OSError:
            return None
        return content if self._of.versions(self._manifest, k) == versions else None


def _buffer(prototype: BufferPrototype | None) -> Any:
    if prototype is not None:
        return prototype.buffer
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype().buffer
