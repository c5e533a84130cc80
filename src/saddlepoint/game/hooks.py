"""What any module of a game may define to follow it: a clock, feedback, reference latents, a start from data.

A module is a network or a layer of it, a term, a maker, or one of these in an average's copy.  Methods are found by
their name; each is optional.
"""

from typing import Any, Protocol

from torch import nn

from saddlepoint.turn import Condition, Turn

ROUND_HOOKS = ("at_images", "after_turn")  # called in every round


class Hooks(Protocol):
    """The methods, in the order in which they are called.

    An attribute `dormant = True` says that a module does not take part yet (a level of a growing network): nothing is
    said of its parameters having no gradient.
    """

    def set_reference(self, network: nn.Module, latent: Any, condition: Condition) -> None:
        """Once, when the game is built: `self.reference` latents, and their condition, that `network`, of which this
        module is a layer, is to see before any others (virtual batch norm).  In networks and makers that samples pass
        through, and copies in averages; a term is given its player's network, and what the generator is given."""

    def data_dependent_init(self, network: nn.Module, x: Any, condition: Condition) -> None:
        """Once, before the first round: what `network`, of which this module is a layer or a term, is given first, 500
        rows at most: reals, or latents where it makes samples (weight normalisation).  On all ranks alike; a copy in an
        average takes its network's state instead."""

    def at_images(self, images: int) -> None:
        """Before every round, and before samples are made: how many real images have been shown, on all ranks.

        It has to leave the module in a state that follows from `images` alone, so that a resumed run stands where it
        stood (progressive growing, a warm-up, scheduled augmentation)."""

    def after_turn(self, player: str, turn: Turn) -> None:
        """After each step of each player: what its losses saw, `turn["real"].logits` for one (adaptive augmentation).

        A side that no loss looked at is made by the weights after the step.  Under `accumulate` it is called once per
        part.  The turn is one rank's: take means with `saddlepoint.ranks.mean`, and keep what changes in buffers."""


def modules_with_hook(module: nn.Module, method: str) -> list[Any]:
    """The modules in `module`, itself among them, that define a hook."""
    found = []
    for part in module.modules():
        found += [part] if hasattr(part, method) else []
    return found
