"""The integrator as one function of a problem, with its derivatives.

Along a fixed schedule of steps and cells the solution is a smooth function of everything, and
because the motion is continuous across the boundaries of cells, first derivatives at that fixed
schedule are those of the solution: no correction is due at a crossing. Second derivatives need one
(`_kick`), and are made by another program, in which it is.

How the program is differentiated, in both modes and nested, is told in `.._nesting`. Here stand the
parts that it is made of. Each hands its work to `lanes_last`, which decides how a batch is run:
derivatives of a batch are a batch of derivatives, in one loop.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._nesting import THIRD, AbstractRun, Leaves, along, differentiable_outputs, put
from ._chunk import Mark
from ._lanes_last import lane_count, lanes_last
from ._problem import Options, Problem, start
from ._solve import MARKS, Facts, Values, pull_back, solve


def integrate(problem: Problem, options: Options) -> tuple[Values, Facts]:
    """Run every lane of `problem` from its start to its last save time. `options.reverse` says
    which derivatives the run will serve best."""
    leaves, structure = jax.tree.flatten(problem)
    run = _Exact(options, structure)
    values, facts = differentiable_outputs(run, leaves, forward=not options.reverse)
    return Values(*values), Facts(*facts)


@dataclasses.dataclass(frozen=True)
class _Exact(AbstractRun):
    """A run of the leaves of a problem."""

    options: Options
    structure: Any

    def _problem(self, leaves: Leaves) -> Problem:
        return jax.tree.unflatten(self.structure, leaves)

    def _at_order(self, order: int, reverse: bool) -> Options:
        if order > 2:
            raise TypeError(THIRD)
        options = dataclasses.replace(self.options, reverse=reverse)
        return options if order < 2 else options.twice

    def _solved(self, leaves: Leaves, options: Options | None = None) -> tuple[list, list]:
        out = solve(self._problem(leaves), self.options if options is None else options)
        return jax.tree.leaves(out.values), jax.tree.leaves(out.facts)

    def outputs(self, leaves):
        """Without a gradient no marks are kept."""
        return lanes_last(self._solved)(list(leaves))

    def recorded(self, leaves, flags):
        """With marks, whatever is differentiated."""

        def run(leaves):
            return _marked(self._problem(leaves), self.options)

        return lanes_last(run)(list(leaves))

    def pushed(self, leaves, rates, flags):
        """Values and their tangents, in one loop along the schedule of the values.

        Only leaves of the problem that are differentiated have tangents here. Zeros for all others,
        the patterns among them, would be carried through every operation of every step."""

        def run(args):
            leaves, rates = args
            # A value that lanes share may have a tangent of its own in each of them.
            parts = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
            pairs = [jnp.broadcast_arrays(*pair) for pair in zip(parts, rates, strict=True)]
            parts, rates = [p for p, _ in pairs], [r for _, r in pairs]

            def values_of(parts):
                return self._solved(put(leaves, flags, parts))

            values, rates, facts = jax.jvp(values_of, (parts,), (rates,), has_aux=True)
            return values, facts, rates

        def varies(batched):
            # In a Jacobian only tangents are batched, and values are the same in all lanes.
            values = any(jax.tree.leaves(batched[0]))
            return values, values, True

        return lanes_last(run, varies)((list(leaves), list(rates)))

    def push(self, leaves, directions, flags):
        options = self._at_order(len(flags), reverse=False)

        def run(args):
            leaves, directions = args
            return along(lambda leaves: self._solved(leaves, options)[0], leaves, directions, flags)

        return lanes_last(run)((list(leaves), [list(group) for group in directions]))

    def pull(self, leaves, record, cotangent, flags):
        """By the way back along the marks. What is not differentiated is left out."""

        def run(args):
            leaves, record, cotangent = args
            back = partial(self._back, self._at_order(1, reverse=True), flags)
            return back(leaves, record, cotangent)

        out = lanes_last(run)((list(leaves), list(record), list(cotangent)))
        return self._narrowed(leaves, flags, out)

    def pull_along(self, leaves, cotangent, directions, flags, wanted):
        """The run and the way back, pushed forward together: marks move as well."""
        options = self._at_order(len(flags) + 1, reverse=True)

        def run(args):
            leaves, cotangent, directions = args
            cotangent = _widened(cotangent, lane_count(args))

            def adjoint(leaves):
                leaves = _widened(leaves, lane_count(args))
                record = _marked(self._problem(leaves), options.onward)[2]
                return self._back(options, wanted, leaves, record, cotangent)

            return along(adjoint, leaves, directions, flags)

        groups = [list(group) for group in directions]
        out = lanes_last(run)((list(leaves), list(cotangent), groups))
        return self._narrowed(leaves, wanted, out)

    def _back(self, options, flags, leaves, record, cotangent):
        # Every lane has derivatives of its own, also with respect to what lanes share; they are
        # summed in the end (`_narrowed`).
        lanes = lane_count((leaves, record, cotangent))
        *marks, number = _widened(record, lanes)
        parts = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
        parts, cotangent = _widened((parts, cotangent), lanes)

        def rebuild(parts):
            return self._problem(put(leaves, flags, parts))

        state = start(self._problem(leaves))
        marks = jax.tree.structure(Mark(state, state.steps, state.steps)).unflatten(marks)
        cotangent = Values(*cotangent)
        parts, y0, z0 = pull_back(parts, rebuild, options, marks, number.max(1), cotangent)
        # The start enters a run by its first state alone, and is no part of what steps depend on.
        total = put(leaves, flags, parts)
        at = jax.tree.unflatten(self.structure, list(range(len(leaves))))
        total[at.y0], total[at.z0] = y0, z0
        return [bar for bar, flag in zip(total, flags, strict=True) if flag]

    def _narrowed(self, leaves, flags, cotangents):
        """Cotangents of leaves that lanes share, summed over the lanes."""
        parts = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
        return [
            bar.sum(-1, keepdims=True) if leaf.shape[-1] == 1 and bar.shape[-1] > 1 else bar
            for leaf, bar in zip(parts, cotangents, strict=True)
        ]


def _marked(problem: Problem, options: Options) -> tuple[list, list, list]:
    """Values, facts and the record for the way back: marks, how many chunks there were and how many
    there are to a mark."""
    out = solve(problem, options, MARKS)
    # Every output of `lanes_last` needs lanes: two numbers that all share are repeated.
    number = jnp.stack([out.chunks, out.stride])[:, None]
    number = jnp.broadcast_to(number, (2, out.facts.t.shape[0]))
    values, facts, marks = map(jax.tree.leaves, (out.values, out.facts, out.marks))
    return values, facts, [*marks, number]


def _widened(tree, lanes: int):
    """The tree with every lane axis of full length."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], lanes)), tree)
