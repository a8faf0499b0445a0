"""`hopfax report`: a sweep, a run or a fit as one HTML file."""

import dataclasses
import pathlib
from typing import Any

from tyro.conf import Positional

from .. import StoreError
from ..plots._html._figures import require
from ..plots._html._orbits import page_of_orbits
from ..plots._html._report import RUNS, SIZE, About, page_of_run, page_of_sweep, title_of
from . import _families, _reports
from ._console import say
from ._folder import Folder
from ._machine import precision
from ._output import store_in
from ._settings import FILE, read
from ._stored import family_of, settings_folder, stored

_NAME = "report.html"


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a sweep, a run, a fit or orbits as one HTML file: to hover, zoom and click, without a
    server.

    Of a sweep, also an unfinished one: its map or curve with the theory over it, sliders for
    further axes, and at a click the overlaps and saliencies of the point, for which some points are
    simulated again now. Of a run or a fitted model: its curves, switches and images. Of
    `hopfax dynamics --out`: the branches, their special points and multipliers.
    Example: hopfax report hopfax-out/sweep-0123abcd
    """

    folder: Positional[pathlib.Path]
    """What `hopfax sweep`, `run`, `dynamics` or `fit` wrote to, a stored sweep, or a model's
    file."""
    out: pathlib.Path | None = None
    """The .html file (default: report.html in the folder; beside a store or a model)."""
    runs: int = RUNS
    """How many points are simulated again at most; 0 for none."""
    size: float = SIZE / 1e6
    """Megabytes of the file that their runs may take."""
    theory: bool = True
    """Lay the predictions over it, where there are any."""
    overwrite: bool = False
    """Replace a file that hopfax did not write, or that was changed since."""

    def __call__(self) -> int:
        """Write and say where."""
        if self.runs < 0 or not 0 <= self.size < 1000:
            raise ValueError(
                f"`runs` must be at least 0, and `size` from 0 to 1000, got {self.runs} and "
                f"{self.size:g}."
            )
        require()
        kind = _reports.kind_of(self.folder)
        out = self._file(kind)
        if out.suffix not in (".html", ".htm"):
            raise ValueError(f"`out` must end in .html, got {str(out)!r}.")
        place = Folder(out.parent, self.overwrite)
        place.check_named(out.name)
        with precision("float64"):
            pages = {"sweep": self._sweep, "run": self._run, "dynamics": self._orbits}
            text = pages.get(kind, self._fit)()
            place.write(out.name, lambda partial: partial.write_bytes(text.encode()), named=True)
        say(f"written to {out} ({len(text.encode()) / 1e6:.1f} MB); open it in a browser")
        return 0

    def _file(self, kind: str) -> pathlib.Path:
        """Where to write."""
        if self.out is not None:
            return self.out if self.out.suffix else self.out.with_name(f"{self.out.name}.html")
        if kind in ("run", "dynamics"):
            return self.folder / _NAME
        if kind == "fit":
            return _reports.model_in(self.folder).with_suffix(".html")
        if (self.folder / FILE).is_file():
            return self.folder / _NAME
        store = store_in(self.folder)
        beside = store if store.name not in ("", "..") else store.resolve()
        return beside.with_name(f"{beside.name}.html")

    def _sweep(self) -> str:
        dataset, folder = stored(self.folder), settings_folder(self.folder)
        notes: list[str] = []
        again = self._again(folder, dataset, notes) if self.runs else None
        settings: dict[str, Any] = {}
        if folder is not None:
            settings = read(folder / FILE, "sweep")
            if dataset.attrs.get("title"):
                notes.append(f"Made by `hopfax sweep`; its settings are in {FILE} beside it.")
        waiting = int((dataset["status"] == -1).sum())
        if waiting:
            notes.insert(0, f"Unfinished: {waiting:,} points have not been run.")
        about = About(title_of(dataset), settings, again, notes)
        how: dict[str, Any] = dict(theory=self.theory, size=int(1e6 * self.size))
        try:
            return page_of_sweep(dataset, about, runs=self.runs, **how)
        except (ValueError, TypeError, OSError) as error:
            if again is None:
                raise
            notes.append(f"No runs were made again: {error}")
            return page_of_sweep(dataset, about._replace(again=None), runs=0, **how)

    def _again(self, folder: pathlib.Path | None, dataset: Any, notes: list[str]) -> Any:
        """How the sweep is computed again; None, and why in a note, where that is not known."""
        if folder is None:
            notes.append(
                "No runs were made again: what this sweep computed is known to the program that "
                "made it; hopfax.plots.report(folder, file, point=...) takes it."
            )
            return None
        try:
            return _families.cell(family_of(folder), "sweep").again(folder)
        except (ValueError, TypeError, OSError, StoreError) as error:
            notes.append(f"No runs were made again: {error}")
            return None

    def _orbits(self) -> str:
        return page_of_orbits(*_reports.orbits_in(self.folder))

    def _run(self) -> str:
        return page_of_run(*_reports.run_in(self.folder))

    def _fit(self) -> str:
        file = _reports.model_in(self.folder)
        return page_of_run(_families.cell("sequential", "fit").replayed(file))
