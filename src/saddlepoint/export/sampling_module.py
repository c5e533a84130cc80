"""All that makes samples, as one module: the side `samples`, every side that it is made of, networks and makers.

    x = whole(latent, condition)

latent and condition are mappings of named tensors with a row for each sample: the parts of the latent that samples are
computed from (`latent_parts`), and what else they are (`leaves`): labels, source images, parts of named draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.game.condition_source import ConditionSource
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.lineage import condition_entries, latent_parts
from saddlepoint.game.sampling import build_sampling_turn
from saddlepoint.game.side import Side
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import UNCONDITIONAL, Condition


@dataclass(frozen=True)
class Wiring:
    """What of a game says how samples are made; `saddlepoint.game.sampling` reads a game or this.

    sides       by name; no side has a judge
    samples     the side that samples are
    priors      of the latents, under `latent`, and of each named draw
    conditions  where columns come from
    images      real images that had been shown, for modules that follow the clock
    """

    sides: Mapping[str, Side]
    samples: str
    priors: Mapping[str, Prior]
    conditions: ConditionSource
    images: int = 0
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)  # empty: no graph is needed

    def inputs(self) -> list[str]:
        """The names of all inputs: the latent's parts, then the conditions.  Raises Mistake where two are the same."""
        parts, conditions = latent_parts(self), condition_entries(self)
        if both := [name for name in parts if name in conditions]:
            raise Mistake(
                f"{both[0]} is a part of the latent and a condition, and inputs are told apart by name: give the "
                "condition another one in game.sides"
            )
        return [*parts, *conditions]


class SamplingModule(nn.Module):
    """Makes samples [N, *shape] as a game does, of networks and makers by name, each called network(x, condition)."""

    def __init__(self, wiring: Wiring, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.wiring = wiring
        self.networks = nn.ModuleDict(dict(networks))
        for hook in modules_with_hook(self, "at_images"):
            hook.at_images(wiring.images)

    @torch.no_grad()
    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """The samples of these latents, [N, dim] each, under this condition."""
        turn = build_sampling_turn(self.wiring, latent, condition, dict(self.networks.items()))
        return turn.side_sample(self.wiring.samples).x


def sides_to_dict(sides: Mapping[str, Side]) -> dict[str, dict[str, object]]:
    """Sides as plain data: what each is made of, by whom, under what."""
    plain = {
        name: {"of": side.of, "by": list(side.by), "condition": dict(side.condition)} for name, side in sides.items()
    }
    return {name: {key: value for key, value in node.items() if value} for name, node in plain.items()}
