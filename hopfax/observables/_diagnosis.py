"""The answer to why a sequence ended: its cause, when, and the numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from .._report import Report, Reported
from ._last import Last

#: The names of the causes that `diagnose` tells apart; the code of a cause is its place here.
CAUSES = (
    *("goes on", "too short", "failed", "stopped"),
    *("no seed", "sign flip", "below threshold", "weak start", "weak successor", "weak seed"),
    *("no successor", "self-loop", "crosstalk", "tie", "mixture", "unknown"),
)


@dataclasses.dataclass(frozen=True, repr=False)
class Diagnosis(Reported):
    """Why a sequence ended, or never began.

    - `code`: the cause, a place in `CAUSES`; `cause` is its name.
    - `time`: when it ended, in fast time constants: when the last memory let go; where the run came
      to rest in a memory or a mixture, when that began; NaN if it did not end.
    - `memory`: the last one that was retrieved, -1 if none was.
    - `evidence`: the numbers by which this was decided, by name.
    - `sentences`: the same in words, which `print` shows.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(patterns, hx.cyclic(4), kappa=2.0, tau=20.0, bias=0.01)
    start = network.init(saliency=[4.0, 0.0, 0.0, 0.0])
    run = hx.simulate(network, start, jnp.linspace(0.0, 200.0, 101))
    why = hx.observables.diagnose(run, network)
    why.cause, why.memory  # ('below threshold', 1)
    why.evidence["kappa"], why.evidence["critical gain"]  # (2.0, 3.0)
    ```
    """

    code: int
    time: float
    memory: int
    evidence: Mapping[str, float]
    sentences: tuple[str, ...]

    @property
    def cause(self) -> str:
        """The name of the cause."""
        return CAUSES[self.code]

    def _report(self) -> Report:
        return Report(f"{self.cause}: {self.sentences[0]}", head=self.sentences[1:])


def made(cause: str, last: Last, time: float, sentences: list[str], **evidence: Any) -> Diagnosis:
    numbers = {name.replace("_", " "): float(value) for name, value in evidence.items()}
    return Diagnosis(CAUSES.index(cause), time, last.memory, numbers, tuple(sentences))
