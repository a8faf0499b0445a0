"""Colours that differ in colour, in greyscale, and for the colour-blind; and lines of many."""

import itertools

import numpy as np
import pytest

from hopfax._palette import COLOURS, DIFFERENT, REGIME_COLOURS, ink_on, look_of
from hopfax.observables import REGIMES

colorspacious = pytest.importorskip("colorspacious")
SEEN = ("as it is", "grey", "deuteranomaly", "protanomaly", "tritanomaly")
SETS = {
    "lines": COLOURS,
    "regimes": [*(REGIME_COLOURS[word] for word in (*REGIMES, "failed"))],
    "rate memories": [REGIME_COLOURS[w] for w in ("unstable", "stable", "certified", "failed")],
}


def rgb(colours):
    return np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in colours])


def seen(colours, how):
    """Colours as they are seen, or printed in grey."""
    if how == "as it is":
        return colours
    if how == "grey":
        lab = colorspacious.cspace_convert(colours, "sRGB1", "CIELab")
        lab[:, 1:] = 0
        return np.clip(colorspacious.cspace_convert(lab, "CIELab", "sRGB1"), 0, 1)
    blind = {"name": "sRGB1+CVD", "cvd_type": how, "severity": 100}
    return np.clip(colorspacious.cspace_convert(colours, blind, "sRGB1"), 0, 1)


def least(colours):
    """The least distance of two of these, in CAM02-UCS, in which equal distances look equal."""
    found = colorspacious.cspace_convert(colours, "sRGB1", "CAM02-UCS")
    pairs = itertools.combinations(found, 2)
    return min(float(np.linalg.norm(a - b)) for a, b in pairs)


@pytest.mark.parametrize("how", SEEN)
@pytest.mark.parametrize("name", SETS)
def test_colours_are_told_apart(name, how):
    # 1 is what is just noticed side by side; pictures are compared with a legend, at a distance.
    # In grey, eight steps from white to black are 100 / 8 apart at most.
    assert least(seen(rgb(SETS[name]), how)) > (7.5 if how == "grey" else 10)


def test_the_measure_finds_what_is_too_alike():
    before = rgb(["#8FC6EA", "#E4E4E4", "#BFDDF2"])  # earlier fills of three regimes
    assert least(seen(before, "grey")) < 4
    red_green = rgb(["#B03030", "#5A6B20"])
    assert least(red_green) > 30 and least(seen(red_green, "deuteranomaly")) < 10


def test_so_many_lines_differ():
    looks = [look_of(k) for k in range(DIFFERENT)]
    assert len(set(looks)) == DIFFERENT == 32
    assert look_of(DIFFERENT) == looks[0] and looks[8].colour == looks[0].colour
    assert [look.dashes for look in looks[:9]] == ["-"] * 8 + ["--"]


def test_a_number_can_be_read_on_its_colour():
    def luminance(colour):
        return float(colorspacious.cspace_convert(rgb([colour])[0], "sRGB1", "XYZ100")[1]) / 100

    for colour in (*COLOURS, *REGIME_COLOURS.values()):
        ink, ground = 1.0 if ink_on(colour) == "white" else 0.0, luminance(colour)
        low, high = sorted((ink, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, "contrast as WCAG asks of small text"
