r"""Exact theory of dense associative memory: capacities, trajectories and basins.

N neurons $h_i = \pm 1$ store M independent unbiased patterns through an interaction of order n,

$$u_i(t) = N^{-p} \sum_\mu \xi^\mu_i f(X^\mu_i(t)) + \theta_i(t), \qquad
h_i(t+1) = \mathrm{sgn}\, u_i(t), \qquad p = n - 1,$$

with all neurons updated at once, the neuron itself left out of its overlap $X^\mu_i$, and $f$ the
reduced force of the interaction. The **load** is $\alpha = M / N^{n-1}$. As $N \to \infty$ a neuron
that is gauged by the recalled pattern follows the effective process (order $n \ge 3$)

$$h(t+1) = \mathrm{sgn}\Big[ m(t)^p + v(t) + \sum_{t' < t} \Gamma(t, t') h(t') \Big], \qquad
\langle v(t) v(t') \rangle = \alpha K(C), \qquad \Gamma(t, t') = \alpha K'(C)\, G(t, t'),$$

with $m(t) = \langle h(t) \rangle$, $C = \langle h(t) h(t') \rangle$, the response
$G(t, t') = \partial \langle h(t) \rangle / \partial \theta(t')$ and the noise kernel K of
`kernel`. At order 2 memories react to each other, which replaces these by
$\alpha (1-G)^{-1} C (1-G^T)^{-1}$ and $\alpha (1-G)^{-1} G$. The time t of a field $u(t)$ is that
of the state it is computed from.

Three levels of it:

- `capacity`, `map_step`, `map_fixed_points`: without memory of the past ($\Gamma = 0$). The first
  step is exact, and fixed points are those of the replica-symmetric theory; as a description of
  what happens in between it is poor.
- `first_steps`: the full theory up to four steps by quadrature, differentiable.
- `solve_gfa`: the full theory for any number of steps, on quasi-random paths; `basin_edge`,
  `convergence_time` and `apparent_capacity` read it.

With scaled load $\alpha' = \alpha K(1)$ all power and n-body models of one order have the same
memoryless map, so the same $\alpha'_c$.

Generating functional: Düring, Coolen, Sherrington 1998; Mimura, Takeuchi, Sumikawa, Kabashima,
Coolen 2026, arXiv:2506.00851. Asynchronous updates follow a different theory.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Bool, Float

from .._activations import AbstractActivation, HardTanh
from .._errors import as_float, check_at_least, check_shape
from .._interactions import AbstractInteraction
from .._types import is_concrete
from . import _first_steps, _gfa, _memoryless, _thresholds
from ._kernels import (
    Kernel as Kernel,
    finite,
    input_driven_kernel as input_driven_kernel,
    kernel as kernel,
)
from ._parameters import floats

_Scalar = Float[Array, ""]
_Model = AbstractInteraction | Kernel


class Capacity(NamedTuple):
    r"""Where retrieval ends in the replica-symmetric theory.

    `load` is $\alpha_c$, `scaled` $\alpha'_c = \alpha_c K(1)$, `overlap` that of the last retrieval
    state.
    """

    load: Float[Array, ""]
    scaled: Float[Array, ""]
    overlap: Float[Array, ""]


class MapFixedPoints(NamedTuple):
    """Overlaps at which the memoryless theory stands still; NaN above capacity."""

    unstable: Float[Array, "..."]
    stable: Float[Array, "..."]
    exists: Bool[Array, "..."]


class FirstSteps(NamedTuple):
    r"""The start of a trajectory: $m(0), m(1), \dots$; $C$, $G$ and $\Gamma$ among the times
    0 to `steps` - 1, first axis the later time."""

    overlap: Float[Array, " T+1"]
    correlation: Float[Array, "T T"]
    response: Float[Array, "T T"]
    feedback: Float[Array, "T T"]


class Solution(NamedTuple):
    r"""A trajectory of the effective neuron, means over scrambles.

    `overlap` is $m(0), \dots, m(T)$ and `error` the standard error of its mean over the scrambles
    (NaN with one); `correlation` $C(t, t')$ has shape (T+1, T+1), `response` $G(t, t')$ (T+1, T),
    `feedback` $\Gamma(t, t')$ (T, T).
    """

    overlap: Float[Array, " T+1"]
    error: Float[Array, " T+1"]
    correlation: Float[Array, "T+1 T+1"]
    response: Float[Array, "T+1 T"]
    feedback: Float[Array, "T T"]


class BasinEdge(NamedTuple):
    """The smallest start `overlap` that is at `fraction` of `plateau` after `horizon` steps, and
    its standard error; `plateau` is where a start from the memory itself is by then."""

    overlap: Float[Array, ""]
    error: Float[Array, ""]
    plateau: Float[Array, ""]
    horizon: int
    fraction: Float[Array, ""]


class ConvergenceTime(NamedTuple):
    """The first step from which on the overlap stays within `tolerance` of `plateau`, where it is
    after `horizon` steps; NaN if it still moves then."""

    time: Float[Array, ""]
    error: Float[Array, ""]
    plateau: Float[Array, ""]
    horizon: int
    tolerance: Float[Array, ""]


class ApparentCapacity(NamedTuple):
    """The load at which the overlap after `horizon` steps is `threshold`, and its standard
    error."""

    load: Float[Array, ""]
    error: Float[Array, ""]
    horizon: int
    threshold: Float[Array, ""]


class ExponentialLoad(NamedTuple):
    r"""Thresholds of $\alpha = \ln M / N$ for the exponential interaction.

    `one_step`: below it a state of overlap m is mapped to the memory in one step. `frozen`: whether
    a few memories make the noise there. `free_energy`: the criterion of the random energy model,
    lower, as it leaves out that the signs of the noise cancel. `rigorous`: the bound of the
    theorem, proved at rate 1 (NaN for others).
    """

    one_step: Float[Array, "..."]
    frozen: Bool[Array, "..."]
    free_energy: Float[Array, "..."]
    rigorous: Float[Array, "..."]


# Without memory of the past


def capacity(interaction: _Model) -> Capacity:
    r"""Largest load at which the replica-symmetric theory has a retrieval state.

    Order n >= 3, with $p = n - 1$ and $m = \mathrm{erf}(x)$:

    $$\alpha'_c = \max_x \frac{\mathrm{erf}(x)^{2p}}{2 x^2}, \qquad \alpha_c = \alpha'_c / K(1);$$

    order 2, resummed (Amit, Gutfreund, Sompolinsky 1985):
    $\sqrt{2 \alpha_c} = \max_y\, [\mathrm{erf}(y)/y - 2 e^{-y^2} / \sqrt\pi]$, 0.13790556649.

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. A signal of weight b, as in
    `Simplicial`, counts $b^2$ times.

    **Returns:** a `Capacity`, to machine precision; NaN if b is not positive. Differentiable in the
    weights of an interaction.

    **Raises:** ValueError for an interaction without Gaussian kernel, or the input-driven one.

    Assumes zero temperature and $N \to \infty$. Trajectories see something else: above this load
    retrieval survives as a slow decay (`apparent_capacity`). For n = 3 the overlap ends at
    $\alpha' = 0.252$. Gardner 1987; Abbott, Arian 1987; Krotov, Hopfield 2016, arXiv:1606.01164.
    """
    model = _plain(interaction, "capacity")
    one = jnp.ones(())
    signal, noise = model.signal(one), model(one)
    scaled, overlap = _memoryless.critical(model.order)
    scaled = jnp.where(signal > 0, scaled * signal**2, jnp.nan)
    return Capacity(scaled / noise, scaled, jnp.where(signal > 0, overlap, jnp.nan))


def map_step(interaction: _Model, load: Any, m: Any) -> Float[Array, "..."]:
    r"""One step without memory of the past.

    $$m \mapsto \mathrm{erf}\Big( \frac{m^{n-1}}{\sqrt{2 \alpha K(1)}} \Big).$$

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. `load`: $\alpha > 0$. `m`: overlap.

    **Returns:** the next overlap, broadcast. Exact for the first step from a state that does not
    depend on the other patterns; from the second step on the truth retrieves better. At order 2
    only the first step means anything.

    **Raises:** ValueError for `load` <= 0 or an interaction without Gaussian kernel.

    Assumes zero temperature and $N \to \infty$ (for the first step at finite N see
    `finite_first_step`).
    """
    model = _plain(interaction, "map_step")
    load, m = floats(load=load, m=m)
    check_at_least(load, "load", 0.0, strict=True)
    return _memoryless.step(model, load, m)


def map_trajectory(interaction: _Model, load: Any, m0: Any, steps: int) -> Float[Array, "..."]:
    """The iterates of `map_step`, the start included.

    **Arguments:** as `map_step`; `steps`: how many.

    **Returns:** overlaps with a new last axis of length `steps` + 1.

    **Raises:** as `map_step`.

    Compare it with `solve_gfa`, not with simulations.
    """
    model = _plain(interaction, "map_trajectory")
    load, m0 = floats(load=load, m0=m0)
    check_at_least(load, "load", 0.0, strict=True)
    steps = _count(steps, "steps")
    load, m0 = jnp.broadcast_arrays(load, m0)

    def move(m, _):
        new = _memoryless.step(model, load, m)
        return new, new

    rest = jax.lax.scan(move, m0, None, length=steps)[1]
    return jnp.moveaxis(jnp.concatenate([m0[None], rest]), 0, -1)


def map_fixed_points(interaction: _Model, load: Any) -> MapFixedPoints:
    r"""Overlaps that the memoryless theory maps to themselves: the replica-symmetric states.

    $m = \mathrm{erf}(x)$ with $\mathrm{erf}(x)^{n-1}/x = \sqrt{2 \alpha K(1)}$ on either side of
    its maximum, or the resummed equation of `capacity` at order 2.

    **Arguments:** `interaction`: of `hopfax`, or a `Kernel`. `load`: $\alpha > 0$.

    **Returns:** a `MapFixedPoints`, broadcast; NaN and `exists` False above capacity. `unstable` is
    the edge of the basin of the *map*; the true one lies lower (`basin_edge`). Differentiable.

    **Raises:** ValueError for `load` <= 0 or an interaction without Gaussian kernel.

    Assumes zero temperature and $N \to \infty$.
    """
    model = _plain(interaction, "map_fixed_points")
    (load,) = floats(load=load)
    check_at_least(load, "load", 0.0, strict=True)
    return MapFixedPoints(*_memoryless.fixed_points(model, load))


# The full theory


def first_steps(
    interaction: _Model, load: Any, m0: Any, steps: int = 4, *, stimulus_overlap: Any = None
) -> FirstSteps:
    r"""The first steps of the full theory by quadrature, smooth in every parameter.

    With $r = \alpha K(1)$, $p_s = (1 + s m_0)/2$ and $\varphi$ the Gaussian density of variance r,

    $$m_1 = \mathrm{erf} \frac{m_0^p}{\sqrt{2r}}, \quad
    m_2 = \sum_{s = \pm 1} p_s\, \mathrm{erf} \frac{m_1^p + \Gamma_{10} s}{\sqrt{2r}}, \quad
    \Gamma_{10} = \alpha K'(m_0 m_1)\, 2 \varphi(m_0^p),$$

    and so on: even and odd times decouple, so four steps need Gaussian integrals of two and three
    variables, here reduced to one dimension.

    **Arguments:**

    - `interaction`: of `hopfax`, or a `Kernel`.
    - `load`: $\alpha > 0$.
    - `m0`: overlap of the start, which is otherwise random; in [-1, 1].
    - `steps`: up to 4; up to 2 at order 2 and for the input-driven network.
    - `stimulus_overlap`: overlap of the input with the memory, for `input_driven_kernel()` alone.

    **Returns:** a `FirstSteps`, accurate to 1e-8 or better in float64; NaN for values out of range
    under a trace. Differentiable in `load`, `m0` and the weights of an interaction.

    **Raises:** ValueError for a value out of range.

    Assumes zero temperature, parallel updates, no self-coupling and $N \to \infty$. Mimura,
    Takeuchi, Sumikawa, Kabashima, Coolen 2026, arXiv:2506.00851; the reduction is derived here.
    """
    model = kernel(interaction)
    most = 2 if model.resummed or model.input_driven else 4
    steps = _count(steps, "steps")
    if steps > most:
        raise ValueError(
            f"`steps` must be at most {most} for this interaction, but is {steps}; `solve_gfa` "
            "takes any number."
        )
    load, m0, mu = _checked(model, load, m0, stimulus_overlap)
    valid = (load > 0) & (abs(m0) <= 1)
    if model.resummed:
        result = _first_steps.quadratic(load, m0, steps)
    elif mu is not None:
        valid = valid & (abs(mu) <= 1)
        result = _first_steps.input_driven(load, m0, mu, steps)
    else:
        result = _first_steps.plain(model, load, m0, steps)
    return FirstSteps(*(jnp.where(valid, part, jnp.nan) for part in result))


def solve_gfa(
    interaction: _Model,
    load: Any,
    m0: Any,
    steps: int,
    *,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    beta: Any = None,
    activation: AbstractActivation | None = None,
    stimulus_overlap: Any = None,
    self_coupling: bool = False,
) -> Solution:
    r"""The trajectory of the full theory: the effective neuron on quasi-random paths.

    Forward in time: the overlaps C of all earlier steps give the noise covariance and one more row
    of its Cholesky factor; this draws the next fields, and they give the next overlaps, with the
    last Gaussian integrated out. The response of signs is found by branching: where a path's field
    is put to its threshold, with the density w of that, both answers are followed on the same
    noise, $G(t+1, t') = \langle w\, [h_+(t+1) - h_-(t+1)] \rangle$. Its spread is some 20 times
    smaller than that of the correlation of answer and noise, and it stays regular when the
    trajectory freezes. Even lags of the response vanish at order 3 and above and are skipped.

    **Arguments:**

    - `interaction`: of `hopfax`, or a `Kernel`.
    - `load`: $\alpha > 0$.
    - `m0`: overlap of the start, a random state of signs; in [-1, 1].
    - `steps`: $T$.
    - `paths`: in each scramble, a power of two.
    - `scrambles`: independent scrambled Sobol sequences, whose spread gives `error`.
    - `seed`: of the scrambles, a Python int.
    - `beta`: inverse temperature of parallel Glauber dynamics, $P(h(t+1) = s) =
      (1 + s \tanh \beta u)/2$; without it signs.
    - `activation`: $\phi$ of graded units $h(t+1) = \phi(u(t))$ in place of signs.
    - `stimulus_overlap`: overlap of the input with the memory, for `input_driven_kernel()` alone.
    - `self_coupling`: whether a neuron feels itself, order 2 alone: adds $\alpha h(t)$.

    **Returns:** a `Solution`. Errors grow along a trajectory and towards capacity: for n = 3 at
    95 % of capacity from m0 = 1 they are 3e-4 at t = 4 and 2e-3 at t = 20 with $4 \cdot 2^{12}$
    paths. The work grows as paths $\cdot\, T^3$, the program does not grow with T. Under
    `jax.vmap` and in sweeps a run takes about $12\, T^2$ bytes per path; a diagram of 64 x 64
    points with T = 20 and $4 \cdot 2^{10}$ paths took 40 s on two cores.
    NaN for values out of range under a trace. Paths of signs are kept in float32, which moves
    overlaps by 1e-7; the rest has the dtype of `load` and `m0`.

    **Raises:** ValueError for a value or combination out of range. **TypeError if it is
    differentiated for signs** (`beta` included) or HardTanh: sampled signs do not move with the
    parameters, and the derivative would be wrong without notice. Use `first_steps`, or differences
    with the same seed. With a smooth `activation` all derivatives are those of the estimate.

    Assumes parallel updates and $N \to \infty$; the self-coupling left out unless asked for (for
    even n >= 4 it freezes the network). Eissfeller, Opper 1992, for following effective neurons;
    Düring, Coolen, Sherrington 1998 for order 2; Mimura, Takeuchi, Sumikawa, Kabashima, Coolen
    2026, arXiv:2506.00851. Branching and the input-driven network are derived here.
    """
    model = kernel(interaction)
    steps = _count(steps, "steps")
    load, m0, mu = _checked(model, load, m0, stimulus_overlap)
    if self_coupling and not model.resummed:
        raise ValueError(
            "`self_coupling` must be False at order 3 and above: it freezes the network (even "
            "orders) or is not derived (odd orders)."
        )
    valid = (load > 0) & (abs(m0) <= 1)
    if beta is not None:
        if activation is not None:
            raise ValueError("`beta` is the temperature of signs: leave it out with `activation`.")
        beta = as_float(beta, "beta", load.dtype)
        check_shape(beta, "beta", (), "()")
        check_at_least(beta, "beta", 0.0, strict=True)
        valid = valid & (beta > 0)
    if activation is not None:
        if not isinstance(activation, AbstractActivation):
            name = type(activation).__name__
            raise TypeError(f"`activation` must be an activation of hopfax, but is {name}.")
        if model.input_driven:
            raise ValueError("`activation` is not derived for the input-driven network.")
    problem = _gfa.Problem(model, load, m0, beta, activation, mu, bool(self_coupling))
    if activation is None or isinstance(activation, HardTanh):
        problem = _gfa.not_differentiable(problem)
    noise = _noise(
        model,
        steps,
        paths,
        scrambles,
        seed,
        thermal=beta is not None,
        graded=activation is not None,
    )
    m, C, G, Gam = _gfa.follow(problem, noise, steps)
    error = _standard_error(m)
    parts = (m.mean(0), error, C.mean(0), G.mean(0), Gam.mean(0))
    return Solution(*(jnp.where(valid, part, jnp.nan) for part in parts))


def basin_edge(
    interaction: _Model,
    load: Any,
    horizon: int,
    *,
    fraction: Any = 0.9,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    stimulus_overlap: Any = None,
) -> BasinEdge:
    r"""Smallest start from which a memory is retrieved within a given time.

    The least $m_0 \ge 0$ with $m(T) \ge$ `fraction` $\cdot\, m_1(T)$, T = `horizon`, where $m_1$
    starts from the memory itself; by bisection on `solve_gfa`, in each scramble for itself.

    **Arguments:** `horizon`: the number of steps T. `fraction`: of the plateau; in (0, 1). The
    rest: as in `solve_gfa`.

    **Returns:** a `BasinEdge`, resolved to 1/1024 with the spread over scrambles as `error`; NaN
    where the plateau is below 0.5, where nothing is retrieved. The edge belongs to its horizon:
    near it escape is slow, and longer horizons find lower edges.

    **Raises:** ValueError for a value out of range.

    Assumptions and source: `solve_gfa`, zero temperature.
    """
    model = kernel(interaction)
    horizon = _count(horizon, "horizon")
    load, fraction, mu = _checked(model, load, fraction, stimulus_overlap, "fraction")
    check_at_least(fraction, "fraction", 0.0, strict=True)
    if is_concrete(fraction) and not float(fraction) < 1:
        raise ValueError(f"`fraction` must be in (0, 1), but is {float(fraction):g}.")
    problem = _gfa.Problem(model, load, jnp.ones_like(load), None, None, mu, False)
    noise = _noise(model, horizon, paths, scrambles, seed)
    problem, fraction = _gfa.not_differentiable((problem, fraction))
    edges, plateau = _thresholds.basin_edge(problem, noise, horizon, fraction)
    plateau = plateau.mean()
    retrieved = plateau >= 0.5
    edge, error = jnp.where(retrieved, edges.mean(), jnp.nan), _with_resolution(edges, 2.0**-10)
    return BasinEdge(edge, jnp.where(retrieved, error, jnp.nan), plateau, horizon, fraction)


def convergence_time(
    interaction: _Model,
    load: Any,
    m0: Any,
    horizon: int,
    *,
    tolerance: Any = 0.005,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    stimulus_overlap: Any = None,
) -> ConvergenceTime:
    r"""Steps until the overlap stays within `tolerance` of where it is at the horizon.

    **Arguments:** `horizon`: the number of steps T. `tolerance`: > 0. The rest: as in `solve_gfa`.

    **Returns:** a `ConvergenceTime`; `time` is the mean over scrambles and `error` its standard
    error. NaN if a scramble still moves at the horizon.

    **Raises:** ValueError for a value out of range.

    Assumptions and source: `solve_gfa`, zero temperature. The plateau depends on the start.
    """
    model = kernel(interaction)
    horizon = _count(horizon, "horizon")
    load, m0, mu = _checked(model, load, m0, stimulus_overlap)
    tolerance = as_float(tolerance, "tolerance", load.dtype)
    check_at_least(tolerance, "tolerance", 0.0, strict=True)
    problem = _gfa.Problem(model, load, m0, None, None, mu, False)
    noise = _noise(model, horizon, paths, scrambles, seed)
    problem, tolerance = _gfa.not_differentiable((problem, tolerance))
    m = _gfa.follow(problem, noise, horizon)[0]
    times = _thresholds.settled(m, tolerance)
    return ConvergenceTime(
        times.mean(), _standard_error(times), m[:, -1].mean(), horizon, tolerance
    )


def apparent_capacity(
    interaction: _Model,
    horizon: int,
    threshold: Any = 0.5,
    *,
    m0: Any = 1.0,
    paths: int = 2**12,
    scrambles: int = 4,
    seed: int = 0,
    stimulus_overlap: Any = None,
) -> ApparentCapacity:
    r"""Load at which the overlap after `horizon` steps has fallen to `threshold`.

    By bisection on `solve_gfa` for scaled loads $\alpha' = \alpha K(1)$ up to 4, in each scramble
    for itself.

    **Arguments:** `horizon`: the number of steps T. `threshold`: in (0, 1). `m0`: the start. The
    rest: as in `solve_gfa`.

    **Returns:** an `ApparentCapacity`, resolved to $\alpha'$ of 5e-4, with the spread over
    scrambles as `error`; NaN where no load up to 4 crosses the threshold. It lies above `capacity`
    and falls with the horizon: for n = 3 at threshold 0.8 $\alpha'$ is 0.34 after 20 steps, 0.32
    after 60, against 0.252. Quote it with both.

    **Raises:** ValueError for a value out of range.

    Assumptions and source: `solve_gfa`, zero temperature.
    """
    model = kernel(interaction)
    horizon = _count(horizon, "horizon")
    threshold, m0, mu = _checked(model, threshold, m0, stimulus_overlap, load_name="threshold")
    if is_concrete(threshold) and not float(threshold) < 1:
        raise ValueError(f"`threshold` must be in (0, 1), but is {float(threshold):g}.")
    one = jnp.ones_like(m0)
    problem = _gfa.Problem(model, 4.0 / model(one), m0, None, None, mu, False)
    noise = _noise(model, horizon, paths, scrambles, seed)
    problem, threshold = _gfa.not_differentiable((problem, threshold))
    loads = _thresholds.load(problem, noise, horizon, threshold)
    error = _with_resolution(loads, problem.load * 2.0**-13)
    return ApparentCapacity(loads.mean(), error, horizon, threshold)


# Exponential loads and finite sizes


def exponential_load(m: Any, rate: Any = 1.0) -> ExponentialLoad:
    r"""One-step thresholds of the exponential interaction $F(X) = e^{\lambda X}$.

    A state of overlap m with one of $M = e^{\alpha N}$ memories is mapped to it if the signal
    $e^{\lambda N m}$ exceeds the noise of all others, whose sum of random signs has the exponent
    $(\alpha + \ln\cosh 2\lambda)/2$ or, once a few memories dominate it, $\lambda x^*$ with
    $I(x^*) = \alpha$:

    $$\alpha_1(m) = \begin{cases} I(m) & m < \tanh 2\lambda \quad \text{(frozen)} \\
    2 \lambda m - \ln\cosh 2\lambda & \text{else,} \end{cases} \qquad
    I(x) = \tfrac{1+x}{2} \ln(1+x) + \tfrac{1-x}{2} \ln(1-x).$$

    The free-energy criterion adds up the noise without signs, which puts $\lambda$ in place of
    $2\lambda$ and $\lambda m - \ln\cosh\lambda$ in the second line. The theorem of Demircigil et
    al. guarantees $I(m)/2$ for rate 1.

    **Arguments:** `m`: overlap of the state, in [0, 1]. `rate`: $\lambda > 0$.

    **Returns:** an `ExponentialLoad`, broadcast; NaN for m outside [0, 1].

    **Raises:** ValueError for `rate` <= 0.

    Demircigil, Heusel, Löwe, Upgang, Vermet 2017, arXiv:1702.01929; Lucibello, Mézard 2024,
    arXiv:2304.14964, for the random energy model. The one-step threshold is derived here. Assumes
    signs, $N \to \infty$.
    """
    m, rate = floats(m=m, rate=rate)
    check_at_least(rate, "rate", 0.0, strict=True)
    m, rate = jnp.broadcast_arrays(m, rate)
    return ExponentialLoad(*_memoryless.exponential(m, rate))


def finite_first_step(interaction: _Model, N: int, M: int, m0: Any) -> Float[Array, "..."]:
    r"""Overlap after one step at finite size, in the Gaussian approximation of the noise.

    $$m_1 = \sum_{s = \pm 1} \frac{1 + s m_0}{2}\, \mathrm{erf}
    \frac{f(N m_0 - s)}{\sqrt{2 (M - 1) V}},$$

    with the exact second moment $V = E f(Y)^2$, Y a sum of N - 1 random signs.

    **Arguments:** `interaction`: of `hopfax`, or its `Kernel`. `N`, `M`: neurons and memories,
    Python ints. `m0`: overlap of the start, with an exact number of flipped neurons.

    **Returns:** the mean overlap, broadcast over `m0`, right to about 0.002 at N = 400 (signal and
    self-exclusion are exact, the noise of M - 1 memories is taken for Gaussian).

    **Raises:** ValueError for N < 2, M < 1 or an interaction without a finite-size form.

    Assumes signs, zero temperature, the leading update rule without self-coupling. Derived here.
    """
    model = kernel(interaction)
    N, M = _count(N, "N", 2), _count(M, "M")
    (m0,) = floats(m0=m0)
    if is_concrete(m0) and not bool((abs(m0) <= 1).all()):
        raise ValueError(f"`m0` must be in [-1, 1], but is {m0[abs(m0) > 1].ravel()[0]:g}.")
    total = jnp.zeros_like(m0)
    for s in (1.0, -1.0):
        force, noise = finite(model, N * m0 - s, N)
        if M == 1:  # no noise, and a tie keeps the neuron
            answer = jnp.where(force == 0, s, jnp.sign(force))
        else:
            spread = jnp.sqrt(jnp.asarray(2.0 * (M - 1) * noise, m0.dtype))
            answer = erf(force / spread)
        total = total + (1 + s * m0) / 2 * answer
    return total


# Checks


def _plain(interaction, name):
    model = kernel(interaction)
    if model.input_driven:
        raise ValueError(
            f"`interaction` of `{name}` cannot be the input-driven network: its map depends on the "
            "input. Use `first_steps` or `solve_gfa` with `stimulus_overlap`."
        )
    return model


def _count(value, name, least=1):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a Python int, got {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, but is {value}.")
    return value


def _checked(model, load, m0, mu, name="m0", load_name="load"):
    """Load, start and stimulus as scalars of one dtype."""
    if model.input_driven != (mu is not None):
        raise ValueError(
            "`stimulus_overlap` is missing: the input-driven network needs the overlap of the "
            "input with the recalled memory."
            if mu is None
            else "`stimulus_overlap` is for `input_driven_kernel()` alone; leave it out."
        )
    values = {load_name: load, name: m0}
    if mu is not None:
        values["stimulus_overlap"] = mu
    arrays = floats(**values)
    for key, value in zip(values, arrays, strict=True):
        check_shape(value, key, (), "()", "Use jax.vmap or hopfax.sweep for many.")
        if key != load_name and is_concrete(value) and not abs(float(value)) <= 1:
            raise ValueError(f"`{key}` must be in [-1, 1], but is {float(value):g}.")
    check_at_least(arrays[0], load_name, 0.0, strict=True)
    return arrays if mu is not None else (*arrays, None)


def _noise(model, steps, paths, scrambles, seed, thermal=False, graded=False):
    paths, scrambles = _count(paths, "paths"), _count(scrambles, "scrambles")
    seed = _count(seed, "seed", 0)
    if paths & (paths - 1):
        raise ValueError(
            f"`paths` must be a power of two, where Sobol sequences are balanced, but is {paths}."
        )
    return _gfa.noise(steps, paths, scrambles, seed, model.input_driven, thermal, graded)


def _standard_error(values):
    """Of the mean over the scrambles, the first axis."""
    count = values.shape[0]
    if count == 1:
        return jnp.full_like(values[0], jnp.nan)
    return values.std(0, ddof=1) / count**0.5


def _with_resolution(values, cell):
    """The same for results of a bisection that ends in cells."""
    return jnp.sqrt(_standard_error(values) ** 2 + cell**2 / 12)
