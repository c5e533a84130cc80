"""SAGAN for 32 x 32: residual networks with self-attention in both.  Zhang et al. 2018 (arXiv:1805.08318).

    G   4 x 4 x 256, up blocks of 256 to 8 x 8, to 16 x 16, attention, to 32 x 32
    D   a down block of 128 to 16 x 16, attention, a down block to 8 x 8, two blocks, the sum over positions, one logit

The paper has networks for 128 x 128 only. The blocks and channels for 32 x 32, and attention at 16 x 16, are those of
StudioGAN's config for CIFAR-10; without attention they are SNGAN's (arXiv:1802.05957, table 4). Weights start
Glorot-uniform and biases at 0, as in the authors' code. Spectral normalisation of both networks is the layer
spectral_norm. With classes (game=projection) the blocks of G have conditional norms; the last norm has no condition.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.architecture.sngan import GlobalSum, check_side_32
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.residual_block import ResidualBlock, initialise
from saddlepoint.layer.self_attention import SelfAttention
from saddlepoint.turn import UNCONDITIONAL, Condition

UP, DOWN = (8, 16, 32), (16, 8)  # pixels per side after each up block of G, after each down block of D


class Generator(nn.Module):
    """latent -> 4 x 4 -> three up blocks -> norm, ReLU, 3 x 3 to C channels, tanh.

    norm       of the blocks
    last_norm  before the last convolution
    condition  width of each entry of the condition that is concatenated to the latent, by its name
    attention  side of the maps that have self-attention: 8, 16 or 32; None: no attention
    Raises ValueError for images that are not 32 x 32, or another side.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 256,
        norm: Callable[[int], nn.Module] | None = None,
        last_norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        attention: int | None = 16,
    ) -> None:
        super().__init__()
        check_sizes("sagan", shape, attention, UP)
        self.join = Concatenation(condition)
        blocks = (
            [ResidualBlock(width, width, width, norm, up=True), *attention_at(side, attention, width)] for side in UP
        )
        self.layers = ConditionalSequential(
            nn.Linear(latent + self.join.width, 16 * width),
            nn.Unflatten(1, (width, 4, 4)),
            *(layer for block in blocks for layer in block),
            hidden_layer(nn.Identity(), width, last_norm, nn.ReLU()),
            nn.Conv2d(width, shape[0], 3, padding=1),
            nn.Tanh(),
        )
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, 32, 32] in [-1, 1] for latent parts [N, dim]."""
        return self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition)


class Discriminator(discriminator.Discriminator):
    """Four residual blocks -> sum over positions -> one logit. Hidden layers: block1, attention, block2, ..., sum.

    condition  channels of each entry of the condition that is concatenated to x, by its name
    attention  side of the maps that have self-attention: 16 or 8; None: no attention
    Raises ValueError for images that are not 32 x 32, or another side.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        condition: Mapping[str, int] = NO_CONDITION,
        attention: int | None = 16,
        **head: Any,
    ) -> None:
        check_sizes("sagan", shape, attention, DOWN)
        join = Concatenation(condition)
        first = ResidualBlock(shape[0] + join.width, width, width, down=True, first=True)
        trunk: dict[str, nn.Module] = {"block1": ConditionalSequential(join, first) if condition else first}
        if attention == DOWN[0]:
            trunk["attention"] = SelfAttention(width)
        trunk["block2"] = ResidualBlock(width, width, width, down=True)
        if attention == DOWN[1]:
            trunk["attention"] = SelfAttention(width)
        trunk |= {name: ResidualBlock(width, width, width) for name in ("block3", "block4")}
        super().__init__({**trunk, "sum": GlobalSum()}, width, **head)
        self.apply(_init_weights)


def attention_at(side: int, attention: int | None, width: int) -> list[nn.Module]:
    """Return [SelfAttention] if maps of this side have it, else []."""
    return [SelfAttention(width)] if side == attention else []


def check_sizes(architecture: str, shape: Sequence[int], attention: int | None, sides: Sequence[int]) -> None:
    """Raise ValueError unless images are 32 x 32 and attention is None or one of `sides`."""
    check_side_32(architecture, shape)
    if attention is not None and attention not in sides:
        raise ValueError(f"attention={attention} must be one of {', '.join(map(str, sides))}, or null for none")


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        initialise(module)
