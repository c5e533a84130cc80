"""User-defined lines of text as tokens: every symbol is kept, or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from saddlepoint.config.compose import compose
from saddlepoint.data.samples import load_samples_for
from saddlepoint.data.text_lines import TextLines
from saddlepoint.error import Mistake

TEXT = ["ab", "ba", "abc", "c", "cab", "b a", "\u00e9b", "aa", "bb", "$c"]


def file(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def decoded_lines(data: TextLines) -> list[str]:
    splits = (data.split(name).x for name in ("train", "validation", "test"))
    return sorted(line for x in splits for line in data.modality.to_text(x))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
def test_every_line_survives_encoding_and_decoding(tmp_path: Path, end: str, last: str) -> None:
    data = TextLines(file(tmp_path / "x.txt", end.join(TEXT) + (end if last else "")))
    assert data.shape == (3, len(set("".join(TEXT))) + 1)
    assert decoded_lines(data) == sorted(TEXT)
    assert data.notes == [f"{tmp_path}/x.txt: 10 lines."]


def test_a_utf_8_byte_order_mark_is_not_a_symbol(tmp_path: Path) -> None:
    data = TextLines(file(tmp_path / "x.txt", "\ufeff" + "\n".join(TEXT)))
    assert decoded_lines(data) == sorted(TEXT)


def test_words_are_symbols_too(tmp_path: Path) -> None:
    text = ["the cat sat", "a  dog", "the dog", "a cat"]
    data = TextLines(file(tmp_path / "x.txt", "\n".join(text)), unit="word")
    assert data.modality.vocabulary == ("", "a", "cat", "dog", "sat", "the")
    assert data.shape == (3, 6)
    assert decoded_lines(data) == sorted(" ".join(line.split()) for line in text)


def test_files_in_class_folders_give_each_line_its_class(tmp_path: Path) -> None:
    for name, text in (("one", "a\nb\na"), ("two", "bb\naa\n\nab")):
        (tmp_path / name).mkdir()
        file(tmp_path / name / "x.txt", text)
    data = TextLines(tmp_path)
    assert (data.classes, data.class_names) == (2, ["one", "two"])
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert split.y is not None
        assert [len(line) - 1 for line in data.modality.to_text(split.x)] == split.y.tolist()
    assert any("left out: 1 empty ones" in note for note in data.notes)


def test_empty_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    data = TextLines(file(tmp_path / "x.txt", "a\n\nb\n\nab\nba\n"))
    assert decoded_lines(data) == ["a", "ab", "b", "ba"]
    assert data.notes == [f"{tmp_path}/x.txt: 4 lines; left out: 2 empty ones."]


@pytest.mark.parametrize(
    ("text", "message", "options"),
    [
        ("a\nbcd\nb", "x.txt, line 2 has 3 symbols, more than data.length=2: set data.length=3 or more", {"length": 2}),
        ("a\nz\nb", "x.txt, line 2: 'z' is not among the 3 symbols of data.vocabulary", {"vocabulary": ["", "a", "b"]}),
        ("a\nab\nb", "line 1 has 1 symbols, fewer than data.length=2", {"vocabulary": ["a", "b"]}),
        ("", "cannot be read: it is empty", {}),
        ("\n\n\n", "x.txt holds no lines of text: all lines are empty", {}),
        ("a\nb", "2 lines are too few", {}),
        ("a ${b} c\nb\nc", "which a config cannot hold", {"unit": "word"}),
        ("a\nb\nc", "data.unit=letter: choose one of character, word", {"unit": "letter"}),
        ("a\nb\nc", "data.length=0", {"length": 0}),
    ],
)
def test_invalid_lines_are_refused_with_file_and_line(tmp_path: Path, text: str, message: str, options) -> None:
    with pytest.raises(Mistake, match=message.replace("$", r"\$")):
        TextLines(file(tmp_path / "x.txt", text), **options).split("train")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"x\.txt: no such file or folder\. .*a \.txt file"):
        TextLines(tmp_path / "x.txt")


def test_another_encoding_is_refused_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("abc\n\u00e9\n".encode("latin-1"))
    with pytest.raises(Mistake, match=r"x.txt is not UTF-8: byte 4 is b'\\xe9'. Save it as UTF-8"):
        TextLines(tmp_path / "x.txt")


def test_the_vocabulary_is_written_into_the_config_so_that_the_file_may_be_deleted(tmp_path: Path) -> None:
    path = file(tmp_path / "x.txt", "\n".join(TEXT))
    config = compose(["data=text_lines", f"data.folder={path}", "architecture=sequence"])
    path.unlink()
    rebuilt = TextLines(path, shape=config.data.shape, vocabulary=config.data.vocabulary)
    assert rebuilt.modality.to_text(torch.tensor([[1, 0, 2]])) == ["".join(sorted(set("".join(TEXT)))[:2])]


def test_samples_are_encoded_with_the_vocabulary_of_the_data(tmp_path: Path) -> None:
    data = TextLines(file(tmp_path / "x.txt", "\n".join(TEXT)))
    split = load_samples_for(data, file(tmp_path / "made.txt", "ab\ncab\n"))
    assert data.modality.to_text(split.x) == ["ab", "cab"]
    np.savez(tmp_path / "made.npz", **data.modality.npz_arrays(split.x))
    rebuilt = load_samples_for(data, tmp_path / "made.npz")
    assert torch.equal(rebuilt.x, split.x)
    assert split.modality is rebuilt.modality is data.modality  # not the one that their numbers would imply
    np.savez(tmp_path / "other.npz", arr_0=split.x.numpy(), vocabulary=np.array(data.modality.vocabulary[::-1]))
    with pytest.raises(Mistake, match=r"other.npz: its vocabulary differs from that of the data"):
        load_samples_for(data, tmp_path / "other.npz")
    with pytest.raises(Mistake, match=r"made.txt, line 1: 'z' is not among"):
        load_samples_for(data, file(tmp_path / "made.txt", "z\n"))


def test_a_very_long_line_is_refused_unless_the_length_is_set(tmp_path: Path) -> None:
    path = file(tmp_path / "lines.txt", "ab\n" * 9 + "a" * 10_001 + "\n")
    with pytest.raises(
        Mistake, match=r"line 10 has 10,001 symbols, and the longest line decides .* data\.length=10001"
    ):
        TextLines(path)
    assert TextLines(path, length=10_001).shape == (10_001, 3)
