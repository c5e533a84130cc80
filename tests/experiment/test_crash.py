"""A run that is killed at any moment is resumed by the same command, with the result of an undisturbed run."""

import json
import shutil

import pytest
from crashed import PLAIN, SCORED, Disk, record_states, run_result, train_run

from saddlepoint.run import provenance


@pytest.fixture(autouse=True)
def without_git(monkeypatch):
    """Skip the git process of each run, which these tests do not need."""
    monkeypatch.setattr(provenance, "commit_state", lambda folder: None)


def crashes(overrides, root, state=None):
    """Return the outcome of an undisturbed run (resumed from `state`), and the disk states of all its crashes."""
    if state is not None:
        Disk(root).put(state)
    with record_states(root) as disk:
        folder = train_run(overrides, root)
    assert disk.peeked == []
    return run_result(folder), disk


def resume_from_each(overrides, disk, expected):
    """Resume from each crash and check the outcome; return the number of crashes."""
    for state in disk.states:
        disk.put(state)
        assert run_result(train_run(overrides, disk.root)) == expected, sorted(state)
    return len(disk.states)


def test_a_run_killed_at_any_operation_resumes_to_the_bits_of_an_undisturbed_one(tmp_path):
    expected, disk = crashes(PLAIN, tmp_path / "runs")
    assert disk.operations > 300
    assert resume_from_each(PLAIN, disk, expected) > 25


def test_a_truncated_line_does_not_damage_other_lines(tmp_path):
    from saddlepoint.run.folder import Run

    run = Run(tmp_path)
    run.append("evaluations.jsonl", {"a": 1})
    (tmp_path / "evaluations.jsonl").open("a").write('{"a": 2, "b')
    run.append("evaluations.jsonl", {"a": 3})
    assert run.events("evaluations.jsonl") == ([{"a": 1}, {"a": 3}], 1)


def test_temporary_files_are_deleted_and_user_files_are_not(tmp_path):
    folder = train_run(PLAIN, tmp_path)
    left = [".summary.json.4711", "checkpoints/.best.ckpt.writing", "snapshots/.000000032.safetensors.1"]
    mine = [".notes", ".gitignore", "checkpoints/.keep", "thesis.writing"]
    for name in (*left, *mine):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    train_run(PLAIN, tmp_path)
    assert [name for name in left if (folder / name).exists()] == []
    assert [name for name in mine if not (folder / name).exists()] == []


def test_a_damaged_last_checkpoint_never_replaces_a_good_previous_one(tmp_path):
    folder = train_run(PLAIN, tmp_path)
    expected = run_result(folder)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    last, previous = folder / "checkpoints/last.ckpt", (folder / "checkpoints/previous.ckpt").read_bytes()
    last.write_bytes(last.read_bytes()[:-1])
    with record_states(tmp_path) as disk:
        train_run(PLAIN, tmp_path)
    for state in disk.states:  # one of the two is good at any moment
        assert previous in (state["run/seed0/checkpoints/previous.ckpt"], state.get("run/seed0/checkpoints/last.ckpt"))
    (folder / "checkpoints/broken.ckpt").unlink()
    assert run_result(folder)[0]["last.ckpt"] == expected[0]["last.ckpt"]


@pytest.mark.slow
def test_a_run_with_scores_and_snapshots_killed_at_any_operation_resumes_to_the_same_result(tmp_path):
    expected, disk = crashes(SCORED, tmp_path / "runs")
    assert "best.ckpt" in expected[0]
    assert resume_from_each(SCORED, disk, expected) > 40


@pytest.mark.slow
def test_a_run_killed_while_it_resumes_from_a_crash_ends_with_the_same_result(tmp_path):
    expected, disk = crashes(PLAIN, tmp_path / "runs")
    late = [state for state in disk.states if state.get("run/seed0/checkpoints/last.ckpt")]
    state = late[len(late) // 3]
    shutil.rmtree(tmp_path / "runs")
    again, resumed = crashes(PLAIN, tmp_path / "runs", state)
    assert again == expected
    assert resume_from_each(PLAIN, resumed, expected) > 15
