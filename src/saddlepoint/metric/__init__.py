"""Metrics of generated samples, one per module."""
