"""Options that `run` and `sweep` of dense memories share, each with its help."""

from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

DenseSource: TypeAlias = Annotated[
    str,
    arg(
        help="Memories: random, hadamard, correlated:RHO, digits, a .npy, .npz or .csv file, or a "
        "folder of PNG or JPEG images."
    ),
]
Temperature: TypeAlias = Annotated[float, arg(help="Temperature of the neurons, which are signs.")]
Update: TypeAlias = Annotated[
    Literal["parallel", "cyclic", "random"],
    arg(help="All neurons at once, or one after the other in this order."),
]
Transition: TypeAlias = Annotated[
    Literal["none", "cyclic", "chain"],
    arg(
        help="Memories that hold themselves, or that each call the next one; of a cycle the last "
        "one calls the first."
    ),
]
Learning: TypeAlias = Annotated[
    Literal["hebbian", "pseudo_inverse"],
    arg(
        help="Forces by the overlaps with the memories, or by decorrelated overlaps, for up to N "
        "memories that resemble each other."
    ),
]
Start: TypeAlias = Annotated[
    float, arg(help="Overlap of the start with the memory whose signs are changed.")
]
Cued: TypeAlias = Annotated[int, arg(help="Which memory that is.")]
