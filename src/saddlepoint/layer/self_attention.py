"""Self-attention: y = x + gamma W_o (attention of W_q x, W_k x over W_v x), each pixel attending to all pixels.

Zhang et al. 2018 (arXiv:1805.08318), eq. 1 to 3; gamma starts at 0, queries and keys have C / 8 channels, values C / 2,
and keys and values are max-pooled by 2 as in the authors' code.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class SelfAttention(nn.Module):
    """[N, features, H, W] -> the same shape; a neck or a norm of convolutional layers, of 8 features at least.

    pool  whether keys and values are max-pooled by 2, if height and width are even
    Raises ValueError for fewer than 8 features.
    """

    def __init__(self, features: int, pool: bool = True) -> None:
        super().__init__()
        if features < 8:
            raise ValueError(f"self-attention: {features} features are too few: queries have an eighth of them")
        self.pool = pool
        self.query = nn.Conv2d(features, features // 8, 1, bias=False)
        self.key = nn.Conv2d(features, features // 8, 1, bias=False)
        self.value = nn.Conv2d(features, features // 2, 1, bias=False)
        self.output = nn.Conv2d(features // 2, features, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """x + gamma * attention, the shape of x.  Raises ValueError for other than four dimensions."""
        if x.ndim != 4:
            raise ValueError(f"self-attention takes feature maps [N, C, H, W], and got {list(x.shape)}")
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.pool and x.shape[2] % 2 == x.shape[3] % 2 == 0:
            key, value = max_pool2d(key, 2), max_pool2d(value, 2)
        q, k, v = (part.flatten(2).transpose(1, 2) for part in (query, key, value))  # [N, pixels, channels]
        # not scaled_dot_product_attention: its fused kernels have no second derivative, which penalties on slopes need
        attended = ((q @ k.transpose(1, 2)).softmax(2) @ v).transpose(1, 2)
        return x + self.gamma * self.output(attended.reshape(*value.shape[:2], *x.shape[2:]))
