"""Layers that an architecture takes as arguments."""
