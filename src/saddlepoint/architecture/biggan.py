"""BigGAN for 32 x 32, with classes.  Brock et al. 2018 (arXiv:1809.11096), sections 3 and 3.1, appendix B.

    z = (z_0, z_1, z_2, z_3);   x_0 = linear(z_0), 4 x 4 x 384;   x_k = block_k(x_(k-1), [embedding[label], z_k])
    block_k   an up block of 384 whose batch norms have gains and biases linear in [embedding[label], z_k]

One embedding of the classes is shared by all blocks, and each block has its own part of the latent (skip-z). The paper
has networks for 128 x 128 and more. The sizes for 32 x 32 are those of StudioGAN's config for CIFAR-10, with ch = 96:
4 ch channels in G, with attention at 16 x 16, and the D of `sagan` with 2 ch. Weights and embeddings start orthogonal
(Saxe et al. 2013, arXiv:1312.6120), biases at 0. Spectral normalisation of both networks is the layer spectral_norm (of
G without the embedding), the projection of the class in D is the layer projection.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import sagan
from saddlepoint.layer.concatenation import NO_CONDITION
from saddlepoint.layer.condition_entry import class_labels
from saddlepoint.layer.conditional_sequential import ConditionalSequential
from saddlepoint.layer.projected_batch_norm import ProjectedBatchNorm
from saddlepoint.layer.residual_block import ResidualBlock
from saddlepoint.turn import Condition

PARTS = 1 + len(sagan.UP)  # of the latent


class Generator(nn.Module):
    """(latent, class) -> 4 x 4 -> three up blocks -> batch norm, ReLU, 3 x 3 to C channels, tanh.

    latent     total size of the latent, a multiple of 4
    classes    number of classes
    shared     size of the class embedding
    attention  side of the maps that have self-attention: 8, 16 or 32; None: no attention
    eps        of all batch norms
    entry      entry of the condition with the class of each sample, int64 [N]
    Raises ValueError for images that are not 32 x 32, another side, or a latent that cannot be divided.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        classes: int = 10,
        width: int = 384,
        shared: int = 128,
        attention: int | None = 16,
        eps: float = 1e-4,
        entry: str = "label",
    ) -> None:
        super().__init__()
        sagan.check_sizes("biggan", shape, attention, sagan.UP)
        if latent % PARTS:
            raise ValueError(
                f"biggan divides the latent into {PARTS} parts, but its size is {latent}; try prior.z.dim=80"
            )
        self.classes, self.entry = classes, entry
        self.embedding = nn.Embedding(classes, shared)
        self.first = nn.Sequential(nn.Linear(latent // PARTS, 16 * width), nn.Unflatten(1, (width, 4, 4)))
        norm = partial(ProjectedBatchNorm, size=shared + latent // PARTS, eps=eps)
        self.blocks = nn.ModuleList(
            ConditionalSequential(
                ResidualBlock(width, width, width, norm, up=True), *sagan.attention_at(side, attention, width)
            )
            for side in sagan.UP
        )
        self.last = nn.Sequential(
            nn.BatchNorm2d(width, eps), nn.ReLU(), nn.Conv2d(width, shape[0], 3, padding=1), nn.Tanh()
        )
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition) -> Tensor:
        """Return images [N, C, 32, 32] in [-1, 1] for latent parts [N, dim].  Raises Mistake without class labels."""
        first, *parts = torch.cat(list(latent.values()), 1).chunk(PARTS, 1)
        embedded = self.embedding(class_labels(condition, self.entry, self.classes, "biggan"))
        x = self.first(first)
        for block, part in zip(self.blocks, parts, strict=True):
            x = block(x, {"vector": torch.cat([embedded, part], 1)})
        return self.last(x)


class Discriminator(sagan.Discriminator):
    """The discriminator of `sagan` with 192 channels and orthogonal weights; its arguments and errors."""

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 192,
        condition: Mapping[str, int] = NO_CONDITION,
        attention: int | None = 16,
        **head: Any,
    ) -> None:
        super().__init__(shape, width, condition, attention, **head)
        self.apply(_init_weights)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
        nn.init.orthogonal_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
