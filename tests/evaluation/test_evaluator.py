"""An evaluation: correct scores with contracts, computed in one pass, without side effects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score, first_differing_field
from saddlepoint.evaluation.evaluator import BACKENDS, Evaluator
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.inception_score import InceptionScore


class Counting(Extractor):
    """Returns mean and contrast of an image, and two logits; records its inputs."""

    name, sha256, dim, classes = "counting", "00", 2, 2

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Features:
        self.inputs.append(x)
        pixels = x.flatten(1).float()
        return Features(
            torch.stack([pixels.mean(1), pixels.std(1)], 1), torch.stack([pixels[:, 0], pixels[:, 1]], 1) / 20
        )

    @property
    def number(self) -> int:
        return sum(map(len, self.inputs))


def metrics() -> dict[str, Any]:
    return {"fid": FrechetDistance(), "inception_score": InceptionScore(), "coverage": Coverage()}


def noise(*shape: int, seed: int = 1) -> Callable[[int], Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return lambda n: torch.rand(n, *shape, generator=draws) * 2 - 1


def values(scores: dict[str, Score]) -> dict[str, float]:
    return {key: score.value for key, score in scores.items()}


def test_scores_have_names_and_contracts(stripes) -> None:
    scores = Evaluator(Counting(), metrics(), n=50, seed=3)(noise(1, 6, 6), stripes.split("train"), "raw")
    assert list(scores) == [f"{name}_counting_50_train" for name in ("fid", "inception_score", "coverage")]
    contract = scores["coverage_counting_50_train"].contract
    assert contract.settings == {"k": 5, "N": 50, "M": 50, "seed": 0}
    assert contract.data == stripes.split("train").sha256
    assert (contract.n_real, contract.n_fake, contract.split, contract.weights, contract.seed) == (
        120,
        50,
        "train",
        "raw",
        3,
    )
    assert (contract.resolution, contract.resizer, contract.extractor_sha256) == ("1x6x6", "none", "00")
    assert scores["inception_score_counting_50_train"].std is not None
    assert scores["fid_counting_50_train"].std is None
    assert json.loads(json.dumps(scores["fid_counting_50_train"].to_dict()))["contract"]["metric"] == "fid"


def test_scores_are_those_of_the_metrics_on_the_features(points) -> None:
    reals, fakes = points().split("train"), torch.randn(100, 3) * 1.3
    metric = FrechetDistance()
    metric.update(Features(reals.x), real=True)
    metric.update(Features(fakes), real=False)
    scores = Evaluator(Identity((3,)), {"fid": FrechetDistance()}, n=100)(lambda n: fakes[:n], reals)
    assert scores["fid_identity_100_train"].value == pytest.approx(metric.compute().item(), rel=1e-12)


def test_the_reals_themselves_have_distance_zero_and_coverage_one(stripes) -> None:
    x = stripes.split("train").x.float() / 127.5 - 1
    scores = Evaluator(Counting(), metrics(), n=120, batch=120)(lambda n: x, stripes.split("train"))
    assert scores["fid_counting_120_train"].value == pytest.approx(0, abs=1e-8)
    assert scores["coverage_counting_120_train"].value == 1


@pytest.mark.parametrize("batch", [7, 50, 1000])
def test_the_batch_size_bounds_each_request_and_changes_no_score(stripes, batch: int) -> None:
    requests = []
    fakes = noise(1, 6, 6)(50)

    def sample(n: int) -> Tensor:
        requests.append(n)
        return fakes[sum(requests) - n : sum(requests)]

    scores = values(Evaluator(Counting(), metrics(), n=50, batch=batch)(sample, stripes.split("train")))
    assert sum(requests) == 50
    assert max(requests) == min(batch, 50)
    expected = values(Evaluator(Counting(), metrics(), n=50)(lambda n: fakes, stripes.split("train")))
    assert scores == pytest.approx(expected, rel=1e-10)


def test_one_pass_serves_all_metrics_and_reals_are_read_once(stripes, tmp_path: Path) -> None:
    extractor = Counting()
    evaluator = Evaluator(extractor, metrics(), n=50, cache=tmp_path)
    evaluator(noise(1, 6, 6), stripes.split("train"))
    assert extractor.number == 120 + 50
    evaluator(noise(1, 6, 6), stripes.split("train"))
    assert extractor.number == 120 + 100
    Evaluator(extractor, metrics(), n=50, cache=tmp_path)(noise(1, 6, 6), stripes.split("train"))
    assert extractor.number == 120 + 150
    assert stripes.split("train").passes == 1
    assert not evaluator.metrics["coverage"].fake  # features of the fakes are freed


def test_cold_warm_broken_and_missing_caches_give_the_same_scores(stripes, tmp_path: Path) -> None:
    def scores(cache: Path | None, messages: list[str]) -> dict[str, float]:
        return values(
            Evaluator(Counting(), metrics(), n=50, cache=cache, log=messages.append)(
                noise(1, 6, 6), stripes.split("train")
            )
        )

    messages: list[str] = []
    cold, warm, uncached = scores(tmp_path, messages), scores(tmp_path, messages), scores(None, messages)
    assert not messages
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(file.read_bytes()[:-20])
    broken = scores(tmp_path, messages)
    assert cold == warm == uncached == broken
    assert len(messages) == 2
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix not in (".safetensors", ".lock")]


def test_references_are_cached_per_data_and_extractor(stripes, tmp_path: Path) -> None:
    other = Counting()
    other.sha256 = "01"
    for extractor, split in ((Counting(), "train"), (other, "train"), (Counting(), "test")):
        Evaluator(extractor, {"fid": FrechetDistance()}, n=20, cache=tmp_path)(noise(1, 6, 6), stripes.split(split))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_references_are_cached_per_settings(stripes, tmp_path: Path) -> None:
    def coverage_scores(cache: Path | None, **settings: int) -> dict[str, float]:
        evaluator = Evaluator(Counting(), {"coverage": Coverage(**settings)}, n=50, cache=cache)
        return values(evaluator(noise(1, 6, 6), stripes.split("train")))

    for settings in ({"k": 1}, {"k": 5}, {"seed": 1}):
        assert coverage_scores(tmp_path, **settings) == coverage_scores(None, **settings)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_an_evaluation_restores_the_global_random_state(stripes) -> None:
    evaluator = Evaluator(Counting(), metrics())
    before = torch.random.get_rng_state()
    evaluator(lambda n: torch.rand(n, 1, 6, 6) * 2 - 1, stripes)
    evaluator.measure_anchors(stripes)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_evaluation_uses_full_float32_precision(stripes) -> None:
    before = [backend.fp32_precision for backend in BACKENDS]
    precisions = []

    def sample(n: int) -> Tensor:
        precisions.extend(backend.fp32_precision for backend in BACKENDS)
        return torch.zeros(n, 1, 6, 6)

    torch.set_float32_matmul_precision("medium")
    try:
        training = [backend.fp32_precision for backend in BACKENDS]
        Evaluator(Counting(), metrics())(sample, stripes)
        assert set(precisions) == {"ieee"}
        assert [backend.fp32_precision for backend in BACKENDS] == training != precisions[: len(BACKENDS)]
    finally:
        torch.set_float32_matmul_precision("highest")
        for backend, precision in zip(BACKENDS, before, strict=True):
            backend.fp32_precision = precision


def test_the_default_number_of_fakes_is_that_of_held_out_images(stripes, points) -> None:
    scores = Evaluator(Counting(), metrics())(noise(1, 6, 6), stripes)
    assert scores["fid_counting_60_train"].contract.n_fake == 60
    scores = Evaluator(Counting(), metrics(), split="test")(noise(1, 6, 6), stripes)
    assert scores["fid_counting_150_test"].contract.n_real == 30
    many = points(sizes=(300, 9000, 9000))
    assert Evaluator(Identity((3,)), {}).sample_count(many) == 10_000
    with pytest.raises(ValueError, match="number of samples is unknown"):
        Evaluator(Counting(), metrics())(noise(1, 6, 6), stripes.split("train"))


def test_fakes_are_rounded_to_bytes_before_they_are_measured(stripes) -> None:
    extractor = Counting()
    evaluator = Evaluator(extractor, metrics(), n=20)
    evaluator(lambda n: torch.full((n, 1, 6, 6), 1.5, dtype=torch.float64), stripes.split("train"))
    assert all(x.dtype == torch.uint8 for x in extractor.inputs)
    assert (extractor.inputs[0] == 255).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_fakes_that_are_not_finite_are_an_error(stripes, points, bad: float) -> None:
    with pytest.raises(Mistake, match="nan or infinite"):
        Evaluator(Counting(), metrics(), n=20)(lambda n: torch.full((n, 1, 6, 6), bad), stripes.split("train"))
    with pytest.raises(Mistake, match="nan or infinite"):
        Evaluator(Identity((3,)), {"fid": FrechetDistance()}, n=20)(
            lambda n: torch.full((n, 3), bad), points().split("train")
        )


def test_fakes_of_another_shape_are_an_error(stripes) -> None:
    with pytest.raises(Mistake, match=r"1x5x6.*1x6x6"):
        Evaluator(Counting(), metrics(), n=20)(noise(1, 5, 6), stripes.split("train"))


def test_metrics_that_need_classes_are_left_out_for_points_with_a_message(points) -> None:
    messages: list[str] = []
    scores = Evaluator(Identity((3,)), metrics(), n=50, log=messages.append)(
        lambda n: torch.randn(n, 3), points().split("train")
    )
    assert list(scores) == ["fid_identity_50_train", "coverage_identity_50_train"]
    assert len(messages) == 1
    assert "inception_score is left out" in messages[0]


def test_metrics_that_need_more_samples_are_left_out_with_one_message(stripes) -> None:
    messages: list[str] = []
    evaluator = Evaluator(Counting(), metrics(), n=4, log=messages.append)
    for _ in range(2):
        assert list(evaluator(noise(1, 6, 6), stripes.split("train"))) == ["fid_counting_4_train"]
    assert [message.split()[0] for message in messages] == ["inception_score", "coverage"]
    with pytest.raises(Mistake, match="at least two"):
        Evaluator(Counting(), metrics(), n=1)


def test_anchors_are_measured_once_with_the_contract_of_the_generator(stripes, tmp_path: Path) -> None:
    extractor = Counting()
    evaluator = Evaluator(extractor, metrics(), cache=tmp_path)
    anchors = evaluator.measure_anchors(stripes)
    assert list(anchors) == ["real", "10 memorised", "100 memorised", "class means + noise"]
    # the reals, the held-out reals, the 100 memorised images and the noisy means
    assert extractor.number == 120 + 60 + 100 + 60
    number = extractor.number
    assert Evaluator(extractor, metrics(), cache=tmp_path).measure_anchors(stripes) == anchors
    assert extractor.number == number
    scores = evaluator(noise(1, 6, 6), stripes)
    for name, anchor in anchors.items():
        assert list(anchor) == list(scores), name
        assert all(first_differing_field(anchor[key].contract, scores[key].contract) == "weights" for key in anchor)
    Evaluator(extractor, metrics(), n=20, cache=tmp_path).measure_anchors(stripes)
    assert extractor.number > number


def test_the_real_anchor_has_at_most_all_held_out_images(stripes) -> None:
    anchors = Evaluator(Counting(), metrics(), n=200).measure_anchors(stripes)
    assert next(iter(anchors["real"])) == "fid_counting_60_train"
    assert next(iter(anchors["10 memorised"])) == "fid_counting_200_train"


def test_points_have_anchors_too(points) -> None:
    anchors = Evaluator(Identity((3,)), {"fid": FrechetDistance(), "coverage": Coverage()}).measure_anchors(
        points(shift=5.0)
    )
    means = anchors["class means + noise"]
    # one class: N(mean, (0.2 sigma)^2), whose distance is (1 - 0.2)^2 sigma^2 in each of three dimensions
    assert means["fid_identity_80_train"].value == pytest.approx(3 * 0.64, rel=0.15)
    assert means["coverage_identity_80_train"].value < anchors["real"]["coverage_identity_80_train"].value


def test_progress_is_reported_for_reals_and_samples(stripes) -> None:
    reports = []
    evaluator = Evaluator(Counting(), metrics(), n=50, batch=40, progress=lambda *report: reports.append(report))
    evaluator(noise(1, 6, 6), stripes.split("train"))
    assert reports[2:] == [
        ("measuring the train split", 120, 120),
        ("measuring samples", 40, 50),
        ("measuring samples", 50, 50),
    ]


def test_held_out_digits_score_better_than_every_other_anchor() -> None:
    from saddlepoint.data.digits import Digits

    data = Digits()
    anchors = Evaluator(Shipped("digits"), metrics()).measure_anchors(data)
    real = values(anchors.pop("real"))
    assert list(real) == ["fid_digits_900_train", "inception_score_digits_900_train", "coverage_digits_900_train"]
    assert real["coverage_digits_900_train"] > 0.9
    for anchor in map(values, anchors.values()):
        assert anchor["fid_digits_900_train"] > 5 * real["fid_digits_900_train"]
        assert anchor["coverage_digits_900_train"] < 0.6 * real["coverage_digits_900_train"]
