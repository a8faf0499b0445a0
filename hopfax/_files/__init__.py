"""Files: read and written with care, and removed only where hopfax wrote them."""

from .._errors import in_words as in_words
from ._arrays import (
    Form as Form,
    read_form as read_form,
    read_values as read_values,
    read_whole as read_whole,
)
from ._io import (
    checksum as checksum,
    open_regular as open_regular,
    parse_json as parse_json,
    read_bytes as read_bytes,
    sealed as sealed,
    unsealed as unsealed,
    write_whole as write_whole,
)
from ._ledger import (
    FILE as FILE,
    Ledger as Ledger,
    files_below as files_below,
    prune as prune,
    remove as remove,
)
from ._sealed import Source as Source, open_sealed as open_sealed, write_sealed as write_sealed
from ._table import (
    NUMBER as NUMBER,
    Table as Table,
    as_number as as_number,
    shown_cells as shown_cells,
    with_point as with_point,
)
from ._zarr import check_regular as check_regular, check_zarr as check_zarr
