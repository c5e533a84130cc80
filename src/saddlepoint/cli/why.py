"""saddlepoint why: what differs between two runs, beside the first event at which their curves part."""

from collections.abc import Sequence
from dataclasses import asdict

from omegaconf import DictConfig

from saddlepoint.comparison.arms.reading import one
from saddlepoint.comparison.report.divergence import differences, divergence, lines, sentences
from saddlepoint.console.output import result
from saddlepoint.error import Mistake


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Where the curves of two runs part, printed below all that differs between them.  Raises Mistake for no run."""
    if config.a is None or config.b is None:
        raise Mistake("why of which two runs? a=outputs/<one>/seed0 b=outputs/<other>/seed0")
    a, b = str(config.a), str(config.b)
    ours, theirs = one(a), one(b)
    found, differing = divergence(ours, theirs), differences(ours, theirs)
    where = sentences(ours, theirs, found)
    content = {
        "a": a,
        "b": b,
        "differences": [{"of": of, "key": key, "a": own, "b": other} for of, key, own, other in differing],
        "curves": {**asdict(found), "sentences": where},
    }
    result()([f"a: {a}\nb: {b}\n", *lines(differing), "", *where], content)
    return 0
