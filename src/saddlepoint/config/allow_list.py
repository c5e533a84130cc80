"""Allow list of what a config may build: components with a yaml, layers and optimizers of torch, a few other classes.

Instantiating a `_target_` runs its code, and so does importing its module. Both are checked first:

    check_name     before any import: the name is in a component's module, or in a listed part of a library
    check_object   after the import: the object's defining module is on the list, whatever name led to it
                   (saddlepoint.objective.hinge.torch.load is torch.serialization.load)

Everything else must be allowed by the user: `allow_target=[mylosses]` on the command line, or SADDLEPOINT_ALLOW_TARGET
in the environment. `allow_target` in a file is refused, and that of a run's stored config is not used: a config from
someone else cannot allow itself.
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
FROM_USER = "from_user"  # OmegaConf flag: allow_target came from the command line; a file cannot set it

FAMILIES = {  # package of components -> base class of its classes; objectives are functions
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
BASE_MODULES = frozenset(  # modules without a yaml that the yaml of a component uses
    (
        "extractor.classifier",
        "extractor.coloured",
        "extractor.stacked",
        "game.average",
        "game.game",
        "game.player",
        "prior.prior",
    )
)
LIBRARIES = {  # module of a library -> base class of its classes
    "torch.nn": "torch.nn.Module",
    "torch.optim": "torch.optim.Optimizer",
}
OTHER_TARGETS = {  # name in a yaml -> where it is defined
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
LIBRARY_PREFIXES = tuple(f"{library}." for library in LIBRARIES)
ROOTS = frozenset(
    ("hydra", "lightning", "omegaconf", "pytorch_lightning", "saddlepoint", "torch", "torchvision", "wandb")
)
MOVED = {  # name in the configs of old run folders -> name now
    "saddlepoint.metric.extractor.Inception": "saddlepoint.extractor.inception.Inception",
    "saddlepoint.record.csv_log.CsvLog": "saddlepoint.run.tracking.csv_log.CsvLog",
    "saddlepoint.record.tensorboard_log.TensorBoardLog": "saddlepoint.run.tracking.tensorboard_log.TensorBoardLog",
    "saddlepoint.record.tracker.Tracker": "saddlepoint.run.tracking.tracker.Tracker",
}
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
MAX_DEPTH = 8  # maximum number of passes over nested interpolations


# ------------------------------------------------------------------------------------------------ what the user allowed


def allowed_names(node: Any) -> tuple[str, ...]:
    """Return the modules and objects that the user allowed for the config that contains `node`."""
    root = node._get_root() if isinstance(node, DictConfig | ListConfig) else None
    names = root.get(KEY) if isinstance(root, DictConfig) and root._get_flag(FROM_USER) else None
    return (*map(str, names or ()), *filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


def allow_names(config: DictConfig, names: Any = None) -> None:
    """Allow `names`; None: the config's `allow_target`, which must come from the command line.

    Raises Mistake for a value that is not a list of dotted names.
    """
    value = _to_unresolved(config._get_node(KEY)) if names is None else names
    allowed = [value] if isinstance(value, str) else value or []
    if not isinstance(allowed, list) or not all(isinstance(n, str) and DOTTED_NAME.fullmatch(n) for n in allowed):
        raise Mistake(f"{KEY}={value}: it must be a list of modules, classes or functions: {KEY}=[mylosses]")
    with open_dict(config):
        config[KEY] = allowed
    config._set_flag(FROM_USER, True)


def _to_unresolved(node: Any) -> Any:
    """Return a node as plain values, interpolations unresolved."""
    return OmegaConf.to_container(node) if isinstance(node, DictConfig | ListConfig) else node and node._value()


def allowed_by_command_line(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return the names that the command line and the environment allow."""
    values = [text.partition("=")[2] for text in arguments if text.partition("=")[0].lstrip("+") == KEY]
    return (*(match[0] for text in values for match in DOTTED_NAME.finditer(text)), *allowed_names(None))


def allowed_as_arguments(config: DictConfig) -> list[str]:
    """Return what a config allows as command-line arguments, for a process that loads it from a file."""
    return [f"{KEY}=[{','.join(config[KEY])}]"] if config._get_flag(FROM_USER) and config.get(KEY) else []


def clear_allowed_names(config: DictConfig) -> DictConfig:
    """Allow nothing for a config from a file, whatever its `allow_target`. Return the config."""
    with open_dict(config):
        config[KEY] = []
    config._set_flag(FROM_USER, False)
    return config


def check_not_in_yaml(config: DictConfig) -> None:
    """Raise Mistake if a yaml sets `allow_target`."""
    if KEY in config and _to_unresolved(config._get_node(KEY)) not in ([], None):
        raise Mistake(
            f"{KEY} is set in a yaml, which is not allowed: set it on the command line ('{KEY}=[...]') or in the "
            f"environment ({VARIABLE})"
        )


def check_file_overrides(overrides: Iterable[Any], source: str) -> list[str]:
    """Return the overrides in a file as text. Raises Mistake, naming `source`, if one sets `allow_target`."""
    texts = [catalogue.rename_override(str(override)) for override in overrides]
    for text in texts:
        if re.match(rf"[+~]*{KEY}\b", text):
            raise Mistake(f"{source} contains {text}, which a file cannot set: set it on the command line")
    return texts


# -------------------------------------------------------------------------------------------------- what may be built


def check_name(path: str, name: str, allowed: Sequence[str]) -> None:
    """Raise Mistake, before any import, if the target `name` at `path` is not allowed."""
    if (
        _is_component(name)
        or name in OTHER_TARGETS
        or name in OTHER_TARGETS.values()
        or name.startswith(LIBRARY_PREFIXES)
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
    raise Mistake(f"{path}: {name} is not on the list of what a config may build{_how_to_allow(name)}")


def check_object(path: str, name: str, target: Any, allowed: Sequence[str]) -> None:
    """Raise Mistake if `target`, the object that `name` led to, is not defined where a config may build from."""
    inner = target
    while isinstance(inner, partial):
        inner = inner.func
    defined = inner if hasattr(inner, "__qualname__") else type(inner)  # the class of an instance
    module = getattr(defined, "__module__", None) or getattr(inspect.getmodule(defined), "__name__", "builtins")
    home = f"{module}.{defined.__qualname__}"
    if home in OTHER_TARGETS.values() or (allowed and (name in allowed or is_within(home, allowed))):
        return
    if not re.search(r"(^|\.)(_|<locals>)", getattr(inner, "__qualname__", "_")):
        family = FAMILIES.get(home.split(".")[1]) if _is_component(home) else None
        library = next(filter(home.startswith, LIBRARY_PREFIXES), None)
        base = LIBRARIES[library.rstrip(".")] if library else family
        if (inspect.isfunction(inner) and base == "") or (
            inspect.isclass(inner) and base and issubclass(inner, _load_class(base))
        ):
            return
    known = f"{name} is {home}, which is" if home != name else f"{name} is"
    raise Mistake(f"{path}: {known} not on the list of what a config may build{_how_to_allow(home)}")


def resolved_copy(node: Any) -> Any:
    """Return a copy of `node` with its interpolations resolved, so that what is checked is what will be built.

    An interpolation may create nodes, and an escaped one further interpolations. Raises Mistake if they do not end.
    """
    # targets of interpolations are resolved in place, so all of the config is copied
    config, key = copy.deepcopy(node._get_root()), node._get_full_key(None)
    config._set_flag(["allow_objects", "struct", "readonly"], [True, False, False])
    result = OmegaConf.select(config, key) if key else config
    for _ in range(MAX_DEPTH):
        OmegaConf.resolve(result)
        has_interpolations = False
        for *_, child in tree_entries(result):
            has_interpolations = has_interpolations or (child is not None and child._is_interpolation())
        if not has_interpolations:
            return result
    raise Mistake(f"{node._get_full_key(None)}: interpolations within interpolations, more than {MAX_DEPTH} levels")


@cache
def _is_component(name: str) -> bool:
    """Whether a name is in a module of this package that a yaml builds from, so that importing it is safe."""
    root, family, module, *rest = [*name.split("."), "", ""]
    return (
        root == "saddlepoint"
        and family in FAMILIES
        and bool(rest)
        and (f"{family}.{module}" in BASE_MODULES or (catalogue.conf_folder() / family / f"{module}.yaml").is_file())
    )


@cache
def _load_class(name: str) -> type:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def is_within(name: str, allowed: Iterable[str]) -> bool:
    """Whether a dotted name is one of `allowed`, or inside one."""
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)


def _how_to_allow(name: str) -> str:
    """Return how to allow a name; for Python's and library names, only where the list is."""
    root = name.partition(".")[0]
    if root in ROOTS or root in sys.stdlib_module_names:
        return "; docs/safety.md has the list"
    return f"; if you trust it: '{KEY}=[{name.rpartition('.')[0] or name}]'"
