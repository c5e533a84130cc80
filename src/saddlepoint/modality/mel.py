"""Log-mel spectrograms of waveforms, and back by Griffin-Lim.

    S = |STFT(x)|      M = log max(F S, floor)       F: triangular filters, equally spaced on the mel scale

with mel(f) = 2595 log10(1 + f / 700) and filters of height 1. A spectrogram of magnitudes lacks the phase. Griffin &
Lim 1984 (IEEE TASSP 32:236) alternate between the given magnitudes and the spectrograms of waveforms; with momentum:
Perraudin et al. 2013 (WASPAA). The magnitudes in the bands of the FFT are first computed from M by non-negative least
squares (multiplicative updates, Lee & Seung 2001).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from saddlepoint.error import Mistake

PADDED = 2  # the FFT has this many times the samples of the window: otherwise low filters contain no frequency
UPDATES = 30  # of the non-negative least squares
MOMENTUM = 0.99  # Perraudin et al. 2013
SMALLEST = 1e-9  # added to denominators


@dataclass(frozen=True)
class MelSpectrogram:
    """Log-mel spectrograms: [N, C, L] in [-1, 1] -> [N, C, bins, L // hop], natural logarithms.

    rate    samples per second
    bins    number of filters, from 0 Hz to rate / 2
    window  samples of the Hann window; frame i is centred at sample i * hop, with silence outside
    hop     samples from one frame to the next; must divide L
    floor   smallest magnitude; a sine of amplitude 1 has about window / 4
    Raises Mistake if a filter would contain no frequency of the FFT, or the hop is larger than half a window.
    """

    rate: int
    bins: int = 64
    window: int = 256
    hop: int = 128
    floor: float = 1e-2

    def __post_init__(self) -> None:
        if not 0 < 2 * self.hop <= self.window:
            raise Mistake(f"log-mel: hop={self.hop} must be from 1 to half of window={self.window} samples")
        if bool((self.filters.sum(1) <= 0).any()):
            raise Mistake(
                f"log-mel: {self.bins} bins are too many for a window of {self.window} samples at {self.rate:,} per "
                "second, as some would contain no frequency: use fewer, or a longer window"
            )

    @cached_property
    def filters(self) -> Tensor:
        """F, float32 [bins, frequencies]."""
        frequency = torch.linspace(0, self.rate / 2, PADDED * self.window // 2 + 1, dtype=torch.float64)
        top = 2595 * math.log10(1 + self.rate / 2 / 700)
        edges = 700 * (10 ** (torch.linspace(0, top, self.bins + 2, dtype=torch.float64) / 2595) - 1)
        low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        rising, falling = (frequency - low) / (centre - low), (high - frequency) / (high - centre)
        return torch.minimum(rising, falling).clamp(min=0).to(torch.float32)

    def __call__(self, x: Tensor) -> Tensor:
        """Return M; differentiable.  Raises Mistake unless the hop divides L."""
        if x.shape[-1] % self.hop:
            raise Mistake(f"log-mel: the length {x.shape[-1]:,} is not a multiple of hop={self.hop} samples")
        sounds = x.reshape(-1, x.shape[-1]).to(torch.float32)
        magnitude = self._transform(sounds).abs()[..., :-1]  # the last frame is centred behind the last sample
        logarithm = (self.filters.to(x.device) @ magnitude).clamp(min=self.floor).log()
        return logarithm.view(*x.shape[:-1], self.bins, -1)

    @classmethod
    def of_rate(cls, rate: int) -> "MelSpectrogram":
        """Return 64 bins of windows of about 32 ms, a power of two of samples, half of which is the hop."""
        window = max(4, 2 ** round(math.log2(0.032 * rate)))
        return cls(rate, window=window, hop=window // 2)

    def to_image(self, x: Tensor) -> Tensor:
        """Return M in 256 levels from the floor to log(window): uint8 [N, C, bins, frames], L filled with silence."""
        floor, top = math.log(self.floor), math.log(self.window)
        level = (self(pad(x, (0, -x.shape[-1] % self.hop))) - floor) / (top - floor)
        return level.mul(255).round_().clamp_(0, 255).to(torch.uint8)

    @torch.no_grad()
    def to_waveform(self, x: Tensor, iterations: int = 32) -> Tensor:
        """Return waveforms [N, C, L] for M [N, C, bins, frames], by Griffin-Lim; not clipped to [-1, 1].

        A row depends only on its own M: the first phases are those of a fixed seed, the same for each row.
        """
        length = x.shape[-1] * self.hop
        magnitude = pad(self._linear_magnitude(x.reshape(-1, *x.shape[-2:]).to(torch.float32)), (0, 1))
        generator = torch.Generator().manual_seed(0)
        phase = 2 * math.pi * torch.rand(magnitude.shape[1:], generator=generator)
        spectrum = magnitude * torch.polar(torch.ones_like(phase), phase).to(x.device)
        previous: Tensor | None = None
        for _ in range(iterations):
            consistent = self._transform(self._invert(spectrum, length))
            ahead = consistent if previous is None else consistent + MOMENTUM * (consistent - previous)
            previous = consistent
            spectrum = magnitude * ahead / (ahead.abs() + SMALLEST)
        return self._invert(spectrum, length).view(*x.shape[:-2], length)

    def _linear_magnitude(self, x: Tensor) -> Tensor:
        """Return S >= 0, [N, frequencies, frames], with the least |F S - exp(x)|^2; silence where x is at the floor."""
        mel = torch.where(x > math.log(self.floor) + 1e-4, x.exp(), 0.0)
        filters = self.filters.to(x.device)
        target, gram = filters.T @ mel, filters.T @ filters
        s = target.clone()
        for _ in range(UPDATES):
            s = s * target / (gram @ s + SMALLEST)
        return s

    def _transform(self, sounds: Tensor) -> Tensor:
        size, window = PADDED * self.window, torch.hann_window(self.window, device=sounds.device)
        return torch.stft(sounds, size, self.hop, self.window, window, pad_mode="constant", return_complex=True)

    def _invert(self, spectrum: Tensor, length: int) -> Tensor:
        window = torch.hann_window(self.window, device=spectrum.device)
        return torch.istft(spectrum, PADDED * self.window, self.hop, self.window, window, length=length)
