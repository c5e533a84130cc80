"""From a name, a node or a network to the extractor that measures samples of some data.

A name is that of a yaml in conf/extractor.  What the extractor takes beside the keys of its yaml is handed to it where
its signature names it: `data`, or their `shape` and `modality`; `cache`, `say` and `progress`.
"""

from __future__ import annotations

import inspect
from functools import cache as kept
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.instantiate import instantiate, located
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.extractor.extractor import Extractor, Progress, suit
from saddlepoint.extractor.module import Module
from saddlepoint.extractor.nearest import Unmeasured
from saddlepoint.extractor.reals import Data
from saddlepoint.extractor.resizer import Resized, known
from saddlepoint.modality import of
from saddlepoint.run.storage.cache import Say, log
from saddlepoint.stream import random_state_kept, seed_of

GROUP = "extractor"
PATH = "evaluation.extractor"


@kept
def names() -> list[str]:
    """The extractors that come with the package."""
    return catalogue.members(GROUP)


def second(name: str) -> str | None:
    """The extractor beside `name`, which differs by the seed of its training; None where there is none.

    An order of models that one extractor alone supports is not a finding.
    """
    beside = name.removesuffix("-b") if name.endswith("-b") else f"{name}-b"
    return beside if beside in names() else None


def build(
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
    extractor = made if isinstance(made, Extractor) else Module(made, at_hand["shape"], at_hand["modality"], names())
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
    if name not in names():
        raise Mistake(
            f"there is no extractor {name}.{did_you_mean(name, names())} Choose one of {', '.join(names())}, a network "
            "of your own by {_target_: ...}, or null for no scores."
        )
    node = OmegaConf.load(catalogue.conf() / GROUP / f"{name}.yaml")
    assert isinstance(node, DictConfig)
    return node


def _without_weights(called: str) -> Mistake:
    return Mistake(f"only the extractor inception takes weights from a file, and this is {called}: leave weights out.")
