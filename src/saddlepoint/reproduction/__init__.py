"""Reproduces published figures: baselines, verdicts and certificates."""
