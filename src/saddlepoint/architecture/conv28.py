"""Two small convolutional networks for 28 x 28.

Both transposed convolutions of the generator have stride 2: 7 -> 14 -> 28. The text that describes it has stride 1,
which cannot reach 28 from 7.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> dense 7 x 7 x 128 -> transposed 5 x 5, stride 2: 64, then C -> tanh, 28 x 28.

    condition  width of each entry of the condition that is concatenated to the latent, by its name
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        self.join = Concatenation(condition)
        latent, channels = latent + self.join.width, _image_channels(shape)

        def up(a: int, b: int) -> nn.Module:
            return nn.ConvTranspose2d(
                a, b, 5, stride=2, padding=2, output_padding=1, bias=norm is None or b == channels
            )

        dense = nn.Sequential(nn.Linear(latent, 128 * 7 * 7, bias=norm is None), nn.Unflatten(1, (128, 7, 7)))
        self.layers = ConditionalSequential(
            hidden_layer(dense, 128, norm, nn.ReLU()),
            hidden_layer(up(128, 64), 64, norm, nn.ReLU()),
            up(64, channels),
            nn.Tanh(),
        )

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, 28, 28] in [-1, 1] for latent parts [N, dim]."""
        return self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition)


class Discriminator(discriminator.Discriminator):
    """5 x 5 convolutions, stride 2: 64 -> 128, leaky ReLU 0.2 -> one logit; hidden layers conv1, conv2, flat.

    condition  channels of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        join = Concatenation(condition)
        first = hidden_layer(nn.Conv2d(_image_channels(shape) + join.width, 64, 5, 2, 2), 64, None, nn.LeakyReLU(0.2))
        trunk: dict[str, nn.Module] = {
            "conv1": ConditionalSequential(join, first) if condition else first,
            "conv2": hidden_layer(nn.Conv2d(64, 128, 5, 2, 2), 128, norm, nn.LeakyReLU(0.2)),
            "flat": nn.Flatten(),
        }
        super().__init__(trunk, 128 * 7 * 7, **head)


def _image_channels(shape: Sequence[int]) -> int:
    """Return C of [C, 28, 28].  Raises ValueError for any other shape."""
    if tuple(shape[1:]) != (28, 28):
        raise ValueError(
            f"conv28 makes 28 x 28 images, but the data have shape {list(shape)}; try architecture=dcgan or mlp"
        )
    return shape[0]
