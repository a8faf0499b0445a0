"""Small things that many tests need."""

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
