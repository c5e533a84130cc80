"""1-nearest-neighbour error: its definition as loops, scikit-learn's classifier, and the known value of MNIST."""

import math
import os
from pathlib import Path

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from saddlepoint.data.data import Data, Split
from saddlepoint.data.digits import Digits
from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric import nearest_neighbour_error as module
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.labelled_metric import load_labelled
from saddlepoint.metric.nearest_neighbour_error import NearestNeighbourError, nearest_neighbour_classification_error
from saddlepoint.modality import Tokens

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def compute(metric, data, x: Tensor, y: Tensor):
    metric.reset()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x, y=y), real=False)
    return metric.compute()


def test_the_error_matches_its_definition() -> None:
    draws = torch.Generator().manual_seed(0)
    x, test = torch.randn(40, 3, generator=draws), torch.randn(30, 3, generator=draws)
    y, labels = torch.randint(3, (40,), generator=draws), torch.randint(3, (30,), generator=draws)
    wrong = 0
    for point, label in zip(test.tolist(), labels.tolist(), strict=True):
        nearest = min(range(40), key=lambda j: math.dist(point, x[j].tolist()))
        wrong += int(y[nearest]) != label
    assert 0 < wrong < 30
    assert nearest_neighbour_classification_error(x, y, test, labels).item() == pytest.approx(wrong / 30, abs=1e-15)


def test_tokens_are_compared_as_symbols_and_not_as_numbers() -> None:
    class Lines(Data):
        name, modality = "lines", Tokens([str(number) for number in range(30)], " ")

        def __init__(self) -> None:
            super().__init__((3, 30), 2, "identity")

        def splits(self) -> dict[str, Split]:
            test = Split("test", torch.tensor([[0, 1, 20]]), torch.tensor([0]), 2)
            return {"train": test, "validation": test, "test": test}

    x, y = (
        torch.tensor([[0, 1, 2], [5, 5, 17]]),
        torch.tensor([0, 1]),
    )  # one different symbol, or three with close indices
    assert float(compute(NearestNeighbourError(), Lines(), x, y).value) == 0


@pytest.mark.parametrize("rows", [7, 2000])
def test_the_error_is_that_of_scikit_learns_classifier(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    data = Digits()
    (x, y), (test, labels) = load_labelled(data.split("train")), load_labelled(data.split("test"))
    model = KNeighborsClassifier(1).fit(x.flatten(1).double().numpy(), y.numpy())
    expected = 1 - model.score(test.flatten(1).double().numpy(), labels.numpy())
    assert 0 < expected < 0.05
    assert float(compute(NearestNeighbourError(), data, x, y).value) == pytest.approx(expected)
    anchor = NearestNeighbourError()
    anchor.setup(data)
    assert list(anchor.anchor_scores(len(x))) == ["all training images"]
    anchors = anchor.anchor_scores(100)
    few, every = anchors["training images"], anchors["all training images"]
    assert float(every.value) == pytest.approx(expected)
    assert few.value > expected
    assert (few.n, every.n) == (100, len(x))


def test_the_test_split_has_error_zero_and_wrong_labels_have_error_one(stripes) -> None:
    x, y = load_labelled(stripes.split("test"))
    assert float(compute(NearestNeighbourError(), stripes, x, y).value) == 0
    assert float(compute(NearestNeighbourError(), stripes, x, 1 - y).value) == 1
    bright = torch.full_like(x, 200)  # fakes of a single class always predict that class
    assert float(compute(NearestNeighbourError(), stripes, bright, torch.ones_like(y)).value) == 0.5


def test_another_split_can_be_classified(stripes) -> None:
    x, y = load_labelled(stripes.split("validation"))
    labels = torch.arange(30) // 2 % 2  # each image is nearest to itself, so the error is how often labels differ
    value = compute(NearestNeighbourError(split="validation"), stripes, x, labels).value
    assert float(value) == pytest.approx(float((labels != y).double().mean()))
    assert float(value) != float(compute(NearestNeighbourError(), stripes, x, labels).value)
    metric = NearestNeighbourError(split="validation")
    metric.setup(stripes)
    assert metric.settings(120, 30)["test"] == stripes.split("validation").sha256


def test_two_ranks_give_the_result_of_one_process(stripes) -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = stripes.split("train").x, torch.randint(2, (120,), generator=draws)
    ranks = [NearestNeighbourError(), NearestNeighbourError()]
    for rank, rows in zip(ranks, torch.arange(120).split(70), strict=True):
        rank.setup(stripes)
        rank.update(Features(torch.zeros(len(rows), 1), x=x[rows], y=y[rows]), real=False)
    others = iter([torch.cat(list(getattr(ranks[1], state))) for state in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == compute(NearestNeighbourError(), stripes, x, y)


def test_without_labels_only_this_metric_is_left_out() -> None:
    data, messages = Digits(), []
    metrics = {"nearest_neighbour_error": NearestNeighbourError(), "coverage": Coverage()}
    evaluator = Evaluator(Shipped("digits"), metrics, n=100, log=messages.append)
    x, y = data.split("train")[torch.arange(100)]
    x = x / 127.5 - 1
    assert list(evaluator(lambda n: x[:n], data)) == ["coverage_digits_100_train"]
    assert messages == [
        "nearest_neighbour_error is left out: it needs the class that each sample was generated for, "
        "and these samples have none."
    ]
    scores = evaluator(lambda n: (x[:n], y[:n]), data)
    assert set(scores) == {"coverage_digits_100_train", "nearest_neighbour_error_digits_100_train"}
    score = scores["nearest_neighbour_error_digits_100_train"]
    assert score.value == float(compute(NearestNeighbourError(), data, *data.split("train")[torch.arange(100)]).value)
    assert score.contract.settings["test"] == data.split("test").sha256
    score_names = {
        name: list(row)[-1] for name, row in evaluator.measure_anchors(data).items() if "training images" in name
    }
    assert score_names == {  # not the common set "real", which has test images; names give the number of samples
        "training images": "nearest_neighbour_error_digits_100_train",
        "all training images": "nearest_neighbour_error_digits_897_train",
    }


def test_data_without_labels_or_splits_cannot_be_measured(points, stripes) -> None:
    assert "no labels" in str(NearestNeighbourError().setup(points()))
    assert "no fold" in str(NearestNeighbourError(split="fold").setup(stripes))
    messages: list[str] = []
    evaluator = Evaluator(
        Identity((3,)), {"nearest_neighbour_error": NearestNeighbourError()}, n=20, log=messages.append
    )
    assert evaluator(lambda n: (torch.randn(n, 3), torch.zeros(n, dtype=torch.int64)), points()) == {}
    assert "no labels" in messages[0]


def test_a_label_outside_the_data_is_an_error(stripes) -> None:
    with pytest.raises(Mistake, match="0 to 2, and the data have 2 classes"):
        compute(NearestNeighbourError(), stripes, stripes.split("train").x[:3], torch.arange(3))


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}: set SADDLEPOINT_DATA")
def test_all_sixty_thousand_images_of_mnist_have_an_error_of_3_09_percent() -> None:
    data = MNIST(root=REAL)
    x, y = (
        torch.cat(pair)
        for pair in zip(*(load_labelled(data.split(name)) for name in ("train", "validation")), strict=True)
    )
    assert float(compute(NearestNeighbourError(), data, x, y).value) == pytest.approx(0.0309, abs=1e-9)
