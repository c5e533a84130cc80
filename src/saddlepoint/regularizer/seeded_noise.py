"""Standard normal noise from one seed per sample, so that it does not depend on the number of ranks."""

import torch
from torch import Tensor


def seeded_noise(seeds: Tensor, x: Tensor) -> Tensor:
    """N(0, I) of the shape, type and device of x[:N], row i from seeds[i] (int64 [N]); x may have fewer rows."""
    draw = torch.Generator()  # on the CPU, for equal numbers on every device
    rows = [torch.randn(x.shape[1:], generator=draw.manual_seed(seed)) for seed in seeds[: len(x)].tolist()]
    return torch.stack(rows).to(x)
