"""Options that several commands have, each with its help: what they mean is said once."""

import pathlib
from typing import Annotated, TypeAlias

import tyro

#: An option that may be given several times, each a name and what it goes through.
AxisOptions: TypeAlias = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]


def _with(text: str) -> object:
    return tyro.conf.arg(help=text)


# Memories

SignSource: TypeAlias = Annotated[
    str,
    _with(
        "Memories: hadamard, random, correlated:RHO (signs that overlap by RHO on average), digits "
        "(scikit-learn's 8 x 8 digits, one of each), a .npy, .npz or .csv file, or a folder of PNG "
        "or JPEG images."
    ),
]
Memories: TypeAlias = Annotated[
    int | None, _with("How many memories (default: 4, or all that the source has).")
]
Neurons: TypeAlias = Annotated[
    int | None, _with("How many neurons (default: 1024, or as the source says).")
]
Transpose: TypeAlias = Annotated[
    bool, _with("A memory is a column of the .npy, .npz or .csv file, not a row.")
]
ImageSize: TypeAlias = Annotated[
    tuple[int, int] | None, _with("Height and width to which images of a folder are resized.")
]
ImageShape: TypeAlias = Annotated[
    tuple[int, int] | None,
    _with(
        "Height and width: resizes images of a folder, and shows the memories of a file as images."
    ),
]
Threshold: TypeAlias = Annotated[
    str | None,
    _with(
        "Grey level above which a pixel is +1: median (the default), mean or otsu of each image, "
        "or a number."
    ),
]

# Runs

Init: TypeAlias = Annotated[
    AxisOptions,
    _with(
        "NAME VALUE,VALUE,... of a start, e.g. weights 0.6,0.3,0 (default: memory 0); may be given "
        "again."
    ),
]
Noise: TypeAlias = Annotated[float, _with("Strength of the noise on every neuron.")]
Classes: TypeAlias = Annotated[
    pathlib.Path | None,
    _with("A Python file with the class of that network, if it is not one of hopfax's; it is run."),
]

# The folder, and how it is computed

Config: TypeAlias = Annotated[
    pathlib.Path | None,
    _with("A TOML file with these settings; options on the command line win."),
]
RunFolder: TypeAlias = Annotated[
    pathlib.Path | None,
    _with("Output folder (default: hopfax-out/run-<hash of the settings>)."),
]
Picture: TypeAlias = Annotated[
    str, _with("Name of the picture in that folder, which ends in .png, .pdf or .svg.")
]
RunAgain: TypeAlias = Annotated[
    bool, _with("Replace the files of an earlier run in the output folder.")
]
SweepFolder: TypeAlias = Annotated[
    pathlib.Path | None,
    _with("Output folder (default: hopfax-out/sweep-<hash of the settings>)."),
]
SweepAgain: TypeAlias = Annotated[
    bool, _with("Compute again and replace an earlier result in the output folder.")
]
Store: TypeAlias = Annotated[
    pathlib.Path | None, _with("Folder of the dataset (default: sweep, in the output folder).")
]
Resume: TypeAlias = Annotated[bool, _with("Insist on going on with a sweep that is there already.")]
Devices: TypeAlias = Annotated[
    int | None,
    _with(
        "How many devices to use (default: all); more than one of a CPU are made when asked for."
    ),
]
Dask: TypeAlias = Annotated[
    str | None,
    _with("Address of a Dask scheduler whose workers, seeing the same folder, do the work."),
]
Part: TypeAlias = Annotated[
    tuple[int, int] | None,
    _with("K N: do only the K-th of N parts (K from 0), for the tasks of a job array."),
]
Chunk: TypeAlias = Annotated[
    int | None,
    _with("About how many points are stored at a time (default: what takes some seconds)."),
]
DryRun: TypeAlias = Annotated[
    bool, _with("Only say how long it would take and how large the result would be.")
]
