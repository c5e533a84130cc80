"""`saddlepoint evaluate` called from a test: messages and the result go to one console."""

from rich.console import Console

from saddlepoint.cli.evaluate import print_and_write_scores, print_difference
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.experiment import evaluate as measuring
from saddlepoint.experiment import score_difference as comparing
from saddlepoint.run.folder import Run


def evaluate(
    run=None,
    at="last",
    overrides=(),
    config_dir=None,
    console=None,
    samples=None,
    uncertainty_settings=None,
    reference=None,
    to=None,
):
    """Return the scores by number of images, or by set."""
    notes = console or Console(stderr=True)
    run = None if run is None else Run(run)
    arguments = overrides, config_dir, line_printer(notes), ProgressMeter(notes)
    result = measuring.evaluate(run, samples, at, *arguments, uncertainty_settings, reference, to)
    print_and_write_scores(result, current_output(console), to)
    return {name: measurement.scores for name, measurement in result.measurements.items()}


def against(run, other, overrides=(), console=None):
    """Return each measurement and its scores by metric, in order."""
    notes = console or Console(stderr=True)
    result = comparing.explain_score_difference(
        Run(run), Run(other), overrides, None, line_printer(notes), ProgressMeter(notes)
    )
    print_difference(result, current_output(console))
    return result.steps
