"""Which pieces are chosen, and the config that they make together.

Hydra reads the defaults lists and merges the yaml. It writes nothing, and a caller's own use of it is not touched.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.config import catalogue
from saddlepoint.config.catalogue import default_options
from saddlepoint.config.override import ChosenNames, GroupOverride, chosen_names
from saddlepoint.config.tree import target_nodes
from saddlepoint.error import Mistake, did_you_mean


def merge_choices(
    chosen: Sequence[GroupOverride], own: Path | None, command: str = "train", before: ChosenNames | None = None
) -> tuple[DictConfig, dict[str, Any]]:
    """The config of the pieces, and their names; +group=... adds to `before`, else to what the yaml says."""
    groups = default_options(command)
    several = [(key, override) for key, override in chosen if isinstance(groups.get(key), list)]
    single = [_word(key, override, groups) for key, override in chosen if not isinstance(groups.get(key), list)]
    words = [word for word in single if word]
    try:
        with _behaviour("1.3"):
            loader = _loader(own)
            repository = CachingConfigRepository(loader.repository)
            if before is None and any(override.type != OverrideType.CHANGE for _, override in several):
                before = _names(_pieces(repository, command, words), groups)
            for key, names in _lists(several, before or {}).items():
                _refuse_clash(key, names, own)
                words.append(f"{key}=[{','.join(map(repr, names))}]")
            pieces = _pieces(repository, command, words)
            config = _composed(loader, pieces, repository)
        if listed := [group for group in groups if isinstance(config._get_node(group), ListConfig)]:
            raise ValueError(f"{listed[0]} is a list")
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
        raise Mistake(_explained(error, own)) from error
    OmegaConf.set_struct(config, True)
    return config, _names(pieces, groups)


class _Yaml(FileConfigSource):
    """Hydra's folder of yaml, whose files are read once."""

    @staticmethod
    def scheme() -> str:
        return "saddlepoint"

    def load_config(self, config_path: str) -> ConfigResult:
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        stream = catalogue.cached_stream(path)
        header = ConfigSource._get_header_dict(stream.getvalue()[:512])
        return ConfigResult(self.provider, self.path, OmegaConf.load(stream), header)


def load_yaml(path: str | Path) -> Any:
    """A yaml as a config of its own.  Raises what yaml and OmegaConf raise, under the path of the file."""
    return OmegaConf.load(catalogue.cached_stream(path))


def _loader(own: Path | None) -> ConfigLoaderImpl:
    """Hydra's reader of our folder and the researcher's.

    Its compose API would read everything twice to tell which pieces were chosen, with a second config, its own, beside
    ours: starting took twice as long. It would also have to be freed from what a caller had set up with it.
    """
    path = ConfigSearchPathImpl()
    for folder in catalogue.conf_folders(own):
        path.append("saddlepoint" if folder != own else "own", f"{_Yaml.scheme()}://{folder}")
    path.append("schema", "structured://")  # which Hydra expects to come last
    for source in (_Yaml, StructuredConfigSource):
        SourcesRegistry.instance().register(source)
    return ConfigLoaderImpl(path)


def _pieces(repository: CachingConfigRepository, command: str, words: Sequence[str]) -> list[ResultDefault]:
    """Every yaml that a command line adds up to, in the order of merging."""
    parsed = OverridesParser.create().parse_overrides(list(words))
    return create_defaults_list(repository, command, parsed, prepend_hydra=False, skip_missing=False).defaults


def _composed(loader: ConfigLoaderImpl, pieces: Sequence[ResultDefault], repository: CachingConfigRepository) -> Any:
    """The pieces merged in order; one that is put in a place (layer@architecture.generator.norm) stands there alone.

    Merged into what stood there it would inherit keys of another target: the momentum of the batch norm before it.
    """
    cuts = [i for i, piece in enumerate(pieces) if "@" in (piece.override_key or "")]
    config: Any = OmegaConf.create()
    for i, j in pairwise([0, *cuts, len(pieces)]):
        place = pieces[i].package if i in cuts else None
        if place and isinstance(OmegaConf.select(config, place), DictConfig):
            OmegaConf.update(config, place, None)
        config = OmegaConf.merge(config, loader._compose_config_from_defaults_list(list(pieces[i:j]), repository))
    return config


@contextmanager
def _behaviour(version: str) -> Iterator[None]:
    """Hydra as of `version`, whatever a caller has asked of it."""
    base, before = VersionBase.instance(), VersionBase.instance().version_base
    setbase(version)
    try:
        yield
    finally:
        base.version_base = before


def _word(key: str, override: Any, groups: ChosenNames) -> str:
    """What Hydra is told of a group that takes one name; "" where nothing need be said."""
    line, names = str(override.input_line), chosen_names(override)
    if key not in groups:
        return line
    if len(names) == 1 and not isinstance(override.value(), list) and not override.is_delete():
        if override.type == OverrideType.CHANGE or groups[key] is None:
            return f"{key}={names[0]!r}"
        raise Mistake(f"{line}: {key} takes one name and has one; to change it, write {key}={names[0]}")
    if groups[key] is None and not names:
        return ""
    none = f", or {key}=none" if "none" in catalogue.option_names(key) else ""
    raise Mistake(f"{line}: {key} takes one name: {key}={(names or [groups[key]])[0]}{none}")


def _lists(said: Sequence[GroupOverride], before: ChosenNames) -> dict[str, list[str]]:
    """The names per group that takes several: key=[...] replaces, +key=name adds, ~key=name takes out.

    Hydra's own + does not reach a list that anybody overrides: it loses the name without a word.
    """
    found: dict[str, list[str]] = {}
    for key, override in said:
        empty = override.type == OverrideType.CHANGE and not chosen_names(override)
        if empty and not isinstance(override.value(), list) and "none" in catalogue.option_names(key):
            raise Mistake(f"{override.input_line}: for no {key} at all write {key}=none")
        names, held = chosen_names(override), found.get(key, _listed(before.get(key)))
        if override.is_delete():
            if absent := [name for name in names if name not in held]:
                raise Mistake(f"{override.input_line}: {absent[0]} is not among {key}=[{','.join(held)}]")
            found[key] = [name for name in held if name not in names] if names else []
        else:
            found[key] = names if override.type == OverrideType.CHANGE else [*held, *names]
        if twice := [name for name in found[key] if found[key].count(name) > 1]:
            raise Mistake(f"{override.input_line}: {twice[0]} stands twice in {key}=[{','.join(found[key])}]")
    return found


def _listed(names: Any) -> list[str]:
    """The names that a config had; a run of when a group took one has that one."""
    return [names] if isinstance(names, str) else list(names or ())


def _refuse_clash(group: str, names: Sequence[str], own: Path | None) -> None:
    """Raise Mistake where one of several pieces would be merged over another."""
    taken: dict[str, tuple[str, str]] = {}
    for name in names if len(names) > 1 else ():
        path = next(p for folder in catalogue.conf_folders(own) if (p := folder / group / f"{name}.yaml").exists())
        for key, node in target_nodes(load_yaml(path)):
            target = str(node._target_)
            other, before = taken.setdefault(key, (name, target))
            if before != target:
                raise Mistake(f"{group}={other} and {group}={name} both want to be {group}.{key}; choose one of them")


def _names(pieces: Sequence[ResultDefault], groups: ChosenNames) -> dict[str, Any]:
    """Name, or names, per group; Hydra itself keeps no record of groups with several."""
    found: dict[str, Any] = {group: [] if isinstance(names, list) else None for group, names in groups.items()}
    for piece in pieces:
        group, _, name = (piece.config_path or "").partition("/")
        if not name or (piece.parent or "").startswith(f"{group}/"):
            continue  # what a piece itself stands on is no choice
        key = piece.override_key or group
        if isinstance(found.get(key), list):
            found[key].append(name)
        else:
            found[key] = name
    return {key: value for key, value in found.items() if value is not None}


def _explained(error: Exception, own: Path | None) -> str:
    """What went wrong while the yaml was read and merged, for people."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
        return f"{mark.name}, line {mark.line + 1}: this is no YAML: {error.problem or error.context}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        there = catalogue.option_names(group, own) if group else []
        return f"{_asking(group, name, own)}no such {group or 'yaml'}: {name}.{did_you_mean(name, there)}"
    message = str(error) or str(error.__cause__)
    if match := re.search(r"(?:In '(?P<file>.+)': )?Could not override '(?P<key>[^']+)'", message):
        key = match["key"]
        if match["file"]:
            return (
                f"{match['file']}.yaml: override /{key}: there is no such group.{did_you_mean(key, default_options())}"
            )
        return f"{key} stands nowhere yet; to add it, write +{key if '@' in key else key + '@<where>'}=<name>"
    return _unreadable(own) or " ".join(line.strip() for line in message.splitlines()[:3])


def _asking(group: str, name: str, own: Path | None) -> str:
    """Which yaml asks for a member, "" where that cannot be told."""
    asks = re.compile(rf"\b{re.escape(group)}\b.*\b{re.escape(name)}\b")
    for folder in catalogue.conf_folders(own):
        for path in sorted(folder.rglob("*.yaml")):
            if asks.search(path.read_text(encoding="utf-8", errors="replace")):
                return f"{path}: "
    return ""


def _unreadable(own: Path | None) -> str:
    for path in sorted(own.rglob("*.yaml")) if own else []:
        try:
            if isinstance(load_yaml(path), DictConfig):
                continue
            fault = "it is a list"
        except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
            fault = str(error).splitlines()[0]
        return f"{path}: a piece is a file of key: value lines ({fault})"
    return ""
