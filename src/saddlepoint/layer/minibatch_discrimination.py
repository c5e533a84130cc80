"""Minibatch discrimination: adds to D's features how close each sample is to the others of its batch.

M = f T;  c_b(i, j) = exp(-|| M_ib - M_jb ||_1);  o_b(i) = sum over j != i of c_b(i, j) + bias_b;  f -> [f, o].
Salimans et al. 2016 (arXiv:1606.03498), section 3.2; weight norm of T, bias and initialisation as in its code.
"""

import math

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake


class MinibatchDiscrimination(nn.Module):
    """A neck: features [N, F] -> [N, F + kernels].  D is called separately on reals and fakes, so they do not mix.

    The columns of T have the learned length exp(log_scale). The first training batch (reals if D moves first; the batch
    of the data-dependent initialisation if D has weight norm) sets the scale of each kernel so that half the mean
    distance of nearest neighbours is 1, and the bias so that o is 0 on average.

    o is a sum over the other samples, not a mean. It grows with the batch, so use equal numbers of reals and fakes.
    Samples depend on their batch, so D's slope (r1, r2, gradient penalty) is that of the sum of all logits.
    Memory and time grow with N^2 * kernels * dimensions: for 512 samples and 100 x 5, one tensor has 0.5 GB.
    Raises Mistake on a training batch of one.
    """

    coupled = True  # the batch must not be split (see Game)
    over_ranks = True  # in training, samples are compared over the batch of all ranks

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        for name, value in {"kernels": kernels, "dimensions": dimensions}.items():
            if value < 1 or value != int(value):
                raise ValueError(f"minibatch discrimination: {name}={value} must be an integer of at least 1")
        self.features = features + kernels
        self.theta = nn.Parameter(0.05 * torch.randn(features, kernels, dimensions))
        self.log_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))
        self.started = False

    def forward(self, features: Tensor) -> Tensor:
        """Return [f, o + bias], [N, F + kernels], for features [N, F]."""
        if self.training and len(features) * ranks.world_size() < 2:
            raise Mistake("minibatch discrimination compares the samples of a batch, so it needs at least 2, not 1")
        if self.training and not self.started:
            self._init_from_batch(features)
        return torch.cat([features, self.closeness(features) + self.bias], 1)

    def closeness(self, features: Tensor) -> Tensor:
        """Return o without its bias, [N, kernels] in [0, N - 1]: a soft count of equal samples."""
        return torch.exp(-self.distance(features)).sum(2).T

    def distance(self, features: Tensor) -> Tensor:
        """Return || M_ib - M_jb ||_1, [kernels, N, N]; infinite on the diagonal.

        In training j runs over the samples of all ranks, [kernels, N, world * N].
        """
        tensor = self.theta * (self.log_scale.exp() / self.theta.norm(dim=0))
        m = torch.einsum("nf,fbc->cbn", features, tensor)  # samples last, so that the sums below read contiguous memory
        others, first = m, 0
        if self.training and ranks.world_size() > 1:
            others = ranks.all_gather(m.permute(2, 0, 1)).permute(1, 2, 0)
            first = len(features) * ranks.rank()
        diagonal = m.new_zeros(len(features), others.shape[2])
        diagonal.diagonal(first).fill_(math.inf)
        return sum(
            ((k[:, :, None] - other[:, None, :]).abs() for k, other in zip(m, others, strict=True)), start=diagonal
        )

    @torch.no_grad()
    def _init_from_batch(self, features: Tensor) -> None:
        """Initialise scale and bias from this batch; a kernel with all distances 0 keeps its scale."""
        half = ranks.mean(self.distance(features).amin(2).mean(1)) / 2
        self.log_scale -= torch.where(half > 0, half, torch.ones_like(half)).log()[:, None]
        self.bias.copy_(-ranks.mean(self.closeness(features).mean(0)))
        self.started = True

    def get_extra_state(self) -> dict[str, bool]:
        """Whether it is initialised; not a buffer, since every forward pass would have to read it from the GPU."""
        return {"started": self.started}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.started = state["started"]
