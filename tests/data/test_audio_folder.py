"""User-defined wav files are read unchanged, or refused with a remedy if they would have to be changed."""

from __future__ import annotations

import io
import re
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from saddlepoint.config.compose import compose
from saddlepoint.data.audio_folder import AudioFolder
from saddlepoint.data.samples import load_samples_for
from saddlepoint.error import Mistake

DRAWS = np.random.default_rng(0)


def sound(length: int = 40, channels: int = 1, kind: str = "int16") -> np.ndarray:
    """Samples as scipy writes them, [L] or [L, C]."""
    shape = (length,) if channels == 1 else (length, channels)
    if kind == "int16":
        return DRAWS.integers(-32768, 32768, shape).astype(np.int16)
    return DRAWS.uniform(-1, 1, shape).astype(kind)


def folder(path: Path, n: int = 8, rate: int = 8000, **form) -> Path:
    for i in range(n):
        wavfile.write(path / f"{i}.wav", rate, sound(**form))
    return path


def all_samples(data: AudioFolder) -> torch.Tensor:
    return torch.cat([data.split(name).x for name in ("train", "validation", "test")])


@pytest.mark.parametrize(("kind", "bits", "dtype"), [("int16", 16, torch.int16), ("float32", 32, torch.float32)])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_sample_is_stored_unchanged(
    tmp_path: Path, kind: str, bits: int, dtype: torch.dtype, channels: int
) -> None:
    data = AudioFolder(folder(tmp_path, channels=channels, kind=kind))
    assert (data.shape, data.modality.rate, data.modality.bits) == ((channels, 40), 8000, bits)
    files = {wavfile.read(path)[1].reshape(40, channels).T.tobytes() for path in tmp_path.iterdir()}
    x = all_samples(data)
    assert x.dtype == dtype
    assert {row.numpy().tobytes() for row in x} == files


def test_a_zip_of_class_folders_is_the_same_data_with_classes(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        (tmp_path / "set" / name).mkdir(parents=True)
        folder(tmp_path / "set" / name)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.wav")):
            archive.write(path, path.relative_to(tmp_path / "set"))
    one, other = (AudioFolder(tmp_path / name, labels=1) for name in ("set", "set.zip"))
    assert one.class_names == ["cat", "dog"]
    assert one.describe()["sha256"] == other.describe()["sha256"]
    assert other.split("train").y is not None


def test_a_length_cuts_or_fills_files_and_counts_both(tmp_path: Path) -> None:
    for length, n in ((30, 3), (40, 3), (50, 4)):
        for i in range(n):
            wavfile.write(tmp_path / f"{length}-{i}.wav", 8000, sound(length))
    data = AudioFolder(tmp_path, length=40)
    x = all_samples(data)
    starts = {wavfile.read(path)[1][:30].tobytes() for path in tmp_path.iterdir()}
    assert {row[0, :30].numpy().tobytes() for row in x} == starts, "files are cut and filled at their end"
    assert (x[:, 0, 30:] == 0).all(1).sum() == 3
    assert any("4 of 10: cut to 40 samples." in note for note in data.notes)
    assert any("3 of 10: filled with silence to 40 samples." in note for note in data.notes)


def pcm(width: int) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, width, 8000, 0, "NONE", ""))
        file.writeframes(bytes(40 * width))
    return content.getvalue()


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    content = io.BytesIO()
    wavfile.write(content, rate, samples)
    return content.getvalue()


def alaw() -> bytes:
    form = struct.pack("<HHIIHH", 6, 1, 8000, 8000, 1, 8)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 40) + bytes(40)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


BAD = {
    "empty file": (b"", "odd.wav cannot be read: it is empty"),
    "no wav": (b"not a wav file at all", "odd.wav cannot be read"),
    "cut in the header": (wav(sound())[:30], "odd.wav cannot be read"),
    "cut in the samples": (wav(sound())[:80], "odd.wav cannot be read"),
    "cut in a sample": (wav(sound())[:81], "odd.wav cannot be read"),
    "no samples": (wav(np.zeros(0, np.int16)), "odd.wav"),
    "8 bits": (pcm(1), "odd.wav is 8-bit, which would be rounded"),
    "24 bits": (pcm(3), "odd.wav is 24- or 32-bit PCM, which would be rounded. Save it as 16-bit PCM or 32-bit float"),
    "32 bits": (pcm(4), "odd.wav is 24- or 32-bit PCM"),
    "double": (wav(sound(kind="float64")), "odd.wav is float64"),
    "unknown encoding": (alaw(), "odd.wav cannot be read: Unknown wave file format"),
    "other rate": (wav(sound(), 16000), "different rates: .*0.wav has 8,000 .*odd.wav has 16,000"),
    "stereo among mono": (wav(sound(channels=2)), "different numbers of channels: .*0.wav has 1.*odd.wav has 2"),
    "float among int": (wav(sound(kind="float32")), "different encodings: .*0.wav has 16-bit.*odd.wav has 32-bit"),
    "other length": (wav(sound(50)), "different lengths: 40 .* 50 in .*odd.wav. Set data.length=40"),
    "float beyond 1": (wav(3 * sound(kind="float32")), r"odd.wav is float from .* must be in \[-1, 1\].*Divide all"),
    "not finite": (wav(np.full(40, np.nan, np.float32)), "odd.wav holds values that are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_broken_or_differing_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    (folder(tmp_path) / "odd.wav").write_bytes(content)
    with pytest.raises(Mistake, match=re.compile(message, re.S)) as caught:
        AudioFolder(tmp_path).split("train")
    assert len(str(caught.value).splitlines()) <= 2


def test_a_folder_without_wav_files_is_refused_with_its_contents(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"x")
    with pytest.raises(Mistake, match=r"holds no wav files: it needs files that end in .wav, .wave. It has 1 .mp3"):
        AudioFolder(tmp_path)
    with pytest.raises(Mistake, match=r"data.folder is not set: set data.folder=<a folder or .zip of wav files>"):
        AudioFolder(None)


def test_facts_are_written_into_the_config_so_that_the_files_may_be_deleted(tmp_path: Path) -> None:
    path = folder(tmp_path)
    config = compose(["data=audio_folder", f"data.folder={path}"])
    assert (list(config.data.shape), config.data.rate, config.data.bits) == ([1, 40], 8000, 16)
    for file in path.iterdir():
        file.unlink()
    rebuilt = AudioFolder(path, shape=config.data.shape, rate=config.data.rate, bits=config.data.bits)
    assert rebuilt.modality.describe() == {"name": "audio", "rate": 8000, "bits": 16}


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_the_rate_of_audio_is_read_from_its_npz(kind: str, tmp_path: Path) -> None:
    x = np.stack([sound(kind=kind) for _ in range(9)])
    np.savez(tmp_path / "x.npz", arr_0=x, rate=16000, y=np.arange(9) % 3)
    data = AudioFolder(tmp_path / "x.npz")
    assert (data.shape, data.modality.rate, data.classes) == ((1, 40), 16000, 3)
    assert torch.equal(all_samples(data).sort(0)[0][:, 0], torch.from_numpy(np.sort(x, 0)))


@pytest.mark.parametrize("rate", ["fast", [8000, 16000], 8000.5, float("nan"), 0, -1])
def test_a_rate_in_an_npz_that_is_not_one_whole_number_is_refused(rate: object, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", arr_0=np.stack([sound() for _ in range(9)]), rate=rate)
    with pytest.raises(Mistake, match=r"x.npz: rate is .*, but must be the samples per second, one integer"):
        AudioFolder(tmp_path / "x.npz")


@pytest.mark.parametrize("rate", [[8000], 8000.0])
def test_a_rate_may_be_an_array_of_one_number_or_a_whole_float(rate: object, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", arr_0=np.stack([sound() for _ in range(9)]), rate=rate)
    assert AudioFolder(tmp_path / "x.npz").modality.rate == 8000


def test_an_npz_of_another_rate_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", arr_0=np.stack([sound() for _ in range(9)]), rate=8000)
    np.savez(tmp_path / "fast.npz", arr_0=np.stack([sound() for _ in range(9)]), rate=16000)
    with pytest.raises(Mistake, match=r"fast.npz has 16,000 samples per second, and the data have 8,000"):
        load_samples_for(AudioFolder(tmp_path / "x.npz"), tmp_path / "fast.npz")
    with pytest.raises(Mistake, match=r"x.npz has 8,000 samples per second, and the data have 16,000"):
        AudioFolder(tmp_path / "x.npz", rate=16000).split("train")


def test_float_samples_survive_writing_and_reading_wav_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "made").mkdir()
    data = AudioFolder(folder(tmp_path / "data", kind="float32"))
    x = all_samples(data)
    for name, content in data.modality.folder_contents(x):
        (tmp_path / "made" / name).write_bytes(content)
    assert torch.equal(load_samples_for(data, tmp_path / "made").x, x)


def test_float_audio_out_of_range_in_an_npz_is_refused_with_a_remedy(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", arr_0=3 * np.stack([sound(kind="float32") for _ in range(9)]), rate=8000)
    with pytest.raises(Mistake, match=r"would be clipped. Divide by the largest, or use int16"):
        AudioFolder(tmp_path / "x.npz").split("train")


def test_samples_are_loaded_in_the_stored_form_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "made").mkdir()
    data = AudioFolder(folder(tmp_path / "data"))
    samples = folder(tmp_path / "made", n=5)
    assert load_samples_for(data, samples).x.shape == (5, 1, 40)
    (tmp_path / "faster").mkdir()
    with pytest.raises(Mistake, match=r"16,000 samples per second.*data.rate=8000"):
        load_samples_for(data, folder(tmp_path / "faster", n=5, rate=16000))


def tone(rate: int, seconds: float = 0.5, frequency: float = 440) -> np.ndarray:
    """A sine of amplitude 0.5, float64 [L]."""
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def pcm24(x: np.ndarray, rate: int) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 3, rate, 0, "NONE", ""))
        values = np.round(x * 2**23).astype("<i4")
        file.writeframes(values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    return content.getvalue()


CONVERTED = {
    "44.1 kHz": (wav((tone(44_100) * 32768).astype(np.int16), 44_100), "resampled from 44,100 to 8,000", 1e-3),
    "stereo": (wav(np.stack([tone(8000), np.zeros(4000)], 1).astype(np.float32)), "2 channels averaged", None),
    "24 bits": (pcm24(tone(8000), 8000), "24- or 32-bit PCM stored as 16-bit PCM", 2e-5),
    "8 bits": (wav((tone(8000) * 128 + 128).astype(np.uint8)), "8-bit stored as 16-bit PCM", 1e-2),
    "double": (wav(tone(8000)), "float64 stored as 16-bit PCM", 2e-5),
    "float": (wav(tone(8000).astype(np.float32)), "32-bit float stored as 16-bit PCM", 2e-5),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_a_file_of_another_form_is_converted_with_a_word_and_counted(name: str, tmp_path: Path) -> None:
    content, note, tolerance = CONVERTED[name]
    for i in range(8):
        wavfile.write(tmp_path / f"{i}.wav", 8000, (tone(8000) * 32768).astype(np.int16))
    before = AudioFolder(tmp_path).split("train").x
    (tmp_path / "odd.wav").write_bytes(content)
    data = AudioFolder(tmp_path, convert=True)
    x = all_samples(data)
    assert (data.shape, data.modality.rate, x.dtype) == ((1, 4000), 8000, torch.int16)
    assert any(f"1 of 9: {note}" in line for line in data.notes), data.notes
    expected = tone(8000) / 2 if name == "stereo" else tone(8000)
    inner = slice(200, 3800)  # a filter of another rate knows nothing beyond the ends
    odd = x[(x != before[0]).any(2).any(1)]  # none, if it was converted to the same 16 bits
    gap = (odd[:, 0, inner].double() / 32768 - torch.from_numpy(expected[inner])).abs()
    assert len(odd) == (1 if name == "stereo" else min(len(odd), 1))
    assert not len(odd) or gap.max() <= (tolerance or 2e-5)
    assert (x == before[0]).all((1, 2)).sum() >= 8, "files of the right form are unchanged"


def test_a_mono_file_is_repeated_among_stereo_and_a_rate_is_chosen(tmp_path: Path) -> None:
    for i in range(4):
        wavfile.write(tmp_path / f"{i}.wav", 16_000, np.stack([tone(16_000)] * 2, 1).astype(np.float32))
    wavfile.write(tmp_path / "odd.wav", 16_000, tone(16_000).astype(np.float32))
    config = compose(["data=audio_folder", f"data.folder={tmp_path}", "data.convert=true", "data.rate=8_000"])
    assert (list(config.data.shape), config.data.rate, config.data.bits) == ([2, 4000], 8000, 32)
    data = AudioFolder(tmp_path, convert=True, rate=8000)
    assert all_samples(data).shape == (5, 2, 4000)
    assert any("1 of 5: one channel repeated to 2." in line for line in data.notes)
    assert any("5 of 5: resampled from 16,000 to 8,000" in line for line in data.notes)


def test_broken_files_are_refused_with_conversion_too(tmp_path: Path) -> None:
    for name in ("empty file", "cut in the samples", "no samples", "unknown encoding", "float beyond 1", "not finite"):
        content, message = BAD[name]
        path = tmp_path / name
        path.mkdir()
        (folder(path) / "odd.wav").write_bytes(content)
        with pytest.raises(Mistake, match=re.compile(message, re.S)):
            AudioFolder(path, convert=True).split("train")
    (stereo := tmp_path / "stereo").mkdir()
    wavfile.write(folder(stereo, channels=2) / "odd.wav", 8000, sound(channels=3))
    with pytest.raises(Mistake, match=r"odd.wav has 3 channels, and the data 2. Mix it to one channel"):
        AudioFolder(stereo, convert=True).split("train")


def test_spectrograms_are_standardised_by_facts_of_the_training_split(tmp_path: Path) -> None:
    path = folder(tmp_path, n=10, length=512)
    config = compose(["data=audio_folder", f"data.folder={path}", "data.spectrogram=true"])
    assert list(config.data.shape) == [1, 64, 4]
    data = AudioFolder(path, spectrogram=True)
    assert data.modality.describe()["mean"] == list(config.data.standardisation[0])
    x = data.modality.to_float(data.split("train").x)
    assert x.mean((0, 1, 3)).abs().max() < 0.1
    assert x.transpose(1, 2).transpose(0, 1).flatten(1).std(1).mul(3).sub(1).abs().max() < 0.2


@pytest.mark.parametrize("length", [40, 300])
def test_sounds_without_a_whole_spectrogram_are_refused_with_a_length(length: int, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"must be a multiple of 128 and at least 256. Set data.length=\d+"):
        AudioFolder(folder(tmp_path, length=length), spectrogram=True)
