"""Told to end: once is to end the round, twice is at once, and the echo of a word is no second one."""

import signal

import pytest

from saddlepoint.callback import halt
from saddlepoint.callback.halt import Halt, Halted


@pytest.fixture
def at(monkeypatch):
    """Hear SIGTERM at this many seconds, in the middle of a round."""
    playing = Halt()
    playing.playing = True

    def hear(seconds):
        monkeypatch.setattr(halt.time, "monotonic", lambda: 1000.0 + seconds)
        playing._hear(signal.SIGTERM, None)
        return playing.told

    return hear


def test_the_first_word_waits_for_the_end_of_the_round_and_a_later_second_one_does_not(at):
    assert at(0.0) == signal.SIGTERM
    with pytest.raises(Halted):
        at(halt.ECHO + 1)


def test_what_a_scheduler_tells_a_rank_and_torchrun_hands_on_to_it_is_one_word(at):
    assert at(0.0) == at(0.1) == at(halt.ECHO - 0.1) == signal.SIGTERM


def test_whoever_is_told_outside_of_a_round_ends_at_once():
    with pytest.raises(Halted) as stop:
        Halt()._hear(signal.SIGINT, None)
    assert stop.value.exit == 130
