"""A study says whose it is; a storage that cannot be used is told in a line or two."""

import sqlite3
from pathlib import Path

import optuna
import pytest
from formula import EVERY, KIND, RATE, plan, search, study

import saddlepoint.search.study as module
from saddlepoint.error import Mistake
from saddlepoint.search.space import Range


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (plan(Range("rate", 1e-3, 1.0, log=True)), "space.rate: {'low': 0.0001"),
        (plan(RATE, EVERY), "space.every: nothing there"),
        (plan(metric="coverage"), "metric: fid there, coverage here"),
        (plan(seeds=(0, 1)), r"seeds: \[0\] there, \[0, 1\] here"),
        (plan(words=("images=5",)), r"words: \[\] there, \['images=5'\] here"),
    ],
)
def test_a_study_of_another_search_is_refused_with_what_differs(other, told: str, tmp_path: Path) -> None:
    search(tmp_path, plan(trials=1))
    with pytest.raises(Mistake, match=told):
        study(tmp_path, other)


def test_another_sampler_pruner_and_number_of_trials_are_the_same_search(tmp_path: Path) -> None:
    search(tmp_path, plan(trials=2))
    assert len(search(tmp_path, plan(trials=4, sampler="tpe", pruned="median")).standings()) == 4


@pytest.mark.parametrize(("storage", "file"), [("sqlite", "study.db"), ("journal", "journal.log")])
def test_a_broken_storage_is_told_and_left_alone(storage: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"this is no study\n" * 100)
    with pytest.raises(Mistake, match=f"{file} cannot be used") as mistake:
        study(tmp_path, plan(), storage)
    assert len(str(mistake.value).splitlines()) <= 2
    assert (tmp_path / file).read_bytes().startswith(b"this is no study")


def test_a_locked_storage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    search(tmp_path, plan(trials=1), storage="sqlite")
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Mistake, match=r"study\.db is locked"):
            study(tmp_path, plan(), "sqlite")
        other.execute("ROLLBACK")


def test_a_study_that_a_stopped_process_holds_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with module.FileLock(tmp_path / ".study.lock"), pytest.raises(Mistake, match="another process has held the study"):
        study(tmp_path, plan())


def test_a_file_with_somebody_elses_study_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    theirs = optuna.create_study(storage=url, study_name="theirs")
    with pytest.raises(Mistake, match="holds the study theirs, not bowl"):
        study(tmp_path, plan(), "sqlite")
    optuna.delete_study(study_name="theirs", storage=url)
    theirs = optuna.create_study(storage=url, study_name="bowl")
    theirs.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=1)
    with pytest.raises(Mistake, match="saddlepoint sweep did not make"):
        study(tmp_path, plan(), "sqlite")


def test_a_study_stays_with_its_storage(tmp_path: Path) -> None:
    search(tmp_path, plan(trials=1))
    with pytest.raises(Mistake, match=r"holds a study in journal\.log"):
        study(tmp_path, plan(), "sqlite")
    with pytest.raises(Mistake, match="storage=mysql: it is sqlite or journal"):
        study(tmp_path, plan(), "mysql")


def test_a_trial_that_was_lost_while_it_was_proposed_is_proposed_again(tmp_path: Path) -> None:
    """Its process died between its number and its values."""
    asked = plan(RATE, KIND, trials=2)
    study(tmp_path, asked).optuna.ask()  # a number, and nothing else
    trials = search(tmp_path, asked).standings()
    assert [set(one.params) for one in trials] == [{"rate", "kind"}] * 2
