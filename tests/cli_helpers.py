"""What the tests of the command line share."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands write into a temporary folder, and keep no programs in the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refusal(err):
    """The one line of an error, without bars of progress."""
    lines = [line for line in err.splitlines() if line.startswith("hopfax:")]
    assert len(lines) == 1 and "Traceback" not in err
    return lines[0]


_WAITING = """
import signal, sys, threading
from hopfax._sweep import _program, _store
from hopfax.cli import main

stopped = threading.Event()

def interrupt(number, frame):
    stopped.set()
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
_program._WIDTH = {width}
write, count, turn = _store.Store.write, 0, threading.Lock()

def waiting(self, *arguments):
    global count
    with turn:
        early = count < {blocks}
        if early:
            write(self, *arguments)
            count += 1
            if count == {blocks}:
                print("waiting", flush=True)
    if count >= {blocks}:
        stopped.wait(600)  # some threads of a sweep must end before it can
    if not early:
        write(self, *arguments)

_store.Store.write = waiting
sys.exit(main(sys.argv[1:]))
"""


def stopped(arguments, signal, blocks, folder):
    """Run a command in a process of its own and send it a signal once so many blocks are stored;
    its exit status and what it complained of. Tiles are as wide as in this process."""
    from hopfax._sweep import _program

    code = _WAITING.format(width=_program._WIDTH, blocks=blocks)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    while "waiting" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal)
    _, err = process.communicate(timeout=600)
    return process.returncode, err
