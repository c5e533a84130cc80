"""Scores of the same runs as arms: each run becomes one record per score, and the arms are paired by run.

A metric may measure several treatments of one generator, such as a classifier's accuracy with and without samples
(`metric/augmentation_accuracy.py`). Then every arm has every run, so that differences are tested within runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

from saddlepoint.comparison.arms.arm import FINISHED
from saddlepoint.comparison.arms.direction import higher_is_better
from saddlepoint.comparison.arms.record import Config, Event, Record, RunCollection
from saddlepoint.comparison.arms.score import find_key
from saddlepoint.error import Mistake

KEY = "score"  # the key of the arms


@dataclass(frozen=True)
class ScoreRecord(Record):
    """A run's record with one of its scores, under the name that all arms have in common."""

    key: str = ""  # of the run's own score
    metric: str = ""  # the common part of the scores' metrics
    common_key: str = ""

    @property
    def title(self) -> str:
        return f"{self.folder} ({self.key})"

    @cached_property
    def final_scores(self) -> dict[str, Mapping[str, Any]]:
        """The one score, its contract with the common metric: every other field must be equal."""
        scores = Record.final_scores.func(self)
        if self.key not in scores:
            return {}
        score = scores[self.key]
        return {self.common_key: {**score, "contract": {**score["contract"], "metric": self.metric}}}

    @cached_property
    def journal(self) -> tuple[Sequence[Event], int]:
        rows, unreadable = Record.journal.func(self)
        rename = {self.key: self.common_key}
        return [{rename.get(name, name): value for name, value in row.items()} for row in rows], unreadable


def split_by_score(
    collection: RunCollection, scores: Sequence[str], requested: bool | None = None
) -> tuple[RunCollection, bool]:
    """Return a collection with one record per run and score, and whether higher is better; `scores`: keys or metrics.

    Raises Mistake for fewer than two scores, for an unknown one, and for scores that do not share the beginning of
    their names or their direction.
    """
    finished = [record for record in collection.records if record.status == FINISHED and record.final_scores]
    if not finished:
        raise Mistake(f"none of the {len(collection.records)} runs has finished with a score: nothing can be compared")
    keys = list(dict.fromkeys(find_key(finished, str(score), "scores") for score in scores))
    contracts = [next(r.final_scores[key]["contract"] for r in finished if key in r.final_scores) for key in keys]
    metrics = [str(contract["metric"]) for contract in contracts]
    words = zip(*(metric.split("_") for metric in metrics), strict=False)
    common = "_".join(word[0] for word in takewhile(lambda word: len(set(word)) == 1, words))
    if len(keys) < 2 or not common:
        raise Mistake(
            f"scores={','.join(map(str, scores))}: give two or more scores of one metric, such as "
            "augmentation_accuracy_real and augmentation_accuracy_gan"
        )
    if len(directions := {higher_is_better(metric, requested) for metric in metrics}) > 1:
        raise Mistake(f"scores={','.join(metrics)}: of some, high values are better, and of others low ones")
    common_key = keys[0].replace(metrics[0], common, 1)
    records = []
    for record in collection.records:
        for key, metric in zip(keys, metrics, strict=True):
            arm = {KEY: metric.removeprefix(f"{common}_")}
            config = Config({**record.config.full, **arm}, {**record.config.training_values, **arm})
            fields = {name: getattr(record, name) for name in ("folder", "seed", "summary", "status")}
            records.append(ScoreRecord(config=config, key=key, metric=common, common_key=common_key, **fields))
    return replace(collection, records=tuple(records)), directions.pop()
