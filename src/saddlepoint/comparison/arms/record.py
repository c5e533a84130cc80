"""Loads run folders: which exist, their configs, and how each run ended.

`run/layout.py` defines which folders are runs. Nothing is composed and no interpolation is resolved: two configs are
compared as written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.config.catalogue import rename_keys
from saddlepoint.config.training_keys import dotted_items, training_keys
from saddlepoint.error import Mistake, first_line
from saddlepoint.run import layout
from saddlepoint.run.alarm import raised_alarms
from saddlepoint.run.folder import Run, load_json

# statuses in addition to those that summary.json records
RUNNING, KILLED, NO_SUMMARY = "running", "killed", "without a summary"
SEED = re.compile(r"^seed: (-?\d+)$", re.MULTILINE)
TOP_LEVEL_KEY = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """A run's config as plain values, without its seed; the runs of one arm share it."""

    full: Mapping[str, Any]
    training_values: Mapping[str, Any]  # by dotted key, what affects the training

    @property
    def choices(self) -> Mapping[str, Any]:
        """The options of the config groups, by group."""
        return self.full.get("choice") or {}


@dataclass(frozen=True)
class Record:
    """The record of one run folder."""

    folder: Path
    seed: int
    config: Config
    summary: Mapping[str, Any]
    status: str  # finished, diverged, failed, interrupted, or RUNNING, KILLED, NO_SUMMARY

    @property
    def title(self) -> str:
        """What messages name it by; unique in a comparison."""
        return str(self.folder)

    @property
    def is_imported(self) -> bool:
        """Whether the model was trained elsewhere and only measured here."""
        return "imported" in self.config.full

    @property
    def target_images(self) -> int | None:
        """The images that the run was to train for; None for an import."""
        return self.config.full.get("images")

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The later evaluations by `saddlepoint evaluate`, in order."""
        return Run(self.folder).events("evaluations.jsonl")[0]

    @cached_property
    def final_scores(self) -> dict[str, Mapping[str, Any]]:
        """Score and contract by key: measured at the end of the run, or later from its last checkpoint."""
        at_end = self.summary.get("final") or {}
        later = [row["scores"] for row in self.evaluations if row.get("at") == "last" and "scores" in row]
        return {**{key: score for scores in later for key, score in scores.items()}, **at_end}

    @cached_property
    def journal(self) -> tuple[Sequence[Event], int]:
        """The events of metrics.jsonl, and the number of unreadable lines."""
        rows, unreadable = Run(self.folder).events()
        events = [row for row in rows if isinstance(row.get("images"), int)]
        return events, unreadable + len(rows) - len(events)

    @cached_property
    def alarms(self) -> list[str]:
        """The health rules that were raised, also those cleared later."""
        return raised_alarms(self.folder)

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        return load_json(self.folder / "provenance.json")


@dataclass(frozen=True)
class RunCollection:
    """The records of the requested runs, and the folders found with them that hold no run."""

    records: tuple[Record, ...]
    moved_aside: tuple[Path, ...] = ()  # folders of former runs
    not_started: tuple[Path, ...] = ()  # folders that train -m has not created yet


def load_records(runs: str | Path | Sequence[str | Path], key: str = "runs") -> RunCollection:
    """Load the records of every run of a glob, a folder or a list of them; `key` is the name of this setting.

    Raises Mistake if one of them matches no run, and for a config or a summary that cannot be read.
    """
    patterns = [str(pattern) for pattern in runs] if isinstance(runs, list | tuple) else [str(runs)]
    if not patterns:
        raise Mistake(f"no runs were given: {key}='outputs/*', a folder, or a list of them")
    folders = list(dict.fromkeys(folder for pattern in patterns for folder in _find_runs(pattern, key)))
    cache = ConfigCache()
    records = tuple(_load_record(folder, cache) for folder in folders)
    planned = (
        name for pattern in patterns for path in _matching_paths(pattern) for name in layout.find_planned_names(path)
    )
    names = list(dict.fromkeys([*(folder.parent for folder in folders), *planned]))
    moved_aside = tuple(path for name in names for path in layout.find_moved_aside(name))
    return RunCollection(
        records, moved_aside, tuple(path for name in names for path in layout.find_unstarted_runs(name))
    )


def load_record(folder: str | Path) -> Record:
    """Load the record of one run folder, which may have been moved aside. Raises Mistake if it holds no run."""
    if not (Path(folder) / "config.yaml").exists():
        raise Mistake(f"{folder} is not a run folder: it holds no config.yaml")
    return _load_record(Path(folder), ConfigCache())


def _matching_paths(pattern: str) -> list[Path]:
    """Return the path itself if it exists, so that a name may hold brackets, else what the glob matches."""
    literal = Path(pattern).expanduser()
    return [literal] if literal.exists() else [Path(p) for p in sorted(glob(str(literal), recursive=True))]


def _find_runs(pattern: str, key: str) -> list[Path]:
    """Return the run folders that match a pattern; those of one name by seed."""
    matches = _matching_paths(pattern)
    folders = [folder for path in matches for folder in layout.find_runs(path)]
    if not folders:
        result = f"{len(matches)} matched, and none holds a run" if matches else "nothing is there"
        raise Mistake(f"no run in {key}={pattern}: looked for <name>/seed<k>/config.yaml, and {result}")
    return folders


class ConfigCache:
    """Parses the configs of runs; those of a sweep differ in few keys, and the others are parsed once."""

    def __init__(self) -> None:
        self._configs: dict[str, Config] = {}
        self._blocks: dict[str, Any] = {}  # a top-level key with its value

    def parse(self, text: str, folder: Path) -> Config:
        """Parse the text of a config without its seed. Raises Mistake if it cannot be read."""
        if text not in self._configs:
            config = self._parse_blocks(text)
            config = _parse_yaml(text, folder) if config is None else config
            rename_keys(config)
            self._configs[text] = Config(config, dict(dotted_items(training_keys(config))))
        return self._configs[text]

    def _parse_blocks(self, text: str) -> dict[str, Any] | None:
        """Return the keys of the text, parsed one by one; None if it is not a sequence of top-level keys."""
        config: dict[str, Any] = {}
        for block in TOP_LEVEL_KEY.split(text):
            if block not in self._blocks:
                try:
                    self._blocks[block] = _load_yaml(block)
                except yaml.YAMLError:  # such as an alias of another block
                    return None
            values = self._blocks[block]
            if not isinstance(values, dict) and block.strip():
                return None
            config |= values or {}
        return config or None


def _load_record(folder: Path, cache: ConfigCache) -> Record:
    text = Run(folder).config.read_text(encoding="utf-8")
    match = SEED.search(text)
    config = cache.parse(SEED.sub("", text, count=1), folder)
    summary = load_json(folder / "summary.json")
    seed = int(match[1]) if match else layout.folder_seed(folder)
    status = str(summary.get("status") or NO_SUMMARY)
    if status == "running":  # a run whose lock is free was killed
        status = RUNNING if Run(folder).in_use else KILLED
    return Record(folder, seed, config, summary, status)


def _load_yaml(text: str) -> Any:
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the C loader is ten times as fast


def _parse_yaml(text: str, folder: Path) -> dict[str, Any]:
    try:
        config = _load_yaml(text)
    except yaml.YAMLError as error:
        raise Mistake(f"{folder}/config.yaml cannot be read ({first_line(error)}); leave this run out") from None
    if not isinstance(config, dict):
        raise Mistake(f"{folder}/config.yaml holds no keys; leave this run out")
    return config
