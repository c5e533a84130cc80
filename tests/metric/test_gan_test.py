"""GAN-test: held-out reals score the test accuracy of the classifier, and one perfect image per class scores 1."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from saddlepoint.data.digits import Digits
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.training import Network, accuracy, train_classifier
from saddlepoint.metric import labelled_metric
from saddlepoint.metric.gan_test import GanTest
from saddlepoint.metric.labelled_metric import load_labelled
from saddlepoint.metric.metric import Result


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


@pytest.fixture(scope="module")
def ready_metric(digits) -> GanTest:
    metric = GanTest(epochs=6)
    assert metric.setup(digits) is None
    return metric


def compute(metric: GanTest, x: Tensor, y: Tensor) -> Result:
    metric.reset()
    metric.update(Features(torch.zeros(len(x), 1), x=x, y=y), real=False)
    return metric.compute()


def test_held_out_images_score_the_classifiers_test_accuracy(ready_metric, digits) -> None:
    test, labels = load_labelled(digits.split("test"))
    result = compute(ready_metric, test, labels)
    network = Network((1, 8, 8), 10, ready_metric.recipe.dim)
    network.load_state_dict(train_classifier(*load_labelled(digits.split("train")), 10, ready_metric.recipe).state)
    assert float(result.value) == pytest.approx(accuracy(network.eval(), test, labels), abs=1e-12)
    assert result.detail["test_accuracy"] == float(result.value)
    assert ready_metric.anchor_scores(450)["real"] == result
    few = ready_metric.anchor_scores(45)["real"].detail
    assert (few["samples"], few["test_accuracy"]) == (45, float(result.value))


def test_wrong_labels_score_the_classifiers_errors(ready_metric, digits) -> None:
    x, y = load_labelled(digits.split("train"))
    assert compute(ready_metric, x, y).value > 0.95
    assert compute(ready_metric, x, (y + 1) % 10).value < 0.05
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    assert float(compute(ready_metric, x, shuffled).value) == pytest.approx(0.1, abs=0.04)


def test_one_image_a_class_scores_one_and_an_absent_class_has_no_accuracy(ready_metric, digits) -> None:
    x, y = load_labelled(digits.split("train"))
    one = torch.stack([x[y == k][0] for k in range(9)])
    result = compute(ready_metric, one.repeat(20, 1, 1, 1), torch.arange(9).repeat(20))
    assert result.value == 1
    assert result.detail["class_accuracy"] == [1.0] * 9 + [None]


def test_the_classifier_is_trained_once_and_then_read_from_the_cache(
    digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = []
    monkeypatch.setattr(
        labelled_metric, "train_classifier", lambda *arguments: trainings.append(1) or train_classifier(*arguments)
    )
    x, y = digits.split("train")[torch.arange(200)]
    x = x / 127.5 - 1
    values = set()
    for n, cache in ((200, tmp_path), (100, tmp_path), (200, tmp_path), (200, None)):
        evaluator = Evaluator(Shipped("digits"), {"gan_test": GanTest(epochs=1)}, n=n, cache=cache)
        scores = evaluator(lambda n: (x[:n], y[:n]), digits)
        scores |= evaluator(lambda n: (x[:n], y[:n]), digits)
        values |= {score.value for score in scores.values() if score.contract.n_fake == 200}
        assert "gan_test_digits_" + str(n) + "_train" in evaluator.measure_anchors(digits)["real"]
    assert len(trainings) == 2  # once with a cache, once without
    assert len(values) == 1
    other = Evaluator(Shipped("digits"), {"gan_test": GanTest(epochs=1, seed=1)}, n=200, cache=tmp_path)
    other(lambda n: (x[:n], y[:n]), digits)
    assert len(trainings) == 3


def test_other_reals_train_no_other_classifier(digits, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = []
    monkeypatch.setattr(
        labelled_metric, "train_classifier", lambda *arguments: trainings.append(1) or train_classifier(*arguments)
    )
    evaluator = Evaluator(Shipped("digits"), {"gan_test": GanTest(epochs=1)}, n=100)
    x, y = digits.split("train")[torch.arange(100)]
    evaluator(lambda n: (x[:n] / 127.5 - 1, y[:n]), digits)
    fakes = evaluator.extract_features([(x, y)], 100, "fakes")
    results = [
        evaluator.metric_results(fakes, fakes.select(torch.arange(100) != drop), digits.split("train"))["gan_test"]
        for drop in (1, 2)
    ]
    assert results[0] == results[1]
    assert len(trainings) == 1


def test_other_data_have_another_classifier(ready_metric, digits, stripes) -> None:
    metric = GanTest(epochs=3)
    metric.setup(digits)
    assert len(metric.reference(0)["network.readout.bias"]) == 10
    metric.setup(stripes)
    assert len(metric.reference(0)["network.readout.bias"]) == 2
    assert compute(metric, *load_labelled(stripes.split("test"))).value == 1


def test_two_ranks_give_the_result_of_one_process(ready_metric, digits) -> None:
    x, y = load_labelled(digits.split("test"))
    ranks = [GanTest(epochs=6), GanTest(epochs=6)]
    for rank, rows in zip(ranks, torch.arange(450).split(300), strict=True):
        rank.setup(digits)
        rank.set_reference(ready_metric.reference(0))
        rank.update(Features(torch.zeros(len(rows), 1), x=x[rows], y=y[rows]), real=False)
    others = iter([torch.cat(list(getattr(ranks[1], state))) for state in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == compute(ready_metric, x, y)
