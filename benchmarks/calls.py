"""Number of calls of this package's functions per round of the default game: python benchmarks/calls.py [overrides]

Counted by sys.setprofile between rounds 100 and 200 of a training with all default callbacks. Their periods are longer,
so only the cost of every round is counted.  Calls, unlike seconds, are the same on every machine.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

import saddlepoint
from saddlepoint.experiment import fit as command

FIRST, LAST = 100, 200
COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")  # calls until Python 3.11, not from 3.12 on
PACKAGE = str(Path(saddlepoint.__file__).parent)


class CallCounter(pl.Callback):
    """Count calls of functions of this package from round FIRST to LAST."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        comprehension = code.co_name in COMPREHENSIONS
        if event == "call" and code.co_filename.startswith(PACKAGE) and not comprehension:
            self.calls[f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_qualname}"] += 1

    def after_round(self, trainer: pl.Trainer, game: Any) -> None:
        if game.rounds == FIRST:
            sys.setprofile(self._count)
        elif game.rounds == LAST:
            sys.setprofile(None)


def main(overrides: list[str]) -> None:
    counter, build_trainer = CallCounter(), command.build_trainer
    command.build_trainer = lambda config, callbacks: build_trainer(config, [*callbacks, counter])
    periods = [
        f"callback.{name}.images_between=1_000_000"
        for name in ("health", "evaluation", "grid", "snapshot", "journal", "checkpoint", "finite")
    ]
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*periods, "images=20_000", "metric=[]", "logger=none", f"outputs={folder}", *overrides]
        saddlepoint.train(saddlepoint.compose(overrides))
    rounds = LAST - FIRST
    for name, calls in counter.calls.most_common():
        print(f"{calls / rounds:8.2f}  {name}")
    print(f"{sum(counter.calls.values()) / rounds:8.2f}  calls of this package per round")


if __name__ == "__main__":
    main(sys.argv[1:])
