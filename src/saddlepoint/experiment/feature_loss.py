"""Terms that compare features of a frozen extractor: they get it here, and it must not be one that measures scores."""

from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any

from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.evaluators import load_or_train_configured_extractor
from saddlepoint.game.game import Game


def attach_extractors(game: Game, config: CheckedConfig, data: Any) -> None:
    """Give each term with an `extractor` a function that loads it; `data` is the data set, or a function for it."""
    for _, term in _terms_with_extractor(game):
        term.load_extractor = cache(partial(_load, config, data, term.extractor))  # also shared by copies of the term


def check_extractors_score_nothing(game: Game, evaluators: Iterable[Evaluator | None]) -> None:
    """Raise Mistake if an extractor that a term trains on also measures scores, also under another name."""
    scoring = {one.extractor.sha256: one.extractor.name for one in evaluators if one is not None}
    for path, term in _terms_with_extractor(game):
        if name := scoring.get(term.loaded_extractor().sha256):
            raise Mistake(
                f"{path}.extractor={term.extractor}: this network also measures the scores ({name}), which would be "
                "high for images that only deceive it: score with another one, such as evaluation.extractor="
                f"{name.removesuffix('-b') if name.endswith('-b') else f'{name}-b'} evaluation.second_extractor=null"
            )


def _terms_with_extractor(game: Game) -> Iterator[tuple[str, Any]]:
    for player in game.players:
        for name, term in game.player(player).terms.items():
            if getattr(term, "extractor", None) is not None:
                yield f"regularizer.{player}.{name}", term


def _load(config: CheckedConfig, data: Any, name: str) -> Any:
    return load_or_train_configured_extractor(config, data if hasattr(data, "split") else data(), name)
