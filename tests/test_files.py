"""Files: what is read, how it is written, and what may be removed."""

import os
import threading

import pytest

from hopfax import StoreError
from hopfax._files import (
    Ledger,
    checksum,
    open_regular,
    parse_json,
    prune,
    read_bytes,
    remove,
    sealed,
    unsealed,
    write_whole,
)


@pytest.fixture
def odd(tmp_path):
    """A folder, a pipe, a device, a link to a device: by what a message calls them."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    names = {"folder": "a folder", "pipe": "a pipe", "link": "a device"}
    return {tmp_path / name: text for name, text in names.items()} | {"/dev/zero": "a device"}


def test_only_regular_files_are_read(odd, tmp_path):
    for place, text in odd.items():
        with pytest.raises(StoreError, match=f"`store`: .* is {text}"):
            open_regular(place, "store", StoreError)
        assert checksum(place) == [-1, 0]
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_what_is_larger_than_it_may_be_is_not_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(ValueError, match=r"`path`: .*large has 1.1 TB, .* at most 67.1 MB"):
        read_bytes(tmp_path / "large")


def test_deeply_nested_json_is_no_json():
    with pytest.raises(ValueError, match="too deeply"):
        parse_json("[" * 10**5 + "]" * 10**5)


def test_a_seal_shows_every_flipped_bit():
    content = {"files": {"a": [3, 4]}, "schema": 1}
    whole = sealed(content)
    assert unsealed(whole) == content
    for k in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[k // 8] ^= 1 << k % 8
        try:
            found = unsealed(bytes(flipped))
        except ValueError:
            continue
        assert found == content  # a blank between the words became another


def test_files_appear_whole_and_follow_no_link(tmp_path):
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "name").symlink_to(other)
    threads = [
        threading.Thread(target=write_whole, args=(tmp_path / "name", str(k).encode() * 1000))
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = (tmp_path / "name").read_text()
    assert not (tmp_path / "name").is_symlink() and found == found[0] * 1000
    assert other.read_text() == "precious" and len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    before = os.umask(0)
    os.umask(before)
    return before


def test_a_failed_write_leaves_what_was_there(tmp_path):
    (tmp_path / "name").write_text("before")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "name", fail)
    assert (tmp_path / "name").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def ledger(tmp_path):
    """A folder with a file and a folder of ours, and two files of somebody else."""
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "chunk").write_text("ours")
    (tmp_path / "picture.png").write_text("ours")
    found = Ledger(tmp_path)
    found.add("data", "picture.png")
    (tmp_path / "notes.txt").write_text("theirs")
    return found


def test_a_ledger_tells_ours_from_theirs(ledger):
    assert ledger.foreign("data") is None and ledger.foreign("absent") is None
    assert ledger.foreign("notes.txt") == ledger.folder / "notes.txt"
    ledger.check(["data", "picture.png", "absent"], overwrite=True)
    with pytest.raises(FileExistsError, match="--overwrite"):
        ledger.check(["picture.png"], overwrite=False)
    with pytest.raises(FileExistsError, match=r"notes.txt .* nothing touched"):
        ledger.check(["picture.png", "notes.txt"], overwrite=True)


def test_what_was_changed_or_put_beside_is_not_removed(ledger):
    folder = ledger.folder
    (folder / "data" / "inner" / "theirs").write_text("theirs")
    with pytest.raises(FileExistsError, match="theirs"):
        ledger.remove("data")
    (folder / "picture.png").write_text("edited")
    with pytest.raises(FileExistsError, match="picture.png"):
        ledger.remove("picture.png")
    assert (folder / "data" / "inner" / "chunk").exists()
    (folder / "data" / "inner" / "theirs").unlink()
    ledger.remove("data")
    assert not (folder / "data").exists() and set(ledger.files()) == {"picture.png"}


def test_what_is_moved_in_is_listed_before_and_after(ledger, monkeypatch):
    folder = ledger.folder
    for content in ("first", "second"):
        (folder / "made").mkdir()
        (folder / "made" / content).write_text(content)
        ledger.move(folder / "made", "data")
        assert ledger.whole("data") and ledger.foreign("data") is None
        assert [file.name for file in (folder / "data").iterdir()] == [content]
    assert set(ledger.files()) == {"data/second", "picture.png"}
    (folder / "new").write_text("ours")
    with pytest.raises(FileExistsError, match="notes.txt"):
        ledger.move(folder / "new", "notes.txt")
    assert (folder / "notes.txt").read_text() == "theirs"

    def kill(self, *names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", kill)
        with pytest.raises(KeyboardInterrupt):
            ledger.move(folder / "new", "picture.png")
    assert ledger.whole("picture.png") and (folder / "new").exists() is False
    assert not ledger.whole("notes.txt") and not ledger.whole("absent")


def test_what_is_not_all_there_is_not_whole(ledger):
    assert ledger.whole("data")
    (ledger.folder / "data" / "more").write_text("theirs")
    assert not ledger.whole("data")
    (ledger.folder / "data" / "more").unlink()
    (ledger.folder / "data" / "inner" / "chunk").unlink()
    assert not ledger.whole("data") and ledger.foreign("data") is None


def test_a_record_of_nothing_is_not_kept(ledger):
    ledger.remove("data", "picture.png")
    assert [file.name for file in ledger.folder.iterdir()] == ["notes.txt"]


def test_two_that_write_at_once_are_both_listed(ledger):
    names = [f"part{k}" for k in range(8)]

    def write(name):
        (ledger.folder / name).write_text(name)
        Ledger(ledger.folder).add(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names) < set(ledger.files())


def test_empty_folders_are_pruned_and_links_are_not_followed(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "other" / "empty").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (tmp_path / "a" / "file").write_text("")
    prune(tmp_path / "a")
    prune(tmp_path / "link")
    assert not (tmp_path / "a" / "b").exists() and (tmp_path / "a" / "file").exists()
    assert (tmp_path / "other" / "empty").exists()


def test_nothing_outside_the_folder_is_removed(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (inside / "link").symlink_to(outside)
    remove(inside, ["../outside/precious", "link/precious", "/etc/hostname", "absent"])
    assert (outside / "precious").exists() and (inside / "link").is_symlink()


def test_a_ledger_of_another_program_is_refused(ledger):
    (ledger.folder / "written.json").write_text('{"files": {"notes.txt": [6, 1]}}')
    with pytest.raises(StoreError, match="written.json"):
        ledger.check(["picture.png"], overwrite=True)
