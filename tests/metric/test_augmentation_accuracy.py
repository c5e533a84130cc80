"""Augmentation: every arm gets as many updates of as many images, and only of the images that it names."""

import math
from itertools import islice
from typing import Any

import pytest
import torch
from runs import run
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from saddlepoint.data.digits import Digits
from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric import augmentation_accuracy
from saddlepoint.metric.augmentation_accuracy import ARMS, AugmentationAccuracy, affine
from saddlepoint.metric.labelled_metric import load_labelled
from saddlepoint.pixel import to_float, to_uint8

FEW = ["data.labels=2", "data.only_labelled=true"]


def few_labels(**more: Any) -> Digits:
    return Digits(labels=2, only_labelled=True, **more)


def fakes(n: int = 40) -> tuple[Tensor, Tensor]:
    """Images that are no digits: every pixel is odd and above 200, which no digit has everywhere."""
    x = torch.randint(100, 127, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 + 1
    return x.to(torch.uint8), torch.arange(n) % 10


def compute(metric: AugmentationAccuracy, data: Any, x: Tensor, y: Tensor) -> dict[str, Any]:
    metric.reset()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x, y=y), real=False)
    return metric.results()


def recorded_batches(monkeypatch: pytest.MonkeyPatch, metric: AugmentationAccuracy, data: Any) -> list[list[Tensor]]:
    """The images of every update of each classifier that the metric trains."""
    arms: list[list[Tensor]] = []
    original = augmentation_accuracy.train_on_batches

    def record(batches, updates, *rest):
        arms.append([])

        def tee():
            for x, y in batches:
                arms[-1].append(x)
                yield x, y

        return original(tee(), updates, *rest)

    monkeypatch.setattr(augmentation_accuracy, "train_on_batches", record)
    compute(metric, data, *fakes())
    return arms


def contents(x: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in to_uint8(x)}


def test_every_arm_gets_equally_many_updates_of_equally_many_images(monkeypatch) -> None:
    arms = recorded_batches(monkeypatch, AugmentationAccuracy(updates=7, batch=10), few_labels())
    assert len(arms) == len(ARMS)
    assert [[len(x) for x in batches] for batches in arms] == [[10] * 7] * len(ARMS)


def test_no_image_outside_the_labelled_subset_reaches_an_arm_but_the_ceiling(monkeypatch) -> None:
    data = few_labels()
    metric = AugmentationAccuracy(
        updates=15, batch=20, shift=0.0, degrees=0.0
    )  # moved images are then the images themselves
    real, moved, every, gan, both = map(torch.cat, recorded_batches(monkeypatch, metric, data))
    subset = contents(to_float(data.split("train").x))
    withheld = contents(to_float(data.split("unlabelled").x))
    generated = contents(to_float(fakes()[0]))
    assert len(subset) == 20
    assert contents(real) == contents(moved) == subset
    assert contents(gan) <= subset | generated
    assert contents(both) <= subset | generated
    assert contents(every) <= subset | withheld
    assert contents(every) & withheld
    half = [len(contents(x[:10]) & generated) for x in gan.split(20)], [contents(x[10:]) for x in gan.split(20)]
    assert sum(half[0]) == 0
    assert all(part <= generated for part in half[1])


def test_no_image_outside_the_labelled_subset_reaches_the_generator() -> None:
    data = few_labels(batch=16)
    shown = set().union(*(contents(batch.x) for batch in islice(data.training_batches(), 20)))
    assert shown == contents(to_float(data.split("train").x))
    assert not shown & contents(to_float(data.split("unlabelled").x))


def test_arms_without_fakes_do_not_depend_on_them_and_are_trained_once(monkeypatch) -> None:
    metric, data = AugmentationAccuracy(updates=3, batch=8), few_labels()
    assert metric.setup(data) is None
    first = metric.score(*fakes())
    calls: list[int] = []
    original = augmentation_accuracy.train_on_batches
    monkeypatch.setattr(augmentation_accuracy, "train_on_batches", lambda *a: calls.append(1) or original(*a))
    second = metric.score(255 - fakes()[0], fakes()[1])
    assert len(calls) == 2
    assert all(first[name] == second[name] for name in ("real", "affine", "all"))
    assert first["real"].detail["fakes"] == 0
    assert first["gan"].detail["fakes"] == 40


def test_fakes_that_are_the_withheld_reals_reach_the_ceiling_and_wrong_ones_harm() -> None:
    data = few_labels()
    x, y = load_labelled(data.split("unlabelled"))
    metric = AugmentationAccuracy(updates=40, shift=1.0)
    results = compute(metric, data, x, y)
    value = {name: float(result.value) for name, result in results.items()}
    assert value["gan"] > value["real"] + 0.05
    assert value["all"] > value["real"] + 0.05
    assert float(metric.score(x, (y + 1) % 10)["gan"].value) < value["real"]
    assert metric.directions() == dict.fromkeys(value, True)


def test_the_score_depends_on_its_seed_and_on_nothing_else() -> None:
    data = few_labels()
    first, again, other = (
        compute(AugmentationAccuracy(updates=4, batch=8, seed=seed), data, *fakes())["real"] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    settings = [AugmentationAccuracy(seed=seed).settings(450, 1000) for seed in (1, 2)]
    assert settings[0] == settings[1]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9)])
def test_affine_is_that_of_torchvision(shape) -> None:
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    degrees, shift = (
        torch.tensor([0.0, 15.0, -7.0, 90.0, 3.0]),
        torch.tensor([[0, 0], [2, -1], [0, 3], [1, 1], [-2, 0]]),
    )
    moved = affine(x, degrees, shift.to(torch.float32))
    expected = [
        transforms.affine(image + 1, angle, move, 1.0, [0.0], InterpolationMode.BILINEAR) - 1
        for image, angle, move in zip(x, degrees.tolist(), shift.tolist(), strict=True)
    ]
    assert torch.allclose(moved, torch.stack(expected), atol=1e-5)
    assert torch.allclose(affine(x, torch.zeros(5), torch.zeros(5, 2)), x, atol=1e-6)


def test_the_affine_maps_of_a_moved_arm_fill_the_ranges_of_shift_and_degrees(monkeypatch) -> None:
    metric, data = AugmentationAccuracy(shift=2.0, degrees=15.0, batch=64), few_labels()
    seen: list[Tensor] = []

    def recorded(x: Tensor, degrees: Tensor, shift: Tensor) -> Tensor:
        seen.append(torch.cat([degrees[:, None] / 15.0, shift / 2.0], 1))
        return affine(x, degrees, shift)

    monkeypatch.setattr("saddlepoint.metric.augmentation_accuracy.affine", recorded)
    reals = load_labelled(data.split("train"))
    moved, plain = (list(islice(metric.batches(reals, moved=moved), 50)) for moved in (True, False))
    draws = torch.cat(seen)
    assert len(draws) == 50 * 64
    assert draws.abs().max() < 1
    assert draws.std(0).tolist() == pytest.approx([math.sqrt(1 / 3)] * 3, rel=0.05)
    for (image, y), (unmoved, label) in zip(moved, plain, strict=True):
        assert torch.equal(y, label)
        assert not torch.allclose(image, unmoved, atol=0.1)


def test_data_without_withheld_images_or_labels_cannot_be_measured(points, stripes) -> None:
    assert "data.only_labelled=true" in str(AugmentationAccuracy().setup(Digits()))
    assert "data.only_labelled=true" in str(AugmentationAccuracy().setup(Digits(labels=10)))
    assert "points" in str(AugmentationAccuracy().setup(points()))
    for split in stripes.splits.values():
        split.y = None
    assert "no labels" in str(AugmentationAccuracy().setup(stripes))
    with pytest.raises(Mistake, match="updates=0 must be at least 1"):
        AugmentationAccuracy(updates=0)


def test_an_unconditional_game_leaves_it_out_and_says_why(tmp_path) -> None:
    more = [*FEW, "metric=[augmentation_accuracy,frechet_distance]", "evaluation.n=50", "images=64",
            "evaluation.split=test", "evaluation.selection.split=null", "evaluation.second_extractor=null"]  # fmt: skip
    record = run(tmp_path, *more)
    assert "augmentation_accuracy is left out: it needs the class that each sample was generated for" in record.said
    assert list(record.summary["final"]) == ["fid_digits_50_test"]


def test_more_labels_than_there_are_stop_the_run_before_its_folder_exists(tmp_path) -> None:
    with pytest.raises(Mistake, match=r"data\.labels=91 per class, but class \d has only \d+ training images\. Set"):
        run(tmp_path, "data.labels=91", "data.only_labelled=true")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("setting", [{"updates": 9}, {"batch": 9}, {"shift": 1.0}, {"degrees": 1.0}])
def test_a_setting_that_changes_a_score_changes_the_contract(setting: dict[str, Any]) -> None:
    before, after = AugmentationAccuracy(updates=7), AugmentationAccuracy(**({"updates": 7} | setting))
    assert before.setup(few_labels()) is None
    assert after.setup(few_labels()) is None
    assert before.settings(450, 40) != after.settings(450, 40)
