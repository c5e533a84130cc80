"""Laws of adaptive augmentation: the identity at p = 0, what each distortion does, and how p is adjusted."""

from __future__ import annotations

import pytest
import torch
from probability import after, probability_on_rank
from ranked import run_on_ranks

from saddlepoint.error import Mistake
from saddlepoint.layer.adaptive_augment import AdaptiveAugment
from saddlepoint.schedule.cosine import Cosine

STREAM = torch.Generator().manual_seed(0)
IMAGES, POINTS = torch.randn(256, 3, 8, 6, generator=STREAM), torch.randn(256, 2, generator=STREAM)
NUMBERS = {"numbers": torch.rand(256, 9, generator=STREAM)}
NONE = {"flip": False, "translate": 0.0, "brightness": 0.0, "contrast": 0.0}


@pytest.mark.parametrize("x", [IMAGES, IMAGES[..., 0], POINTS], ids=["images", "waveforms", "points"])
def test_at_p_0_and_in_evaluation_mode_the_layer_is_the_identity_bit_for_bit(x):
    for layer in (AdaptiveAugment(), AdaptiveAugment(start=1.0).eval()):
        leaf = x.clone().requires_grad_()
        y = layer(leaf, NUMBERS)
        assert torch.equal(y, x)
        y.sum().backward()
        assert torch.equal(leaf.grad, torch.ones_like(x))


def test_each_distortion_is_applied_to_a_fraction_p_of_the_samples():
    layer = AdaptiveAugment(start=0.3, **{**NONE, "brightness": 0.5})
    n = 20_000
    numbers = {"numbers": torch.rand(n, 9, generator=torch.Generator().manual_seed(1))}
    changed = (layer(torch.zeros(n, 1, 2, 2), numbers) != 0).any((1, 2, 3)).double().mean()
    assert changed.item() == pytest.approx(0.3, abs=5 * (0.21 / n) ** 0.5)
    points = AdaptiveAugment(start=0.3)(torch.zeros(n, 2), numbers)
    assert (points != 0).any(1).double().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / n) ** 0.5)


def test_flip_mirrors_half_of_the_samples_left_to_right():
    y = AdaptiveAugment(start=1.0, **{**NONE, "flip": True})(IMAGES, NUMBERS)
    mirrored = NUMBERS["numbers"][:, 1] < 0.5
    assert torch.equal(y[mirrored], IMAGES[mirrored].flip(-1))
    assert torch.equal(y[~mirrored], IMAGES[~mirrored])
    assert 90 < mirrored.sum() < 166


def test_a_translation_is_a_crop_of_the_image_padded_by_reflection():
    y = AdaptiveAugment(start=1.0, **{**NONE, "translate": 0.25})(IMAGES, NUMBERS)
    padded = torch.nn.functional.pad(IMAGES, (1, 1, 2, 2), mode="reflect")  # a quarter of 6 and of 8, rounded down
    offsets = set()
    for i in range(len(y)):
        matches = [(r, c) for r in range(5) for c in range(3) if torch.equal(padded[i, :, r : r + 8, c : c + 6], y[i])]
        assert len(matches) == 1, i
        offsets.add(matches[0])
    assert len(offsets) == 15, "every offset occurs"


def test_brightness_adds_and_contrast_multiplies_one_number_per_sample_with_the_given_deviation():
    n = 20_000
    numbers = {"numbers": torch.rand(n, 9, generator=torch.Generator().manual_seed(2))}
    x = torch.ones(n, 2, 1, 2)
    added = AdaptiveAugment(start=1.0, **{**NONE, "brightness": 0.2})(x, numbers) - x
    times = AdaptiveAugment(start=1.0, **{**NONE, "contrast": 0.5})(x, numbers)
    for value, deviation in ((added, 0.2), (times.log2(), 0.5)):
        assert torch.equal(value, value[:, :1, :, :1].expand_as(value))
        per_sample = value[:, 0, 0, 0].double()
        assert abs(per_sample.mean()) < 5 * deviation / n**0.5
        assert per_sample.std().item() == pytest.approx(deviation, rel=5 / (2 * n) ** 0.5)


@pytest.mark.parametrize("x", [IMAGES[:16].double(), POINTS[:16].double()], ids=["images", "points"])
def test_gradients_through_the_layer_are_correct(x):
    layer = AdaptiveAugment(start=0.7).double()
    numbers = {"numbers": NUMBERS["numbers"][:16].double()}
    assert torch.autograd.gradcheck(lambda x: layer(x, numbers), x.clone().requires_grad_())


# ------------------------------------------------------------------------------------------------- the probability


def test_p_rises_if_d_overfits_else_falls_and_stays_between_0_and_1():
    layer = AdaptiveAugment(speed=1000, every=4)
    assert after(layer, torch.ones(10), 4) == pytest.approx(40 / 1000), "all logits of reals are positive"
    assert after(layer, torch.ones(10), 4) == pytest.approx(80 / 1000)
    mixed = torch.tensor([1.0] * 7 + [-1.0] * 3)  # r = 0.4, below the target
    assert after(layer, mixed, 4) == pytest.approx(40 / 1000)
    assert after(layer, mixed, 8) == 0
    assert after(layer, torch.ones(10), 4 * 40) == 1
    on_target = torch.tensor([1.0] * 8 + [-1.0] * 2)  # r = 0.6, the target
    assert after(layer, on_target, 4) == 1


def test_p_is_adjusted_every_fourth_turn_of_its_player_by_all_images_since():
    layer = AdaptiveAugment(speed=1000, every=4)
    assert after(layer, torch.ones(10), 3) == 0
    assert after(layer, torch.ones(10), 9, player="generator") == 0
    assert after(layer, torch.ones(30), 1) == pytest.approx(60 / 1000)
    assert after(AdaptiveAugment(start=0.2, speed=None), torch.ones(10), 8) == pytest.approx(0.2)


def test_a_discriminator_of_patches_moves_p_by_images_and_not_by_patches():
    layer = AdaptiveAugment(speed=1000, every=4)
    assert after(layer, torch.ones(10, 1, 3, 3), 4) == pytest.approx(0.04)


def test_a_restored_state_continues_bit_for_bit_also_between_two_adjustments():
    one, other = AdaptiveAugment(speed=1000), AdaptiveAugment(speed=1000)
    after(one, torch.ones(10), 6)
    other.load_state_dict(one.state_dict())
    assert after(one, torch.ones(10), 3) == after(other, torch.ones(10), 3)
    assert one.p == pytest.approx(0.08)


def test_on_two_ranks_p_follows_the_signs_and_images_of_both():
    (single,) = run_on_ranks(probability_on_rank, 1)
    assert single == pytest.approx(64 / 1000)
    assert run_on_ranks(probability_on_rank, 2) == [single, single]


def test_invalid_arguments_and_missing_numbers_are_refused():
    with pytest.raises(Mistake, match=r"needs 9 numbers per sample of shape \[3, 8, 6\], but its draw has 4"):
        AdaptiveAugment()(IMAGES, {"numbers": torch.rand(256, 4)})
    with pytest.raises(Mistake, match=r"numbers for 255 samples, but there are 256: .* data.labelled_batch"):
        AdaptiveAugment()(IMAGES, {"numbers": NUMBERS["numbers"][:255]})
    with pytest.raises(Mistake, match=r"needs 3 numbers per sample of shape \[2\]"):
        AdaptiveAugment()(POINTS, {"numbers": torch.rand(256, 2)})
    with pytest.raises(Mistake, match="adaptive augment reads the condition numbers"):
        AdaptiveAugment()(POINTS, {})
    for wrong in ({"start": 1.5}, {"target": 2.0}, {"every": 0}, {"speed": 0}, {"translate": 2.0}, {"shift": -1.0}):
        with pytest.raises(ValueError, match="adaptive augment: "):
            AdaptiveAugment(**wrong)


def test_a_schedule_sets_p_and_excludes_the_adjustment_by_the_logits():
    layer = AdaptiveAugment(start=Cosine(0.1, 0.5, 100), speed=None)
    assert layer.p.item() == pytest.approx(0.1)
    for images, p in ((50, 0.3), (100, 0.5), (1_000, 0.5), (0, 0.1)):
        layer.at_images(images)
        assert layer.p.item() == pytest.approx(p)
    constant = AdaptiveAugment(start=0.2, speed=None)
    constant.at_images(50)
    assert constant.p.item() == pytest.approx(0.2)
    with pytest.raises(ValueError, match="speed=null"):
        AdaptiveAugment(start=Cosine(0.1, 0.5, 100))
    with pytest.raises(ValueError, match="probability"):
        AdaptiveAugment(start=Cosine(1.1, 0.5, 100), speed=None)
