"""saddlepoint why: what differs between two runs, and the first event at which their curves diverge."""

from collections.abc import Sequence
from dataclasses import asdict

from omegaconf import DictConfig

from saddlepoint.comparison.arms.record import load_record
from saddlepoint.comparison.report.divergence import (
    describe_divergence,
    find_divergence,
    format_differences,
    run_differences,
)
from saddlepoint.console.output import current_output
from saddlepoint.error import Mistake


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Print the differences of two runs and where their curves diverge. Raises Mistake for a folder without a run."""
    if config.a is None or config.b is None:
        raise Mistake("which two runs? a=outputs/<one>/seed0 b=outputs/<other>/seed0")
    a, b = str(config.a), str(config.b)
    first_run, second_run = load_record(a), load_record(b)
    divergence, differences = find_divergence(first_run, second_run), run_differences(first_run, second_run)
    sentences = describe_divergence(first_run, second_run, divergence)
    content = {
        "a": a,
        "b": b,
        "differences": [
            {"of": of, "key": key, "a": value_a, "b": value_b} for of, key, value_a, value_b in differences
        ],
        "curves": {**asdict(divergence), "sentences": sentences},
    }
    current_output().print_result([f"a: {a}\nb: {b}\n", *format_differences(differences), "", *sentences], content)
    return 0
