"""The best trial of a search as an experiment: pieces by name, and every key that differs from what they say."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.compose import compose
from saddlepoint.config.defaults_list import merge_choices
from saddlepoint.config.identity import CODE_KEY, identity_differences
from saddlepoint.config.override import parse_overrides, split_overrides
from saddlepoint.config.training_keys import NO_VALUE, NON_TRAINING_KEYS, nested_difference
from saddlepoint.error import Mistake
from saddlepoint.run.folder import write_file

MEASURED = ("images", "callback", "metric", "evaluation")  # no part of what is trained, and part of the experiment
LEFT_OUT = (NON_TRAINING_KEYS - set(MEASURED)) | {"allow_target", CODE_KEY}


def write_experiment(
    config: DictConfig, folder: Path, name: str, header: Sequence[str], config_dir: str | None
) -> Path:
    """The file <folder>/experiment/<name>.yaml, which composes to what `config` trains.

    Raises Mistake where yaml cannot say it: a key that was taken out.
    """
    choices = _choices(config)
    own = catalogue.resolve_config_dir(config_dir)
    chosen, _ = split_overrides(parse_overrides([_word(group, names) for group, names in choices.items()]), own)
    base, _ = merge_choices(chosen, own)
    whole, plain = (OmegaConf.to_container(one, resolve=False) for one in (config, base))
    assert isinstance(whole, dict)
    assert isinstance(plain, dict)
    kept = {key: value for key, value in whole.items() if key not in LEFT_OUT}
    ordered = sorted(choices.items(), key=lambda choice: "@" not in choice[0])  # Hydra wants overrides last
    lines = [{f"/{group}" if "@" in group else f"override /{group}": names} for group, names in ordered]
    body = {"defaults": lines, **_changed(plain, kept)}
    body = {key: value for key, value in body.items() if value}
    path = folder / "experiment" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header)
    write_file(path, f"# @package _global_\n{comment}{OmegaConf.to_yaml(OmegaConf.create(body))}")
    # with pieces of one's own it is read from among them
    if config_dir is None and (differs := identity_differences(config, compose([f"experiment={name}"], folder))):
        path.unlink()
        raise Mistake(f"the winner cannot be written as an experiment: {differs[0]}; its folder has its config.yaml")
    return path


def _choices(config: DictConfig) -> dict[str, Any]:
    """What was chosen where the default is something else: name, or names, by group or group@place."""
    default = catalogue.default_options()
    chosen = OmegaConf.to_container(config.choice)
    assert isinstance(chosen, dict)
    known = {str(key): names for key, names in chosen.items() if str(key).partition("@")[0] in catalogue.groups()}
    return {
        key: names
        for key, names in known.items()
        if names is not None and names != default.get(key) and key not in ("experiment", "logger", "launcher")
    }


def _word(group: str, names: Any) -> str:
    said = f"[{','.join(names)}]" if isinstance(names, list) else names
    return f"+{group}={said}" if "@" in group else f"{group}={said}"


def _changed(base: Mapping[Any, Any], whole: Mapping[Any, Any]) -> dict[Any, Any]:
    """What `whole` has otherwise than `base`, nested as it is there."""
    found = OmegaConf.create()
    for key, (_, value) in nested_difference(base, whole).items():
        if value is not NO_VALUE:
            OmegaConf.update(found, key, value)
    return cast("dict[Any, Any]", OmegaConf.to_container(found))


def experiment_name(study: str) -> str:
    """A word that can be an experiment's name."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", study) + "_winner"
