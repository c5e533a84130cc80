"""Names: distinct, split by content, downloaded or refused with what to do."""

import http.client
import io
import urllib.error

import pytest
import torch

from saddlepoint.data import names
from saddlepoint.data.names import Names
from saddlepoint.error import Mistake

LINES = "\n".join([*(a + b + c for a in "abcdefgh" for b in "xyz" for c in "uvw"), "axu", "a" * 15])


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(names, "HELD_OUT", 10)
    monkeypatch.setattr(names, "SHA256", names._sha256(LINES.encode()))


def test_names_are_distinct_in_one_split_each_and_end(tmp_path):
    (tmp_path / "names.txt").write_text(LINES)
    data = Names(root=tmp_path)
    rows = {name: data.modality.to_text(data.split(name).x) for name in ("train", "validation", "test")}
    every = [name for split in rows.values() for name in split]
    assert {name: len(split) for name, split in rows.items()} == {"train": 53, "validation": 10, "test": 10}
    assert sorted(every) == sorted(set(LINES.split()))
    assert (torch.cat([split.x for split in data._splits.values()])[:, -1] == 0).all()


def test_a_missing_file_is_downloaded_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(names.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(LINES.encode()))
    data = Names(root=tmp_path / "new")
    data.prepare_data()
    assert (tmp_path / "new" / "names.txt").read_text() == LINES


@pytest.mark.parametrize("content", [None, b"something else", http.client.IncompleteRead(b"emma")])
def test_a_failed_download_leaves_nothing_and_names_what_to_do(content, tmp_path, monkeypatch):
    def urlopen(url, timeout):
        if content is None:
            raise urllib.error.URLError("no network")
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(names.urllib.request, "urlopen", urlopen)
    data = Names(root=tmp_path / "new")
    with pytest.raises(Mistake, match=r"curl .*names\.txt.*data\.root"):
        data.split("train")
    assert not (tmp_path / "new").exists()


def test_another_file_is_refused(tmp_path):
    (tmp_path / "names.txt").write_text("emma\nolivia\n")
    with pytest.raises(Mistake, match="not the original"):
        Names(root=tmp_path).split("train")
