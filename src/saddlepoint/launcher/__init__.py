"""Training processes: a pool on this machine, a cluster, and the ranks of one run."""
