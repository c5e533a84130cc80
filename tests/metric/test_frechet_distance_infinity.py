"""Extrapolated Frechet distance: a line in 1/N that comes closer to the true value than the distance at N."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric.frechet_distance import FrechetDistance, frechet_distance
from saddlepoint.metric.frechet_distance_infinity import (
    FrechetDistanceInfinity,
    frechet_distance_infinity,
    influence,
    subset_sizes,
)


def gaussian(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_the_line_is_numpys_least_squares_fit() -> None:
    result = frechet_distance_infinity(torch.zeros(4), torch.eye(4), gaussian(200, 4, 0), points=5)
    slope, intercept = np.polyfit(1 / np.array(result.detail["sizes"]), result.detail["distances"], 1)
    assert result.value == pytest.approx(intercept, rel=1e-10)
    assert result.detail["slope"] == pytest.approx(slope, rel=1e-10)


def test_a_line_needs_three_different_sizes() -> None:
    with pytest.raises(ValueError, match="three different sizes"):
        frechet_distance_infinity(torch.zeros(4), torch.eye(4), gaussian(200, 4, 0), points=5, least=200)


def test_the_influence_of_a_fake_is_the_derivative_of_the_distance_by_its_weight() -> None:
    """Compared with a difference quotient of weighted moments; n is large because the covariance divides by n - 1."""
    real, fake = gaussian(50, 4, 0).double() * 2, gaussian(2000, 4, 1).double() + 0.5
    mu, sigma, step = real.mean(0), torch.cov(real.T), 1e-5

    def distance(i: int, more: float) -> float:
        weight = torch.full((len(fake),), (1 - more) / len(fake), dtype=torch.float64)
        weight[i] += more
        mean = weight @ fake
        away = fake - mean
        return frechet_distance(mu, sigma, mean, (away * weight[:, None]).T @ away).item()

    psi = influence(mu, sigma, fake)
    assert psi.mean().item() == pytest.approx(0, abs=1e-12)
    for i in (0, 7, 1999):
        assert psi[i].item() == pytest.approx((distance(i, step) - distance(i, -step)) / (2 * step), rel=5e-3, abs=5e-3)


@pytest.mark.parametrize(("d", "n", "scale", "shift"), [(20, 400, 1.1, 0.0), (20, 400, 1.0, 0.0), (8, 600, 1.3, 0.2)])
def test_the_standard_error_is_that_of_new_sets_of_fakes(d: int, n: int, scale: float, shift: float) -> None:
    """1.96 errors should contain the true value in 95% of sets; with the error of the fit it was 78%."""
    truth = d * ((scale - 1) ** 2 + shift**2)
    results = [
        frechet_distance_infinity(torch.zeros(d), torch.eye(d), scale * gaussian(n, d, seed) + shift, seed=seed)
        for seed in range(150)
    ]
    values, errors = np.array([float(one.value) for one in results]), np.array([one.std for one in results])
    assert np.mean(errors) == pytest.approx(values.std(ddof=1), rel=0.2)  # a deviation over 150 sets has an error of 6%
    assert np.mean(abs(values - truth) <= 1.96 * errors) > 0.91


def test_fewer_fakes_than_features_still_have_an_error() -> None:
    result = frechet_distance_infinity(torch.zeros(30), torch.eye(30), gaussian(40, 30, 0), points=5, least=10)
    assert 0 < (result.std or 0) < 100
    dead = torch.cat([gaussian(200, 3, 0), torch.zeros(200, 1)], 1)
    result = frechet_distance_infinity(torch.zeros(4), torch.eye(4), dead, points=5, least=50)
    assert 0 < (result.std or 0) < 1


def test_the_sizes_for_50_000_fakes_are_those_of_the_paper() -> None:
    assert subset_sizes(50_000) == np.linspace(5_000, 50_000, 15).astype(int).tolist()
    assert [subset_sizes(n)[0] for n in (900, 10_000, 20_000, 200_000)] == [450, 5_000, 5_000, 20_000]
    assert subset_sizes(100, points=4, least=10) == [10, 40, 70, 100]


def test_the_extrapolation_is_nearer_to_the_true_value_than_the_distance_at_n() -> None:
    """N(0, I) against N(0, 1.1^2 I): the true value is d / 100, and the distance at n is about d / (4 n) d above it."""
    d, n, mu, sigma = 20, 400, torch.zeros(20), torch.eye(20)
    plain, infinite = [], []
    for seed in range(40):
        fake = 1.1 * gaussian(n, d, seed)
        infinite.append(float(frechet_distance_infinity(mu, sigma, fake, seed=seed).value))
        plain.append(frechet_distance(mu, sigma, fake.mean(0), torch.cov(fake.T)).item())
    truth, error = d * 0.1**2, np.std(infinite, ddof=1) / 40**0.5
    assert np.mean(plain) - truth > 0.15  # more than doubled
    assert abs(np.mean(infinite) - truth) < 3 * error + 0.005 * d  # not quite linear: half a percent of the trace
    assert abs(np.mean(infinite) - truth) < abs(np.mean(plain) - truth) / 5


def test_the_largest_subset_is_all_fakes_so_the_last_distance_is_the_plain_one() -> None:
    fake = gaussian(60, 3, 0).double()
    result = frechet_distance_infinity(torch.zeros(3), torch.eye(3), fake, points=5, least=20)
    assert result.detail["sizes"] == [20, 30, 40, 50, 60]
    plain = frechet_distance(torch.zeros(3), torch.eye(3), fake.mean(0), torch.cov(fake.T)).item()
    assert result.detail["distances"][-1] == pytest.approx(plain, rel=1e-10)
    intercept = np.polyfit(1 / np.array(result.detail["sizes"]), result.detail["distances"], 1)[1]
    assert result.value == pytest.approx(intercept, rel=1e-9)


def update_with(real: Tensor, fake: Tensor, batch: int = 1000, **arguments: int) -> FrechetDistanceInfinity:
    metric = FrechetDistanceInfinity(**arguments)  # pyright: ignore[reportArgumentType]
    for chunk in real.split(batch):
        metric.update(Features(chunk), real=True)
    for chunk in fake.split(batch):
        metric.update(Features(chunk), real=False)
    return metric


def test_the_size_of_batches_does_not_matter_and_the_seed_does() -> None:
    real, fake = gaussian(100, 3, 0), gaussian(90, 3, 1)
    value = update_with(real, fake).compute().value
    assert update_with(real, fake, batch=7).compute().value == pytest.approx(value, rel=1e-9)
    assert update_with(real, fake, seed=1).compute().value != pytest.approx(value, rel=1e-3)


def test_fakes_in_blocks_have_the_distances_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = gaussian(100, 3, 0), gaussian(90, 3, 1)
    value = update_with(real, fake).compute().value
    monkeypatch.setattr("saddlepoint.metric.frechet_distance_infinity.ROWS", 11)
    assert update_with(real, fake).compute().value == pytest.approx(value, rel=1e-9)


def test_two_ranks_give_the_result_of_one_process() -> None:
    real, fake = gaussian(100, 3, 0), gaussian(90, 3, 1)
    expected = update_with(real, fake)
    ranks = [update_with(real[:50], fake[:45]), update_with(real[50:], fake[45:])]
    states = [getattr(ranks[1], name) for name in ranks[1]._reductions]
    others = iter([torch.cat(list(state)) if state else torch.zeros(0) for state in states])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute().value == pytest.approx(float(expected.compute().value), rel=1e-9)


def test_the_reals_can_be_given_as_mean_and_covariance() -> None:
    real, fake = gaussian(100, 3, 0), gaussian(90, 3, 1)
    metric, plain = update_with(real[:0], fake), FrechetDistance()
    plain.update(Features(real), real=True)
    metric.set_reference(plain.reference(90))
    assert metric.compute().value == pytest.approx(float(update_with(real, fake).compute().value), rel=1e-9)


def test_the_contract_records_the_smallest_subset_and_the_score_has_an_error(points: Callable) -> None:
    messages: list[str] = []
    evaluator = Evaluator(Identity((3,)), {"fid_infinity": FrechetDistanceInfinity()}, 100, log=messages.append)
    (score,) = evaluator(lambda n: gaussian(n, 3, 5), points().split("train")).values()
    assert score.contract.settings == {"points": 15, "least": 50, "seed": 0}
    assert (score.std or 0) > 0
    assert messages == []


def test_too_small_subsets_give_a_warning_and_too_few_sizes_are_left_out() -> None:
    metric = FrechetDistanceInfinity()
    caution = metric.caution(50_000, 4000, 2048)
    assert "evaluation.n to 8192" in str(caution)
    assert "least to 4096" in str(caution)
    assert metric.caution(50_000, 50_000, 2048) is None
    assert metric.caution(50_000, 10_000, 2048) is None
    assert "15 sizes" in str(metric.why_not(100, 20))
    assert "15 sizes" in str(FrechetDistanceInfinity(least=500).why_not(100, 400))
    assert metric.why_not(100, 28) is None
    assert metric.why_not(1, 100)
    with pytest.raises(ValueError, match="points=2"):
        FrechetDistanceInfinity(points=2)
