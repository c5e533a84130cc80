"""saddlepoint evaluate: measures a run again, or anybody's samples, by a protocol that is written down."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.console.output import Output, current_output, to_json_value
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import Mistake
from saddlepoint.evaluation.score_table import detail_tables, protocol_step_tables, score_tables, snapshot_tables
from saddlepoint.experiment.evaluate import EvaluationResult, UncertaintySettings, evaluate
from saddlepoint.experiment.score_difference import ScoreDifference, explain_score_difference
from saddlepoint.run.folder import Run, write_file


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unused_override.check_overrides_used("evaluate", rest, samples=config.samples is not None)
    for key, usual in UncertaintySettings()._asdict().items():
        if config[key] != usual and not config.uncertainty:
            raise Mistake(f"{key}={config[key]}: uncertainty=true reads it; add that, or leave {key} out")
    to = None if config.to == "-" else config.to
    run = None if config.run is None else Run(config.run)
    console = Console(stderr=True)
    at_hand = rest, config_dir, line_printer(console), ProgressMeter(console)
    if config.against is not None:
        if run is None or config.samples is not None:
            raise Mistake("against=... compares two runs: say run=<one> against=<the other>")
        if to is not None or config.uncertainty or config.reference is not None or config.at == "all":
            raise Mistake(
                "against=... prints what moved a score at one moment: leave out to, uncertainty and reference"
            )
        print_difference(explain_score_difference(run, Run(config.against), *at_hand, config.at), current_output())
        return 0
    care = UncertaintySettings(config.generations, config.groups) if config.uncertainty else None
    print_scores(evaluate(run, config.samples, config.at, *at_hand, care, config.reference, to), current_output(), to)
    return 0


def print_scores(evaluated: EvaluationResult, output: Output, to: str | None = None) -> None:
    """The scores with their contracts and anchors; `to` is a .json for them, their contracts and errors."""
    title, found, anchors, over_time = evaluated
    content = {whose: own.to_dict() for whose, own in found.items()}
    if to is not None:
        write_file(Path(to), json.dumps(to_json_value(content), indent=2) + "\n")
    if over_time:
        parts = snapshot_tables(title, {images: own.scores for images, own in found.items()}, anchors, output.width)
    else:
        ((scores, spread),) = found.values()
        parts = [*score_tables(title, scores, anchors, spread, output.width), *detail_tables(scores)]
    output(parts, content)


def print_difference(compared: ScoreDifference, output: Output) -> None:
    """Every measurement of two runs, and what moved their scores."""
    run, other, verdict, steps, difference = compared
    heading = f"a: {run}\nb: {other}\n{verdict}"
    said = [{"measured": told, "scores": scores} for told, scores in steps]
    output(
        [heading, *protocol_step_tables(steps, difference, output.width)],
        {"a": run, "b": other, "verdict": verdict, "steps": said, "difference": difference},
    )
