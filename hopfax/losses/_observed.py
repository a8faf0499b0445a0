"""What is observed of a run, as losses: times of switches, and paths of what moves."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._errors import as_count, as_float, as_indices, check_at_least, check_finite, check_shape
from .._types import ArrayLike, is_concrete
from ._base import stack
from ._recording import Recording, recording
from ._terms import DwellTimes, Path, SwitchTimes


def switch_times(
    times: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    order: ArrayLike | None = None,
    until: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    **run: Any,
) -> Recording:
    r"""When memories give way to each other: $r_k = (t_k - \hat t_k)/\sigma_k$.

    $t_k$ is the time of the network's $k$-th switch into a memory that is then retrieved. It and
    its derivatives are exact where the run is event-driven. A switch that does not take place, or
    leads elsewhere than `order` says, counts as one at the end of the run.

    What counts of the time after the last $\hat t_k$ is `until`: without it the network may switch
    again at once, at no cost. `end` is no datum, only where the run is cut off. What was watched to
    the end of a recording, and seen to stay, is said by `until`.

    **Where its gradient vanishes:** in all residuals from the first missing switch on; entirely if
    nothing moves (a network that stays in its first memory, or retrieves none). Then begin with
    `order` or `event_map`.

    **Arguments:**

    - `times`: (K,) the observed $\hat t_k$ in fast time constants; NaN for one not seen.
    - `init`: the start, as keyword arguments of `network.init`, e.g. `dict(saliency=...)`.
    - `order`: (K,) the memory that each switch leads to; -1 for any.
    - `until`: how long the last memory is known to have stayed. A next switch at an earlier time t
        adds the residual (t - until) / sigma; a later one, or none, adds nothing.
    - `sigma`: standard deviation of the observations, a scalar or (K,). None: it is not known, but
        that of all is the same; it is then taken as 1, and `hopfax.log_density` asks for it.
    - `run`: how the run is made: `t0` (0), `end` (a few dwells after the last time), `stimulus`,
        `current`, `noise` and `key` (one realisation of the noise), `method`; as in
        `hopfax.simulate`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.switch_times(
        [31.0, 61.0], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]), order=[1, 2], sigma=0.5
    )
    loss(network)  # -0.29, 0.36
    ```
    """
    times = _vector(times, "times")
    stays = None if until is None else as_float(until, "until", times.dtype)
    if stays is not None:
        check_shape(stays, "until", (), "()")
        check_finite(stays, "until")
    targets = _targets(order, times.size, "times")
    term = SwitchTimes(times, targets, _sigma(sigma, times), stays)
    return recording(term, init, run, sigma is not None)


def dwell_times(
    dwells: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    order: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    **run: Any,
) -> Recording:
    r"""How long memories are active: $r_k = (t_{k+1} - t_k - \hat d_k)/\sigma_k$.

    Differences of successive switch times, so the time before the first switch does not count. Use
    it where the errors of the dwells are independent of each other; in `switch_times` those of the
    times are. Only dwells whose end was seen count; one that was still going on when a recording
    ended is for `switch_times`, with `until`.

    **Where its gradient vanishes:** as for `switch_times`.

    **Arguments:** `dwells`: (L,) the observed $\hat d_k$; NaN for one not seen. `order`: (L + 1,)
    the memory that each switch leads to. The rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    loss = hx.losses.dwell_times([30.0], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]))
    loss(network)  # 0.33
    ```
    """
    dwells = _vector(dwells, "dwells")
    term = DwellTimes(dwells, _targets(order, dwells.size + 1, "dwells"), _sigma(sigma, dwells))
    return recording(term, init, run, sigma is not None)


def saliency_path(
    ts: ArrayLike,
    values: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    sigma: ArrayLike | None = None,
    **run: Any,
) -> Recording:
    r"""Saliencies at given times: $r_{k\mu} = (z_\mu(t_k) - \hat z_{k\mu})/\sigma$.

    Saliencies move with the parameters everywhere, also while the field rests in a memory, so this
    is the loss of choice from a bad start. A long periodic target has local minima, at which the
    run is late or early by whole periods: cut a long trace into windows (`shooting`).

    **Where its gradient vanishes:** nowhere in the gain and in the columns of $A$ of memories that
    are visited; in the columns of those that are not.

    **Arguments:** `ts`: (T,) times, not decreasing. `values`: (T, P), NaN where not observed.
    `sigma`: broadcast against `values`. The rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 100.0, 51)
    run = hx.simulate(network, network.init(**start), ts)
    loss = hx.losses.saliency_path(ts, run.saliency, init=start)
    hx.losses.value(loss(network)) < 1e-9  # True: it is the run that was observed
    ```
    """
    return recording(_path(ts, values, sigma, "saliency"), init, run, sigma is not None)


def overlap_path(
    ts: ArrayLike,
    values: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    sigma: ArrayLike | None = None,
    **run: Any,
) -> Recording:
    r"""Overlaps at given times: $r_{k\mu} = (m_\mu(t_k) - \hat m_{k\mu})/\sigma$.

    **Where its gradient vanishes:** almost everywhere. Overlaps are saturated between switches, so
    only saves within a switch move with the parameters, and a network that stays in its first
    memory (for instance with a uniform $A$) has exactly zero gradient. It has local minima in the
    gain. Use it to improve what `switch_times`, `saliency_path` or `order` have found; or let
    `hopfax.fit_sequence` choose.

    **Arguments:** `ts`: (T,) times, not decreasing. `values`: (T, P), NaN where not observed. The
    rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    ts = jnp.linspace(0.0, 100.0, 51)
    run = hx.simulate(network, network.init(**start), ts)
    loss = hx.losses.overlap_path(ts, run.overlaps, init=start)
    hx.losses.value(loss(network)) < 1e-9  # True: it is the run that was observed
    ```
    """
    return recording(_path(ts, values, sigma, "overlaps"), init, run, sigma is not None)


def field_path(
    ts: ArrayLike,
    values: ArrayLike,
    *,
    init: Mapping[str, ArrayLike],
    sigma: ArrayLike | None = None,
    **run: Any,
) -> Recording:
    r"""The field of the visible neurons at given times: $r_{ki} = (x_i(t_k) - \hat x_{ki})/\sigma$.

    For learning the memories themselves: wherever the field rests, $x = \sum_\mu y_\mu \xi^\mu$ is
    linear in them.

    **Where its gradient vanishes:** in memories that are not visited.

    **Arguments:** `ts`: (T,) times, not decreasing. `values`: (T, N), NaN where not observed
    (hidden neurons). The rest as in `switch_times`.

    **Raises:** ValueError/TypeError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    seen = jnp.stack([4.0 * network.patterns.xi[0], jnp.full(16, jnp.nan)])  # once, at the start
    loss = hx.losses.field_path([0.0, 10.0], seen, init=dict(saliency=[4.0, 0.0, 0.0, 0.0]))
    jnp.abs(loss(network)).max()  # 0.04, the bias of four memories
    ```
    """
    return recording(_path(ts, values, sigma, "field"), init, run, sigma is not None)


def _path(ts: ArrayLike, values: ArrayLike, sigma: ArrayLike | None, of: str) -> Path:
    """The term of what was seen at given times; ValueError if it has another number of rows."""
    ts = _vector(ts, "ts")
    values = as_float(values, "values", ts.dtype)
    if values.ndim != 2 or values.shape[0] != ts.size:
        raise ValueError(
            f"`values` must have a row for each time of `ts`, shape (T, ...) with T = {ts.size}, "
            f"got {values.shape}."
        )
    check_finite(ts, "ts")
    if is_concrete(ts) and (np.asarray(ts)[1:] < np.asarray(ts)[:-1]).any():
        raise ValueError("`ts` must not decrease.")
    return Path(ts, values, _sigma(sigma, values), of)


def shooting(
    ts: ArrayLike,
    saliency: ArrayLike,
    *,
    windows: int,
    sigma: ArrayLike | None = None,
    **run: Any,
) -> Recording:
    r"""A long trace of saliencies, cut into windows that each start from the observed values.

    This is multiple shooting: errors do not add up along the trace, however long it is. Each window
    starts at the observed saliencies, with the field at rest in the memory that is then active. A
    window that starts within a transition therefore differs a little at its first saves.

    **Arguments:** `ts`: (T,) times. `saliency`: (T, P), all observed. `windows`: how many; the
    saves that are left over at the end are dropped. The rest as in `saliency_path`.

    **Returns:** recordings with a leading axis, for
    `hopfax.fit(network, hopfax.losses.each, data=...)`.

    **Raises:** ValueError if a window has less than two saves.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    ts = jnp.linspace(0.0, 100.0, 51)
    run = hx.simulate(network, network.init(saliency=[4.0, 0.0, 0.0, 0.0]), ts)
    windows = hx.losses.shooting(ts, run.saliency, windows=2)
    windows.init["saliency"]  # (2, 4): where each window starts
    ```
    """
    ts = _vector(ts, "ts")
    saliency = as_float(saliency, "saliency", ts.dtype)
    windows = as_count(windows, "windows")
    if saliency.ndim != 2 or len(saliency) != ts.size:
        text = f"a row for each time of `ts`, {ts.size}, got shape {saliency.shape}"
        raise ValueError(f"`saliency` must have shape (T, P), {text}.")
    check_finite(saliency, "saliency")
    check_finite(ts, "ts")
    length = ts.size // windows if windows >= 1 else 0
    if length < 2:
        raise ValueError(
            f"`windows` must leave at least two saves each: {windows} for {ts.size} saves."
        )
    pieces = [slice(k * length, (k + 1) * length + (k + 1 < windows)) for k in range(windows)]
    if windows > 1:  # every window ends where the next begins; the last one is as long as they are
        pieces[-1] = slice((windows - 1) * length - 1, windows * length)
    recordings = [
        saliency_path(
            ts[piece],
            saliency[piece],
            init=dict(saliency=saliency[piece.start], weights=_resting(saliency[piece])),
            sigma=sigma,
            t0=ts[piece.start],
            end=ts[piece][-1],
            **run,
        )
        for piece in pieces
    ]
    return stack(recordings)


def _resting(saliency: Array) -> Array:
    """Weights of the field at rest in the active memory, whose saliency is the largest of those
    that fall."""
    now, then = saliency[0], saliency[1]
    falling = jnp.where(then < now, now, -jnp.inf)
    return jnp.where(jnp.arange(now.size) == jnp.argmax(falling), now, 0.0)


def _sigma(sigma: ArrayLike | None, values: Array) -> Array:
    """Standard deviations, which broadcast against `values`; one if they are not known."""
    sigma = as_float(1.0 if sigma is None else sigma, "sigma", values.dtype)
    check_at_least(sigma, "sigma", 0.0, strict=True)
    try:
        fits = np.broadcast_shapes(sigma.shape, values.shape) == values.shape
    except ValueError:
        fits = False
    if not fits:
        text = f"a scalar or one for each of the data, {values.shape}, got shape {sigma.shape}"
        raise ValueError(f"`sigma` must be {text}.")
    return sigma


def _targets(order: Any, count: int, of: str) -> Array | None:
    if order is None:
        return None
    order = jnp.asarray(as_indices(order, "order", least=-1), jnp.int32)
    if order.shape != (count,):
        raise ValueError(
            f"`order` must name the memory that each switch leads to, shape ({count},) for these "
            f"`{of}`, got {order.shape}. The memory of the start is not in it."
        )
    return order


def _vector(values: ArrayLike, name: str) -> Array:
    values = as_float(values, name)
    if values.ndim != 1 or values.size < 1:
        raise ValueError(f"`{name}` must be a vector of at least one time, got {values.shape}.")
    if is_concrete(values):
        if not np.isfinite(np.asarray(values)).any():
            raise ValueError(f"`{name}` holds no finite value.")
        if np.isinf(np.asarray(values)).any():
            raise ValueError(f"`{name}` must be finite, or NaN for what was not seen.")
    return values
