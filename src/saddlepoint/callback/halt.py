"""Ends a run in good order when it is told to: by a scheduler, by a person, or by the end of whoever started it."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from saddlepoint import ranks
from saddlepoint.callback.period import RunState
from saddlepoint.error import Halted, ending_signals
from saddlepoint.game.game import Game

ECHO = 2.0  # seconds: torchrun, and we ourselves, hand on to a rank what a scheduler has told it too


class Halt(pl.Callback):
    """Enter it, and a signal that asks for the end (`ending_signals`) ends the run with the round being played.

    All ranks end in the same round, whichever of them was told.  While no round is played (a ruler is being trained,
    say), and at the second time, Halted is raised where the process stands; never while `recording` is set, which is
    for the moments in which the folder is begun, and its end written down.
    """

    def __init__(self, supervisor: int | None = None) -> None:
        """`supervisor`: the process that started this rank and watches it; its end is taken for a SIGTERM."""
        self.supervisor = supervisor
        self.state: RunState | None = None  # of the run, once there is one
        self.told = 0  # the signal that has reached this rank
        self.agreed = 0  # the one that has reached any, known to all
        self.playing = self.recording = False
        self._since = 0.0  # when it was told, on the clock of `time.monotonic`
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Halt:
        self._listen()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._listen()  # Lightning has put its own handlers in our place
        self.playing = True

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.told and self.supervisor not in (None, os.getppid()):
            self.told = signal.SIGTERM
        self.agreed = ranks.highest(self.told)
        if self.agreed:
            trainer.should_stop = True
        self._pause()

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        self.agreed = ranks.highest(self.agreed or self.told)  # told while the last round was looked at, or saved
        self._pause()

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        self.playing = False

    def _pause(self) -> None:
        if self.state is not None:
            self.state.paused = self.agreed

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # no other thread may
        for number in self._before or ending_signals():
            before = signal.signal(number, self._hear)
            self._before.setdefault(number, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now, again = time.monotonic(), bool(self.told)
        if again and now - self._since < ECHO:
            return
        self.told, self._since = number, now
        if not self.recording and (again or not self.playing):
            raise Halted(number)
