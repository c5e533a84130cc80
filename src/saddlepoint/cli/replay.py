"""saddlepoint replay: repeat a turn that gave nan or inf from its dump, and find the module where it began."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from saddlepoint.callback import dump
from saddlepoint.console.output import print_parts
from saddlepoint.console.terminal import line_printer
from saddlepoint.experiment.replay import ReplayResult, caveats, largest_magnitude, replay_turn
from saddlepoint.experiment.run_config import assume_checked, load_run_config
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Replay a dump. Return 0 if the result is the same, bit for bit. `rest` overrides the run's config."""
    log = line_printer(Console(stderr=True))
    path = Path(config.dump)
    content = dump.load_dump(path)
    run = Run(config.run or path.absolute().parent.parent)
    run_config = assume_checked(load_run_config(run, rest, log, config_dir))
    for line in caveats(run_config, content):
        log(line)
    result = replay_turn(run_config, content)
    print_parts(_result_tables(result, content), Console())
    return 1 if result.mismatches else 0


def _result_tables(result: ReplayResult, content: Mapping[str, Any]) -> Iterator[str | Table]:
    players = " and ".join(content["players"])
    yield f"{content['what']}: the turn of {players}, round {content['rounds'] + 1}"
    table = Table(*(Column(head, no_wrap=True) for head in ("", "then", "again")), box=None)
    for name, before in content["seen"].items():
        for key, value in before["terms"].items():
            again = result.turn_values[name]["terms"].get(key)
            table.add_row(f"{name}/{key}", f"{value.item():.6g}", "not due" if again is None else f"{again.item():.6g}")
        for side, value in before["logits"].items():
            again = result.turn_values[name]["logits"].get(side)
            table.add_row(
                f"{name}: |logit| of {side}",
                _format_magnitude(value),
                "" if again is None else _format_magnitude(again),
            )
    yield table
    bad, total = result.gradient_counts
    lines = {
        "first module with a non-finite output": result.first_bad_module
        or "none: it began in the arithmetic of a term or its slope",
        "first non-finite gradient of the backward pass": result.first_bad_parameter or "none",
        "non-finite gradients": f"{bad} of {total}; the largest other magnitude is {result.largest_gradient:.3g}",
        "weights that were non-finite before": ", ".join(result.nonfinite_weights[:3]) or "none",
        "same result, bit for bit": "yes" if not result.mismatches else f"no: {', '.join(result.mismatches)} differ",
    }
    yield from (f"{what}: {line}" for what, line in lines.items())


def _format_magnitude(x: Tensor) -> str:
    """Format the largest magnitude in x, and the number of its non-finite elements."""
    bad = int((~torch.isfinite(x)).sum())
    return (
        "no number"
        if bad == x.numel()
        else f"{largest_magnitude(x):.6g}" + (f", {bad} of {x.numel()} none" if bad else "")
    )
