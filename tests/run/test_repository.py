"""A file's standing in its repository."""

import hashlib
import subprocess

import pytest

from saddlepoint.run.repository import COMMITTED, EDITED, OUTSIDE, UNCOMMITTED, git_status, is_clean


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    done = subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def path(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "below").mkdir()
    found = tmp_path / "below" / "a b.yaml"
    found.write_text("a: 1\n")
    return found


def commit(path):
    git(path.parent, "add", "-A")
    git(path.parent, "commit", "-qm", "m")
    return git(path.parent, "rev-parse", "HEAD")


def test_a_file_is_committed_with_the_commit_that_touched_it_last(path):
    first = commit(path)
    (path.parent / "other").write_text("")
    commit(path)
    found = git_status(path)
    assert (found.state, found.commit) == (COMMITTED, first)
    assert found.sha256 == hashlib.sha256(b"a: 1\n").hexdigest()
    assert found.date.startswith("20")


@pytest.mark.parametrize("staged", [False, True])
def test_an_edit_is_seen_staged_or_not(path, staged):
    commit(path)
    path.write_text("a: 2\n")
    if staged:
        git(path.parent, "add", "-A")
    assert git_status(path).state == EDITED


def test_a_new_file_is_not_committed_even_where_it_is_staged(path):
    assert git_status(path).state == UNCOMMITTED
    git(path.parent, "add", "-A")
    assert git_status(path).state == UNCOMMITTED


def test_a_folder_is_unchanged_until_a_file_of_it_differs_or_is_new(path):
    assert not is_clean(path.parent)
    commit(path)
    (path.parents[1] / "beside").write_text("")  # not in it
    assert is_clean(path.parent)
    (path.parent / "new").write_text("")
    assert not is_clean(path.parent)
    commit(path)
    path.write_text("a: 2\n")
    assert not is_clean(path.parent)


def test_a_file_elsewhere_is_in_no_repository(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    assert git_status(tmp_path / "a.yaml").state == OUTSIDE
