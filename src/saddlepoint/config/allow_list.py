"""What a config may build: pieces of this package that have a yaml, layers and optimizers of torch, a few classes.

To instantiate a `_target_` is to run it, and to import its module is to run that, so both are asked first:

    the name, before anything is imported     it lies in the module of a piece, or in a listed part of a library
    the object that is found                  its own module is on the list, whatever name it was reached by:
                                              saddlepoint.objective.hinge.torch.load is torch.serialization.load

Everything else has to be named by a person: `allow_target=[mylosses]` on the command line, or SADDLEPOINT_ALLOW_TARGET
in the environment.  What a file says of `allow_target` is never heard: a config that was sent cannot let itself in.
"""

import copy
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saddlepoint.config import catalogue
from saddlepoint.config.tree import tree_entries
from saddlepoint.error import Mistake, did_you_mean

KEY = "allow_target"
VARIABLE = "SADDLEPOINT_ALLOW_TARGET"  # names, separated by commas
SAID = "said_by_a_person"  # the mark of a config whose allow_target came from words; no file can carry it

FAMILIES = {  # of pieces of ours -> what their classes descend from; those of objective are functions
    "architecture": "torch.nn.Module",
    "callback": "pytorch_lightning.callbacks.Callback",
    "data": "saddlepoint.data.data.Data",
    "extractor": "saddlepoint.extractor.extractor.Extractor",
    "game": "torch.nn.Module",
    "layer": "torch.nn.Module",
    "metric": "saddlepoint.metric.metric.Metric",
    "objective": "",
    "optimizer": "torch.optim.Optimizer",
    "prior": "torch.nn.Module",
    "regularizer": "saddlepoint.regularizer.regularizer.Regularizer",
    "schedule": "saddlepoint.schedule.schedule.Schedule",
}
STOOD_ON = frozenset(  # modules without a yaml of their own that the yaml of a piece builds from
    ("extractor.classifier", "extractor.stacked", "game.average", "game.game", "game.player", "prior.prior")
)
LIBRARIES = {  # part of a library -> what its classes have to descend from
    "torch.nn": "torch.nn.Module",
    "torch.optim": "torch.optim.Optimizer",
}
NAMED = {  # as a yaml may write it -> where it is at home
    "saddlepoint.extractor.training.Recipe": "saddlepoint.extractor.training.Recipe",
    "saddlepoint.launcher.local.Local": "saddlepoint.launcher.local.Local",
    "saddlepoint.launcher.submitit.Submitit": "saddlepoint.launcher.submitit.Submitit",
    **{
        f"saddlepoint.run.tracking.{name}": f"saddlepoint.run.tracking.{name}"
        for name in ("csv_log.CsvLog", "tensorboard_log.TensorBoardLog", "tracker.Tracker")
    },
    **{
        f"pytorch_lightning.callbacks.{name}": f"pytorch_lightning.callbacks.{module}.{name}"
        for module, name in {
            "device_stats_monitor": "DeviceStatsMonitor",
            "model_summary": "ModelSummary",
            "rich_model_summary": "RichModelSummary",
            "timer": "Timer",
        }.items()
    },
    **{
        f"torchvision.transforms.{name}": f"torchvision.transforms.transforms.{name}"
        for name in ("CenterCrop", "Grayscale", "Normalize", "Pad", "RandomCrop", "RandomHorizontalFlip", "Resize")
    },
}
PARTS = tuple(f"{part}." for part in LIBRARIES)
ROOTS = frozenset(
    ("hydra", "lightning", "omegaconf", "pytorch_lightning", "saddlepoint", "torch", "torchvision", "wandb")
)
MOVED = {  # where a piece was in an earlier edition, as old run folders name it -> where it is
    "saddlepoint.metric.extractor.Inception": "saddlepoint.extractor.inception.Inception",
    "saddlepoint.record.csv_log.CsvLog": "saddlepoint.run.tracking.csv_log.CsvLog",
    "saddlepoint.record.tensorboard_log.TensorBoardLog": "saddlepoint.run.tracking.tensorboard_log.TensorBoardLog",
    "saddlepoint.record.tracker.Tracker": "saddlepoint.run.tracking.tracker.Tracker",
}
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
DEEPEST = 8  # passes over interpolations that make interpolations


# ------------------------------------------------------------------------------------------------- what a person said


def allowed_names(node: Any) -> tuple[str, ...]:
    """The modules and objects that a person allowed beside the list, for the config that `node` is a part of."""
    root = node._get_root() if isinstance(node, DictConfig | ListConfig) else None
    said = root.get(KEY) if isinstance(root, DictConfig) and root._get_flag(SAID) else None
    return (*map(str, said or ()), *filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


def grant(config: DictConfig, names: Any = None) -> None:
    """Allow what a person named; None: what the config says, where a person's words alone have set it.

    Raises Mistake for what is neither a module nor an object of one.
    """
    said = _plain(config._get_node(KEY)) if names is None else names
    listed = [said] if isinstance(said, str) else said or []
    if not isinstance(listed, list) or not all(isinstance(one, str) and DOTTED_NAME.fullmatch(one) for one in listed):
        raise Mistake(f"{KEY}={said}: it is a list of modules, or of single classes and functions: {KEY}=[mylosses]")
    with open_dict(config):
        config[KEY] = listed
    config._set_flag(SAID, True)


def _plain(node: Any) -> Any:
    """What a node says, interpolations as they are written."""
    return OmegaConf.to_container(node) if isinstance(node, DictConfig | ListConfig) else node and node._value()


def allowed_by_command_line(words: Iterable[str]) -> tuple[str, ...]:
    """What the words of a command line, and the environment, allow."""
    said = [word.partition("=")[2] for word in words if word.partition("=")[0].lstrip("+") == KEY]
    return (*(one[0] for text in said for one in DOTTED_NAME.finditer(text)), *allowed_names(None))


def to_arguments(config: DictConfig) -> list[str]:
    """What was allowed for a config, as one types it again; for a process that reads the config from a file."""
    return [f"{KEY}=[{','.join(config[KEY])}]"] if config._get_flag(SAID) and config.get(KEY) else []


def revoke(config: DictConfig) -> DictConfig:
    """The config of a file, with nothing allowed, whatever the file says."""
    with open_dict(config):
        config[KEY] = []
    config._set_flag(SAID, False)
    return config


def check_not_in_yaml(config: DictConfig) -> None:
    """Raises Mistake where yaml says what yaml may be let do."""
    if KEY in config and _plain(config._get_node(KEY)) not in ([], None):
        raise Mistake(
            f"{KEY} stands in a yaml, where it is not heard: it is yours to say, on the command line ('{KEY}=[...]') "
            f"or in the environment ({VARIABLE})"
        )


def overrides_from_file(words: Iterable[Any], where: str) -> list[str]:
    """The words of a file, `where`, as they are.  Raises Mistake where one allows what only a person may."""
    found = [str(word) for word in words]
    for word in found:
        if re.match(rf"[+~]*{KEY}\b", word):
            raise Mistake(f"{where} says {word}, which a file may not: say it on the command line")
    return found


# -------------------------------------------------------------------------------------------------- what may be built


def check_name(path: str, name: str, allowed: Sequence[str]) -> None:
    """Raises Mistake, before anything is imported, for a name under `path` that leads to nothing allowed."""
    if (
        _is_piece(name)
        or name in NAMED
        or name in NAMED.values()
        or name.startswith(PARTS)
        or (allowed and is_within(name, allowed))
    ):
        return
    root, family, module, *_ = [*name.split("."), "", ""]
    if (
        root == "saddlepoint"
        and family in FAMILIES
        and not (Path(__file__).parents[1] / family / f"{module}.py").is_file()
    ):
        meant = did_you_mean(module, catalogue.option_names(family))
        raise Mistake(f"{path}: {name} is not there: no {module} in saddlepoint.{family}.{meant}")
    raise Mistake(f"{path}: {name} is not on the list of what a config may build{_remedy(name)}")


def check_object(path: str, name: str, found: Any, allowed: Sequence[str]) -> None:
    """Raises Mistake where what `name` led to is at home elsewhere than where a config may build from."""
    inner = found
    while isinstance(inner, partial):
        inner = inner.func
    defined = inner if hasattr(inner, "__qualname__") else type(inner)  # of an instance, its class
    module = getattr(defined, "__module__", None) or getattr(inspect.getmodule(defined), "__name__", "builtins")
    home = f"{module}.{defined.__qualname__}"
    if home in NAMED.values() or (allowed and (name in allowed or is_within(home, allowed))):
        return
    if not re.search(r"(^|\.)(_|<locals>)", getattr(inner, "__qualname__", "_")):
        family = FAMILIES.get(home.split(".")[1]) if _is_piece(home) else None
        part = next(filter(home.startswith, PARTS), None)  # of a library
        base = LIBRARIES[part.rstrip(".")] if part else family
        if (inspect.isfunction(inner) and base == "") or (
            inspect.isclass(inner) and base and issubclass(inner, _class(base))
        ):
            return
    known = f"{name} is {home}, which is" if home != name else f"{name} is"
    raise Mistake(f"{path}: {known} not on the list of what a config may build{_remedy(home)}")


def resolved_copy(node: Any) -> Any:
    """A copy of `node` without interpolations, so that what is looked at in it is what will be built.

    An interpolation may make nodes, and an escaped one further interpolations.  Raises Mistake where that has no end.
    """
    # what an interpolation points to is resolved in place: so all of the config is copied
    found, key = copy.deepcopy(node._get_root()), node._get_full_key(None)
    found._set_flag(["allow_objects", "struct", "readonly"], [True, False, False])
    found = OmegaConf.select(found, key) if key else found
    for _ in range(DEEPEST):
        OmegaConf.resolve(found)
        is_open = False
        for *_, part in tree_entries(found):
            is_open = is_open or (part is not None and part._is_interpolation())
        if not is_open:
            return found
    raise Mistake(f"{node._get_full_key(None)}: interpolations within interpolations, more than {DEEPEST} deep")


@cache
def _is_piece(name: str) -> bool:
    """Whether a name lies in a module of ours that has a yaml, or that one of these stands on: importing it is safe."""
    root, family, module, *rest = [*name.split("."), "", ""]
    return (
        root == "saddlepoint"
        and family in FAMILIES
        and bool(rest)
        and (f"{family}.{module}" in STOOD_ON or (catalogue.conf_folder() / family / f"{module}.yaml").is_file())
    )


@cache
def _class(name: str) -> type:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def is_within(name: str, allowed: Iterable[str]) -> bool:
    """Whether a dotted name is one of `allowed`, or lies in one."""
    return any(f"{name}.".startswith(f"{one}.") for one in allowed)


def _remedy(name: str) -> str:
    """What to type; nothing to type for what is no researcher's piece."""
    root = name.partition(".")[0]
    if root in ROOTS or root in sys.stdlib_module_names:
        return ", and no piece of a game: docs/safety.md has the list"
    return f"; if you trust it: '{KEY}=[{name.rpartition('.')[0] or name}]'"
