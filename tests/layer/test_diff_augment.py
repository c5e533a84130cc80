"""DiffAugment: each distortion by its closed form; differentiable; off in evaluation mode."""

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.layer.diff_augment import DiffAugment, adjust_color, cut_out, translate


def middle(n: int, size: int = 7) -> torch.Tensor:
    return torch.full((n, size), 0.5)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_in_the_middle_of_their_ranges_color_and_translation_change_nothing(images: torch.Tensor) -> None:
    augment = DiffAugment(policies=["color", "translation"])
    assert torch.allclose(augment(images, {"numbers": middle(6)}), images, atol=1e-6)


def test_brightness_adds_saturation_and_contrast_scale_about_their_means(images: torch.Tensor) -> None:
    numbers = torch.tensor([[0.8, 0.5, 0.5]]).expand(6, 3)
    assert torch.allclose(adjust_color(images, numbers), images + 0.3, atol=1e-6)
    grey = adjust_color(images, torch.tensor([[0.5, 0.0, 0.5]]).expand(6, 3))
    assert torch.allclose(grey, images.mean(1, keepdim=True).expand_as(images), atol=1e-6)
    flat = adjust_color(images, torch.tensor([[0.5, 0.5, 0.0]]).expand(6, 3))
    mean = images.mean((1, 2, 3), keepdim=True)
    assert torch.allclose(flat, mean + (images - mean) / 2, atol=1e-6)


@pytest.mark.parametrize(("u", "steps"), [(0.0, -1), (0.999, 1)])
def test_a_translation_moves_whole_pixels_and_fills_with_zero(images: torch.Tensor, u: float, steps: int) -> None:
    moved = translate(images, torch.tensor([[u, 0.5]]).expand(6, 2), 0.125)
    expected = torch.zeros_like(images)
    if steps < 0:
        expected[:, :, :-1] = images[:, :, 1:]
    else:
        expected[:, :, 1:] = images[:, :, :-1]
    assert torch.equal(moved, expected)


def test_a_cutout_removes_at_most_a_quarter_and_every_pixel_is_hit() -> None:
    draws = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    removed = cut_out(torch.ones(4000, 1, 8, 8), draws, 0.5) == 0
    assert removed.sum((1, 2, 3)).max() == 16
    assert removed.sum((1, 2, 3)).min() >= 4  # a corner: half of each side is outside
    assert removed.any(0).all()


@pytest.mark.parametrize(("side", "left"), [(8, 2), (9, 3)])  # of squares of 4 and 5
def test_a_cutout_centred_at_the_border_removes_the_part_of_its_square_that_is_inside(side: int, left: int) -> None:
    for u, rows in ((0.0, slice(0, left)), (0.999, slice(-left, None))):
        removed = cut_out(torch.ones(1, 1, side, side), torch.full((1, 2), u), 0.5) == 0
        expected = torch.zeros(side, side, dtype=torch.bool)
        expected[rows, rows] = True
        assert torch.equal(removed[0, 0], expected)


def test_the_largest_translation_is_rounded_to_the_nearest_pixel() -> None:
    x = torch.eye(12).view(1, 1, 12, 12)
    assert torch.equal(translate(x, torch.tensor([[0.999, 0.5]]), 0.125)[..., 2:, :], x[..., :-2, :])  # 1.5 is 2


def test_each_policy_has_numbers_of_its_own(images: torch.Tensor) -> None:
    u = torch.rand(6, 7, generator=torch.Generator().manual_seed(0))
    expected = cut_out(translate(adjust_color(images, u[:, :3]), u[:, 3:5], 0.125), u[:, 5:], 0.5)
    assert torch.equal(DiffAugment()(images, {"numbers": u}), expected)


def test_the_gradient_of_the_generator_passes_through() -> None:
    images = torch.randn(4, 3, 8, 8, requires_grad=True)
    numbers = torch.rand(4, 7, generator=torch.Generator().manual_seed(0))
    DiffAugment()(images, {"numbers": numbers}).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_fakes_in_half_precision_have_the_shifts_and_cutouts_of_reals(images: torch.Tensor) -> None:
    """0.999 is 1 in bfloat16: the rectangle and the shift would be one pixel beyond the range."""
    augment, numbers = DiffAugment(policies=["translation", "cutout"]), {"numbers": torch.full((6, 7), 0.999)}
    half = images.to(torch.bfloat16)
    assert torch.equal(augment(half, numbers).float(), augment(half.float(), numbers))


def test_samples_are_left_alone_in_evaluation_mode(images: torch.Tensor) -> None:
    assert DiffAugment().eval()(images, {"numbers": torch.rand(6, 7)}) is images


def test_bad_input_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="no policy colour"):
        DiffAugment(policies=["colour"])
    with pytest.raises(ValueError, match="translate=2"):
        DiffAugment(translate=2)
    with pytest.raises(Mistake, match="set its dim to 7"):
        DiffAugment()(images, {"numbers": torch.rand(6, 3)})
    with pytest.raises(Mistake, match="images"):
        DiffAugment()(torch.zeros(6, 2), {"numbers": torch.rand(6, 7)})
