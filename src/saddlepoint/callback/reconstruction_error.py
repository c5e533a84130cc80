"""How well held-out images are reconstructed: by an auto-encoder, G(E(x)), or by a cycle of translations, F(G(a)).

    <side>_mae   E|x~ - x|            over all values, in [-1, 1]
    <side>_mse   E(x~ - x)^2

Codes are the means of their posteriors.  The deviation of a score is its standard error over images.
"""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from saddlepoint.callback.evaluation import scores_to_metrics
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.game.game import Game
from saddlepoint.game.pairs import evaluated_networks, players_of_side, rows_of_side, turn_of_rows
from saddlepoint.mode import in_mode
from saddlepoint.stream import Stream

BATCH = 250


class ReconstructionError(Periodic):
    """Logs the scores at 0 images, every `images_between` and at the end.

    sides  side -> the side or column that it should be equal to; None: {reconstruction: x}
    split  held-out data
    n      number of rows, the first ones; None: all. A side made from an unpaired column has the rows of that column
    Raises Mistake if the game has no such side.
    """

    def __init__(
        self,
        images_between: int,
        sides: Mapping[str, str] | None = None,
        split: str = "test",
        n: int | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        self.sides, self.split, self.n = dict(sides or {"reconstruction": "x"}), split, n
        self.latest: dict[str, Score] = {}
        self.measured_at = -1  # images

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake if a side does not exist."""
        data.split(self.split)
        for side in self.sides:
            if side not in game.sides:
                raise Mistake(
                    f"callback.reconstruction_error: this game has no side {side}, so nothing is reconstructed."
                    f"{did_you_mean(side, game.sides)} There are: {', '.join(game.sides)}"
                )

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure and log the scores."""
        log_metrics(trainer, game, scores_to_metrics(self.measure(game, trainer.datamodule)))  # pyright: ignore[reportAttributeAccessIssue]

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """Return the scores, measured only if the last measurement is older."""
        return self.latest if self.measured_at == game.images else self.measure(game, data)

    @torch.no_grad()
    def measure(self, game: Game, data: Any) -> dict[str, Score]:
        """Measure the scores and return them by name."""
        split = data.split(self.split)
        rows = {side: rows_of_side(game, side, split) for side in self.sides}
        rows = {side: n if self.n is None else min(self.n, n) for side, n in rows.items()}
        networks = evaluated_networks(game)
        stream = Stream(game.seed, "reconstruction", device=game.device)
        errors: dict[str, list[torch.Tensor]] = {}
        with in_mode(*networks.values()):
            for index in torch.arange(max(rows.values())).split(BATCH):
                turn = turn_of_rows(game, data.batch_at(self.split, index), stream, networks)
                for side, target in self.sides.items():
                    gap = (turn.tensor(side) - turn.tensor(target)).double().flatten(1)
                    errors.setdefault(f"{side}_mae", []).append(gap.abs().mean(1).cpu())
                    errors.setdefault(f"{side}_mse", []).append(gap.square().mean(1).cpu())
        self.latest, self.measured_at = {}, game.images
        for metric, chunks in errors.items():
            side = metric.rpartition("_")[0]
            n = rows[side]
            values = torch.cat(chunks)[:n]
            makers, weights = players_of_side(game, side)
            settings = {"target": self.sides[side], "codes": "mean", "std": "standard error over images"}
            contract = Contract.for_players(metric, makers, split, n, weights, settings)
            error = values.std(correction=0).item() / n**0.5
            self.latest[contract.score_name] = Score(values.mean().item(), contract, error)
        return self.latest
