"""`hopfax plot`: the default picture of a stored sweep."""

import dataclasses
import pathlib

from tyro.conf import Positional

from ._console import say
from ._folder import Folder
from ._machine import precision
from ._output import store_in
from ._picture import check_ending, draw
from ._stored import stored


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a stored sweep, also an unfinished one: curves, a map, or a map for every value of more
    axes.

    Example: hopfax plot hopfax-out/sweep-0123abcd --out figure.pdf
    """

    store: Positional[pathlib.Path]
    """A sweep's folder (which holds sweep.json), or the one that `hopfax sweep` wrote to, of any
    network."""
    out: pathlib.Path | None = None
    """Where to draw: a .png, .pdf or .svg file (default: beside the store)."""
    theory: bool = True
    """Lay the predictions over it, where there are any."""
    overwrite: bool = False
    """Replace a picture that hopfax did not write, or that was changed since."""

    def __call__(self) -> int:
        """Draw and say where."""
        store = store_in(self.store)
        beside = store if store.name not in ("", "..") else store.resolve()
        out = self.out or beside.with_name(f"{beside.name}.png")
        out = out if out.suffix else out.with_name(f"{out.name}.png")
        check_ending(str(out), "out")
        place = Folder(out.parent, self.overwrite)
        place.check_named(out.name)
        with precision("float64"):
            figure = draw(dataset := stored(self.store), theory=self.theory)
            place.draw(out.name, figure, dpi=150, named=True)
        waiting = int((dataset["status"] == -1).sum())
        gap = f"; {waiting} of {dataset['status'].size} points have not been run" if waiting else ""
        say(f"drawn to {out}{gap}")
        return 0
