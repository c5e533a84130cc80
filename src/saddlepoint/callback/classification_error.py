"""How often D's own classes are wrong: the test error of semi-supervised training.

error = share of the split's images whose largest of D's K logits is not their class.

It is a score of the discriminator, not of samples, and has a contract of its own kind: no reals are compared, "fakes"
are the images classified, and the extractor is the discriminator itself. A discriminator whose answer depends on the
other images of a batch (minibatch discrimination) is asked in full batches of the size that it is trained on. Nothing
is ever chosen by the error: that at the end is the result, and the smallest along the run is flattered by chance
(BASELINES 2.6).
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
from saddlepoint.game.lineage import judge_of
from saddlepoint.game.sampling import full_batches, is_batch_dependent
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL

BATCH = 500  # images at once, where their number changes no answer


class ClassificationError(Periodic):
    """error_discriminator_<n>_<split> at 0 images, every `images_between` and at the end, to every logger.

    D is in evaluation mode, with its averaged weights where its player keeps an average. The latest score, with its
    contract, stands in summary.json under `discriminator`.
    Raises Mistake where the data have no classes or D no such head.
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
        """`batch` images at once; None: 500, or the training batch where the answer depends on how many they are."""
        if split == "all":
            raise Mistake("callback.classification_error.split=all: D is trained on some of these; say test")
        super().__init__(images_between, state)
        self.head, self.split, self.batch, self.run, self.average = head, split, batch, run, average
        self.latest: dict[str, Score] = {}
        self.measured_at = -1  # images

    def before_run(self, game: Game, data: Any) -> None:
        """Raises Mistake where the split has no classes, D no such head, or none without a condition.

        Called before the run's folder is begun.
        """
        split = self._labelled(data)
        heads = getattr(judge_of(game).network, "heads", None)
        if heads is not None:  # a network of one's own may keep its heads elsewhere
            self._head(heads)
        network = copy.deepcopy(judge_of(game).network).eval()
        try:
            with torch.no_grad():
                network(split.batch_at(torch.arange(2)).x, UNCONDITIONAL)
        except Mistake as mistake:
            raise Mistake(
                f"callback.classification_error: D is asked for classes by the images alone, and {mistake}"
            ) from None

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure now, log, and write it down."""
        found = self.measure(game, trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        log_metrics(trainer, game, scores_to_metrics(found))
        if self.run is not None and trainer.is_global_zero:
            self.run.update_summary(discriminator={key: score.to_dict() for key, score in found.items()})

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """The scores of this moment, measured only where they have not been."""
        return self.latest if self.measured_at == game.images else self.measure(game, data)

    @torch.no_grad()
    def measure(self, game: Game, data: Any) -> dict[str, Score]:
        """The error now, under its name."""
        split = self._labelled(data)
        kept = judge_of(game).average if self.average else None
        network = judge_of(game).network if kept is None else kept.network
        dependent = is_batch_dependent(network)
        batch = self.batch or (data.batch if dependent else BATCH)
        n = len(split)
        # in the order of a stored set, which may be that of its classes, a batch would be none of training
        order = torch.randperm(n, generator=Stream(0, "classification error").generator)
        batches = (order[rows] if dependent else rows for rows in full_batches(n, batch))
        with in_mode(network):
            rows = split.batches_at(batches, game.device)
            answers = [self._head(network(modality_of(data).to_float(x)).heads).argmax(1) != y for x, y in rows]
        wrong = int(torch.cat(answers)[:n].sum())
        settings = {"head": self.head, **({"batch": batch} if dependent else {})}
        weights = "raw" if kept is None else "averaged"
        contract = Contract.for_players("error", "discriminator", split, n, weights, settings)
        score = Score(wrong / n, contract, detail={"wrong": wrong, "of": n})
        self.latest, self.measured_at = {contract.score_name: score}, game.images
        return self.latest

    def _labelled(self, data: Any) -> Any:
        """The split.  Raises Mistake where there is none of that name, or the data have no classes."""
        try:
            split = data.split(self.split)
        except Mistake as mistake:
            raise Mistake(f"callback.classification_error.split={self.split}: {mistake}") from None
        if split.classes is None:
            raise Mistake(
                f"callback.classification_error: {data.name} has no classes. Leave it out, or take other data"
            )
        return split

    def _head(self, heads: Any) -> Any:
        if self.head not in heads:
            raise Mistake(
                f"callback.classification_error.head={self.head}: the discriminator's heads are "
                f"{', '.join(heads) or 'none'}. Say 'architecture.discriminator.heads={{{self.head}: 10}}'"
            )
        return heads[self.head]
