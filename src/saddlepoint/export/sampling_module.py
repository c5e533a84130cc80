"""Everything that makes samples, as one module: the side `samples`, all sides it depends on, networks and makers.

    x = module(latent, condition)

latent and condition map names to tensors with one row per sample: the parts of the latent that samples depend on
(`latent_part_names`), and all their other inputs (`condition_entries`): labels, source images, parts of named draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.game.condition_source import ConditionSource
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.lineage import condition_entries, latent_part_names
from saddlepoint.game.sampling import build_sampling_turn
from saddlepoint.game.side import Side
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import UNCONDITIONAL, Condition


@dataclass(frozen=True)
class Wiring:
    """The part of a game that defines how samples are made.  `saddlepoint.game.sampling` takes a game or this.

    sides       by name; no side has a judge
    samples     the side whose output the samples are
    priors      of the latents, under `latent`, and of each named draw
    conditions  the source of columns
    images      real images shown in training, for modules that depend on it
    """

    sides: Mapping[str, Side]
    samples: str
    priors: Mapping[str, Prior]
    conditions: ConditionSource
    images: int = 0
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)  # empty: no side keeps a graph

    def input_names(self) -> list[str]:
        """Return the names of all inputs: latent parts, then conditions.  Raises Mistake if two names are equal."""
        parts, conditions = latent_part_names(self), condition_entries(self)
        if duplicates := [name for name in parts if name in conditions]:
            raise Mistake(
                f"{duplicates[0]} is the name of a part of the latent and of a condition, and inputs need different "
                "names: rename the condition in game.sides"
            )
        return [*parts, *conditions]


class SamplingModule(nn.Module):
    """Make samples [N, *shape] as a game does, with networks and makers by name, each called network(x, condition)."""

    def __init__(self, wiring: Wiring, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.wiring = wiring
        self.networks = nn.ModuleDict(dict(networks))
        for module in modules_with_hook(self, "at_images"):
            module.at_images(wiring.images)

    @torch.no_grad()
    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return the samples of these latents, [N, dim] each, under this condition."""
        turn = build_sampling_turn(self.wiring, latent, condition, dict(self.networks.items()))
        return turn.side_sample(self.wiring.samples).x


def sides_to_dict(sides: Mapping[str, Side]) -> dict[str, dict[str, object]]:
    """Return sides as plain data, without their judges: source, makers and condition."""
    plain = {
        name: {"of": side.of, "by": list(side.by), "condition": dict(side.condition)} for name, side in sides.items()
    }
    return {name: {key: value for key, value in node.items() if value} for name, node in plain.items()}
