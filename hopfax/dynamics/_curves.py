"""Branches as results: points, special points, stability, and why they end."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._errors import missing
from .._report import Report, Reported
from .._types import Dataset, State
from ._continuation import Curve

_SHOWN = 12  # special points that are listed


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Special(Reported):
    """A special point of a branch: a fold, a branch point, a Hopf point; of orbits a fold, a period
    doubling, a Neimark-Sacker point; of a curve of folds a cusp, a turning point and others, which
    `fold_curve` lists.

    - `kind`: which. `parameter`: where. `branch`: of which branch of several.
    - `overlaps` (P,), `saliency` (P,) or None, `state`: there.
    - `spectrum`: eigenvalues (multipliers of an orbit) there.
    - `returns`, `order`: of an orbit, the time after which it comes back, and how memories are
      relabelled then, as of `Orbit`; else None.
    - `threshold`: on a curve of folds, the first parameter there; else None.
    - `vector`: what was solved for.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    make = hx.dynamics.along(network, "gain")
    found = hx.dynamics.branch(make, network.init(weights=[0.9, 0.0, 0.0]), (2.0, 0.5))
    found.special[0].kind, found.special[0].parameter  # 'branch point', 1.0
    ```
    """

    kind: str
    parameter: float
    branch: int
    vector: np.ndarray
    overlaps: np.ndarray
    saliency: np.ndarray | None
    state: State
    spectrum: np.ndarray
    returns: float | None = None
    order: Any = None
    threshold: float | None = None

    def _report(self) -> Report:
        also = "" if self.threshold is None else f", {self.threshold:.10g}"
        return Report(f"{self.kind} at {self.parameter:.10g}{also}")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Branch(Reported):
    r"""A branch of states of rest, of closed orbits, or of folds of either; or several branches.
    All arrays are NumPy's, NaN beyond the last point.

    - `name`: of the parameter. `parameter`: (K,) its values, in order along the branch.
    - `overlaps`: (K, P). `saliency`: (K, P) or None. Of orbits: at one moment of each.
    - `spectrum`: (K, k) complex, the eigenvalues of the exact form, or the multipliers of an orbit.
    - `stable`: (K,) whether all of them have negative real parts (lie inside the unit circle).
    - `returns`: (K,) of orbits, the time after which they come back; else None. `order`: how
      memories are relabelled then, as of `Orbit`.
    - `special`: the special points, in order. `ended`: why the branch ends, in words.
    - `vectors`: (K, n), what was solved for; `state(k)` is the network's state at a point.

    Of a curve of folds, as `fold_curve` returns it, `parameter` is the second parameter, and
    `threshold` (K,) where the fold is in the first one, which is called `threshold_name`. Then
    `spectrum` is without the eigenvalue (multiplier) that is critical at a fold, and `stable` says
    whether all others decay, so that a stable branch begins there. `fold(k)`: the fold at a point.

    Of several branches all arrays have a leading axis B, and `ended` is a list.

    **Example:**

    ```python
    network = hx.Hopfield(hx.patterns.hadamard(3, 16), activation=hx.Tanh(2.0))
    make = hx.dynamics.along(network, "gain")
    found = hx.dynamics.branch(make, network.init(weights=[0.9, 0.0, 0.0]), (2.0, 0.5))
    found.parameter[0], found.overlaps[0], found.stable[0]  # 2, (0.958, 0, 0), True
    found.ended
    ```
    """

    name: str
    parameter: np.ndarray
    overlaps: np.ndarray
    saliency: np.ndarray | None
    spectrum: np.ndarray
    stable: np.ndarray
    special: Sequence[Special]
    ended: Any
    vectors: np.ndarray
    look: Callable[[np.ndarray, np.ndarray], Any]
    returns: np.ndarray | None = None
    order: Any = None
    threshold: np.ndarray | None = None
    threshold_name: str | None = None

    @classmethod
    def of(
        cls,
        name: str,
        curves: Sequence[Curve],
        look: Callable,
        several: bool = False,
        *,
        scale: float | None = None,
        order: Any = None,
        threshold: str | None = None,
    ) -> "Branch":
        """The branches of these curves. `look`: what the network shows at vectors (K, n) and
        parameters (K,): states, overlaps, saliencies. `scale`: of the times in vectors of orbits.
        `threshold`: the name of the first parameter of folds, with which their vectors end.
        """
        longest = max(1, max(len(curve.points) for curve in curves))
        size = curves[0].size
        width = max((len(value) for curve in curves for value in curve.spectra), default=0)
        x = np.full((len(curves), longest, size), np.nan)
        spectrum = np.full((len(curves), longest, width), np.nan + 0j)
        for lane, curve in enumerate(curves):
            for k, (point, values) in enumerate(zip(curve.points, curve.spectra, strict=True)):
                x[lane, k], spectrum[lane, k] = point, values
        flat = x.reshape(-1, size)
        there = np.asarray(np.isfinite(flat).all(1))
        overlaps, saliency = _shown(look, flat, there)
        shape = x.shape[:2]
        inside = np.real(spectrum) < 0 if scale is None else np.abs(spectrum) < 1
        parts: dict[str, Any] = {
            "parameter": x[..., -1],
            "overlaps": overlaps.reshape(*shape, -1),
            "saliency": None if saliency is None else saliency.reshape(*shape, -1),
            "spectrum": spectrum,
            "stable": np.asarray(inside.all(-1)) & there.reshape(shape),
            "vectors": x[..., :-1],
            "returns": None if scale is None else x[..., -2 - bool(threshold)] * scale,
            "threshold": x[..., -2] if threshold else None,
            "ended": [curve.ended for curve in curves],
        }
        if not several:
            parts = {key: None if part is None else part[0] for key, part in parts.items()}
        special = _special(look, curves, scale, order, bool(threshold))
        made: dict[str, Any] = dict(special=special, order=order, threshold_name=threshold)
        return cls(name=name, look=look, **made, **parts)

    def state(self, *place: int) -> State:
        """The full state at point `k` (of several branches: at `b, k`)."""
        import jax

        states, *_ = self.look(self.vectors[place][None], self.parameter[place][None])
        return jax.tree.map(lambda leaf: leaf[0], states)

    def fold(self, k: int) -> Special:
        """The fold at point `k` of a curve of folds, from which another curve may begin.

        **Raises:** TypeError for a branch of anything else.
        """
        if self.threshold is None:
            raise TypeError("only a curve of folds has a fold at every point; see `special`.")
        return Special(
            "fold",
            float(self.threshold[k]),
            0,
            self.vectors[k][:-1],
            self.overlaps[k],
            None if self.saliency is None else self.saliency[k],
            self.state(k),
            self.spectrum[k],
            None if self.returns is None else float(self.returns[k]),
            self.order,
        )

    def folds(self) -> np.ndarray:
        """The parameters of all folds, in order."""
        return np.array([point.parameter for point in self.special if point.kind == "fold"])

    def to_xarray(self) -> Dataset:
        """The branch as a dataset. The parameter is a variable, as it may turn back; special points
        have a dimension of their own."""
        try:
            import xarray as xr
        except ImportError:
            raise missing("xarray", "io", "datasets") from None
        lanes = ("branch",) * (self.parameter.ndim - 1)
        data: dict[str, Any] = {
            self.name: ((*lanes, "point"), self.parameter),
            "overlap": ((*lanes, "point", "memory"), self.overlaps),
            "stable": ((*lanes, "point"), self.stable),
            "eigenvalue_real": ((*lanes, "point", "eigenvalue"), np.real(self.spectrum)),
            "eigenvalue_imag": ((*lanes, "point", "eigenvalue"), np.imag(self.spectrum)),
            "special_kind": (("special",), [point.kind for point in self.special]),
            "special_branch": (("special",), [point.branch for point in self.special]),
            f"special_{self.name}": (("special",), [point.parameter for point in self.special]),
            "ended": (lanes, self.ended),
        }
        if self.saliency is not None:
            data["saliency"] = ((*lanes, "point", "memory"), self.saliency)
        if self.returns is not None:
            data["returns"] = ((*lanes, "point"), self.returns)
        if self.threshold_name is not None:
            places = [point.threshold for point in self.special]
            data[self.threshold_name] = ((*lanes, "point"), self.threshold)
            data[f"special_{self.threshold_name}"] = (("special",), places)
        return xr.Dataset(data, attrs={"parameter": self.name, "kind": self._kind})

    @property
    def _kind(self) -> str:
        kind = "states of rest" if self.returns is None else "orbits"
        return kind if self.threshold is None else f"folds of {kind}"

    def _report(self) -> Report:
        values = self.parameter[np.isfinite(self.parameter)]
        several = self.parameter.ndim == 2
        many = f"{len(self.parameter)} branches" if several else "branch"
        if not values.size:
            return Report(f"{many} without points", head=[self.ended] if not several else [])
        stable = self.stable[np.isfinite(self.parameter)]
        title = (
            f"{many} of {values.size} {self._kind} in {self.name} from {values.min():.6g} to "
            f"{values.max():.6g}, {stable.mean():.0%} stable"
        )
        lines = [f"  {point}" for point in self.special[:_SHOWN]]
        if self.threshold is not None:
            low, high = np.nanmin(self.threshold), np.nanmax(self.threshold)
            lines.insert(0, f"  {self.threshold_name} from {low:.10g} to {high:.10g}")
        if len(self.special) > _SHOWN:
            lines.append(f"  and {len(self.special) - _SHOWN} more special points")
        if not several:
            lines.append(f"ended: {self.ended}")
        return Report(title, head=lines)


def _shown(look: Callable, x: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, Any]:
    """Overlaps and saliencies of points, NaN where there is none."""
    _, overlaps, saliency = look(np.where(there[:, None], x[:, :-1], 0.0), x[:, -1])
    gone = ~there[:, None]
    overlaps = np.where(gone, np.nan, overlaps)
    return overlaps, None if saliency is None else np.where(gone, np.nan, saliency)


def _special(
    look: Callable, curves: Sequence[Curve], scale: float | None, order: Any, of_folds: bool
) -> list[Special]:
    import jax

    found = [(lane, *point) for lane, curve in enumerate(curves) for point in curve.special]
    if not found:
        return []
    x = np.stack([point for _, _, point, _ in found])
    states, overlaps, saliency = look(x[:, :-1], x[:, -1])
    return [
        Special(
            kind,
            float(point[-1]),
            lane,
            point[:-1],
            np.asarray(overlaps[k]),
            None if saliency is None else np.asarray(saliency[k]),
            jax.tree.map(lambda leaf, k=k: leaf[k], states),
            spectrum,
            None if scale is None else float(point[-2 - of_folds] * scale),
            order,
            float(point[-2]) if of_folds else None,
        )
        for k, (lane, kind, point, spectrum) in enumerate(found)
    ]
