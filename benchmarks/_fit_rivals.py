"""One fit by several means, each a `prepare() -> solve`, where `solve(task)` returns a `Solution`.

What `prepare` makes is shared by all tasks; what is compiled, is compiled in the first call.
"""

import functools
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import hopfax as hx

from ._rivals import Span
from ._workloads import BIAS

P, TAU, KAPPA = 4, 20.0, 6.0
ROUNDS, SAVES = 2, 161  # what is seen of the true network
TARGET = 1e-3  # mean squared error of saliencies at which a fit has arrived
STEPS = 500  # of Adam, at most
RATE = 0.5  # of Adam: with 0.02 to 0.2 it arrives less often, and later
WINDOWED = 4e-4  # the same in windows, which start a little off (3e-4 with true parameters)
TOLERANCE = 1e-6  # of adaptive solvers
EXACT = hx.EventDriven(order=24, tol=1e-14)


class Task(NamedTuple):
    """A cycle of a hidden order, what was seen of it, and where a fit of it begins."""

    order: np.ndarray
    ts: np.ndarray
    saliency: np.ndarray  # (T, P), from the start on
    switches: np.ndarray  # times
    kappa: float
    logits: np.ndarray  # of the columns of the transition matrix

    @property
    def start(self) -> np.ndarray:
        """Saliencies at the start, which are known."""
        return self.saliency[0]


class Solution(NamedTuple):
    """The fitted network, seconds on the clock, and steps of the optimiser (the last one's)."""

    network: hx.TwoTimescaleHopfield
    seconds: float
    steps: int


def task(seed: int) -> Task:
    """A random order, and a start with logits of unit variance and another gain."""
    rng = np.random.default_rng(seed)
    order, logits = rng.permutation(P), rng.normal(size=(P, P))
    matrix = np.zeros((P, P))
    matrix[np.roll(order, -1), order] = 1.0
    true, start = network(KAPPA, matrix), 4.0 * np.eye(P)[order[0]]
    ts = np.linspace(0.0, 40.0 * P * ROUNDS, SAVES)
    run = hx.simulate(true, true.init(saliency=start), ts, method=EXACT)
    switches = np.asarray(hx.observables.switch_times(run))[: P * ROUNDS]
    return Task(order, ts, np.asarray(run.saliency), switches, 8.0, logits)


def network(kappa, transition) -> hx.TwoTimescaleHopfield:
    """The network with these parameters."""
    return hx.TwoTimescaleHopfield(
        memories(), jnp.asarray(transition), kappa=kappa, tau=TAU, bias=BIAS
    )


@functools.cache
def memories() -> hx.patterns.Patterns:
    """Those of every task; made when it is known in which precision."""
    return hx.patterns.hadamard(list(range(1, P + 1)), 16)


def mean_square(given: Task, fitted: hx.TwoTimescaleHopfield) -> float:
    """The mean squared error of the saliencies of a fitted network, by its exact run."""
    state = fitted.init(saliency=given.start)
    run = hx.simulate(fitted, state, given.ts, method=EXACT, throw=False)
    return float(np.mean(np.square(np.asarray(run.saliency) - given.saliency)))


def sequence():
    """`hx.fit_sequence`, from the switch times."""

    def solve(given: Task) -> Solution:
        begin = time.perf_counter()
        memory = np.tile(given.order, ROUNDS)
        times = np.concatenate([[0.0], given.switches])
        events = hx.Events(memory, times[:-1], end=times[-1])
        blank = network(given.kappa, np.zeros((P, P)))
        found = _quiet(hx.fit_sequence, blank, events, progress=False)
        steps = 0 if found.fit is None else int(found.fit.steps)
        return Solution(found.network, time.perf_counter() - begin, steps)

    return solve


def windows():
    """`hx.fit` by least squares on the saliencies, cut into a window a dwell."""
    return _fitted(_cut, _all_windows, WINDOWED)


def windows_adam():
    """The same by Adam."""
    return _fitted(_cut, _all_windows, WINDOWED, optax.adam(RATE))


def path():
    """`hx.fit` by least squares on the saliencies of the whole run."""
    return _fitted(_whole, _whole_path, TARGET)


def path_adam():
    """The same by Adam."""
    return _fitted(_whole, _whole_path, TARGET, optax.adam(RATE))


def diffrax_adam():
    """diffrax on the classes in the span of the patterns, and optax, as one would write it."""
    return _adam(lambda given: (given.ts[None], given.saliency[None], given.saliency[:1] + BIAS))


def diffrax_windows():
    """The same with the trace cut into a window a dwell, as in `windows`."""

    def pieces(given: Task):
        cut = _cut(given)
        return cut.terms[0].ts, cut.terms[0].values, cut.init["weights"] + BIAS

    return _adam(pieces, WINDOWED)


def torch_adam():
    """torchdiffeq's dopri5 on the same, differentiated through its steps, and torch's Adam."""
    import torch
    from torchdiffeq import odeint

    torch.set_num_threads(1)  # arrays of four numbers
    whole = _span()
    form = Span(*(torch.tensor(part) for part in whole[:3]), whole.tau)

    def solve(given: Task) -> Solution:
        begin = time.perf_counter()
        ts, saliency = torch.tensor(given.ts), torch.tensor(given.saliency)
        start = torch.cat([saliency[0] + BIAS, saliency[0]])
        kappa = torch.tensor(np.log(given.kappa), requires_grad=True)
        logits = torch.tensor(given.logits, requires_grad=True)
        optimizer = torch.optim.Adam([kappa, logits], lr=RATE)
        best, least, made = None, np.inf, 0
        while made < STEPS and least > TARGET:
            own = form._replace(transposed=logits.softmax(0).T)
            gain = kappa.exp()

            def slopes(t, state, own=own, gain=gain):
                return torch.cat(own.slopes(gain, state[:P], state[P:]))

            states = odeint(slopes, start, ts, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5")
            value = (states[:, P:] - saliency).square().mean()
            if value.item() < least:
                matrix = logits.detach().softmax(0).numpy().copy()
                best, least = (gain.item(), matrix), value.item()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            made += 1
        return Solution(network(*best), time.perf_counter() - begin, made)

    return solve


class Rival(NamedTuple):
    """A way to fit, and which share of the seeds it is tried with."""

    prepare: Callable[[], Callable[[Task], Solution]]
    share: float


RIVALS = {
    rival.prepare.__name__: rival
    for rival in (
        Rival(sequence, 1.0),
        Rival(windows, 1.0),
        Rival(windows_adam, 1.0),
        Rival(path, 1.0),
        Rival(path_adam, 1.0),
        Rival(diffrax_adam, 1.0),
        Rival(diffrax_windows, 1.0),
        Rival(torch_adam, 0.1),
    )
}


def _cut(given: Task) -> hx.losses.Recording:
    return hx.losses.shooting(given.ts, given.saliency, windows=P * ROUNDS)


def _whole(given: Task) -> hx.losses.Recording:
    return hx.losses.saliency_path(given.ts, given.saliency, init=dict(saliency=given.start))


def _all_windows(model):
    return hx.losses.each(*model, derivative="forward")


def _whole_path(model):
    fitted, recording = model
    return recording(fitted, derivative="forward")


def _fitted(record: Callable, loss: Callable, target: float, optimizer=None):
    """`hx.fit` of the gain and a stochastic matrix to what `record` makes of a task, until the mean
    squared error is below `target`, which it looks at every 20 steps."""

    def solve(given: Task) -> Solution:
        begin = time.perf_counter()
        matrix, recording = np.exp(given.logits), record(given)
        enough = target * recording.terms[0].values.size / 2
        found = _quiet(
            hx.fit,
            (network(given.kappa, matrix / matrix.sum(0)), recording),
            loss,
            where=lambda model: (model[0].kappa, model[0].transition),
            constraint=(hx.constraints.Positive(), hx.constraints.Simplex()),
            optimizer=optimizer,
            steps=STEPS,
            tolerance=1e-4,
            derivative="forward",
            callback=lambda progress: progress.loss <= enough,
            progress=False,
        )
        return Solution(found.model[0], time.perf_counter() - begin, int(found.steps))

    return solve


def _adam(pieces: Callable, target: float = TARGET):
    """diffrax and optax on what `pieces` makes of a task: times, saliencies and the weights of the
    field at the start, each with a leading axis of windows, until the mean squared error is below
    `target`."""
    form, optimizer = _span(), optax.adam(RATE)
    controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)

    def error(own, kappa, ts, saliency, weights):
        saliencies = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, state, _: own.slopes(kappa, *state)),
            diffrax.Tsit5(),
            ts[0],
            ts[-1],
            None,
            (weights, saliency[0]),
            saveat=diffrax.SaveAt(ts=ts, fn=lambda t, state, _: state[1]),
            stepsize_controller=controller,
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
            max_steps=4096,
            throw=False,
        ).ys
        return jnp.mean(jnp.square(saliencies - saliency))

    def loss(parameters, seen):
        own = form._replace(transposed=jax.nn.softmax(parameters["logits"], axis=0).T)
        kappa = jnp.exp(parameters["kappa"])
        return jax.vmap(lambda *window: error(own, kappa, *window))(*seen).mean()

    @jax.jit
    def step(parameters, state, seen):
        value, slope = jax.value_and_grad(loss)(parameters, seen)
        updates, state = optimizer.update(slope, state, parameters)
        return value, optax.apply_updates(parameters, updates), state

    def solve(given: Task) -> Solution:
        begin = time.perf_counter()
        parameters = {"kappa": jnp.log(given.kappa), "logits": jnp.asarray(given.logits)}
        state, seen = optimizer.init(parameters), jax.tree.map(jnp.asarray, pieces(given))
        best, least, made = parameters, np.inf, 0
        while made < STEPS and least > target:
            value, following, state = step(parameters, state, seen)
            if float(value) < least:
                best, least = parameters, float(value)
            parameters, made = following, made + 1
        seconds = time.perf_counter() - begin
        matrix = jax.nn.softmax(best["logits"], axis=0)
        return Solution(network(jnp.exp(best["kappa"]), matrix), seconds, made)

    return solve


def _span() -> Span:
    """The network on its site classes, but for the transition matrix."""
    classes = memories().site_classes()
    xi, share = np.asarray(classes.patterns.xi), np.asarray(classes.counts) / memories().N
    return Span(xi, (share * xi).T, np.zeros((P, P)), TAU)


def _quiet(call: Callable, *args, **options):
    """A call whose FitWarnings are left to the measures taken here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hx.FitWarning)
        return call(*args, **options)
