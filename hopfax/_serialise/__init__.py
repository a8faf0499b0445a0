"""Models to and from files: a sealed JSON header, then the arrays. No pickle, no code."""

from ._model import kind_of as kind_of, load as load, notes as notes, save as save
