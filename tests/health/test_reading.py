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


def test_ahead_is_mann_and_whitneys_statistic_over_all_pairs_with_ties_half():
    a, b = normal(40).round(decimals=1), (normal(30, seed=1) + 0.3).round(decimals=1)
    expected = mannwhitneyu(a.numpy(), b.numpy()).statistic / (40 * 30)
    assert reading.probability_greater(a, b) == pytest.approx(expected, abs=1e-12)
    assert reading.probability_greater(a, b) + reading.probability_greater(b, a) == pytest.approx(1)


def test_ahead_asks_nothing_of_the_scale_of_logits():
    a, b = normal(50), normal(50, seed=1) - 0.5
    assert reading.probability_greater(a, b) == pytest.approx(
        reading.probability_greater(1e4 * a - 3e4, 1e4 * b - 3e4), abs=1e-3
    )


def test_a_patch_is_one_sample_and_not_many():
    patches = normal(20, 1, 4, 4)
    assert reading.logit_per_sample(patches).shape == (20,)
    assert reading.probability_greater(patches, patches.mean((1, 2, 3))) == pytest.approx(0.5, abs=0.02)


def test_the_share_on_the_right_side_is_one_for_sides_apart_and_ignores_where_zero_is():
    real, fake = normal(100).clamp(-1, 1) + 12, normal(100, seed=1).clamp(-1, 1) + 8  # a relativistic D has no zero
    assert reading.share_on_real_side(real, real, fake) == 1
    assert 1 - reading.share_on_real_side(fake, real, fake) == 1
    assert reading.share_on_real_side(torch.tensor([9.0, 11.0]), real, fake) == 0.5


@pytest.mark.parametrize("level", [-7.0, 0.0, 5.0])
def test_a_signal_is_the_slope_of_the_objective_in_closed_form(level):
    fake = torch.full((8,), level, dtype=torch.float64)
    sigma = 1 / (1 + math.exp(-level))
    assert reading.loss_signal(minimax.generator, {"fake": fake}, "fake") == pytest.approx(sigma)
    assert reading.loss_signal(nonsaturating.generator, {"fake": fake}, "fake") == pytest.approx(1 - sigma)
    for critic in (wasserstein, hinge):
        assert reading.loss_signal(critic.generator, {"fake": fake}, "fake") == pytest.approx(1)
    both = {"real": torch.zeros_like(fake), "fake": fake}
    assert reading.loss_signal(relativistic.generator, both, "fake") == pytest.approx(1 - sigma)
    assert reading.loss_signal(hinge.discriminator, both, "fake") == pytest.approx(float(level > -1))


def test_a_signal_leaves_the_logits_alone():
    fake = normal(8)
    with torch.no_grad():
        reading.loss_signal(minimax.generator, {"fake": fake}, "fake")
    assert not fake.requires_grad
    assert fake.grad is None


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_far_points_are_k_different_samples(k):
    x = torch.eye(8)[torch.arange(240) % k] * 100
    assert reading.effective_count(x, 1.0) == pytest.approx(k, rel=1e-6)


def test_distinct_samples_are_the_spectrums_vendi_score_of_order_two():
    x, width = normal(60, 5), 2.0
    kernel = (-(torch.cdist(x.double(), x.double()) ** 2) / (2 * width**2)).exp() / 60
    assert reading.effective_count(x, width) == pytest.approx(
        1 / torch.linalg.eigvalsh(kernel).square().sum().item(), rel=1e-6
    )


def test_diversity_is_zero_for_one_thing_and_one_for_the_reals_themselves():
    reals = normal(100, 1, 8, 8)
    assert reading.diversity(torch.zeros(100, 1, 8, 8), reals) == pytest.approx(0, abs=1e-12)
    assert reading.diversity(reals, reals) == pytest.approx(1)
    assert reading.diversity(reals, torch.zeros(100, 1, 8, 8)) is None


def test_lost_modes_show_in_the_diversity_though_the_mean_distance_stays():
    ring = torch.stack([torch.tensor([math.cos(t), math.sin(t)]) for t in torch.arange(8) * math.pi / 4])
    reals = ring[torch.arange(256) % 8] + 0.02 * normal(256, 2)
    two = ring[torch.tensor([0, 4])][torch.arange(256) % 2] + 0.02 * normal(256, 2, seed=1)
    assert torch.pdist(two).mean() > 0.75 * torch.pdist(reals).mean()
    assert reading.diversity(two, reals) < 0.3


def test_large_images_are_compared_at_a_size_that_costs_little():
    x, y = normal(20, 3, 128, 128), normal(20, 3, 128, 128, seed=1)
    small = reading.diversity(adaptive_avg_pool2d(x, 32), adaptive_avg_pool2d(y, 32))
    assert reading.diversity(*map(Image().comparison_features, (x, y))) == pytest.approx(small)


def test_pixels_are_free_between_the_ends_and_not_at_them():
    reals = normal(10, 1, 8, 8).clamp(-0.9, 0.9)
    assert reading.pixel_freedom(reals, reals) == pytest.approx(1)
    assert reading.pixel_freedom(torch.ones(10, 1, 8, 8), reals) == 0
    assert (
        reading.pixel_freedom(reals, torch.ones(10, 1, 8, 8)) is None
    )  # black and white data: the ends are where to be


def test_a_spread_of_zero_is_one_answer_for_all():
    assert reading.logit_spread(torch.full((9,), 3.0), torch.full((4,), 3.0)) == 0
    assert reading.logit_spread(normal(50), normal(50)) == pytest.approx(normal(50).repeat(2).std().item(), rel=1e-5)


def test_a_magnitude_is_a_power_of_ten_and_no_number_is_the_end_of_float32():
    assert reading.magnitude([1.0, -1000.0, 3.0]) == pytest.approx(3)
    assert reading.magnitude([1.0, math.nan]) == reading.magnitude([math.inf]) == reading.LOG10_MAX
    assert pytest.approx(math.log10(torch.finfo(torch.float32).max), abs=0.01) == reading.LOG10_MAX


def test_a_decade_per_thousand_images_overflows_when_it_reaches_the_end():
    course = [(1000 * i, 2.0 + i) for i in range(5)]
    assert reading.images_to_overflow(course) == pytest.approx((reading.LOG10_MAX - 6) * 1000)
    assert reading.images_to_overflow([(i, 5.0 - i) for i in range(5)]) is None
    assert reading.images_to_overflow(course[:2]) is None
