"""`hopfax sweep` at length: planned, interrupted, shared, resumed."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

import hopfax as hx
from hopfax.cli._sweep import Sweep, gains_and_starts

# Without a seed there is no theory at finite tau, which takes long to compile.
SMALL = ["sweep", "--points", "16", "8", "--tau", "20", "--horizon", "4", "--neurons", "16"]
SMALL += ["--bias", "0", "--precision", "float32"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hopfax._sweep._program._WIDTH", {"cpu": 16})


def test_one_number_of_points_is_made_of_two():
    assert gains_and_starts((1_000_000,)) == (1250, 800)
    assert gains_and_starts((12, 8)) == (12, 8)
    for total in (4, 97, 10_000, 123_456, 10_000_000):
        gains, starts = gains_and_starts((total,))
        assert 0.9 * total < gains * starts <= total and gains >= starts


@pytest.mark.slow
def test_parts_planned_shared_and_drawn(command, tmp_path):
    status, out, _ = command(*SMALL, "--dry-run")
    assert status == 0 and not (tmp_path / "hopfax-out").exists()
    assert "128 in 8 tiles of 16" in out and re.search(r"time +about .* s, after", out)

    part = [*SMALL, "--out", "here", "--chunk", 16, "--store", "elsewhere"]
    status, out, err = command(*part, "--resume")
    assert status == 2 and "no sweep in elsewhere to resume" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]  # nothing is left behind

    status, out, _ = command(*part, "--part", 0, 2)
    assert status == 0 and re.match(
        r"128 runs, 16 gains: about .* to compute .* to elsewhere\n", out
    )
    assert "part 0 of 2 is done, others are not yet" in out
    (again,) = re.findall(r"^hopfax (sweep .* --resume)$", out, re.MULTILINE)
    assert not (tmp_path / "here/phase_diagram.png").exists()

    # What is there can be drawn, and read.
    status, out, _ = command("plot", "elsewhere", "--no-theory")
    assert status == 0 and "elsewhere.png; 64 of 128 points have not been run" in out
    assert (tmp_path / "elsewhere.png").stat().st_size > 1000
    assert (hx.open_sweep("elsewhere", partial=True).status == -1).sum() == 64

    assert command(*part, "--part", 1, 2)[0] == 0
    status, out, err = command(*again.split())
    assert status == 0 and "read from elsewhere" in out and not err
    assert (tmp_path / "here/phase_diagram.png").stat().st_size > 1000
    status, _, err = command(*SMALL, "--out", "here2", "--store", "elsewhere", "--horizon", 5)
    assert status == 2 and "point.ts" in err and "--overwrite" in err and "To resume" not in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--points", "3"], "`points`"),
        (["--points", "4", "4", "4"], "`points`"),
        (["--devices", "0"], "`devices`"),
        (["--devices", "999"], "`devices` is 999, but JAX has been started with"),
        (["--part", "2", "2"], "`part` must be K N with 0 <= K < N"),
        (["--chunk", "0"], "`chunk`"),
        (["--points", "-3"], "`points`"),
        (["--resume", "--overwrite"], "contradict"),
        (["--out", "afile"], "`out`: afile is a file"),
    ],
)
def test_bad_values(command, arguments, named, tmp_path):
    (tmp_path / "afile").write_text("")
    status, _, err = command(*SMALL, *arguments)
    assert status == 2 and named in err and "Traceback" not in err
    assert {entry.name for entry in tmp_path.iterdir()} <= {"afile", "cache"}


def test_a_scheduler_that_does_not_answer(command, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def client(address, timeout):
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", client)
    status, _, err = command(*SMALL, "--dask", "tcp://127.0.0.1:1")
    assert status == 2 and "`dask`: no scheduler answers at tcp://127.0.0.1:1" in err
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, err = command(*SMALL, "--dask", "tcp://127.0.0.1:1")
    assert status == 2 and 'pip install "hopfax[dask]"' in err


def test_settings_do_not_depend_on_how_it_is_run():
    from hopfax.cli import _common

    plain = _common.settings(Sweep())
    other = Sweep(devices=2, chunk=100, part=(0, 2), dask="x", resume=True, dry_run=True)
    assert _common.settings(other) == plain


SLOW = """
import signal, sys, time
from hopfax._sweep import _store
from hopfax.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job is born without

write = _store.Store.write
def slow(self, *arguments):
    write(self, *arguments)
    time.sleep(0.2)
_store.Store.write = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(command, tmp_path):
    options = [*SMALL, "--points", "64", "32", "--chunk", "32", "--out", "here"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    markers = tmp_path / "here/sweep/done"
    while process.poll() is None and len(list(markers.glob("*.json"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "hopfax: interrupted" in err
    assert re.search(r"\d+ of \d+ blocks are stored in here/sweep", err)
    (again,) = re.findall(r"^To resume: hopfax (.*)$", err, re.MULTILINE)
    assert again == "sweep --config here/settings.toml --out here --resume"
    before = len(list(markers.glob("*.json")))
    assert before >= 2
    # In this process tiles are narrower, which is another sweep; so the line runs as it is meant.
    done = subprocess.run(
        [sys.executable, "-m", "hopfax", *again.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here/phase_diagram.png").exists()
    assert (hx.open_sweep(tmp_path / "here/sweep").status == 0).all()
