"""A search ends with exactly the planned trials, whatever the state of each, and finds a known optimum."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from formula import BEST, EVERY, KIND, RATE, Formula, bowl, plan, search, start, study

from saddlepoint.error import Mistake
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING
from saddlepoint.sweep.worker import AttemptResult, run_trials

# a worker process: each trial takes a while, and is listed in the file `begun` when it starts
SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from formula import EVERY, RATE, Formula, bowl, plan, study
from saddlepoint.sweep.worker import AttemptResult, run_trials

class Slow(Formula):
    def poll(self):
        time.sleep(float(sys.argv[2]))
        return super().poll()

def start_seed(number, params, seed, slot):
    with Path(sys.argv[1], "begun").open("a") as lines:
        lines.write(f"{{number}} {{params['rate']!r}} {{params['every']}}\\n")
    return Slow(AttemptResult(bowl(params)))

search_plan = plan(RATE, EVERY, trials=int(sys.argv[4]))
run_trials(study(Path(sys.argv[1]), search_plan, sys.argv[3]), start_seed, workers=2, pause=0.01)
"""


def start_worker(folder: Path, seconds: float, storage: str, trials: int) -> subprocess.Popen[str]:
    script = SLOW.format(tests=str(Path(__file__).parents[1] / "support"))
    return subprocess.Popen([sys.executable, "-c", script, str(folder), str(seconds), storage, str(trials)], text=True)


def started_trials(folder: Path) -> list[str]:
    path = folder / "begun"
    return path.read_text().splitlines() if path.exists() else []


# ------------------------------------------------------------------------------------------------------- samplers


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "grid"])
def test_a_known_optimum_is_found(sampler: str, tmp_path: Path) -> None:
    """Adaptive samplers come close; the others as close as the number of trials allows."""
    every = EVERY if sampler != "grid" else KIND
    rate = RATE if sampler != "grid" else type(RATE)("rate", 0.01, 0.05, step=0.01)
    finished = search(tmp_path, plan(rate, every, trials=40 if sampler != "grid" else 10, sampler=sampler))
    best = min(finished.trial_records(), key=lambda trial: trial.value or 0.0)
    assert best.value is not None
    assert best.value < {"tpe": 0.02, "cmaes": 0.1, "random": 0.3, "grid": 1e-12}[sampler]
    assert 0.2 < best.params["rate"] / BEST["rate"] < 5
    assert best.params.get("every", 3) == 3 or sampler == "random"
    assert best.params.get("kind", "a") == "a"


def test_a_metric_can_be_maximized(tmp_path: Path) -> None:
    search_plan = plan(trials=25, sampler="tpe", metric="coverage")
    finished = search(tmp_path, search_plan, lambda number, params, seed, slot: Formula(AttemptResult(-bowl(params))))
    best = max(trial.value for trial in finished.trial_records() if trial.value is not None)
    assert finished.optuna_study.best_value == best > -0.1


def test_each_point_of_a_grid_is_one_trial(tmp_path: Path) -> None:
    finished = search(tmp_path, plan(EVERY, KIND, trials=50, sampler="grid"), workers=3)
    points = Counter((trial.params["every"], trial.params["kind"]) for trial in finished.trial_records())
    assert points == Counter({(every, kind): 1 for every in range(1, 6) for kind in "ab"})


def test_proposals_depend_neither_on_the_process_nor_on_interruptions(tmp_path: Path) -> None:
    uninterrupted = search(tmp_path / "whole", plan(RATE, EVERY, trials=14, sampler="tpe"))
    search(tmp_path / "parts", plan(RATE, EVERY, trials=5, sampler="tpe"))
    resumed = search(tmp_path / "parts", plan(RATE, EVERY, trials=14, sampler="tpe"))  # as another process would
    expected = [trial.params for trial in uninterrupted.trial_records()]
    assert [trial.params for trial in resumed.trial_records()] == expected
    other = search(tmp_path / "other", plan(RATE, EVERY, trials=14, sampler={"name": "tpe", "seed": 1}))
    assert other.trial_records()[0].params != uninterrupted.trial_records()[0].params


# --------------------------------------------------------------------------------------------------- states of trials


def test_a_failed_trial_stops_no_other_and_has_a_reason(tmp_path: Path) -> None:
    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        if number == 1:
            raise Mistake("these do not go together")
        return Formula(
            {3: AttemptResult(reason="saddlepoint: the run diverged"), 5: AttemptResult(float("nan"))}.get(
                number, AttemptResult(1.0)
            )
        )

    trials = search(tmp_path, plan(trials=8), start_seed).trial_records()
    assert [trial.number for trial in trials if trial.state == FAILED] == [1, 3, 5]
    assert [trials[i].reason for i in (1, 3, 5)] == [
        "these do not go together", "saddlepoint: the run diverged", "its score is nan",
    ]  # fmt: skip
    assert sum(trial.state == FINISHED for trial in trials) == 5


def test_only_failures_in_a_row_stop_the_search(tmp_path: Path) -> None:
    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        return Formula(AttemptResult(1.0) if number % 3 == 2 else AttemptResult(reason="no such disk"))

    assert len(search(tmp_path / "one", plan(trials=9), start_seed, failures=3).trial_records()) == 9
    with pytest.raises(Mistake, match=r"2 trials in a row failed, the last, 1, for this reason: no such disk"):
        search(tmp_path / "two", plan(trials=9), start_seed, failures=2)


def test_the_value_of_several_seeds_is_their_mean_and_a_failed_seed_fails_the_trial(tmp_path: Path) -> None:
    started_seeds = []

    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        started_seeds.append((number, seed))
        return Formula(AttemptResult(reason="lost") if (number, seed) == (1, 7) else AttemptResult(seed + number / 10))

    trials = search(tmp_path, plan(trials=3, seeds=(5, 7, 9)), start_seed).trial_records()
    assert [trial.value for trial in trials] == [7.0, None, pytest.approx(7.2)]
    assert trials[0].details["values"] == [5.0, 7.0, 9.0]
    assert trials[1].reason == "seed 7: lost"
    assert [seed for number, seed in started_seeds if number == 1] == [5, 7]


def test_a_bad_trial_is_pruned_and_counts_as_a_trial(tmp_path: Path) -> None:
    """Every odd trial is worse than all others at each poll: the median pruner stops it at its first score."""
    attempts: list[Formula] = []

    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        level = 100.0 if number % 2 else 1.0
        attempts.append(Formula(AttemptResult(level), [(1, level), (2, level), (3, level)]))
        return attempts[-1]

    pruner = {"name": "median", "n_startup_trials": 3}
    trials = search(tmp_path, plan(trials=14, pruner=pruner), start_seed).trial_records()
    states = [trial.state for trial in trials]
    assert states[8:] == [FINISHED, PRUNED] * 3
    assert all(attempts[i].stopped == (states[i] == PRUNED) for i in range(14))
    assert trials[9].curve == {1: 100.0}
    assert trials[8].curve == {1: 1.0, 2: 1.0, 3: 1.0}


def test_with_several_seeds_the_pruner_compares_the_first(tmp_path: Path) -> None:
    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        return Formula(AttemptResult(1.0), [(1, float(seed))])

    trials = search(tmp_path, plan(trials=4, seeds=(3, 8), pruner="median"), start_seed).trial_records()
    assert all(trial.curve == {1: 3.0} for trial in trials)


def test_a_score_that_the_first_finished_trial_lacks_is_an_error_of_the_search(tmp_path: Path) -> None:
    lacking = Formula(AttemptResult(other_scores=["fid_digits_900_train"]))
    with pytest.raises(Mistake, match=r"trial 0 finished without a score fid on .* it has fid_digits_900_train"):
        search(tmp_path, plan(), lambda *arguments: lacking)
    several = search(
        tmp_path / "b", plan(trials=3), lambda number, *rest: lacking if number == 1 else Formula(AttemptResult(1.0))
    )
    assert [trial.state for trial in several.trial_records()] == [FINISHED, FAILED, FINISHED]


# --------------------------------------------------------------------------------- interruptions, several processes


def test_an_interrupted_trial_continues_with_its_number_and_values(tmp_path: Path) -> None:
    def interrupted(number: int, params: dict, seed: int, slot: int) -> Formula:
        if number == 2:
            raise KeyboardInterrupt
        return start(number, params, seed, slot)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, plan(RATE, EVERY, trials=5), interrupted)
    interrupted_trials = study(tmp_path, plan(RATE, EVERY, trials=5)).trial_records()
    assert [trial.state for trial in interrupted_trials] == [FINISHED, FINISHED, RUNNING]
    trials = search(tmp_path, plan(RATE, EVERY, trials=5)).trial_records()
    assert trials[2].params == interrupted_trials[2].params
    assert [trial.state for trial in trials] == [FINISHED] * 5


@pytest.mark.slow  # several processes; other tests cover what a killed one leaves
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_a_killed_search_that_is_started_again_ends_with_exactly_its_trials(storage: str, tmp_path: Path) -> None:
    first = start_worker(tmp_path, 0.5, storage, 8)
    until = time.monotonic() + 60
    while len(started_trials(tmp_path)) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = started_trials(tmp_path)
    search_plan = plan(RATE, EVERY, trials=8)
    lost = {trial.number for trial in study(tmp_path, search_plan, storage).trial_records() if trial.state == RUNNING}
    assert lost, "it was killed between two trials, which tests nothing"
    assert start_worker(tmp_path, 0.0, storage, 8).wait(timeout=100) == 0
    trials = study(tmp_path, search_plan, storage).trial_records()
    assert [trial.number for trial in trials] == list(range(8))
    assert {trial.state for trial in trials} == {FINISHED}
    assert all(trial.value == bowl(trial.params) for trial in trials)
    again = started_trials(tmp_path)[len(before) :]
    assert {int(line.split()[0]) for line in again} == lost | set(range(len(before), 8))
    # the lost trials have the same values
    assert set(before) - set(again) == {line for line in before if int(line.split()[0]) not in lost}


@pytest.mark.slow
def test_two_processes_share_a_study_and_run_each_trial_once(tmp_path: Path) -> None:
    workers = [start_worker(tmp_path, 0.1, "sqlite", 8) for _ in range(2)]
    assert [worker.wait(timeout=100) for worker in workers] == [0, 0]
    trials = study(tmp_path, plan(RATE, EVERY, trials=8), "sqlite").trial_records()
    assert [trial.number for trial in trials] == list(range(8))
    assert {trial.state for trial in trials} == {FINISHED}
    assert sorted(int(line.split()[0]) for line in started_trials(tmp_path)) == list(range(8))
    assert len({line.split()[1] for line in started_trials(tmp_path)}) == 8  # no two have the same values


def test_a_trial_that_ends_just_before_its_lock_is_acquired_does_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study is read while the trial runs; its lock is free when it is tried."""
    first, second = study(tmp_path, plan(trials=1)), study(tmp_path, plan(trials=1))
    mine = first.claim_trial()
    assert mine is not None
    lock_trial = second._lock_trial
    monkeypatch.setattr(
        second, "_lock_trial", lambda number: first.end_trial(mine, FINISHED, 1.0) or lock_trial(number)
    )
    assert second.claim_trial() is None
    assert second.is_over


def test_a_trial_whose_process_was_lost_while_it_was_pruned_is_pruned_at_once(tmp_path: Path) -> None:
    """The process is lost after the pruner's decision and before the trial ends."""

    class Killed(Formula):
        def request_stop(self) -> None:
            if not self.stopped:
                super().request_stop()
                raise KeyboardInterrupt

    started: list[int] = []

    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        started.append(number)
        level = 100.0 if number == 5 else 1.0
        return Killed(AttemptResult(level), [(1, level)])

    search_plan = plan(trials=7, pruner={"name": "median", "n_startup_trials": 3})
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, search_plan, start_seed)
    trials = search(tmp_path, search_plan, start_seed).trial_records()
    assert [trial.state for trial in trials] == [*[FINISHED] * 5, PRUNED, FINISHED]
    assert started == list(range(7))  # none twice


def test_a_claimed_trial_cannot_be_claimed_again_while_its_process_lives(tmp_path: Path) -> None:
    search_plan = plan(trials=2)
    first, second = study(tmp_path, search_plan), study(tmp_path, search_plan)
    mine, theirs = first.claim_trial(), second.claim_trial()
    assert mine is not None
    assert theirs is not None
    assert (mine.number, theirs.number) == (0, 1)
    assert second.claim_trial() is None
    assert not first.is_over
    mine.lock.release()  # as the end of its process does
    again = second.claim_trial()
    assert again is not None
    assert (again.number, again.params) == (0, mine.params)


def test_a_larger_number_of_trials_continues_a_search_and_a_smaller_one_ends_it(tmp_path: Path) -> None:
    search(tmp_path, plan(trials=3))
    assert len(search(tmp_path, plan(trials=5)).trial_records()) == 5
    assert len(search(tmp_path, plan(trials=2)).trial_records()) == 5


def test_workers_run_trials_at_the_same_time(tmp_path: Path) -> None:
    slots, n_running = set(), []

    class Watched(Formula):
        def poll(self) -> AttemptResult | None:
            n_running.append(sum(trial.state == RUNNING for trial in shared.trial_records()))
            return super().poll()

    def start_seed(number: int, params: dict, seed: int, slot: int) -> Formula:
        slots.add(slot)
        return Watched(AttemptResult(1.0), [(1, 1.0), (2, 1.0)])

    shared = study(tmp_path, plan(trials=6))
    run_trials(shared, start_seed, workers=3, pause=0)
    assert slots == {0, 1, 2}
    assert max(n_running) == 3
