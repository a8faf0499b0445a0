"""Which zarr folders are opened: those that need nothing but reading.

A zarr array names the codecs that decode it, and some codecs run what they read (pickle). A folder
from somebody else is therefore looked at before zarr sees it: format 3 only, codecs from a list,
plain numbers.
"""

import os
import pathlib
import re
from typing import Any

from ._io import parse_json, read_bytes
from ._ledger import files_below

_CODECS = {"bytes", "zstd", "blosc", "gzip", "crc32c", "transpose"}
_TYPES = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)|r\d+")
_EARLIER = {".zarray", ".zgroup", ".zattrs", ".zmetadata"}  # of format 2


def check_zarr(folder: pathlib.Path, name: str, error: type[Exception]) -> dict[str, Any]:
    """The descriptions of all arrays and groups at or below a folder, by path from it.

    `name`: the argument that gave the folder.

    **Raises:** `error`, naming the file, for anything but zarr of format 3, with the usual codecs.
    """
    found = {}
    for inner, _, files in os.walk(folder):
        for last in _EARLIER.intersection(files):
            file = pathlib.Path(inner, last)
            raise error(f"`{name}`: {file} is of zarr's format 2; only format 3 is read.")
        if "zarr.json" in files:
            file = pathlib.Path(inner, "zarr.json")
            try:
                node = parse_json(read_bytes(file, name, error))
                _check_node(node)
            except (ValueError, TypeError, KeyError, AttributeError) as bad:
                raise error(f"`{name}`: {file} is damaged or not to be trusted: {bad}.") from bad
            found[file.parent.relative_to(folder).as_posix()] = node
    return found


def _check_node(node: dict[str, Any]) -> None:
    if node["zarr_format"] != 3:
        raise ValueError(f"it has zarr's format {node['zarr_format']!r}, and only 3 is read")
    for inner in ((node.get("consolidated_metadata") or {}).get("metadata") or {}).values():
        _check_node(inner)
    if node["node_type"] == "group":
        return
    if node["node_type"] != "array":
        raise ValueError(f"it is a {node['node_type']!r}")
    if not (isinstance(node["data_type"], str) and _TYPES.fullmatch(node["data_type"])):
        raise ValueError(f"it holds {node['data_type']!r}, and only numbers are read")
    if node.get("storage_transformers"):
        raise ValueError("it has storage transformers")
    for codec in node["codecs"]:
        kind = codec["name"] if isinstance(codec, dict) else codec
        if kind not in _CODECS:
            raise ValueError(f"it needs the codec {kind!r}, and {sorted(_CODECS)} are allowed")
    if node["chunk_grid"]["name"] != "regular":
        raise ValueError(f"its chunks are {node['chunk_grid']['name']!r}, not regular")


def check_regular(folder: pathlib.Path, name: str, error: type[Exception]) -> None:
    """`error`, naming the file, if there is anything but regular files in a folder: reading a pipe
    waits for ever."""
    for file in files_below(folder):
        if file.is_symlink() or not file.is_file():
            raise error(f"`{name}`: {file} is no regular file; nothing of {folder} was read.")
