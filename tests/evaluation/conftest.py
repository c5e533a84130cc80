"""The small data sets of tests/support/measured.py as fixtures."""

from measured import points, random_weights, stripes

__all__ = ["points", "random_weights", "stripes"]
