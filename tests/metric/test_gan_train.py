"""GAN-train: training images teach what the anchor says, shuffled labels teach nothing."""

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


def measured(metric: GanTrain, data, x: Tensor, y: Tensor) -> Result:
    metric.reset()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x, y=y), real=False)
    return metric.compute()


def test_all_training_images_give_the_anchor_to_the_last_bit(digits) -> None:
    metric = GanTrain(epochs=6)
    found = measured(metric, digits, *load_labelled(digits.split("train")))
    assert found == metric.anchor_values(897)["training images"]
    assert found.value > 0.9
    assert (found.detail["samples"], found.detail["training"]) == (897, 897)
    assert found.detail["total_variation"] == 0
    assert "note" not in found.detail


def test_it_is_the_recipes_classifier_asked_for_the_test_split(digits) -> None:
    x, y = digits.split("train")[torch.arange(300)]
    recipe = replace(default_recipe((1, 8, 8), seed=3), epochs=3)
    assert GanTrain().recipe.epochs == 0  # not yet known: that is up to the data
    network = Network((1, 8, 8), 10, recipe.dim)
    network.load_state_dict(train_classifier(x, y, 10, recipe).state)
    test, labels = load_labelled(digits.split("test"))
    found = measured(GanTrain(epochs=3, seed=3), digits, x, y)
    assert float(found.value) == pytest.approx(accuracy(network.eval(), test, labels), abs=1e-12)
    right = [float((network(test[labels == k] / 127.5 - 1)[1].argmax(1) == k).float().mean()) for k in range(10)]
    assert found.detail["class_accuracy"] == pytest.approx(right)


def test_shuffled_labels_teach_nothing_and_swapped_ones_teach_the_opposite(digits, stripes) -> None:
    x, y = load_labelled(digits.split("train"))
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    assert float(measured(GanTrain(epochs=5), digits, x, shuffled).value) == pytest.approx(0.1, abs=0.06)
    x, y = load_labelled(stripes.split("train"))
    assert float(measured(GanTrain(epochs=10), stripes, x, y).value) == 1
    swapped = measured(GanTrain(epochs=10), stripes, x, 1 - y)
    assert float(swapped.value) == 0
    assert swapped.detail["class_accuracy"] == [0, 0]


def test_a_class_without_samples_is_never_recognised_and_its_share_is_missed(digits) -> None:
    x, y = load_labelled(digits.split("train"))
    kept = y != 0
    found = measured(GanTrain(epochs=5), digits, x[kept], y[kept])
    assert found.detail["class_accuracy"][0] == 0
    assert min(found.detail["class_accuracy"][1:]) > 0
    assert found.detail["total_variation"] == pytest.approx(float((~kept).double().mean()))
    assert "as many as the training split: 897" in found.detail["note"]


def test_fewer_samples_than_training_images_are_said(digits) -> None:
    metric = GanTrain()
    metric.setup(digits)
    assert metric.caution(897, 897, 64) is None
    assert "897, not 100" in str(metric.caution(897, 100, 64))
    settings = metric.settings(897, 100)
    assert settings["recipe"]["epochs"] == default_recipe((1, 8, 8)).epochs
    assert settings["test"] == digits.split("test").sha256
    assert GanTrain(epochs=2).recipe.epochs == 2
    with pytest.raises(Mistake, match="0 epochs"):
        GanTrain(epochs=0)


def test_points_and_data_without_labels_are_unfit(points, stripes) -> None:
    assert "points" in str(GanTrain().setup(points()))
    for part in stripes.parts.values():
        part.y = None
    assert "no labels" in str(GanTrain().setup(stripes))
    assert GanTrain().why_not(100, 100)


def test_an_evaluation_gives_it_beside_others_and_without_labels_says_why_not(stripes, digits) -> None:
    said: list[str] = []
    metrics = {"gan_train": GanTrain(epochs=2), "coverage": Coverage()}
    evaluator = Evaluator(Shipped("digits"), metrics, n=200, log=said.append)
    x, y = digits.split("train")[torch.arange(200)]
    x = x / 127.5 - 1
    assert list(evaluator(lambda n: x[:n], digits)) == ["coverage_digits_200_train"]
    assert "gan_train is left out: it needs the class" in said[0]
    before = torch.random.get_rng_state()
    score = evaluator(lambda n: (x[:n], y[:n]), digits)["gan_train_digits_200_train"]
    assert torch.equal(torch.random.get_rng_state(), before)
    expected = measured(GanTrain(epochs=2), digits, *digits.split("train")[torch.arange(200)])
    assert (score.value, score.detail) == (float(expected.value), expected.detail)


def test_two_ranks_give_what_one_process_gives(stripes) -> None:
    x, y = stripes.split("train").x, torch.randint(2, (120,), generator=torch.Generator().manual_seed(0))
    ranks = [GanTrain(epochs=2), GanTrain(epochs=2)]
    for rank, part in zip(ranks, torch.arange(120).split(70), strict=True):
        rank.setup(stripes)
        rank.update(Features(torch.zeros(len(part), 1), x=x[part], y=y[part]), real=False)
    others = iter([torch.cat(list(getattr(ranks[1], state))) for state in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == measured(GanTrain(epochs=2), stripes, x, y)


@pytest.mark.slow
def test_the_recipe_learns_the_digits_of_all_training_images(digits) -> None:
    assert float(measured(GanTrain(), digits, *load_labelled(digits.split("train"))).value) == pytest.approx(
        0.987, abs=0.008
    )
