"""Colours that are told apart in colour, in greyscale, and by the colour-blind.

Their lightness rises in even steps, so that they differ where hue is not seen; a test measures how
far apart they are under all kinds of colour blindness.
"""

from typing import NamedTuple

#: Colours of lines, neighbours far apart in lightness.
COLOURS = ("#4860A6", "#E37A26", "#1B1B23", "#64B9D9", "#81303B", "#018D6A", "#DBC66D", "#042E76")
#: Fills of the regimes, and of what else a point of a diagram may be.
REGIME_COLOURS = {
    "sequence": "#3EACD1",
    "collapse": "#EDEEEF",
    "locked": "#5F9269",
    "mixed": "#955C75",
    "tie": "#E8D56B",
    "undecided": "#E8AB8E",
    "spurious": "#464C90",
    "failed": "#2D2E32",
    "unstable": "#F0F0F0",
    "stable": "#B5DCC0",
    "certified": "#5FA3C7",
}
#: Dashes of lines, as of matplotlib and of SVG; each is combined with all colours.
DASHES = ("-", "--", ":", "-.")
SVG_DASHES = ("", "6 3", "1.5 2.5", "7 2.5 1.5 2.5")
#: So many lines differ; then they repeat.
DIFFERENT = len(COLOURS) * len(DASHES)


class Look(NamedTuple):
    """Colour and dashes of one line of several."""

    colour: str
    dashes: str
    svg: str


def look_of(number: int) -> Look:
    """How the line of the memory `number` looks: a colour of its own up to eight, then the same
    ones with other dashes; from `DIFFERENT` on they repeat."""
    row = number // len(COLOURS) % len(DASHES)
    return Look(COLOURS[number % len(COLOURS)], DASHES[row], SVG_DASHES[row])


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.18 else "white"  # where both have the same contrast
