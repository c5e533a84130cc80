"""A search for settings: space, samplers, trials, and what it leaves."""
