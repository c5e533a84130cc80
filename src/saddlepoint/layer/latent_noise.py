"""Latents with noise: z + scale e for the part z of the latent, so that a second sample lies near the first.

The latent pairs of consistency regularization in latent space: Zhao et al. 2020 (arXiv:2002.04724), section 3.2.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class LatentNoise(nn.Module):
    """A maker from latent parts to latent parts; all but `latent_part` are returned unchanged.

    scale        standard deviation of the noise
    latent_part  name of the part that gets noise
    The condition's entry `noise` has the shape of the part, [N, dim]: a normal named draw.
    Raises ValueError for a negative scale, and Mistake for another shape.
    """

    conditional = True

    def __init__(self, scale: float = 0.05, latent_part: str = "z") -> None:
        super().__init__()
        if scale < 0:
            raise ValueError(f"latent noise: scale={scale} must be at least 0")
        self.scale, self.latent_part = scale, latent_part

    def forward(self, latent: Mapping[str, Tensor], condition: Condition) -> dict[str, Tensor]:
        """Return the latent with noise on one part."""
        noise, z = condition_entry(condition, "noise", "latent noise"), latent[self.latent_part]
        if noise.shape != z.shape:
            raise Mistake(f"latent noise: the noise is {list(noise.shape)}, and the latent part {list(z.shape)}")
        return {**latent, self.latent_part: z + self.scale * noise}

    def extra_repr(self) -> str:
        return f"scale={self.scale}, latent_part={self.latent_part}"
