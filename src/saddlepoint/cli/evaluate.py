"""saddlepoint evaluate: measures a run again, or anybody's samples, by a protocol that is written down."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unread
from saddlepoint.console.output import Output, plain, result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.evaluation.table import details, measured, over_the_run, what_moved
from saddlepoint.experiment.against import Compared, against
from saddlepoint.experiment.evaluate import Care, Evaluated, evaluate
from saddlepoint.run.folder import Run, write


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("evaluate", rest, samples=config.samples is not None)
    for key, usual in Care()._asdict().items():
        if config[key] != usual and not config.uncertainty:
            raise Mistake(f"{key}={config[key]}: uncertainty=true reads it; add that, or leave {key} out")
    to = None if config.to == "-" else config.to
    run = None if config.run is None else Run(config.run)
    console = Console(stderr=True)
    at_hand = rest, config_dir, speaker(console), Meter(console)
    if config.against is not None:
        if run is None or config.samples is not None:
            raise Mistake("against=... compares two runs: say run=<one> against=<the other>")
        if to is not None or config.uncertainty or config.reference is not None or config.at == "all":
            raise Mistake(
                "against=... prints what moved a score at one moment: leave out to, uncertainty and reference"
            )
        print_difference(against(run, Run(config.against), *at_hand, config.at), result())
        return 0
    care = Care(config.generations, config.groups) if config.uncertainty else None
    print_scores(evaluate(run, config.samples, config.at, *at_hand, care, config.reference, to), result(), to)
    return 0


def print_scores(evaluated: Evaluated, output: Output, to: str | None = None) -> None:
    """The scores with their contracts and anchors; `to` is a .json for them, their contracts and errors."""
    title, found, anchors, over_time = evaluated
    content = {whose: own.to_dict() for whose, own in found.items()}
    if to is not None:
        write(Path(to), json.dumps(plain(content), indent=2) + "\n")
    if over_time:
        parts = over_the_run(title, {images: own.scores for images, own in found.items()}, anchors, output.width)
    else:
        ((scores, spread),) = found.values()
        parts = [*measured(title, scores, anchors, spread, output.width), *details(scores)]
    output(parts, content)


def print_difference(compared: Compared, output: Output) -> None:
    """Every measurement of two runs, and what moved their scores."""
    run, other, verdict, steps, difference = compared
    heading = f"a: {run}\nb: {other}\n{verdict}"
    said = [{"measured": told, "scores": scores} for told, scores in steps]
    output(
        [heading, *what_moved(steps, difference, output.width)],
        {"a": run, "b": other, "verdict": verdict, "steps": said, "difference": difference},
    )
