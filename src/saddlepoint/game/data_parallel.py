"""What the ranks of one game share: the mean of their gradients, and that they hold the same game.

Lightning puts them on their devices, and leaves gradients to the game: its DDP wrapper sends every gradient of every
player at each backward pass, and waits for those of whoever does not move (docs/scaling.md has the figures).
"""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.average import BatchNorm


class UnwrappedDDPStrategy(DDPStrategy):
    """One process per device; the group is joined before Lightning comes (`saddlepoint.ranks.join_group`)."""

    def configure_ddp(self) -> None:
        """No wrapper: the module plays as it is, and its gradients are the game's own to share."""


def all_reduce_gradients(game: Any, names: Sequence[str]) -> None:
    """Take the mean over ranks of what the named players are to descend, and of what batch norm has seen.

    One message per step, whatever the number of backward passes behind it. Statistics that are shared each time follow
    the mean of the ranks' batches, and never have to be mended before they are looked at or saved.
    """
    gradients = [p.grad for name in names for p in game.trainable_parameters(name) if p.grad is not None]
    layers = [m for player in game.players.values() for m in player.network.modules() if isinstance(m, BatchNorm)]
    statistics = [seen for layer in layers for seen in (layer.running_mean, layer.running_var) if seen is not None]
    ranks.mean_([*gradients, *statistics])


def check_coupled_modules(game: Any) -> None:
    """Raise Mistake where something looks at a batch as a whole and knows of one rank's alone."""
    for name, player in game.players.items():
        for piece in [*player.terms.values(), *player.network.modules(), *game.makers.modules()]:
            if getattr(piece, "coupled", False) and not getattr(piece, "over_ranks", False):
                raise Mistake(
                    f"{name}: {type(piece).__name__} looks at a batch as a whole, and each of {ranks.world_size()} "
                    "ranks sees a slice. Train on one device, or take its statistics over all ranks "
                    "(saddlepoint.ranks) and say over_ranks = True"
                )


def assert_ranks_identical(game: Any) -> None:
    """Raise Mistake where the ranks do not hold the same game to the last bit."""
    if ranks.world_size() == 1:
        return
    held = replicated_state(game)
    if len(set(prints := ranks.all_gather_object(ranks.fingerprint(held)))) > 1:
        each = ranks.all_gather_object({name: ranks.fingerprint({name: tensor}) for name, tensor in held.items()})
        first = next(name for name in held if len({own[name] for own in each}) > 1)
        raise Mistake(
            f"after {game.images:,} images the ranks have drifted apart, first in {first} ({len(set(prints))} "
            "versions). Nothing was saved. Something moves weights outside of Game.step, or draws differ where "
            "they must not"
        )


def replicated_state(game: Any) -> dict[str, Tensor]:
    """All that ranks have to hold alike, by name: weights, buffers, what optimizers remember, the streams."""
    held = dict((*game.named_parameters(), *game.named_buffers()))
    for name in game.players:
        for number, memory in game.optimizer(name).state_dict()["state"].items():
            known = {key: value for key, value in memory.items() if isinstance(value, Tensor)}
            held |= {f"optimizer of {name}, parameter {number}, {key}": value for key, value in known.items()}
    return held | {f"stream {name}": stream.state for name, stream in game.streams.items()}
