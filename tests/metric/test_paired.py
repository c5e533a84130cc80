"""Distances from the truth: against torchmetrics on the cropped region, and what known pixels count."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.paired import Paired
from saddlepoint.pixel import to_float, to_uint8


def images(n: int, *shape: int) -> Tensor:
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def measured(x: Tensor, target: Tensor, mask: Tensor | None = None, size: int = 100) -> dict[str, float]:
    metric = Paired()
    for rows in torch.arange(len(x)).split(size):
        some = None if mask is None else mask[rows]
        metric.update(Features(torch.zeros(len(rows), 1), None, x[rows], None, target[rows], some), real=False)
        metric.update(Features(torch.zeros(len(rows), 1), None, target[rows]), real=True)  # reals do not count
    return {name: float(result.value) for name, result in metric.compute().items()}


@pytest.mark.parametrize("size", [1, 4, 7])
def test_over_whole_images_the_scores_are_those_of_torchmetrics(size: int) -> None:
    x, target = images(7, 3, 24, 20), to_float(images(8, 3, 24, 20)[:7])
    scores, fakes = measured(x, target, None, size), to_float(x)
    psnr = peak_signal_noise_ratio(fakes, target, 2.0, dim=(1, 2, 3), reduction="elementwise_mean")
    assert scores["mae"] == pytest.approx(float((fakes - target).abs().mean()), rel=1e-5)
    assert scores["psnr"] == pytest.approx(float(psnr), rel=1e-5)
    ssim: Any = structural_similarity_index_measure(x.float(), 127.5 * (target + 1), data_range=255.0)
    assert scores["ssim"] == pytest.approx(float(ssim), rel=1e-4)


def test_the_ssim_of_constant_images_is_its_luminance_term() -> None:
    """(2 a b + c) / (a^2 + b^2 + c), c = 0.01^2, for grey levels a, b in [0, 1]."""
    a, b = 60 / 255, 200 / 255
    grey = torch.full((2, 1, 16, 16), 60, dtype=torch.uint8)
    expected = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    assert measured(grey, to_float(grey + 140))["ssim"] == pytest.approx(expected, rel=1e-6)
    assert measured(grey, to_float(grey))["ssim"] == pytest.approx(1, abs=1e-9), "1 - 1.2e-4 in float32"


def test_in_a_hole_the_scores_are_those_of_the_cropped_hole() -> None:
    """Whatever the known pixels are."""
    x, target = images(5, 1, 16, 16), to_float(images(6, 1, 16, 16)[:5])
    mask = torch.zeros(5, 1, 16, 16)
    hole = (..., slice(4, 12), slice(2, 9))
    mask[hole] = 1
    scores = measured(x, target, mask)
    crop, truth = to_float(x)[hole], target[hole]
    assert scores["mae"] == pytest.approx(float((crop - truth).abs().mean()), rel=1e-5)
    psnr = peak_signal_noise_ratio(crop, truth, 2.0, dim=(1, 2, 3), reduction="elementwise_mean")
    assert scores["psnr"] == pytest.approx(float(psnr), rel=1e-5)
    changed = torch.where(mask > 0, x, 255 - x)
    again = measured(changed, target, mask)
    assert again["mae"] == scores["mae"]
    assert again["psnr"] == scores["psnr"]


def test_a_known_error_has_a_known_score() -> None:
    """20 levels of 255 everywhere: mae 2 * 20 / 255, psnr 20 log10(255 / 20); no error: that of rounding; SSIM 1."""
    target = torch.full((2, 1, 16, 16), 100, dtype=torch.uint8)
    scores = measured(target + 20, to_float(target))
    assert scores["mae"] == pytest.approx(40 / 255, rel=1e-5)
    assert scores["psnr"] == pytest.approx(20 * math.log10(255 / 20), rel=1e-5)
    exact = measured(target, to_float(target))
    assert exact["mae"] == 0
    assert exact["psnr"] == pytest.approx(20 * math.log10(255) + 10 * math.log10(12), rel=1e-6)
    assert exact["ssim"] == pytest.approx(1, abs=1e-4)


def test_small_images_have_no_ssim_and_samples_without_truth_no_score() -> None:
    x = images(2, 1, 5, 5)
    assert set(measured(x, to_float(x))) == {"mae", "psnr"}
    assert "ssim" in measured(images(2, 1, 8, 8), to_float(images(2, 1, 8, 8)))
    with pytest.raises(ValueError, match="need the truth"):
        Paired().update(Features(torch.zeros(2, 1), None, x), real=False)


def test_samples_are_measured_as_stored() -> None:
    """Rounded to 8 bits, so that files of samples have the same score."""
    target = to_float(images(3, 1, 8, 8))
    stored = to_uint8(target + 0.3 / 255)
    assert measured(stored, target)["mae"] == 0
