"""The distance of a game from a known equilibrium, as a score.

distance = max over the last `rounds` rounds of |w - w*|, w all parameters of the players, w* their equilibrium values.

The maximum and not the last value, because plain gradient descent on a saddle passes its equilibrium repeatedly without
staying there. This is a score of a game, not of samples, and has its own kind of contract: no reals are compared, and
`n_fake` is the number of rounds. Salimans et al. 2016 (arXiv:1606.03498), section 3.3, describe such a game.
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
    """Measures distance_players_<rounds>_train at the end: the maximum over the last `rounds` rounds.

    `equilibrium` maps each player to the equilibrium values of its parameters, in the order of its network; missing
    players have the origin. Raises Mistake if a player has another number of parameters.
    """

    def __init__(self, equilibrium: Mapping[str, Sequence[float]] | None = None, rounds: int = 1000) -> None:
        if rounds < 1:
            raise ValueError(f"rounds={rounds} must be an integer of at least 1")
        self.equilibrium = {name: [float(v) for v in values] for name, values in (equilibrium or {}).items()}
        self.distances: deque[float] = deque(maxlen=rounds)

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake if the equilibrium does not fit the players; called before the run folder is created."""
        self.distance(game)

    def after_round(self, trainer: pl.Trainer, game: Game) -> None:
        """Record the distance after a round."""
        self.distances.append(self.distance(game))

    @torch.no_grad()
    def distance(self, game: Game) -> float:
        """Return the current |w - w*| over all players, computed in float64."""
        squared_distance = 0.0
        for name in game.players:
            parameters = [p.flatten().double() for p in game.player(name).network.parameters() if p.requires_grad]
            w = torch.cat(parameters).cpu()
            target = torch.tensor(self.equilibrium.get(name, [0.0] * len(w)), dtype=torch.float64)
            if len(target) != len(w):
                key = f"callback.equilibrium_distance.equilibrium.{name}"
                raise Mistake(f"{key} has {len(target)} values, and {name} has {len(w)} parameters")
            squared_distance += float((w - target).square().sum())
        return squared_distance**0.5

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """Return the score of the last rounds, NaN if one of them is NaN; {} before the first round."""
        if not self.distances:
            return {}
        settings = {"equilibrium": self.equilibrium, "of": "largest"}
        rounds = len(self.distances)
        contract = Contract.for_players("distance", "players", data.split("train"), rounds, "raw", settings)
        return {contract.score_name: Score(float(np.max(self.distances)), contract)}

    def state_dict(self) -> dict[str, Any]:
        return {"distances": list(self.distances)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.distances.extend(state_dict["distances"])
