"""hopfax layers as Flax NNX modules. Needs Flax: `pip install "hopfax[flax]"`."""

from ._layer import Layer

__all__ = ["Layer"]


def __dir__():
    return sorted(__all__)
