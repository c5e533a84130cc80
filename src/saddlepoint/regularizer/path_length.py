"""Path length: E(||J_z^T y|| - a)^2, y ~ N(0, I) in image space, a the running mean of the lengths.

Karras et al. 2019 (arXiv:1912.04958), eq. 4; there with every=4, weight 2 and decay 0.01, and y divided by the square
root of the number of pixels per channel.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.seeded_noise import seeded_noise
from saddlepoint.stream import Stream
from saddlepoint.turn import Turn, side_of_player


class PathLength(Regularizer):
    """The mean squared deviation of ||J^T y|| from its running mean, over the fakes of a turn as G made them.

    decay  weight of the current mean length in the running mean, which is initialised on the first turn
    The gradient is taken with respect to all parts of the latent. In the paper it is taken at the output of a mapping
    network, whose distribution is learned. At the latent itself it is 0 only for a G that scales all lengths equally,
    so that samples have the shape of the prior.
    """

    slope_at = frozenset({"latent"})
    needs_draw = coupled = over_ranks = True
    mean: Tensor

    def __init__(self, weight: float | Callable[[int], float] = 2.0, every: int = 4, decay: float = 0.01) -> None:
        super().__init__(weight, every)
        if not 0 < decay <= 1:
            raise ValueError(f"path length: decay={decay} must be above 0 and at most 1")
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    def draw(self, n: int, stream: Stream) -> Any:
        """Draw a seed per fake for its direction y, since the shape of a sample is not known before the turn."""
        return stream.integers(2**31 - 1, n)

    def check_game(self, game: Any) -> str | None:
        """Return a warning: there is no mapping network.  Raises Mistake if a sample has no slope at its latent."""
        roles = next((p.side_by_role for p in game.players.values() if self in p.terms.values()), {})
        name = side_of_player(game.sides, roles.get("fake", "fake"), game.players)
        if "latent" not in game.dependencies.get(name, ()):
            raise Mistake(f"it takes the slope of side {name} at the latent, but {name} does not depend on the latent")
        if discrete := [part_name for part_name, part in game.prior.items() if part.discrete]:
            raise Mistake(f"it takes the slope of the samples at the latent, but its part {discrete[0]} is discrete")
        for maker in game.sides[name].by:
            for path, layer in game.networks()[maker].named_modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm) or getattr(layer, "coupled", False):
                    raise Mistake(
                        "it takes the slope of each sample at its latent, but a sample also depends on the latents of "
                        f"others ({type(layer).__name__} at {maker}.{path}): remove this layer, or drop the term"
                    )
        return "taken at the latent itself, since there is no mapping network: it also limits which data G can fit"

    def forward(self, turn: Turn) -> Tensor:
        """Return the penalty, a scalar.  1e-12 under the root keeps the gradient finite at length 0."""
        x, latents = turn.made_by_player("fake").x, list(turn.latent.values())
        if len(x) != len(latents[0]):
            raise Mistake(
                f"path_length needs one sample per latent; side fake has {len(x)} rows for {len(latents[0])} latents"
            )
        y = seeded_noise(turn.term_draw, x) / math.sqrt(math.prod(x.shape[2:]))
        slopes = torch.autograd.grad((x[: len(y)] * y).sum(), latents, create_graph=True)
        squares = torch.cat([slope[: len(y)].flatten(1) for slope in slopes], 1).square().sum(1)
        lengths = (squares + 1e-12).sqrt()
        mean = ranks.mean(lengths.mean().detach()).to(self.mean)
        self.mean.lerp_(mean, self.decay if self.turns else 1.0)
        self.turns += 1
        return (lengths - self.mean).square().mean()
