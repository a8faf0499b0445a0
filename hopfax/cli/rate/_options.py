"""Options that `run` and `sweep` of rate memories share, each with its help."""

import pathlib
from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

from .._options import AxisOptions

RateSource: TypeAlias = Annotated[
    str,
    arg(
        help="Memories: balanced, sparse (independent, of activity q), or active neurons from "
        "hadamard, random, correlated:RHO (signs), digits, a .npy, .npz or .csv file (positive "
        "entries) or a folder of PNG or JPEG images (bright pixels)."
    ),
]
RateMemories: TypeAlias = Annotated[
    int | None,
    arg(help="How many memories (default: 1 + 1/q balanced ones, 4, or all that the source has)."),
]
Grey: TypeAlias = Annotated[
    str | None,
    arg(
        help="Grey level above which a pixel is active: median (the default), mean or otsu of each "
        "image, or a number."
    ),
]
Active: TypeAlias = Annotated[
    float | None,
    arg(
        help="Share of neurons that are active in memories from images and files, those with the "
        "greatest values, so that all have one activity (default: by `grey`, or by sign)."
    ),
]
Learning: TypeAlias = Annotated[
    Literal["projection", "covariance", "pseudo_inverse"],
    arg(help="Design of the weights; pseudo_inverse holds memories of different activities."),
]
RateInit: TypeAlias = Annotated[
    AxisOptions,
    arg(
        help="NAME VALUE,VALUE,... of a start, e.g. weights 0.6,0.3,0 (default: memory 0 at half "
        "its rates); may be given again."
    ),
]
Current: TypeAlias = Annotated[
    tuple[float, ...], arg(help="Coefficients of a current in the memories, e.g. 0.1 0 0.")
]
Stimulus: TypeAlias = Annotated[
    tuple[float, ...],
    arg(
        help="Coefficients of a stimulus in the memories; the synapses then follow it "
        "(input-driven plasticity)."
    ),
]
RateModel: TypeAlias = Annotated[
    pathlib.Path | None,
    arg(
        help="A saved network, of any kind in continuous time, in place of one made from the "
        "options."
    ),
]
