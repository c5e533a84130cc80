"""What measures a game, as its config has it: extractors, the evaluator, what chooses the best checkpoint."""

import inspect
from functools import cache as kept
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.defaults_list import plain_yaml
from saddlepoint.config.instantiate import instantiate, located
from saddlepoint.config.path import cache_of
from saddlepoint.config.tree import Checked
from saddlepoint.console.terminal import Meter
from saddlepoint.data.data import ALL
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.devices import device_of
from saddlepoint.extractor.extractor import Extractor, Progress, suit
from saddlepoint.extractor.module import Module
from saddlepoint.extractor.nearest import Unmeasured, unmeasured
from saddlepoint.extractor.reals import Data
from saddlepoint.extractor.resizer import Resized, known
from saddlepoint.modality import of
from saddlepoint.run.storage.cache import Say, log
from saddlepoint.stream import random_state_kept, seed_of

SELECTING = 5_000  # fakes that choose a checkpoint, where their number is not given


def evaluator_of(
    config: Checked, data: Any, say: Say = lambda line: None, progress: Meter | None = None
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


def selector_of(config: Checked, data: Any, evaluator: Evaluator, say: Say = lambda line: None) -> Evaluator | None:
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
    config: Checked, data: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Evaluator | None:
    """The same protocol by the ruler beside it: an order of models that one ruler alone supports is no finding.

    Of the metrics that stand on an extractor: the others have been measured.  None without any.
    """
    name = config.evaluation.get("second")
    if name == "auto":
        wanted = _wanted(config, data)
        name = second_extractor(wanted) if isinstance(wanted, str) else None
    metrics = {key: metric for key, metric in metrics_of(config).items() if metric.needs_features}
    if name is None or not metrics:
        return None
    ruler = ruler_of(config, data, name, say, progress)
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    rest = cache_of(config), settings.seed, device_of(config), lambda line: None, progress
    return None if ruler is None else Evaluator(ruler, metrics, *protocol, *rest)


def metrics_of(config: Checked) -> dict[str, Any]:
    """The metrics that the config lists, fresh."""
    return {name: instantiate(node, f"metric.{name}") for name, node in config.metric.items()}


def ruler_of(
    config: Checked, data: Any, wanted: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Extractor | None:
    """The extractor `wanted`: a name, a node with a `_target_` (a network of the user's own), or None."""
    settings = config.evaluation
    where = cache_of(config), device_of(config)
    resizer = settings.get("resizer")
    return extractor_of(wanted, data, *where, settings.weights, say, progress, resizer, settings.seed)


def _wanted(config: Checked, data: Any) -> Any:
    return data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor


GROUP = "extractor"
PATH = "evaluation.extractor"


@kept
def extractor_names() -> list[str]:
    """The extractors that come with the package."""
    return catalogue.members(GROUP)


def second_extractor(name: str) -> str | None:
    """The extractor beside `name`, which differs by the seed of its training; None where there is none.

    An order of models that one extractor alone supports is not a finding.
    """
    beside = name.removesuffix("-b") if name.endswith("-b") else f"{name}-b"
    return beside if beside in extractor_names() else None


def extractor_of(
    wanted: str | DictConfig | nn.Module | None,
    data: Data,
    cache: Path | None = None,
    device: torch.device | str = "cpu",
    weights: Path | str | None = None,
    say: Say = log.warning,
    progress: Progress | None = None,
    resizer: str | None = None,
    seed: int = 0,
) -> Extractor | None:
    """The extractor that is `wanted`, on `device`, for samples of `data`; raises Mistake where it does not fit.

    None for None, and where nothing that is shipped is near the data.  A network of the user's may stand for an
    extractor (see `Module`); what its constructor draws follows from `seed`.  `weights` is a file, for one that takes
    it.  `resizer` None: images have the extractor's size, or it resizes them in its own way.
    """
    if wanted is None:
        return None
    if isinstance(wanted, nn.Module) and weights is not None:
        raise _without_weights(type(wanted).__name__)
    if resizer is not None:
        known(resizer)
        if not of(data).planar:
            raise Mistake(
                f"evaluation.resizer={resizer} is for images, and these data are {of(data).plural}: say null."
            )
    at_hand = {"data": data, "shape": tuple(data.shape), "modality": of(data), "cache": cache, "say": say}
    asked = {"weights": weights, "resizer": resizer}
    try:
        # a network without weights of its own is made by the seed, and leaves training's draws alone
        with random_state_kept(device, seed_of(seed, "extractor")):
            made = _made(wanted, {**at_hand, "progress": progress}, asked)
    except Unmeasured:
        return None
    extractor = (
        made if isinstance(made, Extractor) else Module(made, at_hand["shape"], at_hand["modality"], extractor_names())
    )
    if resizer is not None and extractor.resizes_to is not None:
        extractor = Resized(extractor, extractor.resizes_to, resizer)  # its own resizer gives way
    elif resizer is not None and extractor.shape is not None and extractor.shape != at_hand["shape"]:
        extractor = Resized(extractor, (extractor.shape[1], extractor.shape[2]), resizer)
    suit(extractor, at_hand["shape"], at_hand["modality"])
    extractor.modality = at_hand["modality"]
    return extractor.requires_grad_(False).eval().to(device)


def _made(wanted: Any, at_hand: dict[str, Any], asked: dict[str, Any]) -> nn.Module:
    """The module of a name or a node, given what its signature names; `asked` goes before what its yaml says."""
    node = _node(wanted) if isinstance(wanted, str) else wanted
    made: Any = node
    if isinstance(node, DictConfig):
        target = located(PATH, node._target_, allow_list.granted(node))
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
    node = plain_yaml(catalogue.conf() / GROUP / f"{name}.yaml")
    assert isinstance(node, DictConfig)
    return node


def _without_weights(called: str) -> Mistake:
    return Mistake(f"only the extractor inception takes weights from a file, and this is {called}: leave weights out.")
