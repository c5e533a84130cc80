"""Modules that an architecture takes as arguments."""
