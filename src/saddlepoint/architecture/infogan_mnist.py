"""The networks of InfoGAN for MNIST: Q shares all layers of D but the last.  Chen et al. 2016 (arXiv:1606.03657), C.1.

    G:  latent -> dense 1024 -> dense 7 x 7 x 128 -> transposed 4 x 4, stride 2: 64, then C
    D:  x -> 4 x 4, stride 2: 64 -> 128 -> dense 1024 -> one logit
    Q:  the 1024 features of D -> dense 128 -> one head per code

The sizes of Q and all initial values are those of the authors' code: weights N(0, 0.02^2), gains of batch norm
N(1, 0.02^2). Its images are in [0, 1], here in [-1, 1], so G ends in 2 sigmoid - 1 and D starts with (x + 1) / 2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.unit_range import UnitRange
from saddlepoint.turn import UNCONDITIONAL, Condition, DiscriminatorOutput

Norm = Callable[[int], nn.Module] | None


class Generator(nn.Module):
    """Latent parts [N, dim] -> images [N, C, 28, 28] in [-1, 1].

    condition  width of each entry of the condition that is concatenated to the latent, by its name
    """

    def __init__(
        self, latent: int, shape: Sequence[int], norm: Norm = None, condition: Mapping[str, int] = NO_CONDITION
    ) -> None:
        super().__init__()
        channels, bias = _image_channels(shape), norm is None
        self.join = Concatenation(condition)
        self.layers = ConditionalSequential(
            hidden_layer(nn.Linear(latent + self.join.width, 1024, bias=bias), 1024, norm, nn.ReLU()),
            hidden_layer(nn.Linear(1024, 128 * 7 * 7, bias=bias), 128 * 7 * 7, norm, nn.ReLU()),
            nn.Unflatten(1, (128, 7, 7)),
            hidden_layer(nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=bias), 64, norm, nn.ReLU()),
            nn.ConvTranspose2d(64, channels, 4, 2, 1),
            nn.Sigmoid(),
        )
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, 28, 28] in [-1, 1] for latent parts [N, dim]."""
        return 2 * self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition) - 1


class Discriminator(discriminator.Discriminator):
    """Images [N, C, 28, 28] -> one logit, and the heads of Q; hidden layers conv1, conv2, dense.

    slope   of the leaky ReLUs: 0.1 in the paper, 0.01 in the authors' code
    heads   number of outputs per head: one per code, with its name and size
    """

    def __init__(
        self,
        shape: Sequence[int],
        slope: float = 0.1,
        norm: Norm = None,
        neck: Norm = None,
        readout: Norm = None,
        heads: Mapping[str, int] | None = None,
    ) -> None:
        channels, bias = _image_channels(shape), norm is None
        dense = nn.Sequential(nn.Flatten(), nn.Linear(128 * 7 * 7, 1024, bias=bias))
        trunk = {
            "conv1": nn.Sequential(UnitRange(), nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(slope)),
            "conv2": hidden_layer(nn.Conv2d(64, 128, 4, 2, 1, bias=bias), 128, norm, nn.LeakyReLU(slope)),
            "dense": hidden_layer(dense, 1024, norm, nn.LeakyReLU(slope)),
        }
        super().__init__(trunk, 1024, neck, readout)
        self.recognition = hidden_layer(nn.Linear(1024, 128, bias=bias), 128, norm, nn.LeakyReLU(slope))
        self.codes = nn.ModuleDict({name: nn.Linear(128, size) for name, size in (heads or {}).items()})
        self.apply(_init_weights)

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> DiscriminatorOutput:
        """Return logits [N], hidden layers by name, and the heads of Q [N, size] by name."""
        output = super().forward(x, condition)
        if not self.codes:
            return output
        hidden = self.recognition(output.features["dense"])
        return replace(output, heads={name: head(hidden) for name, head in self.codes.items()})


def _image_channels(shape: Sequence[int]) -> int:
    """Return C of [C, 28, 28].  Raises Mistake for any other shape."""
    if tuple(shape[1:]) != (28, 28):
        raise Mistake(
            f"infogan_mnist makes 28 x 28 images, but data.shape is {list(shape)}: use architecture=dcgan or mlp"
        )
    return shape[0]


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
