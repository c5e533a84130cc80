"""Frechet distance: closed forms, and comparison with three other implementations."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.frechet_distance import FrechetDistance, frechet_distance


def covariance(d: int, seed: int, n: int | None = None) -> Tensor:
    """A covariance of full rank, or of rank n - 1."""
    x = torch.randn(n or 4 * d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cov(x.T)


def compute(real: Tensor, fake: Tensor, batch: int = 1000) -> float:
    metric = FrechetDistance()
    for chunk in real.split(batch):
        metric.update(Features(chunk), real=True)
    for chunk in fake.split(batch):
        metric.update(Features(chunk), real=False)
    return metric.compute().item()


def gaussian(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance_by_singular_values(x: Tensor, y: Tensor) -> float:
    """tr((S1 S2)^(1/2)) is the nuclear norm of Xc Yc' over the root of both degrees of freedom, at any rank."""
    xc, yc = x - x.mean(0), y - y.mean(0)
    trace = np.linalg.svd((xc @ yc.T).numpy(), compute_uv=False).sum() / ((len(x) - 1) * (len(y) - 1)) ** 0.5
    covariance = xc.square().sum() / (len(x) - 1) + yc.square().sum() / (len(y) - 1)
    return float((x.mean(0) - y.mean(0)).square().sum() + covariance - 2 * trace)


@pytest.mark.parametrize("n", [None, 5], ids=["full rank", "rank 4"])
def test_a_gaussian_has_distance_zero_from_itself(n: int | None) -> None:
    mu, sigma = torch.randn(20, dtype=torch.float64), covariance(20, 0, n)
    assert frechet_distance(mu, sigma, mu, sigma) < 1e-10 * sigma.trace()


@pytest.mark.parametrize("n", [None, 5], ids=["full rank", "rank 4"])
def test_a_shift_of_the_mean_adds_its_square(n: int | None) -> None:
    mu, sigma, shift = torch.zeros(20), covariance(20, 0, n), torch.linspace(-1, 2, 20)
    assert frechet_distance(mu, sigma, mu + shift, sigma).item() == pytest.approx(shift.square().sum().item(), rel=1e-6)


@pytest.mark.parametrize(("s", "t"), [(1.0, 3.0), (0.5, 0.5), (0.0, 2.0), (1e-4, 1e3)])
def test_isotropic_gaussians_have_the_closed_form_distance(s: float, t: float) -> None:
    d, mu = 7, torch.zeros(7)
    eye = torch.eye(d, dtype=torch.float64)
    assert frechet_distance(mu, s**2 * eye, mu, t**2 * eye).item() == pytest.approx(
        d * (s - t) ** 2, rel=1e-12, abs=1e-12
    )


def test_diagonal_covariances_add_up_over_dimensions() -> None:
    a, b = torch.tensor([1.0, 4.0, 0.0, 9.0, 0.0]), torch.tensor([4.0, 1.0, 2.0, 9.0, 0.0])
    distance = frechet_distance(torch.zeros(5), a.diag(), torch.zeros(5), b.diag())
    assert distance.item() == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("n", [None, 5], ids=["full rank", "rank 4"])
def test_the_distance_is_symmetric(n: int | None) -> None:
    a, b = (torch.zeros(20), covariance(20, 0, n)), (torch.ones(20), covariance(20, 1))
    assert frechet_distance(*a, *b).item() == pytest.approx(frechet_distance(*b, *a).item(), rel=1e-12)


def test_the_distance_agrees_with_three_other_implementations() -> None:
    from torch_fidelity.metric_fid import fid_statistics_to_metric
    from torchmetrics.image.fid import _compute_fid

    mu1, sigma1, mu2, sigma2 = torch.zeros(30).double(), covariance(30, 0), torch.ones(30).double(), covariance(30, 1)
    ours = frechet_distance(mu1, sigma1, mu2, sigma2).item()
    fidelity: Any = fid_statistics_to_metric(
        {"mu": mu1.numpy(), "sigma": sigma1.numpy()}, {"mu": mu2.numpy(), "sigma": sigma2.numpy()}, False
    )
    root = scipy.linalg.sqrtm((sigma1 @ sigma2).numpy())
    textbook = float((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace()) - 2 * np.trace(root).real
    assert ours == pytest.approx(fidelity["frechet_inception_distance"], rel=1e-10)
    assert ours == pytest.approx(_compute_fid(mu1, sigma1, mu2, sigma2).item(), rel=1e-10)
    assert ours == pytest.approx(textbook, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("n", [400, 12], ids=["n > d", "n < d"])
def test_the_distance_is_right_at_any_rank_and_scale(n: int, scale: float) -> None:
    real, fake = gaussian(300, 40, 0) * scale, (gaussian(n, 40, 1) * 1.5 + 0.3) * scale
    real[:, 7] = fake[:, 7] = 0  # a feature that is 0 for all samples
    real[:, 9] = 0  # a feature that is 0 for all reals
    assert compute(real, fake) == pytest.approx(distance_by_singular_values(real, fake), rel=1e-9)


def test_a_covariance_of_rank_one_has_the_closed_form_root() -> None:
    """S2 = v v' has tr((S1 S2)^(1/2)) = (v' S1 v)^(1/2); rounded eigenvalues would add 1e-8 of the traces."""
    d, mu = 200, torch.zeros(200)
    sigma, v = covariance(d, 0), gaussian(1, d, 1)[0]
    expected = (sigma.trace() + v @ v - 2 * (v @ sigma @ v).sqrt()).item()
    traces = (sigma.trace() + v @ v).item()
    for one, other in ((sigma, v.outer(v)), (v.outer(v), sigma)):
        assert abs(frechet_distance(mu, one, mu, other).item() - expected) < 1e-13 * traces


@pytest.mark.parametrize("kind", ["full rank", "rank one", "n < d", "dead units"])
@pytest.mark.parametrize("rotated", [False, True])
def test_features_of_very_different_scales_are_measured(kind: str, rotated: bool) -> None:
    d = 120
    scale = torch.logspace(-4, 3, d, dtype=torch.float64)
    real, fake = gaussian(3 * d, d, 0) * scale, gaussian(d // 3 if kind == "n < d" else 4 * d, d, 1) * scale * 1.2
    if kind == "rank one":
        fake = fake[:1] * gaussian(50, 1, 2)
    if rotated:
        basis = torch.linalg.qr(gaussian(d, d, 3)).Q
        real, fake = real @ basis, fake @ basis
    if kind == "dead units":
        real[:, ::3] = fake[:, ::3] = 0
        real[:, 1::6] = 0
    traces = (real.var(0).sum() + fake.var(0).sum()).item()
    assert abs(compute(real, fake) - distance_by_singular_values(real, fake)) < 1e-12 * traces


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_at_full_rank_the_distance_is_that_of_the_matrix_root(scale: float) -> None:
    mu1, mu2 = gaussian(2, 150, 0) * scale
    sigma1, sigma2 = covariance(150, 1) * scale**2, 1.5 * covariance(150, 2) * scale**2
    root = np.trace(scipy.linalg.sqrtm((sigma1 @ sigma2).numpy())).real
    traces = (sigma1.trace() + sigma2.trace()).item()
    expected = (mu1 - mu2).square().sum().item() + traces - 2 * root
    assert abs(frechet_distance(mu1, sigma1, mu2, sigma2).item() - expected) < 1e-8 * traces


def test_covariances_rounded_to_float32_are_measured() -> None:
    """Published statistics are rounded: small eigenvalues become negative, and Cholesky fails."""
    sigma1, sigma2 = covariance(60, 0), covariance(60, 1, 20)
    rough = sigma2.float().double()
    assert torch.linalg.eigvalsh(rough)[0] < 0
    exact, rounded = (frechet_distance(torch.zeros(60), sigma1, torch.zeros(60), one).item() for one in (sigma2, rough))
    assert rounded == pytest.approx(exact, rel=1e-3)


def test_the_order_of_samples_does_not_matter() -> None:
    real, fake = gaussian(300, 20, 0), 1.5 * gaussian(200, 20, 1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    assert compute(real, fake[order]) == pytest.approx(compute(real, fake), rel=1e-12)


def test_too_few_samples_give_warnings_about_rank_and_bias() -> None:
    caution = FrechetDistance().caution
    assert caution(60_000, 1000, 128) is None
    assert caution(60_000, 10_000, 2048) is None
    message = (
        "rank: 128 fakes of 128 features give no covariance of full rank, and directions without samples count as if "
        "they had no variance; compare only at equal n, measure more than 128 samples (evaluation.n), or use "
        "metric=[kernel_distance]"
    )
    assert caution(60_000, 128, 128) == message
    sentences = str(caution(300, 200, 2048)).splitlines()
    assert [sentence.split(":")[0] for sentence in sentences] == ["rank", "bias"]
    assert "300 reals of 2048 features and 200 fakes of 2048 features" in sentences[0]
    for real, fake, few in ((5000, 10_000, "5000 reals"), (10_000, 9999, "9999 fakes")):
        warning = str(caution(real, fake, 2048))
        assert "rank" not in warning
        assert f"bias: with {few} of 2048 features" in warning
        assert "measure at least 10000" in warning


def test_fakes_that_are_all_equal_are_measured() -> None:
    real, fake = gaussian(300, 40, 0), gaussian(1, 40, 1).repeat(50, 1)
    assert compute(real, fake) == pytest.approx(distance_by_singular_values(real, fake), rel=1e-9)
    assert compute(fake, fake) == pytest.approx(0, abs=1e-12)


def test_moments_are_those_of_numpy_whatever_the_batches() -> None:
    x = gaussian(101, 5, 0) + 100  # a large mean: float32 sums would be wrong in the third digit
    for batch in (1, 7, 101):
        metric = FrechetDistance()
        for chunk in x.split(batch):
            metric.update(Features(chunk), real=True)
        reference = metric.reference(0)
        np.testing.assert_allclose(reference["mu"], x.numpy().mean(0), rtol=1e-13)
        np.testing.assert_allclose(reference["sigma"], np.cov(x.numpy(), rowvar=False), rtol=1e-9, atol=1e-10)


def test_two_ranks_give_the_result_of_one_process() -> None:
    real, fake = gaussian(50, 4, 0), gaussian(60, 4, 1) * 2
    ranks = []
    for number in (0, 1):
        ranks.append(FrechetDistance())
        ranks[-1].update(Features(real[number::2]), real=True)
        ranks[-1].update(Features(fake[number::2]), real=False)
    others = iter([getattr(ranks[1], state)[0] for state in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute().item() == pytest.approx(compute(real, fake), rel=1e-12)


def test_a_reference_replaces_the_reals_and_is_not_summed_over_ranks() -> None:
    real, fake = gaussian(50, 4, 0), gaussian(60, 4, 1) * 2
    first = FrechetDistance()
    first.update(Features(real), real=True)
    second = FrechetDistance()
    second.set_reference(first.reference(60))
    second.update(Features(fake), real=False)
    assert second.compute().item() == compute(real, fake)
    assert not {"mu", "sigma"} & set(second._reductions)


@pytest.mark.parametrize("change", [lambda m: m.to(torch.float32), lambda m: m.half(), lambda m: m.float(), deepcopy])
def test_sums_stay_in_float64(change: Any) -> None:
    metric = change(FrechetDistance())
    metric.update(Features(gaussian(20, 3, 0).float()), real=True)
    before = metric.reference(0)
    metric = change(metric)
    assert metric.real_product[0].dtype == metric.real_mean[0].dtype == torch.float64
    assert torch.equal(metric.reference(0)["sigma"], before["sigma"])


def test_invalid_input_is_refused() -> None:
    eye = torch.eye(3)
    with pytest.raises(ValueError, match="nan"):
        frechet_distance(torch.tensor([0.0, float("nan"), 0.0]), eye, torch.zeros(3), eye)
    with pytest.raises(ValueError, match="same d"):
        frechet_distance(torch.zeros(2), torch.eye(2), torch.zeros(3), eye)
    with pytest.raises(ValueError, match="two fake samples"):
        compute(gaussian(5, 2, 0), gaussian(1, 2, 0))
