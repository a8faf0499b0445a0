"""Attacks on stored sweeps, in numbers that are too large for the tests:

    python tests/attacks.py kills 100 FOLDER    drivers and workers killed at random moments
    python tests/attacks.py stores 400 FOLDER   files cut, swapped, filled, removed, replaced

Each ends with a line that says what was seen, and with an error at the first silent fault.
"""

import collections
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np

KINDS = ("cut", "zeros", "other", "doubled", "gone", "folder", "link", "pipe", "bits")

WRITER = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import hopfax as hx
import points

if __name__ == "__main__":
    points.use_double()
    store, how = sys.argv[1:]
    options = points.OPTIONS | dict(chunk=8, store=store, on_failure="ignore")
    if how == "pool":
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
            hx.sweep(points.wave, points.GRID, executor=executor, **options)
    else:
        part = None if how == "alone" else (int(how), 2)
        hx.sweep(points.wave, points.GRID, part=part, **options)
"""


def mutate(file, kind, other, rng):
    """Change a file in one of the ways of `KINDS`."""
    content = bytearray(file.read_bytes())
    if kind in ("gone", "folder", "link", "pipe"):
        file.unlink()
        if kind == "folder":
            file.mkdir()
        if kind == "link":
            file.symlink_to("/dev/zero")
        if kind == "pipe":
            os.mkfifo(file)
        return
    if kind == "bits":
        for place in rng.integers(len(content), size=3):
            content[place] ^= 1 << int(rng.integers(8))
    changed = {
        "cut": content[: rng.integers(len(content))],
        "zeros": bytes(len(content)),
        "other": other.read_bytes(),
        "doubled": content * 2,
        "bits": content,
    }
    file.write_bytes(bytes(changed[kind]))


def stores(whole, folder, number, run, seed=0):
    """Mutate copies of a store. What is read of one must be right, or blank where the status says
    so, or an error that names it; and the same sweep must mend it, or say what to do.

    **Arguments:** `run(store)`: the sweep. **Returns:** how often each of these happened.
    """
    import hopfax as hx

    def files_of(store):
        return sorted(f for f in store.rglob("*") if f.is_file() and "lock" not in f.name)

    reference = hx.open_sweep(whole).load()
    names = [file.relative_to(whole) for file in files_of(whole)]
    rng, seen = np.random.default_rng(seed), collections.Counter()
    for k in range(number):
        store = folder / str(k)
        shutil.copytree(whole, store)
        kind = KINDS[k % len(KINDS)]
        file, other = (store / names[rng.integers(len(names))] for _ in range(2))
        mutate(file, kind, other, rng)
        for partial in (False, True):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", hx.SweepWarning)
                    found = hx.open_sweep(store, partial=partial).load()
            except hx.StoreError as error:
                assert str(store) in str(error), (kind, file)
                seen["refused"] += 1
                continue
            there = found.status.values != -1
            for name in found.data_vars:
                values = found[name].values
                np.testing.assert_array_equal(values[there], reference[name].values[there])
                assert values.dtype.kind != "f" or np.isnan(values[~there]).all(), (kind, file)
            seen["right" if there.all() else "partly blank"] += 1
        try:
            assert run(store).load().identical(reference), (kind, file)
            seen["mended"] += 1
        except hx.StoreError as error:
            assert str(store) in str(error), (kind, file)
            seen["not mended, and said so"] += 1
        shutil.rmtree(store)
    return dict(seen)


def kills(folder, number, seed=0):
    """Kill processes that write a sweep, alone, as two parts and with a pool of workers, and go on
    with it, until it is whole: with the same bits as one that was never stopped."""
    import points

    script = folder / "writer.py"
    script.write_text(WRITER)
    here = pathlib.Path(__file__).resolve().parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    env |= {"JAX_PLATFORMS": "cpu"}

    def start(store, how):
        return subprocess.Popen(
            [sys.executable, script, store, how],
            env=env,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    whole = folder / "whole"
    assert start(whole, "alone").wait() == 0
    rng, killed, ways = np.random.default_rng(seed), 0, collections.Counter()
    while killed < number:
        how = (["alone"], ["0", "1"], ["pool"])[sum(ways.values()) % 3]
        store = folder / f"store-{sum(ways.values())}"
        begun = []
        while True:
            before = len(list(store.glob("done/*.json")))
            processes = [start(store, each) for each in how]
            begun += processes
            victim = processes[rng.integers(len(processes))]
            while victim.poll() is None and len(list(store.glob("done/*.json"))) < before + 3:
                time.sleep(0.002)
            time.sleep(0.02 * rng.random())
            if victim.poll() is None:
                victim.send_signal(signal.SIGKILL)
                killed += 1
            codes = [process.wait() for process in processes]
            assert all(code in (0, -signal.SIGKILL) for code in codes), codes
            if not any(codes):
                break
        for process in begun:  # their workers, which live on
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        ways[" and ".join(how)] += 1
        found = points.files_of(store)  # parts that end together leave *.partial
        found = {name: file for name, file in found.items() if not name.endswith(".partial")}
        assert found == points.files_of(whole), store
    return f"{killed} kills; sweeps finished after them, with the same bits: {dict(ways)}"


def main(what, number, folder):
    """Run an attack and print what was seen."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    begin = time.perf_counter()
    if what == "kills":
        found = kills(folder, int(number))
    else:
        import points

        import hopfax as hx

        points.use_double()

        def run(store):
            options = points.OPTIONS | {"on_failure": "ignore"}
            return hx.sweep(points.wave, points.GRID, store=store, **options)

        run(folder / "whole")
        found = stores(folder / "whole", folder, int(number), run)
    print(f"{what}: {found} in {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
