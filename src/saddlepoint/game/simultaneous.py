"""Simultaneous play: all players look at one turn, and only when everybody has a gradient does anybody step.

The code of Goodfellow et al. 2014 plays so; the analysis of Mescheder et al. 2018 (arXiv:1801.04406) starts from it.
"""

from collections.abc import Mapping

from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import Batch


class Simultaneous(Game):
    """One shared, undetached turn per round.  Raises ValueError where players ask for different batches."""

    def __init__(self, players: Mapping[str, Player], prior: Prior, seed: int = 0) -> None:
        super().__init__(players, prior, seed)
        for setting in ("multiple", "accumulate"):
            if len({getattr(player, setting) for player in players.values()}) > 1:
                raise ValueError(f"players that move at once share one batch: give them the same {setting}")

    def compile_players(self, backend: str = "inductor") -> None:
        """Raises Mistake: a turn is gone back through once per player, and a compiled pass can be once (torch 2.15)."""
        raise Mistake("players that move at once share one graph, which compiled code throws away: set compile=false")

    def on_fit_start(self) -> None:
        """Raises Mistake under fp16: a scale that changes at one player's step would be undone at the next one's."""
        super().on_fit_start()
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise Mistake(
                "trainer.precision=16-mixed: players that move at once have gradients of one scale, which may change "
                "between their steps; take bf16-mixed"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One round: every due player's gradient at the same point, then every step."""
        movers = [name for name in self.players if self.due(name)]
        if movers:
            self.gradients(movers, batch)
        for name in movers:
            self.step(name, batch)
        self.advance(batch)
