"""What a fit of a sequence returns."""

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import as_float, check_at_least, check_shape
from .._report import Report, Reported
from .._types import ArrayLike
from ._identify import Identifiability
from ._listening import listened
from ._memory import LARGER, Memory
from ._moving import Moving
from ._result import FitResult


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a fit of a sequence.

    - `name`: of the strategy, or "refinement".
    - `score`: how much of the target its result shows.
    - `error`: the largest error of a switch time, NaN without times.
    - `seconds`: how long it took.
    """

    name: str
    score: float
    error: float
    seconds: float


@dataclasses.dataclass(frozen=True, repr=False)
class SequenceFit(Reported):
    """A network that shows a sequence.

    - `network`: the network. `saliency`: (S, P), where each sequence starts:
      `network.init(saliency=...)`.
    - `memory`: what tells the network where in a sequence it is, "transition", "contexts" or
      "suffixes". `reason`: why that was taken.
    - `items`: (P,) which of the given memories each memory of `network` shows: but with
      "transition" it holds several copies of one. `observables.visited(run, items=...)` reads a
      run.
    - `score`: the share of the target's transitions that a simulation made, up to the first wrong
      one; of several sequences that of the worst. `reproduced`: whether it made all of them.
    - `error`: the largest difference of a switch time from the target, in fast time constants, that
      of its `end` included; NaN if the target has no times. `deviation`: in units of `sigma`.
    - `stages`: what was tried, in order. The result is that of the best one.
    - `fit`: the `FitResult` by which the network was found, with standard errors if it was the
      refinement; None for a design. They hold with all entries of the matrix free, not only with
      those that were fitted.
    - `interrupted`: whether Ctrl-C ended the search; it is then the best one so far.
    - `inverse_temperature`: with "suffixes", by which saliencies make probabilities; else None.
    - `known`: an `Identifiability` of all entries: which of them the times decide,
      and in which combinations. None if the network was not found by the refinement of its matrix,
      and for a poor fit.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    found = hx.fit_sequence(network, [0, 2, 1, 3], strategy="design", progress=False)
    found.reproduced, found.score  # True, 1
    found.stages[0].name  # 'design'
    state = found.network.init(saliency=found.saliency[0])
    ```
    """

    network: Moving
    saliency: Float[Array, "S P"]
    score: float
    error: float
    deviation: float
    stages: tuple[Stage, ...]
    fit: FitResult | None
    memory: Memory
    reason: str
    items: Int[Array, " P"]
    interrupted: bool = False
    inverse_temperature: float | None = None
    known: Identifiability | None = None

    @property
    def reproduced(self) -> bool:
        """Whether every transition is as in the target; of the times, `error` says."""
        return self.score == 1.0

    def listen(self, memory: ArrayLike, dwell: ArrayLike | None = None) -> np.ndarray:
        r"""How strongly each item is expected next, after each entry of a sequence that is heard.

        The network is led along the sequence: of the copies of an item that is heard, the one that
        the memory before calls most becomes active, and stays so for its dwell. That is taken in
        the limit $\tau \to \infty$, in which saliencies have a closed form.

        **Arguments:** `memory`: (K,) the items that are heard. `dwell`: how long each lasts, one
        for all or (K,), in fast time constants (default: as long as in an endless chain whose gain
        is the network's largest).

        **Returns:** (K, I), row k after entry k: the saliency of each item, which is the largest of
        its copies; minus infinity for an item that no memory shows.

        **Raises:** ValueError/TypeError naming the argument.

        **Example:**

        ```python
        network = hx.TwoTimescaleHopfield(
            hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
        )
        tune = hx.Events([0, 1, 0, 2] * 4)
        found = hx.fit_sequence(network, tune, memory="suffixes", progress=False)
        found.listen([0, 1, 0]).argmax(axis=1)  # 1, 0, 2
        ```
        """
        return listened(self.network, np.asarray(self.items), memory, dwell)

    def probabilities(
        self, memory: ArrayLike, *, inverse_temperature: ArrayLike | None = None
    ) -> np.ndarray:
        r"""How probable each item is as the next, after each entry of a sequence that is heard.

        $$p_i = e^{\beta z_i} / \sum_j e^{\beta z_j}$$

        with the saliencies $z_i$ of the items (`listen`) and one inverse temperature $\beta$. With
        `memory="suffixes"` that was fitted to the targets: each quarter of them is predicted by the
        suffix tree of the other three, and $\beta$ is that of the least log-loss (as is how much
        of an item's probability comes from shorter histories); for a single target it gives the
        probabilities of the suffix tree.

        **Arguments:** `memory`: (K,) the items that are heard. `inverse_temperature`: $\beta$
        (default: the fitted one).

        **Returns:** (K, I), row k after entry k; each sums to 1.

        **Raises:** ValueError/TypeError naming the argument; ValueError without an
        `inverse_temperature` for a network that was not made with `memory="suffixes"`.

        **Example:**

        ```python
        network = hx.TwoTimescaleHopfield(
            hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
        )
        tune = hx.Events([0, 1, 0, 2] * 4)
        found = hx.fit_sequence(network, tune, memory="suffixes", progress=False)
        found.probabilities([0, 1, 0])[-1]  # 0.05, 0.14, 0.81
        ```
        """
        beta = self.inverse_temperature if inverse_temperature is None else inverse_temperature
        if beta is None:
            raise ValueError(
                "`inverse_temperature` must be given: only a network made with memory='suffixes' "
                "has one of its own."
            )
        beta = as_float(beta, "inverse_temperature")
        check_shape(beta, "inverse_temperature", (), "()")
        check_at_least(beta, "inverse_temperature", 0.0, strict=True)
        logits = float(beta) * self.listen(memory)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def _report(self) -> Report:
        kept = "is reproduced" if self.reproduced else "is not reproduced"
        title, lines = f"the order {kept}: {self.score:.0%} of the transitions", []
        if self.interrupted:
            title, lines = "interrupted; this is the best so far", [title]
        if np.isfinite(self.error):
            lines.append(f"the times are off by {off(self.error, self.deviation)}")
        patterns = self.network.patterns
        why = "" if self.reason == "as asked" else f", {self.reason}"
        size = f", {patterns.P} memories of {patterns.N} neurons" if self.memory in LARGER else ""
        rows = [("memory", f"{self.memory}{why}{size}")]
        for stage in self.stages:
            known = np.isfinite(stage.error)
            error = f", times within {stage.error:.3g} fast time constants" if known else ""
            rows.append((stage.name, f"{stage.score:.0%}{error}, took {stage.seconds:.1f} s"))
        parts = [] if self.fit is None else [self.fit._report()]
        if self.known is not None:
            share = str(self.known).split("\n")[0]
            text = f"with all entries of the matrix free, {share}"
            text += "; print `known` of this result for which"
            parts.append(Report("", head=[text]))
        picture = self.network._report().picture
        return Report(title, rows, lines, join=": ", picture=picture, parts=parts)


def off(error: float, deviation: float) -> str:
    """How far times are off, in words."""
    return f"{error:.3g} fast time constants at most, {deviation:.3g} sigma"
