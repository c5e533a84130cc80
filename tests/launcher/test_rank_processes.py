"""The ranks of one run: their environment, the message that is shown, and how they end."""

import sys
import textwrap

import pytest

from saddlepoint.launcher import rank_processes


def started(code, number=2):
    """Run `code`, which can use `rank`, as ranks; return the exit code and the messages."""
    printed = []
    words = "import os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + textwrap.dedent(code)
    return rank_processes.run_ranks([sys.executable, "-c", words], number, "WATCHER", printed.append), "\n".join(
        printed
    )


def test_each_rank_gets_its_number_and_supervisor(monkeypatch):
    for name, stale in {"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "7", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, stale)
    code, printed = started(
        """
        variables = [os.environ[name] for name in ("LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")]
        assert variables == [str(rank), "3", "3"] and int(os.environ["WATCHER"]) == os.getppid(), variables
        assert os.environ["MASTER_PORT"] != "1"
        """,
        number=3,
    )
    assert (code, printed) == (0, "")


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_the_message_of_the_failed_rank_is_shown_not_of_a_lost_rank(late):
    code, printed = started(
        f"""
        if rank == 0:
            sys.exit({rank_processes.LOST_EXIT})
        print("why it ended", file=sys.stderr, flush=True)
        time.sleep({late})
        sys.exit(3)
        """
    )
    assert code == 3
    assert printed == "why it ended\nrank 1 of 2 failed, exit code 3; the others are stopped"


def test_a_lost_rank_counts_if_no_other_has_failed():
    assert started(f"sys.exit({rank_processes.LOST_EXIT} if rank else 0)")[0] == rank_processes.LOST_EXIT


def test_a_killed_rank_is_the_cause_and_waiting_ranks_are_stopped(monkeypatch):
    monkeypatch.setattr(rank_processes, "GRACE_SECONDS", 0.3)
    code, printed = started("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)")
    assert (code, printed.strip()) == (137, "rank 1 of 2 was killed by SIGKILL; the others are stopped")


def test_ranks_stopped_by_a_signal_are_no_failure(monkeypatch):
    monkeypatch.setattr(rank_processes, "GRACE_SECONDS", 0.3)
    assert started("sys.exit(143)") == (143, "")
