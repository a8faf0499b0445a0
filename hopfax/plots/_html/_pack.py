"""Arrays as text: their bytes in base64, as few as they need."""

import base64
from typing import Any

import numpy as np

#: What stands for NaN among the numbers of `rounded`.
BLANK = 65535


def packed(values: Any, kind: str) -> dict[str, str]:
    """An array as text, with its type ("f4", "u2", "u1", "i1", "i4"), in row-major order."""
    array = np.ascontiguousarray(np.asarray(values), dtype=f"<{kind}")
    return {"type": kind, "bytes": base64.b64encode(array.tobytes()).decode()}


def rounded(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Numbers as steps from 0 to 65534 between the least and the largest of them, and these two;
    `BLANK` for what is no finite number."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    span = (high - low) or 1.0
    steps = np.rint((np.where(known, values, low) - low) / span * (BLANK - 1))
    return np.where(known, steps, BLANK).astype(np.uint16), float(low), float(low + span)
