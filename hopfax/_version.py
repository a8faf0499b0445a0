"""The version of hopfax: the one place where it is written.

The build of a wheel reads it from here, `hopfax.__version__` is it, also in a source tree that is
not installed, and `tests/test_release.py` compares CITATION.cff and the recipe of conda-forge with
it.
"""

__version__ = "0.1.0"
