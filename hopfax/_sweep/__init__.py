"""Sweeps: a pure function of one point, over a grid, into a labelled dataset.

_point      what is computed at one point of the grid, as a function of named values
_recipe     points that are made: sizes and choices as axes, a job for each
_grid       the axes of a grid, and its cutting into blocks
_program    a function of one lane, compiled for tiles of lanes
_job        these together: what is computed, in which tiles
_plan       how: devices, blocks and their order, and what it will cost
_drive      blocks computed by the threads of this process, or by an executor
_remote     blocks computed by other processes
_store      results on disk;  _manifest  which sweep a store holds;  _locks  who may write there
_open       stored sweeps as datasets;  zarr  of their blocks, those that are complete
_interrupt  Ctrl-C
_dataset    labels, units and settings of the dataset
_run        `sweep`, which puts these together;  _refine  `refine`, for phase boundaries
_ensemble   `ensemble`, for many seeds
"""

from .._names import UnknownName as UnknownName
from ._ensemble import ensemble as ensemble
from ._open import open_sweep as open_sweep
from ._plan import SweepPlan as SweepPlan, sweep_plan as sweep_plan
from ._point import Point as Point
from ._recipe import Recipe as Recipe
from ._refine import refine as refine
from ._run import sweep as sweep
