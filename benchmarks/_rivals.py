"""The solvers that are compared, each `workload -> run`, where `run()` returns NumPy overlaps.

A run is float64 and returns (lanes, saves, P). What a solver may know beforehand (the patterns, the
gains) is prepared outside `run`; what it compiles, it compiles in the first call.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import hopfax as hx

from ._workloads import BIAS, Workload

STEP = 0.1  # of the hand-written RK4, in fast time constants


class Span(NamedTuple):
    r"""The network in the span of its patterns, on arrays of NumPy, JAX or torch.

    $\dot y = -y + z m + b$, $\tau \dot z = -z + \kappa A m$, with $m$ read from one value a class.
    """

    encoder: Any  # (P, C)
    decoder: Any  # (C, P)
    transposed: Any  # (P, P), the transposed transition matrix
    tau: float

    def overlaps(self, y):
        """Overlaps of the weights y (..., P)."""
        return (y @ self.encoder).clip(-1.0, 1.0) @ self.decoder

    def slopes(self, kappa, y, z):
        """Time derivatives of y and z."""
        m = self.overlaps(y)
        return z * m + BIAS - y, (kappa * (m @ self.transposed) - z) / self.tau


def span(work: Workload) -> Span:
    """The network of a workload on its site classes, in NumPy."""
    classes = work.patterns.site_classes()
    xi, share = np.asarray(classes.patterns.xi), np.asarray(classes.counts) / work.patterns.N
    return Span(xi, (share * xi).T, np.asarray(hx.cyclic(work.patterns.P)).T, work.tau)


def event_driven(work: Workload):
    """hopfax, by exact events."""
    return _simulated(work, hx.EventDriven(order=12, tol=work.tolerance))


def reference(work: Workload) -> np.ndarray:
    """The overlaps that count as exact."""
    return _simulated(work, hx.EventDriven(order=24, tol=1e-14))()


def simulate(work: Workload):
    """hopfax through diffrax: its smallest form, with its log of switches."""
    return _simulated(work, hx.Diffrax(controller=_controller(work.tolerance)))


def diffrax_matrix(work: Workload):
    """diffrax on y and z as two vectors."""
    form = span(work)
    return _diffrax(work, form.slopes, form.overlaps, work.starts())


def diffrax_scalars(work: Workload, solver=diffrax.Tsit5(), tolerance: float | None = None):
    """diffrax on y and z as 2P scalars with all sums written out: its fastest form when small."""
    slopes, overlaps, starts = _scalars(work)
    return _diffrax(work, slopes, overlaps, starts, solver, tolerance)


def diffrax_tight(work: Workload):
    """The same with Dopri8 at 1e-12, about as exact as a Runge-Kutta method gets over kinks."""
    return diffrax_scalars(work, diffrax.Dopri8(), 1e-12)


def diffrax_low_rank(work: Workload):
    """diffrax on all neurons x and z, with the field in the span of the patterns."""
    xi, transition = work.patterns.xi, hx.cyclic(work.patterns.P)

    def overlaps(x):
        return xi @ x.clip(-1.0, 1.0) / work.patterns.N

    def slopes(kappa, x, z):
        m = overlaps(x)
        return (z * m + BIAS) @ xi - x, (kappa * (transition @ m) - z) / work.tau

    y, z = work.starts()
    return _diffrax(work, slopes, overlaps, (y @ xi, z))


def diffrax_dense(work: Workload):
    """diffrax on all neurons x and z, with the matrix of couplings built at every evaluation."""
    xi, transition = work.patterns.xi, hx.cyclic(work.patterns.P)
    N = work.patterns.N

    def overlaps(x):
        return xi @ x.clip(-1.0, 1.0) / N

    def slopes(kappa, x, z):
        couplings = (xi.T * z) @ xi / N
        field = couplings @ x.clip(-1.0, 1.0) + BIAS * xi.sum(0)
        return field - x, (kappa * (transition @ overlaps(x)) - z) / work.tau

    y, z = work.starts()
    return _diffrax(work, slopes, overlaps, (y @ xi, z))


def rk4(work: Workload):
    """A hand-written `lax.scan` of Runge-Kutta steps of fixed size."""
    slopes, overlaps, starts = _scalars(work)
    steps = round(float(work.ts[1] - work.ts[0]) / STEP)
    kappas = jnp.asarray(work.kappas)

    def slope(state):
        return slopes(kappas, *state)

    def moved(state, h, rate):
        return jax.tree.map(lambda s, r: s + h * r, state, rate)

    def step(_, state):
        k1 = slope(state)
        k2 = slope(moved(state, STEP / 2, k1))
        k3 = slope(moved(state, STEP / 2, k2))
        k4 = slope(moved(state, STEP, k3))
        mean = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
        return moved(state, STEP, mean)

    def to_next_save(state, _):
        return jax.lax.fori_loop(0, steps, step, state), overlaps(state[0])

    @jax.jit
    def solve(state):
        saves = jax.lax.scan(to_next_save, state, length=len(work.ts))[1]
        return saves.transpose(2, 0, 1)

    return lambda: np.asarray(solve(starts))


def dop853(work: Workload):
    """A loop over SciPy's explicit method of order 8."""
    from scipy.integrate import solve_ivp

    def lane(rate, start):
        horizon = (work.ts[0], work.ts[-1])
        tolerances = dict(rtol=work.tolerance, atol=work.tolerance)
        return solve_ivp(rate, horizon, start, "DOP853", t_eval=work.ts, **tolerances).y.T

    return _looped(work, lane)


def lsoda(work: Workload):
    """A loop over ODEPACK's LSODA, which chooses between Adams and implicit methods."""
    from scipy.integrate import odeint

    def lane(rate, start):
        tolerances = dict(rtol=work.tolerance, atol=work.tolerance, mxstep=10**6)
        return odeint(rate, start, work.ts, tfirst=True, **tolerances)

    return _looped(work, lane)


def torchode(work: Workload):
    """torchode's Tsit5, every lane at steps of its own."""
    import torch
    import torchode

    form, slopes, start, ts = _torch(work)
    term = torchode.ODETerm(slopes)
    controller = torchode.PIDController(work.tolerance, work.tolerance, 0.3, 0.4, 0.0, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Tsit5(term), controller)
    problem = torchode.InitialValueProblem(y0=start, t_eval=ts.expand(len(start), -1))

    @torch.no_grad()
    def run():
        return form.overlaps(solver.solve(problem).ys[..., : work.patterns.P]).numpy()

    return run


def torchdiffeq(work: Workload):
    """torchdiffeq's dopri5, all lanes at the same steps."""
    import torch
    from torchdiffeq import odeint

    form, slopes, start, ts = _torch(work)

    @torch.no_grad()
    def run():
        ys = odeint(slopes, start, ts, rtol=work.tolerance, atol=work.tolerance, method="dopri5")
        return form.overlaps(ys[..., : work.patterns.P]).transpose(0, 1).numpy()

    return run


class Rival(NamedTuple):
    """A solver, on how many lanes it is run, and the largest error at which its time counts (if it
    is above that of the workload)."""

    prepare: Callable[[Workload], Callable[[], np.ndarray]]
    lanes: int
    gate: float


EVENT_DRIVEN = Rival(event_driven, 256, 0.0)
RIVALS = {
    rival.prepare.__name__: rival
    for rival in (
        Rival(simulate, 256, 1e-2),
        Rival(diffrax_matrix, 256, 1e-2),
        Rival(diffrax_scalars, 256, 1e-2),
        Rival(diffrax_tight, 256, 1e-5),
        Rival(diffrax_low_rank, 256, 1e-2),
        Rival(diffrax_dense, 4, 1e-2),
        Rival(rk4, 256, 1e-1),
        Rival(dop853, 16, 1e-2),
        Rival(lsoda, 16, 1e-2),
        Rival(torchode, 256, 1e-2),
        Rival(torchdiffeq, 256, 1e-2),
    )
}


def _controller(tolerance):
    return diffrax.PIDController(rtol=tolerance, atol=tolerance, pcoeff=0.3, icoeff=0.4)


def _simulated(work, method):
    solve = jax.jit(functools.partial(work.overlaps, method))
    return lambda: np.asarray(solve(work.kappas))


def _diffrax(work, slopes, overlaps, starts, solver=diffrax.Tsit5(), tolerance=None):
    """diffrax on the state `starts`, a pair of which `overlaps` reads the first."""
    ts = jnp.asarray(work.ts)
    term = diffrax.ODETerm(lambda t, state, kappa: slopes(kappa, *state))
    saveat = diffrax.SaveAt(ts=ts, fn=lambda t, state, kappa: overlaps(state[0]))

    def lane(kappa, start):
        return diffrax.diffeqsolve(
            term,
            solver,
            ts[0],
            ts[-1],
            None,
            start,
            kappa,
            saveat=saveat,
            stepsize_controller=_controller(tolerance or work.tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=None,
        ).ys

    solve, given = jax.jit(jax.vmap(lane)), (work.kappas, starts)
    return lambda: np.asarray(solve(*given))


def _scalars(work):
    """Slopes, overlaps and starts with every sum over patterns and classes written out."""
    form, P = span(work), work.patterns.P

    def read(y):
        rates = [jnp.clip(_weighted(y, column), -1.0, 1.0) for column in form.encoder.T]
        return [_weighted(rates, column) for column in form.decoder.T]

    def slopes(kappa, y, z):
        m = read(y)
        fast = tuple(z[mu] * m[mu] + BIAS - y[mu] for mu in range(P))
        return fast, tuple((kappa * m[mu - 1] - z[mu]) / work.tau for mu in range(P))

    starts = tuple(tuple(part.T) for part in work.starts())
    return slopes, lambda y: jnp.stack(read(y)), starts


def _weighted(values, weights):
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def _looped(work, lane):
    """A loop over lanes that hands each its right-hand side and start."""
    form, P = span(work), work.patterns.P
    starts = np.concatenate(work.starts(), axis=1)

    def rate(kappa, t, state):
        return np.concatenate(form.slopes(kappa, state[:P], state[P:]))

    def run():
        lanes = zip(work.kappas, starts, strict=True)
        states = [lane(functools.partial(rate, kappa), start) for kappa, start in lanes]
        return form.overlaps(np.stack(states)[..., :P])

    return run


def _torch(work):
    """The span form in torch, its right-hand side for all lanes, their starts and save times."""
    import torch

    form, P = span(work), work.patterns.P
    form = Span(*map(torch.tensor, form[:-1]), form.tau)
    kappas = torch.tensor(work.kappas)[:, None]

    def slopes(t, state):
        return torch.cat(form.slopes(kappas, state[:, :P], state[:, P:]), 1)

    starts = torch.tensor(np.concatenate(work.starts(), axis=1))
    return form, slopes, starts, torch.tensor(work.ts)
