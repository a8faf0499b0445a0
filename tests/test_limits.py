"""What is too large is refused before it is begun, with the number of bytes."""

import pytest

from hopfax import _errors
from hopfax._errors import check_memory, in_words, machine_memory


def test_sizes_in_words():
    assert in_words(5) == "5 bytes" and in_words(5_400_000_000) == "5.4 GB"
    assert in_words(10**17) == "1e+05 TB" and in_words(8 * 10**20) == "10^20 bytes"
    assert in_words(2**100_000) == "10^30000 bytes"  # beyond the largest float


def test_memory_is_asked_for_before_it_is_taken(monkeypatch):
    assert 10**8 < machine_memory() < 10**15
    monkeypatch.setattr(_errors, "machine_memory", lambda: 4 * 10**9)
    check_memory("N", 4 * 10**9, "as much as there is")
    with pytest.raises(
        ValueError, match=r"^`N` is too large: 3 x N numbers would take 12 GB, and this machine"
    ) as error:
        check_memory("N", 12 * 10**9, "3 x N numbers", "Take fewer.")
    assert str(error.value).endswith("has 4 GB of memory. Take fewer.")
