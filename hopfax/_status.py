"""Status codes of a run: data, not exceptions, so that one bad point of a sweep stops no other."""

import numpy as np

NOT_RUN = -1
OK = 0
MAX_STEPS = 1
DIVERGED = 2
NONFINITE = 3
INVALID_PARAMETER = 4
SOLVER_FAILED = 5
STOPPED_BY_EVENT = 6

#: A state with larger entries has diverged. Saliencies bound the states of networks far below this.
LIMIT = 1e9

#: Name and plain meaning of every code. Codes are stable: stored data rely on them.
STATUS = {
    NOT_RUN: ("not_run", "not computed yet"),
    OK: ("ok", "reached the last save time"),
    MAX_STEPS: (
        "max_steps",
        "needed more than `max_steps` steps; raise `max_steps`; if the run lasts very many of its "
        "shortest time constant, use an implicit solver (hopfax.Diffrax(diffrax.Kvaerno5())) in "
        "double precision; in float32 let `ts` begin at 0",
    ),
    DIVERGED: ("diverged", "|field| or |saliency| passed the divergence limit"),
    NONFINITE: ("nonfinite", "NaN or infinity appeared in the state"),
    INVALID_PARAMETER: ("invalid_parameter", "a parameter or start value is outside its domain"),
    SOLVER_FAILED: ("solver_failed", "the solver gave up (e.g. its smallest step was reached)"),
    STOPPED_BY_EVENT: ("stopped_by_event", "the user's event fired; later saves are NaN"),
}


def name(code: int) -> str:
    """The short name of a status code."""
    return STATUS[int(code)][0]


def meaning(code: int) -> str:
    """What a status code means and what to do about it."""
    return STATUS[int(code)][1]


def check(codes: np.ndarray) -> None:
    """ValueError naming the first of these codes that the run of a point cannot end with."""
    for code in np.unique(codes):
        if int(code) not in STATUS or code == NOT_RUN:
            known = ", ".join(f"{k} {text}" for k, (text, _) in STATUS.items() if k != NOT_RUN)
            raise ValueError(
                f"`point`: it returned the `status` {code}, but must return a key of "
                f"hopfax.STATUS ({known}), or another name for what else it has to say."
            )


def attributes() -> dict:
    """Attributes for a stored status variable, after the CF convention for flags."""
    return {
        "flag_values": np.array(list(STATUS), dtype=np.int32),
        "flag_meanings": " ".join(text for text, _ in STATUS.values()),
        "long_name": "how the run of this point ended",
    }
