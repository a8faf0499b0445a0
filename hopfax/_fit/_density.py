r"""The posterior density of fitted parameters, for samplers of other libraries.

Residuals in units of the standard deviation of the data are the logarithm of a likelihood,
$-\frac12 \sum_k r_k^2$, and with priors among the losses that of a posterior. Samplers move
through all of $\mathbb R^n$, so the density is one of the free entries $u$, which the constraints
map to the parameters $v$; that brings in the volume of the map, $|\det \partial v / \partial u|$.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._errors import as_float, check_callable, check_shape
from .._programs import jitted
from ..losses import Recording, value
from ..losses._order import EventMap, Order
from ._choice import adam, choose
from ._fit import smaller
from ._laplace import Laplace, laplace
from ._steppers import Problem
from ._variables import Variables, Vectors, variables_of


class LogDensity(eqx.Module):
    r"""The logarithm of a posterior density over free parameters; made by `hopfax.log_density`.

    Called with the free parameters $u$, an array (n,), it returns a number. It works under `jit`,
    `vmap` and `grad`, and has second derivatives.

    - `labels`: a name for each of the n entries.
    - `start`: (n,) the free parameters of the model that was given.
    - `values(u)`: the parameters by name. `model(u)`: the model that has them.
    - `laplace()`: the Gaussian around the maximum, and the evidence.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    seen = hx.losses.switch_times([31.0, 61.0], init=start, sigma=0.5)
    density = hx.log_density(
        network, seen, where=lambda net: net.kappa, constraint=hx.constraints.Positive()
    )
    density(density.start)  # 1.5: minus half the squared residuals, plus the logarithm of kappa
    jax.grad(density)(density.start)  # by the logarithm of kappa
    density.values(density.start)  # {"kappa": 5.0}
    ```
    """

    problem: Problem
    data: Any
    given: Any
    variables: Variables
    labels: tuple[str, ...] = eqx.field(static=True)

    @property
    def start(self) -> Float[Array, " n"]:
        """The free parameters of the model that was given."""
        return ravel_pytree(self.variables.start())[0]

    def __call__(self, free: Float[Array, " n"]) -> Float[Array, ""]:
        """The logarithm of the density; minus infinity where a run fails, never NaN."""
        free = as_float(free, "free", self.variables.dtype)
        check_shape(free, "free", (len(self.labels),), "(n,)")
        return _log_density(self, free)

    def values(self, free: Float[Array, "*draws n"]) -> dict[str, Float[Array, "..."]]:
        """The parameters that belong to free ones, or to many of them: the arrays that `where`
        selects, by name."""
        if free.ndim > 1:
            return jax.vmap(self.values)(free)
        values = self.variables.values(self._vectors(free))
        return dict(zip(self.variables.names, values, strict=True))

    def model(self, free: Float[Array, " n"]) -> Any:
        """The model with the parameters that belong to free ones."""
        return self.variables.put(self.given, self._vectors(free))

    def laplace(self, start: Float[Array, " n"] | None = None) -> Laplace:
        r"""The Laplace approximation: the Gaussian with the same maximum and second derivatives.

        **Arguments:** `start`: where the search for the maximum begins, by default the model that
        was given. It should be near: begin with `hopfax.fit`.

        **Returns:** a `hopfax.Laplace`. Under `jit` or `vmap` all of it is NaN where there is none.

        **Raises:** ValueError if the density is zero at the start, if no maximum is found, and if
        the density does not fall off in all directions (the data leave one open, and no prior
        decides it).
        """
        start = self.start if start is None else as_float(start, "start", self.variables.dtype)
        check_shape(start, "start", (len(self.labels),), "(n,)")
        return laplace(self, start, self.labels)

    def _vectors(self, free: Float[Array, " n"]) -> Vectors:
        return ravel_pytree(self.variables.start())[1](free)

    def _log_volume(self, vectors: Vectors) -> Float[Array, ""]:
        """The logarithm of the volume of the map from free entries to parameters."""
        v, total = self.variables, jnp.zeros((), self.variables.dtype)
        for k, vector in enumerate(vectors):
            free = v.base[k].ravel().at[v.entries[k]].set(vector).reshape(v.base[k].shape)
            total = total + v.constraints[k].log_volume(free, v.entries[k]).astype(total.dtype)
        return total


@jitted
def _log_density(density: LogDensity, free: Float[Array, " n"]) -> Float[Array, ""]:
    return _differentiable(density, free)


@eqx.filter_custom_jvp
def _differentiable(density: LogDensity, free: Float[Array, " n"]) -> Float[Array, ""]:
    return _evaluated(density, free)


@_differentiable.def_jvp
def _(primals, tangents):
    """With all slopes by the mode that costs least, whichever mode the sampler uses; and zero in
    place of NaN where the density is zero."""
    (density, free), (other, moved) = primals, tangents
    if jax.tree.leaves(other):
        raise TypeError("a log density has derivatives by its free parameters only.")

    def twice(free):
        number = _evaluated(density, free)
        return number, number

    mode = jax.jacfwd if density.problem.forward else jax.grad
    slope, number = mode(twice, has_aux=True)(free)
    slope = jnp.where(jnp.isfinite(number) & jnp.isfinite(slope), slope, 0.0)
    return number, slope @ moved


def _evaluated(density: LogDensity, free: Float[Array, " n"]) -> Float[Array, ""]:
    vectors = density._vectors(free)
    out = density.problem.output(vectors, density.data)
    fine = jnp.isfinite(out)  # replaced before they are squared: derivatives would be NaN, too
    number = density._log_volume(vectors) - value(jnp.where(fine, out, 0.0)).astype(free.dtype)
    return jnp.where(fine.all() & jnp.isfinite(number), number, -jnp.inf)


def log_density(
    model: Any,
    loss: Callable,
    *,
    where: Callable,
    constraint: Any = None,
    data: Any = None,
) -> LogDensity:
    r"""The posterior density of parameters, for blackjax, numpyro or any other sampler.

    $$\ln p(u) = -\tfrac12 \sum_k r_k(v(u))^2 + \ln |\det \partial v / \partial u|$$

    for the residuals $r_k$ of the loss, those of its priors among them, and free parameters $u$
    that the constraints map to the parameters $v$. Constant factors are left out: the
    $1 / (\sigma \sqrt{2 \pi})$ of data and of priors, which is the same everywhere. Without
    `hopfax.losses.prior` among the losses the prior is uniform in $v$, within the constraint; one
    on a parameter under a constraint is cut off there. The density is zero (minus infinity is
    returned) where a run fails or the parameters have none.

    **Arguments:**

    - `model`, `where`, `constraint`, `data`: as in `hopfax.fit`, but without projections.
    - `loss`: residuals in units of the known standard deviation of the data (`sigma` of
        `hopfax.losses`), with priors added. A function of your own may also return a number, minus
        the logarithm of a density.

    **Returns:** a `LogDensity`.

    **Raises:** ValueError/TypeError naming the argument; ValueError for a recording whose `sigma`
    was not given, since without it there is no density.

    Recipes for [blackjax](https://blackjax-devs.github.io/blackjax) and
    [numpyro](https://num.pyro.ai) stand in docs/howto/posteriors.md. In short:
    `blackjax.nuts(density, **settings)` with draws from `density.start` on, and
    `NUTS(potential_fn=lambda free: -density(free))` with `init_params=density.start`.

    **Example:**

    ```python
    weights = hx.log_density(
        {"a": jnp.array(0.5)},
        lambda model: (model["a"] - jnp.array([1.0, 1.4])) / 0.2,
        where=lambda model: model["a"],
        constraint=hx.constraints.Box(0.0, 2.0),
    )
    weights.values(jnp.array([[0.0], [1.0]]))  # {"a": [1.0, 1.46]}
    found = weights.laplace()
    weights.values(found.mode)  # {"a": 1.19}: the constraint draws it inwards
    ```
    """
    check_callable(loss, "loss", "one of hopfax.losses, or a function of the model")
    check_callable(where, "where", "a function of the model, as lambda net: net.kappa")
    _check_density(loss, data)
    outer, labels = variables_of(model, where, constraint)
    if any(project is not None for project in outer.projections):
        raise TypeError(
            "`constraint`: a projection is no change of variables, so it gives no density; take "
            "one of hopfax.constraints."
        )
    loss, data = _strict(loss), _strict(data)
    network = smaller(model, loss, outer)
    variables = outer if network is model else variables_of(network, where, constraint)[0]
    forward = choose(network, loss, variables, data, None, adam(0.05), 1e-6, "auto").forward
    problem = Problem(network, loss, variables, forward)
    return LogDensity(problem, data, model, outer, labels)


def _is_recording(node: Any) -> bool:
    return isinstance(node, Recording)


def _strict(tree: Any) -> Any:
    """The same, with recordings whose residuals are infinite where a run fails."""

    def changed(node):
        return replace(node, strict=True) if _is_recording(node) else node

    return jax.tree.map(changed, tree, is_leaf=_is_recording)


def _check_density(loss: Any, data: Any) -> None:
    """ValueError for what is no logarithm of a density."""

    def kind(node):
        return isinstance(node, Recording | EventMap | Order)

    for part in jax.tree.leaves((loss, data), is_leaf=kind):
        if isinstance(part, EventMap | Order):
            raise ValueError(
                f"`loss`: {type(part).__name__} says how far a network is from an order, in units "
                "of margins, and is no probability of data. Take losses of what was seen, as "
                "hopfax.losses.switch_times(..., sigma=...)."
            )
        if isinstance(part, Recording) and not part.sigma_known:
            raise ValueError(
                "`loss`: the standard deviation of the data is not known, and without it there is "
                "no density. Give `sigma` to every recording, as "
                "hopfax.losses.switch_times(..., sigma=0.5); a fit estimates it as the root of its "
                "reduced chi-squared."
            )
