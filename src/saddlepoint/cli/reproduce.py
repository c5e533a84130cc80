"""saddlepoint reproduce: trains the runs that a baseline lists, and says whether its published figure is met.

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
    """0 where the baseline is met, 1 where it is not, 2 where the runs cannot tell, or may not."""
    console, own = Console(stderr=True), catalogue.resolve_config_dir(config_dir)
    if config.baseline is None:
        there = ", ".join(catalogue.option_names("baseline", own))
        raise Mistake(f"which baseline? baseline=<name>; there are: {there}")
    asked = baseline.load_baseline(config.baseline, config.tier, own)
    found = reproduce(asked, rest, config, config_dir, console, line_printer(console))
    each = [f"{one.verdict:<9} {one.headline.name}: {one.reason}" for one in found.headline_verdicts]
    current_output()([*each, *found.remarks, f"{found.verdict}: {found.file}"], {**found.content, "file": found.file})
    return EXITS[found.verdict] if found.certified else 2
