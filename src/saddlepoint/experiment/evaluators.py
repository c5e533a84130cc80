"""What measures a game, as its config has it: extractors, the evaluator, what chooses the best checkpoint."""

import inspect
from functools import cache as kept
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.defaults_list import load_yaml
from saddlepoint.config.instantiate import instantiate, locate
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
from saddlepoint.modality import modality_of
from saddlepoint.run.storage.cache import Log, logger
from saddlepoint.stream import derive_seed, preserve_random_state

SELECTING = 5_000  # fakes that choose a checkpoint, where their number is not given


def build_evaluator(
    config: CheckedConfig, data: Any, log: Log = lambda line: None, progress: ProgressMeter | None = None
) -> Evaluator | None:
    """The evaluator that the config describes, None where nothing can measure these data; `say` hears why.

    `progress` sees long passes: a classifier in training, reference statistics.
    """
    wanted = _wanted(config, data)
    ruler = extractor_from_config(config, data, wanted, log, progress)
    metrics = build_metrics(config)
    if ruler is None or not metrics:
        missing = "these data have no extractor (evaluation.extractor=...)"
        modality = modality_of(data)
        too_large = wanted is None and not modality.planar and modality.default_extractor(tuple(data.shape)) is None
        if too_large or wanted is not None:
            missing = no_extractor_message(data)
        log("no scores: " + ("metric=[]" if not metrics else missing))
        return None
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    evaluator = Evaluator(
        ruler, metrics, *protocol, cache_folder(config), settings.seed, resolve_device(config), log, progress
    )
    return evaluator if evaluator.metrics else None


def build_selector(
    config: CheckedConfig, data: Any, evaluator: Evaluator, log: Log = lambda line: None
) -> Evaluator | None:
    """What decides which checkpoint is best: the first metric, on reals that are not reported on, by the same ruler."""
    settings = config.evaluation.get("selection") or {}
    split = settings.get("split")
    if split is None:
        return None
    if split == config.evaluation.split:
        log(
            f"no best checkpoint: {split} is the split that is reported; choose by another, evaluation.selection.split="
        )
        return None
    if config.evaluation.split == ALL_SPLITS:
        log(f"no best checkpoint: evaluation.split={ALL_SPLITS} reports on {split} too; choose by what is not reported")
        return None
    n = settings.get("n") or min(SELECTING, len(data.split(split)))
    first = next(iter(evaluator.metrics))
    metrics = {first: build_metrics(config)[first]}
    rest = cache_folder(config), config.evaluation.seed, resolve_device(config), evaluator.log
    return Evaluator(evaluator.extractor, metrics, n, split, config.evaluation.batch, *rest)


def build_second_evaluator(
    config: CheckedConfig, data: Any, log: Log = lambda line: None, progress: ProgressMeter | None = None
) -> Evaluator | None:
    """The same protocol by the ruler beside it: an order of models that one ruler alone supports is no finding.

    Of the metrics that stand on an extractor: the others have been measured.  None without any.
    """
    name = config.evaluation.get("second")
    if name == "auto":
        wanted = _wanted(config, data)
        name = second_extractor_name(wanted) if isinstance(wanted, str) else None
    metrics = {key: metric for key, metric in build_metrics(config).items() if metric.needs_features}
    if name is None or not metrics:
        return None
    ruler = extractor_from_config(config, data, name, log, progress)
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    rest = cache_folder(config), settings.seed, resolve_device(config), lambda line: None, progress
    return None if ruler is None else Evaluator(ruler, metrics, *protocol, *rest)


def build_metrics(config: CheckedConfig) -> dict[str, Any]:
    """The metrics that the config lists, fresh."""
    return {name: instantiate(node, f"metric.{name}") for name, node in config.metric.items()}


def extractor_from_config(
    config: CheckedConfig,
    data: Any,
    requested: Any,
    log: Log = lambda line: None,
    progress: ProgressMeter | None = None,
) -> Extractor | None:
    """The extractor `wanted`: a name, a node with a `_target_` (a network of the user's own), or None."""
    settings = config.evaluation
    where = cache_folder(config), resolve_device(config)
    resizer = settings.get("resizer")
    return build_extractor(requested, data, *where, settings.weights, log, progress, resizer, settings.seed)


def _wanted(config: CheckedConfig, data: Any) -> Any:
    return data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor


GROUP = "extractor"
PATH = "evaluation.extractor"


@kept
def extractor_names() -> list[str]:
    """The extractors that come with the package."""
    return catalogue.option_names(GROUP)


def second_extractor_name(name: str) -> str | None:
    """The extractor beside `name`, which differs by the seed of its training; None where there is none.

    An order of models that one extractor alone supports is not a finding.
    """
    beside = name.removesuffix("-b") if name.endswith("-b") else f"{name}-b"
    return beside if beside in extractor_names() else None


def build_extractor(
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
    """The extractor that is `wanted`, on `device`, for samples of `data`; raises Mistake where it does not fit.

    None for None, and where nothing that is shipped is near the data.  A network of the user's may stand for an
    extractor (see `Module`); what its constructor draws follows from `seed`.  `weights` is a file, for one that takes
    it.  `resizer` None: images have the extractor's size, or it resizes them in its own way.
    """
    if requested is None:
        return None
    if isinstance(requested, nn.Module) and weights is not None:
        raise _without_weights(type(requested).__name__)
    if resizer is not None:
        check_resizer(resizer)
        if not modality_of(data).planar:
            raise Mistake(
                f"evaluation.resizer={resizer} is for images, and these data are {modality_of(data).plural}: say null."
            )
    at_hand = {"data": data, "shape": tuple(data.shape), "modality": modality_of(data), "cache": cache, "log": log}
    asked = {"weights": weights, "resizer": resizer}
    try:
        # a network without weights of its own is made by the seed, and leaves training's draws alone
        with preserve_random_state(device, derive_seed(seed, "extractor")):
            made = _made(requested, {**at_hand, "progress": progress}, asked)
    except NoShippedExtractor:
        return None
    extractor = (
        made
        if isinstance(made, Extractor)
        else UserNetwork(made, at_hand["shape"], at_hand["modality"], extractor_names())
    )
    if resizer is not None and extractor.resizes_to is not None:
        extractor = ResizingExtractor(extractor, extractor.resizes_to, resizer)  # its own resizer gives way
    elif resizer is not None and extractor.shape is not None and extractor.shape != at_hand["shape"]:
        extractor = ResizingExtractor(extractor, (extractor.shape[1], extractor.shape[2]), resizer)
    check_measurable(extractor, at_hand["shape"], at_hand["modality"])
    extractor.modality = at_hand["modality"]
    return extractor.requires_grad_(False).eval().to(device)


def _made(wanted: Any, at_hand: dict[str, Any], asked: dict[str, Any]) -> nn.Module:
    """The module of a name or a node, given what its signature names; `asked` goes before what its yaml says."""
    node = _node(wanted) if isinstance(wanted, str) else wanted
    made: Any = node
    if isinstance(node, DictConfig):
        target = locate(PATH, node._target_, allow_list.allowed_names(node))
        ours = inspect.isclass(target) and issubclass(target, Extractor)
        takes = inspect.signature(target).parameters if ours else {}
        if asked["weights"] is not None and "weights" not in takes:
            raise _without_weights(wanted if isinstance(wanted, str) else target.__name__)
        given = {name: value for name, value in at_hand.items() if name in takes and name not in node}
        given |= {name: value for name, value in asked.items() if name in takes and value is not None}
        made = instantiate(node, PATH, **given)
    if not isinstance(made, nn.Module):
        raise Mistake(f"an extractor is a name or a torch.nn.Module, and {type(made).__name__} is neither.")
    return made


@kept
def _node(name: str) -> DictConfig:
    if name not in (known := extractor_names()):
        raise Mistake(
            f"there is no extractor {name}.{did_you_mean(name, known)} Choose one of {', '.join(known)}, a network "
            "of your own by {_target_: ...}, or null for no scores."
        )
    node = load_yaml(catalogue.conf_folder() / GROUP / f"{name}.yaml")
    assert isinstance(node, DictConfig)
    return node


def _without_weights(called: str) -> Mistake:
    return Mistake(f"only the extractor inception takes weights from a file, and this is {called}: leave weights out.")
