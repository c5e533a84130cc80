"""Readings: rank statistics, signals and diversities against closed forms and other libraries."""

import math

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch.nn.functional import adaptive_avg_pool2d

from saddlepoint.health import reading
from saddlepoint.modality import Image
from saddlepoint.objective import hinge, minimax, nonsaturating, relativistic, wasserstein


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_probability_is_mann_whitneys_statistic_with_ties_half():
    a, b = normal(40).round(decimals=1), (normal(30, seed=1) + 0.3).round(decimals=1)
    expected = mannwhitneyu(a.numpy(), b.numpy()).statistic / (40 * 30)
    assert reading.probability_greater(a, b) == pytest.approx(expected, abs=1e-12)
    assert reading.probability_greater(a, b) + reading.probability_greater(b, a) == pytest.approx(1)


def test_the_probability_does_not_depend_on_the_scale_of_logits():
    a, b = normal(50), normal(50, seed=1) - 0.5
    assert reading.probability_greater(a, b) == pytest.approx(
        reading.probability_greater(1e4 * a - 3e4, 1e4 * b - 3e4), abs=1e-3
    )


def test_logits_of_patches_are_averaged_per_sample():
    patches = normal(20, 1, 4, 4)
    assert reading.logit_per_sample(patches).shape == (20,)
    assert reading.probability_greater(patches, patches.mean((1, 2, 3))) == pytest.approx(0.5, abs=0.02)


def test_the_share_on_the_real_side_does_not_depend_on_the_zero_of_logits():
    real, fake = (
        normal(100).clamp(-1, 1) + 12,
        normal(100, seed=1).clamp(-1, 1) + 8,
    )  # the logits of a relativistic D have no zero
    assert reading.share_on_real_side(real, real, fake) == 1
    assert 1 - reading.share_on_real_side(fake, real, fake) == 1
    assert reading.share_on_real_side(torch.tensor([9.0, 11.0]), real, fake) == 0.5


@pytest.mark.parametrize("level", [-7.0, 0.0, 5.0])
def test_the_loss_signal_matches_the_closed_form(level):
    fake = torch.full((8,), level, dtype=torch.float64)
    sigma = 1 / (1 + math.exp(-level))
    assert reading.loss_signal(minimax.generator, {"fake": fake}, "fake") == pytest.approx(sigma)
    assert reading.loss_signal(nonsaturating.generator, {"fake": fake}, "fake") == pytest.approx(1 - sigma)
    for critic in (wasserstein, hinge):
        assert reading.loss_signal(critic.generator, {"fake": fake}, "fake") == pytest.approx(1)
    logits = {"real": torch.zeros_like(fake), "fake": fake}
    assert reading.loss_signal(relativistic.generator, logits, "fake") == pytest.approx(1 - sigma)
    assert reading.loss_signal(hinge.discriminator, logits, "fake") == pytest.approx(float(level > -1))


def test_the_loss_signal_does_not_change_the_logits():
    fake = normal(8)
    with torch.no_grad():
        reading.loss_signal(minimax.generator, {"fake": fake}, "fake")
    assert not fake.requires_grad
    assert fake.grad is None


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_distant_points_count_as_k(k):
    x = torch.eye(8)[torch.arange(240) % k] * 100
    assert reading.effective_count(x, 1.0) == pytest.approx(k, rel=1e-6)


def test_the_effective_count_is_the_vendi_score_of_order_two():
    x, width = normal(60, 5), 2.0
    kernel = (-(torch.cdist(x.double(), x.double()) ** 2) / (2 * width**2)).exp() / 60
    assert reading.effective_count(x, width) == pytest.approx(
        1 / torch.linalg.eigvalsh(kernel).square().sum().item(), rel=1e-6
    )


def test_diversity_is_zero_for_equal_samples_and_one_for_the_reals():
    reals = normal(100, 1, 8, 8)
    assert reading.diversity(torch.zeros(100, 1, 8, 8), reals) == pytest.approx(0, abs=1e-12)
    assert reading.diversity(reals, reals) == pytest.approx(1)
    assert reading.diversity(reals, torch.zeros(100, 1, 8, 8)) is None


def test_lost_modes_lower_the_diversity_but_not_the_mean_distance():
    ring = torch.stack([torch.tensor([math.cos(t), math.sin(t)]) for t in torch.arange(8) * math.pi / 4])
    reals = ring[torch.arange(256) % 8] + 0.02 * normal(256, 2)
    two_modes = ring[torch.tensor([0, 4])][torch.arange(256) % 2] + 0.02 * normal(256, 2, seed=1)
    assert torch.pdist(two_modes).mean() > 0.75 * torch.pdist(reals).mean()
    assert reading.diversity(two_modes, reals) < 0.3


def test_large_images_are_compared_at_a_size_that_costs_little():
    x, y = normal(20, 3, 128, 128), normal(20, 3, 128, 128, seed=1)
    small = reading.diversity(adaptive_avg_pool2d(x, 32), adaptive_avg_pool2d(y, 32))
    assert reading.diversity(*map(Image().comparison_features, (x, y))) == pytest.approx(small)


def test_pixel_freedom_is_zero_at_the_ends_of_the_range():
    reals = normal(10, 1, 8, 8).clamp(-0.9, 0.9)
    assert reading.pixel_freedom(reals, reals) == pytest.approx(1)
    assert reading.pixel_freedom(torch.ones(10, 1, 8, 8), reals) == 0
    assert reading.pixel_freedom(reals, torch.ones(10, 1, 8, 8)) is None  # black and white data are at the ends


def test_equal_logits_have_a_spread_of_zero():
    assert reading.logit_spread(torch.full((9,), 3.0), torch.full((4,), 3.0)) == 0
    assert reading.logit_spread(normal(50), normal(50)) == pytest.approx(normal(50).repeat(2).std().item(), rel=1e-5)


def test_magnitude_is_a_power_of_ten_and_nan_counts_as_the_largest_float32():
    assert reading.magnitude([1.0, -1000.0, 3.0]) == pytest.approx(3)
    assert reading.magnitude([1.0, math.nan]) == reading.magnitude([math.inf]) == reading.LOG10_MAX
    assert pytest.approx(math.log10(torch.finfo(torch.float32).max), abs=0.01) == reading.LOG10_MAX


def test_linear_growth_of_the_magnitude_gives_the_images_to_overflow():
    course = [(1000 * i, 2.0 + i) for i in range(5)]
    assert reading.images_to_overflow(course) == pytest.approx((reading.LOG10_MAX - 6) * 1000)
    assert reading.images_to_overflow([(i, 5.0 - i) for i in range(5)]) is None
    assert reading.images_to_overflow(course[:2]) is None
