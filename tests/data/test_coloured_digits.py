"""Coloured digits: the ratio is exact, the colour is known from the sample, and weights restore the balance."""

import pytest
import torch

from saddlepoint.data.coloured_digits import ColouredDigits, colour_of, paint
from saddlepoint.data.coloured_mnist import ColouredMNIST
from saddlepoint.data.density_ratio import density_ratio
from saddlepoint.data.digits import Digits
from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake


def shares(data, name):
    colour = data.split(name).extra_columns["colour"]
    return (colour == 0).to(torch.float64).mean().item()


def test_the_rule_finds_the_colour_of_every_image_and_the_grey_image_is_in_its_channel():
    data, grey = ColouredDigits(), Digits(reserved=90)
    for name, source in {"train": "train", "reference": "reserved", "test": "test"}.items():
        split = data.split(name)
        colour = split.extra_columns["colour"]
        assert torch.equal(colour_of(split.x), colour)
        assert torch.equal(split.x.amax(1, keepdim=True), grey.split(source).x)
        assert torch.equal(split.x[colour == 0, 1:], torch.zeros_like(split.x[colour == 0, 1:]))
        assert torch.equal(split.y, grey.split(source).y)


@pytest.mark.parametrize("ratio", [0.9, 0.6, 0.05])
def test_training_images_have_the_ratio_and_all_others_are_balanced(ratio):
    data = ColouredDigits(ratio=ratio)
    assert shares(data, "train") == pytest.approx(ratio, abs=0.5 / 807)
    assert [shares(data, name) for name in ("reference", "validation", "test")] == [0.5] * 3
    assert {name: len(data.split(name)) for name in ("train", "reference")} == {"train": 807, "reference": 90}


def test_no_reference_image_is_a_training_image():
    data = ColouredDigits(reference=200)
    rows = [{row.numpy().tobytes() for row in data.split(name).x.amax(1)} for name in ("train", "reference")]
    grey = [row.numpy().tobytes() for row in Digits().split("train").x[:, 0]]
    assert len(rows[0]) + len(rows[1]) == len(set(grey)) == len(grey)  # no image of the source is there twice
    assert len(rows[1]) == 200


def test_the_colours_depend_on_draw_and_not_on_the_seed_of_the_run():
    colours = [ColouredDigits(draw=draw, seed=seed).split("train").extra_columns["colour"]
               for draw, seed in ((0, 0), (0, 1), (1, 0))]  # fmt: skip
    assert torch.equal(colours[0], colours[1])
    assert not torch.equal(colours[0], colours[2])


def test_balance_by_discarding_keeps_all_images_of_the_rarer_colour_and_as_many_of_the_other():
    biased, balanced = ColouredDigits().split("train"), ColouredDigits(keep="balanced").split("train")
    rarer = int((biased.extra_columns["colour"] == 1).sum())
    assert balanced.extra_columns["colour"].bincount().tolist() == [rarer, rarer]
    there = {row.numpy().tobytes() for row in biased.x}
    assert all(row.numpy().tobytes() in there for row in balanced.x)
    green = biased.x[biased.extra_columns["colour"] == 1]
    assert torch.equal(balanced.x[balanced.extra_columns["colour"] == 1], green)


def test_oracle_weights_have_mean_1_and_give_both_colours_the_same_total():
    train = ColouredDigits(weights="oracle").split("train")
    weight, colour = train.extra_columns["weight"], train.extra_columns["colour"]
    assert weight.unique().tolist() == pytest.approx([0.5 / 0.9, 0.5 / 0.1])
    assert weight.mean().item() == pytest.approx(1, abs=2e-3)  # 726 of 807 is not exactly 0.9
    totals = [weight[colour == value].sum().item() / len(weight) for value in (0, 1)]
    assert totals == pytest.approx([0.5, 0.5], abs=3e-3)


def test_weights_of_the_classifier_are_near_the_oracles_although_it_knows_no_colour():
    train = ColouredDigits(weights="classifier").split("train")
    weight, colour = train.extra_columns["weight"].to(torch.float64), train.extra_columns["colour"]
    means = [weight[colour == value].mean().item() for value in (0, 1)]
    assert means == pytest.approx([0.5 / 0.9, 0.5 / 0.1], rel=0.15)
    assert weight.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(weight, ColouredDigits(weights="classifier").split("train").extra_columns["weight"])


def test_two_sets_of_one_distribution_have_the_ratio_1_whatever_their_sizes():
    x = Digits().split("train").x
    ratio = density_ratio(x[:700], x[700:], seed=0)
    assert ratio.std().item() < 0.4  # by chance; the oracle's weights of 90:10 deviate by 1.3
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)


def test_a_batch_has_the_weight_and_colour_of_its_images_on_every_rank():
    data = ColouredDigits(weights="oracle", batch=8)
    whole = next(data.training_batches(start=800))
    halves = [next(data.training_batches(start=800, rank=rank, world_size=2)) for rank in (0, 1)]
    for column in ("weight", "colour"):
        parts = torch.cat([half.extra_columns[column] for half in halves])
        assert torch.equal(parts, whole.extra_columns[column])
    colour = colour_of(whole.x + 1)
    assert torch.equal(whole.extra_columns["colour"], colour)
    assert torch.equal(whole.extra_columns["weight"] > 1, colour == 1)


def test_coloured_mnist_is_mnist_in_two_colours(tmp_path):
    class Small(MNIST):
        counts, held_out = {"train": 60, "t10k": 12}, 20

        def _load_half(self, half):
            n = self.counts[half]
            x = torch.randint(1, 256, (n, 1, 28, 28), generator=torch.Generator().manual_seed(n)).to(torch.uint8)
            return x, torch.arange(n) % 10

        missing_files = ()

    class SmallColoured(ColouredMNIST):
        mnist_class, n_train = Small, 40

    data = SmallColoured(tmp_path, reference=10, ratio=0.8)
    sizes = {"train": 30, "reference": 10, "validation": 20, "test": 12}
    assert {name: len(data.split(name)) for name in sizes} == sizes
    assert shares(data, "train") == pytest.approx(0.8)
    assert torch.equal(data.split("test").x.amax(1), Small(tmp_path).splits()["test"].x[:, 0])


def test_paint_is_the_inverse_of_the_rule():
    grey, colour = torch.randint(1, 256, (6, 1, 4, 4)).to(torch.uint8), torch.tensor([0, 1, 1, 0, 1, 0])
    assert torch.equal(colour_of(paint(grey, colour)), colour)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.0}, "above 0 and below 1"),
        ({"ratio": 0.0}, "above 0 and below 1"),
        ({"ratio": 0.9999}, "none of the 807 training images is green"),
        ({"reference": 91}, "even number of training images, from 10 to 894"),
        ({"reference": 896}, "even number of training images, from 10 to 894"),
        ({"reference": 4}, "from 10 to 894"),
        ({"keep": "balance"}, "Did you mean balanced?"),
        ({"weights": "oracel"}, "Did you mean oracle?"),
        ({"weights": "oracle", "keep": "balanced"}, "a balanced set has no weights"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(Mistake, match=message):
        ColouredDigits(**settings).split("train")
