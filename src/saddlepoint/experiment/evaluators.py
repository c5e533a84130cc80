"""What measures a game, as its config has it: the evaluator, what chooses the best checkpoint, the second extractor."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.path import cache_of
from saddlepoint.console.terminal import Meter
from saddlepoint.data.data import ALL
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment import extractor
from saddlepoint.experiment.devices import device_of
from saddlepoint.extractor.extractor import Extractor
from saddlepoint.extractor.nearest import unmeasured
from saddlepoint.modality import of
from saddlepoint.run.storage.cache import Say

SELECTING = 5_000  # fakes that choose a checkpoint, where their number is not given


def evaluator_of(
    config: DictConfig, data: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Evaluator | None:
    """The evaluator that the config describes, None where nothing can measure these data; `say` hears why.

    `progress` sees long passes: a classifier in training, reference statistics.
    """
    wanted = _wanted(config, data)
    ruler = ruler_of(config, data, wanted, say, progress)
    metrics = metrics_of(config)
    if ruler is None or not metrics:
        missing = "these data have no extractor (evaluation.extractor=...)"
        modality = of(data)
        too_large = wanted is None and not modality.planar and modality.extractor(tuple(data.shape)) is None
        if too_large or wanted is not None:
            missing = unmeasured(data)
        say("no scores: " + ("metric=[]" if not metrics else missing))
        return None
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    evaluator = Evaluator(ruler, metrics, *protocol, cache_of(config), settings.seed, device_of(config), say, progress)
    return evaluator if evaluator.metrics else None


def selector_of(config: DictConfig, data: Any, evaluator: Evaluator, say: Say = lambda line: None) -> Evaluator | None:
    """What decides which checkpoint is best: the first metric, on reals that are not reported on, by the same ruler."""
    settings = config.evaluation.get("selection") or {}
    split = settings.get("split")
    if split is None:
        return None
    if split == config.evaluation.split:
        say(
            f"no best checkpoint: {split} is the split that is reported; choose by another, evaluation.selection.split="
        )
        return None
    if config.evaluation.split == ALL:
        say(f"no best checkpoint: evaluation.split={ALL} reports on {split} too; choose by what is not reported")
        return None
    n = settings.get("n") or min(SELECTING, len(data.split(split)))
    first = next(iter(evaluator.metrics))
    metrics = {first: metrics_of(config)[first]}
    rest = cache_of(config), config.evaluation.seed, device_of(config), evaluator.say
    return Evaluator(evaluator.extractor, metrics, n, split, config.evaluation.batch, *rest)


def second_of(
    config: DictConfig, data: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Evaluator | None:
    """The same protocol by the ruler beside it: an order of models that one ruler alone supports is no finding.

    Of the metrics that stand on an extractor: the others have been measured.  None without any.
    """
    name = config.evaluation.get("second")
    if name == "auto":
        wanted = _wanted(config, data)
        name = extractor.second(wanted) if isinstance(wanted, str) else None
    metrics = {key: metric for key, metric in metrics_of(config).items() if metric.needs_features}
    if name is None or not metrics:
        return None
    ruler = ruler_of(config, data, name, say, progress)
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    rest = cache_of(config), settings.seed, device_of(config), lambda line: None, progress
    return None if ruler is None else Evaluator(ruler, metrics, *protocol, *rest)


def metrics_of(config: DictConfig) -> dict[str, Any]:
    """The metrics that the config lists, fresh."""
    return {name: instantiate(node, f"metric.{name}") for name, node in config.metric.items()}


def ruler_of(
    config: DictConfig, data: Any, wanted: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Extractor | None:
    """The extractor `wanted`: a name, a node with a `_target_` (a network of the user's own), or None."""
    settings = config.evaluation
    where = cache_of(config), device_of(config)
    resizer = settings.get("resizer")
    return extractor.build(wanted, data, *where, settings.weights, say, progress, resizer, settings.seed)


def _wanted(config: DictConfig, data: Any) -> Any:
    return data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor
