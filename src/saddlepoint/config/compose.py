"""Compose a config from overrides: options chosen by name, keys set by path; errors suggest what was probably meant."""

import copy
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.config import allow_list, catalogue, config_file
from saddlepoint.config.catalogue import groups
from saddlepoint.config.defaults_list import load_yaml, merge_choices
from saddlepoint.config.identity import find_run_name, set_code_hashes, set_start_hash
from saddlepoint.config.override import apply_override, parse_overrides, split_overrides
from saddlepoint.config.path import resolve_paths
from saddlepoint.config.tree import to_plain, tree_entries
from saddlepoint.error import Mistake, did_you_mean

log = logging.getLogger(__name__)

ADDS = (OverrideType.ADD, OverrideType.FORCE_ADD)

PROTOCOL_CONTENT = "A protocol sets only evaluation.* and 'override /metric: [...]'."
FEW = 10_000  # images; with fewer, a Fréchet distance is mostly bias, so the unbiased kernel distance is added

__all__ = ["apply_overrides", "compose", "groups", "parse_value", "register_resolvers"]


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None, command: str = "train") -> DictConfig:
    """Return the config of `saddlepoint <command> <overrides>`, interpolations unresolved.

    Its key `choice` has the chosen option or options per group. `config_dir`: a folder of your own options, in
    subfolders named like the groups. Raises Mistake.
    """
    register_resolvers()
    user_conf = catalogue.resolve_config_dir(config_dir)
    chosen, settings = split_overrides(parse_overrides(overrides), user_conf, command)
    config, choice = merge_choices(chosen, user_conf, command)
    allow_list.check_not_in_yaml(config)
    for group in ("experiment", "protocol"):
        if isinstance(config.get(group), DictConfig):  # its keys are not at the top of the config, and would be ignored
            raise Mistake(f"{group}={choice[group]}: the first line of its file must be '# @package _global_'")
    with open_dict(config):
        for message in catalogue.rename_keys(config):  # of a user-defined experiment or protocol
            log.warning(message)
        for override in settings:
            apply_override(config, override, choice)
        from saddlepoint.config import key_types  # imports pydantic, which an error in the overrides does not need

        if allow_list.KEY in config:
            allow_list.allow_names(config)
        typed = resolve_paths(config)
        _replace_names_by_yaml(config, user_conf)
        if command == "train":
            config.choice = choice
            images = _fill_in_and_check(config)
            if images is not None and images < FEW and "metric" not in dict(chosen):
                _add_kernel_distance(config)
            key_types.convert_top_level_keys(config)
            key_types.check_unknown_keys(config)
            set_code_hashes(config)
            set_start_hash(config)
            config.name = find_run_name(config, typed)
        else:
            _fill_in_and_check(config)
            key_types.convert_command_keys(config, command)
    return config


def apply_overrides(config: DictConfig, overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """Return a copy of a composed config, for example of a run, with `overrides` applied.

    Groups in the overrides are read from the current yaml; everything else is unchanged. Raises Mistake.
    """
    from saddlepoint.config import key_types  # imports pydantic

    register_resolvers()
    user_conf = catalogue.resolve_config_dir(config_dir)
    config = copy.deepcopy(config)
    expanded, protocols = _expand_protocols(overrides, user_conf)
    chosen, settings = split_overrides(parse_overrides(expanded), user_conf)
    current, names = merge_choices(chosen, user_conf, before=config.choice)

    allow_list.clear_allowed_names(config)  # only the overrides may allow something, not the file
    with open_dict(config):
        for key in dict(chosen):
            location = key.partition("@")[2] or key
            if location not in current and "." not in location:
                raise Mistake(f"{key} cannot be changed for an existing run; override the keys that it sets")
            OmegaConf.update(config, location, OmegaConf.select(current, location), merge=False)
            config.choice[key] = names.get(key)
        for override in settings:
            apply_override(config, override, config.choice)
        # a run of an earlier edition may have keys that are no longer used; only added keys are checked
        key_types.check_unknown_keys(
            config, [str(override.key_or_group) for override in settings if override.type in ADDS]
        )
        allow_list.allow_names(config)
        if protocols:
            config.choice.protocol = protocols[-1]
        resolve_paths(config)
        _replace_names_by_yaml(config, user_conf)
        _fill_in_and_check(config)
        key_types.convert_top_level_keys(config)
    return config


def _expand_protocols(overrides: Sequence[str], user_conf: Path | None) -> tuple[list[str], list[str]]:
    """Return the overrides with each protocol=<name> expanded and moved to the front, and the protocol names."""
    names = [override.partition("=")[2] for override in map(str, overrides) if override.startswith("protocol=")]
    others = [str(override) for override in overrides if not str(override).startswith("protocol=")]
    return [override for name in names for override in protocol_overrides(name, user_conf)] + others, names


def protocol_overrides(name: str, user_conf: Path | None = None) -> list[str]:
    """Return the overrides of a protocol, metric=[...] and evaluation.<key>=..., after those of its base protocols.

    They are used for existing runs, which keep the rest of their config; for new runs Hydra merges the yaml.

    Raises Mistake if there is no such protocol, or it sets other keys.
    """
    path = config_file.find_conf_file("protocol", name, user_conf)
    if not isinstance(protocol := load_yaml(path), DictConfig):
        raise Mistake(f"{path}: a protocol must contain key: value lines.")
    metrics: list[str] = []
    base_overrides: list[str] = []
    for entry in protocol.pop("defaults", []):
        key, value = next(iter(entry.items())) if isinstance(entry, DictConfig) else (None, entry)
        if key == "override /metric":
            metrics = [f"metric=[{','.join(value)}]"]
        elif key is None and value != "_self_":
            base_overrides += protocol_overrides(str(value).removeprefix("protocol/"), user_conf)
        elif key is not None:
            raise Mistake(f"protocol={name}: its defaults contain {key}. {PROTOCOL_CONTENT}")
    content: Any = OmegaConf.to_container(protocol)
    settings = content.get("evaluation", {})
    for key in (key for key in protocol if key != "evaluation"):
        raise Mistake(f"protocol={name}: {key} cannot be set by a protocol. {PROTOCOL_CONTENT}")
    # ++: a run of an earlier edition may lack the key; unknown keys are still refused
    known = catalogue.command_keys("train")
    marks = {key: "++" if f"evaluation.{key}" in known else "" for key in settings}
    return [
        *base_overrides,
        *metrics,
        *(f"{marks[key]}evaluation.{key}={json.dumps(settings[key])}" for key in settings),
    ]


def parse_value(override: str) -> Any:
    """Return the value of one `key=value`. Raises Mistake if it cannot be parsed."""
    return parse_overrides([override])[0].value()


def register_resolvers() -> None:
    """Register ${latent_size:} (numbers per latent, over all parts of the prior), ${classes:} and ${packed_shape:}."""
    OmegaConf.register_new_resolver("latent_size", _latent_size, replace=True)
    OmegaConf.register_new_resolver("classes", _number_of_classes, replace=True)
    OmegaConf.register_new_resolver("packed_shape", _packed_shape, replace=True)


def _packed_shape(size: int, *, _root_: DictConfig) -> list[int]:
    """Return the shape of `size` samples joined along their first dimension: channels of images, coordinates."""
    first, *rest = _root_.data.shape
    return [first * size, *rest]


def _number_of_classes(*, _root_: DictConfig) -> int | None:
    """Return the number of classes: `data.classes`, or the number of modes of a mixture; None without classes."""
    data = _root_.data
    if data.get("classes") is None and str(data.get("_target_")).startswith("saddlepoint.data.gaussians."):
        from saddlepoint.data.gaussians import MIXTURES  # imports torch, so only if needed

        return len(MIXTURES[data.kind].modes) if data.get("kind") in MIXTURES else None
    return data.get("classes")


def _latent_size(*, _root_: DictConfig) -> int:
    from saddlepoint.schema import Count, validate_value  # imports pydantic

    size = 0
    for name, entry in _root_.prior.items():
        if isinstance(entry, DictConfig):
            dim = entry.get("dim")
            size += dim if type(dim) is int and dim > 0 else validate_value(Count, dim, f"prior.{name}.dim")
    return size


def _add_kernel_distance(config: DictConfig) -> None:
    """Add the kernel distance, over all samples as one subset, if the metrics are the default ones."""
    if list(config.choice.metric) == catalogue.default_options("train")["metric"]:
        config.metric.update(load_yaml(catalogue.conf_folder() / "metric" / "kernel_distance.yaml"))
        config.metric.kid.subset_size = None
        config.choice.metric = [*config.choice.metric, "kernel_distance"]


def _replace_names_by_yaml(config: DictConfig, user_conf: Path | None) -> None:
    """Replace names of user-defined options in VALUE_GROUPS by their yaml, so that a run's config is complete."""
    if user_conf is None:
        return
    for group, keys in catalogue.VALUE_GROUPS.items():
        names = set(catalogue.option_names(group, user_conf)) - set(catalogue.option_names(group))
        for key in keys:
            name = OmegaConf.select(config, key, throw_on_resolution_failure=False)
            if isinstance(name, str) and name in names:
                OmegaConf.update(config, key, OmegaConf.load(user_conf / group / f"{name}.yaml"), merge=False)


def _fill_in_and_check(config: DictConfig) -> int | None:
    """Fill in the facts of a data folder. Return the number of its samples, None if they were not counted.

    Raises Mistake for a missing value and for an invalid interpolation.
    """
    images = _read_missing_facts(config)
    texts = []
    for path, node, name, _ in tree_entries(config):
        if OmegaConf.is_missing(node, name):
            raise Mistake(f"{path} has no value yet: add {path}=...")
        try:
            value = node[name]
        except OmegaConfBaseException as error:
            raise Mistake(_interpolation_message(config, path, node._get_node(name)._value(), error)) from error
        if value is None and node._get_node(name)._value() == "${classes:}" and not path.startswith("game."):
            raise Mistake(
                f"{path} is the number of classes, but data.classes is null: these data have no classes. Choose "
                "labelled data, or a game without classes: game=two_player"
            )
        if isinstance(value, str):
            texts.append((path, value))
    config_file.check_no_secrets(texts)
    return images


def _read_missing_facts(config: DictConfig) -> int | None:
    """Read facts of data that are null from their folder. Return the number of samples, None if not counted."""
    data = config.get("data")
    if not isinstance(data, DictConfig) or "shape" not in data:
        return None
    from saddlepoint.data import facts

    kind = facts.data_kind(str(data.get("_target_")))
    if kind is None:
        if data.shape is None:
            raise Mistake("data.shape is null: set data.shape=[channels,height,width], or [numbers] for points")
        return None
    from saddlepoint.config import key_types

    if data.shape is None:  # else only the kind of folder matters
        key_types.convert_command_keys(config, f"data/{kind}")
    if not (missing := facts.missing_facts(kind, data)):
        return None
    values, images = facts.read_facts(kind, to_plain(data))
    for key in (*missing, *(["classes"] if data.classes is None and "shape" in missing else [])):
        data[key] = values[key]
    return images


def _interpolation_message(config: DictConfig, path: str, raw: str, error: Exception) -> str:
    """Return the message about an interpolation that cannot be resolved."""
    if match := re.search(r"raised while resolving interpolation: (.+)", str(error)):
        return match[1]
    if match := re.search(r"Interpolation key '(.+)' not found", str(error)):
        group, _, key = match[1].partition(".")
        target = str((config.get(group) or {}).get("_target_")) if isinstance(config.get(group), DictConfig) else ""
        if group == "data" and target and not target.startswith("saddlepoint."):
            return (
                f"data, built by {target}, has no {key}: user-defined data need shape, classes and extractor (null is "
                "allowed, except for shape) next to _target_"
            )
        if key and isinstance(name := config.get("choice", {}).get(group), str):
            return f"{group}={name} has no {key}, which {path} refers to"
        suggestion = did_you_mean(match[1], (entry[0] for entry in tree_entries(config)))
        return f"{path} is {raw}, and there is no {match[1]}.{suggestion}"
    return f"{path} is {raw}: {str(error).splitlines()[0]}"
