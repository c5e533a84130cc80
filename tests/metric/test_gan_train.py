"""GAN-train: training images score the anchor, and shuffled labels score chance."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from saddlepoint.data.digits import Digits
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.training import Network, accuracy, default_recipe, train_classifier
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.gan_train import GanTrain
from saddlepoint.metric.labelled_metric import load_labelled
from saddlepoint.metric.metric import Result


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def compute(metric: GanTrain, data, x: Tensor, y: Tensor) -> Result:
    metric.reset()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x, y=y), real=False)
    return metric.compute()


def test_all_training_images_give_the_anchor_to_the_last_bit(digits) -> None:
    metric = GanTrain(epochs=6)
    result = compute(metric, digits, *load_labelled(digits.split("train")))
    assert result == metric.anchor_scores(897)["training images"]
    assert result.value > 0.9
    assert (result.detail["samples"], result.detail["training"]) == (897, 897)
    assert result.detail["total_variation"] == 0
    assert "note" not in result.detail


def test_the_score_is_the_test_accuracy_of_the_default_classifier(digits) -> None:
    x, y = digits.split("train")[torch.arange(300)]
    recipe = replace(default_recipe((1, 8, 8), seed=3), epochs=3)
    assert GanTrain().recipe.epochs == 0  # known only after `setup`
    network = Network((1, 8, 8), 10, recipe.dim)
    network.load_state_dict(train_classifier(x, y, 10, recipe).state)
    test, labels = load_labelled(digits.split("test"))
    result = compute(GanTrain(epochs=3, seed=3), digits, x, y)
    assert float(result.value) == pytest.approx(accuracy(network.eval(), test, labels), abs=1e-12)
    accuracies = [float((network(test[labels == k] / 127.5 - 1)[1].argmax(1) == k).float().mean()) for k in range(10)]
    assert result.detail["class_accuracy"] == pytest.approx(accuracies)


def test_shuffled_labels_teach_nothing_and_swapped_ones_teach_the_opposite(digits, stripes) -> None:
    x, y = load_labelled(digits.split("train"))
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    assert float(compute(GanTrain(epochs=5), digits, x, shuffled).value) == pytest.approx(0.1, abs=0.06)
    x, y = load_labelled(stripes.split("train"))
    assert float(compute(GanTrain(epochs=10), stripes, x, y).value) == 1
    swapped = compute(GanTrain(epochs=10), stripes, x, 1 - y)
    assert float(swapped.value) == 0
    assert swapped.detail["class_accuracy"] == [0, 0]


def test_a_class_without_samples_is_never_predicted(digits) -> None:
    x, y = load_labelled(digits.split("train"))
    others = y != 0
    result = compute(GanTrain(epochs=5), digits, x[others], y[others])
    assert result.detail["class_accuracy"][0] == 0
    assert min(result.detail["class_accuracy"][1:]) > 0
    assert result.detail["total_variation"] == pytest.approx(float((~others).double().mean()))
    assert "as many as the training split: 897" in result.detail["note"]


def test_fewer_samples_than_training_images_give_a_warning(digits) -> None:
    metric = GanTrain()
    metric.setup(digits)
    assert metric.caution(897, 897, 64) is None
    assert "897 samples, one per training image, not 100" in str(metric.caution(897, 100, 64))
    settings = metric.settings(897, 100)
    assert settings["recipe"]["epochs"] == default_recipe((1, 8, 8)).epochs
    assert settings["test"] == digits.split("test").sha256
    assert GanTrain(epochs=2).recipe.epochs == 2
    with pytest.raises(Mistake, match="0 epochs"):
        GanTrain(epochs=0)


def test_points_and_data_without_labels_cannot_be_measured(points, stripes) -> None:
    assert "points" in str(GanTrain().setup(points()))
    for split in stripes.splits.values():
        split.y = None
    assert "no labels" in str(GanTrain().setup(stripes))
    assert GanTrain().why_not(100, 100)


def test_an_evaluation_without_labels_leaves_it_out_and_logs_why(stripes, digits) -> None:
    messages: list[str] = []
    metrics = {"gan_train": GanTrain(epochs=2), "coverage": Coverage()}
    evaluator = Evaluator(Shipped("digits"), metrics, n=200, log=messages.append)
    x, y = digits.split("train")[torch.arange(200)]
    x = x / 127.5 - 1
    assert list(evaluator(lambda n: x[:n], digits)) == ["coverage_digits_200_train"]
    assert "gan_train is left out: it needs the class" in messages[0]
    before = torch.random.get_rng_state()
    score = evaluator(lambda n: (x[:n], y[:n]), digits)["gan_train_digits_200_train"]
    assert torch.equal(torch.random.get_rng_state(), before)
    expected = compute(GanTrain(epochs=2), digits, *digits.split("train")[torch.arange(200)])
    assert (score.value, score.detail) == (float(expected.value), expected.detail)


def test_two_ranks_give_the_result_of_one_process(stripes) -> None:
    x, y = stripes.split("train").x, torch.randint(2, (120,), generator=torch.Generator().manual_seed(0))
    ranks = [GanTrain(epochs=2), GanTrain(epochs=2)]
    for rank, rows in zip(ranks, torch.arange(120).split(70), strict=True):
        rank.setup(stripes)
        rank.update(Features(torch.zeros(len(rows), 1), x=x[rows], y=y[rows]), real=False)
    others = iter([torch.cat(list(getattr(ranks[1], state))) for state in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == compute(GanTrain(epochs=2), stripes, x, y)


@pytest.mark.slow
def test_the_recipe_learns_the_digits_of_all_training_images(digits) -> None:
    assert float(compute(GanTrain(), digits, *load_labelled(digits.split("train"))).value) == pytest.approx(
        0.987, abs=0.008
    )
