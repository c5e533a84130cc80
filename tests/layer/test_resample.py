"""Anti-aliased resampling: against convolution in numpy, the transpose, frequencies, and taps that do not filter."""

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn
from torch.nn.functional import avg_pool2d, interpolate

from saddlepoint.layer.resample import Blur, Downsample, Upsample

TAPS = [(1, 1), (1, 2, 1), (1, 3, 3, 1), (1, 4, 6, 4, 1)]


@pytest.mark.parametrize("taps", [*TAPS, (1, 2, 4)])
def test_each_row_is_the_convolution_of_numpy_at_every_second_pixel_or_between_inserted_zeros(taps) -> None:
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    k, p = np.array(taps) / sum(taps), (len(taps) - 1) // 2

    def down(row):
        return np.convolve(row, k[::-1])[len(taps) - 1 - p :][: len(row) : 2]

    def up(row):
        wide = np.zeros(2 * len(row))
        wide[::2] = row
        return np.convolve(wide, 2 * k)[p:][: len(wide)]

    for layer, of_row in ((Downsample(taps), down), (Upsample(taps), up)):
        expected = np.apply_along_axis(of_row, 3, np.apply_along_axis(of_row, 2, x.numpy()))
        np.testing.assert_allclose(layer(x).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("taps", TAPS)
def test_up_is_four_times_the_transpose_of_down(taps) -> None:
    large, small = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    assert torch.allclose((Upsample(taps)(small) * large).sum(), 4 * (small * Downsample(taps)(large)).sum(), atol=1e-4)


def test_taps_1_1_are_the_mean_and_the_nearest_neighbour() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(Downsample((1, 1))(x), avg_pool2d(x, 2), atol=1e-6)
    assert torch.allclose(Upsample((1, 1))(x), interpolate(x, scale_factor=2), atol=1e-6)


def test_taps_1_3_3_1_interpolate_bilinearly_and_treat_left_and_right_alike() -> None:
    x = torch.randn(2, 3, 8, 8)
    y = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(Upsample()(x)[..., 1:-1, 1:-1], y[..., 1:-1, 1:-1], atol=1e-6)
    for layer in (Upsample(), Downsample()):
        assert torch.allclose(layer(x.flip(2, 3)), layer(x).flip(2, 3), atol=1e-6)


def test_taps_1_2_1_keep_every_pixel_and_put_the_mean_of_two_between_them() -> None:
    x = torch.randn(1, 1, 5, 5)
    y = Upsample((1, 2, 1))(x)
    assert torch.allclose(y[..., ::2, ::2], x, atol=1e-6)
    assert torch.allclose(y[..., 0:8:2, 1:9:2], (x[..., :4, :4] + x[..., :4, 1:]) / 2, atol=1e-6)


@pytest.mark.parametrize("taps", TAPS[1:])
def test_a_constant_stays_and_the_highest_frequency_vanishes_inside(taps) -> None:
    constant, checkers = torch.ones(1, 1, 16, 16), torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    inside = (..., slice(2, 6), slice(2, 6))
    assert torch.allclose(Downsample(taps)(constant)[inside], torch.tensor(1.0), atol=1e-6)
    assert torch.allclose(Upsample(taps)(constant)[inside], torch.tensor(1.0), atol=1e-6)
    assert Downsample(taps)(checkers)[inside].abs().max() < 1e-6, "it would alias to a constant"
    assert torch.equal(checkers[..., ::2, ::2], torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize("taps", TAPS)
def test_a_shift_of_x_by_two_pixels_shifts_the_result_by_one(taps) -> None:
    x = torch.randn(1, 1, 32, 32)
    shifted = x.roll((2, 2), (2, 3))
    inside = (..., slice(4, 12), slice(4, 12))
    assert torch.allclose(Downsample(taps)(shifted)[inside], Downsample(taps)(x).roll((1, 1), (2, 3))[inside])
    wide = (..., slice(8, 56), slice(8, 56))
    assert torch.allclose(Upsample(taps)(shifted)[wide], Upsample(taps)(x).roll((4, 4), (2, 3))[wide])


@pytest.mark.parametrize("taps", [*TAPS, (1, 2, 4)])
def test_all_three_equal_scipys_upfirdn(taps) -> None:
    """Padding p keeps p more of the full convolution at both ends."""
    x, k, t = torch.randn(2, 3, 8, 6, dtype=torch.float64), np.array(taps) / sum(taps), len(taps)
    p = (t - 1) // 2

    def full(taps, up, down, first, sizes):
        y = x.numpy()
        for axis, size in zip((2, 3), sizes, strict=True):
            y = upfirdn(taps, y, up, axis=axis)
            y = np.pad(y, [(0, 2 * t) if i == axis else (0, 0) for i in range(4)])
            y = y.take(range(first, first + down * size, down), axis)
        return y

    reverse = k[::-1]
    np.testing.assert_allclose(Downsample(taps)(x), full(reverse, 1, 2, t - 1 - p, (4, 3)), atol=1e-6)
    np.testing.assert_allclose(Upsample(taps)(x), full(2 * k, 2, 1, p, (16, 12)), atol=1e-6)
    sizes = (8 + 2 - t + 1, 6 + 2 - t + 1)
    np.testing.assert_allclose(Blur(taps, 1)(x), full(reverse, 1, 1, t - 2, sizes), atol=1e-6)


def test_the_kernel_is_not_part_of_a_checkpoint_and_bad_taps_are_refused() -> None:
    assert Downsample().state_dict() == {}
    for taps in ((1,), (1, -1)):
        with pytest.raises(ValueError, match="taps="):
            Upsample(taps)
