"""Wav files, 16-bit PCM or 32-bit float, all with the same rate, channels and encoding.  Imports no torch."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.data.listing import FileKind, Listing, is_array_file, list_files, resolve_folder
from saddlepoint.error import Mistake, first_line

WAV_FILES = FileKind("wav files", (".wav", ".wave"))
BITS = {"int16": 16, "float32": 32}  # per sample, by numpy dtype
ENCODINGS = {16: "16-bit PCM", 32: "32-bit float"}


@dataclass(frozen=True)
class Sound:
    """The content of one wav file."""

    rate: int  # samples per second
    samples: np.ndarray  # [channels, length], int16 or float32

    @property
    def bits(self) -> int:
        """16 or 32."""
        return BITS[self.samples.dtype.name]


def load_sound(files: Listing, name: str) -> Sound:
    """Load a file; raises Mistake if it is broken or empty, or if its encoding would have to be rounded."""
    location = files.location(name)
    try:
        with files.open(name) as file:
            rate, samples = _decode_wav(file.read())
    except Mistake:
        raise
    except Exception as error:  # scipy raises ValueError, struct.error and others for broken files
        raise Mistake(f"{location} cannot be read: {first_line(error)}. Replace or remove it.") from error
    if samples.dtype.name not in BITS:
        encoding = {"uint8": "8-bit", "int32": "24- or 32-bit PCM"}.get(samples.dtype.name, str(samples.dtype))
        raise Mistake(f"{location} is {encoding}, which would be rounded. Save it as 16-bit PCM or 32-bit float.")
    if not samples.size:
        raise Mistake(f"{location} holds no sound: its length is 0. Remove it.")
    sound = Sound(rate, np.ascontiguousarray(samples.T if samples.ndim > 1 else samples[None]))
    if not np.isfinite(samples).all():
        raise Mistake(f"{location} holds values that are not finite. Replace or remove it.")
    if sound.bits == 32 and np.abs(samples).max() > 1:
        raise Mistake(
            f"{location} is float from {samples.min():.4g} to {samples.max():.4g}, but float audio must be in [-1, 1], "
            "or it would be clipped. Divide all files by one number, or save them as 16-bit PCM."
        )
    return sound


def _decode_wav(content: bytes) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # about chunks other than the samples
        warnings.filterwarnings("error", message="Reached EOF", category=wavfile.WavFileWarning)
        rate, samples = wavfile.read(io.BytesIO(content))
    return int(rate), samples.astype(samples.dtype.newbyteorder("="))


def load_sounds(files: Listing) -> Iterator[tuple[str, Sound]]:
    """Yield each file by name; raises Mistake if two differ in rate, channels or encoding."""
    first: tuple[str, Sound] | None = None
    for name in files.names:
        sound = load_sound(files, name)
        first_name, first_sound = first = first or (name, sound)
        for what, value_of, remedy in (
            ("rates", lambda s: f"{s.rate:,} samples per second", "Resample them to one rate"),
            ("numbers of channels", lambda s: str(len(s.samples)), "Mix them down, or remove some"),
            ("encodings", lambda s: ENCODINGS[s.bits], "Save all in one of them"),
        ):
            if value_of(sound) != value_of(first_sound):
                raise Mistake(
                    f"wav files of different {what}: {files.location(first_name)} has {value_of(first_sound)}, "
                    f"{files.location(name)} has {value_of(sound)}. {remedy}."
                )
        yield name, sound


def read_sound_facts(folder: str | Path | None, length: int | None) -> tuple[dict[str, Any], int]:
    """Return shape [C, L], classes, rate and bits of a folder, zip or array file, and the number of sounds.

    Reads the names and the first file, or the header of an array; the rate of an array is None if it has none.
    """
    if is_array_file(folder):
        return _read_array_facts(resolve_folder(folder), length)
    files = list_files(folder, WAV_FILES)
    sound = load_sound(files, files.names[0])
    channels, first_length = sound.samples.shape
    shape = [channels, first_length if length is None else length]
    return {"shape": shape, "classes": files.classes, "rate": sound.rate, "bits": sound.bits}, len(files.names)


def _read_array_facts(path: Path, length: int | None) -> tuple[dict[str, Any], int]:
    from saddlepoint.data import array_file  # torch
    from saddlepoint.modality import Audio
    from saddlepoint.run.storage import archive

    header = array_file.read_header(path, Audio)
    shape, dtype = header.shape, header.dtype
    if length is not None:
        raise Mistake(f"data.length={length}: wav files can be cut or filled, arrays cannot. Leave it null.")
    if dtype != np.int16 and dtype.kind != "f":
        raise Mistake(f"{path} is {dtype}, and audio is int16, or float32 in [-1, 1].")
    if len(shape) not in (2, 3):
        raise Mistake(f"{path} is {list(shape)}, and audio is [N, channels, length] or [N, length].")
    rate = array_file.check_sample_rate(archive.load_arrays(path, {"rate"}), path)
    sound_shape = [shape[1] if len(shape) == 3 else 1, shape[-1]]
    bits = 16 if dtype == np.int16 else 32
    return {"shape": sound_shape, "classes": header.classes, "rate": rate, "bits": bits}, shape[0]
