"""A search ends with exactly the trials that were asked for, whatever became of each, and finds what was planted."""

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

# a worker in a process of its own: each trial takes a while, and writes down that it was begun
SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from formula import EVERY, RATE, Formula, bowl, plan, study
from saddlepoint.sweep.worker import Ended, played

class Slow(Formula):
    def ended(self):
        time.sleep(float(sys.argv[2]))
        return super().ended()

def begin(number, params, seed, place):
    with Path(sys.argv[1], "begun").open("a") as lines:
        lines.write(f"{{number}} {{params['rate']!r}} {{params['every']}}\\n")
    return Slow(Ended(bowl(params)))

asked = plan(RATE, EVERY, trials=int(sys.argv[4]))
played(study(Path(sys.argv[1]), asked, sys.argv[3]), begin, workers=2, pause=0.01)
"""


def worker(folder: Path, seconds: float, storage: str, trials: int) -> subprocess.Popen[str]:
    script = SLOW.format(tests=str(Path(__file__).parents[1] / "support"))
    return subprocess.Popen([sys.executable, "-c", script, str(folder), str(seconds), storage, str(trials)], text=True)


def begun(folder: Path) -> list[str]:
    path = folder / "begun"
    return path.read_text().splitlines() if path.exists() else []


# ---------------------------------------------------------------------------------------------- what a search finds


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "grid"])
def test_a_planted_optimum_is_found(sampler: str, tmp_path: Path) -> None:
    """Closely by the samplers that learn; by the others as closely as their number lets them."""
    every = EVERY if sampler != "grid" else KIND
    rate = RATE if sampler != "grid" else type(RATE)("rate", 0.01, 0.05, step=0.01)
    found = search(tmp_path, plan(rate, every, trials=40 if sampler != "grid" else 10, sampler=sampler))
    best = min(found.trial_records(), key=lambda one: one.value or 0.0)
    assert best.value is not None
    assert best.value < {"tpe": 0.02, "cmaes": 0.1, "random": 0.3, "grid": 1e-12}[sampler]
    assert 0.2 < best.params["rate"] / BEST["rate"] < 5
    assert best.params.get("every", 3) == 3 or sampler == "random"
    assert best.params.get("kind", "a") == "a"


def test_more_can_be_good_as_well(tmp_path: Path) -> None:
    asked = plan(trials=25, sampler="tpe", metric="coverage")
    found = search(tmp_path, asked, lambda number, params, seed, place: Formula(AttemptResult(-bowl(params))))
    assert (
        found.optuna_study.best_value == max(one.value for one in found.trial_records() if one.value is not None) > -0.1
    )


def test_a_grid_is_played_once_each_and_no_further(tmp_path: Path) -> None:
    found = search(tmp_path, plan(EVERY, KIND, trials=50, sampler="grid"), workers=3)
    points = Counter((one.params["every"], one.params["kind"]) for one in found.trial_records())
    assert points == Counter({(every, kind): 1 for every in range(1, 6) for kind in "ab"})


def test_what_is_proposed_does_not_hang_on_who_asks_nor_when_it_was_stopped(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", plan(RATE, EVERY, trials=14, sampler="tpe"))
    search(tmp_path / "parts", plan(RATE, EVERY, trials=5, sampler="tpe"))
    parts = search(tmp_path / "parts", plan(RATE, EVERY, trials=14, sampler="tpe"))  # another process, as it were
    assert [one.params for one in parts.trial_records()] == [one.params for one in whole.trial_records()]
    other = search(tmp_path / "other", plan(RATE, EVERY, trials=14, sampler={"name": "tpe", "seed": 1}))
    assert other.trial_records()[0].params != whole.trial_records()[0].params


# ------------------------------------------------------------------------------------------------- what befalls trials


def test_a_trial_that_fails_stops_no_other_and_says_why(tmp_path: Path) -> None:
    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        if number == 1:
            raise Mistake("these do not go together")
        return Formula(
            {3: AttemptResult(reason="saddlepoint: the run diverged"), 5: AttemptResult(float("nan"))}.get(
                number, AttemptResult(1.0)
            )
        )

    trials = search(tmp_path, plan(trials=8), begin).trial_records()
    assert [one.number for one in trials if one.state == FAILED] == [1, 3, 5]
    assert [trials[i].reason for i in (1, 3, 5)] == [
        "these do not go together", "saddlepoint: the run diverged", "its score is nan",
    ]  # fmt: skip
    assert sum(one.state == FINISHED for one in trials) == 5


def test_failures_in_a_row_stop_the_search_and_others_do_not(tmp_path: Path) -> None:
    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        return Formula(AttemptResult(1.0) if number % 3 == 2 else AttemptResult(reason="no such disk"))

    assert len(search(tmp_path / "one", plan(trials=9), begin, failures=3).trial_records()) == 9
    with pytest.raises(Mistake, match=r"2 trials in a row failed, the last, 1, for this reason: no such disk"):
        search(tmp_path / "two", plan(trials=9), begin, failures=2)


def test_the_value_of_several_seeds_is_their_mean_and_a_failed_seed_fails_the_trial(tmp_path: Path) -> None:
    played_seeds = []

    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        played_seeds.append((number, seed))
        return Formula(AttemptResult(reason="lost") if (number, seed) == (1, 7) else AttemptResult(seed + number / 10))

    trials = search(tmp_path, plan(trials=3, seeds=(5, 7, 9)), begin).trial_records()
    assert [one.value for one in trials] == [7.0, None, pytest.approx(7.2)]
    assert trials[0].details["values"] == [5.0, 7.0, 9.0]
    assert trials[1].reason == "seed 7: lost"
    assert [seed for number, seed in played_seeds if number == 1] == [5, 7]


def test_what_is_hopeless_is_given_up_early_and_counts_as_a_trial(tmp_path: Path) -> None:
    """Every odd trial is worse than all others at each look: the median pruner stops it at its first score."""
    begun: list[Formula] = []

    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        level = 100.0 if number % 2 else 1.0
        begun.append(Formula(AttemptResult(level), [(1, level), (2, level), (3, level)]))
        return begun[-1]

    pruned = {"name": "median", "n_startup_trials": 3}
    trials = search(tmp_path, plan(trials=14, pruned=pruned), begin).trial_records()
    states = [one.state for one in trials]
    assert states[8:] == [FINISHED, PRUNED] * 3
    assert all(begun[i].stopped == (states[i] == PRUNED) for i in range(14))
    assert trials[9].curve == {1: 100.0}
    assert trials[8].curve == {1: 1.0, 2: 1.0, 3: 1.0}


def test_with_several_seeds_trials_are_held_against_each_other_by_the_first(tmp_path: Path) -> None:
    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        return Formula(AttemptResult(1.0), [(1, float(seed))])

    trials = search(tmp_path, plan(trials=4, seeds=(3, 8), pruned="median"), begin).trial_records()
    assert all(one.curve == {1: 3.0} for one in trials)


def test_a_score_that_the_first_finished_trial_lacks_is_the_searchs_mistake(tmp_path: Path) -> None:
    lacking = Formula(AttemptResult(other_scores=["fid_digits_900_train"]))
    with pytest.raises(Mistake, match=r"trial 0 finished without a score fid on .* it has fid_digits_900_train"):
        search(tmp_path, plan(), lambda *asked: lacking)
    several = search(
        tmp_path / "b", plan(trials=3), lambda number, *rest: lacking if number == 1 else Formula(AttemptResult(1.0))
    )
    assert [one.state for one in several.trial_records()] == [FINISHED, FAILED, FINISHED]


# ------------------------------------------------------------------------------------------------ killed, and together


def test_an_interrupted_trial_is_taken_up_under_its_number_with_its_values(tmp_path: Path) -> None:
    def interrupted(number: int, params: dict, seed: int, place: int) -> Formula:
        if number == 2:
            raise KeyboardInterrupt
        return start(number, params, seed, place)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, plan(RATE, EVERY, trials=5), interrupted)
    left = study(tmp_path, plan(RATE, EVERY, trials=5)).trial_records()
    assert [one.state for one in left] == [FINISHED, FINISHED, RUNNING]
    whole = search(tmp_path, plan(RATE, EVERY, trials=5)).trial_records()
    assert whole[2].params == left[2].params
    assert [one.state for one in whole] == [FINISHED] * 5


@pytest.mark.slow  # processes of their own; what is left of a killed one is tried above and below without
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_a_search_killed_in_the_middle_and_given_again_ends_with_exactly_its_trials(
    storage: str, tmp_path: Path
) -> None:
    first = worker(tmp_path, 0.5, storage, 8)
    until = time.monotonic() + 60
    while len(begun(tmp_path)) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = begun(tmp_path)
    asked = plan(RATE, EVERY, trials=8)
    lost = {one.number for one in study(tmp_path, asked, storage).trial_records() if one.state == RUNNING}
    assert lost, "it was killed between two trials; nothing is shown"
    assert worker(tmp_path, 0.0, storage, 8).wait(timeout=100) == 0
    trials = study(tmp_path, asked, storage).trial_records()
    assert [one.number for one in trials] == list(range(8))
    assert {one.state for one in trials} == {FINISHED}
    assert all(one.value == bowl(one.params) for one in trials)
    again = begun(tmp_path)[len(before) :]
    assert {int(line.split()[0]) for line in again} == lost | set(range(len(before), 8))
    assert set(before) - set(again) == {line for line in before if int(line.split()[0]) not in lost}  # values and all


@pytest.mark.slow
def test_two_processes_share_a_study_and_play_each_trial_once(tmp_path: Path) -> None:
    both = [worker(tmp_path, 0.1, "sqlite", 8) for _ in range(2)]
    assert [one.wait(timeout=100) for one in both] == [0, 0]
    trials = study(tmp_path, plan(RATE, EVERY, trials=8), "sqlite").trial_records()
    assert [one.number for one in trials] == list(range(8))
    assert {one.state for one in trials} == {FINISHED}
    assert sorted(int(line.split()[0]) for line in begun(tmp_path)) == list(range(8))
    assert len({line.split()[1] for line in begun(tmp_path)}) == 8  # no two drew the same numbers


def test_a_trial_that_ends_while_its_lock_is_looked_at_is_not_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at the study, where it runs, and at its lock, which is free by then."""
    one, other = study(tmp_path, plan(trials=1)), study(tmp_path, plan(trials=1))
    mine = one.claim_trial()
    assert mine is not None
    claimed = other._claimed
    monkeypatch.setattr(other, "_claimed", lambda number: one.end_trial(mine, FINISHED, 1.0) or claimed(number))
    assert other.claim_trial() is None
    assert other.is_over


def test_a_trial_that_was_to_be_given_up_when_its_process_was_lost_is_given_up_at_once(tmp_path: Path) -> None:
    """Between the pruner's decision and the end of the trial's process."""

    class Killed(Formula):
        def stop(self) -> None:
            if not self.stopped:
                super().stop()
                raise KeyboardInterrupt

    begun: list[int] = []

    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        begun.append(number)
        level = 100.0 if number == 5 else 1.0
        return Killed(AttemptResult(level), [(1, level)])

    asked = plan(trials=7, pruned={"name": "median", "n_startup_trials": 3})
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, asked, begin)
    trials = search(tmp_path, asked, begin).trial_records()
    assert [one.state for one in trials] == [*[FINISHED] * 5, PRUNED, FINISHED]
    assert begun == list(range(7))  # none twice


def test_a_trial_that_somebody_plays_is_nobody_elses(tmp_path: Path) -> None:
    asked = plan(trials=2)
    one, other = study(tmp_path, asked), study(tmp_path, asked)
    mine, theirs = one.claim_trial(), other.claim_trial()
    assert mine is not None
    assert theirs is not None
    assert (mine.number, theirs.number) == (0, 1)
    assert other.claim_trial() is None
    assert not one.is_over
    mine.lock.release()  # as its process's end does
    again = other.claim_trial()
    assert again is not None
    assert (again.number, again.params) == (0, mine.params)


def test_more_trials_go_on_and_fewer_are_over_at_once(tmp_path: Path) -> None:
    search(tmp_path, plan(trials=3))
    assert len(search(tmp_path, plan(trials=5)).trial_records()) == 5
    assert len(search(tmp_path, plan(trials=2)).trial_records()) == 5


def test_workers_play_side_by_side(tmp_path: Path) -> None:
    places, together = set(), []

    class Watched(Formula):
        def ended(self) -> AttemptResult | None:
            together.append(sum(one.state == RUNNING for one in found.trial_records()))
            return super().poll()

    def begin(number: int, params: dict, seed: int, place: int) -> Formula:
        places.add(place)
        return Watched(AttemptResult(1.0), [(1, 1.0), (2, 1.0)])

    found = study(tmp_path, plan(trials=6))
    run_trials(found, begin, workers=3, pause=0)
    assert places == {0, 1, 2}
    assert max(together) == 3
