"""`hopfax explore`: networks live, on a page of one's own browser."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import pathlib
import secrets
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from typing import Literal

from .._errors import missing
from .._explore._memories import Source, given, hadamard, later, pictures, random, uploaded
from .._files import open_regular
from ..patterns._images import files_in, read_images
from . import _options
from ._console import say
from ._limits import check_seed
from ._machine import Precision
from ._memories import Source as Asked, digits, memories_of, named, options_named, path_of

_MOST = 256  # made-up memories
_IMAGES = (".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class Explore:
    """Explore networks live: a page with sliders, in your browser, served by your own machine.

    Overlaps, saliencies, the retrieved image and the theory follow the sliders. The page is for
    this machine alone (127.0.0.1), and for who has the address with its token. Ctrl-C ends it.
    Example: hopfax explore --patterns digits
    """

    network: Literal["sequential", "dense", "rate"] = "sequential"
    """The family of networks that the page begins with."""
    patterns: tuple[str, ...] = ("hadamard",)
    """Memories that it begins with: hadamard, random, digits, a .npy, .npz or .csv file, a folder
    of PNG or JPEG images, or several image files. Images are made as large as the first one, but
    no side longer than 64 pixels. They can also be uploaded on the page."""
    memories: int | None = None
    """How many memories it begins with (default: as the network has it)."""
    image_shape: _options.ImageShape = None
    seed: int = 0
    """Seed of random memories."""
    port: int = 0
    """Port to listen on; 0 picks a free one."""
    browser: bool = True
    """Open the page in a browser, where there is a display."""
    precision: Precision = "float64"
    """Floating-point precision."""

    def __call__(self) -> int:
        """Serve the page until Ctrl-C."""
        check_seed(self.seed, 0)
        if not 0 <= self.port < 2**16:
            raise ValueError(f"`port` must be from 0 (any free one) to 65535, got {self.port}.")
        if self.memories is not None and self.memories < 2:
            raise ValueError(f"`memories` must be at least 2, got {self.memories}.")
        try:
            import bokeh  # noqa: F401
        except ImportError as error:
            raise missing("bokeh", "web", "hopfax explore") from error
        from .._explore.bokeh import serving

        if os.environ.get("HOPFAX_DEBUG", "0") in ("", "0"):  # else of each page that is closed
            for name in ("bokeh", "tornado"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        sources, first = self._sources()
        begin = (self.network, first, self.memories)
        with serving(sources, begin, self.port) as (address, entrance):
            say(f"listening on {address} (this machine alone); Ctrl-C ends it\nopen {entrance}")
            with _opened(entrance, self.browser and has_display()):
                while True:  # a wait without end could not be interrupted everywhere
                    threading.Event().wait(1.0)

    def _sources(self) -> tuple[dict[str, Source], str]:
        """All memories that the page offers, and the name of those that it begins with.

        **Raises:** ValueError or OSError naming the option at fault.
        """
        found = {"hadamard": hadamard(_MOST), "random": random(_MOST, self.seed)}
        if importlib.util.find_spec("sklearn") is not None:
            found["digits"] = later("digits", 10, digits)
        if not self.patterns:
            raise ValueError("`patterns` must name some memories, e.g. digits or a folder.")
        if len(self.patterns) == 1 and self.patterns[0] in ("hadamard", "random", "digits"):
            if self.image_shape is not None:
                raise ValueError("`image_shape` is for images and files of one's own.")
            if self.patterns[0] not in found:
                raise missing("scikit-learn", "data", "--patterns digits")
            return found, self.patterns[0]
        own = self._own()
        return {"given": own} | found, "given"

    def _own(self) -> Source:
        """The memories in a folder or in files."""
        places = [path_of(name) for name in self.patterns]
        if len(places) == 1 and places[0].suffix.lower() not in _IMAGES:
            name, place = self.patterns[0], places[0]
            if place.is_dir() and not named(name):
                with options_named():
                    if self.image_shape is None:
                        return uploaded([(file.name, _content(file)) for file in files_in(place)])
                    images = read_images(place, self.image_shape)
                    return pictures(place.name, images.levels, images.names)
            asked = Asked(name, seed=self.seed, image_shape=self.image_shape)
            patterns, shape = memories_of(asked, shown=True)
            return given(place.name, patterns, shape)
        for place in places:
            if place.suffix.lower() not in _IMAGES:
                raise ValueError(f"`patterns`: several must be PNG or JPEG images, got {place}.")
        for place in places:
            if not place.exists():
                raise FileNotFoundError(f"`patterns`: there is no file {str(place)!r}.")
        with options_named():
            return uploaded([(place.name, _content(place)) for place in places])


def _content(place: pathlib.Path) -> bytes:
    with open_regular(place, "patterns") as file:
        return file.read()


def has_display() -> bool:
    """Whether a browser with windows can be opened here."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def _opened(entrance: str, wanted: bool) -> Iterator[None]:
    """While inside, a browser shows the page, if wanted. It is led there by a file that this user
    alone can read, since all users of a machine see what programs are started with."""
    if not wanted:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="hopfax-") as folder:  # for this user alone
        file = pathlib.Path(folder) / f"{secrets.token_hex(4)}.html"
        file.write_text(
            f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={entrance}">'
            f'<a href="{entrance}">hopfax explore</a>'
        )
        webbrowser.open(file.as_uri())
        yield
