"""Fitting: any arrays of a model by gradients, and sequences from first guess to proof."""

from ._fit import Progress as Progress, fit as fit
from ._result import ENDINGS as ENDINGS, FitResult as FitResult
