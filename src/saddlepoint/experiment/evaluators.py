"""Building the evaluators of a config: the extractors, the evaluator, and the selector of the best checkpoint."""

import functools
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.defaults_list import load_yaml
from saddlepoint.config.instantiate import import_target, instantiate
from saddlepoint.config.path import cache_folder
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import ALL_SPLITS
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Extractor, Progress, check_measurable
from saddlepoint.extractor.nearest import NoShippedExtractor, no_extractor_message
from saddlepoint.extractor.resizer import ResizingExtractor, check_resizer
from saddlepoint.extractor.user_network import UserNetwork
from saddlepoint.game.game import Game
from saddlepoint.modality import modality_of
from saddlepoint.run.storage.cache import Log, logger
from saddlepoint.stream import derive_seed, preserve_random_state

SELECTION_FAKES = 5_000  # the default number of fakes for the selection of the best checkpoint


def build_evaluator(
    config: CheckedConfig, data: Any, log: Log = lambda line: None, progress: ProgressMeter | None = None
) -> Evaluator | None:
    """Build the evaluator of a config; None, with the reason logged, if nothing can measure these data.

    progress  shows long computations: training of a classifier, reference statistics
    """
    requested = _requested_extractor(config, data)
    extractor = load_or_train_configured_extractor(config, data, requested, log, progress)
    metrics = build_metrics(config)
    if extractor is None or not metrics:
        reason = "these data have no extractor (evaluation.extractor=...)"
        modality = modality_of(data)
        has_default = modality.planar or modality.default_extractor(tuple(data.shape)) is not None
        if requested is not None or not has_default:
            reason = no_extractor_message(data)
        log("no scores: " + ("metric=[]" if not metrics else reason))
        return None
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    evaluator = Evaluator(
        extractor, metrics, *protocol, cache_folder(config), settings.seed, resolve_device(config), log, progress
    )
    return evaluator if evaluator.metrics else None


def build_selection_evaluator(
    config: CheckedConfig, data: Any, evaluator: Evaluator, log: Log = lambda line: None
) -> Evaluator | None:
    """Build the evaluator that selects the best checkpoint: the first metric, on a split that is not reported.

    It uses the same extractor.  None, with the reason logged, if there is no such split.
    """
    settings = config.evaluation.get("selection") or {}
    split = settings.get("split")
    if split is None:
        return None
    if split == config.evaluation.split:
        log(f"no best checkpoint: {split} is the reported split; select on another, evaluation.selection.split=...")
        return None
    if config.evaluation.split == ALL_SPLITS:
        log(f"no best checkpoint: evaluation.split={ALL_SPLITS} includes {split}; select on an unreported split")
        return None
    n = settings.get("n") or min(SELECTION_FAKES, len(data.split(split)))
    metric = next(iter(evaluator.metrics))
    metrics = {metric: build_metrics(config)[metric]}
    other_arguments = cache_folder(config), config.evaluation.seed, resolve_device(config), evaluator.log
    return Evaluator(evaluator.extractor, metrics, n, split, config.evaluation.batch, *other_arguments)


def build_second_evaluator(
    config: CheckedConfig, data: Any, log: Log = lambda line: None, progress: ProgressMeter | None = None
) -> Evaluator | None:
    """Build the evaluator of the second extractor, with the same protocol and the metrics that use features.

    If two models rank differently under the two extractors, treat it as a tie.  None without a second extractor or
    without such metrics.
    """
    name = config.evaluation.get("second_extractor")
    if name == "auto":
        first = _requested_extractor(config, data)
        name = second_extractor_name(first) if isinstance(first, str) else None
    metrics = {key: metric for key, metric in build_metrics(config).items() if metric.needs_features}
    if name is None or not metrics:
        return None
    extractor = load_or_train_configured_extractor(config, data, name, log, progress)
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    other_arguments = cache_folder(config), settings.seed, resolve_device(config), lambda line: None, progress
    return None if extractor is None else Evaluator(extractor, metrics, *protocol, *other_arguments)


def attach_extractors(game: Game, config: CheckedConfig, data: Any) -> None:
    """Give each term that compares features of an `extractor` a function that loads it.

    data  the data set, or a function that returns it
    """
    for _, term in _terms_with_extractor(game):
        load = functools.partial(_load_for_term, config, data, term.extractor)
        term.load_extractor = functools.cache(load)  # also shared by copies of the term


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


def _terms_with_extractor(game: Game) -> list[tuple[str, Any]]:
    """Return the terms that compare features of an extractor, with their keys."""
    terms = []
    for path, module in game.named_modules():
        if ".regularizers." in path and isinstance(getattr(module, "extractor", None), str):
            _, player, _, name = path.split(".", 3)
            terms.append((f"regularizer.{player}.{name}", module))
    return terms


def _load_for_term(config: CheckedConfig, data: Any, name: str) -> Any:
    return load_or_train_configured_extractor(config, data if hasattr(data, "split") else data(), name)


def build_metrics(config: CheckedConfig) -> dict[str, Any]:
    """Build the metrics of a config."""
    return {name: instantiate(node, f"metric.{name}") for name, node in config.metric.items()}


def load_or_train_configured_extractor(
    config: CheckedConfig,
    data: Any,
    requested: Any,
    log: Log = lambda line: None,
    progress: ProgressMeter | None = None,
) -> Extractor | None:
    """Build an extractor with the settings of a config; `requested` is a name, a node with a `_target_`, or None."""
    settings = config.evaluation
    location = cache_folder(config), resolve_device(config)
    resizer = settings.get("resizer")
    return load_or_train_extractor(requested, data, *location, settings.weights, log, progress, resizer, settings.seed)


def _requested_extractor(config: CheckedConfig, data: Any) -> Any:
    """Return the extractor of a config: a name, a node with a `_target_`, or None."""
    return data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor


GROUP = "extractor"
PATH = "evaluation.extractor"


@functools.cache
def extractor_names() -> list[str]:
    """Return the names of the extractors of the package."""
    return catalogue.option_names(GROUP)


def second_extractor_name(name: str) -> str | None:
    """Return the name of the extractor that differs from `name` by the seed of its training; None if there is none."""
    other = name.removesuffix("-b") if name.endswith("-b") else f"{name}-b"
    return other if other in extractor_names() else None


def load_or_train_extractor(
    requested: str | DictConfig | nn.Module | None,
    data: DataLike,
    cache: Path | None = None,
    device: torch.device | str = "cpu",
    weights: Path | str | None = None,
    log: Log = logger.warning,
    progress: Progress | None = None,
    resizer: str | None = None,
    seed: int = 0,
) -> Extractor | None:
    """Build an extractor for samples of `data`, on `device`.  Raises Mistake if it does not fit the data.

    requested  a name, a node with a `_target_`, or a network (see `UserNetwork`).  The result is None for None, and
               for "nearest" if no shipped classifier suits the data
    weights    a file of weights, for an extractor that accepts it
    resizer    None: images have the size of the extractor, or it resizes them itself
    seed       of the random initialisation of a network without weights
    """
    if requested is None:
        return None
    if isinstance(requested, nn.Module) and weights is not None:
        raise _weights_error(type(requested).__name__)
    if resizer is not None:
        check_resizer(resizer)
        if not modality_of(data).planar:
            raise Mistake(
                f"evaluation.resizer={resizer} is for images, but these data are {modality_of(data).plural}: set null."
            )
    available = {"data": data, "shape": tuple(data.shape), "modality": modality_of(data), "cache": cache, "log": log}
    available["say"] = log  # the former name of `log`, for user-defined extractors
    settings = {"weights": weights, "resizer": resizer}
    try:
        # a network without weights is initialised from the seed; the random state of the training must not change
        with preserve_random_state(device, derive_seed(seed, "extractor")):
            module = _build_module(requested, {**available, "progress": progress}, settings)
    except NoShippedExtractor:
        return None
    extractor = (
        module
        if isinstance(module, Extractor)
        else UserNetwork(module, available["shape"], available["modality"], extractor_names())
    )
    if resizer is not None and extractor.resizes_to is not None:
        extractor = ResizingExtractor(extractor, extractor.resizes_to, resizer)  # replaces its own resizer
    elif resizer is not None and extractor.shape is not None and extractor.shape != available["shape"]:
        extractor = ResizingExtractor(extractor, (extractor.shape[1], extractor.shape[2]), resizer)
    check_measurable(extractor, available["shape"], available["modality"])
    extractor.modality = available["modality"]
    return extractor.requires_grad_(False).eval().to(device)


def _build_module(requested: Any, available: dict[str, Any], settings: dict[str, Any]) -> nn.Module:
    """Build the module of a name or node with the arguments in its signature; `settings` override its yaml."""
    node = _load_extractor_yaml(requested) if isinstance(requested, str) else requested
    module: Any = node
    if isinstance(node, DictConfig):
        target = import_target(PATH, node._target_, allow_list.allowed_names(node))
        is_extractor_class = inspect.isclass(target) and issubclass(target, Extractor)
        parameters = inspect.signature(target).parameters if is_extractor_class else {}
        if settings["weights"] is not None and "weights" not in parameters:
            raise _weights_error(requested if isinstance(requested, str) else target.__name__)
        arguments = {name: value for name, value in available.items() if name in parameters and name not in node}
        arguments |= {name: value for name, value in settings.items() if name in parameters and value is not None}
        module = instantiate(node, PATH, **arguments)
    if not isinstance(module, nn.Module):
        raise Mistake(f"an extractor must be a name or a torch.nn.Module, not {type(module).__name__}.")
    return module


@functools.cache
def _load_extractor_yaml(name: str) -> DictConfig:
    """Load the yaml of an extractor of the package.  Raises Mistake if there is none."""
    if name not in (known := extractor_names()):
        raise Mistake(
            f"there is no extractor {name}.{did_you_mean(name, known)} Choose one of {', '.join(known)}, your own "
            "network as {_target_: ...}, or null for no scores."
        )
    node = load_yaml(catalogue.conf_folder() / GROUP / f"{name}.yaml")
    assert isinstance(node, DictConfig)
    return node


def _weights_error(name: str) -> Mistake:
    return Mistake(f"only the extractor inception takes weights from a file, not {name}: leave weights out.")
