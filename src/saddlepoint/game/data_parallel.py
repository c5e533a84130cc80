"""Data-parallel training of a game: gradients averaged over ranks, and a check that all ranks hold the same game.

Lightning places the ranks on devices. Gradients are averaged here because Lightning's DDP wrapper would send the
gradients of all players in each backward pass, and wait for players that do not move (figures in docs/scaling.md).
"""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.average import BatchNorm


class UnwrappedDDPStrategy(DDPStrategy):
    """One process per device, without a DDP wrapper. `saddlepoint.ranks.join_group` must have been called before."""

    def configure_ddp(self) -> None:
        """Do nothing: the game averages its own gradients."""


def all_reduce_gradients(game: Any, names: Sequence[str]) -> None:
    """Average over ranks the gradients of the named players and the running statistics of batch norm.

    One message per step, whatever the number of backward passes. Running statistics are averaged at every step, so that
    they are always those of the global batches, ready to be used or saved.
    """
    gradients = [p.grad for name in names for p in game.trainable_parameters(name) if p.grad is not None]
    layers = [m for player in game.players.values() for m in player.network.modules() if isinstance(m, BatchNorm)]
    statistics = [x for layer in layers for x in (layer.running_mean, layer.running_var) if x is not None]
    ranks.mean_([*gradients, *statistics])


def check_coupled_modules(game: Any) -> None:
    """Raise Mistake if a module uses statistics of the whole batch but computes them on one rank only."""
    for name, player in game.players.items():
        for module in [*player.terms.values(), *player.network.modules(), *game.makers.modules()]:
            if getattr(module, "coupled", False) and not getattr(module, "over_ranks", False):
                raise Mistake(
                    f"{name}: {type(module).__name__} uses the whole batch, and each of {ranks.world_size()} ranks "
                    "has a slice. Train on one device, or compute its statistics over all ranks (saddlepoint.ranks) "
                    "and set over_ranks = True"
                )


def assert_ranks_identical(game: Any) -> None:
    """Raise Mistake unless all ranks hold exactly the same game."""
    if ranks.world_size() == 1:
        return
    state = replicated_state(game)
    if len(set(fingerprints := ranks.all_gather_object(ranks.fingerprint(state)))) > 1:
        by_name = ranks.all_gather_object({name: ranks.fingerprint({name: tensor}) for name, tensor in state.items()})
        first = next(name for name in state if len({fingerprint[name] for fingerprint in by_name}) > 1)
        raise Mistake(
            f"after {game.images:,} images the ranks differ, first in {first} ({len(set(fingerprints))} versions). "
            "Nothing was saved. Some code changes weights outside Game.step, or draws different random numbers per rank"
        )


def replicated_state(game: Any) -> dict[str, Tensor]:
    """Return by name all that must be equal on all ranks: weights, buffers, optimizer state and streams."""
    state = dict((*game.named_parameters(), *game.named_buffers()))
    for name in game.players:
        for number, memory in game.optimizer(name).state_dict()["state"].items():
            tensors = {key: value for key, value in memory.items() if isinstance(value, Tensor)}
            state |= {f"optimizer of {name}, parameter {number}, {key}": value for key, value in tensors.items()}
    return state | {f"stream {name}": stream.state for name, stream in game.streams.items()}
