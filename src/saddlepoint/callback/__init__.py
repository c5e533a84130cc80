"""Callbacks that observe training without changing it."""
