"""Training or evaluation mode for a while: each module's own mode is put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(*networks: nn.Module, training: bool = False) -> Iterator[None]:
    """`networks` in evaluation mode, or in training mode; every module within them ends in the mode it was in."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    try:
        for network in networks:
            network.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
