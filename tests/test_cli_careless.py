"""The command line in careless hands: sizes, odd files of settings and memories, names, Ctrl-C."""

import io
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from cli_helpers import elsewhere as elsewhere, refusal
from helpers import ROOT

import hopfax as hx
from hopfax.cli import _output, _settings
from hopfax.cli._console import complain, say
from hopfax.cli._folder import Folder
from hopfax.cli.sequential.sweep import Sweep

HUGE = 10**10


@pytest.fixture
def nothing_computed(monkeypatch):
    """To compute would fail."""

    def compute(*arguments, **options):
        raise AssertionError("computed")

    for name in ("sweep", "simulate", "fit_sequence", "sweep_plan"):
        monkeypatch.setattr(hx, name, compute)


# Sizes


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("sweep", "--memories", HUGE), r"`memories` is too large: .* memories of 1024 neurons"),
        (("sweep", "--neurons", 2**40), r"`neurons` is too large: 4 memories .* TB"),
        (("sweep", "--patterns", "random", "--memories", HUGE), "`memories` is too large"),
        (("run", "--memories", HUGE), "`memories` is too large"),
        (("run", "--horizon", HUGE), "`horizon` is too large: .* states of 1024 neurons .* TB"),
        (("run", "--patterns", ".", "--image-shape", HUGE, HUGE), "`image_shape` is too large"),
        (("sweep", "--points", HUGE), "`points` must be at most 2^31 - 1 in all, got 10000000000"),
        (("sweep", "--points", 10**30), "`points` must be at most"),
        (("sweep", "--seed", 2**63), "`seed` must be below 2^63"),
        (("run", "--seed", -(10**30)), "`seed` must be below 2^63"),
        (("sweep", "--network", "dense", "--points", HUGE, 4), "`points` must be at most"),
        (("sweep", "--network", "dense", "--seed", 2**63), "`seed` must be at least 0"),
        (("sweep", "--network", "dense", "--paths", 2**40), "`paths` is too large"),
        (("sweep", "--network", "dense", "--steps", HUGE), "`steps` is too large: .* bytes"),
        (("sweep", "--network", "dense", "--scrambles", HUGE), "`scrambles` is too large"),
        (("theory", "--memories", HUGE), "`memories` must be at most 10000"),
        (("sweep", "--network", "dense", "--orders", 3, HUGE), "`orders`: K(1) of order 1000"),
        (
            ("theory", "--network", "dense", "--orders", 500),
            "`orders`: K(1) of order 500 is",
        ),
        (("sweep", "--network", "dense", "--simulate", 10**6), "`simulate` is too large: .* memor"),
        (("sweep", "--network", "dense", "--orders", 20, "--simulate", 10**100), "`simulate`"),
        (("sweep", "--network", "rate", "--points", HUGE, 4), "`points` must be at most"),
        (("sweep", "--network", "rate", "--neurons", 25 * HUGE), "`neurons` is too large"),
        (("sweep", "--network", "rate", "--q", 1e-6), "`neurons` is too large"),
        (("sweep", "--network", "rate", "--seed", 2**63), "`seed`"),
    ],
)
def test_sizes_beyond_the_machine_are_refused_at_once(command, nothing_computed, arguments, named):
    begin = time.perf_counter()
    status, out, err = command(*arguments)
    assert status == 2 and not out
    assert re.search(named.replace("(1)", r"\(1\)").replace("2^", r"2\^"), refusal(err)), err
    assert time.perf_counter() - begin < 20
    assert {entry.name for entry in pathlib.Path().iterdir()} <= {"cache"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:at .* this start cannot move")
def test_results_beyond_the_machine_are_refused_before_they_are_computed(command, monkeypatch):
    from hopfax._sweep import _run

    monkeypatch.setattr(_run, "_in_store", None)
    monkeypatch.setattr("hopfax._sweep._program._WIDTH", {"cpu": 16})
    monkeypatch.setattr("hopfax._errors.machine_memory", lambda: 10**6)
    small = ("sweep", "--neurons", 16, "--tau", 20, "--horizon", 6, "--bias", 0)
    status, out, err = command(*small, "--points", 300, 200)
    assert status == 2 and not out
    assert "`points` is too large: the results of 60000 points would take 1.74 MB" in refusal(err)


# Options checked before anything is computed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("sweep", "--memories", 1), "`memories` must be at least 2 memories for a sequence"),
        (("sweep", "--memories", 1024), "`memories` must be fewer than the 1024 `neurons`"),
        (("sweep", "--neurons", 1001, "--memories", 3), "`neurons` must be a multiple of 8"),
        (("sweep", "--part", 0, 2, "--overwrite"), "`overwrite` with `part`"),
        (("sweep", "--devices", 1, "--dask", "x"), "`devices` are those of this process"),
        (
            ("run", "--patterns", "pictures", "--threshold", "abc"),
            "`threshold` must be median",
        ),
        (("run", "--threshold", "nan"), "`threshold` must be .* finite"),
        (("fit", "events.csv", "--threshold", "1,5"), "`threshold` must be median"),
        (("run", "--patterns", "pictures"), "`patterns`: no PNG or JPEG files"),
        (("run", "--patterns", "pictures", "--image-shape", 0, 8), "`image_shape` must be"),
        (("run", "--patterns", "notes.txt"), "`patterns` must end in .npy, .npz or .csv"),
        (("run", "--patterns", "~nobody/xi.npy"), "there is no '~nobody/xi.npy'"),
        (("fit", "events.csv", "--saliency0", 1), "`saliency0` must be 2 finite numbers"),
        (("fit", "events.csv", "--tau", "nan"), "`tau` must be finite"),
        (("run", "--saliency0", "nan"), "`saliency0` must be finite"),
        (("run", "--model", "none.hopfax"), "`model`: there is no file 'none.hopfax'"),
        (("run", "--patterns", "digits", "--transpose"), "`transpose` is for the memories of"),
        (("sweep", "--transpose"), "`transpose` is for the memories of"),
        # options that would do nothing
        (("run", "--threshold", "mean"), "`threshold` is for images"),
        (("run", "--patterns", "xi.npy", "--threshold", 128), "`threshold` is for images.*from_im"),
        (("sweep", "--patterns", "xi.npy", "--threshold", "otsu"), "`threshold` is for images"),
        (("fit", "events.csv", "--threshold", "mean"), "`threshold` is for images"),
        (
            ("run", "--patterns", "digits", "--image-shape", 4, 4),
            "`image_shape` .* digits have",
        ),
        (("run", "--patterns", "digits", "--neurons", 16), "`neurons` is 16.*digits have 64"),
        (("sweep", "--patterns", "xi.npy", "--image-shape", 4, 4), "`image_shape` is for a folder"),
        (("fit", "events.csv", "--image-shape", 4, 4), "`image_shape` is for a folder"),
        (("fit", "events.csv", "--order-only", "--unit", 2), "`unit` is of the file's times"),
        (("fit", "events.csv", "--order-only", "--sigma", 2), "`sigma` is of the file's times"),
        (("theory", "--bias", 0.1), "`bias` matters at a finite separation"),
        (
            ("sweep", "--network", "rate", "--simulate", 0, 0, "--neurons", 100),
            "`neurons` is for simulations",
        ),
        (
            ("sweep", "--network", "rate", "--simulate", 0, 0, "--seed", 1),
            "`seed` is for simulations",
        ),
    ],
)
def test_the_option_at_fault_is_named(command, nothing_computed, arguments, named):
    pathlib.Path("events.csv").write_text("time,memory\n0,0\n1,1\n")
    pathlib.Path("notes.txt").write_text("")
    pathlib.Path("pictures").mkdir()
    np.save("xi.npy", np.arange(32.0).reshape(2, 16))
    status, out, err = command(*arguments)
    assert status == 2 and not out and re.search(named, refusal(err)), err


# Memories the wrong way round


@pytest.fixture
def columns():
    """A file whose columns are memories of 64 neurons, and one whose rows are."""
    xi = np.array(hx.patterns.hadamard(4, 64).xi)
    np.save("columns.npy", xi.T)
    np.savez("rows.npz", xi=xi)
    rows = [";".join(f"neuron {k}" for k in range(64)), *(";".join(map(str, row)) for row in xi)]
    pathlib.Path("rows.csv").write_text("\n".join(rows), "utf-8-sig")
    return xi


@pytest.mark.parametrize("line", [("sweep",), ("run",), ("fit", "events.csv")])
def test_a_transposed_file_is_told(command, columns, nothing_computed, line):
    pathlib.Path("events.csv").write_text("time,memory\n0,0\n1,1\n")
    status, out, err = command(*line, "--patterns", "columns.npy")
    assert status == 2 and not out
    assert "`patterns`: columns.npy holds 64 memories of 4 neurons" in refusal(err)
    assert "--transpose" in err and "--neurons 4" in err and "Warning" not in err
    for file in ("rows.npz", "rows.csv"):
        status, _, err = command(*line, "--patterns", file, "--transpose")
        assert status == 2 and "read the other way without --transpose" in refusal(err)


def test_memories_are_read_by_column_when_asked(columns):
    from hopfax.cli._memories import memories_of
    from hopfax.cli.sequential.run import Run

    found, _ = memories_of(Sweep(patterns="columns.npy", transpose=True))
    assert (found.xi == columns).all()
    some = Sweep(patterns="columns.npy", memories=2, neurons=64, transpose=True)
    assert (memories_of(some)[0].xi == columns[:2]).all()
    found, _ = memories_of(Run(patterns="columns.npy", transpose=True))
    assert (found.xi == columns).all() and found.binary
    assert (memories_of(Run(patterns="rows.csv"))[0].xi == columns).all()
    with pytest.warns(hx.PhysicsWarning):  # of rows that are equal: they are meant
        assert memories_of(Sweep(patterns="columns.npy", neurons=4))[0].P == 64


def test_settings_from_before_there_was_transpose_are_the_same():
    plain = _settings.settings(Sweep())
    assert "transpose" not in plain
    assert _settings.settings(Sweep(transpose=True)) == plain | {"transpose": True}


# Files of settings


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda file: file.mkdir(), "is a folder"),
        (lambda file: os.mkfifo(file), "is a pipe"),
        (lambda file: file.symlink_to("/dev/zero"), "is a device"),
        (lambda file: file.write_text("a = " + "[" * 10**5), "is no TOML file"),
        (lambda file: file.write_text("kappa = " + "9" * 10**4), "is no TOML file"),
        (lambda file: file.write_text("kappa = [4, 5]", "utf-16"), "it is not in UTF-8"),
        (lambda file: os.truncate(os.open(file, os.O_CREAT | os.O_RDWR), 1 << 40), "has 1.1 TB"),
    ],
)
def test_an_odd_file_of_settings_is_named(command, make, named):
    make(pathlib.Path("my.toml"))
    for line in (("sweep",), ("theory", "--network", "dense")):
        status, out, err = command(*line, "--config", "my.toml")
        assert status == 2 and not out
        assert "`config`: my.toml" in refusal(err) and named in err and len(err) < 300


def test_a_file_from_windows_is_read(command):
    text = "kappa = [4.5, 6.0]\r\nmemories = 3\r\n"
    pathlib.Path("my.toml").write_bytes(text.encode("utf-8-sig"))
    status, out, err = command("theory", "--config", "my.toml")
    assert status == 0 and "a cycle of 3 memories" in out, err


NAMES = [
    "plain",
    "two words",
    'it\'s "quoted" $HOME `x` \\ #',
    "Gedächtnis/記憶/\N{GRINNING FACE}.npy",
    os.fsdecode(b"not \xff text"),
    "\ud83d lone",
    "control \x01 \x7f \x85 \n\t end",
    "-dash",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_survives_the_settings_and_the_shell(tmp_path, name):
    folder = tmp_path / "here"
    output = _output.Output.of(Sweep(patterns=name, out=folder / name.strip("/")))
    Folder(folder).write_bytes("settings.toml", output.record.encode())
    with open(folder / "settings.toml", "rb") as file:
        tomllib.load(file)  # also by others
    assert _settings.read(folder / "settings.toml", "sweep")["patterns"] == name
    arguments = _settings.arguments_from(folder / "settings.toml", "sweep", Sweep)
    assert f"--patterns={name}" in arguments or arguments[arguments.index("--patterns") + 1] == name
    words = shlex.split(output.again)
    assert words == [
        *("hopfax", "sweep", "--config", str(folder / name / "settings.toml")),
        *("--out", str(folder / name), "--resume"),
    ]


def test_a_path_that_looks_like_an_option_stays_one():
    output = _output.Output.of(Sweep(out=pathlib.Path("-x")))
    assert shlex.split(output.again)[2:4] == ["--config=-x/settings.toml", "--out=-x"]


@pytest.mark.filterwarnings("ignore:at .* this start cannot move")
def test_a_folder_with_an_odd_name_is_gone_on_with(command, monkeypatch):
    monkeypatch.setattr("hopfax._sweep._program._WIDTH", {"cpu": 16})
    odd = "it's two \N{GRINNING FACE}"
    pathlib.Path(odd).mkdir()
    np.save(f"{odd}/xi.npy", np.array(hx.patterns.hadamard(4, 16).xi))
    line = ("sweep", "--patterns", f"{odd}/xi.npy", "--out", f"{odd}/out", "--points", 6, 4)
    line = (*line, "--tau", 20, "--horizon", 6, "--bias", 0, "--chunk", 16)
    status, out, err = command(*line, "--part", 0, 2)
    assert status == 0, err
    (again,) = re.findall("^hopfax (sweep .*)$", out, re.MULTILINE)
    status, out, err = command(*shlex.split(again))
    assert status == 0 and "24 runs in" in out, err
    settings = tomllib.loads(pathlib.Path(odd, "out/settings.toml").read_text("utf-8"))
    assert settings["patterns"] == str(pathlib.Path(odd, "xi.npy").resolve())


def test_what_the_terminal_cannot_show_is_written_all_the_same():
    code = """
import os
from hopfax.cli._console import complain, say
say(os.fsdecode(b"a \\xff b"))
say("face \\U0001f600")
complain(os.fsdecode(b"c \\xff"))
"""
    expected = {
        "utf-8": (b"a \xff b\nface \xf0\x9f\x98\x80\n", b"c \xff\n"),
        "ascii": (b"a \xff b\nface \\U0001f600\n", b"c \xff\n"),
    }
    for coding, (out, err) in expected.items():
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": coding}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        assert (found.stdout, found.stderr) == (out, err)


def test_a_stream_without_bytes_is_written_to(monkeypatch):
    for name, write in (("stdout", say), ("stderr", complain)):
        monkeypatch.setattr(sys, name, stream := io.StringIO())
        write(os.fsdecode(b"a \xff"))
        assert stream.getvalue() == "a \\udcff\n"


# Settings that are not those of the command that reads them


def test_settings_of_others_are_named_when_a_sweep_is_drawn(command):
    for number, text in enumerate(("orders = 3\nfoo = 1", "colour = 'red'")):
        folder = pathlib.Path(f"here{number}")
        folder.mkdir()
        (folder / "settings.toml").write_text(f'network = "dense"\n{text}\n')
        status, _, err = command("plot", folder)
        assert status == 2 and "has not the settings of `hopfax sweep`" in refusal(err)


# Ctrl-C


WAITING = """
import ctypes, pathlib, signal, sys, time
from hopfax.cli import _folder, _output, main
from hopfax.cli.sequential.sweep import Sweep

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job is born without

def in_python():
    while True:
        try:
            time.sleep(100)
        except KeyboardInterrupt:  # swallowed, as by code that calls back into Python
            pass

def in_compiled_code():
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    print("waiting", flush=True)
    library.pthread_mutex_lock(mutex)  # for ever

def after_the_end():
    import threading
    threading.Thread(target=time.sleep, args=(100,)).start()
    print("waiting", flush=True)
    time.sleep(100)

def once_swallowed():
    try:
        print("waiting", flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        pass
    try:
        while True:
            time.sleep(0.01)
    finally:
        time.sleep(2)  # what is giving way is not interrupted

def when_all_is_stored():
    print("waiting", flush=True)
    time.sleep(100)

def as_an_error():
    print("waiting", flush=True)
    try:
        time.sleep(100)
    except KeyboardInterrupt as error:
        raise RuntimeError("a callback failed") from error

def call(self):
    store = self.out / "sweep"
    output = _output.Output(_folder.Folder(self.out), "x = 1\\n")
    with output.computing(store):
        store.mkdir()
        (store / "sweep.json").write_text("")
        if {where} is in_python:
            print("waiting", flush=True)
        if {where} is not when_all_is_stored:
            {where}()
    when_all_is_stored()

Sweep.__call__ = call
sys.argv = ["hopfax", "sweep", "--out", "two words"]
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("where", "times"),
    [
        ("in_python", 2),
        ("in_compiled_code", 2),
        ("after_the_end", 2),
        ("as_an_error", 1),
        ("once_swallowed", 1),
        ("when_all_is_stored", 1),
    ],
)
def test_two_quick_interruptions_always_end(tmp_path, where, times):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING.replace("{where}", where)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
        time.sleep(0.2)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        try:
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.splitlines() == [
        "hopfax: interrupted",
        "To resume: hopfax sweep --config 'two words/settings.toml' --out 'two words' --resume",
    ]


def test_options_of_images_are_left_out_of_the_settings_where_they_are_not_given():
    plain = _settings.settings(Sweep())
    assert plain.keys().isdisjoint({"image_shape", "threshold"})
    assert _settings.settings(Sweep(threshold="otsu")) == plain | {"threshold": "otsu"}
