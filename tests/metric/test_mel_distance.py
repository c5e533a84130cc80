"""The mel distance: 0 of the truth, whatever the phase, a known value of a louder sound, and only of audio."""

import math

import pytest
import torch
from speakers import Speakers

from saddlepoint.data.digits import Digits
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.mel_distance import MelDistance
from saddlepoint.modality import Audio

T = torch.arange(2048) / 8000
SOUND = torch.stack([0.2 * torch.sin(2 * math.pi * f * T) for f in (500, 900)])[:, None]


def distance(x: torch.Tensor, target: torch.Tensor) -> float:
    metric = MelDistance()
    assert metric.setup(Speakers([0], length=2048)) is None
    stored = Audio(8000, 16).to_stored(x)
    metric.update(Features(torch.zeros(len(x), 1), None, stored, None, target), real=False)
    metric.update(Features(torch.zeros(len(x), 1), None, stored), real=True)  # reals do not count
    return float(metric.compute().value)


def test_the_truth_and_its_negative_have_no_distance() -> None:
    assert distance(SOUND, SOUND) < 0.02  # of rounding to 16 bits, near the floor
    assert distance(-SOUND, SOUND) < 0.02


def test_a_louder_sound_is_at_the_logarithm_of_the_ratio_where_both_are_above_the_floor() -> None:
    noise = 0.1 * torch.randn(4, 1, 2048, generator=torch.Generator().manual_seed(0))
    assert distance(1.5 * noise, noise) == pytest.approx(math.log(1.5), abs=2e-3)


def test_images_have_no_mel_distance() -> None:
    assert "it is for audio with a rate" in str(MelDistance().setup(Digits()))
    assert "of a window at least" in str(MelDistance().setup(Speakers([0], length=128)))
