"""Differential privacy: the accountant, Poisson sampling, clipped per-sample gradients, and the guarantee of a run."""
