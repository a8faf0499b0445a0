"""Fitting: any arrays of a model by gradients, and sequences from first guess to proof."""

from ._density import LogDensity as LogDensity, log_density as log_density
from ._design import Design as Design, design_cycle as design_cycle
from ._experiment import Experiment as Experiment, next_experiment as next_experiment
from ._fit import fit as fit
from ._goodness import Goodness as Goodness
from ._identify import Identifiability as Identifiability, identifiability as identifiability
from ._intervals import Interval as Interval
from ._laplace import Laplace as Laplace
from ._loop import Progress as Progress
from ._profile import Profile as Profile
from ._result import ENDINGS as ENDINGS, FitResult as FitResult
from ._sequence import fit_sequence as fit_sequence
from ._shown import SequenceFit as SequenceFit, Stage as Stage
