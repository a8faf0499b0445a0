"""`ensemble`: many seeds of one point, and what is typical of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import as_count, as_float, as_number, shown
from .._misc import wilson
from .._types import ArrayLike, Dataset
from ..observables import Stays, residence
from ._dataset import xarray
from ._job import succeeded
from ._point import Point
from ._recipe import Recipe
from ._run import sweep


def ensemble(
    point: Point | Recipe | Callable,
    seeds: int | Sequence[int] = 100,
    grid: Mapping[Any, Any] | None = None,
    *,
    quantiles: ArrayLike = (0.05, 0.5, 0.95),
    level: float = 0.95,
    **options: Any,
) -> Dataset:
    r"""Many runs that differ in their randomness alone: means, quantiles, and how often what
    happens.

    A seed is the randomness of the noise, or, where a `Recipe` or a function has an argument
    `seed`, whatever it makes of that. Runs that failed are counted and left out, and so are outputs
    that are NaN (a run without two switches has no dwell).

    **Arguments:**

    - `point`: as of `hopfax.sweep`, with `noise` or an argument `seed`.
    - `seeds`: how many, from 0 on, or which.
    - `grid`: further axes, as of `hopfax.sweep`.
    - `quantiles`: which ones.
    - `level`: of the confidence intervals of fractions, which are Wilson's: for $k$ of $n$ runs
      $$\frac{k + z^2/2 \pm z \sqrt{k (n - k) / n + z^2/4}}{n + z^2}.$$
    - `options`: of `hopfax.sweep`, such as `store`, `key` or `tile`.

    **Returns:** an `xarray.Dataset` over the axes of `grid`. For an output `x` of numbers: `x`, its
    mean; `x_stderr`, its standard error; `x_quantile`. For classes, such as `regime`:
    `regime_fraction` with `regime_low` and `regime_high` for each; likewise for what is true or
    false, `x_fraction`. `count`: how many runs there are, and `failed`. For a point that observes
    `hopfax.observables.stays`: `time`, the mean time of residence in a memory, by `residence`,
    which takes into account that the end of a run cuts its last stay short; `time_stderr`,
    `time_low`, `time_high`, `time_until`, `time_quantile`; `stays`, how many there are, and
    `left`, how many of them were seen to end.

    **Raises:** ValueError or TypeError naming the argument at fault, and as `hopfax.sweep`.

    **Example:**

    ```python
    patterns = hx.patterns.hadamard(4, 16)
    network = hx.TwoTimescaleHopfield(
        patterns, hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01, activation=hx.Tanh(3.0)
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 60.0, 31)
    ds = hx.ensemble(hx.Point(network, start, ts, noise=0.1), seeds=8)
    ds.regime_fraction.sel(regime="sequence")  # of eight runs
    ds.dwell, ds.dwell_stderr

    point = hx.Point(network, start, ts, noise=0.1, observe=hx.observables.stays)
    ds = hx.ensemble(point, seeds=8)
    ds.time, ds.time_low, ds.time_high  # in a memory: mean, and its interval
    ```
    """
    level = as_number(level, "level")
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, got {level}.")
    wanted = np.asarray(as_float(quantiles, "quantiles"), float).ravel()
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"`quantiles` must lie in [0, 1], got {shown(quantiles)}.")
    if not isinstance(grid, Mapping | None):
        raise TypeError(f"`grid` must map names of axes to their values, got {shown(grid)}.")
    given = dict(grid or {})
    if "seed" in given:
        raise ValueError("`grid` has an axis 'seed'; say by `seeds` which.")
    listed = _listed(seeds)
    runs = sweep(point, {**given, "seed": listed}, **options).load()
    return _summary(runs, wanted, level)


def _listed(seeds: Any) -> np.ndarray:
    """The seeds that are meant. **Raises:** TypeError/ValueError naming `seeds`."""
    if isinstance(seeds, jax.Array) and jnp.issubdtype(seeds.dtype, jax.dtypes.prng_key):
        raise TypeError(
            "`seeds` must be a number of seeds or a list of them, got a key of "
            "jax.random, which is given as `key=`."
        )
    if np.ndim(seeds) == 0:
        return np.arange(as_count(seeds, "seeds"))
    return np.asarray(seeds)


def _summary(runs: Dataset, quantiles: np.ndarray, level: float) -> Dataset:
    """The dataset of an ensemble, of the one of its runs."""
    xr = xarray("ensemble")
    good = xr.DataArray(succeeded(runs["status"].values), dims=runs["status"].dims)
    good = good.assign_coords(runs.drop_vars(list(runs.data_vars)).coords)
    found = {"count": good.sum("seed"), "failed": (~good).sum("seed")}
    if set(Stays._fields) <= set(runs.data_vars):
        found |= _residences(runs, good, quantiles, level)
        runs = runs.drop_vars(Stays._fields)
    for name in map(str, runs.data_vars):
        variable = runs[name]
        if name == "status" or "seed" not in variable.dims:
            continue
        if variable.dtype == bool:
            found |= _fractions(name, variable.where(good, False), good, level)
        elif "flag_meanings" in variable.attrs:
            classes = xr.DataArray(variable.attrs["flag_values"], dims=name)
            names = variable.attrs["flag_meanings"].split()
            found |= _fractions(name, (variable == classes) & good, good, level, {name: names})
        else:
            found |= _moments(name, variable.where(good).astype(float), quantiles)
    return xr.Dataset(found, attrs=runs.attrs | {"level": level})


def _residences(runs: Dataset, good: Any, quantiles: np.ndarray, level: float) -> dict[str, Any]:
    """The times of residence of all seeds together. The end of a run cuts its last stay short, so
    that the mean of the times themselves would be too small."""
    xr = xarray("ensemble")
    outer = [str(dim) for dim in good.dims if dim != "seed"]
    times = runs["time"].where(good).transpose(*outer, "seed", ...)
    left = runs["left"].transpose(*outer, "seed", ...)
    shape = times.shape[: len(outer)]
    found = np.full((*shape, 7), np.nan)
    found[..., 5:] = 0
    parts = np.clip(quantiles, 1e-9, 1 - 1e-9).tolist()  # at the ends the first, and the last
    spread = np.full((len(quantiles), *shape), np.nan)
    for at in np.ndindex(shape):
        if np.isnan(times.values[at]).all():
            continue
        one = residence(times.values[at], left.values[at], confidence=level)
        found[at] = *(one.mean, one.stderr, one.low, one.high, one.until), one.count, one.left
        spread[(slice(None), *at)] = [one.quantile(part) for part in parts]
    texts = {
        "time": "mean time of residence",
        "time_stderr": "standard error of the mean time of residence",
        "time_low": "mean time of residence, at least",
        "time_high": "mean time of residence, at most",
        "time_until": "time at which the mean cuts a stay",
        "stays": "number of stays",
        "left": "number of stays that were seen to end",
    }
    coords = {name: c for name, c in good.coords.items() if "seed" not in c.dims}
    named = {
        name: xr.DataArray(found[..., k], coords, outer, attrs={"long_name": text})
        for k, (name, text) in enumerate(texts.items())
    }
    along = coords | {"quantile": quantiles}
    return named | {"time_quantile": xr.DataArray(spread, along, ("quantile", *outer))}


def _moments(name: str, values: Any, quantiles: np.ndarray) -> dict[str, Any]:
    """Mean, its standard error and quantiles of those values that there are."""
    number = values.notnull().sum("seed")
    total = values.fillna(0.0).sum("seed")
    mean = total.where(number > 0) / number.where(number > 0)
    squares = ((values - mean) ** 2).fillna(0.0).sum("seed")
    several = number.where(number > 1)
    kept = {k: v for k, v in values.attrs.items() if k == "units"}
    return {
        name: mean.assign_attrs(kept, long_name=f"mean of {name}"),
        f"{name}_stderr": np.sqrt(squares / (several - 1) / several).assign_attrs(kept),
        f"{name}_quantile": _quantiles(values, quantiles).assign_attrs(kept),
    }


def _quantiles(values: Any, quantiles: np.ndarray) -> Any:
    """Quantiles over the seeds, NaN where there is no value."""
    xr = xarray("ensemble")
    array = values.transpose("seed", ...)
    data = np.sort(array.values, axis=0)  # NaN last
    number = np.isfinite(data).sum(0)
    place = quantiles.reshape(-1, *[1] * number.ndim) * np.maximum(number - 1, 0)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(number - 1, 0))
    low, high = (np.take_along_axis(data, at, 0) for at in (below, above))
    dims = ("quantile", *array.dims[1:])
    coords = {name: c for name, c in array.coords.items() if "seed" not in c.dims}
    data = low + (high - low) * (place - below)
    return xr.DataArray(data, dims=dims, coords=coords | {"quantile": quantiles})


def _fractions(
    name: str, happened: Any, good: Any, level: float, coords: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """How often something happened in the runs that count, with Wilson's interval."""
    low, high = wilson(happened.sum("seed"), good.sum("seed"), level)
    total = good.sum("seed")
    fraction = happened.sum("seed") / total.where(total > 0)
    parts = {"fraction": fraction, "low": low, "high": high}
    text = f"fraction of the runs with this {name}"
    texts = {"fraction": text, "low": f"{text}, at least", "high": f"{text}, at most"}
    found = {f"{name}_{k}": part.assign_coords(coords or {}) for k, part in parts.items()}
    for key, part in zip(parts, found.values(), strict=True):
        part.attrs = {"long_name": texts[key]}
    return found
