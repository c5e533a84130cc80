"""Merge the yaml of the chosen options into one config.

Hydra reads the defaults lists and merges the yaml. It writes nothing, and a caller's own use of Hydra is not affected.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.config import catalogue
from saddlepoint.config.catalogue import default_options
from saddlepoint.config.override import ChosenNames, GroupOverride, chosen_names
from saddlepoint.config.tree import target_nodes
from saddlepoint.error import Mistake, did_you_mean


def merge_choices(
    chosen: Sequence[GroupOverride], user_conf: Path | None, command: str = "train", before: ChosenNames | None = None
) -> tuple[DictConfig, dict[str, Any]]:
    """Return the config merged from the chosen options, and their names per group.

    `+group=name` adds to the options of `before` if it is given, else to the defaults.
    """
    groups = default_options(command)
    several = [(key, override) for key, override in chosen if isinstance(groups.get(key), list)]
    single = [
        _to_hydra_override(key, override, groups) for key, override in chosen if not isinstance(groups.get(key), list)
    ]
    overrides = [text for text in single if text]
    try:
        with _version_base("1.3"):
            loader = _config_loader(user_conf)
            repository = CachingConfigRepository(loader.repository)
            if before is None and any(override.type != OverrideType.CHANGE for _, override in several):
                before = _chosen_names(_selected_options(repository, command, overrides), groups)
            for key, names in _merge_option_names(several, before or {}).items():
                _check_no_clash(key, names, user_conf)
                overrides.append(f"{key}=[{','.join(map(repr, names))}]")
            options = _selected_options(repository, command, overrides)
            config = _merge_options(loader, options, repository)
        if listed := [group for group in groups if isinstance(config._get_node(group), ListConfig)]:
            raise ValueError(f"{listed[0]} is a list")
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
        raise Mistake(_error_message(error, user_conf)) from error
    except AssertionError as error:  # Hydra's, if a list is overridden before another entry
        if message := _misplaced_override(user_conf):
            raise Mistake(message) from error
        raise
    OmegaConf.set_struct(config, True)
    return config, _chosen_names(options, groups)


def _misplaced_override(user_conf: Path | None) -> str:
    """Return a message about a file in whose defaults an `override` is before another entry, "" if there is none."""
    for path in [path for folder in catalogue.conf_folders(user_conf) for path in sorted(Path(folder).rglob("*.yaml"))]:
        entries = [
            next(iter(entry)) for entry in load_yaml(path).get("defaults") or () if isinstance(entry, DictConfig)
        ]
        for before, entry in pairwise(map(str, entries)):
            if before.startswith("override ") and not entry.startswith("override "):
                return f"{path}: {entry} is after {before} in its defaults: move all lines with override to the end"
    return ""


_parse = cache(partial(yaml.load, Loader=get_yaml_loader()))  # many configs are composed in one process; never changed


class _Yaml(FileConfigSource):
    """Hydra's source of a config folder; each file is read once."""

    @staticmethod
    def scheme() -> str:
        return "saddlepoint"

    def load_config(self, config_path: str) -> ConfigResult:
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        stream = catalogue.open_text_cached(path)
        header = ConfigSource._get_header_dict(stream.getvalue()[:512])
        try:
            content = _parse(stream.getvalue())
        except yaml.YAMLError:
            content = None
        # OmegaConf.load names the file in its errors
        config = OmegaConf.create(content) if isinstance(content, dict) else OmegaConf.load(stream)
        return ConfigResult(self.provider, self.path, config, header)


def load_yaml(path: str | Path) -> Any:
    """Load one yaml as a config. Errors of yaml and OmegaConf name the path of the file."""
    return OmegaConf.load(catalogue.open_text_cached(path))


def _config_loader(user_conf: Path | None) -> ConfigLoaderImpl:
    """Return Hydra's loader of the package's config folder and the user's.

    Hydra's compose API is not used: it would read everything twice to report the chosen options, and merge its own
    config too, so that starting took twice as long; and it depends on the global state of a caller that uses Hydra.
    """
    path = ConfigSearchPathImpl()
    for folder in catalogue.conf_folders(user_conf):
        path.append("saddlepoint" if folder != user_conf else "user", f"{_Yaml.scheme()}://{folder}")
    path.append("schema", "structured://")  # Hydra expects it last
    for source in (_Yaml, StructuredConfigSource):
        SourcesRegistry.instance().register(source)
    return ConfigLoaderImpl(path)


def _selected_options(
    repository: CachingConfigRepository, command: str, overrides: Sequence[str]
) -> list[ResultDefault]:
    """Return every yaml that the overrides select, in the order of merging."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return create_defaults_list(repository, command, parsed, prepend_hydra=False, skip_missing=False).defaults


def _merge_options(
    loader: ConfigLoaderImpl, options: Sequence[ResultDefault], repository: CachingConfigRepository
) -> Any:
    """Merge options in order. One with a location (layer@architecture.generator.norm) replaces the node there.

    Merging would keep keys of the previous target, for example the momentum of a batch norm.
    """
    cuts = [i for i, option in enumerate(options) if "@" in (option.override_key or "")]
    config: Any = OmegaConf.create()
    for i, j in pairwise([0, *cuts, len(options)]):
        location = options[i].package if i in cuts else None
        if location and isinstance(OmegaConf.select(config, location), DictConfig):
            OmegaConf.update(config, location, None)
        config = OmegaConf.merge(config, loader._compose_config_from_defaults_list(list(options[i:j]), repository))
    return config


@contextmanager
def _version_base(version: str) -> Iterator[None]:
    """Set Hydra's version base, and restore the caller's on exit."""
    base, before = VersionBase.instance(), VersionBase.instance().version_base
    setbase(version)
    try:
        yield
    finally:
        base.version_base = before


def _to_hydra_override(key: str, override: Any, groups: ChosenNames) -> str:
    """Return the override to pass to Hydra for a group with one option; "" if none is needed."""
    line, names = str(override.input_line), chosen_names(override)
    if key not in groups:
        return line
    if len(names) == 1 and not isinstance(override.value(), list) and not override.is_delete():
        if override.type == OverrideType.CHANGE or groups[key] is None:
            return f"{key}={names[0]!r}"
        raise Mistake(f"{line}: {key} takes one name and has one already; to change it, write {key}={names[0]}")
    if groups[key] is None and not names:
        return ""
    none = f", or {key}=none" if "none" in catalogue.option_names(key) else ""
    raise Mistake(f"{line}: {key} takes one name: {key}={(names or [groups[key]])[0]}{none}")


def _merge_option_names(chosen: Sequence[GroupOverride], before: ChosenNames) -> dict[str, list[str]]:
    """Return the names of each group with several: key=[...] replaces, +key=name adds, ~key=name removes.

    This is not left to Hydra, whose + silently drops the name if the list is overridden too.
    """
    result: dict[str, list[str]] = {}
    for key, override in chosen:
        empty = override.type == OverrideType.CHANGE and not chosen_names(override)
        if empty and not isinstance(override.value(), list) and "none" in catalogue.option_names(key):
            raise Mistake(f"{override.input_line}: to use no {key}, write {key}=none")
        names, current = chosen_names(override), result.get(key, _to_list(before.get(key)))
        if override.is_delete():
            if absent := [name for name in names if name not in current]:
                raise Mistake(f"{override.input_line}: {absent[0]} is not among {key}=[{','.join(current)}]")
            result[key] = [name for name in current if name not in names] if names else []
        else:
            result[key] = names if override.type == OverrideType.CHANGE else [*current, *names]
        if duplicates := [name for name in result[key] if result[key].count(name) > 1]:
            raise Mistake(f"{override.input_line}: {duplicates[0]} is twice in {key}=[{','.join(result[key])}]")
    return result


def _to_list(names: Any) -> list[str]:
    """Return names as a list; old runs may have a single name."""
    return [names] if isinstance(names, str) else list(names or ())


def _check_no_clash(group: str, names: Sequence[str], user_conf: Path | None) -> None:
    """Raise Mistake if two options of a group define the same node with different targets."""
    owners: dict[str, tuple[str, str]] = {}
    for name in names if len(names) > 1 else ():
        path = next(
            p for folder in catalogue.conf_folders(user_conf) if (p := folder / group / f"{name}.yaml").exists()
        )
        for key, node in target_nodes(load_yaml(path)):
            target = str(node._target_)
            other, before = owners.setdefault(key, (name, target))
            if before != target:
                raise Mistake(f"{group}={other} and {group}={name} both define {group}.{key}; choose one of them")


def _chosen_names(options: Sequence[ResultDefault], groups: ChosenNames) -> dict[str, Any]:
    """Return the chosen name, or names, per group; Hydra does not record groups with several."""
    result: dict[str, Any] = {group: [] if isinstance(names, list) else None for group, names in groups.items()}
    for option in options:
        group, _, name = (option.config_path or "").partition("/")
        if not name or (option.parent or "").startswith(f"{group}/"):
            continue  # the base of an option is not a choice
        key = option.override_key or group
        if isinstance(result.get(key), list):
            result[key].append(name)
        else:
            result[key] = name
    return {key: value for key, value in result.items() if value is not None}


def _error_message(error: Exception, user_conf: Path | None) -> str:
    """Return the message for an error while yaml was read and merged."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
        return f"{mark.name}, line {mark.line + 1}: invalid YAML: {error.problem or error.context}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        names = catalogue.option_names(group, user_conf) if group else []
        prefix = _referring_file_prefix(group, name, user_conf)
        return f"{prefix}no such {group or 'yaml'}: {name}.{did_you_mean(name, names)}"
    message = str(error) or str(error.__cause__)
    if match := re.search(r"(?:In '(?P<file>.+)': )?Could not override '(?P<key>[^']+)'", message):
        key = match["key"]
        if match["file"]:
            return (
                f"{match['file']}.yaml: override /{key}: there is no such group.{did_you_mean(key, default_options())}"
            )
        return f"{key} is not in the config; to add it, write +{key if '@' in key else key + '@<where>'}=<name>"
    return _describe_invalid_file(user_conf) or " ".join(line.strip() for line in message.splitlines()[:3])


def _referring_file_prefix(group: str, name: str, user_conf: Path | None) -> str:
    """Return "<path>: " of the yaml that refers to an option; "" if none is found."""
    pattern = re.compile(rf"\b{re.escape(group)}\b.*\b{re.escape(name)}\b")
    for folder in catalogue.conf_folders(user_conf):
        for path in sorted(folder.rglob("*.yaml")):
            if pattern.search(path.read_text(encoding="utf-8", errors="replace")):
                return f"{path}: "
    return ""


def _describe_invalid_file(user_conf: Path | None) -> str:
    for path in sorted(user_conf.rglob("*.yaml")) if user_conf else []:
        try:
            if isinstance(load_yaml(path), DictConfig):
                continue
            fault = "it is a list"
        except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
            fault = str(error).splitlines()[0]
        return f"{path}: an option must contain key: value lines ({fault})"
    return ""
