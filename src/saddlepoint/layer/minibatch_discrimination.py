"""Minibatch discrimination: D sees how close each sample is to the others of its batch.

M = f T;  c_b(i, j) = exp(-|| M_ib - M_jb ||_1);  o_b(i) = sum over j != i of c_b(i, j) + bias_b;  f -> [f, o].
Salimans et al. 2016 (arXiv:1606.03498), section 3.2; the weight norm of T, the bias and the start as in its code.
"""

import math

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake


class MinibatchDiscrimination(nn.Module):
    """A neck: features [N, F] -> [N, F + kernels].  Reals and fakes pass D apart, so that neither sees the other.

    The columns of T have length exp(log_scale), learned. On the first batch that it sees in training (reals, where D
    moves first; what the network starts from, where it has weight norm) each kernel is scaled so that half the mean
    distance of nearest neighbours is 1, and its bias so that o is 0 on average.

    A sum, not a mean, over the others: it grows with the batch, so reals and fakes should come in equal numbers.
    No sample is independent of its batch: D's slope (r1, r2, gradient penalty) is that of the sum of all logits.
    Memory and time grow with N^2 * kernels * dimensions: at 512 samples, 100 x 5, one tensor of differences is 0.5 GB.
    Raises Mistake on a training batch of one.
    """

    coupled = True  # see Game: a batch may not be split in parts
    over_ranks = True  # in training the others are those of the global batch

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        for name, value in {"kernels": kernels, "dimensions": dimensions}.items():
            if value < 1 or value != int(value):
                raise ValueError(f"minibatch discrimination: {name}={value} must be a whole number of at least 1")
        self.features = features + kernels
        self.theta = nn.Parameter(0.05 * torch.randn(features, kernels, dimensions))
        self.log_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))
        self.started = False

    def forward(self, features: Tensor) -> Tensor:
        """[f, o + bias], [N, F + kernels], of features [N, F]."""
        if self.training and len(features) * ranks.world_size() < 2:
            raise Mistake("minibatch discrimination compares the samples of a batch: 1 has nothing to be compared with")
        if self.training and not self.started:
            self._start(features)
        return torch.cat([features, self.closeness(features) + self.bias], 1)

    def closeness(self, features: Tensor) -> Tensor:
        """o before its bias: how many of the others each sample coincides with, [N, kernels] in [0, N - 1]."""
        return torch.exp(-self.distance(features)).sum(2).T

    def distance(self, features: Tensor) -> Tensor:
        """|| M_ib - M_jb ||_1, [kernels, N, N]; infinite between a sample and itself.

        In training j runs over the samples of all ranks, [kernels, N, world * N].
        """
        tensor = self.theta * (self.log_scale.exp() / self.theta.norm(dim=0))
        m = torch.einsum("nf,fbc->cbn", features, tensor)  # samples last: the sums below run along memory
        others, first = m, 0
        if self.training and ranks.world_size() > 1:
            others = ranks.all_gather(m.permute(2, 0, 1)).permute(1, 2, 0)
            first = len(features) * ranks.rank()
        itself = m.new_zeros(len(features), others.shape[2])
        itself.diagonal(first).fill_(math.inf)
        return sum(((k[:, :, None] - of[:, None, :]).abs() for k, of in zip(m, others, strict=True)), start=itself)

    @torch.no_grad()
    def _start(self, features: Tensor) -> None:
        """Choose scale and bias by what this batch looks like; a kernel to which it is all one keeps its scale."""
        half = ranks.mean(self.distance(features).amin(2).mean(1)) / 2
        self.log_scale -= torch.where(half > 0, half, torch.ones_like(half)).log()[:, None]
        self.bias.copy_(-ranks.mean(self.closeness(features).mean(0)))
        self.started = True

    def get_extra_state(self) -> dict[str, bool]:
        """Whether it has started; no buffer, which every forward pass would have to fetch from a GPU."""
        return {"started": self.started}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.started = state["started"]
