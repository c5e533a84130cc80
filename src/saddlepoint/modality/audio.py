"""Audio: waveforms with one rate and length.  Stored form int16 or float32 [n, C, L]; float form float32 in [-1, 1].

int16 is divided by 32768, which is exactly invertible; float32 must be in [-1, 1].
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from saddlepoint.error import Mistake
from saddlepoint.modality.mel import MelSpectrogram
from saddlepoint.modality.modality import FOLDER, NOT_FINITE, NPZ_FILE, Modality, figure_to_image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_SHOWN = 8  # waveforms in a picture
WINDOW = 256  # samples per window of a spectrogram
SILENCE = 1e-5  # amplitude, -100 dB
SCALE = 32768  # int16 values per unit of amplitude


class Audio(Modality):
    """Waveforms.

    rate   samples per second, or None if unknown
    bits   16 (int16) or 32 (float32)
    Raises Mistake for other bits, and for a rate below 1.
    """

    name = "audio"
    plural = "audio"
    value_description = "amplitudes in [-1, 1]"
    bounded = True
    metric_hint = (
        " For audio with classes there is evaluation.extractor=trained, and metric=[mel_distance] of vocoders."
    )
    suffixes: ClassVar = {
        FOLDER: "a folder/ of wav files", ".wav": "one.wav (n=1)", ".npz": NPZ_FILE, ".png": "a picture.png",
    }  # fmt: skip

    def __init__(self, rate: int | None = None, bits: int = 32) -> None:
        if bits not in (16, 32):
            raise Mistake(f"data.bits={bits}: audio is stored with 16 bits (int16) or 32 (float32)")
        if rate is not None and rate < 1:
            raise Mistake(f"data.rate={rate}: must be at least 1, the samples per second")
        self.rate, self.bits, self.audible = rate, bits, rate is not None
        self.stored_form = f"{'int16' if bits == 16 else 'float32'} audio [n, channels, length]"

    def has_stored_form(self, x: Tensor) -> bool:
        return x.dtype == (torch.int16 if self.bits == 16 else torch.float32) and x.ndim == 3

    def to_float(self, x: Tensor) -> Tensor:
        return x.to(torch.float32) / SCALE if x.dtype == torch.int16 else x.to(torch.float32)

    def to_stored(self, x: Tensor) -> Tensor:
        if self.bits == 32:
            return x.to(torch.float32).clamp(-1, 1)
        return x.mul(SCALE).round_().clamp_(-SCALE, SCALE - 1).to(torch.int16)

    def default_extractor(self, shape: tuple[int, ...], classes: int | None = None) -> str | None:
        has_images = classes is not None and self.image_shape(shape) is not None
        return "trained" if has_images else super().default_extractor(shape, classes)

    def image_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        """That of the log-mel spectrogram; None without a rate, and for sounds shorter than a window."""
        if self.rate is None or shape[1] < (mel := MelSpectrogram.of_rate(self.rate)).window:
            return None
        return shape[0], mel.bins, -(-shape[1] // mel.hop)

    def to_image(self, x: Tensor) -> Tensor:
        assert self.rate is not None
        return MelSpectrogram.of_rate(self.rate).to_image(Audio.to_float(self, x))

    def anchors(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        return {"silence": torch.zeros_like}

    def paired_anchors(self, source: Tensor) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Griffin-Lim, for pairs whose inputs are log-mel spectrograms [n, C, bins, frames]."""
        if self.rate is None or source.ndim != 4 or source.shape[2] != (mel := MelSpectrogram.of_rate(self.rate)).bins:
            return {}
        return {"Griffin-Lim": lambda x: mel.to_waveform(x).clamp_(-1, 1)}

    def conversion_hint(self, x: Tensor) -> str | None:
        if x.ndim == 3 and x.dtype in (torch.int16, torch.float32):
            other_bits = 48 - self.bits
            return f"set modality = saddlepoint.modality.Audio(rate, bits={other_bits}) in the data"
        if x.ndim == 3 and x.dtype == torch.float64:
            return "use x.to(torch.float32)"
        return "a channel axis is missing: x[:, None]" if x.ndim == 2 else None

    def why_not(self, x: Tensor) -> str | None:
        if not x.is_floating_point():
            return None
        if not bool(x.isfinite().all()):
            return NOT_FINITE
        if float(x.abs().max()) > 1:
            return (
                f"float audio must be in [-1, 1], but these values are from {float(x.min()):.4g} to "
                f"{float(x.max()):.4g} and would be clipped. Divide by the largest, or use int16"
            )
        return None

    def samples_per_picture(self, rows: int, columns: int) -> int:
        return min(rows * columns, MAX_SHOWN)

    def picture(self, x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Picture:
        """Draw the first 8 samples: the waveform of the first channel and its spectrogram in decibels, by seconds."""
        from matplotlib.figure import Figure

        sounds = self._waveforms(x[:MAX_SHOWN])[:, 0].cpu()
        length, rate = sounds.shape[1], self.rate or 1
        seconds, unit = length / rate, "s" if self.rate else "samples"
        figure = Figure(figsize=(8, 0.4 + 1.1 * len(sounds)), dpi=100, layout="constrained")
        grid = figure.subplots(len(sounds), 2, squeeze=False)
        for (left, right), sound in zip(grid, sounds, strict=True):
            left.plot(np.arange(length) / rate, sound.numpy(), linewidth=0.5, color="#30638e")
            left.set(ylim=(-1.05, 1.05), xlim=(0, seconds), yticks=[-1, 0, 1])
            right.imshow(
                spectrogram(sound).numpy(), origin="lower", aspect="auto", vmin=-100, vmax=0, cmap="magma",
                extent=(0, seconds, 0, rate / 2),
            )  # fmt: skip
            for axes in (left, right):
                axes.tick_params(labelsize=6)
        for axes, label in zip(grid[-1], ("amplitude", "frequency, Hz" if self.rate else "frequency"), strict=True):
            axes.set_xlabel(f"{label}, over {unit}", fontsize=7)
        return figure_to_image(figure)

    def _waveforms(self, x: Tensor) -> Tensor:
        """Return x, in stored or float form, as waveforms in [-1, 1], [n, C, L]."""
        return self.to_float(x)

    def sound_file(self, x: Tensor) -> bytes | None:
        """The samples of a picture, with a quarter of a second of silence after each; None without a rate."""
        if self.rate is None:
            return None
        sounds = pad(x[:MAX_SHOWN], (0, self.rate // 4))
        return self._encode_wav(sounds.transpose(0, 1).flatten(1))

    def npz_arrays(self, x: Tensor) -> dict[str, Any]:
        return {"arr_0": x.contiguous().numpy(), **({} if self.rate is None else {"rate": np.int64(self.rate)})}

    def check_suffix(self, suffix: str, shape: tuple[int, ...], n: int = 1) -> None:
        super().check_suffix(suffix, shape, n)
        if suffix in (FOLDER, ".wav") and self.rate is None:
            raise Mistake(f"wav files need a rate, and these data have none: write {NPZ_FILE}, or set data.rate=16_000")
        if suffix == ".wav" and n != 1:
            raise Mistake(f"a wav file holds one sample, and these are {n}: set n=1, or to=sounds/ for a folder")

    def file_content(self, x: Tensor, suffix: str, columns: int | None = None, labels: Tensor | None = None) -> bytes:
        return self._encode_wav(x[0]) if suffix == ".wav" else super().file_content(x, suffix, columns, labels)

    def folder_contents(self, x: Tensor) -> Iterator[tuple[str, bytes]]:
        digits = len(str(len(x) - 1))
        return ((f"{number:0{digits}d}.wav", self._encode_wav(sound)) for number, sound in enumerate(x))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "rate": self.rate, "bits": self.bits}

    def _encode_wav(self, sound: Tensor) -> bytes:
        """Return a wav file of one sample [C, L] in stored form: 16-bit PCM or 32-bit float."""
        from scipy.io import wavfile

        content = io.BytesIO()
        wavfile.write(content, self.rate or 1, sound.T.contiguous().numpy())
        return content.getvalue()


def spectrogram(sound: Tensor) -> Tensor:
    """Spectrogram in decibels, [frequencies, frames], of a waveform [L] in [-1, 1].

    A sine of amplitude 1 is near 0, silence is -100.
    """
    size = min(WINDOW, len(sound))
    window = torch.hann_window(size)
    frames = torch.stft(sound, size, hop_length=max(1, size // 4), window=window, center=False, return_complex=True)
    return 20 * (frames.abs() * 2 / window.sum().clamp(min=1e-12)).clamp(min=SILENCE).log10()
