"""Temporary training or evaluation mode for networks."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(*networks: nn.Module, training: bool = False) -> Iterator[None]:
    """Put `networks` into evaluation mode, or training mode; on exit, restore the mode of every module in them."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    try:
        for network in networks:
            network.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
