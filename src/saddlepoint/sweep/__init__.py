"""Hyperparameter search: search space, samplers, trials, and the report."""
