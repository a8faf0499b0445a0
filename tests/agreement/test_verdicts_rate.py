"""Every verdict of the theory of rate memories against runs: in NumPy, written apart from hopfax.

Draws cross the edges of stability and of the design, kinks included. What is marginal, so that a
run of this length does not tell, is not judged, and counted.
"""

import numpy as np
import pytest

import hopfax as hx

rate = hx.theory.rate
KINDS = {
    "logistic": (hx.Logistic, lambda v: 1 / (1 + np.exp(np.clip(2 - 4 * v, -700, 700)))),
    "tanh": (hx.RectifiedTanh, lambda v: np.tanh(np.maximum(v, 0))),
    "sigmoid": (hx.HardSigmoid, lambda v: np.clip(v, 0, 1)),
    "linear": (hx.ThresholdLinear, lambda v: np.maximum(v, 0)),
}
many = pytest.mark.parametrize(
    "draws", [24, pytest.param(240, marks=[pytest.mark.slow, pytest.mark.long])]
)


def drawn(rng, kind):
    """An activation, its NumPy function, and currents around its edges; a kink now and then."""
    made, unit = KINDS[kind]
    gain = np.exp(rng.uniform(0.0, 2.2))
    start = rng.uniform(-0.4, 0.6) if kind == "linear" else rng.uniform(0.0, 0.7)
    a, b = start - rng.uniform(-0.3 / gain, 0.6), start + rng.uniform(0.3, 1.5) / gain
    if rng.uniform() < 0.15:
        a = start
    if rng.uniform() < 0.15:
        b = start + 1 / gain
    b = max(b, a + 0.05)
    return made(gain, start), (lambda y: unit(gain * (y - start))), a, b


def settle(field, x, time, dt=0.02):
    """Runge-Kutta steps; runs that leave all bounds stand still there."""
    for _ in range(round(time / dt)):
        k1 = field(x)
        k2 = field(x + dt / 2 * k1)
        k3 = field(x + dt / 2 * k2)
        k4 = field(x + dt * k3)
        x = np.clip(x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4), -1e6, 1e6)
    return x


def matrix(xi, f, a, b, learning):
    """W by its definition."""
    P, N = xi.shape
    low, high = f(a), f(b)
    if learning == "pseudo_inverse":
        return (a + (b - a) * xi).T @ np.linalg.pinv((low + (high - low) * xi).T)
    q = xi.mean()
    gram = xi @ xi.T
    r = gram[~np.eye(P, dtype=bool)].mean() / (q * N) if learning == "covariance" else q
    mean = (1 - q) * low + q * high
    beta = q * ((1 - r) * low + r * high) / mean
    gamma = ((1 - beta) * a + beta * b) / mean
    if learning == "projection":
        Z = (xi - q).T
        return (b - a) / (high - low) * Z @ np.linalg.pinv(Z) + gamma / N
    return (b - a) / (q * (1 - r) * (high - low)) / N * (xi - beta).T @ (xi - beta) + gamma / N


def patterns(rng, learning, N=20, P=3):
    """Memories of equal activity, and others where the learning takes them."""
    xi = np.zeros((P, N))
    for row in xi:
        row[rng.permutation(N)[: N // 4]] = 1
    if learning != "projection" and rng.uniform() < 0.5:
        xi[0, rng.permutation(N)[: N // 3]] = 1
    if learning == "covariance" and rng.uniform() < 0.5:
        xi = np.zeros((P, N))
        for mu in range(P):
            xi[mu, 0] = xi[mu, 1 + 4 * mu : 5 + 4 * mu] = 1  # equal overlaps: an exact design
    return xi


def slopes(f, y):
    """The steeper of both one-sided slopes."""
    h = 1e-7
    return np.maximum((f(y + h) - f(y)) / h, (f(y) - f(y - h)) / h)


def verdict_of_runs(field, rest, neurons, dt, rng):
    """Whether all of eight runs from beside `rest` come back (and not one goes away)."""
    starts = np.repeat(rest[None], 8, 0)
    starts[:, :neurons] = np.maximum(rest[:neurons] + 1e-5 * rng.normal(size=(8, neurons)), 0)
    before = abs(starts - rest).max(1)
    after = abs(settle(field, starts, 60, dt) - rest).max(1)
    back, away = (after < 0.5 * before).all(), (after > 2 * before).any()
    assert back != away
    return back


@pytest.mark.slow
@many
def test_memories_and_delayed_inhibition(draws):
    """`memory_eigenvalues`, `dale_eigenvalues`, `dale_inhibition`: designs, kinks, crosstalk."""
    rng, N = np.random.default_rng(0), 20
    seen = {True: 0, False: 0, "none": 0, "marginal": 0}
    for k in range(draws):
        kind, learning = list(KINDS)[k % 4], ("projection", "covariance", "pseudo_inverse")[k % 3]
        phi, f, a, b = drawn(rng, kind)
        xi, tau, more = patterns(rng, learning), np.exp(rng.uniform(-2, 2.5)), rng.uniform(1, 7)
        W = matrix(xi, f, a, b, learning)
        c = more * max(0.0, -N * W.min())
        least = rate.dale_inhibition(xi, phi, a, b, learning)
        assert abs(float(least) * more - c) < 1e-9 * (1 + N * abs(W).max())
        memory = f(a) + (f(b) - f(a)) * xi[0]
        rests = abs(f(W @ memory) - memory).max() < 1e-9
        plain = (lambda x, W=W, f=f: f(x @ W.T) - x), memory

        def delayed(s, W=W, f=f, c=c, tau=tau):
            x, y = s[:, :N], s[:, N:]
            inside = f(x @ (W + c / N).T - c * y) - x
            return np.concatenate([inside, (x.mean(1, keepdims=True) - y) / tau], 1)

        both = (
            (rate.memory_eigenvalues(xi, phi, a, b, 0, learning), *plain),
            (
                rate.dale_eigenvalues(xi, phi, a, b, 0, tau, c, learning),
                delayed,
                np.append(memory, memory.mean()),
            ),
        )
        dt = min(0.05, 1 / (1 + float(phi.gain) * np.linalg.norm(W, 2) + 1 / tau + c))
        for found, field, rest in both:
            assert np.isfinite(float(found.greatest)) == rests
            if not rests:
                assert not bool(found.stable)
                seen["none"] += 1
            elif abs(float(found.greatest)) < 0.08:
                seen["marginal"] += 1
            else:
                stays = verdict_of_runs(field, rest, N, dt, rng)
                assert bool(found.stable) == stays, (kind, learning, phi, a, b, tau, c)
                seen[bool(stays)] += 1
    assert min(seen[True], seen[False], seen["none"]) > draws / 12, seen
    assert seen["marginal"] < draws / 2


def planar(f, a, b, q, saliency, inputs):
    """The planar field, its couplings, and the rates of the memory."""
    low, high = f(a), f(b)
    kappa, gamma = (
        saliency * (b - a) / (high - low),
        ((1 - q) * a + q * b) / ((1 - q) * low + q * high),
    )
    W = np.array(
        [
            [gamma * q + kappa * (1 - q), (gamma - kappa) * (1 - q)],
            [(gamma - kappa) * q, gamma * (1 - q) + kappa * q],
        ]
    )
    return (lambda x: f(x @ W.T + inputs) - x), W, np.array([high, low])


@pytest.mark.slow
@many
def test_equilibria_in_the_plane_and_global_stability(draws):
    """`stability`, `planar_equilibria`, `globally_stable`, with and without inputs."""
    rng, turns = np.random.default_rng(5), np.arange(16) * np.pi / 8
    around = np.stack([np.cos(turns), np.sin(turns)], 1)
    seen = {"points": 0, "global": 0, "not": 0, "marginal": 0}
    for k in range(draws):
        kind = list(KINDS)[k % 4]
        phi, f, a, b = drawn(rng, kind)
        q, drive = rng.uniform(0.05, 0.6), (1.0, 0.0, 0.0)
        if k % 8 >= 4:
            drive = (rng.uniform(0.3, 1.8), rng.uniform(-0.2, 1.0), rng.uniform(-0.6, 0.1))
        field, W, memory = planar(f, a, b, q, drive[0], np.array(drive[1:]))
        found = rate.planar_equilibria(phi, a, b, q, *drive)
        there = np.asarray(found.exists)
        points = np.stack([found.active, found.silent], 1)[there]
        values, stable = np.asarray(found.eigenvalues)[there], np.asarray(found.stable)[there]
        assert not points.size or abs(field(points)).max() < 1e-9 * (1 + abs(points).max())
        dt, scale = min(0.05, 1 / (1 + float(phi.gain) * abs(W).sum())), max(1.0, memory[0])
        if drive == (1.0, 0.0, 0.0):
            assert bool(found.continuum) or abs(points - memory).max(1).min() < 1e-9
            slope = slopes(f, np.array([b, a]))
            greatest = np.linalg.eigvals(slope[:, None] * W - np.eye(2)).real.max()
            plane = rate.stability(phi, a, b, q)
            assert abs(float(plane.block) - greatest) < 1e-4  # of one-sided differences
            assert not bool(plane.sufficient) or greatest < 1e-4
            assert not bool(plane.unstable | plane.unstable_active) or greatest > -1e-4
        for point, value, verdict in zip(points, values, stable, strict=True):
            if abs(value[0]) < 0.1:
                seen["marginal"] += 1
                continue
            starts = np.maximum(point + 1e-6 * scale * around, 0)
            before = abs(starts - point).max(1)
            after = abs(settle(field, starts, 50, dt) - point).max(1)
            ok = before > 1e-8 * scale
            assert bool(verdict) == (after[ok] < 0.5 * before[ok]).all(), (
                kind,
                phi,
                a,
                b,
                q,
                drive,
            )
            seen["points"] += 1
        verdict = rate.globally_stable(phi, a, b, q, *drive)
        if len(points) and abs(values[:, 0]).min() < 0.03:
            continue
        top = 4 * scale if kind == "linear" else 1.0
        grid = np.stack(np.meshgrid(*[np.linspace(0, top, 7)] * 2), -1).reshape(-1, 2)
        near = (points[:, None] + 1e-4 * scale * around).reshape(-1, 2)
        ends = settle(field, np.maximum(np.concatenate([grid, near]), 0), 120, dt)
        overlaps = (ends[:, 0] - ends[:, 1]) / (memory[0] - memory[1])
        one = abs(ends - ends[0]).max() < 1e-3 * scale and abs(overlaps - 1).max() < 0.5
        assert bool(verdict.stable) == one, (kind, phi, a, b, q, drive)
        seen["global" if one else "not"] += 1
    assert seen["points"] > draws and min(seen["global"], seen["not"]) > draws / 60, seen


@pytest.mark.slow
@many
def test_thresholds_of_saliency_and_inhibition(draws):
    """`critical_saliency`, `critical_saliency_planar`: lowered in steps, the memory is held above
    and lost below; `critical_inhibition`: the sign of the eigenvalue of runs on both sides."""
    rng, seen = np.random.default_rng(3), {"planar": 0, "closed": 0, "delay": 0, "none": 0}
    for k in range(draws):
        kind = list(KINDS)[k % 4]
        phi, f, a, b = drawn(rng, kind)
        q = rng.uniform(0.05, 0.5)
        exact = rate.critical_saliency_planar(phi, a, b, q)
        closed = rate.critical_saliency(phi, a, b, q)
        _, W, memory = planar(f, a, b, q, 1.0, 0.0)
        slope = slopes(f, np.array([b, a]))
        greatest = np.linalg.eigvals(slope[:, None] * W - np.eye(2)).real.max()
        if greatest > 1e-3:
            assert not bool(exact.exists) and not bool(closed.exists)
            assert np.isnan(rate.critical_inhibition(phi, a, b, q))
            seen["none"] += 1
            continue
        if bool(closed.exists):
            assert abs(float(closed.saliency) - float(exact.saliency)) < 5e-3
            seen["closed"] += 1
        if bool(exact.exists) and greatest < -0.05 and float(exact.saliency) < 0.97:
            last, x, at = float(exact.saliency), memory[None], []
            for s in np.append(np.linspace(1.0, last + 0.01, 8), last - 0.02):
                field, lowered, _ = planar(f, a, b, q, s, 0.0)
                dt = min(0.05, 1 / (1 + float(phi.gain) * abs(lowered).sum()))
                x = settle(field, x, 60 if s > last else 300, dt)
                at.append(x[0])
            fold = np.array([float(exact.active), float(exact.silent)])
            assert abs(at[-2] - fold).max() < 0.6 * max(1.0, memory[0])
            jump = abs(at[-1] - fold).max() > 0.05 or (at[-1][0] - at[-1][1]) < 1e-3
            assert jump, (kind, phi, a, b, q)
            seen["planar"] += 1
        c = float(np.exp(rng.uniform(0, 4)))
        tau = float(rate.critical_inhibition(phi, a, b, q, c))
        if np.isnan(tau):
            assert greatest > -1e-4
            continue
        for factor in (0.9, 1.1) if np.isfinite(tau) else (1e3,):
            at = factor * (tau if np.isfinite(tau) else 1.0)
            J = np.zeros((3, 3))
            J[:2, :2] = slope[:, None] * (W + c * np.array([q, 1 - q])) - np.eye(2)
            J[:2, 2], J[2, :2], J[2, 2] = -c * slope, np.array([q, 1 - q]) / at, -1 / at
            grows = np.linalg.eigvals(J).real.max()
            assert (grows > 0) == (factor == 1.1) or abs(grows) < 1e-6, (kind, phi, a, b, q, c, tau)
        seen["delay"] += np.isfinite(tau)
    assert min(seen["planar"], seen["none"]) > draws / 12, seen


@pytest.mark.slow
def test_certified_contraction_is_contraction():
    """Where the rate is positive, runs of random weights approach each other at least so fast."""
    rng, certified = np.random.default_rng(4), 0
    for k in range(200):
        kind = list(KINDS)[k % 4]
        phi, f, _, _ = drawn(rng, kind)
        W = rng.normal(size=(5, 5)) * rng.uniform(0.02, 0.25)
        W = (W + W.T) / 2 if k % 2 else W
        norm = float(rate.contraction_rate_max_norm(phi, W))
        bound = float(rate.contraction_rate(phi, np.linalg.eigvalsh(W)[-1])) if k % 2 else norm
        u, x = rng.uniform(0, 0.5, 5), rng.uniform(0, 1, (2, 5))
        ends = settle(lambda x, W=W, f=f, u=u: f(x @ W.T + u) - x, x, 8)
        if norm > 0:
            far = abs(x[0] - x[1]).max() * np.exp(-8 * norm)
            assert abs(ends[0] - ends[1]).max() < 1.001 * far + 1e-12
        if bound > 0.05:
            late = settle(lambda x, W=W, f=f, u=u: f(x @ W.T + u) - x, ends, 16 / bound, 0.05)
            assert abs(late[0] - late[1]).max() < 1e-4
            certified += 1
    assert 20 < certified < 190
