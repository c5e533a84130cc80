"""A study holds one search; a storage that cannot be used is reported in a line or two."""

import sqlite3
from pathlib import Path

import optuna
import pytest
from formula import EVERY, KIND, RATE, plan, search, start, study

import saddlepoint.sweep.study as module
from saddlepoint.error import Mistake
from saddlepoint.sweep.space import Choice, Range
from saddlepoint.sweep.worker import run_trials


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (plan(Range("rate", 1e-3, 1.0, log=True)), "space.rate: {'low': 0.0001"),
        (plan(RATE, EVERY), "space.every: nothing there"),
        (plan(metric="coverage"), "metric: fid there, coverage here"),
        (plan(seeds=(0, 1)), r"seeds: \[0\] there, \[0, 1\] here"),
        (plan(overrides=("images=5",)), r"words: \[\] there, \['images=5'\] here"),
    ],
)
def test_a_study_of_another_search_is_refused_with_what_differs(other, message: str, tmp_path: Path) -> None:
    search(tmp_path, plan(trials=1))
    with pytest.raises(Mistake, match=message):
        study(tmp_path, other)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (KIND, Choice("kind", {label: KIND.levels[label] for label in "ba"})),
        (EVERY, Range("every", 1.0, 5.0)),
        (EVERY, Range("every", 1, 5.0)),
    ],
)
def test_a_dimension_that_optuna_could_not_continue_is_another_search(before, after, tmp_path: Path) -> None:
    """Choices in another order, and integers that become floats, although they are equal in Python."""
    search(tmp_path, plan(before, trials=1))
    with pytest.raises(Mistake, match=f"holds another search: space.{before.key}: .* there, .* here"):
        study(tmp_path, plan(after))


def test_an_integer_bound_of_a_float_range_is_the_same_search(tmp_path: Path) -> None:
    search(tmp_path, plan(Range("rate", 0.5, 1), trials=1))
    assert len(search(tmp_path, plan(Range("rate", 0.5, 1.0), trials=2)).trial_records()) == 2


GRID, OTHER = "grid", {"name": "grid", "seed": 1}


@pytest.mark.parametrize(("before", "after"), [(GRID, "random"), ("random", GRID), (GRID, OTHER)])
def test_a_grid_only_continues_as_the_same_grid_since_points_would_be_missed(before, after, tmp_path: Path) -> None:
    search(tmp_path, plan(EVERY, KIND, trials=4, sampler=before))
    with pytest.raises(Mistake, match="holds another search: sampler: "):
        study(tmp_path, plan(EVERY, KIND, sampler=after))
    assert len(search(tmp_path, plan(EVERY, KIND, sampler=before)).trial_records()) == 10


def test_another_sampler_pruner_and_number_of_trials_are_the_same_search(tmp_path: Path) -> None:
    search(tmp_path, plan(trials=2))
    assert len(search(tmp_path, plan(trials=4, sampler="tpe", pruner="median")).trial_records()) == 4


@pytest.mark.parametrize(("storage", "file"), [("sqlite", "study.db"), ("journal", "journal.log")])
def test_a_broken_storage_is_reported_and_not_changed(storage: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"this is no study\n" * 100)
    with pytest.raises(Mistake, match=f"{file} cannot be used") as mistake:
        study(tmp_path, plan(), storage)
    assert len(str(mistake.value).splitlines()) <= 2
    assert f"move the whole folder {tmp_path} away" in str(mistake.value)  # new trials cannot use its run folders
    assert (tmp_path / file).read_bytes().startswith(b"this is no study")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE alembic_version SET version_num = 'v9.9.9'",
        "UPDATE trials SET state = 'LOST'",
        "UPDATE trial_params SET distribution_json = '[]'",
        "UPDATE study_user_attributes SET value_json = '3'",
    ],
)
def test_a_study_of_another_optuna_or_with_a_damaged_row_is_refused_when_it_is_opened(
    damage: str, tmp_path: Path
) -> None:
    search(tmp_path, plan(trials=1), storage="sqlite")
    with sqlite3.connect(tmp_path / "study.db") as other:
        other.execute(damage)
    with pytest.raises(Mistake, match=r"study\.db cannot be used"):
        study(tmp_path, plan(), "sqlite")


def test_an_incomplete_line_does_not_break_a_journal(tmp_path: Path) -> None:
    """Both for a process that opens the journal, and for one that has it open and appends to it."""
    search(tmp_path, plan(trials=2))
    opened = study(tmp_path, plan(trials=4))
    for number in (2, 3):
        with (tmp_path / "journal.log").open("ab") as journal:
            journal.write(b'{"op_code":4,"worker_id"')
        if number == 2:
            run_trials(opened, start, pause=0)
    assert [trial.state for trial in search(tmp_path, plan(trials=5)).trial_records()] == ["finished"] * 5


def test_a_file_without_a_complete_line_is_not_a_journal_and_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "journal.log").write_bytes(b"notes of mine")
    with pytest.raises(Mistake, match=r"journal\.log cannot be used"):
        study(tmp_path, plan())
    assert (tmp_path / "journal.log").read_bytes() == b"notes of mine"


def test_a_locked_storage_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    search(tmp_path, plan(trials=1), storage="sqlite")
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Mistake, match=r"study\.db is locked"):
            study(tmp_path, plan(), "sqlite")
        other.execute("ROLLBACK")


def test_a_study_that_a_suspended_process_has_locked_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    with (
        module.FileLock(tmp_path / ".study.lock"),
        pytest.raises(Mistake, match="another process has locked the study"),
    ):
        study(tmp_path, plan())


def test_a_file_with_a_study_of_another_program_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    theirs = optuna.create_study(storage=url, study_name="theirs")
    with pytest.raises(Mistake, match="holds the study theirs, not bowl"):
        study(tmp_path, plan(), "sqlite")
    optuna.delete_study(study_name="theirs", storage=url)
    theirs = optuna.create_study(storage=url, study_name="bowl")
    theirs.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=1)
    with pytest.raises(Mistake, match="saddlepoint sweep did not create"):
        study(tmp_path, plan(), "sqlite")


def test_a_study_keeps_its_storage(tmp_path: Path) -> None:
    search(tmp_path, plan(trials=1))
    with pytest.raises(Mistake, match=r"holds a study in journal\.log"):
        study(tmp_path, plan(), "sqlite")


def test_a_trial_that_was_lost_before_its_proposal_is_proposed_again(tmp_path: Path) -> None:
    """Its process died after the trial had its number and before it had its values."""
    search_plan = plan(RATE, KIND, trials=2)
    study(tmp_path, search_plan).optuna_study.ask()  # only a number
    trials = search(tmp_path, search_plan).trial_records()
    assert [set(trial.params) for trial in trials] == [{"rate", "kind"}] * 2
