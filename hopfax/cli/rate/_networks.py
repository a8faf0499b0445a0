"""Rate memories as the commands' options describe them."""

from typing import Any

import jax

import hopfax as hx

from .._inputs import coefficients, start_of
from .._limits import check_patterns, check_seed
from .._memories import Source, are_images, memories_of, named, options_named
from .._models import load_flow
from ._points import ACTIVATIONS

LEARNING = ("projection", "covariance", "pseudo_inverse")
#: Sets of active neurons that have a name; signs, images and files become active neurons.
SETS = ("balanced", "sparse")
#: What a model has already.
OF_THE_MODEL = ("patterns", "memories", "neurons", "transpose", "image_shape", "grey", "active")
OF_THE_MODEL += ("q", "gain", "threshold", "a", "b", "activation", "learning")
#: Rates of memory 0 at the start, over those of the memory itself.
CUE = 0.5
_NAMES = {"threshold": "grey", "q": "active"}


def is_named(source: str) -> bool:
    """Whether memories are made or known by a name, and not read from a file."""
    return source in SETS or named(source)


def size_of(q: float, neurons: int | None) -> int:
    """How many neurons there are: about 1000 where nothing is said, so that the sets are whole."""
    inverse = round(1 / q)
    return neurons or max(round(1000 / inverse**2), 1) * inverse**2


def memories(asked: Any, shown: bool = False) -> tuple[hx.Patterns, tuple[int, int] | None]:
    """Sets of active neurons, and the height and width of the images if they are some.

    **Raises:** ValueError or OSError naming the option at fault, also one that does nothing.
    """
    check_seed(asked.seed)
    source, share = asked.patterns, asked.active
    values = not is_named(source) or source == "digits"
    if share is not None and not (values and 0 < share < 1):
        raise ValueError(f"`active` is a share in (0, 1), for images and files, got {share:g}.")
    if source in SETS:
        return _sets(asked), None
    if asked.q != type(asked).q:
        raise ValueError(f"`q` is of balanced and sparse memories; those of {source} have theirs.")
    with options_named(_NAMES):
        how = (asked.memories, asked.neurons, asked.transpose, asked.seed, asked.image_shape)
        images = are_images(source)
        found, shape = memories_of(Source(source, *how, asked.grey), shown, share)
        return hx.patterns.active(found, None if images else share), shape


def _sets(asked: Any) -> hx.Patterns:
    """Balanced or sparse sets."""
    for name in ("transpose", "image_shape", "grey"):
        if getattr(asked, name):
            raise ValueError(f"`{name}` is for memories from images or files.")
    P, N = asked.memories, size_of(asked.q, asked.neurons)
    for name, value in (("memories", P), ("neurons", asked.neurons)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    check_patterns(P or 1 + round(1 / asked.q), N)
    with options_named({"P": "memories", "N": "neurons"}):
        if asked.patterns == "sparse":
            return hx.patterns.sparse(jax.random.key(asked.seed), P or 4, N, asked.q)
        found = hx.patterns.balanced(asked.q, N)
    if P is not None and P > found.P:
        raise ValueError(
            f"`memories` is {P}, but there are {found.P} balanced ones at q = {asked.q:g}; "
            "--patterns sparse makes any number."
        )
    return hx.Patterns(found.xi[:P], binary=False)


def network(asked: Any, found: hx.Patterns | None, values: dict[str, float]) -> Any:
    """The network: of --model, or with these gain, threshold and currents; with a stimulus, one
    whose synapses follow it."""
    if asked.model is not None:
        return load_flow(asked.model, asked.classes)
    gain, threshold = values["gain"], values["threshold"]
    phi = ACTIVATIONS[asked.activation](gain, threshold)
    kind = hx.InputDrivenRateMemory if asked.stimulus else hx.RateMemory
    assert found is not None
    how: Any = {"activation": phi, "learning": asked.learning}
    try:
        return kind(found, a=values["a"], b=values["b"], **how)
    except ValueError as error:
        if "equal activity" in str(error):
            error.add_note("Here: --learning pseudo_inverse; of images and files, --active 0.3.")
        raise


def start(asked: Any, network: Any) -> dict[str, Any]:
    """The arguments of `init`: as --init has them, or else memory 0 at half its rates."""
    P = network.patterns.P
    cue = [CUE if mu == 0 else 0.0 for mu in range(P)]
    if network.slow_constant() is not None and not isinstance(network, hx.DaleRateMemory):
        return start_of(asked.init, {"saliency": [1.5 if mu == 0 else 0.0 for mu in range(P)]})
    return start_of(asked.init, {"weights": cue})


def inputs(asked: Any, network: Any, axes: Any = ()) -> dict[str, Any]:
    """Stimulus and current by their coefficients."""
    P, current = network.patterns.P, asked.current
    if asked.input is not None:
        if current:
            raise ValueError("`input` is the first coefficient of `current`; give one of them.")
        current = (asked.input,)
    stimulus = coefficients(asked.stimulus, "stimulus", P, axes)
    return {"stimulus": stimulus, "current": coefficients(current, "current", P, axes)}
