r"""Runs with derivatives of both modes, nested in any way.

A run is a function $V(p)$ of its arrays. JAX differentiates a loop of unknown length forward only,
and a function with an adjoint of its own (`custom_vjp`) in reverse only, and neither of them twice.
So the derivatives of a run are operations of their own, which JAX finds linear:

    push    H_k(p; v_1, ..., v_k)             the k-th derivative of V along v_1, ..., v_k
    pull    A_k(p, c; v_1, ..., v_(k-1))      the derivative of c . H_(k-1)(p; v_1, ...) in p

Both are linear in every v and in c, and H_k and A_k are each other's transpose in any of these,
because mixed derivatives do not depend on their order. Differentiated in p they become H_(k+1) and
A_(k+1). So forward mode, reverse mode and all of their nestings are a table of a few lines:

                  differentiated in p     transposed in c       transposed in v_j
        H_k       H_(k+1)                 -                     A_k
        A_k       A_(k+1)                 H_k                   A_k

What a run must know is to be pushed forward any number of times (`values`), its plain adjoint
(`pull`), and an adjoint that can be pushed forward (`adjoint`).
"""

import abc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

Leaves: TypeAlias = Sequence[Array]
THIRD = (
    "third derivatives of an event-driven run are not known: second ones are corrected at every "
    "kink, and third ones would need more. Take differences of second derivatives, or a smooth "
    "activation."
)
#: Which leaves are differentiated along a direction, or have a cotangent.
Flags: TypeAlias = tuple[bool, ...]


class AbstractRun(abc.ABC):
    """A run as a function of its arrays, `leaves`. Equal runs are the same program."""

    @abc.abstractmethod
    def outputs(self, leaves: Leaves) -> tuple[list[Array], list[Array]]:
        """Values, which have derivatives, and facts, which have none."""

    @abc.abstractmethod
    def recorded(self, leaves: Leaves, flags: Flags) -> tuple[list, list, list]:
        """The same, and what `pull` for the leaves with `flags` needs to know of the run."""

    @abc.abstractmethod
    def pushed(self, leaves: Leaves, rates: Leaves, flags: Flags) -> tuple[list, list, list]:
        """Values, facts and the tangents of values along `rates`, of the leaves with `flags`."""

    @abc.abstractmethod
    def push(self, leaves: Leaves, directions: Sequence[Leaves], flags: tuple[Flags, ...]) -> list:
        """The derivative of the values along all `directions`; can be pushed forward."""

    @abc.abstractmethod
    def pull(self, leaves: Leaves, record: Leaves, cotangent: Leaves, flags: Flags) -> list:
        """The cotangents of the leaves with `flags`, from those of the values."""

    @abc.abstractmethod
    def pull_along(
        self,
        leaves: Leaves,
        cotangent: Leaves,
        directions: Sequence[Leaves],
        flags: tuple[Flags, ...],
        wanted: Flags,
    ) -> list:
        """The derivative of the cotangents of the leaves `wanted` along all `directions`."""


def along(function: Callable, leaves: Leaves, directions: Sequence, flags: tuple) -> Any:
    """The derivative of `function(leaves)` along every one of `directions`, one in the other."""

    def pushed(function, direction, moving, leaves):
        # A leaf that lanes share may have a tangent of its own in each of them.
        parts = [leaf for leaf, flag in zip(leaves, moving, strict=True) if flag]
        pairs = [jnp.broadcast_arrays(*pair) for pair in zip(parts, direction, strict=True)]
        parts, rates = [p for p, _ in pairs], [r for _, r in pairs]
        return jax.jvp(lambda parts: function(put(leaves, moving, parts)), (parts,), (rates,))[1]

    for direction, moving in zip(directions, flags, strict=True):
        function = partial(pushed, function, direction, moving)
    return function(list(leaves))


def put(leaves: Leaves, flags: Flags, parts: Leaves) -> list:
    """The leaves with those of the flags replaced."""
    new = iter(parts)
    return [next(new) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]


def no_tangent(leaf):
    """The tangent of an output without derivatives, in the dtype that JAX wants for its kind."""
    if jnp.issubdtype(leaf.dtype, jnp.inexact):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)


# A run and its first derivative


def differentiable_outputs(run: AbstractRun, leaves: Leaves, forward: bool) -> tuple[list, list]:
    """Values and facts of a run, with derivatives of all modes. With `forward` tangents are carried
    along with the values, else both modes are there and reverse mode is cheap."""
    return _outputs(run, forward, list(leaves))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _outputs(run, forward, leaves):
    return run.outputs(leaves)


@partial(_outputs.defjvp, symbolic_zeros=True)
def _(run, forward, primals, tangents):
    (leaves,), (rates,) = primals, tangents
    flags, rates = _moving(rates)
    if forward:
        values, facts, rates = _pushed(run, flags, leaves, rates)
    else:
        values, facts, record = _recorded(run, flags, leaves)
        frame = _framed(run, leaves, values)
        rates = _push(frame, leaves, record, (rates,), (flags,))
    return (values, facts), (rates, [no_tangent(fact) for fact in facts])


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _recorded(run, flags, leaves):
    return run.recorded(leaves, flags)


@partial(_recorded.defjvp, symbolic_zeros=True)
def _(run, flags, primals, tangents):
    (leaves,), (rates,) = primals, tangents
    moving, rates = _moving(rates)
    values, facts, record = _recorded(run, flags, leaves)
    rates = _push(_framed(run, leaves, values), leaves, [], (rates,), (moving,))
    # What is recorded serves the first derivative alone, and is not differentiated.
    still = [[no_tangent(leaf) for leaf in part] for part in (facts, record)]
    return (values, facts, record), (rates, *still)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _pushed(run, flags, leaves, rates):
    return run.pushed(leaves, rates, flags)


@partial(_pushed.defjvp, symbolic_zeros=True)
def _(run, flags, primals, tangents):
    (leaves, rates), (moved, changed) = primals, tangents
    values, facts, slopes = _pushed(run, flags, leaves, rates)
    frame = _framed(run, leaves, values)
    first, second = [jnp.zeros_like(v) for v in values], [jnp.zeros_like(v) for v in values]
    moving, moved = _moving(moved)
    if any(moving):
        first = _push(frame, leaves, [], (moved,), (moving,))
        second = _push(frame, leaves, [], (rates, moved), (flags, moving))
    changing, changed = _moving(changed)
    if any(changing):
        new = iter(changing)
        changing = tuple(flag and next(new) for flag in flags)
        more = _push(frame, leaves, [], (changed,), (changing,))
        second = [a + b for a, b in zip(second, more, strict=True)]
    return (values, facts, slopes), (first, [no_tangent(fact) for fact in facts], second)


def _moving(rates) -> tuple[Flags, list]:
    """Which leaves have a tangent, and these."""
    flags = tuple(type(rate) is not SymbolicZero and _inexact(rate) for rate in rates)
    return flags, [rate for rate, flag in zip(rates, flags, strict=True) if flag]


def _inexact(x) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


# The operations


class _Frame:
    """What a derivative is taken of: a run, the shapes of directions, and those of values."""

    def __init__(self, run: AbstractRun, ins: tuple, outs: tuple):
        self.run, self.ins, self.outs = run, ins, outs

    def widened(self, i: int, rate: Array) -> Array:
        """The tangent of leaf `i` as a direction."""
        return rate

    def push(self, leaves, directions, flags):
        return self.run.push(leaves, directions, flags)

    def pull(self, leaves, record, cotangent, directions, flags, wanted):
        if not directions:
            record = record or self.run.recorded(leaves, wanted)[2]
            return self.run.pull(leaves, record, cotangent, wanted)
        return self.run.pull_along(leaves, cotangent, directions, flags, wanted)

    def _key(self):
        return self.run, self.ins, self.outs

    def __hash__(self):
        return hash((type(self), self._key()))

    def __eq__(self, other):
        return type(self) is type(other) and self._key() == other._key()


class _Batch(_Frame):
    """The same of a batch. Leaves without an axis are shared; directions always have one, so that
    every member of the batch has a derivative of its own."""

    def __init__(self, inner: _Frame, axes: tuple, kept: tuple, size: int):
        self.inner, self.axes, self.kept, self.size = inner, axes, kept, size
        self.ins, self.outs = (
            tuple(((size, *shape), dtype) for shape, dtype in part)
            for part in (inner.ins, inner.outs)
        )

    def _key(self):
        return self.inner, self.axes, self.kept, self.size

    def widened(self, i, rate):
        if self.axes[i] is not None:
            return jax.vmap(partial(self.inner.widened, i))(rate)
        rate = self.inner.widened(i, rate)
        return jnp.broadcast_to(rate, (self.size, *rate.shape))

    def _mapped(self, function, leaves, record, *rest):
        kept = list(self.kept) if record else []
        axes = (list(self.axes), kept, *(0 for _ in rest))
        function = jax.vmap(function, in_axes=axes, axis_size=self.size)
        return function(list(leaves), list(record), *rest)

    def push(self, leaves, directions, flags):
        def one(leaves, _, directions):
            return self.inner.push(leaves, directions, flags)

        return self._mapped(one, leaves, [], directions)

    def pull(self, leaves, record, cotangent, directions, flags, wanted):
        def one(leaves, record, cotangent, directions):
            return self.inner.pull(leaves, record, cotangent, directions, flags, wanted)

        return self._mapped(one, leaves, record, cotangent, directions)


def _framed(run: AbstractRun, leaves: Leaves, values: Leaves) -> _Frame:
    shapes = (tuple((jnp.shape(x), x.dtype) for x in part) for part in (leaves, values))
    return _Frame(run, *shapes)


derivative = Primitive("derivative_of_run")
derivative.multiple_results = True


def _push(frame: _Frame, leaves, record, directions, flags) -> list:
    """H_k. The record is kept for the transpose, which needs it if there is one direction."""
    record = record if len(flags) == 1 else []
    parts = [part for group in directions for part in group]
    how = {"frame": frame, "flags": tuple(flags), "wanted": None, "recorded": len(record)}
    return derivative.bind(*leaves, *record, *parts, **how)


def _pull(frame: _Frame, leaves, record, cotangent, directions, flags, wanted: Flags) -> list:
    """A_k."""
    record = [] if flags else record
    parts = [part for group in directions for part in group]
    how = {"frame": frame, "flags": tuple(flags), "wanted": wanted, "recorded": len(record)}
    return derivative.bind(*leaves, *record, *cotangent, *parts, **how)


def _parts(args, frame: _Frame, flags, wanted, recorded) -> tuple[list, list, list, list[list]]:
    """Leaves, record, cotangents (if any) and directions."""
    sizes = [len(frame.ins), recorded, 0 if wanted is None else len(frame.outs), *map(sum, flags)]
    ends = np.cumsum([0, *sizes])
    pieces = [list(args[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    return pieces[0], pieces[1], pieces[2], pieces[3:]


def _evaluated(*args, frame, flags, wanted, recorded):
    leaves, record, cotangent, directions = _parts(args, frame, flags, wanted, recorded)
    if wanted is None:
        return frame.push(leaves, directions, flags)
    return frame.pull(leaves, record, cotangent, directions, flags, wanted)


def _shapes(*args, frame, flags, wanted, recorded):
    del args, flags, recorded
    shapes = frame.outs
    if wanted is not None:
        shapes = [shape for shape, flag in zip(frame.ins, wanted, strict=True) if flag]
    return [ShapedArray(*shape) for shape in shapes]


def _again(frame, wanted, leaves, record, cotangent, directions, flags):
    if wanted is None:
        return _push(frame, leaves, record, directions, flags)
    return _pull(frame, leaves, record, cotangent, directions, flags, wanted)


def _jvp(primals, tangents, *, frame, flags, wanted, recorded):
    split = partial(_parts, frame=frame, flags=flags, wanted=wanted, recorded=recorded)
    leaves, record, cotangent, directions = split(primals)
    moved, _, changed, turned = split(tangents)
    again = partial(_again, frame, wanted, leaves)
    out = again(record, cotangent, directions, flags)
    terms = []
    moving = tuple(_is_moving(rate) for rate in moved)
    if any(moving):
        new = [frame.widened(i, rate) for i, rate in enumerate(moved) if moving[i]]
        terms.append(again([], cotangent, [*directions, new], (*flags, moving)))
    if any(map(_is_moving, changed)):
        terms.append(again(record, list(map(_instantiated, changed)), directions, flags))
    for j, rates in enumerate(turned):
        turning = [_is_moving(rate) for rate in rates]
        if any(turning):
            which = iter(turning)
            less = tuple(flag and next(which) for flag in flags[j])
            new = [rate for rate, flag in zip(rates, turning, strict=True) if flag]
            ahead, behind = directions[:j], directions[j + 1 :]
            kept = (*flags[:j], less, *flags[j + 1 :])
            # A record is one for the leaves that moved when it was made.
            same = record if kept == flags else []
            terms.append(again(same, cotangent, [*ahead, new, *behind], kept))
    if not terms:
        return out, [jnp.zeros_like(x) for x in out]
    return out, [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]


def _is_moving(rate) -> bool:
    return type(rate) is not ad.Zero and rate.dtype != jax.dtypes.float0


def _instantiated(rate: Any) -> Any:
    return ad.instantiate_zeros(rate)


def _transpose(cotangents, *args, frame, flags, wanted, recorded):
    leaves, record, cotangent, directions = _parts(args, frame, flags, wanted, recorded)
    given = list(map(_instantiated, cotangents))
    found = [None] * (len(leaves) + len(record))
    open_ = [any(map(ad.is_undefined_primal, group)) for group in (cotangent, *directions)]
    if open_[0]:
        back = _push(frame, leaves, record, [*directions, given], (*flags, wanted))
        return found + _asked(cotangent, back) + [None] * sum(map(len, directions))
    j = open_.index(True) - 1
    others, rest = [*directions[:j], *directions[j + 1 :]], (*flags[:j], *flags[j + 1 :])
    if wanted is None:
        back = _pull(frame, leaves, record, given, others, rest, flags[j])
    else:
        back = _pull(frame, leaves, [], cotangent, [*others, given], (*rest, wanted), flags[j])
    found += [None] * len(cotangent)
    for k, group in enumerate(directions):
        found += _asked(group, back) if k == j else [None] * len(group)
    return found


def _asked(operands, cotangents) -> list:
    """The cotangents of the operands that are unknown."""
    pairs = zip(operands, cotangents, strict=True)
    return [bar if ad.is_undefined_primal(x) else None for x, bar in pairs]


def _batched(args, axes, *, frame, flags, wanted, recorded):
    sizes = [x.shape[axis] for x, axis in zip(args, axes, strict=True) if axis is not None]
    size, n = sizes[0], len(frame.ins)
    args = [
        x if axis is None else jnp.moveaxis(x, axis, 0) for x, axis in zip(args, axes, strict=True)
    ]
    n = n + recorded
    rest = [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else x
        for x, axis in zip(args[n:], axes[n:], strict=True)
    ]
    shared = [None if axis is None else 0 for axis in axes[:n]]
    split = len(frame.ins)
    wide = _Batch(frame, tuple(shared[:split]), tuple(shared[split:]), size)
    how = {"frame": wide, "flags": flags, "wanted": wanted, "recorded": recorded}
    out = derivative.bind(*args[:n], *rest, **how)
    return out, [0] * len(out)


derivative.def_impl(_evaluated)
derivative.def_abstract_eval(_shapes)
ad.primitive_jvps[derivative] = _jvp
ad.primitive_transposes[derivative] = _transpose
batching.primitive_batchers[derivative] = _batched
mlir.register_lowering(derivative, mlir.lower_fun(_evaluated, multiple_results=True))
