"""Log-mel spectrograms: against a direct computation, and back to waveforms by Griffin-Lim, row by row."""

import math

import numpy as np
import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Spectrogram
from saddlepoint.modality.mel import MelSpectrogram
from saddlepoint.modality.spectrogram import standardisation_of

MEL = MelSpectrogram.of_rate(8000)


def chirp(n: int = 2, length: int = 2048) -> torch.Tensor:
    """Sines of rising pitch, [n, 1, L]."""
    t = torch.arange(length) / 8000
    return torch.stack([0.3 * torch.sin(2 * math.pi * (300 + 200 * i + 800 * t) * t) for i in range(n)])[:, None]


def test_a_spectrogram_is_that_of_a_direct_computation() -> None:
    x = chirp(1)[0, 0].double().numpy()
    frame, window, size = 5, 256, 512
    segment = x[frame * 128 - 128 : frame * 128 + 128] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))
    magnitude = np.abs(np.fft.rfft(segment, size))
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 66) / 2595) - 1)
    expected = []
    for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
        height = np.interp(np.arange(257) * 8000 / size, [low, centre, high], [0, 1, 0])
        expected.append(np.log(max((height * magnitude).sum(), 1e-2)))
    np.testing.assert_allclose(MEL(chirp(1))[0, 0, :, frame], expected, rtol=1e-4, atol=1e-3)


def test_the_window_is_about_32_ms_at_every_rate_and_no_filter_is_empty() -> None:
    for rate in (4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000):
        mel = MelSpectrogram.of_rate(rate)
        assert 0.022 < mel.window / rate < 0.046
        assert (mel.filters.sum(1) > 0).all()
        assert mel.hop * 2 == mel.window


def test_griffin_lim_recovers_the_spectrogram_and_each_row_alone() -> None:
    x = chirp(3)
    m = MEL(x)
    y = MEL.to_waveform(m)
    assert y.shape == x.shape
    loud = m > m.max() - 4
    gap = (MEL(y) - m).abs()
    first = (MEL(MEL.to_waveform(m, iterations=0)) - m).abs()
    assert gap[loud].mean() < 0.2
    assert gap[loud].mean() < first[loud].mean() / 3, "iterations must improve on the first phases"
    torch.testing.assert_close(MEL.to_waveform(m[1:2]), y[1:2], rtol=1e-4, atol=1e-4)
    assert (MEL.to_waveform(torch.full_like(m, math.log(MEL.floor))) == 0).all(), "the floor is silence"


def test_what_has_no_spectrogram_is_refused() -> None:
    with pytest.raises(Mistake, match="2,000 is not a multiple of hop=128"):
        MEL(torch.zeros(1, 1, 2000))
    with pytest.raises(Mistake, match="hop=200 must be from 1 to half"):
        MelSpectrogram(8000, hop=200)
    with pytest.raises(Mistake, match="400 bins are too many"):
        MelSpectrogram(8000, bins=400)
    with pytest.raises(Mistake, match="needs mean and deviation"):
        Spectrogram(8000, 16, [0.0], [1.0])


def spectrogram_modality(x: torch.Tensor) -> Spectrogram:
    return Spectrogram(8000, 16, *standardisation_of(x, 8000))


def test_bins_are_standardised_over_the_training_split() -> None:
    x = chirp(4)
    mean, deviation = standardisation_of(x, 8000)
    m = MEL(x).double()[:, 0].transpose(0, 1).flatten(1)
    np.testing.assert_allclose(mean, m.mean(1), atol=1e-3)
    np.testing.assert_allclose(deviation, m.std(1).clamp(min=0.01), atol=1e-3)
    modality = spectrogram_modality(x)
    stored = Audio(8000, 16).to_stored(x)
    expected = ((m - m.mean(1, keepdim=True)) / (3 * m.std(1, keepdim=True).clamp(min=0.01))).clamp(-1, 1)
    image = modality.to_float(stored)[:, 0].double().transpose(0, 1).flatten(1)
    assert (image - expected).abs().median() < 1e-2


def test_a_spectrogram_is_stored_as_a_waveform_and_measured_as_one() -> None:
    x = Audio(8000, 16).to_stored(chirp(2))
    modality = spectrogram_modality(chirp(2))
    image = modality.to_float(x)
    back = modality.to_stored(image)
    assert (back.dtype, back.shape, image.shape) == (torch.int16, x.shape, (2, 1, 64, 16))
    assert modality.sample_shape(x) == (1, 64, 16)
    assert modality.measured_shape((1, 64, 16)) == (1, 2048)
    loud = image > 0.3
    assert (modality.to_float(back) - image)[loud].abs().mean() < 0.15
    torch.testing.assert_close(modality.to_image(x), Audio(8000, 16).to_image(x))
    anchors = modality.anchors()
    assert list(anchors) == ["silence", "Griffin-Lim"]
    assert (anchors["silence"](x) == 0).all()
    torch.testing.assert_close(anchors["Griffin-Lim"](x), back)
    picture = modality.picture(image)
    assert picture.size == modality.picture(x).size


def test_audio_has_an_image_only_with_a_rate_and_a_window() -> None:
    assert Audio(8000, 16).image_shape((1, 300)) == (1, 64, 3)
    assert Audio(8000, 16).image_shape((1, 255)) is None
    assert Audio(None, 16).image_shape((1, 8192)) is None
    assert Audio(8000, 16).default_extractor((1, 8192), 10) == "trained"
    assert Audio(8000, 16).default_extractor((1, 2048)) == "identity"
    levels = Audio(8000, 16).to_image(torch.zeros(1, 1, 300, dtype=torch.int16))
    assert levels.shape == (1, 1, 64, 3)
    assert (levels == 0).all()
