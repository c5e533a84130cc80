"""Waveforms that networks receive as images: log-mel spectrograms, standardised per bin.

    float form   clamp((M - mean) / (3 deviation), -1, 1), M as in `mel`, mean and deviation of each bin

Donahue et al. 2018 (SpecGAN, arXiv:1802.04208), section 3.2, with a mel scale. Stored samples are waveforms, as those
of `audio`: samples of a network are inverted by Griffin-Lim before they are written, heard or measured.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.modality.audio import Audio
from saddlepoint.modality.mel import MelSpectrogram

CLIP = 3  # deviations


class Spectrogram(Audio):
    """Waveforms, int16 or float32 [n, C, L]; networks receive floats [n, C, bins, frames] in [-1, 1].

    rate, bits       as those of `Audio`
    mean, deviation  of M in each bin, over the frames of the training split
    Raises Mistake if their numbers are not those of the bins.
    """

    name = "spectrogram"
    plural = "spectrograms"
    exact = False
    value_description = "log-mel magnitudes in [-1, 1], standardised per bin"

    def __init__(self, rate: int, bits: int, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__(rate, bits)
        self.mel = MelSpectrogram.of_rate(rate)
        if not len(mean) == len(deviation) == self.mel.bins or min(deviation) <= 0:
            raise Mistake(
                f"a spectrogram needs mean and deviation (above 0) of {self.mel.bins} bins, but has {len(mean)} and "
                f"{len(deviation)}"
            )
        self.standardisation = [float(value) for value in mean], [float(value) for value in deviation]
        self.mean, self.deviation = (torch.tensor(values)[:, None] for values in self.standardisation)

    def to_float(self, x: Tensor) -> Tensor:
        mean, deviation = self.mean.to(x.device), self.deviation.to(x.device)
        return ((self.mel(super().to_float(x)) - mean) / (CLIP * deviation)).clamp(-1, 1)

    def to_stored(self, x: Tensor) -> Tensor:
        mean, deviation = self.mean.to(x.device), self.deviation.to(x.device)
        return super().to_stored(self.mel.to_waveform(x.clamp(-1, 1) * (CLIP * deviation) + mean).clamp_(-1, 1))

    def sample_shape(self, x: Tensor) -> tuple[int, ...]:
        return x.shape[1], self.mel.bins, x.shape[2] // self.mel.hop

    def measured_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[0], shape[2] * self.mel.hop

    def image_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        return super().image_shape(self.measured_shape(shape))

    def anchors(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        return {**super().anchors(), "Griffin-Lim": lambda x: self.to_stored(self.to_float(x))}

    def describe(self) -> dict[str, Any]:
        form = {"bins": self.mel.bins, "window": self.mel.window, "hop": self.mel.hop}
        return super().describe() | form | dict(zip(("mean", "deviation"), self.standardisation, strict=True))

    def _waveforms(self, x: Tensor) -> Tensor:
        return super().to_float(x if self.has_stored_form(x) else self.to_stored(x))


def standardisation_of(x: Tensor, rate: int) -> tuple[list[float], list[float]]:
    """Return mean and deviation of M in each bin of waveforms x in [-1, 1], [N, C, L], to 3 decimals.

    The deviation of a bin is at least 0.01, so that a bin that is always silent has one.
    """
    m = torch.cat(
        [MelSpectrogram.of_rate(rate)(part).transpose(1, 2).flatten(2).to(torch.float64) for part in x.split(500)]
    )
    mean, deviation = m.mean((0, 2)), m.transpose(0, 1).flatten(1).std(1).clamp(min=0.01)
    return [round(value, 3) for value in mean.tolist()], [round(value, 3) for value in deviation.tolist()]
