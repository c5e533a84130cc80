"""What spectrograms lose of spoken digits: python benchmarks/spectrograms.py <folder of spoken_digits.npz>

The 300 test clips are made again from magnitudes, by 32 iterations of Griffin-Lim, and measured by the shipped
classifiers: accuracy of digits and speakers, FID against the training clips, and the mean absolute difference of
log-mel spectrograms.
Two minutes of one CPU core.
"""

import sys

import torch
from torch import Tensor

from saddlepoint.data.spoken_digits import SpokenDigits
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.metric.frechet_distance import frechet_distance
from saddlepoint.modality import Audio
from saddlepoint.modality.mel import MelSpectrogram

MEL = MelSpectrogram.of_rate(8000)
WINDOW = torch.hann_window(256)


def linear(x: Tensor) -> Tensor:
    """Magnitudes of x [N, L] with windows of 256 and a hop of 128: [N, 129, L / 128]."""
    spectrum = torch.stft(x, 256, 128, window=WINDOW, pad_mode="constant", return_complex=True)
    return spectrum.abs()[..., :-1]


def griffin_lim(magnitude: Tensor, iterations: int = 32, momentum: float = 0.99) -> Tensor:
    """Waveforms [N, L] of magnitudes [N, 129, frames], as `MelSpectrogram.to_waveform` does."""
    length = magnitude.shape[2] * 128
    magnitude = torch.nn.functional.pad(magnitude, (0, 1))
    phase = 2 * torch.pi * torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0))
    spectrum, previous = magnitude * torch.polar(torch.ones_like(phase), phase), None
    for _ in range(iterations):
        x = torch.istft(spectrum, 256, 128, window=WINDOW, length=length)
        new = torch.stft(x, 256, 128, window=WINDOW, pad_mode="constant", return_complex=True)
        ahead = new if previous is None else new + momentum * (new - previous)
        spectrum, previous = magnitude * ahead / (ahead.abs() + 1e-9), new
    return torch.istft(spectrum, 256, 128, window=WINDOW, length=length)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance."""
    return features.double().mean(0), features.double().T.cov()


def main(root: str) -> None:
    data, spectrograms = SpokenDigits(root), SpokenDigits(root, spectrogram=True)
    digits, speakers = Shipped("spoken-digits"), Shipped("spoken-digits-speaker")
    audio, test = Audio(8000, 16), data.split("test")
    real = audio.to_float(test.x)
    magnitude = linear(real[:, 0])
    low = magnitude.clone()
    low[:, 64:] = 0
    pairs = magnitude[:, :128].unflatten(1, (64, 2)).mean(2).repeat_interleave(2, 1)
    form = spectrograms.modality
    sets = {
        "the clips": real,
        "129 linear bins": griffin_lim(magnitude)[:, None],
        "64 linear bins, to 2 kHz": griffin_lim(low)[:, None],
        "64 pairs of linear bins": griffin_lim(torch.nn.functional.pad(pairs, (0, 0, 0, 1)))[:, None],
        "64 mel bins": MEL.to_waveform(MEL(real)),
        "64 mel bins, standardised": audio.to_float(form.to_stored(form.to_float(test.x))),
        "silence": torch.zeros_like(real),
    }
    train = torch.cat([digits(x).features for x, _ in data.split("train").batches(500)])
    print("| | digits right | speakers right | FID | log-mel difference |\n|---|---|---|---|---|")
    for name, x in sets.items():
        x = x.clamp(-1, 1)
        stored = audio.to_stored(x)
        features, logits, *_ = digits(stored)
        right = (logits.argmax(1) == test.y).float().mean()
        voices = (speakers(stored).logits.argmax(1) == test.extra_columns["speaker"]).float().mean()
        fid = float(frechet_distance(*moments(features), *moments(train)))
        gap = (MEL(x) - MEL(real)).abs().mean()
        print(f"| {name} | {right:.1%} | {voices:.1%} | {fid:.3g} | {gap:.3f} |")


if __name__ == "__main__":
    with torch.no_grad():
        main(sys.argv[1])
