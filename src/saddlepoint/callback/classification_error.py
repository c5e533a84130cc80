"""The test error of D's class head, for semi-supervised training.

error = share of the split's images whose largest of D's K class logits is not their class.

This is a score of the discriminator, not of samples, and has its own kind of contract: no reals are compared, `n_fake`
is the number of classified images, and the extractor is the discriminator itself. A discriminator whose output depends
on the rest of the batch (minibatch discrimination) is evaluated in full batches of its training size. Never select
anything by this error: the final error is the result, and the smallest along the run is biased by selection.
"""

import copy
from typing import Any

import pytorch_lightning as pl
import torch

from saddlepoint.callback.evaluation import scores_to_metrics
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge_player
from saddlepoint.game.sampling import full_batch_indices, is_batch_dependent
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL

BATCH = 500  # batch size for networks whose output does not depend on it


class ClassificationError(Periodic):
    """Logs error_discriminator_<n>_<split> at 0 images, every `images_between` and at the end.

    D is in evaluation mode, with its averaged weights if its player has an average. summary.json holds the latest score
    and its contract under `discriminator`.
    Raises Mistake if the data have no classes or D has no such head.
    """

    def __init__(
        self,
        images_between: int,
        head: str = "label",
        split: str = "test",
        batch: int | None = None,
        run: Run | None = None,
        average: bool = True,
        state: RunState | None = None,
    ) -> None:
        """`batch`: batch size; None: 500, or the training batch size if the output of D depends on it."""
        if split == "all":
            raise Mistake("callback.classification_error.split=all: this includes training images of D; use test")
        super().__init__(images_between, state)
        self.head, self.split, self.batch, self.run, self.average = head, split, batch, run, average
        self.latest: dict[str, Score] = {}
        self.measured_at = -1  # images

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake if the split has no classes, or if D has no such head or needs a condition.

        Called before the run folder is created.
        """
        split = self._labelled_split(data)
        heads = getattr(judge_player(game).network, "heads", None)
        if heads is not None:  # a user-defined network may not store its heads in this attribute
            self._select_head(heads)
        network = copy.deepcopy(judge_player(game).network).eval()
        try:
            with torch.no_grad():
                network(split.batch_at(torch.arange(2)).x, UNCONDITIONAL)
        except Mistake as error:
            raise Mistake(
                f"callback.classification_error: D must classify images without a condition, but {error}"
            ) from None

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure the error, log it, and write it to summary.json."""
        scores = self.measure(game, trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        log_metrics(trainer, game, scores_to_metrics(scores))
        if self.run is not None and trainer.is_global_zero:
            self.run.update_summary(discriminator={key: score.to_dict() for key, score in scores.items()})

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """Return the current scores, measured only if the last measurement is older."""
        return self.latest if self.measured_at == game.images else self.measure(game, data)

    @torch.no_grad()
    def measure(self, game: Game, data: Any) -> dict[str, Score]:
        """Measure the error and return it by name."""
        split = self._labelled_split(data)
        ema = judge_player(game).average if self.average else None
        network = judge_player(game).network if ema is None else ema.network
        dependent = is_batch_dependent(network)
        batch = self.batch or (data.batch if dependent else BATCH)
        n = len(split)
        # shuffled: a stored set may be sorted by class, which makes batches unlike those of training
        order = torch.randperm(n, generator=Stream(0, "classification error").generator)
        batches = (order[rows] if dependent else rows for rows in full_batch_indices(n, batch))
        to_float = modality_of(data).to_float
        with in_mode(network):
            labelled = split.batches_at(batches, game.device)
            errors = [self._select_head(network(to_float(x)).heads).argmax(1) != y for x, y in labelled]
        wrong = int(torch.cat(errors)[:n].sum())
        settings = {"head": self.head, **({"batch": batch} if dependent else {})}
        weights = "raw" if ema is None else "averaged"
        contract = Contract.for_players("error", "discriminator", split, n, weights, settings)
        score = Score(wrong / n, contract, detail={"wrong": wrong, "of": n})
        self.latest, self.measured_at = {contract.score_name: score}, game.images
        return self.latest

    def _labelled_split(self, data: Any) -> Any:
        """Return the split. Raises Mistake if it does not exist or has no classes."""
        try:
            split = data.split(self.split)
        except Mistake as error:
            raise Mistake(f"callback.classification_error.split={self.split}: {error}") from None
        if split.classes is None:
            raise Mistake(f"callback.classification_error: {data.name} has no classes. Remove it, or use other data")
        return split

    def _select_head(self, heads: Any) -> Any:
        if self.head not in heads:
            raise Mistake(
                f"callback.classification_error.head={self.head}: the discriminator's heads are "
                f"{', '.join(heads) or 'none'}. Set 'architecture.discriminator.heads={{{self.head}: 10}}'"
            )
        return heads[self.head]
