"""Spoken digits, the Free Spoken Digit Dataset: 3,000 clips of 6 speakers, 8 kHz.  Jackson et al., CC BY-SA 4.0.

The digits 0 to 9, each spoken 50 times by each speaker.  The classes are the digits, the column `speaker` is 0 to 5.
The clips are read from spoken_digits.npz, else from the wav files of the original (a folder, or its zip, which is
downloaded if all are missing).  Whatever the source, the sha256 of the clips is checked.

Splits: takes 0 to 4 of each digit and speaker are test (300), as the authors have it.  Of the others, the 5 with the
smallest sha256 of their name ("3_theo_17") are validation (300), the others train (2,400).  The rows of a split are
in the order of this hash, so that its first rows are of several digits and speakers.
"""

import hashlib
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.data import wav_file
from saddlepoint.data.array_file import unreadable_as_mistake
from saddlepoint.data.data import Data, Split
from saddlepoint.data.listing import list_files
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Spectrogram
from saddlepoint.modality.mel import MelSpectrogram
from saddlepoint.run.storage import archive, atomic

RATE, DIGITS, SPEAKERS, TAKES = 8000, 10, ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"), 50
OFFICIAL_TEST, VALIDATION = 5, 5  # takes per digit and speaker
SPEAKER = "speaker"  # the column
NPZ, FOLDERS = "spoken_digits.npz", ("free-spoken-digit-dataset/recordings", "recordings")
ZIP = "free-spoken-digit-dataset.zip"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
# of the samples of all clips, int16, in the order of digit, speaker and take
SHA256 = "1c198bcefcecbeba53f609217f9994501f18d46f77a9380acd987512d27c1974"
# of the log-mel spectrograms of the training split, 8,192 samples each: `modality.spectrogram.standardisation_of`
MEAN = (
    -4.142,
    -4.046,
    -3.829,
    -3.554,
    -3.216,
    -3.160,
    -3.157,
    -3.160,
    -3.168,
    -3.175,
    -3.158,
    -3.131,
    -3.080,
    -3.105,
    -3.165,
    -3.120,
    -3.057,
    -3.099,
    -3.222,
    -3.316,
    -3.328,
    -3.377,
    -3.410,
    -3.482,
    -3.494,
    -3.512,
    -3.556,
    -3.589,
    -3.599,
    -3.636,
    -3.670,
    -3.667,
    -3.659,
    -3.683,
    -3.675,
    -3.672,
    -3.649,
    -3.628,
    -3.598,
    -3.567,
    -3.547,
    -3.550,
    -3.548,
    -3.540,
    -3.549,
    -3.547,
    -3.530,
    -3.520,
    -3.540,
    -3.532,
    -3.518,
    -3.493,
    -3.476,
    -3.482,
    -3.524,
    -3.570,
    -3.577,
    -3.559,
    -3.531,
    -3.523,
    -3.534,
    -3.581,
    -3.647,
    -3.822,
)
DEVIATION = (
    1.149,
    1.167,
    1.409,
    1.706,
    1.989,
    2.011,
    2.013,
    2.038,
    2.049,
    2.039,
    2.038,
    2.113,
    2.209,
    2.177,
    2.095,
    2.153,
    2.246,
    2.202,
    2.051,
    1.958,
    1.951,
    1.898,
    1.852,
    1.762,
    1.749,
    1.719,
    1.643,
    1.598,
    1.589,
    1.526,
    1.485,
    1.500,
    1.508,
    1.482,
    1.494,
    1.502,
    1.534,
    1.554,
    1.584,
    1.610,
    1.630,
    1.627,
    1.631,
    1.645,
    1.627,
    1.618,
    1.628,
    1.617,
    1.569,
    1.574,
    1.593,
    1.628,
    1.651,
    1.658,
    1.620,
    1.582,
    1.583,
    1.616,
    1.652,
    1.661,
    1.647,
    1.593,
    1.516,
    1.325,
)


class SpokenDigits(Data):
    """x int16 [n, 1, length]; column speaker int64 [n].  `root` is the folder of the npz, the recordings or the zip.

    length       samples of each clip, at 8,000 per second: longer ones are cut, shorter ones filled with silence
    spectrogram  whether networks receive log-mel spectrograms [1, 64, length / 128] (`modality.spectrogram`)
    Raises Mistake for a length that is not a multiple of the hop of spectrograms, 128 samples.
    """

    name = "spoken_digits"
    exchangeable_splits = ("train", "validation")
    value_names: Mapping[str, Sequence[str]] = {SPEAKER: SPEAKERS}

    def __init__(
        self,
        root: str | Path = "data",
        length: int = 8_192,
        spectrogram: bool = False,
        rate: int = RATE,
        shape: Iterable[int] | None = None,
        classes: int | None = DIGITS,
        extractor: str | None = "spoken-digits",
        **rest: Any,
    ) -> None:
        if rate != RATE:
            raise Mistake(f"data.rate={rate}: these clips have {RATE:,} samples per second, and are not resampled.")
        self.modality = Spectrogram(RATE, 16, MEAN, DEVIATION) if spectrogram else Audio(RATE, 16)
        super().__init__(shape or sample_shape(length, spectrogram), classes, extractor, **rest)
        self.root, self.length = Path(root).expanduser().absolute(), length

    @property
    def source(self) -> Path | None:
        """The npz, folder or zip that the clips are read from; None: missing."""
        paths = [self.root / name for name in (NPZ, *FOLDERS, ZIP)]
        return next((path for path in paths if path.exists()), None)

    @property
    def missing_files(self) -> list[str]:
        """The name of the npz, if there is no source."""
        return [NPZ] if self.source is None else []

    def prepare_data(self) -> None:
        """Download the zip of the original if there is no source.  Raises Mistake if that fails."""
        if self.source is not None:
            return
        try:
            with urllib.request.urlopen(URL, timeout=30) as reply, TemporaryDirectory() as scratch:
                download = Path(scratch) / ZIP
                download.write_bytes(reply.read())
                if (digest := content_sha256(_load_recordings(download))) != SHA256:
                    raise Mistake(self._missing_message(f"was downloaded, but has sha256 {digest[:16]}..."))
                self.root.mkdir(parents=True, exist_ok=True)
                atomic.copy_atomic(download, self.root / ZIP)
        except OSError as error:
            reason = f"could not be downloaded ({' '.join(str(error).split())[:160]})"
            raise Mistake(self._missing_message(reason)) from error

    def splits(self) -> dict[str, Split]:
        clips = self._load_clips()
        x, n_cut = fit_clips(clips, self.length)
        self.notes = (
            [f"{self.source}: {n_cut} of {len(clips):,} clips: cut to {self.length:,} samples."] if n_cut else []
        )
        names = clip_names()
        kind_of = splits_of_clips()
        splits = {}
        for kind in ("train", "validation", "test"):
            of_kind = (row for row, name in enumerate(names) if kind_of[name] == kind)
            rows = torch.tensor(sorted(of_kind, key=lambda row: name_sha256(names[row])))
            digit, speaker = rows // (len(SPEAKERS) * TAKES), rows // TAKES % len(SPEAKERS)
            splits[kind] = Split(kind, x[rows], digit, DIGITS, {SPEAKER: speaker}, self.modality)
        return splits

    def _load_clips(self) -> list[np.ndarray]:
        """Return all clips, int16, by digit, speaker and take.  Raises Mistake unless they are the original."""
        path = self.source
        if path is None:
            raise Mistake(self._missing_message("was not downloaded"))
        clips = _load_npz(path) if path.suffix == ".npz" else _load_recordings(path)
        if (digest := content_sha256(clips)) != SHA256:
            raise Mistake(
                f"{path} is not the original: the sha256 of its clips is {digest[:16]}... instead of {SHA256[:16]}...\n"
                "Remove it and run again, which downloads the original, or set data.root=<another folder>."
            )
        return clips

    def _missing_message(self, reason: str) -> str:
        return (
            f"spoken_digits: {self.root} has no {NPZ}, {FOLDERS[1]}/ or {ZIP}; the original {reason}.\n"
            f"With a network connection: curl -fL --create-dirs -o {self.root / ZIP} {URL}. Or set data.root=..."
        )


def sample_shape(length: int, spectrogram: bool) -> tuple[int, ...]:
    """Return the shape of one sample as networks receive it.  Raises Mistake unless the hop divides the length."""
    mel = MelSpectrogram.of_rate(RATE)
    if length < mel.window or length % mel.hop:
        raise Mistake(
            f"data.length={length}: must be a multiple of {mel.hop} samples, the hop of the spectrograms, and at least "
            f"{mel.window}; 8_192 cuts 17 of the 3,000 clips"
        )
    return (1, mel.bins, length // mel.hop) if spectrogram else (1, length)


def clip_names() -> list[str]:
    """Return the names of all clips, "<digit>_<speaker>_<take>", in the order of digit, speaker and take."""
    return [f"{digit}_{speaker}_{take}" for digit in range(DIGITS) for speaker in SPEAKERS for take in range(TAKES)]


def splits_of_clips() -> dict[str, str]:
    """Return the split of each clip, by name."""
    names, kinds = clip_names(), {}
    for first in range(0, len(names), TAKES):
        test, others = names[first : first + OFFICIAL_TEST], names[first + OFFICIAL_TEST : first + TAKES]
        order = sorted(others, key=name_sha256)
        kinds |= dict.fromkeys(test, "test") | dict.fromkeys(order, "train")
        kinds |= dict.fromkeys(order[:VALIDATION], "validation")
    return kinds


def name_sha256(name: str) -> bytes:
    """Return the sha256 of a clip's name."""
    return hashlib.sha256(name.encode()).digest()


def fit_clips(clips: Sequence[np.ndarray], length: int) -> tuple[Tensor, int]:
    """Return clips cut or filled with silence at their end, int16 [n, 1, length], and the number of cut ones."""
    x = np.zeros((len(clips), 1, length), np.int16)
    for row, clip in zip(x, clips, strict=True):
        row[0, : len(clip)] = clip[:length]
    return torch.from_numpy(x), sum(len(clip) > length for clip in clips)


def content_sha256(clips: Iterable[np.ndarray]) -> str:
    """Return the sha256 of the lengths and samples of all clips."""
    content = hashlib.sha256()
    for clip in clips:
        content.update(len(clip).to_bytes(8, "little") + clip.astype("<i2").tobytes())
    return content.hexdigest()


def _load_npz(path: Path) -> list[np.ndarray]:
    names = ("samples", "offsets", "digit", "speaker", "take")
    with unreadable_as_mistake(path):
        arrays = archive.load_arrays(path, names)
    if missing := [name for name in names if name not in arrays]:
        raise Mistake(f"{path} has no array {', '.join(missing)}: it needs {', '.join(names)}. Replace it.")
    clips = np.split(arrays["samples"], arrays["offsets"][1:-1])
    order = np.lexsort([arrays[name] for name in ("take", "speaker", "digit")])
    return [clips[row] for row in order]


def _load_recordings(path: Path) -> list[np.ndarray]:
    """Load <digit>_<speaker>_<take>.wav of a folder or zip.  Raises Mistake if one is missing or has another form."""
    files = list_files(path, wav_file.WAV_FILES)
    by_name = {name.rpartition("/")[2].removesuffix(".wav"): name for name in files.names}
    names = clip_names()
    if missing := [name for name in names if name not in by_name]:
        raise Mistake(f"{path} has no {missing[0]}.wav ({len(missing):,} of {len(names):,} files are missing).")
    clips = []
    for name in names:
        sound = wav_file.load_sound(files, by_name[name])
        if (sound.rate, len(sound.samples), sound.bits) != (RATE, 1, 16):
            raise Mistake(f"{files.location(by_name[name])} is not 16-bit mono at {RATE:,} samples per second.")
        clips.append(sound.samples[0])
    return clips
