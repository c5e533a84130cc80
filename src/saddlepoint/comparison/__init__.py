"""Compares arms of runs over seeds: statistics, arms, and reports."""
