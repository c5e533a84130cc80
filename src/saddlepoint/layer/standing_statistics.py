"""Standing statistics: batch-norm statistics over several forward passes, in place of the running ones.

    mean, variance: per channel, over the union of the layer's inputs in all passes

Brock et al. 2018 (arXiv:1809.11096): samples depend neither on their batch, nor on the weights of earlier updates,
which the running statistics still contain. In each pass every layer normalises by its batch, as in training.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.mode import in_mode

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def standing_statistics(networks: Iterable[nn.Module], passes: Iterable[Callable[[], Any]]) -> Iterator[None]:
    """Use the statistics of `passes`, functions that call the networks; restore the stored ones on exit.

    During the passes all other layers are in evaluation mode. Variances are unbiased, like torch's running ones. Raises
    Mistake if no layer has running statistics.
    """
    networks = tuple(networks)
    layers = [m for network in networks for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    layers = [layer for layer in layers if layer.running_mean is not None]
    if not layers:
        raise Mistake("standing_statistics: the networks that make samples have no batch norm with running statistics")
    stored = [{name: getattr(layer, name).clone() for name in BUFFERS} for layer in layers]
    moments = [_Moments() for _ in layers]
    try:
        hooks = [layer.register_forward_pre_hook(m.update) for layer, m in zip(layers, moments, strict=True)]
        try:
            with torch.no_grad(), in_mode(*networks), in_mode(*layers, training=True):
                for forward in passes:
                    forward()
        finally:
            for hook in hooks:
                hook.remove()
        for layer, m in zip(layers, moments, strict=True):
            if m.n:  # a layer that no pass used keeps its statistics
                layer.running_mean.copy_(m.mean)  # pyright: ignore[reportOptionalMemberAccess]
                layer.running_var.copy_(m.squares / max(1, m.n - 1))  # pyright: ignore[reportOptionalMemberAccess]
        yield
    finally:
        for layer, buffers in zip(layers, stored, strict=True):
            for name, value in buffers.items():
                getattr(layer, name).copy_(value)


class _Moments:
    """n, mean and sum of squared deviations per channel, merged pass by pass in float64.

    Chan et al. 1979 (Updating formulae and a pairwise algorithm for computing sample variances), eq. 2.1.
    """

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def update(self, layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        """A forward pre-hook: add the values of one input [N, C, ...]."""
        channels = arguments[0].detach().transpose(0, 1).flatten(1).cpu().double()  # [C, values]
        n, (variance, mean) = channels.shape[1], torch.var_mean(channels, 1, correction=0)
        total, difference = self.n + n, mean - self.mean
        self.squares = self.squares + variance * n + difference.square() * self.n * n / total
        self.mean = self.mean + difference * n / total
        self.n = total
