"""The 1-nearest-neighbour error: its definition in loops, scikit-learn's classifier, and MNIST's known figure."""

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
from saddlepoint.metric.nearest_neighbour_error import NearestNeighbourError, nearest_neighbour_error
from saddlepoint.modality import Tokens

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def measured(metric, data, x: Tensor, y: Tensor):
    metric.reset()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x, y=y), real=False)
    return metric.compute()


def test_the_error_is_its_definition_one_pair_at_a_time() -> None:
    draws = torch.Generator().manual_seed(0)
    x, test = torch.randn(40, 3, generator=draws), torch.randn(30, 3, generator=draws)
    y, labels = torch.randint(3, (40,), generator=draws), torch.randint(3, (30,), generator=draws)
    wrong = 0
    for point, label in zip(test.tolist(), labels.tolist(), strict=True):
        nearest = min(range(40), key=lambda j: math.dist(point, x[j].tolist()))
        wrong += int(y[nearest]) != label
    assert 0 < wrong < 30
    assert nearest_neighbour_error(x, y, test, labels).item() == pytest.approx(wrong / 30, abs=1e-15)


def test_tokens_are_near_where_they_are_the_same_symbols_not_where_their_numbers_are_near() -> None:
    class Lines(Data):
        name, modality = "lines", Tokens([str(number) for number in range(30)], " ")

        def __init__(self) -> None:
            super().__init__((3, 30), 2, "identity")

        def splits(self) -> dict[str, Split]:
            test = Split("test", torch.tensor([[0, 1, 20]]), torch.tensor([0]), 2)
            return {"train": test, "validation": test, "test": test}

    x, y = torch.tensor([[0, 1, 2], [5, 5, 17]]), torch.tensor([0, 1])  # one symbol differs, or three by little
    assert float(measured(NearestNeighbourError(), Lines(), x, y).value) == 0


@pytest.mark.parametrize("rows", [7, 2000])
def test_training_digits_err_as_scikit_learns_classifier_does(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    data = Digits()
    (x, y), (test, labels) = load_labelled(data.split("train")), load_labelled(data.split("test"))
    model = KNeighborsClassifier(1).fit(x.flatten(1).double().numpy(), y.numpy())
    expected = 1 - model.score(test.flatten(1).double().numpy(), labels.numpy())
    assert 0 < expected < 0.05
    assert float(measured(NearestNeighbourError(), data, x, y).value) == pytest.approx(expected)
    anchor = NearestNeighbourError()
    anchor.setup(data)
    assert list(anchor.anchor_values(len(x))) == ["all training images"]
    some = anchor.anchor_values(100)
    few, whole = some["training images"], some["all training images"]
    assert float(whole.value) == pytest.approx(expected)
    assert few.value > expected
    assert (few.n, whole.n) == (100, len(x))


def test_the_test_split_itself_makes_no_error_and_wrong_labels_make_all(stripes) -> None:
    x, y = load_labelled(stripes.split("test"))
    assert float(measured(NearestNeighbourError(), stripes, x, y).value) == 0
    assert float(measured(NearestNeighbourError(), stripes, x, 1 - y).value) == 1
    bright = torch.full_like(x, 200)  # the nearest of one class is always of that class
    assert float(measured(NearestNeighbourError(), stripes, bright, torch.ones_like(y)).value) == 0.5


def test_another_split_can_be_classified(stripes) -> None:
    x, y = load_labelled(stripes.split("validation"))
    asked = torch.arange(30) // 2 % 2  # each image's nearest is itself, so the error is how often these differ
    value = measured(NearestNeighbourError(split="validation"), stripes, x, asked).value
    assert float(value) == pytest.approx(float((asked != y).double().mean()))
    assert float(value) != float(measured(NearestNeighbourError(), stripes, x, asked).value)
    metric = NearestNeighbourError(split="validation")
    metric.setup(stripes)
    assert metric.settings(120, 30)["test"] == stripes.split("validation").sha256


def test_two_ranks_give_what_one_process_gives(stripes) -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = stripes.split("train").x, torch.randint(2, (120,), generator=draws)
    ranks = [NearestNeighbourError(), NearestNeighbourError()]
    for rank, part in zip(ranks, torch.arange(120).split(70), strict=True):
        rank.setup(stripes)
        rank.update(Features(torch.zeros(len(part), 1), x=x[part], y=y[part]), real=False)
    others = iter([torch.cat(list(getattr(ranks[1], state))) for state in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == measured(NearestNeighbourError(), stripes, x, y)


def test_samples_without_labels_leave_it_out_with_a_word_and_the_others_stay() -> None:
    data, said = Digits(), []
    both = {"nearest_neighbour_error": NearestNeighbourError(), "coverage": Coverage()}
    evaluator = Evaluator(Shipped("digits"), both, n=100, log=said.append)
    x, y = data.split("train")[torch.arange(100)]
    x = x / 127.5 - 1
    assert list(evaluator(lambda n: x[:n], data)) == ["coverage_digits_100_train"]
    assert said == [
        "nearest_neighbour_error is left out: it needs the class that each sample was asked for, "
        "and these samples have none."
    ]
    scores = evaluator(lambda n: (x[:n], y[:n]), data)
    assert set(scores) == {"coverage_digits_100_train", "nearest_neighbour_error_digits_100_train"}
    score = scores["nearest_neighbour_error_digits_100_train"]
    assert score.value == float(measured(NearestNeighbourError(), data, *data.split("train")[torch.arange(100)]).value)
    assert score.contract.settings["test"] == data.split("test").sha256
    named = {name: list(row)[-1] for name, row in evaluator.anchor_scores(data).items() if "training images" in name}
    assert named == {  # not the shared "real" ones, which are test images; each says how many it has
        "training images": "nearest_neighbour_error_digits_100_train",
        "all training images": "nearest_neighbour_error_digits_897_train",
    }


def test_data_without_labels_or_splits_are_unfit(points, stripes) -> None:
    assert "no labels" in str(NearestNeighbourError().setup(points()))
    assert "no fold" in str(NearestNeighbourError(split="fold").setup(stripes))
    said: list[str] = []
    evaluator = Evaluator(Identity((3,)), {"nearest_neighbour_error": NearestNeighbourError()}, n=20, log=said.append)
    assert evaluator(lambda n: (torch.randn(n, 3), torch.zeros(n, dtype=torch.int64)), points()) == {}
    assert "no labels" in said[0]


def test_a_label_that_the_data_have_not_is_a_mistake(stripes) -> None:
    with pytest.raises(Mistake, match="0 to 2, and the data have 2 classes"):
        measured(NearestNeighbourError(), stripes, stripes.split("train").x[:3], torch.arange(3))


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}: set SADDLEPOINT_DATA")
def test_all_sixty_thousand_images_of_mnist_err_on_3_09_percent() -> None:
    data = MNIST(root=REAL)
    x, y = (
        torch.cat(pair)
        for pair in zip(*(load_labelled(data.split(part)) for part in ("train", "validation")), strict=True)
    )
    assert float(measured(NearestNeighbourError(), data, x, y).value) == pytest.approx(0.0309, abs=1e-9)
