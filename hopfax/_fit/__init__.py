"""Fitting: any arrays of a model by gradients, and sequences from first guess to proof."""

from ._design import Design as Design, design_cycle as design_cycle
from ._fit import fit as fit
from ._goodness import Goodness as Goodness
from ._loop import Progress as Progress
from ._result import ENDINGS as ENDINGS, FitResult as FitResult
from ._sequence import SequenceFit as SequenceFit, Stage as Stage, fit_sequence as fit_sequence
