"""What `saddlepoint evaluate` does, called from a test: notes and the result go to one console."""

from rich.console import Console

from saddlepoint.cli.evaluate import print_difference, print_scores
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
    """The scores by images, or by set."""
    notes = console or Console(stderr=True)
    run = None if run is None else Run(run)
    at_hand = overrides, config_dir, line_printer(notes), ProgressMeter(notes)
    found = measuring.evaluate(run, samples, at, *at_hand, uncertainty_settings, reference, to)
    print_scores(found, current_output(console), to)
    return {whose: own.scores for whose, own in found.measurements.items()}


def against(run, other, overrides=(), console=None):
    """Each measurement and its scores by metric, in order."""
    notes = console or Console(stderr=True)
    found = comparing.explain_score_difference(
        Run(run), Run(other), overrides, None, line_printer(notes), ProgressMeter(notes)
    )
    print_difference(found, current_output(console))
    return found.steps
