"""Told to end: once is to end the round, twice is at once, and the echo of a word is no second one."""

import os
import signal
from types import SimpleNamespace

import pytest

from saddlepoint.callback import graceful_stop
from saddlepoint.callback.graceful_stop import GracefulStop, Stopped
from saddlepoint.error import SUPERVISOR
from saddlepoint.experiment.fit import _supervisor_pid


@pytest.fixture
def at(monkeypatch):
    """Hear SIGTERM at this many seconds, in the middle of a round."""
    playing = GracefulStop()
    playing.is_playing = True

    def hear(seconds):
        monkeypatch.setattr(graceful_stop.time, "monotonic", lambda: 1000.0 + seconds)
        playing._on_signal(signal.SIGTERM, None)
        return playing.received_signal

    return hear


def test_the_first_signal_waits_for_the_end_of_the_round_and_a_later_second_one_does_not(at):
    assert at(0.0) == signal.SIGTERM
    with pytest.raises(Stopped):
        at(graceful_stop.ECHO + 1)


def test_a_signal_that_torchrun_forwards_again_counts_once(at):
    assert at(0.0) == at(0.1) == at(graceful_stop.ECHO - 0.1) == signal.SIGTERM


def test_a_signal_outside_training_raises_at_once():
    with pytest.raises(Stopped) as stop:
        GracefulStop()._on_signal(signal.SIGINT, None)
    assert stop.value.exit == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)])
def test_the_exit_code_follows_from_the_signal(number, code):
    assert Stopped(number).exit == code


def test_the_supervisor_of_a_rank_is_torchrun_or_our_launcher(monkeypatch):
    monkeypatch.delenv(SUPERVISOR, raising=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert _supervisor_pid() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert _supervisor_pid() == os.getppid()
    monkeypatch.setenv(SUPERVISOR, "12")
    assert _supervisor_pid() == 12


def test_a_rank_without_its_supervisor_stops_as_on_sigterm(monkeypatch):
    trainer = SimpleNamespace(should_stop=False)
    watching = GracefulStop(os.getppid())
    watching.on_train_batch_end(trainer, None, None, None, 0)
    assert (watching.agreed_signal, trainer.should_stop) == (0, False)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    watching.on_train_batch_end(trainer, None, None, None, 0)
    assert (watching.agreed_signal, trainer.should_stop) == (signal.SIGTERM, True)
