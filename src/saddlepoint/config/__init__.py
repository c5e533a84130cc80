"""Configs: composed from overrides, checked once, read-only, with an identity."""
