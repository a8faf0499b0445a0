r"""The same networks once more, in NumPy and SciPy: slow, dense and obvious.

Nothing here comes from hopfax or JAX, so agreement with the library is evidence. Every network
lives on all $N$ sites and builds its weight matrix $W$ ($N \times N$). Patterns are rows, `(P, N)`;
time is in units of the fast time constant; a state is `y = concatenate([field, saliency])`, or the
field alone. Right-hand sides are `rhs(t, y, activation, **parameters)`.

`integrate` is exact to about 1e-11: between kinks of the hard tanh it follows the smooth
continuation of the current branch, so that no step of the Runge-Kutta method ever sees a kink.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import DOP853, quad
from scipy.linalg import hadamard as sylvester
from scipy.optimize import brentq

READOUTS = {
    "linear": lambda m: m,
    "abs": np.abs,
    "square": np.square,
    "relu": lambda m: np.maximum(m, 0.0),
}


# ---------------------------------------------------------------------------------------- patterns


def hadamard(columns, N):
    """Columns of the smallest Sylvester matrix that has them, as rows, repeated up to N sites."""
    order = 1 << int(max(columns)).bit_length()
    if N % order:
        raise ValueError(f"N must be a multiple of {order}, got {N}.")
    return np.tile(sylvester(order).T[list(columns)].astype(float), (1, N // order))


def cyclic(P):
    """Transition matrix [next, current] in which memory mu calls mu + 1."""
    transition = np.zeros((P, P))
    for mu in range(P):
        transition[(mu + 1) % P, mu] = 1.0
    return transition


# ------------------------------------------------------------------------------------- activations


@dataclass(frozen=True)
class HardTanh:
    """clip(gain x, -1, 1); `integrate` and `energy` know that it has kinks at |x| = 1 / gain."""

    gain: float = 1.0

    def __call__(self, x):
        return np.clip(self.gain * x, -1.0, 1.0)


hard_tanh = HardTanh()


def tanh(gain):
    """x -> tanh(gain x)."""
    return lambda x: np.tanh(gain * x)


# ---------------------------------------------------------------------------------- building blocks


def readers(xi, learning="hebbian"):
    """The rows that read the overlaps from the rates: xi / N, or the pseudo-inverse of xi^T."""
    return xi / xi.shape[1] if learning == "hebbian" else np.linalg.pinv(xi.T)


def overlaps(xi, rates, learning="hebbian"):
    """What the slow equation reads, (P,)."""
    return readers(xi, learning) @ rates


def weights(xi, alpha, learning="hebbian", keep_diagonal=True):
    """The dense (N, N) weight matrix; `alpha` is one weight per memory, or a (P, P) matrix."""
    alpha = np.asarray(alpha, dtype=float)
    inner = np.diag(alpha) if alpha.ndim == 1 else alpha
    W = xi.T @ inner @ readers(xi, learning)
    if not keep_diagonal:
        np.fill_diagonal(W, 0.0)
    return W


def seed(xi, bias):
    """The input current that a bias, a number or (P,), makes at the sites."""
    return xi.T @ (np.ones(len(xi)) * bias)


# --------------------------------------------------------------------------------- right-hand sides


def rhs_two_timescale(
    t,
    y,
    activation,
    *,
    xi,
    transition,
    kappa,
    tau,
    bias: Any = 0.0,
    current: Any = 0.0,
    readout="linear",
    learning="hebbian",
    keep_diagonal=True,
):
    """Field under W(z), slow saliency z driven by kappa A f(m); kappa, tau of the driven memory."""
    P, N = xi.shape
    x, z = y[:N], y[N:]
    rates = activation(x)
    drive = transition @ READOUTS[readout](overlaps(xi, rates, learning))
    dx = -x + weights(xi, z, learning, keep_diagonal) @ rates + seed(xi, bias) + current
    dz = (-z + kappa * np.ones(P) * drive) / (tau * np.ones(P))
    return np.concatenate([dx, dz])


def rhs_one_timescale(t, x, activation, *, xi, Q, bias: Any = 0.0, current: Any = 0.0):
    """Constant weights xi^T Q xi / N with a (P, P) matrix Q."""
    return -x + weights(xi, Q) @ activation(x) + seed(xi, bias) + current


def rhs_slow_synapse(
    t,
    y,
    activation,
    *,
    xi,
    transition,
    strength,
    tau,
    stages=1,
    bias: Any = 0.0,
    current: Any = 0.0,
    learning="hebbian",
    keep_diagonal=True,
):
    """Constant weights, and a field that the last of `stages` low-pass filters of m drives."""
    P, N = xi.shape
    x, trace = y[:N], y[N:].reshape(stages, P)
    rates = activation(x)
    m = overlaps(xi, rates, learning)
    called = strength * np.ones(P) * (transition @ trace[-1])
    W = weights(xi, np.ones(P), learning, keep_diagonal)
    dx = -x + W @ rates + seed(xi, called + bias) + current
    dtrace = (np.concatenate([[m], trace[:-1]]) - trace) * stages / tau
    return np.concatenate([dx, dtrace.ravel()])


def rhs_idp(t, x, activation, *, xi, stimulus, current: Any = 0.0, keep_diagonal=True):
    """Input-driven plasticity: the weight of every memory is its overlap with the stimulus."""
    alpha = xi @ stimulus / xi.shape[1]
    return -x + weights(xi, alpha, keep_diagonal=keep_diagonal) @ activation(x) + current


def rhs_classic(
    t, x, activation, *, xi, current: Any = 0.0, learning="hebbian", keep_diagonal=True
):
    """The continuous Hopfield network: every memory has weight 1."""
    W = weights(xi, np.ones(len(xi)), learning, keep_diagonal)
    return -x + W @ activation(x) + current


# -------------------------------------------------------------------------------------- integration


class Run(NamedTuple):
    """At the requested times (T, ...), and every crossing of two overlaps, in order of time.

    A row of `crossings` is (time, loser, winner): m_winner - m_loser goes from - to +.
    `leading` tells whether the two were the largest overlaps of all at that time.
    """

    ts: np.ndarray
    x: np.ndarray
    z: np.ndarray
    m: np.ndarray
    crossings: np.ndarray
    leading: np.ndarray

    @property
    def switches(self):
        """Times at which the largest overlap changes hands."""
        return self.crossings[self.leading, 0]


def _root(function, start, stop) -> float:
    """The root of a continuous function between two points of opposite sign."""
    return brentq(function, start, stop, xtol=1e-13)  # pyright: ignore[reportReturnType]


def _branches(activation, x, dx):
    """-1, 0, +1 per site; a site on the kink belongs to the side that it moves to."""
    scaled = activation.gain * x
    saturated = np.abs(scaled) > 1.0
    on_kink = np.abs(np.abs(scaled) - 1.0) < 1e-11
    saturated = np.where(on_kink, scaled * dx > 0, saturated)
    return np.where(saturated, np.sign(scaled), 0.0)


def _frozen(activation, branch):
    """The smooth continuation of the hard tanh from the branch of each site."""
    return lambda x: np.where(branch == 0, activation.gain * x, branch)


def _beyond(activation, branch, x):
    """How far (> 0) the sites have left their branch; `x` is (N, ...)."""
    scaled = activation.gain * x
    branch = branch.reshape(-1, *[1] * (x.ndim - 1))
    return np.where(branch == 0, np.abs(scaled) - 1.0, 1.0 - branch * scaled)


def _first_exit(dense, activation, branch, grid, N):
    """The first time after grid[0] at which a site leaves its branch, or None."""
    tolerance = 1e-13
    outside = _beyond(activation, branch, dense(grid)[:N])[:, 1:] > tolerance
    if not outside.any():
        return None
    k = int(np.argmax(outside.any(axis=0)))  # exits lie between grid[k] and grid[k + 1]

    def root(i):
        def excess(t):
            return _beyond(activation, branch, dense(t)[:N])[i] - tolerance

        start = grid[k]
        return start if excess(start) >= 0 else _root(excess, start, grid[k + 1])

    return min(root(i) for i in np.flatnonzero(outside[:, k]))


def _crossings(read, grid):
    """Rows (time, loser, winner) of the sign changes of m_winner - m_loser along `grid`."""
    m = np.stack([read(t) for t in grid], axis=-1)
    gap = m[None] - m[:, None]  # [loser, winner, time]
    crossed = (gap[..., :-1] < 0) & (gap[..., 1:] > 0)
    crossed &= gap[..., 1:] - gap[..., :-1] > 1e-13  # rounding of equal overlaps is no crossing
    found = []
    for loser, winner, k in np.argwhere(crossed):

        def difference(t, loser=loser, winner=winner):
            now = read(t)
            return now[winner] - now[loser]

        found.append((_root(difference, grid[k], grid[k + 1]), loser, winner))
    return sorted(found)


def integrate(
    rhs,
    xi,
    field,
    saliency,
    ts,
    *,
    activation: Callable = hard_tanh,
    learning="hebbian",
    rtol=1e-12,
    fine=8,
):
    """Follow `rhs(t, y, activation)` from ts[0] by DOP853, restarted at every kink of HardTanh.

    `saliency=None`: the state is the field alone. `fine` points per step are searched for kinks and
    crossings. (The corner at m = 0 of the readouts "abs" and "relu" is left to the step control.)
    """
    N, ts = xi.shape[1], np.asarray(ts, dtype=float)
    y = np.array(field if saliency is None else np.concatenate([field, saliency]), dtype=float)
    t, saved, crossings, leading = ts[0], [y], [], []
    kinked = isinstance(activation, HardTanh)

    while t < ts[-1]:  # one smooth stretch per turn
        smooth, branch = activation, None
        if kinked:
            branch = _branches(activation, y[:N], rhs(t, y, activation)[:N])
            smooth = _frozen(activation, branch)
        solver = DOP853(lambda s, v, f=smooth: rhs(s, v, f), t, y, ts[-1], rtol=rtol, atol=1e-13)
        exit_time = None
        while solver.status == "running" and exit_time is None:
            if message := solver.step():
                raise RuntimeError(message)
            dense = solver.dense_output()
            begin: Any = solver.t_old
            grid = np.linspace(begin, solver.t, fine + 1)
            if kinked:
                exit_time = _first_exit(dense, activation, branch, grid, N)
            if exit_time is not None:
                grid = np.linspace(begin, exit_time, fine + 1)

            def read(s, dense=dense):
                return overlaps(xi, activation(dense(s)[:N]), learning)

            for row in _crossings(read, grid):
                m = read(row[0])
                crossings.append(row)
                leading.append(m[row[1]] >= m.max() - 1e-9)
            saved += [dense(s) for s in ts[(ts > grid[0]) & (ts <= grid[-1])]]
            t, y = grid[-1], dense(grid[-1])
    path = np.array(saved)
    x, z = path[:, :N], path[:, N:]
    m = np.array([overlaps(xi, activation(row), learning) for row in x])
    return Run(ts, x, z, m, np.array(crossings).reshape(-1, 3), np.array(leading, dtype=bool))


def euler_idp(xi, stimulus, field, steps, *, dt=0.01, gain=10.0, noise=None):
    """The Euler steps of the published input-driven-plasticity code; the fields, (steps + 1, N).

    Zeroed diagonal, tanh(gain x), saliency xi u / N. `stimulus`: (N,) or one row per step; `noise`:
    what each step adds, (steps, N), already scaled by sigma sqrt(dt).
    """
    N = xi.shape[1]
    stimuli = np.broadcast_to(stimulus, (steps, N))
    x = np.array(field, dtype=float)
    path = [x]
    for k in range(steps):
        alpha = xi @ stimuli[k] / N
        W = xi.T @ np.diag(alpha) @ xi / N
        W = W - np.diag(np.diag(W))
        x = x + dt * (-x + W @ np.tanh(gain * x))
        if noise is not None:
            x = x + noise[k]
        path.append(x)
    return np.array(path)


# ------------------------------------------------------------------------------------------- energy


def site_energy(activation, x):
    """The integral of the inverse of psi from 0 to psi(x), as x psi(x) - int_0^x psi, by quad."""
    kinks = [k / activation.gain for k in (-1, 1)] if isinstance(activation, HardTanh) else None
    inside = kinks and [k for k in kinks if min(0, x) < k < max(0, x)]
    area, _ = quad(activation, 0.0, x, points=inside or None, epsabs=1e-13, epsrel=1e-12)
    return x * activation(x) - area


def energy(
    x, alpha, xi, *, activation: Callable = hard_tanh, current: Any = 0.0, keep_diagonal=True
):
    """Site terms - psi W psi / 2 - current . psi; `current` includes the seed of a bias."""
    rates = activation(x)
    W = weights(xi, alpha, keep_diagonal=keep_diagonal)
    sites = sum(site_energy(activation, value) for value in x)
    return sites - rates @ W @ rates / 2 - np.sum(current * rates)


# ---------------------------------------------------------------------------------------- scenarios
#
# Problems with the values that other codes (an event-restarted DOP853, checked against Radau) gave
# for them. `columns` of the Sylvester matrix of order N count from 0. The start is `saliency` and
# either `field`, N values, or `span`, the weights c of the field xi^T c. HardTanh, a linear readout
# and a cyclic transition matrix unless said. `switches`: when the largest overlap changes hands;
# `m`, `z`: {time: values}. `tol` is what all these numbers are good for.

_RING: dict[str, Any] = dict(
    network="two_timescale", columns=(1, 2, 4), N=8, kappa=5.0, tau=20.0, bias=0.02
)

SCENARIOS: dict[str, dict[str, Any]] = {
    # a sustained cycle of three memories
    "S1": _RING
    | dict(
        saliency=(4.0, 0.0, 0.0),
        span=(4.02, 0.02, 0.02),
        switches=(30.81287824, 61.08287614, 91.22484368, 121.54441031),
        m={60.0: (0.0107099884, 0.9171679707, 0.0828320293)},
        z={
            25.0: (1.1460191874, 3.5674760157, 0.0),
            60.0: (0.2088974367, 0.9068869877, 3.8385973208),
            140.0: (0.3434552314, 1.5557258772, 3.1033220388),
        },
        tol=1e-8,
    ),
    # below threshold: nine changes of the lead, the last two between weak overlaps, then collapse
    "S2": dict(
        collapses=True,
        network="two_timescale",
        columns=(1, 2, 4, 8),
        N=16,
        kappa=3.0,
        tau=50.0,
        bias=0.01,
        saliency=(4.0, 0.0, 0.0, 0.0),
        span=(4.01, 0.01, 0.01, 0.01),
        switches=(
            *(74.640732, 123.037845, 161.476054, 193.508778, 222.726174),
            *(250.260374, 276.805325, 302.811145, 329.566442),
        ),
        m={500.0: (0.01060996, 0.01075356, 0.01059271, 0.01051589)},
        z={300.0: (1.17571567, 0.34317802, 0.51753923, 0.83314961)},
        tol=2e-6,
    ),
    # three memories are sustained although the gain is below 4; `tenth` is the tenth switch
    "S3": dict(
        network="two_timescale",
        columns=(1, 2, 4),
        N=8,
        kappa=3.5,
        tau=100.0,
        bias=0.01,
        saliency=(4.0, 0.0, 0.0),
        span=(4.01, 0.01, 0.01),
        switches=(143.984407, 248.102660, 335.934802, 420.301062),
        tenth=917.988655,
        m={},
        z={},
        tol=1e-5,
    ),
    # a start outside the span of the patterns; the third is the product of the first two
    "S4": dict(
        network="two_timescale",
        columns=(1, 2, 3),
        N=8,
        kappa=5.0,
        tau=10.0,
        bias=0.02,
        saliency=(2.0, 1.0, 0.5),
        field=tuple(float(v) for v in np.sin(np.arange(1, 9))),
        switches=None,
        m={
            2.0: (-0.0165056179, -0.0176608691, -0.0291044004),
            10.0: (0.1106252180, 0.0443301387, 0.0269464151),
        },
        z={10.0: (0.7571075089, 0.5638943006, 0.2562375228)},
        tol=1e-8,
    ),
    # S1 with psi(x) = tanh(2 x), started without the seed in the field
    "S5": _RING
    | dict(
        tanh_gain=2.0,
        saliency=(4.0, 0.0, 0.0),
        span=(4.0, 0.0, 0.0),
        switches=(34.78398824, 69.49985160, 104.21239040, 139.03172098),
        m={25.0: (0.9843279146, 0.0014881623, 0.0012413188)},
        z={140.0: (0.6830690636, 3.8320115280, 0.4058995319)},
        tol=1e-8,
    ),
    # one timescale: symmetric weights 2, transition weights 1.5
    "S6": dict(
        network="one_timescale",
        columns=(1, 2, 4, 8),
        N=16,
        self_strength=2.0,
        transition_strength=1.5,
        saliency=None,
        span=(2.0, 0.05, 0.0, 0.0),
        switches=(2.814472253,),
        m={
            2.0: (0.7402704968, 0.2597295032, 0.0882830636, 0.0202920940),
            40.0: (0.1978831585, 0.3741051974, 0.5521168415, 0.3758948026),
        },
        z={},
        tol=1e-8,
    ),
    # S1 with a transition matrix that is no permutation; rows are [next, current]
    "S7": _RING
    | dict(
        transition=((0.06, 0.0, 1.0), (1.0, 0.06, 0.0), (0.5, 1.0, 0.06)),
        saliency=(4.0, 0.0, 0.0),
        span=(4.02, 0.02, 0.02),
        switches=(36.38942280, 73.43432220),
        m={},
        z={60.0: (0.2803705249, 1.4835268711, 4.1138678203)},
        tol=1e-8,
    ),
    # S1 with an even readout and a negative seed of memory 2: the mirrored memory is retrieved
    "S8": _RING
    | dict(
        readout="abs",
        bias=(0.02, -0.02, 0.02),
        saliency=(4.0, 0.0, 0.0),
        span=(4.02, -0.02, 0.02),
        switches=None,
        m={60.0: (0.0107099884, -0.9171679707, 0.0828320293)},
        z={60.0: (0.2088974367, 0.9068869877, 3.8385973208)},
        tol=1e-8,
    ),
    # input-driven plasticity: saliency, overlaps and energy of one given state
    "S9": dict(
        network="input_driven",
        columns=(1, 2, 4),
        N=8,
        stimulus=(2.0, 1.0, 0.5),
        alpha=(2.0, 1.0, 0.5),
        field=(0.5, -1.5, 0.25, 2.0, -0.75, 1.25, -0.1, 0.9),
        overlaps=(-0.25, -0.2875, -0.0375),
        energy=1.5140625,
        tol=1e-14,
    ),
}

# Derivatives of the switch times with respect to the gain, both in units of the slow time constant.
SWITCH_GRADIENT: dict[str, Any] = dict(
    network="two_timescale",
    columns=(1, 2, 4, 8),
    N=16,
    kappa=5.0,
    tau=20.0,
    bias=0.01,
    saliency=(4.0, 0.0, 0.0, 0.0),
    span=(4.01, 0.01, 0.01, 0.01),
    times=(1.54273722, 3.05901044, 4.57010635, 6.07958681),
    by_kappa=(-0.01830959, 0.15460022, 0.37979711, 0.61995762),
    tol=1e-6,
)


def patterns_of(scenario):
    """The (P, N) patterns of a scenario."""
    return hadamard(scenario["columns"], scenario["N"])


def start_of(scenario):
    """(field, saliency) at time 0; the saliency is None in networks without one."""
    field = scenario.get("field")
    if field is None:
        field = patterns_of(scenario).T @ np.array(scenario["span"])
    saliency = scenario.get("saliency")
    return np.array(field), None if saliency is None else np.array(saliency)


def transition_of(scenario):
    """The transition matrix of a scenario, cyclic unless it says otherwise."""
    P = len(scenario["columns"])
    return np.array(scenario.get("transition", cyclic(P)))


def rhs_of(scenario):
    """The right-hand side of S1 to S8."""
    xi = patterns_of(scenario)
    if scenario["network"] == "one_timescale":
        strengths = scenario["self_strength"], scenario["transition_strength"]
        Q = strengths[0] * np.eye(len(xi)) + strengths[1] * cyclic(len(xi))
        return partial(rhs_one_timescale, xi=xi, Q=Q)
    return partial(
        rhs_two_timescale,
        xi=xi,
        transition=transition_of(scenario),
        kappa=scenario["kappa"],
        tau=scenario["tau"],
        bias=np.array(scenario["bias"]),
        readout=scenario.get("readout", "linear"),
    )


def run_scenario(scenario, ts):
    """Integrate S1 to S8 from ts[0] = 0 and report at `ts`."""
    gain = scenario.get("tanh_gain")
    activation = hard_tanh if gain is None else tanh(gain)
    start = start_of(scenario)
    return integrate(rhs_of(scenario), patterns_of(scenario), *start, ts, activation=activation)
