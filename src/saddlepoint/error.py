"""A mistake that a person can mend, told in a line or two."""


class Mistake(Exception):
    """What is wrong, where, and what to do; printed as it stands, without a traceback, and the exit code is 1."""
