"""saddlepoint replay: a turn that came to no number, played again from its dump, with an eye on each module."""

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
from saddlepoint.experiment.run_config import as_checked, load_run_config
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; 0 where the turn came out as it was, bit for bit.  `rest` overrides the run's own config."""
    say = line_printer(Console(stderr=True))
    path = Path(config.dump)
    content = dump.load_dump(path)
    run = Run(config.run or path.absolute().parent.parent)
    own = as_checked(load_run_config(run, rest, say, config_dir))
    for line in caveats(own, content):
        say(line)
    found = replay_turn(own, content)
    print_parts(_parts(found, content), Console())
    return 1 if found.mismatches else 0


def _parts(found: ReplayResult, content: Mapping[str, Any]) -> Iterator[str | Table]:
    who = " and ".join(content["players"])
    yield f"{content['what']}: the turn of {who}, round {content['rounds'] + 1}"
    table = Table(*(Column(head, no_wrap=True) for head in ("", "then", "again")), box=None)
    for name, then in content["seen"].items():
        for key, value in then["terms"].items():
            again = found.turn_values[name]["terms"].get(key)
            table.add_row(f"{name}/{key}", f"{value.item():.6g}", "not due" if again is None else f"{again.item():.6g}")
        for side, value in then["logits"].items():
            again = found.turn_values[name]["logits"].get(side)
            table.add_row(f"{name}: |logit| of {side}", _size(value), "" if again is None else _size(again))
    yield table
    bad, of = found.parameters
    lines = {
        "first module whose output is no number": found.module or "none: it is a term's own arithmetic, or its slope's",
        "first gradient on the way back that is none": found.parameter or "none",
        "gradients that are no numbers": f"{bad} of {of}; the largest of the others is {found.gradient:.3g} in size",
        "weights that were none already": ", ".join(found.weights[:3]) or "none",
        "as it was, bit for bit": "yes"
        if not found.mismatches
        else f"no: {', '.join(found.mismatches)} came out otherwise",
    }
    yield from (f"{what}: {line}" for what, line in lines.items())


def _size(x: Tensor) -> str:
    """The largest size in x, and how many of its elements are no numbers."""
    bad = int((~torch.isfinite(x)).sum())
    return (
        "no number"
        if bad == x.numel()
        else f"{largest_magnitude(x):.6g}" + (f", {bad} of {x.numel()} none" if bad else "")
    )
