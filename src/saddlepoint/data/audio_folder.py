"""A folder or .zip of wav files, classes by folder; see `listing`.  Or an .npz or .npy of audio (see `array_file`),
with the `rate` in the npz or in the config.

The settings: docs/data.md.  The splits depend on the names only (see `folder`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.data import wav_file
from saddlepoint.data.array_file import load_array
from saddlepoint.data.data import Split
from saddlepoint.data.folder import Folder
from saddlepoint.data.listing import Listing, format_changes, resolve_folder
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Spectrogram
from saddlepoint.modality.mel import MelSpectrogram
from saddlepoint.modality.spectrogram import standardisation_of


class AudioFolder(Folder):
    """x int16 or float32 [n, channels, length].  Facts that are None are read from the folder.

    convert          whether files of another rate, encoding or number of channels are converted, else refused
    spectrogram      whether networks receive log-mel spectrograms [channels, bins, frames] (`modality.spectrogram`)
    standardisation  a fact of these: mean and deviation of each bin, in the training split
    extractor auto: trained, a classifier of the log-mel spectrograms, for sounds with classes and a rate; else
    identity, the values that networks receive, if they are at most 4,096 numbers; else none.
    """

    name = "audio_folder"
    file_kind = wav_file.WAV_FILES
    noun = "sounds"

    def __init__(
        self,
        folder: str | Path | None = None,
        length: int | None = None,
        convert: bool = False,
        spectrogram: bool = False,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        rate: int | None = None,
        bits: int | None = None,
        standardisation: Sequence[Sequence[float]] | None = None,
        **rest: Any,
    ) -> None:
        self.convert = convert
        if shape is None or (spectrogram and standardisation is None):
            settings = {"length": length, "convert": convert, "spectrogram": spectrogram, "rate": rate, "bits": bits}
            splits = {key: rest[key] for key in ("validation", "test") if key in rest}
            facts, _ = read_audio_facts({"folder": folder, **settings, **splits})
            shape, rate = facts["shape"], facts["rate"] if rate is None else rate
            classes, bits = facts["classes"] if classes is None else classes, facts["bits"] if bits is None else bits
            standardisation = facts.get("standardisation")
        self.length, bits = length, 32 if bits is None else bits
        if spectrogram:
            assert rate is not None
            assert standardisation is not None
            self.modality = Spectrogram(rate, bits, *standardisation)
        else:
            self.modality = Audio(rate, bits)
        super().__init__(folder, shape or (), classes, **rest)

    def splits(self) -> dict[str, Split]:
        if self.is_array_file:
            return self.array_splits(load_array(resolve_folder(self.folder), self.modality))
        fit = self.length is not None
        x, self.notes = load_waveforms(self.listing, self.modality, self.shape, fit, self.convert)
        y = None if self.listing.labels is None else torch.tensor(self.listing.labels)
        return self.build_splits(self.listing.names, x, y, self.listing.classes)


def read_audio_facts(data: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the facts of a folder of sounds, by the keys of data=audio_folder, and the number of sounds.

    For spectrograms, reads all files.  Raises Mistake if the length is not a multiple of the hop.
    """
    length, bits = data["length"], data.get("bits")
    if length is not None and length < 1:
        raise Mistake(f"data.length={length}: must be the number of samples of each file, at least 1, or null.")
    target = wav_file.Target(data.get("rate"), None, bits) if data.get("convert") else None
    facts, number = wav_file.read_sound_facts(data["folder"], length, target)
    rate = facts["rate"] if data.get("rate") is None else data["rate"]
    if not data.get("spectrogram"):
        return facts, number
    if rate is None:
        raise Mistake("data.spectrogram=true needs the samples per second, which the file lacks: set data.rate=8_000")
    mel, (channels, length) = MelSpectrogram.of_rate(rate), facts["shape"]
    if length % mel.hop or length < mel.window:
        raise Mistake(
            f"data.spectrogram=true: the sounds have {length:,} samples, which must be a multiple of {mel.hop} and at "
            f"least {mel.window}. Set data.length={max(mel.window, -(-length // mel.hop) * mel.hop)} for one of "
            f"{mel.bins} bins, or a length of {mel.bins * mel.hop:,} for {mel.bins} x {mel.bins}."
        )
    waveforms = AudioFolder(
        data["folder"], data["length"], bool(data.get("convert")), False, (channels, length), facts["classes"], rate,
        facts["bits"], extractor=None, **{key: data[key] for key in ("validation", "test") if key in data},
    )  # fmt: skip
    x = waveforms.modality.to_float(waveforms.split("train").x)
    shape = [channels, mel.bins, length // mel.hop]
    return {**facts, "shape": shape, "rate": rate, "standardisation": list(standardisation_of(x, rate))}, number


def load_waveforms(
    files: Listing, modality: Audio, shape: tuple[int, ...], fit: bool = False, convert: bool = False
) -> tuple[Tensor, list[str]]:
    """Load all files as one tensor [N, channels, length] in stored form, and notes on the listing and the changes.

    shape    of one sample, as networks receive it
    fit      whether files of another length are cut or filled with silence
    convert  whether files are converted to the rate, encoding and number of channels of the data
    Raises Mistake if the files differ from each other or from the data.
    """
    channels, length = modality.measured_shape(shape)
    x = np.zeros((len(files.names), channels, length), np.int16 if modality.bits == 16 else np.float32)
    changes: Counter[str] = Counter()
    target = wav_file.Target(modality.rate, channels, modality.bits) if convert else None
    for row, (name, sound) in zip(x, wav_file.load_sounds(files, target), strict=True):
        changes.update(sound.changes)
        if (len(sound.samples), sound.rate, sound.bits) != (channels, modality.rate, modality.bits):
            raise Mistake(
                f"{files.location(name)} has {len(sound.samples)} channels, {sound.rate:,} samples per second and "
                f"{sound.bits} bits, and the config has data.shape=[{channels},{length}] data.rate={modality.rate} "
                f"data.bits={modality.bits}. Set these to null to read them from the files, or convert the files."
            )
        n = sound.samples.shape[1]
        row[:, : min(n, length)] = sound.samples[:, :length]
        if n != length and not fit:
            raise Mistake(
                f"wav files of different lengths: {length:,} samples in the first file or data.shape, {n:,} in "
                f"{files.location(name)}. Set data.length={length} to cut or fill every file."
            )
        if n != length:
            changes[f"cut to {length:,} samples" if n > length else f"filled with silence to {length:,} samples"] += 1
    return torch.from_numpy(x), [*files.notes, *format_changes(files, changes)]
