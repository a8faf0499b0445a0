"""What a fit returns."""

from typing import Any, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import FitWarning, check_type, missing, shown, warn
from .._programs import jitted
from .._progress import check_progress
from .._report import Report, Reported, lines_svg
from ._goodness import Goodness
from ._intervals import Interval, Scale, check_level, interval_of
from ._profile import Origin, Profile, ends_of, profile_of

#: How a fit ended; the code is the place here.
ENDINGS = (
    *("steps", "converged", "stalled", "flat", "nonfinite", "stopped"),
    *("converged, poor fit", "interrupted"),
)
STEPS, CONVERGED, STALLED, FLAT, NONFINITE, STOPPED, POOR, INTERRUPTED = range(len(ENDINGS))


class History(eqx.Module):
    """The loss, the norm of its gradient and, if they are few, the fitted numbers at every step."""

    loss: Float[Array, "... S"]
    gradient: Float[Array, "... S"]
    values: Float[Array, "... S n"] | None


class FitResult(Reported, eqx.Module):
    """A fitted model, how the fit went, and how sure it is.

    - `model`: the model with the best parameters that were met.
    - `loss`: their loss. `losses`: the least loss of every start, also of a search.
    - `status`: how the fit ended, a code into `hopfax.ENDINGS`: all `steps` made; `converged`
      (least squares found its minimum); `stalled` (no progress for `patience` steps); `flat` (the
      gradient is exactly zero); `nonfinite` (the loss is no number); `stopped` by the callback;
      `converged, poor fit` (a minimum, but a false one, or the model is wrong: see `goodness`);
      `interrupted` by Ctrl-C.
      `ending` is its name.
    - `steps`: how many were made.
    - `values`: the fitted entries, one after the other. `labels`: a name for each of them.
    - `stderr`: their standard errors, infinite where the data do not determine them, NaN where the
      fit is poor, for there they would mean nothing; None for a loss that is a number, and for a
      fit that was interrupted.
      `covariance`: the matrix, NaN in both cases.
    - `undetermined`: which entries the data do not determine.
    - `interval(level)`: confidence intervals. `profile(label)`: the profile likelihood of an entry.
    - `scale`, `origin`: what these two are made from.
    - `bent`: whether the loss is no parabola as far as the standard errors reach, so that intervals
      are those of the profile; None where that was not tried: under `jit` or `vmap`, for a poor fit
      or data without noise, and where an entry is hardly determined anyway.
    - `goodness`: whether the model fits the data, a `hopfax.Goodness`; None for a loss that is a
      number, that is no observation (`losses.event_map`) or that is fitted in batches, and for
      more than 512 parameters.
    - `derivative`: "forward" or "reverse", as chosen. `method`: the optimiser.
    - `trace`: what `history` is made from.

    **Example:**

    ```python
    found = hx.fit(
        {"a": jnp.zeros(2)},
        lambda model: jnp.array([1.0, 2.0, 2.1]) - model["a"][jnp.array([0, 1, 1])],
        where=lambda model: model["a"],
        progress=False,
    )
    found.ending  # 'converged'
    found.values  # 1, 2.05
    found.stderr  # 0.07, 0.05
    ```
    """

    model: Any
    loss: Float[Array, ""]
    losses: Float[Array, " starts"]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    values: Float[Array, " n"]
    stderr: Float[Array, " n"] | None
    covariance: Float[Array, "n n"] | None
    undetermined: Bool[Array, " n"] | None
    goodness: Goodness | None
    trace: History
    labels: tuple[str, ...] = eqx.field(static=True)
    derivative: str = eqx.field(static=True)
    method: str = eqx.field(static=True)
    scale: Scale | None = None
    origin: Origin | None = None
    bent: bool | None = eqx.field(static=True, default=None)

    def interval(
        self, level: float = 0.95, *, progress: bool | Literal["auto"] = "auto"
    ) -> Interval:
        r"""Confidence intervals of all fitted entries.

        They are symmetric on the scale on which a parameter is free (of a `Positive` one, in its
        logarithm), $u \pm q s$, and mapped back: positive parameters have positive, asymmetric
        intervals. $q$ is the quantile of the normal distribution for `absolute_sigma=True`, else
        of Student's $t$ with the remaining degrees of freedom.

        That rests on the linear model at the minimum. Where it does not reach so far (`bent`, or a
        standard error larger than its value) the ends are those of the profile likelihood of each
        entry, which takes some seconds an entry; where there is no `profile`, all are linear.

        **Arguments:** `level`: how often they are to contain the truth. `progress`: whether to show
        a bar while profiles are made, as in `hopfax.fit`.

        **Returns:** `low` and `high`, (n,) each; an end at infinity, or at the bound of the
        constraint, where the data set no limit.

        **Raises:** ValueError for a `level` not between 0 and 1, a `progress` that is none, and a
        fit without standard errors (of a loss that is a number, or of too many parameters).

        **Example:**

        ```python
        found = hx.fit(
            {"a": jnp.array(1.0)},
            lambda model: model["a"] - jnp.array([1.0, 2.0, 3.0]),
            where=lambda model: model["a"],
            constraint=hx.constraints.Positive(),
            progress=False,
        )
        found.interval(0.95)  # 0.58, 6.93
        ```
        """
        level = check_level(level)
        check_progress(progress)
        if self.scale is None:
            raise ValueError(_NO_ERRORS)

        def one(scale, stderr):
            return _interval(scale, stderr, level)

        if self.scale.free.ndim > 1:  # of many fits side by side
            return eqx.filter_vmap(one)(self.scale, self.stderr)
        if straight(self):
            return one(self.scale, self.stderr)
        known = np.flatnonzero(np.isfinite(np.asarray(self.stderr)))
        own = one(self.scale, self.stderr)
        assert self.origin is not None
        return ends_of(self.origin, self.scale, self.loss, self.labels, known, own, level, progress)

    def profile(self, label: str, level: float = 0.95) -> Profile:
        """How well the data can be met at each value of one parameter, all others fitted again.

        **Arguments:** `label`: one of `labels`, as "kappa" or "transition[1, 0]". `level`: the
        values reach at least to the ends of the interval of this level, if it has ends.

        **Returns:** a `Profile`, whose `interval` needs no linear model. Warns (FitWarning) if it
        meets a smaller loss than the fit, and if the fit is poor: the profile of a model that does
        not describe the data says nothing of the truth.

        **Raises:** TypeError/ValueError naming `label` or `level`; ValueError for a fit without
        standard errors, and for one that was made under `jit` or `vmap` or by `fit_sequence` with
        entries of its own choice, or that leaves no residuals by which to tell unknown errors.
        """
        check_type(label, "label", str, "the name of a fitted entry")
        level = check_level(level)
        if label not in self.labels:
            names = ", ".join(self.labels[:_SHOWN])
            raise ValueError(f"`label` must be one of {names}, but is {shown(label)}.")
        if self.scale is None:
            raise ValueError(_NO_ERRORS)
        if self.origin is None:
            raise ValueError("`profile` needs a fit that was not made under jit or vmap.")
        if not self.origin.whole:
            raise ValueError(
                "`profile` would hold all entries that this fit of fit_sequence did not choose, "
                "and its errors count them, too. Fit the entries that you mean by hopfax.fit."
            )
        if poor(self):
            warn(
                f"the model does not fit the data ({self.goodness}): a profile of it says how well "
                f"a wrong model can do at each {label}, and its interval means nothing.",
                FitWarning,
            )
        entry = self.labels.index(label)
        return profile_of(self.origin, self.scale, self.loss, label, entry, level)

    @property
    def ending(self) -> str:
        """How the fit ended, a name of `hopfax.ENDINGS`."""
        return ENDINGS[int(self.status)]

    @property
    def history(self):
        """The steps made, as an `xarray.Dataset` over `step` (and `start`, if several)."""
        try:
            import xarray as xr
        except ImportError as error:
            raise missing("xarray", "io", "history") from error
        made = int(np.max(np.asarray(self.steps)))
        several = self.trace.loss.ndim > 1
        dims = ("start", "step") if several else ("step",)
        loss, gradient = (np.asarray(x)[..., :made] for x in (self.trace.loss, self.trace.gradient))
        data: dict[str, tuple] = {
            "loss": (dims, loss, {"long_name": "loss"}),
            "gradient": (dims, gradient, {"long_name": "norm of the gradient"}),
        }
        coords: dict[str, Any] = {"step": np.arange(made)}
        if self.trace.values is not None:
            data["value"] = ((*dims, "parameter"), np.asarray(self.trace.values)[..., :made, :])
            coords["parameter"] = list(self.labels)
        attributes = {"method": self.method, "derivative": self.derivative, "ending": self.ending}
        return xr.Dataset(data, coords, attributes)

    def _report(self) -> Report:
        title = (
            f"{self.ending} after {int(self.steps)} steps of {self.method} ({self.derivative} "
            f"derivatives): loss {float(self.loss):.6g}"
        )
        tested = self.goodness is not None and np.isfinite(self.goodness.p_value)
        values = np.asarray(self.values)
        errors = None if self.stderr is None else np.asarray(self.stderr)
        sure = errors is not None and self.scale is not None and straight(self)
        ends = self.interval() if sure else None
        little, rows = vague(self), []
        for k, label in enumerate(self.labels[:_SHOWN]):
            error = ""
            if errors is not None and not np.isnan(errors[k]):
                error = f" +- {errors[k]:.2g}"
                if ends is not None and np.isfinite([ends.low[k], ends.high[k]]).all():
                    error += f" (95 %: {ends.low[k]:.6g} to {ends.high[k]:.6g})"
            hardly = ", hardly determined" if label in little else ""
            rows.append((label, f"{values[k]:.8g}{error}{hardly}"))
        more = len(self.labels) - _SHOWN

        def picture() -> str:
            losses = np.atleast_2d(np.asarray(self.trace.loss, float))[:, : int(self.steps)]
            with np.errstate(divide="ignore", invalid="ignore"):
                lines = np.log10(losses).T
            return lines_svg(np.arange(len(lines)), lines, "logarithm of the loss", 60)

        return Report(
            title,
            rows,
            [f"  {self.goodness}"] if tested else [],
            [f"  and {more} more"] if more > 0 else [],
            " = ",
            picture,
        )


_SHOWN = 12
_NO_ERRORS = (
    "a fit whose loss is a number, that was interrupted, or that has too many parameters or "
    "batches, has no standard errors: use residuals (a loss that returns an array)."
)


@jitted
def _interval(scale: Scale, stderr: Float[Array, " n"], level: float) -> Interval:
    """`interval_of` in one program."""
    return interval_of(scale, stderr, level)


def undetermined(result: FitResult) -> str | None:
    """What the data leave open, in words; None if nothing."""
    if not (labels := lost(result)):
        return None
    return (
        f"the data do not determine {listed(labels)}: their standard errors are "
        "infinite, and their values one choice of many. A column of `transition` is seen only "
        "while its memory is active, and an entry only if it makes a difference."
    )


def lost(result: FitResult) -> list[str]:
    """The entries that the data do not determine."""
    gone = () if result.undetermined is None else np.asarray(result.undetermined)
    return [label for label, flag in zip(result.labels, gone, strict=False) if flag]


def listed(labels: list[str]) -> str:
    """The first labels, and how many more there are."""
    more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
    return ", ".join(labels[:6]) + more


def poor(result: FitResult) -> bool:
    """Whether it is known that the fitted model does not describe the data."""
    return result.goodness is not None and bool(result.goodness.poor)


def straight(result: FitResult) -> bool:
    """Whether intervals are those of the linear model: where it holds as far as the standard errors
    reach, and where there is nothing to fit again."""
    again = result.origin is not None and result.origin.whole
    return not again or not (result.bent or vague(result))


def vague(result: FitResult) -> list[str]:
    """The entries whose standard error is finite, yet larger than every number of their array, as
    it was at the start and as it was fitted: of these the data tell next to nothing."""
    observed = result.goodness is not None  # and not, for example, a margin
    if not observed or result.stderr is None or result.scale is None or result.stderr.ndim > 1:
        return []
    variables = result.scale.variables
    sizes, at = [], 0
    for value, entries in zip(variables.values(variables.start()), variables.entries, strict=True):
        fitted = result.values[at : at + entries.size]
        at += entries.size
        size = max(float(np.abs(value).max()), float(np.abs(fitted).max()))
        sizes += [size if size > 0 else np.inf] * entries.size
    errors = np.asarray(result.stderr)
    large = np.isfinite(errors) & (errors > np.asarray(sizes))
    return [label for label, beyond in zip(result.labels, large, strict=True) if beyond]
