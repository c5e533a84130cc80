"""Hooks: optional methods of any module of a game, called with initial samples, the image count, or the last turn.

A module is a network or one of its layers, a term, a maker, or a copy of these in an average. The methods are found by
name.
"""

from typing import Any, Protocol

from torch import nn

from saddlepoint.turn import Condition, Turn

ROUND_HOOKS = ("at_images", "after_turn")  # called in every round


class Hooks(Protocol):
    """The methods, in the order in which they are called.

    A module with the attribute `dormant = True` does not take part yet (a level of a growing network): its parameters
    may have no gradient.
    """

    def set_reference(self, network: nn.Module, latent: Any, condition: Condition) -> None:
        """Called once, when the game is built, with `self.reference` latents and their condition.

        The module is a layer of `network`, and may run these samples through it before any others (virtual batch norm).
        Called for networks and makers that samples pass through, and for their copies in averages. A term gets the
        network of its player, and the inputs of the generator."""

    def data_dependent_init(self, network: nn.Module, x: Any, condition: Condition) -> None:
        """Called once, before the first round, with the first inputs of `network`, at most 500 rows.

        These are reals, or latents if the network makes samples. The module is a layer or a term of `network` (weight
        normalisation). All ranks get the same inputs. A copy in an average takes the state of its network instead."""

    def at_images(self, images: int) -> None:
        """Called before every round and before samples are made, with the number of real images shown on all ranks.

        The state it sets must depend on `images` alone, so that a resumed run continues exactly (progressive growing, a
        warm-up, scheduled augmentation)."""

    def after_turn(self, player: str, turn: Turn) -> None:
        """Called after each step of each player, with the turn its losses used, such as `turn["real"].logits`.

        For adaptive augmentation. A side that no loss used is made by the weights after the step. With `accumulate` it
        is called once per chunk. The turn belongs to one rank: take means with `saddlepoint.ranks.mean`, and keep what
        changes in buffers."""


def modules_with_hook(module: nn.Module, method: str) -> list[Any]:
    """Return the modules in `module`, including itself, that define a hook."""
    modules = []
    for child in module.modules():  # a comprehension has a frame of its own in Python 3.11, and this is called often
        if hasattr(child, method):
            modules.append(child)
    return modules
