"""Observers of a training: they look at a game and never change it."""
