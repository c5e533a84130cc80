"""saddlepoint evaluate: measure a run again, or stored samples, by a written protocol."""

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
    """Run `saddlepoint evaluate`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("evaluate", rest, samples=config.samples is not None)
    for key, default in UncertaintySettings()._asdict().items():
        if config[key] != default and not config.uncertainty:
            raise Mistake(f"{key}={config[key]}: only uncertainty=true uses it; add that, or leave out {key}")
    to = None if config.to == "-" else config.to
    run = None if config.run is None else Run(config.run)
    console = Console(stderr=True)
    context = rest, config_dir, line_printer(console), ProgressMeter(console)
    if config.against is not None:
        if run is None or config.samples is not None:
            raise Mistake("against=... compares two runs: set run=<one> against=<the other>")
        if to is not None or config.uncertainty or config.reference is not None or config.at == "all":
            raise Mistake(
                "against=... explains the difference at one checkpoint: leave out to, uncertainty, reference and at=all"
            )
        print_difference(explain_score_difference(run, Run(config.against), *context, config.at), current_output())
        return 0
    uncertainty = UncertaintySettings(config.generations, config.groups) if config.uncertainty else None
    print_and_write_scores(
        evaluate(run, config.samples, config.at, *context, uncertainty, config.reference, to), current_output(), to
    )
    return 0


def print_and_write_scores(evaluated: EvaluationResult, output: Output, to: str | None = None) -> None:
    """Print scores with their contracts and anchors, and write them to the .json file `to`, with standard errors."""
    title, results, anchors, over_time = evaluated
    content = {name: result.to_dict() for name, result in results.items()}
    if to is not None:
        write_file(Path(to), json.dumps(to_json_value(content), indent=2) + "\n")
    if over_time:
        parts = snapshot_tables(
            title, {images: result.scores for images, result in results.items()}, anchors, output.width
        )
    else:
        ((scores, spread),) = results.values()
        parts = [*score_tables(title, scores, anchors, spread, output.width), *detail_tables(scores)]
    output.print_result(parts, content)


def print_difference(compared: ScoreDifference, output: Output) -> None:
    """Print every measurement of two runs, and the factors that change their scores."""
    run, other, verdict, steps, difference = compared
    heading = f"a: {run}\nb: {other}\n{verdict}"
    rows = [{"measured": measured, "scores": scores} for measured, scores in steps]
    output.print_result(
        [heading, *protocol_step_tables(steps, difference, output.width)],
        {"a": run, "b": other, "verdict": verdict, "steps": rows, "difference": difference},
    )
