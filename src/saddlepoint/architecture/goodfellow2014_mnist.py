"""The perceptrons of the first GAN on MNIST.  Goodfellow et al. 2014 (arXiv:1406.2661), section 5.

    G:  latent -> 1200, ReLU -> 1200, ReLU -> pixels, sigmoid
    D:  dropout -> maxout, 240 units of 5 pieces -> dropout -> maxout, 240 of 5 -> dropout -> one logit

Sizes, dropout and initial values are those of the authors' code (goodfeli/adversarial, mnist.yaml): weights of G from
U(-0.05, 0.05), of D from U(-0.005, 0.005), biases 0 but for those of G's pixels, with which G starts at the mean pixel.
Its images are in [0, 1], here in [-1, 1], so G ends in 2 sigmoid - 1 and D starts with (x + 1) / 2.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.maxout import Maxout
from saddlepoint.layer.unit_range import UnitRange
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> widths, ReLU -> shape, 2 sigmoid - 1.

    mean_pixel  in (0, 1): the value of every pixel at the start, for a latent of zeros. The authors' code starts each
                pixel at its own mean over the training images
    span        weights start from U(-span, span)
    Raises ValueError if mean_pixel is not in (0, 1).
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        widths: Sequence[int] = (1200, 1200),
        mean_pixel: float = 0.131,
        span: float = 0.05,
    ) -> None:
        super().__init__()
        if not 0 < mean_pixel < 1:
            raise ValueError(f"mean_pixel={mean_pixel} must lie in (0, 1)")
        sizes = [latent, *widths]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        last = nn.Linear(sizes[-1], math.prod(shape))
        self.layers = nn.Sequential(*hidden, last, nn.Sigmoid())
        _init_weights(self, span)
        nn.init.constant_(last.bias, math.log(mean_pixel / (1 - mean_pixel)))
        self.shape = tuple(shape)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, *shape] in [-1, 1] for latent parts [N, dim]."""
        return 2 * self.layers(torch.cat(list(latent.values()), 1)).unflatten(1, self.shape) - 1


class Discriminator(discriminator.Discriminator):
    """shape -> [0, 1] -> dropout and maxout per width -> dropout -> one logit; hidden layers hidden1, hidden2, ...

    input_dropout, dropout  probability that a pixel or a hidden unit is dropped, in training
    span                    weights start from U(-span, span)
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (240, 240),
        pieces: int = 5,
        input_dropout: float = 0.2,
        dropout: float = 0.5,
        span: float = 0.005,
        **head: Any,
    ) -> None:
        sizes = [math.prod(shape), *widths]
        layers = [nn.Sequential(nn.Dropout(dropout), Maxout(a, b, pieces)) for a, b in pairwise(sizes)]
        layers[0] = nn.Sequential(nn.Flatten(), UnitRange(), nn.Dropout(input_dropout), layers[0][1])
        layers[-1].append(nn.Dropout(dropout))
        super().__init__({f"hidden{i}": layer for i, layer in enumerate(layers, 1)}, sizes[-1], **head)
        _init_weights(self, span)


def _init_weights(network: nn.Module, span: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -span, span)
            nn.init.zeros_(module.bias)
