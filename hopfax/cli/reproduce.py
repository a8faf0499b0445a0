"""`hopfax reproduce`: the figures of a paper, with every claim measured again."""

import dataclasses
import pathlib

from tyro.conf import Positional

from ._claims import Outcome
from ._console import say
from ._families import Family, Target, measuring
from ._folder import Folder
from ._machine import Precision, precision
from ._output import default_folder
from ._picture import require
from ._settings import settings


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Redraw the figures of a paper, or draw its results, and check its claims.

    This takes half a minute to seven minutes on two cores: dense is the longest.

    sequential: figures 2 and 3 of arXiv:2603.03201. Betteti, Baggio, Zampieri 2026, A Dynamical
    Theory of Sequential Retrieval in Input-Driven Hopfield Networks. dense: trajectories, basins
    and capacities of arXiv:2506.00851. Mimura, Takeuchi, Sumikawa, Kabashima, Coolen 2026.
    sequences: overlaps, capacity and recall without error of dense memories that each call the
    next one. Düring, Coolen, Sherrington 1998, cond-mat/9805073, and what is derived here. rate:
    storage, stability, phase diagrams and retrieval of the firing-rate memories of
    arXiv:2411.07388. Betteti, Baggio, Bullo, Zampieri 2025. input_driven: thresholds, mixtures,
    barriers and noise of the field of arXiv:2411.05849. Betteti, Baggio, Bullo, Zampieri 2025.
    Every number is computed here: claims.json holds theory, simulation and the conditions under
    which a claim is true.
    """

    target: Positional[Target] = "sequential"
    """What to reproduce."""
    network: Family | None = None
    """The same as an option, as the other commands have it."""
    precision: Precision = "float64"
    """Floating-point precision."""
    out: pathlib.Path | None = None
    """Output folder (default: hopfax-out/reproduce-<hash of the settings>)."""
    overwrite: bool = False
    """Replace the files of an earlier run in the output folder."""

    def __call__(self) -> int:
        """Compute, print, write; 0 if every claim holds."""
        target = self._target()
        made = measuring(target)
        asked = dataclasses.replace(self, target=target, network=None)
        folder = self.out or default_folder("reproduce", settings(asked))
        place = Folder(folder, self.overwrite)
        tables = [f"{name}.json" for name in ("claims", *made.TABLES)]
        place.check(*tables, *(f"{name}.png" for name in made.FIGURES))
        require("hopfax reproduce")  # rather now than after the computation
        with precision(self.precision):
            outcome: Outcome = made.reproduce()
            outcome.write(place)
        say(str(outcome))
        say(f"\nConditions and tolerances are in {folder / 'claims.json'}.")
        return 0 if outcome.holds else 1

    def _target(self) -> Target:
        if self.network is None:
            return self.target
        default = type(self).target
        if self.target not in (default, self.network):
            raise ValueError(
                f"`network` is {self.network}, but {self.target} is to be reproduced; name one."
            )
        return self.network
