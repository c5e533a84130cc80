"""Style mixing: with a probability, the layers of a sample from a random one on have the w of another latent.

Karras et al. 2018 (arXiv:1812.04948), section 3.1; probability 0.9 as in Karras et al. 2019 (arXiv:1912.04958). Drawn
per sample, whereas the authors' code draws the layer once per batch.
"""

import torch
from torch import Tensor


def mix_styles(w: Tensor, other: Tensor, numbers: Tensor, probability: float, layers: int) -> Tensor:
    """Return [N, layers, dim]: w [N, dim] in the first layers, `other` from layer k on.

    numbers  [N, 2], uniform on [0, 1): a sample is mixed if the first is below `probability`; the second gives k,
             uniform in 1, ..., layers - 1
    """
    mixed, position = numbers.unbind(1)
    k = torch.where(mixed < probability, 1 + (position * (layers - 1)).floor(), layers)
    has_own = torch.arange(layers, device=w.device) < k[:, None]
    return torch.where(has_own[..., None], w[:, None], other[:, None])
