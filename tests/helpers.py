"""Small things that many tests need."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def assert_close(actual, expected, atol, why):
    """|actual - expected| <= atol, equal shapes and no NaN; `why` is the reason for `atol`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape} differ"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, equal_nan=False, err_msg=why)


def run_python(code, **environment):
    """Run `code` in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rewritten(file, change, sealed=True):
    """Change the header of a sealed file of arrays, by `change(header)`. `sealed`: with a seal that
    fits, else as an earlier version wrote such files."""
    head, rest = file.read_bytes().split(b"\n", 1)
    header = json.loads(head)
    if sealed:
        header["seal"] = "0" * 64
    else:
        del header["seal"]
        header["schema"] = 1
    change(header)
    content = json.dumps(header).encode() + b"\n" + rest
    if sealed:
        content = content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1)
    file.write_bytes(content)


def mutations(content, seed, many):
    """Many damaged forms of some bytes: flipped bits, other bytes, cuts, insertions, swaps."""
    rng = np.random.default_rng(seed)
    for k in range(many):
        changed = bytearray(content)
        for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
            at, to = (int(i) for i in rng.integers(0, max(len(changed), 1), 2))
            kind = ("flip", "byte", "cut", "insert", "swap", "leave out", "repeat")[k % 7]
            if not changed:
                continue
            if kind == "flip":
                changed[at] ^= 1 << int(rng.integers(8))
            elif kind == "byte":
                changed[at] = int(rng.integers(256))
            elif kind == "cut":
                del changed[at:]
            elif kind == "insert":
                changed[at:at] = rng.bytes(int(rng.integers(1, 5)))
            elif kind == "swap":
                changed[at], changed[to] = changed[to], changed[at]
            elif kind == "leave out":
                del changed[at : at + int(rng.integers(1, 9))]
            else:
                changed[at:at] = changed[at : at + int(rng.integers(1, 30))]
        yield bytes(changed)
