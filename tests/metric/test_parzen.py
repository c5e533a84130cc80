"""Parzen windows: closed forms, two other implementations, and the known score of MNIST's training images."""

import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KernelDensity
from torch import Tensor

from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric import parzen as module
from saddlepoint.metric.parzen import Parzen, best_width, k_means, log_likelihood
from saddlepoint.modality import Tokens

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def gaussian(n: int, d: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def compute(metric: Parzen, data, x: Tensor):
    metric.reset()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x), real=False)
    return metric.compute()


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_one_centre_gives_the_density_of_a_gaussian(sigma: float) -> None:
    x, mu = gaussian(20), gaussian(1, seed=1)
    expected = stats.multivariate_normal(mu[0].double().numpy(), sigma**2).logpdf(x.double().numpy())
    values = log_likelihood(x, mu, torch.tensor([sigma], dtype=torch.float64))[:, 0]
    assert values.numpy() == pytest.approx(expected, rel=1e-12)


def test_repeated_centres_are_weighted_by_their_share() -> None:
    x, centres, widths = gaussian(20), gaussian(3, seed=1), torch.tensor([0.3])
    once = log_likelihood(x, centres, widths)
    assert torch.allclose(log_likelihood(x, centres.repeat(7, 1), widths), once, rtol=1e-12)
    # a mixture with weights 3/4 and 1/4
    two = log_likelihood(x, centres[[0, 0, 0, 1]], widths)
    chunks = [log_likelihood(x, centres[[i]], widths).exp() for i in (0, 1)]
    assert torch.allclose(two, (0.75 * chunks[0] + 0.25 * chunks[1]).log(), rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 500])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_density_matches_scikit_learn_for_any_block_size_and_offset(
    rows: int, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    x, centres = gaussian(40).double() + offset, gaussian(60, seed=1).double() * 2 + offset
    widths = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    values = log_likelihood(x, centres, widths)
    for column, width in enumerate(widths.tolist()):
        reference = KernelDensity(bandwidth=width, algorithm="kd_tree").fit(centres.numpy()).score_samples(x.numpy())
        assert values[:, column].numpy() == pytest.approx(reference, rel=1e-8)


def test_far_samples_have_a_finite_likelihood() -> None:
    values = log_likelihood(torch.full((1, 784), 1.0), torch.zeros(3, 784), torch.tensor([0.1]))
    expected = -784 / (2 * 0.1**2) - 784 * math.log(0.1 * math.sqrt(2 * math.pi))  # its exp is 0 in any precision
    assert values.item() == pytest.approx(expected, rel=1e-6)


def test_the_best_width_of_a_gaussian_is_its_standard_deviation() -> None:
    x = gaussian(4000, d=50) * 0.3
    widths = torch.logspace(-1, 0, 41, dtype=torch.float64)
    assert best_width(x, torch.zeros(1, 50), widths).item() == pytest.approx(0.3, rel=0.06)  # the step of the grid


def test_the_score_follows_the_protocol(points) -> None:
    data, fakes = points(dim=2, sizes=(30, 50, 40)), gaussian(60, d=2, seed=3)
    value, std, detail, _ = compute(Parzen(validation=20), data, fakes)

    def density(sigma: float, x: Tensor) -> np.ndarray:
        kernels = [stats.multivariate_normal(mu, sigma**2).pdf(x.numpy()) for mu in fakes.numpy()]
        return np.log(np.mean(kernels, axis=0))

    validation, test = data.split("validation").x[:20], data.split("test").x
    sigma = max(np.logspace(-1, 0, 10), key=lambda s: density(s, validation).mean())
    each = density(sigma, test)
    assert detail["sigma"] == pytest.approx(sigma)
    assert float(value) == pytest.approx(each.mean(), rel=1e-6)
    assert float(std) == pytest.approx(each.std() / math.sqrt(40), rel=1e-6)


def test_bytes_are_measured_between_zero_and_one(stripes) -> None:
    x = stripes.split("train").x
    value, _, detail, _ = compute(Parzen(), stripes, x)
    tested, sigma = stripes.split("test").x, torch.tensor([detail["sigma"]])
    expected = log_likelihood(tested.flatten(1) / 255.0, x.flatten(1) / 255.0, sigma).mean()
    assert float(value) == pytest.approx(float(expected), rel=1e-6)


def test_tokens_have_no_density() -> None:
    data = SimpleNamespace(
        modality=Tokens(["", "a"]), shape=(3, 2), describe=lambda: {"sizes": {"validation": 9, "test": 9}}
    )
    assert "tokens have none. For tokens there are metric=[language_model" in str(Parzen().setup(data))


def test_sigma_is_chosen_on_validation_samples_alone(points) -> None:
    data = points(dim=2, sizes=(30, 50, 40))
    before = compute(Parzen(), data, gaussian(60, d=2))
    data.split("test").x[:] = data.split("test").x * 100
    after = compute(Parzen(), data, gaussian(60, d=2))
    assert after.detail["sigma"] == before.detail["sigma"]
    assert after.value < before.value
    data.split("validation").x[:] = gaussian(60, d=2)[:50]  # copies of the fakes are best with the smallest width
    assert compute(Parzen(), data, gaussian(60, d=2)).detail["sigma"] == pytest.approx(0.1)


def test_only_a_sigma_at_the_edge_of_the_grid_has_a_note(points) -> None:
    data = points(dim=2)
    inside = compute(Parzen(low=0.01, high=10), data, gaussian(200, d=2)).detail
    assert not inside["edge"]
    assert "note" not in inside
    low, high = (compute(Parzen(low=a, high=b), data, gaussian(200, d=2)).detail for a, b in ((2.0, 3.0), (1e-3, 1e-2)))
    assert low["edge"]
    assert "metric.parzen.low" in low["note"]
    assert high["edge"]
    assert "metric.parzen.high" in high["note"]


def test_its_anchors_are_training_samples_and_their_means(points, monkeypatch: pytest.MonkeyPatch) -> None:
    data = points(dim=2)
    metric = Parzen()
    metric.setup(data)
    assert set(metric.anchor_scores(20)) == {"training images", "k-means"}
    assert set(metric.anchor_scores(300)) == {"training images"}
    train = data.split("train").x
    assert metric.anchor_scores(400)["training images"] == compute(Parzen(), data, train)
    without_centroids, with_three = Parzen(centroids=0), Parzen(centroids=3)
    for other in (without_centroids, with_three):
        other.setup(data)
    assert set(without_centroids.anchor_scores(20)) == {"training images"}
    assert with_three.anchor_scores(20)["k-means"].detail["centres"] == 3


def test_k_means_finds_far_clusters() -> None:
    at = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    x = at[torch.arange(200) % 2] + gaussian(200, d=2) * 0.01
    means = k_means(x, 2)
    assert torch.allclose(means[means[:, 0].argsort()], at, atol=0.01)
    assert torch.equal(k_means(x, 20), k_means(x, 20))


def test_two_ranks_give_the_result_of_one_process(points) -> None:
    data, fakes = points(), gaussian(101, d=3)
    ranks = [Parzen(), Parzen()]
    for rank, chunk in zip(ranks, fakes.split(60), strict=True):
        rank.setup(data)
        rank.update(Features(chunk, x=chunk), real=False)
    others = iter([torch.cat(list(ranks[1].fake))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == compute(Parzen(), data, fakes)


def test_an_evaluation_scores_the_test_split_whatever_split_it_measures_against(points) -> None:
    data, messages = points(), []
    evaluator = Evaluator(Identity((3,)), {"parzen": Parzen()}, n=50, log=messages.append)
    fakes = gaussian(50, d=3)
    score = evaluator(lambda n: fakes[:n], data)["parzen_identity_50_train"]
    assert (score.value, score.std) == pytest.approx(tuple(map(float, compute(Parzen(), data, fakes)[:2])))
    assert score.contract.settings["test"] == data.split("test").sha256
    assert score.contract.settings["validation"] == data.split("validation").sha256
    assert (score.contract.settings["n_validation"], score.contract.settings["n_test"]) == (40, 40)
    assert score.detail["sigma"] > 0
    assert messages == ["parzen: published scores use 10,000 centres; scores with 50 are not comparable."]
    anchors = evaluator.measure_anchors(data)
    assert {"training images", "k-means"} <= set(anchors)
    assert "parzen_identity_50_train" in anchors["k-means"]
    assert all("parzen_identity_50_train" not in anchors.get(name, {}) for name in ("real", "10 memorised"))


def test_data_without_a_test_split_are_left_out_with_a_message(points) -> None:
    data = points(sizes=(30, 20, 0))
    assert "no test" in str(Parzen().setup(data))
    messages: list[str] = []
    evaluator = Evaluator(Identity((3,)), {"parzen": Parzen()}, n=20, log=messages.append)
    assert evaluator(lambda n: gaussian(n, d=3), data) == {}
    assert evaluator(lambda n: gaussian(n, d=3), points().split("train")) == {}
    assert len(messages) == 1
    messages.clear()
    other = Evaluator(Identity((3,)), {"parzen": Parzen()}, n=20, log=messages.append)
    assert other(lambda n: gaussian(n, d=3), points().split("train")) == {}
    assert "has a single split" in messages[0]


@pytest.mark.parametrize(
    "wrong", [{"sigmas": 0}, {"low": 0}, {"low": 2.0, "high": 1.0}, {"validation": 0}, {"test": 0}]
)
def test_an_invalid_grid_is_an_error(wrong: dict) -> None:
    with pytest.raises(Mistake, match="parzen"):
        Parzen(**wrong)


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}: set SADDLEPOINT_DATA")
def test_ten_thousand_training_images_of_mnist_have_the_known_score() -> None:
    metric = Parzen(centroids=0)
    metric.setup(MNIST(root=REAL))
    value, std, detail, _ = metric.anchor_scores(10_000)["training images"]
    assert detail["sigma"] == pytest.approx(0.167, abs=5e-4)
    assert float(value) == pytest.approx(242.5, abs=1.5)  # another draw of the 10,000 changes it by about 1
    assert float(std) == pytest.approx(2.1, abs=0.05)
