"""Ending signals: the first ends the run after the round, a second ends it at once, and an echo is ignored."""

import os
import signal
from types import SimpleNamespace

import pytest

from saddlepoint.callback import graceful_stop
from saddlepoint.callback.graceful_stop import GracefulStop, Stopped
from saddlepoint.error import SUPERVISOR
from saddlepoint.experiment.fit import _supervisor_pid


@pytest.fixture
def sigterm_at(monkeypatch):
    """Receive SIGTERM at this many seconds, in the middle of a round."""
    callback = GracefulStop()
    callback.is_training = True

    def receive(seconds):
        monkeypatch.setattr(graceful_stop.time, "monotonic", lambda: 1000.0 + seconds)
        callback._on_signal(signal.SIGTERM, None)
        return callback.received_signal

    return receive


def test_the_first_signal_waits_for_the_end_of_the_round_and_a_later_second_one_does_not(sigterm_at):
    assert sigterm_at(0.0) == signal.SIGTERM
    with pytest.raises(Stopped):
        sigterm_at(graceful_stop.DUPLICATE_SIGNAL_WINDOW + 1)


def test_a_signal_that_torchrun_forwards_again_counts_once(sigterm_at):
    assert (
        sigterm_at(0.0) == sigterm_at(0.1) == sigterm_at(graceful_stop.DUPLICATE_SIGNAL_WINDOW - 0.1) == signal.SIGTERM
    )


def test_a_signal_outside_training_raises_at_once():
    with pytest.raises(Stopped) as error:
        GracefulStop()._on_signal(signal.SIGINT, None)
    assert error.value.exit == 130


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
    callback = GracefulStop(os.getppid())
    callback.after_round(trainer, None)
    assert (callback.agreed_signal, trainer.should_stop) == (0, False)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    callback.after_round(trainer, None)
    assert (callback.agreed_signal, trainer.should_stop) == (signal.SIGTERM, True)
