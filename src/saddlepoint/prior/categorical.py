"""A uniform categorical code, one-hot."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream


class Categorical(LatentPart):
    """A one-hot code of `dim` equally likely categories.  Chen et al. 2016 (arXiv:1606.03657), section 5."""

    discrete = True

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw one-hot rows, [n, dim]."""
        return one_hot(stream.integers(self.dim, n), self.dim).to(torch.get_default_dtype())

    def nll(self, code: Tensor, prediction: Tensor) -> Tensor:
        """Cross-entropy of the one-hot code under the logits `prediction`."""
        return cross_entropy(prediction, code)
