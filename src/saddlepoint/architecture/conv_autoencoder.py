"""Small convolutional networks of one size: encoder, generator and discriminator, for VAE, VAE-GAN, BiGAN and GAN.

    encoder, discriminator   two 4 x 4 convolutions with stride 2, `width` and 2 `width` channels; then a linear layer
    generator                the reverse, with transposed convolutions, ending in tanh

The layers are those of DCGAN (Radford et al. 2015, arXiv:1511.06434); sizes are own.  All four games compare the same
generator, and the first three the same encoder.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.posterior import GaussianPosterior
from saddlepoint.turn import UNCONDITIONAL, Condition

Norm = Callable[[int], nn.Module] | None


class Encoder(nn.Module):
    """x [N, C, H, W] -> ({z: [N, dim]}, (mean, log_variance)), or with posterior=False {z: [N, dim]} alone.

    posterior  a Gaussian q(z|x), of which z is a sample (VAE); False: z is a function of x (BiGAN)
    Raises ValueError unless H and W are multiples of 4.
    """

    def __init__(
        self, shape: Sequence[int], dim: int, width: int = 32, norm: Norm = None, posterior: bool = True
    ) -> None:
        super().__init__()
        features = _check_features(shape, width)
        self.layers = nn.Sequential(
            hidden_layer(nn.Conv2d(shape[0], width, 4, 2, 1), width, None, nn.LeakyReLU(0.2)),
            hidden_layer(nn.Conv2d(width, 2 * width, 4, 2, 1), 2 * width, norm, nn.LeakyReLU(0.2)),
            nn.Flatten(),
        )
        self.last = GaussianPosterior(features, dim) if posterior else nn.Linear(features, dim)

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> Any:
        """Return the code, and with a posterior its mean and log variance."""
        features = self.layers(x)
        return (
            self.last(features, condition) if isinstance(self.last, GaussianPosterior) else {"z": self.last(features)}
        )


class Generator(nn.Module):
    """Latent parts, [N, dim] in total -> [N, C, H, W] in [-1, 1]."""

    def __init__(self, latent: int, shape: Sequence[int], width: int = 32, norm: Norm = None) -> None:
        super().__init__()
        features, bias = _check_features(shape, width), norm is None
        inner = (2 * width, shape[1] // 4, shape[2] // 4)
        first = nn.Sequential(nn.Linear(latent, features, bias=bias), nn.Unflatten(1, inner))
        self.layers = nn.Sequential(
            hidden_layer(first, 2 * width, norm, nn.ReLU()),
            hidden_layer(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=bias), width, norm, nn.ReLU()),
            nn.ConvTranspose2d(width, shape[0], 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W]."""
        return self.layers(torch.cat(list(latent.values()), 1))


class Discriminator(discriminator.Discriminator):
    """[N, C, H, W] -> one logit; hidden layers conv1, conv2, flat, and with a condition joint.

    condition  width of each entry of the condition, {code: 16}: it is concatenated to the features of the image, and a
               hidden layer `joint` of `joint` units follows (BiGAN)
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 32,
        norm: Norm = None,
        condition: Mapping[str, int] = NO_CONDITION,
        joint: int = 128,
        **head: Any,
    ) -> None:
        features = _check_features(shape, width)
        trunk: dict[str, nn.Module] = {
            "conv1": hidden_layer(nn.Conv2d(shape[0], width, 4, 2, 1), width, None, nn.LeakyReLU(0.2)),
            "conv2": hidden_layer(nn.Conv2d(width, 2 * width, 4, 2, 1), 2 * width, norm, nn.LeakyReLU(0.2)),
            "flat": nn.Flatten(),
        }
        if condition:
            join = Concatenation(condition)
            trunk["joint"] = ConditionalSequential(join, nn.Linear(features + join.width, joint), nn.LeakyReLU(0.2))
            features = joint
        super().__init__(trunk, features, **head)


def _check_features(shape: Sequence[int], width: int) -> int:
    """Return the number of features at a quarter of the resolution.  Raises ValueError for sizes not divisible by 4."""
    if shape[1] % 4 or shape[2] % 4:
        raise ValueError(
            f"conv_autoencoder needs images whose sides are multiples of 4, not {shape[1]} x {shape[2]}: set data.size"
        )
    return 2 * width * (shape[1] // 4) * (shape[2] // 4)
