"""The anchor sets are what their names say."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from saddlepoint.data.data import Split
from saddlepoint.evaluation.anchor import anchor_sets
from saddlepoint.extractor.data_like import Rows
from saddlepoint.extractor.extractor import Features


def pixels(batches: Iterable[Rows], n: int, whose: str) -> Iterator[Features]:
    return (Features(x.flatten(1).to(torch.float32), y=y) for x, y in batches)


def sets(data, n: int, seed: int = 0, batch: int = 16) -> dict[str, Tensor]:
    held = [data.split("validation"), data.split("test")]
    found = anchor_sets(data.split("train"), held, data.classes, n, batch, seed, pixels)
    return {name: torch.cat([part.features for part in features]) for name, _, features in found}


def rows(x: Tensor) -> list[tuple]:
    return [tuple(row) for row in x.flatten(1).tolist()]


def test_real_images_are_held_out_and_each_comes_once(stripes) -> None:
    held = rows(torch.cat([stripes.split("validation").x, stripes.split("test").x]).float())
    assert sorted(rows(sets(stripes, 60)["real"])) == sorted(held)
    some = rows(sets(stripes, 25)["real"])
    assert len(set(some)) == 25
    assert set(some) <= set(held)
    assert some == rows(sets(stripes, 60)["real"])[:25]


def test_memorised_images_are_few_training_images_equally_often(stripes) -> None:
    known = set(rows(stripes.split("train").x.float()))
    for number in (10, 100):
        found = rows(sets(stripes, 200)[f"{number} memorised"])
        assert len(found) == 200
        assert set(found) <= known
        assert {found.count(row) for row in found} == {200 // number}


def test_noisy_means_have_the_means_the_noise_and_the_frequencies_that_they_should(stripes) -> None:
    train = stripes.split("train")
    keep = torch.cat([(train.y == 0).nonzero()[:15], (train.y == 1).nonzero()]).flatten()  # one dark for four bright
    train.x, train.y = train.x[keep], train.y[keep]
    found = sets(stripes, 4000)["class means + noise"]
    bright = found.mean(1) > 0
    assert abs(bright.float().mean() - train.y.float().mean()) < 0.05
    for label in (0, 1):
        own = found[bright == bool(label)]
        mean = (train.x[train.y == label].float() / 127.5 - 1).mean(0).flatten()
        assert (own.mean(0) - mean).abs().max() < 0.03
        assert abs(own.std(0).mean() - 0.2) < 0.01


def test_the_noise_of_what_is_no_image_is_a_fifth_of_each_coordinates_own_deviation() -> None:
    """Pixels have one range; coordinates and amplitudes have a scale of their own."""
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 10])
    extracted = anchor_sets(Split("train", x), [], None, 4000, 64, 0, pixels)
    (found,) = (torch.cat([part.features for part in parts]) for name, _, parts in extracted if "noise" in name)
    assert torch.allclose(found.std(0), 0.2 * x.std(0), rtol=0.05)


def test_labels_stay_with_their_images(stripes) -> None:
    held = [stripes.split("validation"), stripes.split("test")]
    for name, _, parts in anchor_sets(stripes.split("train"), held, 2, 50, 16, 0, pixels):
        found = Features.concatenate(parts)
        dark = found.features.mean(1) < (0 if "means" in name else 120)
        assert torch.equal(found.y, (~dark).long()), name


def test_the_sets_depend_on_the_seed_and_not_on_the_batch(stripes) -> None:
    first, again, other = sets(stripes, 40), sets(stripes, 40, batch=7), sets(stripes, 40, seed=1)
    for name in ("real", "10 memorised"):
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])


def test_without_held_out_images_there_is_no_real_anchor(stripes) -> None:
    found = anchor_sets(stripes.split("train"), [], 2, 40, 16, 0, pixels)
    assert [name for name, _, _ in found] == ["10 memorised", "100 memorised", "class means + noise"]
