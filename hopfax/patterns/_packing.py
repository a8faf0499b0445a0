"""Signs as bits, read a piece at a time, from arrays and files that may be larger than memory."""

import os
import pathlib
from collections.abc import Iterator

import numpy as np

from .._errors import check_memory, shown
from .._files import Form, open_regular, read_form, read_values
from ._base import WORD

_PIECE = 2**24  # bytes read at a time


def bits_of_array(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Words of bits (P, W) of an array (P, N) of signs, such as `numpy.load(..., mmap_mode="r")`,
    and N.

    **Raises:** ValueError for another shape, or for entries that are no signs.
    """
    form = Form(array.shape, array.dtype, False)
    rows = _rows_at_once(form, "an array")
    pieces = (np.asarray(array[first : first + rows]) for first in range(0, len(array), rows))
    return _packed(form, pieces, "an array")


def bits_of_file(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    """The same of a .npy file, which is never in memory as a whole.

    **Raises:** ValueError naming the file if it is none of signs, damaged, or holds pickled
    objects.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npy":
        raise ValueError(
            f"`sources`: {path.name!r} must end in .npy to be read in pieces; others are read "
            "whole by hopfax.patterns.load."
        )
    with open_regular(path, "sources") as file:
        try:
            form = read_form(file)
        except ValueError as error:
            raise ValueError(f"`sources`: {path} cannot be read: {error}.") from error
        rows, follow = _rows_at_once(form, str(path)), os.fstat(file.fileno()).st_size - file.tell()
        if form.nbytes != follow:
            claimed = f"{form.dtype}{list(form.shape)}, {form.nbytes} bytes"
            raise ValueError(f"`sources`: {path} claims {claimed}, but {follow} follow.")
        if form.fortran:
            raise ValueError(
                f"`sources`: {path} holds its columns one after the other (Fortran order), so that "
                "no row can be read alone; save numpy.ascontiguousarray of it."
            )

        def pieces() -> Iterator[np.ndarray]:
            P, N = form.shape
            for first in range(0, P, rows):
                piece = (min(rows, P - first), N)
                yield read_values(file, Form(piece, form.dtype, False))

        return _packed(form, pieces(), str(path))


def _rows_at_once(form: Form, name: str) -> int:
    if len(form.shape) != 2 or not all(form.shape):
        raise ValueError(
            f"`sources`: {name} must have shape (P, N), one memory a row, got {form.shape}."
        )
    if form.dtype.kind not in "biuf":
        raise ValueError(f"`sources`: {name} holds {form.dtype}, not signs.")
    return max(1, _PIECE // (form.shape[1] * form.dtype.itemsize))


def _packed(form: Form, pieces: Iterator[np.ndarray], name: str) -> tuple[np.ndarray, int]:
    P, N = form.shape
    words = -(-N // WORD)
    check_memory("sources", 8 * P * words, f"{P:,} patterns of {N:,} neurons as bits")
    bits, first = np.zeros((P, words), "<u4"), 0
    for piece in pieces:
        positive = piece if piece.dtype == bool else piece == 1
        if piece.dtype != bool and (wrong := ~positive & (piece != -1)).any():
            row, neuron = (int(k) for k in np.argwhere(wrong)[0])
            raise ValueError(
                f"`sources`: {name} has {shown(piece[row, neuron].item())} at row {first + row}, "
                f"neuron {neuron}; packed patterns are signs, -1 and 1 (or False and True). Images "
                "become signs by hopfax.patterns.from_images."
            )
        packed = np.packbits(positive, axis=1, bitorder="little")
        into = bits[first : first + len(piece)].view(np.uint8)
        into[:, : packed.shape[1]] = packed
        first += len(piece)
    return bits.astype(np.uint32, copy=False), N
