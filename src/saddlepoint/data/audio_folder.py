"""A folder or .zip of wav files (16-bit PCM or 32-bit float), classes by folder; see `listing`.  Or an .npz or .npy of
audio (see `array_file`), with the `rate` in the npz or in the config.

The settings: docs/data.md.  The splits depend on the names only (see `folder`).
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.data import wav_file
from saddlepoint.data.array_file import load_array
from saddlepoint.data.data import Split
from saddlepoint.data.folder import Folder
from saddlepoint.data.image_folder import format_changes
from saddlepoint.data.listing import Listing, resolve_folder
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio


class AudioFolder(Folder):
    """x int16 or float32 [n, channels, length].  Facts that are None are read from the folder.

    extractor auto: identity, the waveforms themselves, if they have at most 4,096 numbers, else none.
    """

    name = "audio_folder"
    file_kind = wav_file.WAV_FILES
    noun = "sounds"

    def __init__(
        self,
        folder: str | Path | None = None,
        length: int | None = None,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        rate: int | None = None,
        bits: int | None = None,
        **rest: Any,
    ) -> None:
        if length is not None and length < 1:
            raise Mistake(f"data.length={length}: must be the number of samples of each file, at least 1, or null.")
        if shape is None:
            facts, _ = wav_file.read_sound_facts(folder, length)
            shape, rate = facts["shape"], facts["rate"] if rate is None else rate
            classes, bits = facts["classes"] if classes is None else classes, facts["bits"] if bits is None else bits
        self.length = length
        self.modality = Audio(rate, 32 if bits is None else bits)
        super().__init__(folder, shape or (), classes, **rest)

    def splits(self) -> dict[str, Split]:
        if self.is_array_file:
            return self.array_splits(load_array(resolve_folder(self.folder), self.modality))
        x, self.notes = load_waveforms(self.listing, self.modality, self.shape, fit=self.length is not None)
        y = None if self.listing.labels is None else torch.tensor(self.listing.labels)
        return self.build_splits(self.listing.names, x, y, self.listing.classes)


def load_waveforms(
    files: Listing, modality: Audio, shape: tuple[int, ...], fit: bool = False
) -> tuple[Tensor, list[str]]:
    """Load all files as one tensor [N, *shape] in stored form, and notes on the listing and the changes.

    fit    whether files of another length are cut or filled with silence
    Raises Mistake if the files differ from each other or from the data.
    """
    channels, length = shape
    x = np.zeros((len(files.names), channels, length), np.int16 if modality.bits == 16 else np.float32)
    changes: Counter[str] = Counter()
    for row, (name, sound) in zip(x, wav_file.load_sounds(files), strict=True):
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
