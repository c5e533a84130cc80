"""Processes that train: a pool on this machine, a cluster, the ranks of one run."""
