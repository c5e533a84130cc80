"""saddlepoint reproduce: train the runs of a baseline, and test whether its published figure is met.

saddlepoint reproduce baseline=historical_averaging
saddlepoint reproduce baseline=salimans2016_mnist_100_labels tier=short data.root=...
"""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config import catalogue
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import line_printer
from saddlepoint.error import Mistake
from saddlepoint.reproduction import baseline
from saddlepoint.reproduction.reproduce import reproduce
from saddlepoint.reproduction.verdict import MET, NOT_MET, UNDECIDED

EXITS = {MET: 0, NOT_MET: 1, UNDECIDED: 2}


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Return 0 if the baseline is met, 1 if not, 2 if the runs are not conclusive or not certified."""
    console, user_conf = Console(stderr=True), catalogue.resolve_config_dir(config_dir)
    if config.baseline is None:
        names = ", ".join(catalogue.option_names("baseline", user_conf))
        raise Mistake(f"which baseline? baseline=<name>; there are: {names}")
    plan = baseline.load_baseline(config.baseline, config.tier, user_conf)
    result = reproduce(plan, rest, config, config_dir, console, line_printer(console))
    lines = [f"{verdict.verdict:<9} {verdict.headline.name}: {verdict.reason}" for verdict in result.headline_verdicts]
    current_output().print_result(
        [*lines, *result.remarks, f"{result.verdict}: {result.file}"], {**result.content, "file": result.file}
    )
    return EXITS[result.verdict] if result.certified else 2
