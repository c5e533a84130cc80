"""A pool of past fakes, so that D does not forget what G made some rounds ago.

Shrivastava et al. 2016 (arXiv:1612.07828), section 2.3; image by image as in Zhu et al. 2017 (arXiv:1703.10593),
section 4. Until the pool is full, each fake is stored and returned. Then each fake is returned with probability 1/2;
otherwise it replaces a stored one, which is returned instead.
"""

from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.turn import UNCONDITIONAL, Condition


class Pool(nn.Module):
    """A maker that returns current and earlier fakes (`by: pool, of: fake`).  It has no gradient and no optimizer.

    size  number of stored fakes over all ranks, 50 in the paper; 0: every fake is returned unchanged
    The pool acts on the global batch: every rank holds the same pool and returns its own slice. It has its own random
    generator, whose state is saved with the game.
    Raises ValueError for a size below 0.
    """

    over_ranks = coupled = True
    kept: Tensor
    generator: Tensor

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        super().__init__()
        if type(size) is not int or size < 0:
            raise ValueError(f"pool: size={size} must be an integer of at least 0")
        self.size = size
        self.register_buffer("kept", torch.empty(0))
        self.register_buffer("generator", torch.Generator().manual_seed(seed).get_state())

    @torch.no_grad()
    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return for each row of x [N, ...] that row or an earlier one, without gradient."""
        if not self.training or self.size == 0:
            return x.detach()
        fakes = ranks.all_gather(x.detach())
        generator = torch.Generator()
        generator.set_state(self.generator.cpu())
        returned, kept = [], list(self.kept.to(fakes)) if len(self.kept) else []
        for row in fakes:
            if len(kept) < self.size:
                kept.append(row)
            elif torch.rand((), generator=generator) < 0.5:
                index = int(torch.randint(self.size, (), generator=generator))
                row, kept[index] = kept[index], row
            returned.append(row)
        self.kept = torch.stack(kept)
        self.generator = generator.get_state()
        first = ranks.rank() * len(x)
        return torch.stack(returned[first : first + len(x)])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Resize the buffer first, since the pool of a checkpoint can have any size."""
        if (kept := state_dict.get(f"{prefix}kept")) is not None:
            self.kept = torch.empty_like(kept, device=self.kept.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
