"""Scores along the run by one protocol, and selection of the best checkpoint by another."""

from typing import Any, cast

import pytorch_lightning as pl

from saddlepoint import ranks
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.evaluator import Evaluator, Fakes
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import class_condition_name
from saddlepoint.game.pairs import draw_pair, has_pairs
from saddlepoint.game.sampling import draw_condition, draw_dropout_seed, prepare_sampling_networks, sampling_contract
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Condition


class Evaluation(Periodic):
    """Logs the scores of `evaluator` at 0 images and every `images_between`, named by their contracts.

    Samples are always drawn from the start of the evaluation stream. Successive scores therefore share their latents,
    and more frequent evaluation does not change training.

    The best checkpoint is selected by `selector`, on other reals and fakes than those of the reported scores: the best
    of many scores is biased by selection, and the reported score must not be.
    """

    at_end = False  # the caller of the Trainer measures the final score

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
        self.best: Score | None = None  # the best selection score
        self.previous_end: tuple[int, dict[str, Score]] = -1, {}  # images and final scores of the run before a resume

    @property
    def current_scores(self) -> dict[str, Score]:
        """The latest scores. After a resume, the final scores before it are newer than those in the checkpoint."""
        return self._latest_measurement[1]

    @property
    def _latest_measurement(self) -> tuple[int, dict[str, Score]]:
        images, scores = self.previous_end
        return (images, scores) if images > self.measured_at else (self.measured_at, self.latest)

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure and log the scores."""
        if self.evaluator is not None:
            data: Any = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
            log_metrics(trainer, game, self.measure(game, data))

    def measure(self, game: Game, data: Any) -> dict[str, float]:
        """Measure the scores and the selection score, and return them for logging."""
        self.latest = Sampler(game, self.average, self.batch_norm).evaluate(cast(Evaluator, self.evaluator), data)
        self.measured_at = game.images
        selection = self.measure_selection_score(game, data)
        # an untrained game is never best; rank 0 decides, so that ties resolve the same way on all ranks
        if selection is not None and game.images and ranks.broadcast(self.is_improvement(selection)):
            self.best, self.best_at = selection, game.images
        self._publish_scores()
        selected = {selection.contract.score_name: selection} if selection is not None else {}
        return scores_to_metrics(self.latest) | scores_to_metrics(selected)

    def _publish_scores(self) -> None:
        self.state.measured_at, self.state.scores = self._latest_measurement
        self.state.best_at = self.best_at

    def measure_selection_score(self, game: Game, data: Any) -> Score | None:
        """Return the score that selects the best checkpoint, from the selector's reals and stream.

        It is always the first declared metric; None if this metric has no value now (a class is missing).
        """
        if self.selector is None:
            return None
        first = next(iter(self.selector.higher_is_better))
        scores = Sampler(game, self.average, self.batch_norm, "selection").evaluate(self.selector, data)
        return next((score for score in scores.values() if score.contract.metric == first), None)

    def is_improvement(self, score: Score) -> bool:
        """Whether `score` is better than the best so far, or the first under its contract."""
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
        self._publish_scores()


class Sampler:
    """Draws the next n samples of a stream; returns them and their classes (column y), None if they have none.

    Samples of a game from image to image are returned with the truth and mask of each, and have the class of the truth.
    """

    def __init__(
        self, game: Game, average: bool = True, batch_norm: str = "running", stream: str = "evaluation"
    ) -> None:
        self.game, self.average, self.batch_norm = game, average, batch_norm
        self.stream = Stream(game.seed, stream, device=game.device)
        self.label, self.paired = class_condition_name(game), has_pairs(game)

    def __call__(self, n: int, given: Condition = UNCONDITIONAL) -> Fakes:
        if self.paired and not given:
            condition, pair = draw_pair(self.game, n, self.stream)
            x = self.game.sample(n, condition, self.stream, self.average, self.batch_norm)
            return x, pair.y, pair.target, pair.mask
        condition = draw_condition(self.game, n, self.stream, given)
        x = self.game.sample(n, condition, self.stream, self.average, self.batch_norm)
        return x, None if self.label is None else condition[self.label]

    def evaluate(self, evaluator: Evaluator, data: Any) -> dict[str, Score]:
        """Return the evaluator's scores of the next samples against `data`."""
        return evaluator(self, data, **sampling_contract(self.game, self.average, self.batch_norm, evaluator.batch))

    def skip(self, n: int) -> None:
        """Advance the stream by n samples, which another rank draws, and prepare the networks as that rank does."""
        prepare_sampling_networks(self.game, self.average)
        draw_condition(self.game, n, self.stream)
        self.game.prior.sample(n, self.stream)
        draw_dropout_seed(self.game, self.stream)


def scores_to_metrics(scores: dict[str, Score]) -> dict[str, float]:
    """Return scores as logged values: the value under each name, and <name>_std if the score has a deviation."""
    deviations = {f"{key}_std": score.std for key, score in scores.items() if score.std is not None}
    return {key: score.value for key, score in scores.items()} | deviations
