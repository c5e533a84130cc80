"""Anchors from image to image: known answers of each, and the pairs that a game gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from saddlepoint.callback.evaluation import Sampler
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import measure_all_anchors
from saddlepoint.evaluation.paired_anchor import paired_anchor_sets, predictions
from saddlepoint.experiment.build import build
from saddlepoint.extractor.extractor import Features
from saddlepoint.game.pairs import Pair, PairSource, draw_pair, has_pairs
from saddlepoint.modality import Image
from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream


class Rows:
    name, sha256, modality = "test", "0", Image()

    def __len__(self) -> int:
        return 6


class Few:
    """Six test and 40 training pairs: x uniform on [-1, 1], and `pair` of it."""

    split, region, has_training_pairs = Rows(), "image", True

    def __init__(self, pair: Callable[[Tensor, Tensor], Pair], size: int = 12) -> None:
        draws = torch.Generator().manual_seed(0)
        self.x = {
            name: 2 * torch.rand(n, 2, size, size, generator=draws) - 1 for name, n in (("test", 6), ("train", 40))
        }
        self.pair = pair

    def __call__(self, split: str, index: Tensor) -> Pair:
        return self.pair(self.x[split][index], index)


ALL = [torch.arange(4), torch.arange(4, 6)]


def predicted(pairs: Any) -> dict[str, Tensor]:
    anchors = predictions(pairs, "train", len(pairs.x["train"]), ALL)
    return {name: torch.cat([predict(i, pairs("test", i)) for i in ALL]) for name, predict in anchors.items()}


def test_the_truth_the_input_the_mean_and_the_nearest_pair() -> None:
    """The inputs of the test pairs are those of training pairs 3, 4, ..., nearly; these are read in two batches."""
    pairs = Few(lambda x, index: Pair(x, -x))
    pairs.x["train"] = 2 * torch.rand(600, 2, 12, 12, generator=torch.Generator().manual_seed(1)) - 1
    pairs.x["test"] = pairs.x["train"][3:9] + 0.01
    anchors = predicted(pairs)
    assert torch.equal(anchors["truth"], pairs.x["test"])
    assert torch.equal(anchors["input"], -pairs.x["test"])
    assert torch.allclose(anchors["mean"], pairs.x["train"].mean(0).expand(6, -1, -1, -1), atol=1e-6)
    assert torch.equal(anchors["nearest pair"], pairs.x["train"][3:9])
    assert torch.equal(anchors["darker of both"], torch.minimum(-pairs.x["test"], pairs.x["train"][3:9]))


def test_linear_regression_finds_a_linear_map_of_patches() -> None:
    """A truth that is the mean of 3 x 3 input pixels is predicted in the interior."""
    pairs = Few(lambda x, index: Pair(avg_pool2d(x, 3, 1, 1), x), 24)
    error = predicted(pairs)["linear regression"] - torch.cat([pairs("test", index).target for index in ALL])
    inside = (..., slice(2, -2), slice(2, -2))
    assert float(error[inside].abs().mean()) < 0.02
    assert (
        float(
            predicted(pairs)["input"][inside]
            .sub(torch.cat([pairs("test", i).target for i in ALL])[inside])
            .abs()
            .mean()
        )
        > 0.3
    )


def test_linear_regression_of_a_hole_and_its_nearest_pair() -> None:
    """The hole repeats the row above it: known pixels determine it, and it is found from many pairs."""
    mask = BoxMask((2, 12, 12), 1 / 6).sample(1, Stream(0, "mask"))  # rows and columns 5 and 6

    def pair(x: Tensor, index: Tensor) -> Pair:
        x = x.clone()
        x[:, :, 5:7, 5:7] = x[:, :, 4:5, 5:7]
        masks = mask.expand(len(x), -1, -1, -1)
        return Pair(x, torch.where(masks > 0, 0.0, x), masks)

    pairs = Few(pair)
    pairs.x["train"] = 2 * torch.rand(2000, 2, 12, 12, generator=torch.Generator().manual_seed(1)) - 1
    anchors = predictions(pairs, "train", 2000, ALL)  # pyright: ignore[reportArgumentType]
    test = pairs("test", ALL[0])
    error = anchors["linear regression"](ALL[0], test) - test.target
    assert float(error.abs().max()) < 0.05

    def as_samples(rows: Any, n: int, name: str) -> Any:
        return (Features(torch.zeros(len(x), 1), None, x, None, target) for x, _, target, _ in rows)

    for name, batches in paired_anchor_sets(pairs, "train", 40, 6, 4, as_samples):
        samples = Features.concatenate(batches)
        assert samples.x is not None
        assert samples.target is not None
        known = (mask == 0).expand_as(samples.x)
        assert torch.equal(samples.x[known], samples.target[known]), name


def test_masks_that_differ_have_no_linear_regression() -> None:
    masks = BoxMask((2, 12, 12), 0.5, "random").sample(40, Stream(0, "mask"))
    pairs = Few(lambda x, index: Pair(x, torch.where(masks[index] > 0, 0.0, x), masks[index]))
    anchors = predicted(pairs)
    assert "linear regression" not in anchors
    pairs.x["test"] = pairs.x["train"][:6].clone()
    assert torch.equal(predicted(pairs)["nearest pair"], pairs.x["train"][:6])


def test_a_smaller_input_is_interpolated() -> None:
    """Constant images are interpolated exactly, up to rounding to 8 bits; the linear model has 8 dimensions."""
    pairs = Few(lambda x, index: Pair(x, avg_pool2d(x, 4)), 8)
    pairs.x = {name: x.mean((2, 3), keepdim=True).expand_as(x).contiguous() for name, x in pairs.x.items()}
    anchors = predicted(pairs)
    assert "input" not in anchors
    for name in ("bicubic", "Lanczos", "linear regression"):
        assert torch.allclose(anchors[name], pairs.x["test"], atol=0.01), name


INPAINTING = ["game=inpainting", "game.conditions=split:test", "architecture.generator.condition={known: 64, mask: 64}"]
INPAINTING += ["architecture.discriminator.condition={mask: 64}", "evaluation.extractor=identity", "cache=null"]


def test_an_inpainting_game_has_pairs_whose_known_pixels_are_bit_equal() -> None:
    experiment = build(compose([*INPAINTING, "metric=[frechet_distance,paired]", "evaluation.n=60"]))
    game, data = experiment.game, experiment.data
    test = data.split("test")
    x, y, target, mask = Sampler(game)(450)  # pyright: ignore[reportAssignmentType]
    expected = data.batch_at("test", torch.arange(450))
    assert mask is not None
    assert torch.equal(target, expected.x)
    assert torch.equal(y, expected.y)
    assert torch.equal(x[(mask == 0).expand_as(x)], target[(mask == 0).expand_as(x)])
    assert int((mask > 0).sum()) == 450 * 16
    pair = PairSource(game, data)("test", torch.arange(3))
    assert pair.source is not None
    assert torch.equal(pair.source, torch.where(mask[:3] > 0, 0.0, target[:3]))
    evaluator = experiment.evaluator
    assert evaluator is not None
    scores = Sampler(game).evaluate(evaluator, data)
    score = scores["paired_psnr_identity_60_test"]
    assert (score.contract.split, score.contract.data, score.contract.n_real) == ("test", test.sha256, 450)
    assert score.contract.settings == {"region": "mask"}
    assert {score.contract.inputs for score in scores.values()} == {"test"}
    by_hand = (x[:60, :, 2:6, 2:6] - target[:60, :, 2:6, 2:6]).abs().mean()
    assert scores["paired_mae_identity_60_test"].value == pytest.approx(float(by_hand), abs=2 / 255)
    anchors = evaluator.measure_anchors(data)
    assert anchors["truth"]["paired_mae_identity_60_test"].value == 0
    assert anchors["truth"]["paired_mae_identity_60_test"].contract.inputs == "test"
    assert "paired_psnr_identity_60_test" not in anchors["real"]
    linear, mean = (anchors[name]["paired_psnr_identity_60_test"].value for name in ("linear regression", "mean"))
    assert linear > mean + 1


def test_scores_other_than_paired_have_the_anchors_too_also_those_of_the_second_extractor() -> None:
    words = ["evaluation.extractor=digits", "evaluation.n=60", "metric=[frechet_distance,class_agreement]"]
    experiment = build(compose([*INPAINTING, *words]))
    evaluators = [experiment.evaluator, experiment.second_evaluator]
    anchors = measure_all_anchors([one for one in evaluators if one is not None], experiment.data)
    scores = [
        f"{name}_{extractor}_60_train" for name in ("fid", "class_agreement") for extractor in ("digits", "digits-b")
    ]
    for name in ("input", "mean", "nearest pair", "linear regression", "truth"):
        assert {*anchors[name]} == {*scores}, name
    assert all(anchors["truth"][score].value < anchors["input"][score].value for score in scores if "fid" in score)


def test_a_game_without_inputs_has_no_pairs() -> None:
    experiment = build(compose(["evaluation.extractor=identity", "metric=[paired,frechet_distance]", "cache=null"]))
    assert not has_pairs(experiment.game)
    assert experiment.evaluator is not None
    scores = Sampler(experiment.game).evaluate(experiment.evaluator, experiment.data)
    assert not [name for name in scores if name.startswith("paired")]


def test_skipping_pairs_equals_drawing_them() -> None:
    experiment = build(compose([*INPAINTING, "game.draws.hole.mask.place=random", "metric=[]"]))
    game = experiment.game
    ahead, skipping = Stream(0, "evaluation"), Sampler(game)
    draw_pair(game, 5, ahead)
    skipping.skip(5)
    _, _, target, mask = skipping(4)  # pyright: ignore[reportAssignmentType]
    condition, pair = draw_pair(game, 4, ahead)
    assert mask is not None
    assert torch.equal(target, pair.target)
    assert torch.equal(condition["mask"], mask)
    assert torch.equal(target, experiment.data.batch_at("test", torch.arange(5, 9)).x)


def test_a_receptive_field_larger_than_the_image_is_one_line() -> None:
    data = ["data.shape=[1,8,8]", "game=inpainting", "architecture=unet", "metric=[]"]
    data += ["architecture.generator.condition={known: 1, mask: 1}", "architecture.discriminator.condition={mask: 1}"]
    with pytest.raises(Mistake, match="depends on 16 x 16 pixels, but the images have 8 x 8"):
        build(compose(data))


def test_without_training_pairs_no_anchor_uses_them() -> None:
    pairs = Few(lambda x, index: Pair(x, -x))
    pairs.has_training_pairs = False
    made = predicted(pairs)
    assert {*made} == {"input", "mean", "truth"}
    torch.testing.assert_close(made["mean"][0], pairs.x["train"].mean(0))
