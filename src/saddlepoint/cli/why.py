"""saddlepoint why: what differs between two runs, beside the first event at which their curves part."""

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
    """Where the curves of two runs part, printed below all that differs between them.  Raises Mistake for no run."""
    if config.a is None or config.b is None:
        raise Mistake("why of which two runs? a=outputs/<one>/seed0 b=outputs/<other>/seed0")
    a, b = str(config.a), str(config.b)
    ours, theirs = load_record(a), load_record(b)
    found, differing = find_divergence(ours, theirs), run_differences(ours, theirs)
    where = describe_divergence(ours, theirs, found)
    content = {
        "a": a,
        "b": b,
        "differences": [{"of": of, "key": key, "a": own, "b": other} for of, key, own, other in differing],
        "curves": {**asdict(found), "sentences": where},
    }
    current_output()([f"a: {a}\nb: {b}\n", *format_differences(differing), "", *where], content)
    return 0
