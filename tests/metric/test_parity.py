"""Scores match torch-fidelity and prdc, on images with one randomly initialised Inception and on the same features.

Neither needs a network here: Inception's weights are random, and features can be any numbers.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.inception import Inception
from saddlepoint.metric.coverage import coverage
from saddlepoint.metric.density import density
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.inception_score import InceptionScore
from saddlepoint.metric.kernel_distance import KernelDistance
from saddlepoint.metric.precision import Precision, precision
from saddlepoint.metric.recall import Recall, recall


def random_images(n: int, seed: int, size: int = 32) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=draws) * 255
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").to(torch.uint8)


def features(n: int, d: int, seed: int) -> Tensor:
    """Features like those of a classifier: not negative, many at 0, with a decaying spectrum."""
    draws = torch.Generator().manual_seed(seed)
    mixed = torch.randn(n, d, generator=draws) * torch.arange(1, d + 1).rsqrt()
    basis = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(99))).Q
    return (mixed @ basis + 0.05).relu()


class Stored(Dataset):
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.x[index]


class Reals:
    name, sha256 = "train", "00"

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, None]:
        return self.x[index], None

    def batches(self, size: int) -> Any:
        return ((chunk, None) for chunk in self.x.split(size))


def value(metric: Any, real: Tensor, fake: Tensor) -> float:
    metric.update(Features(real), real=True)
    metric.update(Features(fake), real=False)
    return float(metric.results()[""].value)


@pytest.mark.parametrize("n", [8, pytest.param(96, marks=pytest.mark.slow)])
def test_scores_of_images_match_torch_fidelity(n: int, random_weights: Path) -> None:
    import torch_fidelity

    real, fake = random_images(n, 0), random_images(n, 1) // 2 + 40
    reference = torch_fidelity.calculate_metrics(
        input1=Stored(fake),
        input2=Stored(real),
        cuda=False,
        fid=True,
        isc=True,
        isc_splits=2,
        kid=True,
        kid_subsets=1,
        kid_subset_size=n,
        prc=True,
        feature_extractor="inception-v3-compat",  # the default for precision and recall, VGG16, has no weights here
        feature_layer_prc="2048",
        samples_shuffle=False,
        batch_size=16,
        feature_extractor_weights_path=str(random_weights),
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    evaluator = Evaluator(
        Inception(random_weights),
        {
            "fid": FrechetDistance(),
            "inception_score": InceptionScore(splits=2),
            "kid": KernelDistance(subset_size=None),
            "precision": Precision(),
            "recall": Recall(),
        },
        n=n,
        batch=16,
        log=lambda line: None,
    )
    chunks = iter((fake.float() / 127.5 - 1).split(16))
    scores = {
        score.contract.metric: score
        for score in evaluator(lambda n: next(chunks), Reals(real)).values()  # pyright: ignore[reportArgumentType]
    }
    assert scores["fid"].value == pytest.approx(reference["frechet_inception_distance"], rel=1e-5)
    assert scores["inception_score"].value == pytest.approx(reference["inception_score_mean"], rel=1e-6)
    assert scores["inception_score"].std == pytest.approx(reference["inception_score_std"], rel=1e-4, abs=1e-9)
    # torch-fidelity adds in float32, and values of k near 1 cancel
    assert scores["kid"].value == pytest.approx(reference["kernel_inception_distance_mean"], rel=1e-4, abs=1e-6)
    assert scores["precision"].value == pytest.approx(reference["precision"], abs=1e-6)
    assert scores["recall"].value == pytest.approx(reference["recall"], abs=1e-6)


def test_the_frechet_distance_of_features_matches_torch_fidelity() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    real, fake = features(900, 200, 0), 1.2 * features(700, 200, 1)
    statistics = (fid_features_to_statistics(x.double()) for x in (fake, real))
    reference = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert value(FrechetDistance(), real, fake) == pytest.approx(reference, rel=1e-8)


@pytest.mark.parametrize("d", [16, 200])
def test_the_kernel_distance_of_one_full_subset_matches_torch_fidelity(d: int) -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = features(400, d, 0), 1.2 * features(400, d, 1)
    reference = kid_features_to_metric(fake.double(), real.double(), kid_subsets=1, kid_subset_size=400, verbose=False)
    ours = value(KernelDistance(subset_size=None), real, fake)
    assert ours == pytest.approx(reference["kernel_inception_distance_mean"], rel=1e-9)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("scale", [1.2, 1.6])
def test_precision_and_recall_of_features_match_torch_fidelity(k: int, scale: float) -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = features(400, 20, 0), scale * features(400, 20, 1)
    reference = prc_features_to_metric(fake.double(), real.double(), prc_neighborhood=k, verbose=False)
    assert 0.05 < reference["precision"] < 0.99
    assert value(Precision(k), real, fake) == pytest.approx(reference["precision"], abs=1e-6)
    assert value(Recall(k), real, fake) == pytest.approx(reference["recall"], abs=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m"), [(300, 300), (200, 350), (350, 200)])
def test_all_four_neighbour_scores_match_prdc(n: int, m: int, k: int) -> None:
    prdc = pytest.importorskip("prdc", reason="pip install --no-deps prdc==0.2")

    real, fake = features(n, 20, 0), 1.3 * features(m, 20, 1)
    reference = prdc.compute_prdc(real.double().numpy(), fake.double().numpy(), k)
    assert all(0.05 < value < 1 for value in reference.values())
    # equal except for the order of sums: all distances differ, so open and closed balls contain the same points
    assert precision(real, fake, k).item() == pytest.approx(reference["precision"], abs=1e-12)
    assert recall(real, fake, k).item() == pytest.approx(reference["recall"], abs=1e-12)
    assert density(real, fake, k).item() == pytest.approx(reference["density"], abs=1e-12)
    assert coverage(real, fake, k).item() == pytest.approx(reference["coverage"], abs=1e-12)
