"""saddlepoint evaluate: measures a run again, or anybody's samples, by a protocol that is written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unread
from saddlepoint.console.output import plain, result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.evaluation.table import details, measured, over_the_run, what_moved
from saddlepoint.experiment.against import Compared
from saddlepoint.experiment.against import against as compare
from saddlepoint.experiment.evaluate import Care, Scores
from saddlepoint.experiment.evaluate import evaluate as measure
from saddlepoint.run.folder import Run, write


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("evaluate", rest, samples=config.samples is not None)
    for key, usual in Care()._asdict().items():
        if config[key] != usual and not config.uncertainty:
            raise Mistake(f"{key}={config[key]}: uncertainty=true reads it; add that, or leave {key} out")
    to = None if config.to == "-" else config.to
    if config.against is not None:
        if config.run is None or config.samples is not None:
            raise Mistake("against=... compares two runs: say run=<one> against=<the other>")
        if to is not None or config.uncertainty or config.reference is not None or config.at == "all":
            raise Mistake(
                "against=... prints what moved a score at one moment: leave out to, uncertainty and reference"
            )
        against(config.run, config.against, rest, config_dir, None, config.at)
        return 0
    care = Care(config.generations, config.groups) if config.uncertainty else None
    evaluate(config.run, config.at, rest, config_dir, None, config.samples, care, config.reference, to)
    return 0


def evaluate(
    run: str | Path | None = None,
    at: str | int = "last",
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    console: Console | None = None,
    samples: str | Path | None = None,
    care: Care | None = None,
    reference: str | Path | None = None,
    to: str | Path | None = None,
) -> dict[str, Scores]:
    """The scores of a run or of samples (`experiment.evaluate`), printed with their contracts; by images, or by set.

    Notes go to stderr and the result to stdout, or both to `console`; `to` is a .json for the scores, their contracts
    and errors.
    """
    output = result(console)
    console = console or Console(stderr=True)
    source = None if run is None else Run(run)
    at_hand = overrides, config_dir, speaker(console), Meter(console)
    title, found, anchors = measure(source, samples, at, *at_hand, care, reference, to)
    every = {whose: own.scores for whose, own in found.items()}
    content = {whose: own.to_dict() for whose, own in found.items()}
    if to is not None:
        write(Path(to), json.dumps(plain(content), indent=2) + "\n")
    if at == "all":
        parts = over_the_run(title, every, anchors, output.width)
    else:
        ((scores, spread),) = found.values()
        parts = [*measured(title, scores, anchors, spread, output.width), *details(scores)]
    output(parts, content)
    return every


def against(
    run: str | Path,
    other: str | Path,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    console: Console | None = None,
    at: str | int = "last",
) -> Compared:
    """What moved the scores of two runs (`experiment.against`), printed."""
    output = result(console)
    console = console or Console(stderr=True)
    found = compare(Run(run), Run(other), overrides, config_dir, speaker(console), Meter(console), at)
    heading = f"a: {run}\nb: {other}\n{found.verdict}"
    output(
        [heading, *what_moved(found.steps, found.difference, output.width)],
        {
            "a": run,
            "b": other,
            "verdict": found.verdict,
            "steps": [{"measured": told, "scores": scores} for told, scores in found.steps],
            "difference": found.difference,
        },
    )
    return found
