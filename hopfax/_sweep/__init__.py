"""Sweeps: a pure function of one point, over a grid, into a labelled dataset."""

from ._plan import SweepPlan as SweepPlan, sweep_plan as sweep_plan
from ._point import Point as Point
from ._refine import refine as refine
from ._run import sweep as sweep
from ._store import open_sweep as open_sweep
