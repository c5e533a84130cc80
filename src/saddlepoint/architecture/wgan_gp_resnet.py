"""The residual networks of WGAN-GP for CIFAR-10.  Gulrajani et al. 2017 (arXiv:1704.00028), as in the authors' code.

    G: 4 x 4 x 128, three up blocks of 128, norm, ReLU, 3 x 3, tanh
    D: two down blocks of 128, two blocks of 128, ReLU, the mean over positions, a linear map

SNGAN's networks for 32 x 32 were made from these (`architecture.sngan`): there G has 256 channels and D sums over
positions. Initial weights are the same: Glorot-uniform, times sqrt 2 in 3 x 3 convolutions of blocks.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from saddlepoint.architecture import discriminator, sngan
from saddlepoint.architecture.sngan import check_side_32
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential
from saddlepoint.layer.residual_block import ResidualBlock, initialise


class Generator(sngan.Generator):
    """SNGAN's generator of 32 x 32 images with `width` channels in every block.

    norm       of a number of channels; the authors' is batch norm
    condition  width of each entry of the condition that is concatenated to the latent, by its name
    Raises ValueError unless the shape is [C, 32, 32].
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 128,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        check_side_32("wgan_gp_resnet", shape)
        super().__init__(latent, shape, width, norm, condition)


class GlobalMean(nn.Module):
    """[N, C, H, W] -> [N, C]: the mean of ReLU(x) over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().mean((2, 3))


class Discriminator(discriminator.Discriminator):
    """Four residual blocks -> mean over positions -> one logit. Hidden layers are named block1, ..., block4, mean.

    norm       of a number of channels, in all blocks but the first; the authors use none, or layer norm, which keeps
               the gradient of a sample independent of the others
    condition  channels of each entry of the condition that is concatenated to x, by its name
    Raises ValueError unless the shape is [C, 32, 32].
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        check_side_32("wgan_gp_resnet", shape)
        join = Concatenation(condition)
        widths = [shape[0] + join.width, *[width] * 4]
        trunk: dict[str, nn.Module] = {
            f"block{i}": ResidualBlock(a, b, b, norm if i > 1 else None, down=i <= 2, first=i == 1)
            for i, (a, b) in enumerate(pairwise(widths), 1)
        }
        if condition:
            trunk["block1"] = ConditionalSequential(join, trunk["block1"])
        super().__init__({**trunk, "mean": GlobalMean()}, width, **head)
        for layer in (*self.readout.modules(), *self.heads.modules()):
            if isinstance(layer, nn.Linear):
                initialise(layer)
