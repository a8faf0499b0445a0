"""What a fit returns."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import missing

#: How a fit ended; the code is the place here.
ENDINGS = ("steps", "converged", "stalled", "flat", "nonfinite", "stopped")
STEPS, CONVERGED, STALLED, FLAT, NONFINITE, STOPPED = range(len(ENDINGS))


class History(eqx.Module):
    """Step by step: the loss, the norm of its gradient and, if they are few, what was fitted."""

    loss: Float[Array, "... S"]
    gradient: Float[Array, "... S"]
    values: Float[Array, "... S n"] | None


class FitResult(eqx.Module):
    """A fitted model, how it got there and how sure it is.

    - `model`: the model with the best parameters that were met.
    - `loss`: theirs. `losses`: the best of every start.
    - `status`: how it ended, a code into `hopfax.ENDINGS`: all `steps` made; `converged` (least
      squares found its minimum); `stalled` (no progress for `patience` steps); `flat` (the gradient
      is exactly zero); `nonfinite`; `stopped` by the callback. `ending` is its name.
    - `steps`: how many were made.
    - `stderr`: standard errors of what was fitted, infinite where the data do not determine it;
      None for a loss that is a number. `covariance`: the matrix, NaN there.
    - `undetermined`: which entries the data say nothing about.
    - `labels`: a name for each of these entries.
    - `values`: the fitted entries themselves.
    - `derivative`: "forward" or "reverse", as chosen. `method`: the optimiser.
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
    trace: History
    labels: tuple[str, ...] = eqx.field(static=True)
    derivative: str = eqx.field(static=True)
    method: str = eqx.field(static=True)

    @property
    def ending(self) -> str:
        """How the fit ended."""
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
        values = np.asarray(self.values)
        errors = None if self.stderr is None else np.asarray(self.stderr)
        for k, label in enumerate(self.labels[:_SHOWN]):
            error = "" if errors is None else f" +- {errors[k]:.2g}"
            lines.append(f"  {label} = {values[k]:.8g}{error}")
        if len(self.labels) > _SHOWN:
            lines.append(f"  and {len(self.labels) - _SHOWN} more")
        return "\n".join(lines)


_SHOWN = 12


class Certainty(eqx.Module):
    """Standard errors and what they come from."""

    stderr: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    undetermined: Bool[Array, " n"]


def certainty(
    residuals: Float[Array, " r"],
    jacobian: Float[Array, "r n"],
    noise: Float[Array, "r n"],
    slope: Float[Array, "n n"],
    absolute: bool,
) -> Certainty:
    r"""Errors of parameters $v(u)$ from the Gauss-Newton matrix of $J = \partial r/\partial u$.

    $\mathrm{cov}(v) = V (J^T J)^{-1} V^T$ with $V = \partial v/\partial u$ (`slope`), times the
    reduced chi-squared unless `absolute`. Of $J$ with columns of length one, directions whose
    singular value is below rounding, or the `noise` of $J$, are not determined; parameters with any
    share in them have no error.
    """
    r, n = jacobian.shape
    length = jnp.linalg.norm(jacobian, axis=0)
    unit = 1 / jnp.where(length > 0, length, 1.0)
    jacobian, noise, slope = jacobian * unit, noise * unit, slope * unit
    _, sizes, rows = jnp.linalg.svd(jacobian, full_matrices=True)
    sizes = jnp.concatenate([sizes, jnp.zeros(max(n - r, 0), sizes.dtype)])
    rounding = jnp.finfo(sizes.dtype).eps ** 0.5 * jnp.max(sizes)
    floor = jnp.maximum(rounding, jnp.linalg.norm(noise, ord=2))
    known = sizes > floor
    scaled = jnp.where(known, 1 / jnp.where(known, sizes, 1.0), 0.0)[:, None] * rows
    spread = slope @ (scaled.T @ scaled) @ slope.T
    if not absolute:
        free = (r - known.sum()).astype(sizes.dtype)
        reduced = jnp.sum(jnp.square(residuals)) / jnp.maximum(free, 1.0)
        spread = spread * jnp.where(free > 0, reduced, jnp.nan)
    lost = jnp.where(known[:, None], 0.0, rows @ slope.T)
    whole = jnp.sum(jnp.square(slope), axis=1)
    share = jnp.finfo(sizes.dtype).eps ** 0.25  # 1e-4 in double precision
    undetermined = jnp.sum(jnp.square(lost), axis=0) > share * whole
    unknown = undetermined[:, None] | undetermined[None, :]
    covariance = jnp.where(unknown, jnp.nan, spread)
    stderr = jnp.where(undetermined, jnp.inf, jnp.sqrt(jnp.diagonal(spread)))
    return Certainty(stderr, covariance, undetermined)
