"""A folder or .zip of wav files (16-bit PCM or 32-bit float), classes by folder; see `listing`.  Or an .npz or .npy of
audio (see `array`), whose `rate` stands in it, or is said.  What the settings mean: docs/data.md.  The split is fixed
by the names alone (see `folder`).
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.data import wav_file
from saddlepoint.data.array_file import load_array as read_array
from saddlepoint.data.data import Split
from saddlepoint.data.folder import Folder
from saddlepoint.data.image_folder import format_changes
from saddlepoint.data.listing import Listing, resolve_folder
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio


class AudioFolder(Folder):
    """x int16 or float32 [n, channels, length].  Facts left None are read off the folder.

    extractor auto: identity, the waveforms themselves, where they have 4,096 numbers at most, else none.
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
            raise Mistake(f"data.length={length}: so many samples of each file, 1 at least, or null.")
        if shape is None:
            found, _ = wav_file.sound_facts(folder, length)
            shape, rate = found["shape"], found["rate"] if rate is None else rate
            classes, bits = found["classes"] if classes is None else classes, found["bits"] if bits is None else bits
        self.length = length
        self.modality = Audio(rate, 32 if bits is None else bits)
        super().__init__(folder, shape or (), classes, **rest)

    def splits(self) -> dict[str, Split]:
        if self.is_array:
            return self.array_splits(read_array(resolve_folder(self.folder), self.modality))
        x, self.notes = load_waveforms(self.listing, self.modality, self.shape, fit=self.length is not None)
        y = None if self.listing.labels is None else torch.tensor(self.listing.labels)
        return self.build_splits(self.listing.names, x, y, self.listing.classes)


def load_waveforms(
    found: Listing, modality: Audio, shape: tuple[int, ...], fit: bool = False
) -> tuple[Tensor, list[str]]:
    """All files as one tensor [N, *shape], as stored, and notes on what was found and done.

    fit    whether files of another length are cut, or filled with silence
    Raises Mistake where they differ among themselves, or from what the data are.
    """
    channels, length = shape
    x = np.zeros((len(found.names), channels, length), np.int16 if modality.bits == 16 else np.float32)
    changes: Counter[str] = Counter()
    for row, (name, one) in zip(x, wav_file.load_sounds(found), strict=True):
        own = len(one.samples), one.rate, one.bits
        if own != (channels, modality.rate, modality.bits):
            raise Mistake(
                f"{found.location(name)} has {own[0]} channels, {own[1]:,} samples per second and {own[2]} bits, and the "
                f"data are configured as data.shape=[{channels},{length}] data.rate={modality.rate} "
                f"data.bits={modality.bits}. Leave these null, which reads them off the files, or convert the files."
            )
        n = one.samples.shape[1]
        row[:, : min(n, length)] = one.samples[:, :length]
        if n != length and not fit:
            raise Mistake(
                f"wav files of different lengths: the data have {length:,} samples, as the first file or data.shape "
                f"has, and {found.location(name)} has {n:,}. Say data.length={length} to cut or fill every file."
            )
        if n != length:
            changes[f"cut to {length:,} samples" if n > length else f"filled with silence to {length:,} samples"] += 1
    return torch.from_numpy(x), [*found.notes, *format_changes(found, changes)]
