"""Path length: E(||J_w^T y|| - a)^2, y ~ N(0, I) in image space, a the running mean of the lengths.

w is the output of a mapping network, which the generator returns beside the samples. Karras et al. 2019
(arXiv:1912.04958), eq. 4; there with every=4, weight 2 and decay 0.01, and y divided by the square root of the number
of pixels per channel. If each layer has its own w, squared lengths are averaged over layers, as in the authors' code.
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

    decay  weight of the current mean length in the running mean, which starts at the first mean (the authors': at 0)
    G returns (x, w), w [N, ..., dim].
    """

    slope_at = frozenset({"latent"})  # its graph contains w, and such a pass is not compiled
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

    def check_game(self, game: Any) -> None:
        """Raise Mistake if a layer compares samples: a sample then has no slope of its own."""
        roles = next((p.side_by_role for p in game.players.values() if self in p.terms.values()), {})
        side = side_of_player(game.sides, roles.get("fake", "fake"), game.players)
        for name in game.sides[side].by:
            for path, layer in game.networks()[name].named_modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm) or getattr(layer, "coupled", False):
                    raise Mistake(
                        "it takes the slope of each sample at its own w, but a sample also depends on the others of "
                        f"its batch ({type(layer).__name__} at {name}.{path}): remove this layer, or drop the term"
                    )

    def forward(self, turn: Turn) -> Tensor:
        """Return the penalty, a scalar.  1e-12 under the root keeps the gradient finite at length 0."""
        sample = turn.made_by_player("fake")
        x, w = sample.x, sample.extra_output
        if not (isinstance(w, Tensor) and w.requires_grad and len(w) == len(x)):
            raise Mistake(
                "path_length takes the slope of fakes at the output w of a mapping network, and their generator "
                "returns none: choose architecture=style, return (x, w), or drop the term"
            )
        y = seeded_noise(turn.term_draw, x) / math.sqrt(math.prod(x.shape[2:]))
        (slope,) = torch.autograd.grad((x[: len(y)] * y).sum(), w, create_graph=True)
        squares = slope[: len(y)].square().sum(-1).view(len(y), -1).mean(1)
        lengths = (squares + 1e-12).sqrt()
        mean = ranks.mean(lengths.mean().detach()).to(self.mean)
        self.mean.lerp_(mean, self.decay if self.turns else 1.0)
        self.turns += 1
        return (lengths - self.mean).square().mean()
