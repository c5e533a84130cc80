"""The best trial of a search as an experiment file: components by name, and all keys that differ from their values."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.compose import compose
from saddlepoint.config.defaults_list import merge_choices
from saddlepoint.config.identity import CODE_KEY, START_KEY, describe_identity_differences
from saddlepoint.config.override import parse_overrides, split_overrides
from saddlepoint.config.training_keys import NO_VALUE, NON_TRAINING_KEYS, nested_difference
from saddlepoint.error import Mistake
from saddlepoint.run.folder import write_file

EVALUATION_KEYS = {"images", "callback", "metric", "evaluation"}  # not part of the training, but of the experiment
OMITTED_KEYS = (NON_TRAINING_KEYS - EVALUATION_KEYS) | {"allow_target", CODE_KEY, START_KEY}


def write_experiment(
    config: DictConfig, folder: Path, name: str, header: Sequence[str], config_dir: str | None
) -> Path:
    """Write <folder>/experiment/<name>.yaml, which composes to the training of `config`; return its path.

    Raises Mistake if yaml cannot express it, because a key was removed.
    """
    choices = _changed_options(config)
    user_folder = catalogue.resolve_config_dir(config_dir)
    groups, _ = split_overrides(
        parse_overrides([_group_override(group, names) for group, names in choices.items()]), user_folder
    )
    base, _ = merge_choices(groups, user_folder)
    plain, base_plain = (OmegaConf.to_container(node, resolve=False) for node in (config, base))
    assert isinstance(plain, dict)
    assert isinstance(base_plain, dict)
    plain = {key: value for key, value in plain.items() if key not in OMITTED_KEYS}
    ordered = sorted(choices.items(), key=lambda choice: "@" not in choice[0])  # Hydra requires overrides last
    defaults = [{f"/{group}" if "@" in group else f"override /{group}": names} for group, names in ordered]
    body = {"defaults": defaults, **_changed_values(base_plain, plain)}
    body = {key: value for key, value in body.items() if value}
    path = folder / "experiment" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header)
    write_file(path, f"# @package _global_\n{comment}{OmegaConf.to_yaml(OmegaConf.create(body))}")
    # an experiment with user-defined components composes only inside their config folder
    if config_dir is None and (
        changes := describe_identity_differences(config, compose([f"experiment={name}"], folder))
    ):
        path.unlink()
        raise Mistake(
            f"the winner cannot be written as an experiment: {changes[0]}; its config is config.yaml in its run folder"
        )
    return path


def _changed_options(config: DictConfig) -> dict[str, Any]:
    """Return the name, or names, by group or group@key, for each choice that differs from the default."""
    default = catalogue.default_options()
    choices = OmegaConf.to_container(config.choice)
    assert isinstance(choices, dict)
    groups = {str(key): names for key, names in choices.items() if str(key).partition("@")[0] in catalogue.groups()}
    return {
        key: names
        for key, names in groups.items()
        if names is not None and names != default.get(key) and key not in ("experiment", "logger", "launcher")
    }


def _group_override(group: str, names: Any) -> str:
    value = f"[{','.join(names)}]" if isinstance(names, list) else names
    return f"+{group}={value}" if "@" in group else f"{group}={value}"


def _changed_values(base: Mapping[Any, Any], plain: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the keys of `plain` whose values differ from those of `base`, nested."""
    changes = OmegaConf.create()
    for key, (_, value) in nested_difference(base, plain).items():
        if value is not NO_VALUE:
            OmegaConf.update(changes, key, value)
    return cast("dict[Any, Any]", OmegaConf.to_container(changes))


def experiment_name(study: str) -> str:
    """Return the name of the winner's experiment: letters, digits and underscores only."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", study) + "_winner"
