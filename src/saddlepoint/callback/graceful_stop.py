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
from saddlepoint.callback.periodic import RunState
from saddlepoint.error import Stopped, ending_signals
from saddlepoint.game.game import Game

ECHO = 2.0  # seconds: torchrun, and we ourselves, hand on to a rank what a scheduler has told it too


class GracefulStop(pl.Callback):
    """Enter it, and a signal that asks for the end (`ending_signals`) ends the run with the round being played.

    All ranks end in the same round, whichever of them was told.  While no round is played (a ruler is being trained,
    say), and at the second time, Halted is raised where the process stands; never while `recording` is set, which is
    for the moments in which the folder is begun, and its end written down.
    """

    def __init__(self, supervisor: int | None = None) -> None:
        """`supervisor`: the process that started this rank and watches it; its end is taken for a SIGTERM."""
        self.supervisor = supervisor
        self.state: RunState | None = None  # of the run, once there is one
        self.received_signal = 0  # the signal that has reached this rank
        self.agreed_signal = 0  # the one that has reached any, known to all
        self.is_playing = self.is_writing_record = False
        self._since = 0.0  # when it was told, on the clock of `time.monotonic`
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        self._listen()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._listen()  # Lightning has put its own handlers in our place
        self.is_playing = True

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.received_signal and self.supervisor not in (None, os.getppid()):
            self.received_signal = signal.SIGTERM
        self.agreed_signal = ranks.max(self.received_signal)
        if self.agreed_signal:
            trainer.should_stop = True
        self._pause()

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        self.agreed_signal = ranks.max(
            self.agreed_signal or self.received_signal
        )  # told while the last round was looked at, or saved
        self._pause()

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        self.is_playing = False

    def _pause(self) -> None:
        if self.state is not None:
            self.state.stop_signal = self.agreed_signal

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # no other thread may
        for number in self._before or ending_signals():
            before = signal.signal(number, self._hear)
            self._before.setdefault(number, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now, again = time.monotonic(), bool(self.received_signal)
        if again and now - self._since < ECHO:
            return
        self.received_signal, self._since = number, now
        if not self.is_writing_record and (again or not self.is_playing):
            raise Stopped(number)
