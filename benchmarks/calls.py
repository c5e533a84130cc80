"""How many calls of our own code a round of the default game takes: python benchmarks/calls.py [overrides]

Counted by sys.setprofile between rounds 100 and 200 of a training with all the default callbacks, whose periods lie
beyond, so that what is counted is what every round pays.  Calls, not seconds: the same on every machine.
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
COMPREHENSIONS = (
    "<listcomp>",
    "<dictcomp>",
    "<setcomp>",
    "<genexpr>",
)  # calls until Python 3.11, and none from 3.12 on
HERE = str(Path(saddlepoint.__file__).parent)


class Count(pl.Callback):
    """Counts calls of functions that this package defines, from round FIRST to LAST."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        comprehension = code.co_name in COMPREHENSIONS
        if event == "call" and code.co_filename.startswith(HERE) and not comprehension:
            self.calls[f"{Path(code.co_filename).relative_to(HERE)}:{code.co_qualname}"] += 1

    def on_train_batch_start(self, trainer: pl.Trainer, game: Any, batch: Any, batch_idx: int) -> None:
        if game.rounds == FIRST:
            sys.setprofile(self._note)
        elif game.rounds == LAST:
            sys.setprofile(None)


def main(overrides: list[str]) -> None:
    count, made = Count(), command.build_trainer
    command.build_trainer = lambda config, callbacks: made(config, [*callbacks, count])
    periods = [
        f"callback.{name}.images_between=1_000_000"
        for name in ("health", "evaluation", "grid", "snapshot", "journal", "checkpoint", "finite")
    ]
    with tempfile.TemporaryDirectory() as folder:
        words = [*periods, "images=20_000", "metric=[]", "logger=none", f"outputs={folder}", *overrides]
        saddlepoint.train(saddlepoint.compose(words))
    rounds = LAST - FIRST
    for name, calls in count.calls.most_common():
        print(f"{calls / rounds:8.2f}  {name}")
    print(f"{sum(count.calls.values()) / rounds:8.2f}  calls of our own per round")


if __name__ == "__main__":
    main(sys.argv[1:])
