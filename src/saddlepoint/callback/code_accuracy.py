"""How well a categorical code, as D's head of its name predicts it, agrees with the classes of real images.

    accuracy = share of the images x of a split with map(argmax_k head_k(x)) = y

The map from codes to classes is fitted on other splits: one-to-one with most agreements, and as a second score the most
frequent class of each code (`evaluation.code_map`).

    bound = log K - E[-log Q(c | G(z, c))]        in nats, at most log K: that of `regularizer.mutual_information`

Chen et al. 2016 (arXiv:1606.03657), eq. 5 and section 7.2. A large bound only means that the codes are distinct.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from saddlepoint.callback.evaluation import scores_to_metrics
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.code_map import confusion, majority, one_to_one
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge_player
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.prior.categorical import Categorical
from saddlepoint.turn import UNCONDITIONAL

BATCH = 500


class CodeAccuracy(Periodic):
    """Logs both accuracies and the bound at 0 images, every `images_between` and at the end.

    code               a categorical part of the latent; D has a head of that name
    fit_splits, split  splits that the map is fitted on, and the measured split
    n                  number of generated samples for the bound
    D is in evaluation mode, with its averaged weights if its player has an average.
    Raises Mistake if the code, the head or the classes are missing, or if `split` is one of `fit_splits`.
    """

    def __init__(
        self,
        images_between: int,
        code: str = "category",
        fit_splits: Sequence[str] = ("train", "validation"),
        split: str = "test",
        n: int = 10_000,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if not fit_splits or split in fit_splits:
            raise Mistake(f"callback.code_accuracy.fit_splits={list(fit_splits)}: name splits other than {split}")
        self.code, self.fit_splits, self.split, self.n = code, tuple(fit_splits), split, n
        self.latest: dict[str, Score] = {}
        self.measured_at = -1  # images

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake if the game has no such code, or if the data have no classes."""
        key, names = f"callback.code_accuracy.code={self.code}", list(game.prior)
        if self.code not in names or not isinstance(game.prior[self.code], Categorical):
            known = ", ".join(names)
            raise Mistake(f"{key} is no categorical part of the latent, {known}.{did_you_mean(self.code, names)}")
        if data.split(self.split).classes is None:
            raise Mistake(f"callback.code_accuracy: {data.name} has no classes. Remove it, or use other data")
        network, x = judge_player(game).network, data.split(self.split).batch_at(torch.arange(2)).x
        with torch.no_grad(), in_mode(network):
            if self.code not in (heads := network(x, UNCONDITIONAL).heads):
                raise Mistake(f"{key}: it needs a head of D with this name; the heads are {', '.join(heads) or 'none'}")

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure and log the scores."""
        scores = self.measure(game, trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        log_metrics(trainer, game, scores_to_metrics(scores))

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """Return the scores, measured only if the last measurement is older."""
        return self.latest if self.measured_at == game.images else self.measure(game, data)

    @torch.no_grad()
    def measure(self, game: Game, data: Any) -> dict[str, Score]:
        """Measure the scores and return them by name."""
        ema = judge_player(game).average
        network, weights = (judge_player(game).network, "raw") if ema is None else (ema.network, "averaged")
        with in_mode(network):
            tables = {name: self._confusion(network, game, data, name) for name in {*self.fit_splits, self.split}}
            nll = self._negative_log_likelihood(network, game)
        fitted, measured = torch.stack([tables[name] for name in self.fit_splits]).sum(0), tables[self.split]
        bound = math.log(len(measured)) - nll[self.code]
        results: list[Any] = [("mutual_information", bound, self.n, {"negative_log_likelihood": nll})]
        for metric, fit in (("code_accuracy", one_to_one), ("code_accuracy_majority", majority)):
            code_map = fit(fitted)
            detail = {"map": code_map.classes.tolist(), "confusion": measured.tolist()}
            results.append((metric, code_map.accuracy(measured), int(measured.sum()), detail))
        self.latest, self.measured_at = {}, game.images
        settings, split = {"code": self.code, "fit_splits": list(self.fit_splits)}, data.split(self.split)
        for metric, value, n, detail in results:
            contract = Contract.for_players(metric, "discriminator", split, n, weights, settings)
            self.latest[contract.score_name] = Score(value, contract, detail=detail)
        return self.latest

    def _confusion(self, network: nn.Module, game: Game, data: Any, name: str) -> Tensor:
        """Return how often each predicted code meets each class of a split, int64 [K, classes]."""
        split, to_float = data.split(name), modality_of(data).to_float
        batches = split.batches_at(torch.arange(len(split)).split(BATCH), game.device)
        pairs = [(network(to_float(x)).heads[self.code], y) for x, y in batches]
        head, y = (torch.cat(column).cpu() for column in zip(*pairs, strict=True))
        return confusion(head.argmax(1), y, head.shape[1], split.classes)

    def _negative_log_likelihood(self, network: nn.Module, game: Game) -> dict[str, float]:
        """Return the mean of -log Q for generated samples, per part of the latent that D has a head for."""
        latent, rows = game.latent(self.n), torch.arange(self.n).split(BATCH)
        heads = [network(game({name: z[i] for name, z in latent.items()})).heads for i in rows]
        predicted = {name: torch.cat([head[name] for head in heads]) for name in heads[0] if name in latent}
        return {name: float(cast(Any, game.prior[name]).nll(latent[name], x)) for name, x in predicted.items()}
