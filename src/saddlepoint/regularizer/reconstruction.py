"""Reconstruction: the mean distance between two sides, E|a - b| or E|a - b|^2, over all numbers of a sample.

The L1 of pix2pix (Isola et al. 2016, arXiv:1611.07004, eq. 3), the cycle consistency of CycleGAN (Zhu et al. 2017,
arXiv:1703.10593, eq. 2: side cycle_a against real_a), with absolute=false and the weight D / (2 s^2) the
log-likelihood of a VAE of D values with variance s^2.
With a mask, only inside it (Pathak et al. 2016, arXiv:1604.07379, eq. 1). With an extractor, between the features of a
frozen network, as in SRGAN (Ledig et al. 2017, arXiv:1609.04802, eq. 5); between those of D, the term is
`paired_feature_matching`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer, batch_columns
from saddlepoint.turn import Turn


class Reconstruction(Regularizer):
    """The distance between `side` and `target`, averaged over samples and their numbers.

    side, target  entries of the turn: sides or columns of the batch; a target with fewer rows is repeated (`multiple`)
    absolute      true: |a - b|; false: (a - b)^2
    mask          entry that is above 0 where the distance counts, [N, 1, *space], such as hole.mask; None: everywhere
    extractor     name of an extractor with a network; the distance is then between its features
    An extractor that also measures scores is refused: they would be high for images that only deceive it.
    Raises ValueError for a mask and an extractor at once: features have no position.
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        side: str = "fake",
        target: str = "real",
        absolute: bool = True,
        mask: str | None = None,
        extractor: str | None = None,
    ) -> None:
        super().__init__(weight, every)
        if mask is not None and extractor is not None:
            raise ValueError(
                f"reconstruction: mask={mask} has no meaning for features of extractor={extractor}: set one"
            )
        self.side, self.target, self.absolute = side, target, absolute
        self.mask, self.extractor = mask, extractor
        # returns the same extractor at each call; set when the game of a config is built. It is not a child of this
        # module, so that it does not enter checkpoints
        self.load_extractor: Callable[[], Any] | None = None

    def forward(self, turn: Turn) -> Tensor:
        """Return the mean distance, a scalar."""
        x = turn.player_tensor(self.side)
        target = turn.repeated_tensor(self.target, x)
        if self.extractor is not None:
            network = self.loaded_extractor().network.to(x.device)
            with torch.no_grad():
                target = _features(network, target)
            x = _features(network, x)
        gap = x - target
        wide = gap.to(torch.promote_types(gap.dtype, torch.float32))
        distance = wide.abs() if self.absolute else wide.square()
        if self.mask is None:
            return distance.mean()
        inside = (turn.repeated_tensor(self.mask, distance) > 0).expand_as(distance).flatten(1)
        return ((distance.flatten(1) * inside).sum(1) / inside.sum(1).clamp(min=1)).mean()

    def loaded_extractor(self) -> Any:
        """Return the extractor.  Raises Mistake if gradients cannot flow through it."""
        if self.load_extractor is None:
            raise ValueError("reconstruction: set load_extractor, a function that returns the extractor")
        extractor = self.load_extractor()
        if not isinstance(getattr(extractor, "network", None), nn.Module):
            raise Mistake(
                f"reconstruction: no gradient flows through the extractor {self.extractor}, which takes stored images: "
                "choose a classifier, such as cifar10-jpeg, mnist, digits or trained"
            )
        return extractor

    def check_game(self, game: Any) -> str | None:
        """Return a warning if rows are compared at random: one of the two does not depend on the batch, or unpaired."""
        roles = next((p.side_by_role for p in game.players.values() if self in p.terms.values()), {})
        names = [roles.get(name, name) for name in (self.side, self.target)]
        columns = [batch_columns(game, name) for name in names]
        line = f"{names[0]} is compared with {names[1]} at random"
        if [bool(used) for used in columns].count(False) == 1:
            return f"{line}: {names[0 if not columns[0] else 1]} does not depend on the batch"
        data = game.conditions.data
        if all(columns) and hasattr(data, "split") and not (train := data.split("train")).paired:
            domains = [{column in train.extra_columns for column in used} for used in columns]
            if domains[0].isdisjoint(domains[1]):
                return f"{line}: these data have no pairs. game=cycle 'regularizer=[cycle_consistency]' needs none"
        return None


def _features(network: nn.Module, x: Tensor) -> Tensor:
    """Return the features [N, dim] of a network that returns them, or a pair of them and logits."""
    output = network(x)
    return output[0] if isinstance(output, tuple) else output
