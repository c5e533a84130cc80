"""Wav files, 16-bit PCM or 32-bit float, all with the same rate, channels and encoding.  Imports no torch.

With a `Target`, files are converted to its rate, channels and encoding, and each change is counted: channels are
averaged or repeated, rates changed by a polyphase filter (scipy.signal.resample_poly), other encodings read as floats
and rounded.  What already has the form of the target is not changed.
"""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.data.listing import FileKind, Listing, is_array_file, list_files, resolve_folder
from saddlepoint.error import Mistake, first_line

WAV_FILES = FileKind("wav files", (".wav", ".wave"))
BITS = {"int16": 16, "float32": 32}  # per sample, by numpy dtype
ENCODINGS = {16: "16-bit PCM", 32: "32-bit float"}
SCALES = {"uint8": 2**7, "int16": 2**15, "int32": 2**31}  # integer values per unit of amplitude, by numpy dtype


@dataclass(frozen=True)
class Target:
    """The form to which files are converted; None: that of the first file."""

    rate: int | None = None
    channels: int | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Sound:
    """The content of one wav file."""

    rate: int  # samples per second
    samples: np.ndarray  # [channels, length], int16 or float32
    changes: tuple[str, ...] = ()  # what was converted

    @property
    def bits(self) -> int:
        """16 or 32."""
        return BITS[self.samples.dtype.name]


def load_sound(files: Listing, name: str, target: Target | None = None) -> Sound:
    """Load a file; raises Mistake if it is broken or empty, or if its encoding would have to be rounded.

    target   the form that it is converted to; None: it is read unchanged
    """
    location = files.location(name)
    try:
        with files.open(name) as file:
            rate, samples = _decode_wav(file.read())
    except Mistake:
        raise
    except Exception as error:  # scipy raises ValueError, struct.error and others for broken files
        raise Mistake(f"{location} cannot be read: {first_line(error)}. Replace or remove it.") from error
    if samples.dtype.name not in BITS and target is None:
        raise Mistake(
            f"{location} is {_format_encoding(samples)}, which would be rounded. Save it as 16-bit PCM or 32-bit "
            "float, or set data.convert=true."
        )
    if not samples.size:
        raise Mistake(f"{location} holds no sound: its length is 0. Remove it.")
    samples = np.ascontiguousarray(samples.T if samples.ndim > 1 else samples[None])
    if not np.isfinite(samples).all():
        raise Mistake(f"{location} holds values that are not finite. Replace or remove it.")
    if samples.dtype.kind == "f" and np.abs(samples).max() > 1:
        raise Mistake(
            f"{location} is float from {samples.min():.4g} to {samples.max():.4g}, but float audio must be in [-1, 1], "
            "or it would be clipped. Divide all files by one number, or save them as 16-bit PCM."
        )
    return Sound(rate, samples) if target is None else _convert(rate, samples, target, location)


def _convert(rate: int, samples: np.ndarray, target: Target, location: str) -> Sound:
    """Convert samples [channels, length] of any encoding.  Raises Mistake for several channels that are not two."""
    bits = target.bits or BITS.get(samples.dtype.name, 32)
    new_rate, channels = target.rate or rate, target.channels or len(samples)
    changes = []
    if (rate, len(samples), BITS.get(samples.dtype.name)) == (new_rate, channels, bits):
        return Sound(rate, samples)
    x = samples.astype(np.float64)
    if (scale := SCALES.get(samples.dtype.name)) is not None:
        x = (x - 128 if samples.dtype == np.uint8 else x) / scale
    if len(x) != channels:
        if channels != 1 and len(x) != 1:
            raise Mistake(f"{location} has {len(x)} channels, and the data {channels}. Mix it to one channel.")
        changes.append(f"{len(x)} channels averaged" if channels == 1 else f"one channel repeated to {channels}")
        x = x.mean(0, keepdims=True) if channels == 1 else x.repeat(channels, 0)
    if rate != new_rate:
        from scipy.signal import resample_poly

        divisor = gcd(rate, new_rate)
        x = resample_poly(x, new_rate // divisor, rate // divisor, axis=1)
        changes.append(f"resampled from {rate:,} to {new_rate:,} samples per second")
    if BITS.get(samples.dtype.name) != bits:
        changes.append(f"{_format_encoding(samples)} stored as {ENCODINGS[bits]}")
    if bits == 32:
        return Sound(new_rate, x.clip(-1, 1).astype(np.float32), tuple(changes))
    rounded = (x * SCALES["int16"]).round().clip(-SCALES["int16"], SCALES["int16"] - 1)
    return Sound(new_rate, rounded.astype(np.int16), tuple(changes))


def _format_encoding(samples: np.ndarray) -> str:
    """Return the encoding of a file as text; 24 bits are read as 32."""
    names = {"uint8": "8-bit", "int16": ENCODINGS[16], "int32": "24- or 32-bit PCM", "float32": ENCODINGS[32]}
    return names.get(samples.dtype.name, str(samples.dtype))


def _decode_wav(content: bytes) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # about chunks other than the samples
        warnings.filterwarnings("error", message="Reached EOF", category=wavfile.WavFileWarning)
        rate, samples = wavfile.read(io.BytesIO(content))
    return int(rate), samples.astype(samples.dtype.newbyteorder("="))


def load_sounds(files: Listing, target: Target | None = None) -> Iterator[tuple[str, Sound]]:
    """Yield each file by name, converted to a target; without one, raises Mistake if two differ in form."""
    first: tuple[str, Sound] | None = None
    for name in files.names:
        sound = load_sound(files, name, target)
        first_name, first_sound = first = first or (name, sound)
        for what, value_of, remedy in (
            ("rates", lambda s: f"{s.rate:,} samples per second", "Resample them to one rate"),
            ("numbers of channels", lambda s: str(len(s.samples)), "Mix them down, or remove some"),
            ("encodings", lambda s: ENCODINGS[s.bits], "Save all in one of them"),
        ):
            if value_of(sound) != value_of(first_sound):
                raise Mistake(
                    f"wav files of different {what}: {files.location(first_name)} has {value_of(first_sound)}, "
                    f"{files.location(name)} has {value_of(sound)}. {remedy}, or set data.convert=true."
                )
        yield name, sound


def read_sound_facts(
    folder: str | Path | None, length: int | None, target: Target | None = None
) -> tuple[dict[str, Any], int]:
    """Return shape [C, L], classes, rate and bits of a folder, zip or array file, and the number of sounds.

    Reads the names and the first file, or the header of an array; the rate of an array is None if it has none.
    """
    if is_array_file(folder):
        if target is not None:
            raise Mistake("data.convert=true: wav files can be converted, arrays cannot. Leave it false.")
        return _read_array_facts(resolve_folder(folder), length)
    files = list_files(folder, WAV_FILES)
    sound = load_sound(files, files.names[0], target)
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
