"""Spoken digits: one content from every source, fixed splits, and what is refused."""

import io
import os
import urllib.error
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from saddlepoint.config.compose import compose
from saddlepoint.data import spoken_digits
from saddlepoint.data.spoken_digits import SpokenDigits, clip_names, content_sha256, splits_of_clips
from saddlepoint.error import Mistake
from saddlepoint.modality.spectrogram import standardisation_of

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def clips(monkeypatch):
    """Short clips in place of the 3,000 of the original: 10 digits, 2 speakers, 12 takes."""
    monkeypatch.setattr(spoken_digits, "SPEAKERS", ("ann", "bob"))
    monkeypatch.setattr(spoken_digits, "TAKES", 12)
    draws = np.random.default_rng(0)
    made = [draws.integers(-9000, 9000, draws.integers(200, 400)).astype(np.int16) for _ in clip_names()]
    monkeypatch.setattr(spoken_digits, "SHA256", content_sha256(made))
    return made


def write_npz(path, clips):
    index = np.arange(len(clips))
    order = np.random.default_rng(1).permutation(len(clips))  # of any order
    np.savez(
        path, samples=np.concatenate([clips[i] for i in order]), rate=8000,
        offsets=np.cumsum([0, *(len(clips[i]) for i in order)]), digit=(index // 24)[order],
        speaker=(index // 12 % 2)[order], take=(index % 12)[order],
    )  # fmt: skip


def write_recordings(folder, clips):
    folder.mkdir(parents=True)
    for name, clip in zip(clip_names(), clips, strict=True):
        wavfile.write(folder / f"{name}.wav", 8000, clip)


def zip_bytes(folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("free-spoken-digit-dataset-1.0.10/README.md", "digits")
        for path in folder.iterdir():
            archive.write(path, f"free-spoken-digit-dataset-1.0.10/recordings/{path.name}")
    return content.getvalue()


def test_npz_recordings_and_download_are_one_data_set(tmp_path, clips, monkeypatch):
    write_npz(tmp_path / "spoken_digits.npz", clips)
    write_recordings(tmp_path / "wav" / "recordings", clips)
    download = zip_bytes(tmp_path / "wav" / "recordings")
    monkeypatch.setattr(spoken_digits.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(download))
    sets = [SpokenDigits(root=tmp_path / name, length=256) for name in ("", "wav", "new")]
    for data in sets:
        data.prepare_data()
    assert (tmp_path / "new" / spoken_digits.ZIP).read_bytes() == download
    one, *others = (data.describe()["sha256"] for data in sets)
    assert others == [one, one]


def test_the_rows_are_the_clips_with_their_digit_and_speaker(tmp_path, clips):
    write_npz(tmp_path / "spoken_digits.npz", clips)
    data = SpokenDigits(root=tmp_path, length=256)
    by_content = {np.pad(clip, (0, 256))[:256].tobytes(): name for clip, name in zip(clips, clip_names(), strict=True)}
    kinds, read = splits_of_clips(), []
    for kind, n in {"train": 40, "validation": 100, "test": 100}.items():
        split = data.split(kind)
        assert len(split) == n
        for x, y, speaker in zip(split.x, split.y, split.extra_columns["speaker"], strict=True):
            name = by_content[x.numpy().tobytes()]
            assert kinds[name] == kind
            assert name.split("_")[:2] == [str(int(y)), ("ann", "bob")[speaker]]
            read.append(name)
    assert sorted(read) == sorted(clip_names())
    assert data.notes[0].endswith("clips: cut to 256 samples.")
    assert len(set(data.split("test").y[:10].tolist())) > 3, "the first rows are of several digits"


def test_the_official_test_takes_are_held_out_and_validation_is_balanced():
    kinds = splits_of_clips()
    assert Counter(kinds.values()) == {"train": 2400, "validation": 300, "test": 300}
    assert {name for name, kind in kinds.items() if kind == "test"} == {
        name for name in kinds if int(name.split("_")[2]) < 5
    }
    balanced = Counter(name.rpartition("_")[0] for name, kind in kinds.items() if kind == "validation")
    assert set(balanced.values()) == {5}


def test_waveforms_or_spectrograms_are_one_key(tmp_path, clips):
    write_npz(tmp_path / "spoken_digits.npz", clips)
    waveforms = compose(["data=spoken_digits", f"data.root={tmp_path}", "data.length=512"])
    images = compose(["data=spoken_digits", f"data.root={tmp_path}", "data.length=512", "data.spectrogram=true"])
    assert (list(waveforms.data.shape), list(images.data.shape)) == ([1, 512], [1, 64, 4])
    data = SpokenDigits(root=tmp_path, length=512, spectrogram=True)
    batch = next(iter(data.training_batches(0)))
    assert batch.x.shape == (64, 1, 64, 4)
    assert batch.x.abs().max() <= 1
    assert batch.extra_columns["speaker"].dtype == torch.int64


@pytest.mark.parametrize("content", [None, b"something else"])
def test_a_failed_download_leaves_nothing_and_names_what_to_do(content, tmp_path, monkeypatch, clips):
    def urlopen(url, timeout):
        if content is None:
            raise urllib.error.URLError("no network")
        return io.BytesIO(content)

    monkeypatch.setattr(spoken_digits.urllib.request, "urlopen", urlopen)
    with pytest.raises(Mistake, match=r"(?s)curl .*digit-dataset.zip.*data.root" if content is None else "zip"):
        SpokenDigits(root=tmp_path / "new").split("train")
    assert not (tmp_path / "new").exists()


def test_other_clips_are_refused(tmp_path, clips):
    write_npz(tmp_path / "spoken_digits.npz", [clip + 1 for clip in clips])
    with pytest.raises(Mistake, match="is not the original: the sha256 of its clips is"):
        SpokenDigits(root=tmp_path).split("train")
    np.savez(tmp_path / "spoken_digits.npz", samples=np.zeros(3, np.int16))
    with pytest.raises(Mistake, match="has no array offsets, digit, speaker, take"):
        SpokenDigits(root=tmp_path).split("train")
    write_recordings(tmp_path / "wav" / "recordings", clips)
    (tmp_path / "wav" / "recordings" / "3_bob_7.wav").unlink()
    with pytest.raises(Mistake, match=r"has no 3_bob_7.wav \(1 of 240 files are missing\)"):
        SpokenDigits(root=tmp_path / "wav").split("train")
    wavfile.write(tmp_path / "wav" / "recordings" / "3_bob_7.wav", 16_000, clips[0])
    with pytest.raises(Mistake, match=r"3_bob_7.wav is not 16-bit mono at 8,000"):
        SpokenDigits(root=tmp_path / "wav").split("train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 1000}, "data.length=1000: must be a multiple of 128"),
        ({"length": 128}, "at least 256"),
        ({"rate": 16_000}, "data.rate=16000: these clips have 8,000"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(Mistake, match=message):
        SpokenDigits(**settings)


@pytest.mark.skipif(not (REAL / "spoken_digits.npz").is_file(), reason=f"no spoken_digits.npz in {REAL}")
def test_the_standardisation_is_that_of_the_original():
    data = SpokenDigits(root=REAL)
    train = data.split("train")
    mean, deviation = standardisation_of(data.modality.to_float(train.x[::4]), 8000)
    np.testing.assert_allclose(mean, spoken_digits.MEAN, atol=0.1)
    np.testing.assert_allclose(deviation, spoken_digits.DEVIATION, atol=0.1)
