"""Arrays in NumPy's format, measured before any memory is taken for them. No pickle.

`numpy.load` takes memory for whatever the header of an array claims, and its own parser fails in
many ways on a damaged one. Here the header is read first and compared with what the file holds.
"""

import math
from typing import Any, NamedTuple

import numpy as np

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Form(NamedTuple):
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def nbytes(self) -> int:
        """The bytes that the entries take."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_array(file: Any, array: np.ndarray) -> None:
    """Write an array in NumPy's format to anything that has `write`."""
    np.lib.format.write_array(file, array.view(stored_as(array.dtype)), allow_pickle=False)


def stored_as(dtype: np.dtype) -> np.dtype:
    """The dtype in a file: of types that NumPy's format does not know (bfloat16) the bits."""
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype


def read_form(file: Any) -> Form:
    """The header of the array that begins here; its entries follow.

    **Raises:** ValueError, saying what is wrong, for anything but the header of an array of plain
    values.
    """
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = _HEADERS[version](file)
    except Exception as error:  # of a dozen kinds, from the parser of Python on
        raise ValueError("there is no array in NumPy's format") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, and object arrays (pickles) are never loaded")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"its header claims the shape {shape}")
    return Form(shape, dtype, fortran)


def read_values(file: Any, form: Form) -> np.ndarray:
    """The entries that follow a header, in the byte order of this machine.

    The caller has compared `form.nbytes` with what there is. **Raises:** ValueError if the file
    ends before.
    """
    flat = np.empty(math.prod(form.shape), form.dtype)
    rest = flat.view(np.uint8).data
    while rest:
        if not (read := file.readinto(rest)):
            raise ValueError("it ends before its last entry")
        rest = rest[read:]
    if form.fortran:
        array = flat.reshape(form.shape[::-1]).T
    else:
        array = flat.reshape(form.shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_whole(file: Any, size: int) -> tuple[Form, Any]:
    """The header of an array that fills a file, or a member of an archive, of `size` bytes; and a
    function that reads the entries.

    **Raises:** ValueError, saying what is wrong, unless header and size agree.
    """
    form = read_form(file)
    follow = size - file.tell()
    if form.nbytes != follow:
        raise ValueError(
            f"its header claims {form.dtype}{list(form.shape)}, {form.nbytes} bytes, but "
            f"{follow} follow"
        )
    return form, lambda: read_values(file, form)
