"""The ranks of one run: who they are told to be, whose words are shown, and how it ends."""

import sys
import textwrap

import pytest

from saddlepoint.launcher import rank_processes


def started(code, number=2):
    """Run `code` as ranks, `rank` being known to it; its exit code, and what is said."""
    said = []
    words = "import os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + textwrap.dedent(code)
    return rank_processes.run_ranks([sys.executable, "-c", words], number, "WATCHER", said.append), "\n".join(said)


def test_each_rank_is_told_who_it_is_and_who_watches_whatever_this_process_has_been_told(monkeypatch):
    for name, stale in {"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "7", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, stale)
    code, said = started(
        """
        told = [os.environ[name] for name in ("LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")]
        assert told == [str(rank), "3", "3"] and int(os.environ["WATCHER"]) == os.getppid(), told
        assert os.environ["MASTER_PORT"] != "1"
        """,
        number=3,
    )
    assert (code, said) == (0, "")


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_the_words_shown_are_those_of_the_rank_that_failed_not_of_the_one_that_lost_it(late):
    code, said = started(
        f"""
        if rank == 0:
            sys.exit({rank_processes.LOST_EXIT})
        print("why it ended", file=sys.stderr, flush=True)
        time.sleep({late})
        sys.exit(3)
        """
    )
    assert code == 3
    assert said == "why it ended\nrank 1 of 2 failed, exit code 3; the others are stopped"


def test_where_nobody_else_has_failed_a_lost_rank_counts():
    assert started(f"sys.exit({rank_processes.LOST_EXIT} if rank else 0)")[0] == rank_processes.LOST_EXIT


def test_a_killed_rank_is_the_cause_and_who_waits_for_it_is_stopped(monkeypatch):
    monkeypatch.setattr(rank_processes, "GRACE_SECONDS", 0.3)
    code, said = started("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)")
    assert (code, said.strip()) == (137, "rank 1 of 2 was killed by SIGKILL; the others are stopped")


def test_ranks_that_were_told_to_end_are_no_failure(monkeypatch):
    monkeypatch.setattr(rank_processes, "GRACE_SECONDS", 0.3)
    assert started("sys.exit(143)") == (143, "")
