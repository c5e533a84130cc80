"""The files that `saddlepoint init` writes: a loss, its config, an experiment and a test."""
