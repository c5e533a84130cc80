"""Scores of samples, one each."""
