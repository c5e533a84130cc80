"""Extractors never learn, fit their data or say so, and are named by what they are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.metric.classifier import Recipe
from saddlepoint.metric.extractor import Classifier, Identity, build

BRIEF = Recipe(dim=8, epochs=12, shift=0, batch=20)


def test_an_extractor_stays_in_evaluation_mode_and_has_nothing_to_learn() -> None:
    classifier = Classifier.shipped("digits")
    classifier.train()
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    x = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8)
    alone, together = classifier(x[:1]), classifier(x)
    torch.testing.assert_close(alone.features, together.features[:1])  # no batch statistics
    assert together.features.shape == (20, 64)
    assert together.logits.shape == (20, 10)


def test_points_are_their_own_features() -> None:
    x = torch.randn(5, 2)
    features, logits, *_ = Identity(2)(x)
    assert torch.equal(features, x)
    assert logits is None


def test_build_knows_each_extractor_by_name(stripes, points, tmp_path: Path) -> None:
    assert build(None, stripes) is None
    assert build("identity", points(dim=2)).dim == 2  # pyright: ignore[reportOptionalMemberAccess]
    stripes.shape = (1, 8, 8)
    assert build("digits", stripes).name == "digits"  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digit", "Did you mean digits"),
        ("vgg", "identity, inception, trained"),
        ("mnist", "1x28x28.*1x6x6"),
        ("identity", "1x6x6"),
    ],
)
def test_an_extractor_that_does_not_exist_or_fit_is_a_mistake(stripes, name: str, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        build(name, stripes)


def test_what_an_extractor_cannot_use_is_a_mistake(stripes, points, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="leave weights out"):
        build("digits", stripes, weights=tmp_path / "weights.pth")
    with pytest.raises(Mistake, match="learns the classes"):
        build("trained", points())
    stripes.split("train").y = None
    with pytest.raises(Mistake, match="learns the classes"):
        build("trained", stripes)


def test_a_classifier_is_trained_once_and_named_by_data_and_recipe(stripes, points, tmp_path: Path) -> None:
    words: list[str] = []
    reports: list[Any] = []
    before = torch.random.get_rng_state()
    first = Classifier.for_data(stripes, tmp_path, BRIEF, words.append, lambda *report: reports.append(report))
    again = Classifier.for_data(stripes, tmp_path, BRIEF, words.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(words) == 2  # of one training
    assert "100.0%" in words[1]
    assert reports
    assert first.name == again.name
    assert first.name.startswith("classifier-")
    assert len(first.name) == len("classifier-") + 8
    assert first.sha256 == again.sha256
    x = stripes.split("test").x
    assert torch.equal(first(x).features, again(x).features)
    other = Classifier.for_data(stripes, tmp_path, Recipe(dim=8, epochs=1, shift=0, batch=20), words.append)
    assert other.name != first.name
    assert len(words) == 4


def test_a_broken_classifier_is_trained_again_and_comes_out_the_same(stripes, tmp_path: Path) -> None:
    words: list[str] = []
    first = Classifier.for_data(stripes, tmp_path, BRIEF, words.append)
    file = next(tmp_path.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    again = Classifier.for_data(stripes, tmp_path, BRIEF, words.append)
    assert again.sha256 == first.sha256
    assert any("broken" in word for word in words)
