"""Ends a run after the current round when a signal asks for it, or when the process that started it has exited."""

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

DUPLICATE_SIGNAL_WINDOW = 2.0  # seconds; torchrun and launcher=local repeat a signal that a rank already has


class GracefulStop(pl.Callback):
    """A context manager in which an ending signal (`ending_signals`) ends the run after the current round.

    All ranks end in the same round, no matter which of them received the signal. Outside training (while an extractor
    is trained, for example), and at a second signal, Stopped is raised at once, except while `is_writing_record` is
    set: while the run folder is created, and while the end of the run is recorded.
    """

    def __init__(self, supervisor_pid: int | None = None) -> None:
        """`supervisor_pid`: of the process that started this rank; when it exits, act as on SIGTERM."""
        self.supervisor_pid = supervisor_pid
        self.state: RunState | None = None  # of the run, once it exists
        self.received_signal = 0  # by this rank; 0: none
        self.agreed_signal = 0  # received by any rank and known to all; 0: none
        self.is_training = self.is_writing_record = False
        self._received_at = 0.0  # by `time.monotonic`
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        self._install_handlers()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._install_handlers()  # Lightning has replaced them with its own
        self.is_training = True

    def after_round(self, trainer: pl.Trainer, game: Game) -> None:
        """Stop the run after this round if a rank has received a signal."""
        if not self.received_signal and self.supervisor_pid not in (None, os.getppid()):
            self.received_signal = signal.SIGTERM
        self._agree_on_signal()
        if self.agreed_signal:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        self._agree_on_signal()  # a signal may arrive while callbacks process the last round

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        self.is_training = False

    def _agree_on_signal(self) -> None:
        """Store a signal that any rank has received, on all ranks and in the state of the run."""
        self.agreed_signal = ranks.max(self.agreed_signal or self.received_signal)
        if self.state is not None:
            self.state.stop_signal = self.agreed_signal

    def _install_handlers(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows signal handlers in the main thread only
        for number in self._previous_handlers or ending_signals():
            previous = signal.signal(number, self._on_signal)
            self._previous_handlers.setdefault(number, previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now, is_second = time.monotonic(), bool(self.received_signal)
        if is_second and now - self._received_at < DUPLICATE_SIGNAL_WINDOW:
            return
        self.received_signal, self._received_at = number, now
        if not self.is_writing_record and (is_second or not self.is_training):
            raise Stopped(number)
