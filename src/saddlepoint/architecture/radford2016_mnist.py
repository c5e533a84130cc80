"""The conditional DCGAN for MNIST: the class is an input of every layer.  Radford et al. 2015 (arXiv:1511.06434).

    G:  [z, y] -> dense 1024 -> [., y] -> dense 7 x 7 x 128 -> [., y] -> transposed 5 x 5, stride 2: 64 -> [., y] -> C
    D:  [x, y] -> 5 x 5, stride 2: 64 -> [., y] -> 128 -> [., y] -> dense 1024 -> [., y] -> one logit

y is one-hot, as constant maps for convolutions. Sizes, a batch norm without gain and bias, and initial weights from
N(0, 0.02^2) are those of the authors' code (Newmu/dcgan_code, mnist/train_cond_dcgan.py). Its images are in [0, 1],
here in [-1, 1], so G ends in 2 sigmoid - 1 and D starts with (x + 1) / 2.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.unit_range import UnitRange
from saddlepoint.turn import UNCONDITIONAL, Condition

STD = 0.02  # of the initial weights
Norm = Callable[[int], nn.Module] | None


class Generator(nn.Module):
    """Latent parts [N, dim] -> images [N, C, 28, 28] in [-1, 1].

    width, dense  channels before the last convolution (twice as many before that), and units of the first layer
    condition     width of each entry of the condition that is concatenated to the input of every layer, by its name
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 64,
        dense: int = 1024,
        norm: Norm = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        channels, join, maps = _image_channels(shape), Concatenation(condition), 2 * width * 7 * 7
        y, bias = join.width, norm is None
        self.layers = ConditionalSequential(
            join,
            hidden_layer(nn.Linear(latent + y, dense, bias=bias), dense, norm, nn.ReLU()),
            join,
            hidden_layer(nn.Linear(dense + y, maps, bias=bias), maps, norm, nn.ReLU()),
            nn.Unflatten(1, (2 * width, 7, 7)),
            join,
            hidden_layer(nn.ConvTranspose2d(2 * width + y, width, 5, 2, 2, 1, bias=bias), width, norm, nn.ReLU()),
            join,
            nn.ConvTranspose2d(width + y, channels, 5, 2, 2, 1),
            nn.Sigmoid(),
        )
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, 28, 28] in [-1, 1] for latent parts [N, dim]."""
        return 2 * self.layers(torch.cat(list(latent.values()), 1), condition) - 1


class Discriminator(discriminator.Discriminator):
    """Images [N, C, 28, 28] -> one logit; hidden layers conv1, conv2, dense, and joined: dense with the condition.

    width, dense  channels after the first convolution (twice as many after the second), and units of the last layer
    condition     width of each entry of the condition that is concatenated to the input of every layer, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        dense: int = 1024,
        norm: Norm = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        channels, join, maps = _image_channels(shape), Concatenation(condition), 2 * width * 7 * 7
        y, bias = join.width, norm is None
        conv1 = hidden_layer(nn.Conv2d(channels + y, width, 5, 2, 2), width, None, nn.LeakyReLU(0.2))
        conv2 = hidden_layer(nn.Conv2d(width + y, 2 * width, 5, 2, 2, bias=bias), 2 * width, norm, nn.LeakyReLU(0.2))
        linear = hidden_layer(nn.Linear(maps + y, dense, bias=bias), dense, norm, nn.LeakyReLU(0.2))
        trunk = {
            "conv1": ConditionalSequential(UnitRange(), join, conv1),
            "conv2": ConditionalSequential(join, conv2),
            "dense": ConditionalSequential(nn.Flatten(), join, linear),
            "joined": join,
        }
        super().__init__(trunk, dense + y, **head)
        self.apply(_init_weights)


def _image_channels(shape: Sequence[int]) -> int:
    """Return C of [C, 28, 28].  Raises Mistake for any other shape."""
    if tuple(shape[1:]) != (28, 28):
        raise Mistake(
            f"radford2016_mnist makes 28 x 28 images, but data.shape is {list(shape)}: use architecture=dcgan or mlp"
        )
    return shape[0]


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
