r"""Which experiment to make next, so that what is open becomes known.

With a Gaussian prior of standard deviation $s_0$ on every parameter, the data so far leave the
information matrix $M = I/s_0^2 + \sum J^T J$. A recording with Jacobian $J_c$ multiplies the volume
of the confidence ellipsoid by $\det(I + J_c M^{-1} J_c^T)^{-1/2}$, which needs no data: only the
model as it is known so far. The best of some candidates is taken, and so on (D-optimal design,
greedily: Fedorov 1972; Chaloner, Verdinelli 1995, doi:10.1214/ss/1177009939).
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import as_count, as_number, check_at_least, check_callable, check_type
from .._report import Report, Reported
from ..losses import AbstractLoss
from ._choice import choose
from ._identify import jacobian_of
from ._steppers import Problem
from ._variables import variables_of


class Experiment(Reported, eqx.Module):
    """Which candidates to record next.

    - `chosen`: their numbers, in order. `gains`: how much each adds to the logarithm of the volume
      of what is known.
    - `labels`: names of the n entries. `before`, `after`: (n,) their standard errors now, and when
      the chosen ones are recorded. `steps`: (number, n) the same after each of them.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    candidates = [
        hx.losses.switch_times([t], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]), sigma=0.5)
        for t in (31.0, 300.0)
    ]
    plan = hx.designs.next_experiment(network, candidates, where=lambda net: net.kappa)
    print(plan)  # largest standard error now: 50, record candidate ...
    ```
    """

    chosen: tuple[int, ...] = eqx.field(static=True)
    gains: Float[Array, " number"]
    labels: tuple[str, ...] = eqx.field(static=True)
    before: Float[Array, " n"]
    steps: Float[Array, "number n"]

    @property
    def after(self) -> Float[Array, " n"]:
        """Standard errors when all chosen candidates are recorded."""
        return self.steps[-1]

    def _report(self) -> Report:
        worst = [float(jnp.max(row)) for row in (self.before, *self.steps)]
        lines = [f"largest standard error now: {worst[0]:.3g}"]
        for k, gain, after in zip(self.chosen, self.gains, worst[1:], strict=True):
            lines.append(f"  record candidate {k}: {after:.3g} (information {float(gain):.3g})")
        return Report(lines[0], head=lines[1:])


def next_experiment(
    model: Any,
    candidates: Sequence[AbstractLoss],
    *,
    where: Callable,
    known: Sequence[AbstractLoss] = (),
    number: int = 1,
    prior: float | None = None,
) -> Experiment:
    """The recordings to make next, so that the parameters become known: D-optimal, by the exact
    Jacobian.

    **Arguments:**

    - `model`: as far as it is known, such as a fitted one.
    - `candidates`: losses of what could be recorded: starts, pulses, sequences, times. What they
      compare with does not matter, only what they look at, and how precisely (`sigma`).
    - `where`: the arrays that are to become known, as in `hopfax.fit`.
    - `known`: losses of what has been recorded already.
    - `number`: how many to choose; a candidate may be chosen again.
    - `prior`: standard deviation of the entries before any data; default ten times the largest.

    **Returns:** an `Experiment`.

    **Raises:** TypeError/ValueError naming the argument.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    ts = jnp.linspace(0.0, 60.0, 13)
    candidates = [
        hx.losses.saliency_path(ts, jnp.zeros((13, 4)), init=dict(saliency=4.0 * start), sigma=0.1)
        for start in jnp.eye(4)
    ]
    plan = hx.designs.next_experiment(
        network, candidates, where=lambda net: net.transition, number=2
    )
    plan.chosen  # two starts, in whose runs all columns of the matrix are seen
    ```
    """
    check_callable(where, "where", "a function of the model, as lambda net: net.transition")
    number = as_count(number, "number")
    if isinstance(candidates, AbstractLoss) or not list(candidates):
        raise TypeError("`candidates` must be a list of losses, of at least one recording.")
    for name, losses in (("candidates", candidates), ("known", known)):
        for loss in losses:
            check_type(loss, name, AbstractLoss, "a list of losses, as hopfax.losses.switch_times")
    variables, labels = variables_of(model, where, None)
    n = variables.size

    def information(loss):
        made = choose(model, loss, variables, None, None, None, 1e-6, "auto")
        if not made.residual:
            raise ValueError("`candidates` must return residuals; a number has no Jacobian.")
        jacobian, _ = jacobian_of(Problem(model, loss, variables, made.forward), None)
        return np.asarray(jacobian, float)

    size = float(jnp.max(jnp.abs(variables.moving(variables.start()))))
    prior = 10 * size if prior is None else as_number(prior, "prior")
    check_at_least(prior, "prior", 0.0, strict=True)
    M = np.eye(n) / prior**2 + sum((J.T @ J for J in map(information, known)), np.zeros((n, n)))
    offered = [information(loss) for loss in candidates]
    errors, chosen, gains = [np.sqrt(np.diagonal(np.linalg.inv(M)))], [], []
    for _ in range(number):
        root = np.linalg.inv(np.linalg.cholesky(M)).T  # M^-1 = root root^T
        each = [np.log1p(np.linalg.svd(J @ root, compute_uv=False) ** 2).sum() for J in offered]
        best = int(np.argmax(each))
        M = M + offered[best].T @ offered[best]
        chosen.append(best)
        gains.append(each[best])
        errors.append(np.sqrt(np.diagonal(np.linalg.inv(M))))
    dtype = variables.dtype
    return Experiment(
        tuple(chosen),
        jnp.asarray(gains, dtype),
        labels,
        jnp.asarray(errors[0], dtype),
        jnp.asarray(np.stack(errors[1:]), dtype),
    )
