"""Exact integration of hard tanh, event by event: Taylor series in a transit, closed plateaus."""

from ._run import run as run
