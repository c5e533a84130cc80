"""Layer norm of feature maps: each sample is normalised over all its features and positions.

    gain[c] (x - mean) / sqrt(variance + eps) + bias[c]     mean, variance: over all dimensions but the first

Ba et al. 2016 (arXiv:1607.06450), with a gain and a bias per channel as in the code of Gulrajani et al. 2017
(arXiv:1704.00028), whose section 4 recommends it for a critic with a gradient penalty: samples stay independent.
"""

from torch import nn


class LayerNorm(nn.GroupNorm):
    """[N, features, ...] -> the same shape: group norm with one group."""

    def __init__(self, features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(1, features, eps, affine)
