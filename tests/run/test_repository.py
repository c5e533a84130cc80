"""The git status of a file."""

import hashlib
import subprocess

import pytest

from saddlepoint.run.repository import COMMITTED, EDITED, OUTSIDE, UNCOMMITTED, file_git_status, is_clean


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    process = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return process.stdout.strip()


@pytest.fixture
def path(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "a b.yaml"
    file.write_text("a: 1\n")
    return file


def commit(path):
    git(path.parent, "add", "-A")
    git(path.parent, "commit", "-qm", "m")
    return git(path.parent, "rev-parse", "HEAD")


def test_a_committed_file_has_the_last_commit_that_changed_it(path):
    first = commit(path)
    (path.parent / "other").write_text("")
    commit(path)
    status = file_git_status(path)
    assert (status.state, status.commit) == (COMMITTED, first)
    assert status.sha256 == hashlib.sha256(b"a: 1\n").hexdigest()
    assert status.date.startswith("20")


@pytest.mark.parametrize("staged", [False, True])
def test_an_edit_is_detected_whether_staged_or_not(path, staged):
    commit(path)
    path.write_text("a: 2\n")
    if staged:
        git(path.parent, "add", "-A")
    assert file_git_status(path).state == EDITED


def test_a_new_file_is_not_committed_even_if_staged(path):
    assert file_git_status(path).state == UNCOMMITTED
    git(path.parent, "add", "-A")
    assert file_git_status(path).state == UNCOMMITTED


def test_a_folder_is_clean_until_a_file_in_it_is_changed_or_new(path):
    assert not is_clean(path.parent)
    commit(path)
    (path.parents[1] / "beside").write_text("")  # not in it
    assert is_clean(path.parent)
    (path.parent / "new").write_text("")
    assert not is_clean(path.parent)
    commit(path)
    path.write_text("a: 2\n")
    assert not is_clean(path.parent)


def test_a_file_outside_a_repository_is_detected(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    assert file_git_status(tmp_path / "a.yaml").state == OUTSIDE
