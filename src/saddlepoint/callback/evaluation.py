"""Scores along the run, by one written protocol; and which checkpoint is best, by another."""

from typing import Any, cast

import pytorch_lightning as pl
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import class_condition
from saddlepoint.game.sampling import draw_condition, draw_dropout_seed, prepare_sampling_networks, sampling_contract
from saddlepoint.stream import Stream


class Evaluation(Periodic):
    """At 0 images and every `images_between`: `evaluator`'s scores go to every logger, each under its contract's name.

    Samples come from the evaluation stream, from its start at each time, so successive scores share their latents and
    evaluating more often changes nothing in training.

    Which checkpoint is best is decided by `selector`, on other reals and other fakes than those that are reported: the
    best of many numbers is flattered by chance, and the reported one must not be.
    """

    at_end = False  # the last score is asked for by whoever ends the run

    def __init__(
        self,
        images_between: int,
        evaluator: Evaluator | None = None,
        selector: Evaluator | None = None,
        average: bool = True,
        batch_norm: str = "running",
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        self.evaluator, self.selector = evaluator, selector
        self.average, self.batch_norm = average, batch_norm
        self.latest: dict[str, Score] = {}
        self.measured_at = self.best_at = -1  # images
        self.best: Score | None = None  # of the selector, under the contract now in force
        self.previous_end: tuple[int, dict[str, Score]] = (
            -1,
            {},
        )  # images and scores of this run's former end, to be shown

    @property
    def current_scores(self) -> dict[str, Score]:
        """The newest scores there are: a checkpoint was saved before what was measured at the end of its run."""
        images, scores = self.previous_end
        return scores if images > self.measured_at else self.latest

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure now and log."""
        if self.evaluator is not None:
            data: Any = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
            log_metrics(trainer, game, self.measure(game, data))

    def measure(self, game: Game, data: Any) -> dict[str, float]:
        """Measure now; what there is to log: the scores, and the one that selects."""
        self.latest = Sampler(game, self.average, self.batch_norm).evaluate(cast(Evaluator, self.evaluator), data)
        self.measured_at = game.images
        choosing = self.selection_score(game, data)
        if choosing is not None and game.images and ranks.broadcast(self.is_improvement(choosing)):
            self.best, self.best_at = choosing, game.images  # never an untrained one; of a tie all ranks say the same
        self._share()
        return scores_to_metrics(self.latest) | (
            scores_to_metrics({choosing.contract.score_name: choosing}) if choosing is not None else {}
        )

    def _share(self) -> None:
        self.state.scores, self.state.best_at = self.current_scores, self.best_at

    def selection_score(self, game: Game, data: Any) -> Score | None:
        """The score that tells which checkpoint is best, on its own reals and from its own stream.

        Always of one metric, the first declared: where that has no value now (a class is missing), nothing is best.
        """
        if self.selector is None:
            return None
        first = next(iter(self.selector.higher_is_better))
        found = Sampler(game, self.average, self.batch_norm, "selection").evaluate(self.selector, data)
        return next((score for score in found.values() if score.contract.metric == first), None)

    def is_improvement(self, score: Score) -> bool:
        """Whether it is better than the best so far, or the first under its contract."""
        sign = 1 if cast(Evaluator, self.selector).higher_is_better[score.contract.metric] else -1
        comparable = self.best is not None and self.best.contract == score.contract
        return not comparable or sign * score.value > sign * cast(Score, self.best).value

    def state_dict(self) -> dict[str, Any]:
        return {
            "measured_at": self.measured_at,
            "best_at": self.best_at,
            "best": self.best.to_dict() if self.best is not None else None,
            "latest": {key: score.to_dict() for key, score in self.latest.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.measured_at, self.best_at = state_dict["measured_at"], state_dict.get("best_at", -1)
        self.best = Score.from_dict(state_dict["best"]) if state_dict["best"] is not None else None
        self.latest = {key: Score.from_dict(score) for key, score in state_dict["latest"].items()}
        self._share()


class Sampler:
    """The next n samples of a stream, and the classes (column y) that they were asked for, None without any."""

    def __init__(
        self, game: Game, average: bool = True, batch_norm: str = "running", stream: str = "evaluation"
    ) -> None:
        self.game, self.average, self.batch_norm = game, average, batch_norm
        self.stream = Stream(game.seed, stream, device=game.device)
        self.label = class_condition(game)

    def __call__(self, n: int) -> tuple[Tensor, Tensor | None]:
        asked = draw_condition(self.game, n, self.stream)
        x = self.game.sample(n, asked, self.stream, self.average, self.batch_norm)
        return x, None if self.label is None else asked[self.label]

    def evaluate(self, evaluator: Evaluator, data: Any) -> dict[str, Score]:
        """The evaluator's scores against `data` of the samples that come next."""
        return evaluator(self, data, **sampling_contract(self.game, self.average, self.batch_norm, evaluator.batch))

    def skip(self, n: int) -> None:
        """Pass over n samples that somebody else makes; an average is brought up to date as it is there."""
        prepare_sampling_networks(self.game, self.average)
        draw_condition(self.game, n, self.stream)
        self.game.prior.sample(n, self.stream)
        draw_dropout_seed(self.game, self.stream)


def scores_to_metrics(scores: dict[str, Score]) -> dict[str, float]:
    """Scores as a line of metrics.jsonl: value by key, and <key>_std where a score has one."""
    spread = {f"{key}_std": score.std for key, score in scores.items() if score.std is not None}
    return {key: score.value for key, score in scores.items()} | spread
