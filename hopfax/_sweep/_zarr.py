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

    A chunk is given out only if its block is complete at that moment, and as the very bytes that
    were checked. For one that is not there zarr reads what is blank.

    **Arguments:** `blocks`: those that are shown. `partial`: also those are blank that are not
    complete any more; otherwise reading them raises StoreCorrupt.
    """

    def __init__(self, store: Store, manifest: Manifest, blocks: Iterable[int], partial: bool):
        super().__init__(store.data, read_only=True)
        self._of = store
        self._manifest = manifest
        self._blocks = frozenset(blocks)
        self._partial = partial

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
        if block not in self._blocks:
            return None
        content = await asyncio.to_thread(self._of.chunk, self._manifest, block, name)
        if content is not None:
            return _buffer(prototype).from_bytes(content)
        if self._partial:
            return None
        raise StoreCorrupt(
            f"`store`: {self._of.path / name} has been changed, damaged or removed since the sweep "
            "was opened. Open it again, or run the same sweep again to mend it."
        )


def _buffer(prototype: BufferPrototype | None) -> Any:
    if prototype is not None:
        return prototype.buffer
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype().buffer
