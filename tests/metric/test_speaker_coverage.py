"""Speakers: covered from half of their frequency on, by the predictions of a classifier."""

import math
from types import SimpleNamespace

import pytest
import torch
from speakers import Speakers

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.speaker_coverage import SpeakerCoverage


class First:
    """A classifier whose class is the first sample of a waveform."""

    name, sha256, shape, classes = "first", "0" * 64, (1, 8), 3

    def __call__(self, x: torch.Tensor) -> Features:
        return Features(torch.zeros(len(x), 1), torch.nn.functional.one_hot(x[:, 0, 0].long(), 3).float())


def measured(real: list[int], fake: list[int]) -> SimpleNamespace:
    metric = SpeakerCoverage(First())  # pyright: ignore[reportArgumentType]
    assert metric.setup(Speakers(real)) is None
    for part in torch.tensor(fake).split(3):
        x = part.view(-1, 1, 1).expand(-1, 1, 8).to(torch.int16)
        metric.update(Features(torch.zeros(len(x), 1), None, x), real=False)
        metric.update(Features(torch.zeros(len(x), 1), None, x), real=True)  # reals do not count
    results = metric.compute()
    return SimpleNamespace(covered=float(results[""].value), kl=float(results["kl"].value))


def test_the_frequencies_of_the_reals_cover_all_and_have_no_divergence() -> None:
    scores = measured([0, 0, 1, 2], [0, 1, 0, 2, 0, 0, 1, 2])
    assert (scores.covered, scores.kl) == (3, pytest.approx(0))


def test_one_voice_covers_one_of_three_and_diverges_by_its_logarithm() -> None:
    scores = measured([0, 1, 2] * 4, [1] * 10)
    assert (scores.covered, scores.kl) == (1, pytest.approx(math.log(3)))


def test_a_speaker_is_covered_from_half_of_its_frequency_on() -> None:
    assert measured([0, 1], [0] * 9 + [1] * 3).covered == 2
    assert measured([0, 1], [0] * 10 + [1] * 3).covered == 1


def test_data_without_speakers_or_of_another_length_are_left_out() -> None:
    metric = SpeakerCoverage(First())  # pyright: ignore[reportArgumentType]
    assert "needs the integer column speaker" in str(metric.setup(Speakers(None)))
    assert "its classifier first is of other data" in str(metric.setup(Speakers([0, 5])))
    assert "of other data" in str(metric.setup(Speakers([0, 1], length=16)))
    assert metric.why_not(2, 2) is not None
