"""How far a game still strays from an equilibrium that is known, as a score.

distance = max over the last `rounds` rounds of |w - w*|, w all numbers that the players move, w* where they should be.

The largest and not the last: plain gradient descent on a saddle passes by its equilibrium again and again without
staying there. It is a score of a game, not of samples, and has a contract of its own kind: no reals are compared, and
"fakes" are the rounds that were looked at. Salimans et al. 2016 (arXiv:1606.03498), section 3.3, tell of such a game.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.game.game import Game


class EquilibriumDistance(pl.Callback):
    """distance_players_<rounds>_train at the end: the largest over the last `rounds` rounds.

    `equilibrium` has, per player, the numbers that it should move to, in the order of its network's parameters. Without
    any, the origin is meant. Raises Mistake where there are not as many of them as the player moves.
    """

    def __init__(self, equilibrium: Mapping[str, Sequence[float]] | None = None, rounds: int = 1000) -> None:
        if rounds < 1:
            raise ValueError(f"rounds={rounds} must be a whole number of at least 1")
        self.equilibrium = {name: [float(v) for v in values] for name, values in (equilibrium or {}).items()}
        self.distances: deque[float] = deque(maxlen=rounds)

    def before_run(self, game: Game, data: Any) -> None:
        """Raises Mistake where the equilibrium does not fit the players; called before the run's folder is begun."""
        self.distance(game)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.distances.append(self.distance(game))

    @torch.no_grad()
    def distance(self, game: Game) -> float:
        """|w - w*| now, over all players, in float64."""
        squares = 0.0
        for name in game.players:
            moved = [p.flatten().double() for p in game.player(name).network.parameters() if p.requires_grad]
            place = torch.cat(moved).cpu()
            goal = torch.tensor(self.equilibrium.get(name, [0.0] * len(place)), dtype=torch.float64)
            if len(goal) != len(place):
                key = f"callback.equilibrium_distance.equilibrium.{name}"
                raise Mistake(f"{key} has {len(goal)} numbers, and {name} moves {len(place)}")
            squares += float((place - goal).square().sum())
        return squares**0.5

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """The score of the rounds remembered, no number if one of them was none; {} before the first."""
        if not self.distances:
            return {}
        settings = {"equilibrium": self.equilibrium, "of": "largest"}
        contract = Contract.for_players(
            "distance", "players", data.split("train"), len(self.distances), "raw", settings
        )
        return {contract.score_name: Score(float(np.max(self.distances)), contract)}

    def state_dict(self) -> dict[str, Any]:
        return {"distances": list(self.distances)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.distances.extend(state_dict["distances"])
