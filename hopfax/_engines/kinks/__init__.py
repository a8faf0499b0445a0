"""Exact integration of rates with piecewise-linear activations, from kink to kink."""

from ._series_step import SeriesStep as SeriesStep, by_kinks as by_kinks
