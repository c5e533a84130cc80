"""The mapping network of style-based generators: z -> w, with the running mean of w for truncation.

    w = MLP(z / rms(z)),    truncated:  mean + psi (w - mean)

Karras et al. 2018 (arXiv:1812.04948), section 2 and appendix B (truncation); depth 8 and the multiplier of the learning
rate: appendix C. The decay of the mean is that of the code of Karras et al. 2019 (arXiv:1912.04958).
"""

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.layer.equalized_learning_rate import EqualizedLinear, ScaledLeakyReLU
from saddlepoint.layer.pixel_norm import PixelNorm


class MappingNetwork(nn.Module):
    """[N, a] -> w [N, features].

    depth       number of layers
    multiplier  of the learning rate, see `layer.equalized_learning_rate`
    decay       of the running mean of w over training batches of all ranks; a buffer that is saved with the network
    The attribute `psi` is set while samples are drawn (`saddlepoint sample truncation=`); 1: w is unchanged.
    """

    mean: Tensor

    def __init__(self, a: int, features: int, depth: int = 8, multiplier: float = 0.01, decay: float = 0.995) -> None:
        super().__init__()
        self.layers = nn.Sequential(PixelNorm(a))
        for i in range(depth):
            self.layers.append(EqualizedLinear(features if i else a, features, multiplier=multiplier))
            self.layers.append(ScaledLeakyReLU())
        self.decay, self.psi = decay, 1.0
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, z: Tensor) -> Tensor:
        w = self.layers(z)
        if self.training:
            self.mean.lerp_(ranks.mean(w.detach().mean(0)).to(self.mean), 1 - self.decay)
        return w if self.psi == 1 else torch.lerp(self.mean.to(w), w, self.psi)
