"""Fixtures of the fake data in tests/support/measured.py."""

from measured import points, random_weights, stripes

__all__ = ["points", "random_weights", "stripes"]
