"""What a fit returns."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import missing
from ._goodness import Goodness

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


class FitResult(eqx.Module):
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

    def __str__(self) -> str:
        lines = [
            f"{self.ending} after {int(self.steps)} steps of {self.method} ({self.derivative} "
            f"derivatives): loss {float(self.loss):.6g}"
        ]
        if self.goodness is not None and np.isfinite(self.goodness.p_value):
            lines.append(f"  {self.goodness}")
        values = np.asarray(self.values)
        errors = None if self.stderr is None else np.asarray(self.stderr)
        for k, label in enumerate(self.labels[:_SHOWN]):
            error = "" if errors is None or np.isnan(errors[k]) else f" +- {errors[k]:.2g}"
            lines.append(f"  {label} = {values[k]:.8g}{error}")
        if len(self.labels) > _SHOWN:
            lines.append(f"  and {len(self.labels) - _SHOWN} more")
        return "\n".join(lines)


_SHOWN = 12


def poor(result: FitResult) -> bool:
    """Whether it is known that the fitted model does not describe the data."""
    return result.goodness is not None and bool(result.goodness.poor)
