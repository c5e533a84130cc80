"""Run folders as they stand on disk: which there are, what each was asked to do, how it ended.

Which folders are runs: `run/layout.py`.  Nothing is composed and no interpolation resolved: what two configs say is
compared as it is written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.config.training_keys import dotted_items, training_keys
from saddlepoint.error import Mistake, first_line
from saddlepoint.run import layout
from saddlepoint.run.folder import Run, read_json

RUNNING, KILLED, NO_SUMMARY = "running", "killed", "without a summary"  # beside what summary.json itself says of an end
SEED = re.compile(r"^seed: (-?\d+)$", re.MULTILINE)
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """A run's config, plain, its seed left out; runs of one arm share it."""

    full: Mapping[str, Any]
    training_values: Mapping[str, Any]  # by dotted key, what decides the training

    @property
    def choices(self) -> Mapping[str, Any]:
        return self.full.get("choice") or {}


@dataclass(frozen=True)
class Record:
    """One run folder as read."""

    folder: Path
    seed: int
    config: Config
    summary: Mapping[str, Any]
    status: str  # finished, diverged, failed, interrupted, or RUNNING, KILLED, SILENT

    @property
    def is_imported(self) -> bool:
        """Whether it was trained elsewhere and only measured here."""
        return "imported" in self.config.full

    @property
    def goal(self) -> int | None:
        """The images that it was to see; None of an import."""
        return self.config.full.get("images")

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """What `saddlepoint evaluate` has measured of it since, in order."""
        return Run(self.folder).events("evaluations.jsonl")[0]

    @cached_property
    def final_scores(self) -> dict[str, Mapping[str, Any]]:
        """Score and contract by key: as measured at its end, and beside them what was measured of its end since."""
        own = self.summary.get("final") or {}
        since = [row["scores"] for row in self.evaluations if row.get("at") == "last" and "scores" in row]
        return {**{key: score for scores in since for key, score in scores.items()}, **own}

    @cached_property
    def journal(self) -> tuple[Sequence[Event], int]:
        """The events of metrics.jsonl, and how many of its lines are broken."""
        rows, broken = Run(self.folder).events()
        kept = [row for row in rows if isinstance(row.get("images"), int)]
        return kept, broken + len(rows) - len(kept)

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        return read_json(self.folder / "provenance.json")


@dataclass(frozen=True)
class RunCollection:
    """The runs that were asked for, by folder; and what lay beside them."""

    records: tuple[Record, ...]
    aside: tuple[Path, ...] = ()  # folders of former runs
    never_begun: tuple[Path, ...] = ()  # folders that train -m meant to make


def read_runs(runs: str | Path | Sequence[str | Path]) -> RunCollection:
    """Every run of a glob, a folder or a list of them.

    Raises Mistake where one of them matches no run, and for a config or a summary that cannot be read.
    """
    wanted = list(runs) if isinstance(runs, list | tuple) else [runs]
    if not wanted:
        raise Mistake("runs of where? runs='outputs/*', a folder, or a list of them")
    places = list(dict.fromkeys(place for pattern in wanted for place in _places(str(pattern))))
    remembered: dict[str, Config] = {}
    records = tuple(_record(place, remembered) for place in places)
    intended = (
        name for pattern in wanted for path in _matched(str(pattern)) for name in layout.find_planned_names(path)
    )
    names = list(dict.fromkeys([*(place.parent for place in places), *intended]))
    aside = tuple(path for name in names for path in layout.find_moved_aside(name))
    return RunCollection(records, aside, tuple(path for name in names for path in layout.find_unstarted_runs(name)))


def read_run(folder: str | Path) -> Record:
    """The run of one folder, also of one that was moved aside.  Raises Mistake where it is no run."""
    if not (Path(folder) / "config.yaml").exists():
        raise Mistake(f"{folder} is no run folder: it holds no config.yaml")
    return _record(Path(folder), {})


def _matched(pattern: str) -> list[Path]:
    """What a pattern matches: itself where that is there, so that a name may hold brackets."""
    literal = Path(pattern).expanduser()
    return [literal] if literal.exists() else [Path(p) for p in sorted(glob(str(literal), recursive=True))]


def _places(pattern: str) -> list[Path]:
    """The run folders that one pattern names, those of a name by seed."""
    matched = _matched(pattern)
    found = [run for path in matched for run in layout.find_runs(path)]
    if not found:
        there = f"{len(matched)} matched, and none holds a run" if matched else "nothing is there"
        raise Mistake(f"no run in runs={pattern}: looked for <name>/seed<k>/config.yaml, and {there}")
    return found


def _record(folder: Path, remembered: dict[str, Config]) -> Record:
    text = Run(folder).config.read_text(encoding="utf-8")
    match = SEED.search(text)
    rest = SEED.sub("", text, count=1)
    if rest not in remembered:
        remembered[rest] = _config(rest, folder)
    summary = read_json(folder / "summary.json")
    seed = int(match[1]) if match else layout.folder_seed(folder)
    status = str(summary.get("status") or NO_SUMMARY)
    if status == "running":  # one that says so and that nobody holds was killed
        status = RUNNING if Run(folder).in_use else KILLED
    return Record(folder, seed, remembered[rest], summary, status)


def _config(text: str, folder: Path) -> Config:
    try:
        whole = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the C one is ten times as fast
    except yaml.YAMLError as error:
        raise Mistake(f"{folder}/config.yaml cannot be read ({first_line(error)}); leave this run out") from None
    if not isinstance(whole, dict):
        raise Mistake(f"{folder}/config.yaml is no config; leave this run out")
    return Config(whole, dict(dotted_items(training_keys(whole))))
