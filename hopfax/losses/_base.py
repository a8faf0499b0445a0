"""What a loss is, and how losses add up."""

import abc
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import as_float, check_callable, check_option, check_type
from .._report import Report, Reported, in_brief
from .._types import ArrayLike, Network
from ..networks import AbstractNetwork

Derivative: TypeAlias = Literal["reverse", "forward"]
#: In place of a residual that is not a number, because its run failed. Its gradient is zero.
LOST = 1e3


class AbstractLoss(Reported, eqx.Module):
    r"""How far a network is from what it should do.

    Called with a network it returns either a vector of residuals $r$, whose half squared sum
    $\frac12 \sum_k r_k^2$ is the loss, or a number. Residuals can be fitted by least squares and
    give uncertainties. Losses add, and a number times a loss weighs it.

    To write one of your own, subclass this and give `__call__`.

    **Example:**

    ```python
    class Prior(hx.losses.AbstractLoss):  # what is known of the gain already
        kappa: float

        def __call__(self, network, *, derivative="reverse"):
            return (network.kappa - self.kappa)[None]


    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    known = Prior(4.0) + 4.0 * Prior(4.5)
    known(network)  # 1, and 0.5 times the root of the weight: 1
    ```
    """

    @abc.abstractmethod
    def __call__(
        self, network: Network, *, derivative: Derivative = "reverse"
    ) -> Float[Array, "..."]:
        """The residuals, or the number.

        **Arguments:** `derivative`: by which mode it will be differentiated; passed on to
        `hopfax.simulate`.
        """

    def __add__(self, other: "AbstractLoss") -> "AbstractLoss":
        if not isinstance(other, AbstractLoss):
            return NotImplemented
        return Total((*_parts(self), *_parts(other)))

    def __rmul__(self, weight: ArrayLike) -> "AbstractLoss":
        parts = tuple((weight * each, loss) for each, loss in _parts(self))
        return Total(parts)


def _parts(loss: AbstractLoss) -> tuple[tuple[ArrayLike, AbstractLoss], ...]:
    """The weights and losses of which a loss is the sum."""
    return loss.parts if isinstance(loss, Total) else ((1.0, loss),)


class Total(AbstractLoss):
    """A weighted sum: residuals side by side, or, if some part is a number, a number."""

    parts: tuple[tuple[ArrayLike, AbstractLoss], ...]

    def __call__(
        self, network: Network, *, derivative: Derivative = "reverse"
    ) -> Float[Array, "..."]:
        outputs = [(w, loss(network, derivative=derivative)) for w, loss in self.parts]
        if all(out.ndim for _, out in outputs):
            # Half the squared sum of these is the weighted sum of the losses.
            return jnp.concatenate([jnp.sqrt(_as(w, out)) * out.ravel() for w, out in outputs])
        return sum((_as(w, out) * value(out) for w, out in outputs), jnp.zeros(()))

    def _report(self) -> Report:
        rows = [(in_brief(weight), loss._report().title) for weight, loss in self.parts]
        return Report("sum of losses", rows, join=" x ")


def _as(weight: ArrayLike, out: Array) -> Array:
    return jnp.asarray(weight, out.dtype)


def value(output: Float[Array, "..."]) -> Float[Array, ""]:
    r"""The number that a loss's output stands for: itself, or $\frac12 \sum_k r_k^2$ of residuals.

    **Example:**

    ```python
    hx.losses.value(jnp.array([3.0, 4.0]))  # 12.5
    ```
    """
    output = output if isinstance(output, jax.Array) else as_float(output, "output")
    return output if output.ndim == 0 else jnp.sum(jnp.square(output)) / 2


def each(
    network: Network, losses: AbstractLoss, *, derivative: Derivative = "reverse"
) -> Float[Array, "..."]:
    """The outputs of many losses of one kind, such as a batch of recordings.

    **Arguments:** `network`: one network. `losses`: what `stack` returns.

    **Returns:** the residuals of all, (batch, residuals); or the mean of the numbers.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    losses = [
        hx.losses.event_map(hx.Events([0, 1, 2]), saliency=[z, 0.0, 0.0, 0.0]) for z in (2.0, 4.0)
    ]
    batch = hx.losses.stack(losses)
    hx.losses.each(network, batch).shape  # (2, 14)
    ```
    """
    check_type(network, "network", AbstractNetwork, "a hopfax network")
    check_type(losses, "losses", AbstractLoss, "what hopfax.losses.stack returns")
    check_option(derivative, "derivative", ("reverse", "forward"))
    outputs = eqx.filter_vmap(lambda loss: loss(network, derivative=derivative))(losses)
    return outputs if outputs.ndim > 1 else outputs.mean()


def joint(
    model: tuple[Network, AbstractLoss], *, derivative: Derivative = "reverse"
) -> Float[Array, "..."]:
    """The output of a loss that is fitted together with its network: for what a run has beside the
    network, its start, stimulus, current or noise.

    **Arguments:** `model`: a network and a loss, of which `where` of `hopfax.fit` selects arrays,
    such as `lambda both: (both[0].kappa, both[1].init["saliency"])`.

    **Returns:** the residuals, or the number, of the loss.

    **Example:**

    ```python
    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    seen = hx.losses.switch_times([32.0], init=dict(saliency=[4.0, 0.0, 0.0, 0.0]))
    found = hx.fit(
        (network, seen),
        hx.losses.joint,
        where=lambda both: both[1].init["saliency"],
        constraint=hx.constraints.Masked(jnp.array([True, False, False, False])),
        absolute_sigma=True,
        progress=False,
    )
    found.model[1].init["saliency"][1:]  # 0, 0, 0: only the first one moves
    ```
    """
    if not isinstance(model, tuple) or len(model) != 2:
        raise TypeError("`model` must be a network and a loss, (network, loss).")
    network, loss = model
    check_type(network, "model[0]", AbstractNetwork, "a hopfax network")
    check_type(loss, "model[1]", AbstractLoss, "a loss, as hopfax.losses.overlap_path(...)")
    check_option(derivative, "derivative", ("reverse", "forward"))
    return loss(network, derivative=derivative)


class Subjects(AbstractLoss):
    """Recordings of several subjects; made by `subjects`."""

    recordings: Any
    where: Callable = eqx.field(static=True)

    def __call__(
        self, network: Network, *, derivative: Derivative = "reverse"
    ) -> Float[Array, "..."]:
        shared = jax.tree.map(lambda _: None, network)
        own = jax.tree.leaves(self.where(network))
        count = len(jax.tree.leaves(eqx.filter(self.recordings, eqx.is_array))[0])
        for leaf in own:
            if leaf.ndim < 1 or leaf.shape[0] != count:
                raise ValueError(
                    f"`where` must select arrays with an entry for each of the {count} subjects "
                    f"along their first axis, got shape {leaf.shape}."
                )
        axes = eqx.tree_at(self.where, shared, replace_fn=lambda _: 0, is_leaf=_is_none)

        def one(network, recording):
            return recording(network, derivative=derivative)

        outputs = eqx.filter_vmap(one, in_axes=(axes, eqx.if_array(0)))(network, self.recordings)
        return outputs if outputs.ndim > 1 else outputs.sum()


def _is_none(node: Any) -> bool:
    return node is None


def subjects(recordings: AbstractLoss, *, where: Callable) -> Subjects:
    """Recordings of several subjects, each with parameters of its own, in one loss.

    It is called with a network in which the arrays that `where` selects have an entry for each
    subject along a new first axis, and all others are shared. `hopfax.fit` fits both kinds at once.

    **Arguments:** `recordings`: what `stack` returns, one for each subject. `where`: the arrays of
    the network that are a subject's own.

    **Returns:** a loss with the residuals of all subjects, (subjects, residuals).

    **Raises:** TypeError naming the argument; ValueError when called with arrays that have no entry
    for each subject.

    **Example:** two subjects with gains of their own, who share all else.

    ```python
    import equinox as eqx

    network = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(4, 16), hx.cyclic(4), kappa=5.0, tau=20.0, bias=0.01
    )
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    seen = [[31.0, 61.0], [jnp.nan, 57.0]]  # the first switch of the second one was not seen
    loss = hx.losses.subjects(
        hx.losses.stack([hx.losses.switch_times(times, init=start, sigma=0.5) for times in seen]),
        where=lambda net: net.kappa,
    )
    group = eqx.tree_at(lambda net: net.kappa, network, jnp.array([5.0, 5.0]))
    found = hx.fit(group, loss, where=lambda net: net.kappa, absolute_sigma=True, progress=False)
    found.values  # 4.94, 3.76
    ```
    """
    check_type(recordings, "recordings", AbstractLoss, "what hopfax.losses.stack returns")
    check_callable(where, "where", "a function of the network, as lambda net: net.kappa")
    return Subjects(recordings, where)


def stack(losses: Iterable[AbstractLoss]) -> Any:
    """Losses of one kind and size as a single one, for `each` and `hopfax.fit(data=...)`.

    **Returns:** a loss of the same kind, whose arrays have a leading axis.

    **Raises:** ValueError if they differ in kind or size.

    **Example:**

    ```python
    start = dict(saliency=[4.0, 0.0, 0.0, 0.0])
    seen = ([31.2, 60.9], [30.6, 61.4])
    batch = hx.losses.stack([hx.losses.switch_times(times, init=start) for times in seen])
    batch.init["saliency"].shape  # (2, 4)
    ```
    """
    many = isinstance(losses, Iterable) and not hasattr(losses, "shape")
    listed: list[Any] = list(losses) if many else [losses]
    if not listed:
        raise ValueError("`losses` must hold at least one loss.")
    for loss in listed:
        check_type(loss, "losses", AbstractLoss, "a list of losses, as hopfax.losses.order(...)")
    arrays, rest = zip(*(eqx.partition(loss, eqx.is_array) for loss in listed), strict=True)
    try:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)
        if not all(eqx.tree_equal(rest[0], other) for other in rest):
            raise ValueError("other settings")
        return eqx.combine(stacked, rest[0])
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`losses` must be of one kind, with equal settings and arrays of equal shapes: pad "
            "times with NaN."
        ) from error
