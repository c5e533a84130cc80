"""How Lightning treats a game that several ranks play: it puts them on their devices, and leaves gradients to the game.

Its DDP wrapper sends every gradient of every player at each backward pass, and waits for those of whoever does not
move; a game takes one mean per player and step (`game/ranks.py`; docs/scaling.md has the figures).
"""

from __future__ import annotations

from pytorch_lightning.strategies import DDPStrategy


class Ranks(DDPStrategy):
    """One process per device; the group is joined before Lightning comes (`saddlepoint.ranks.join`)."""

    def configure_ddp(self) -> None:
        """No wrapper: the module plays as it is, and its gradients are the game's own to share."""
