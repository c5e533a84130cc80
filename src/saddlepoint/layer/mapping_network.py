"""The mapping network of style-based generators: z -> w, with the running mean of w for truncation.

    w = MLP([z / rms(z), e / rms(e)]),  e = W c    truncated:  mean + psi (w - mean)

Karras et al. 2018 (arXiv:1812.04948), section 2 and appendix B (truncation); depth 8 and the multiplier of the learning
rate: appendix C. The decay of the mean is that of the code of Karras et al. 2019 (arXiv:1912.04958); the condition c,
such as a one-hot class, is embedded at the scale of z as in that of Karras et al. 2020 (arXiv:2006.06676).
"""

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.layer.equalized_learning_rate import EqualizedLinear, ScaledLeakyReLU
from saddlepoint.layer.pixel_norm import PixelNorm


class MappingNetwork(nn.Module):
    """z [N, a] and, unless its width is 0, a condition [N, condition] -> w [N, features].

    depth       number of layers
    multiplier  of the learning rate, see `layer.equalized_learning_rate`
    decay       of the running mean of w over training batches of all ranks; a buffer that is saved with the network
    The attribute `psi` is set while samples are drawn (`saddlepoint sample truncation=`); 1: w is unchanged.
    """

    mean: Tensor

    def __init__(
        self,
        a: int,
        features: int,
        depth: int = 8,
        multiplier: float = 0.01,
        decay: float = 0.995,
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.embedding = EqualizedLinear(condition, features) if condition else None
        self.norm, self.layers = PixelNorm(a), nn.Sequential()
        inputs = a + (features if condition else 0)
        for i in range(depth):
            self.layers.append(EqualizedLinear(features if i else inputs, features, multiplier=multiplier))
            self.layers.append(ScaledLeakyReLU())
        self.decay, self.psi = decay, 1.0
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        parts = [z] if self.embedding is None or condition is None else [z, self.embedding(condition)]
        w = self.layers(torch.cat([self.norm(part) for part in parts], 1))
        if self.training:
            self.mean.lerp_(ranks.mean(w.detach().mean(0)).to(self.mean), 1 - self.decay)
        return w if self.psi == 1 else torch.lerp(self.mean.to(w), w, self.psi)
