"""From words to a config: pieces chosen by name, keys set by path, mistakes told with what was probably meant."""

import copy
import json
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
from saddlepoint.config.identity import run_name, set_code_hashes
from saddlepoint.config.override import apply_override, parse_overrides, split_overrides
from saddlepoint.config.path import resolve_paths
from saddlepoint.config.tree import to_plain, tree_entries
from saddlepoint.error import Mistake, did_you_mean

ADDS = (OverrideType.ADD, OverrideType.FORCE_ADD)

MEANT = "A protocol says evaluation.* and 'override /metric: [...]' alone."
FEW = 10_000  # images: of fewer, a Fréchet distance is mostly bias, and the unbiased kernel distance stands beside it

__all__ = ["apply_overrides", "compose", "groups", "parse_value", "register_resolvers"]


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None, command: str = "train") -> DictConfig:
    """The config of `saddlepoint <command> <overrides>`, interpolations kept, with `choice`: name or names per group.

    `config_dir` holds a researcher's own pieces, in folders named like the groups. Raises Mistake.
    """
    register_resolvers()
    own = catalogue.resolve_config_dir(config_dir)
    chosen, settings = split_overrides(parse_overrides(overrides), own, command)
    config, choice = merge_choices(chosen, own, command)
    allow_list.check_not_in_yaml(config)
    with open_dict(config):
        for override in settings:
            apply_override(config, override, choice)
        from saddlepoint.config import key_types  # imports pydantic, which an error in the overrides does not need

        if allow_list.KEY in config:
            allow_list.grant(config)
        typed = resolve_paths(config)
        _put_own_pieces(config, own)
        if command == "train":
            config.choice = choice
            images = _finish(config)
            if images is not None and images < FEW and "metric" not in dict(chosen):
                _measure_kernel_distance(config)
            key_types.validate_top_level(config)
            key_types.check_unknown_keys(config)
            set_code_hashes(config)
            config.name = run_name(config, typed)
        else:
            _finish(config)
            key_types.validate_keys(config, command)
    return config


def apply_overrides(config: DictConfig, overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """A copy of a composed config, a run's own say, with `overrides` on top.

    A group that they name is chosen anew from today's yaml; everything else stays. Raises Mistake.
    """
    from saddlepoint.config import key_types  # imports pydantic

    register_resolvers()
    own = catalogue.resolve_config_dir(config_dir)
    config = copy.deepcopy(config)
    spelled, protocols = _spelled_out(overrides, own)
    chosen, settings = split_overrides(parse_overrides(spelled), own)
    fresh, names = merge_choices(chosen, own, before=config.choice)

    allow_list.revoke(config)  # what the words allow counts, not what the file says
    with open_dict(config):
        for key in dict(chosen):
            place = key.partition("@")[2] or key
            if place not in fresh and "." not in place:
                raise Mistake(f"{key} cannot be chosen anew for a run that is there; override the keys that it sets")
            OmegaConf.update(config, place, OmegaConf.select(fresh, place), merge=False)
            config.choice[key] = names.get(key)
        for override in settings:
            apply_override(config, override, config.choice)
        # a run of an earlier edition may hold keys that nothing reads now; those that are added here are read
        key_types.check_unknown_keys(config, [str(one.key_or_group) for one in settings if one.type in ADDS])
        allow_list.grant(config)
        if protocols:
            config.choice.protocol = protocols[-1]
        resolve_paths(config)
        _put_own_pieces(config, own)
        _finish(config)
        key_types.validate_top_level(config)
    return config


def _spelled_out(overrides: Sequence[str], own: Path | None) -> tuple[list[str], list[str]]:
    """The words, each protocol=<name> replaced by what it says, in front of the others; and those names."""
    names = [word.partition("=")[2] for word in map(str, overrides) if word.startswith("protocol=")]
    rest = [str(word) for word in overrides if not str(word).startswith("protocol=")]
    return [word for name in names for word in protocol_overrides(name, own)] + rest, names


def protocol_overrides(name: str, own: Path | None = None) -> list[str]:
    """What a protocol stands for: metric=[...] and evaluation.<key>=..., those of one that it stands on first.

    Hydra merges it into a run that begins.  A run that is there keeps the rest of its own config.

    Raises Mistake where there is no such protocol, or it says more than how to measure.
    """
    path = config_file.find_conf_file("protocol", name, own)
    if not isinstance(found := load_yaml(path), DictConfig):
        raise Mistake(f"{path}: a protocol is a file of key: value lines.")
    metrics: list[str] = []
    standing: list[str] = []
    for entry in found.pop("defaults", []):
        key, value = next(iter(entry.items())) if isinstance(entry, DictConfig) else (None, entry)
        if key == "override /metric":
            metrics = [f"metric=[{','.join(value)}]"]
        elif key is None and value != "_self_":
            standing += protocol_overrides(str(value).removeprefix("protocol/"), own)
        elif key is not None:
            raise Mistake(f"protocol={name}: defaults say {key}. {MEANT}")
    whole: Any = OmegaConf.to_container(found)
    plain = whole.get("evaluation", {})
    for key in (key for key in found if key != "evaluation"):
        raise Mistake(f"protocol={name}: {key} is no part of one. {MEANT}")
    # ++: a run of an earlier version may lack the key; a key that nothing reads is refused like any other
    known = catalogue.command_keys("train")
    marks = {key: "++" if f"evaluation.{key}" in known else "" for key in plain}
    return [*standing, *metrics, *(f"{marks[key]}evaluation.{key}={json.dumps(plain[key])}" for key in plain)]


def parse_value(override: str) -> Any:
    """The value of one `key=value`.  Raises Mistake where it cannot be read."""
    return parse_overrides([override])[0].value()


def register_resolvers() -> None:
    """Make ${latent_size:} known, the numbers per latent, all parts of the prior together; and ${classes:}."""
    OmegaConf.register_new_resolver("latent_size", _latent_size, replace=True)
    OmegaConf.register_new_resolver("classes", _classes, replace=True)


def _classes(*, _root_: DictConfig) -> int | None:
    """How many classes the data have: `data.classes`, or as many as a mixture has modes; None where there are none."""
    data = _root_.data
    if data.get("classes") is None and str(data.get("_target_")).startswith("saddlepoint.data.gaussians."):
        from saddlepoint.data.gaussians import MIXTURES  # torch, where it is asked for alone

        return len(MIXTURES[data.kind].modes) if data.get("kind") in MIXTURES else None
    return data.get("classes")


def _latent_size(*, _root_: DictConfig) -> int:
    from saddlepoint.schema import Count, validate_value  # pydantic

    size = 0
    for name, part in _root_.prior.items():
        if isinstance(part, DictConfig):
            dim = part.get("dim")
            size += dim if type(dim) is int and dim > 0 else validate_value(Count, dim, f"prior.{name}.dim")
    return size


def _measure_kernel_distance(config: DictConfig) -> None:
    """Add it to the metrics where they are the default ones, with all samples as one subset."""
    if list(config.choice.metric) == catalogue.default_options("train")["metric"]:
        config.metric.update(load_yaml(catalogue.conf_folder() / "metric" / "kernel_distance.yaml"))
        config.metric.kid.subset_size = None
        config.choice.metric = [*config.choice.metric, "kernel_distance"]


def _put_own_pieces(config: DictConfig, own: Path | None) -> None:
    """Put a researcher's own yaml where its name is the value of a key, so that a run's config holds all of it."""
    if own is None:
        return
    for group, keys in catalogue.VALUE_GROUPS.items():
        names = set(catalogue.option_names(group, own)) - set(catalogue.option_names(group))
        for key in keys:
            name = OmegaConf.select(config, key, throw_on_resolution_failure=False)
            if isinstance(name, str) and name in names:
                OmegaConf.update(config, key, OmegaConf.load(own / group / f"{name}.yaml"), merge=False)


def _finish(config: DictConfig) -> int | None:
    """Fill in the facts of a folder of one's own; the number of its samples, None where it was not counted.

    Raises Mistake for what has no value and for what points nowhere.
    """
    images = _fill_in_facts(config)
    texts = []
    for path, node, name, _ in tree_entries(config):
        if OmegaConf.is_missing(node, name):
            raise Mistake(f"{path} has no value yet: add {path}=...")
        try:
            value = node[name]
        except OmegaConfBaseException as error:
            raise Mistake(_unresolved(config, path, node._get_node(name)._value(), error)) from error
        if isinstance(value, str):
            texts.append((path, value))
    config_file.check_no_secrets(texts)
    return images


def _fill_in_facts(config: DictConfig) -> int | None:
    """Read the facts of data that are null off their folder; the number of samples, None where it was not counted."""
    data = config.get("data")
    if not isinstance(data, DictConfig) or "shape" not in data:
        return None
    from saddlepoint.data import facts

    kind = facts.data_kind(str(data.get("_target_")))
    if kind is None:
        if data.shape is None:
            raise Mistake("data.shape is null: say data.shape=[channels,height,width], or [numbers] for points")
        return None
    if not (missing := facts.missing_facts(kind, data)):
        return None
    from saddlepoint.config import key_types

    if data.shape is None:  # else the folder is not asked for more than whether it is an array
        key_types.validate_keys(config, f"data/{kind}")
    found, images = facts.read_facts(kind, to_plain(data))
    for key in (*missing, *(["classes"] if data.classes is None and "shape" in missing else [])):
        data[key] = found[key]
    return images


def _unresolved(config: DictConfig, path: str, raw: str, error: Exception) -> str:
    """What to say of an interpolation that finds nothing."""
    if match := re.search(r"raised while resolving interpolation: (.+)", str(error)):
        return match[1]
    if match := re.search(r"Interpolation key '(.+)' not found", str(error)):
        group, _, rest = match[1].partition(".")
        target = str((config.get(group) or {}).get("_target_")) if isinstance(config.get(group), DictConfig) else ""
        if group == "data" and target and not target.startswith("saddlepoint."):
            return (
                f"data, which {target} makes, says no {rest}: data of your own have shape, classes and extractor (each "
                "may be null but the shape) beside their _target_"
            )
        if rest and isinstance(name := config.get("choice", {}).get(group), str):
            return f"{group}={name} has no {rest}, which {path} is to be"
        meant = did_you_mean(match[1], (place[0] for place in tree_entries(config)))
        return f"{path} is {raw}, and there is no {match[1]}.{meant}"
    return f"{path} is {raw}: {str(error).splitlines()[0]}"
