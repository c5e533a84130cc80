"""Wav files: 16-bit PCM or 32-bit float, of one rate, number of channels and encoding.  Imports no torch."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.data.listing import FileKind, Listing, is_array, list_files, resolve_folder
from saddlepoint.error import Mistake, first_line

WAV_FILES = FileKind("wav files", (".wav", ".wave"))
BITS = {"int16": 16, "float32": 32}  # of each sample, by the type that is kept
ENCODINGS = {16: "16-bit PCM", 32: "32-bit float"}
REMEDY = "Save it as 16-bit PCM or 32-bit float"


@dataclass(frozen=True)
class Sound:
    """One file."""

    rate: int  # samples per second
    samples: np.ndarray  # [channels, length], int16 or float32

    @property
    def bits(self) -> int:
        """16 or 32."""
        return BITS[self.samples.dtype.name]


def load_sound(found: Listing, name: str) -> Sound:
    """A file's waveform; raises Mistake where it is broken, empty, or of an encoding that would have to be rounded."""
    try:
        with found.open(name) as file:
            rate, samples = _decoded(file.read())
    except Mistake:
        raise
    except Exception as fault:  # scipy tells of broken files by ValueError, struct.error and others
        raise Mistake(
            f"{found.location(name)} cannot be read: {first_line(fault)}. Replace it or take it out."
        ) from fault
    if samples.dtype.name not in BITS:
        kind = {"uint8": "8-bit", "int32": "24- or 32-bit PCM"}.get(samples.dtype.name, str(samples.dtype))
        raise Mistake(f"{found.location(name)} is {kind}, which would be rounded. {REMEDY}.")
    if not samples.size:
        raise Mistake(f"{found.location(name)} holds no sound: its length is 0. Take it out.")
    sound = Sound(rate, np.ascontiguousarray(samples.T if samples.ndim > 1 else samples[None]))
    if not np.isfinite(samples).all():
        raise Mistake(f"{found.location(name)} holds values that are not finite. Replace it or take it out.")
    if sound.bits == 32 and np.abs(samples).max() > 1:
        raise Mistake(
            f"{found.location(name)} is float from {samples.min():.4g} to {samples.max():.4g}, and float audio lies in "
            "[-1, 1]: what is beyond would be cut off. Divide all files by one number, or save them as 16-bit PCM."
        )
    return sound


def _decoded(content: bytes) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that are no sound
        warnings.filterwarnings("error", message="Reached EOF", category=wavfile.WavFileWarning)
        rate, samples = wavfile.read(io.BytesIO(content))
    return int(rate), samples.astype(samples.dtype.newbyteorder("="))


def load_sounds(found: Listing) -> Iterator[tuple[str, Sound]]:
    """Each file by name; raises Mistake where two differ in rate, channels or encoding, naming one of each."""
    first: tuple[str, Sound] | None = None
    for name in found.names:
        sound = load_sound(found, name)
        first = first or (name, sound)
        for what, of, remedy in (
            ("rates", lambda s: f"{s.rate:,} samples per second", "Resample them to one rate"),
            ("numbers of channels", lambda s: f"{len(s.samples)} of them", "Mix them down, or take some out"),
            ("encodings", lambda s: ENCODINGS[s.bits], "Save all in one of them"),
        ):
            if of(sound) != of(first[1]):
                raise Mistake(
                    f"wav files of different {what}: {found.location(first[0])} has {of(first[1])}, {found.location(name)} "
                    f"has {of(sound)}. {remedy}."
                )
        yield name, sound


def sound_facts(folder: str | Path | None, length: int | None) -> tuple[dict[str, Any], int]:
    """Shape [C, L], classes, rate and bits of a folder, zip or array, and the number of its sounds.

    By the names and the first file; of an array by its header, with rate None where it says none.
    """
    if is_array(folder):
        return _array_facts(resolve_folder(folder), length)
    found = list_files(folder, WAV_FILES)
    sound = load_sound(found, found.names[0])
    channels, own = sound.samples.shape
    shape = [channels, own if length is None else length]
    return {"shape": shape, "classes": found.classes, "rate": sound.rate, "bits": sound.bits}, len(found.names)


def _array_facts(place: Path, length: int | None) -> tuple[dict[str, Any], int]:
    from saddlepoint.data import array_file  # torch
    from saddlepoint.modality import Audio
    from saddlepoint.run.storage import archive

    header = array_file.read_header(place, Audio)
    shape, kind = header.shape, header.dtype
    if length is not None:
        raise Mistake(f"data.length={length}: it is for wav files; an array's sounds are as they are. Leave it null.")
    if kind != np.int16 and kind.kind != "f":
        raise Mistake(f"{place} is {kind}, and audio is int16, or float32 in [-1, 1].")
    if len(shape) not in (2, 3):
        raise Mistake(f"{place} is {list(shape)}, and audio is [N, channels, length] or [N, length].")
    rate = array_file.sample_rate(archive.load_arrays(place, {"rate"}), place)
    own = [shape[1] if len(shape) == 3 else 1, shape[-1]]
    bits = 16 if kind == np.int16 else 32
    return {"shape": own, "classes": header.classes, "rate": rate, "bits": bits}, shape[0]
