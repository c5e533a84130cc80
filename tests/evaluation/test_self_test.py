"""A certificate records the scores of known images, and detects an extractor that computes others."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.evaluation import self_test as module
from saddlepoint.evaluation.self_test import (
    certificate_deviations,
    measure_and_write_certificate,
    measure_certificate,
    measure_inception_score,
)
from saddlepoint.extractor.classifier import WEIGHTS_FOLDER, Shipped, shipped_classifiers
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.extractor.training import Recipe, train_and_save
from saddlepoint.metric.frechet_distance import frechet_distance
from saddlepoint.metric.inception_score import inception_score

BRIEF = Recipe(dim=8, epochs=12, shift=1, batch=20)


@pytest.fixture(scope="module")
def digits():
    from saddlepoint.data.digits import Digits

    data = Digits()
    data.setup()
    return data


def test_a_certificate_scores_the_test_split_against_the_train_split(digits) -> None:
    extractor = Shipped("digits")
    certificate = measure_certificate(extractor, digits)
    real, held_out = (extractor(digits.split(name).x) for name in ("train", "test"))
    gaussians = [(f.double().mean(0), f.double().T.cov()) for f in (real.features, held_out.features)]
    assert certificate["fid"] == pytest.approx(float(frechet_distance(*gaussians[0], *gaussians[1])), rel=1e-6)
    assert certificate["inception_score"] == pytest.approx(float(inception_score(held_out.logits)[0]), rel=1e-6)  # pyright: ignore[reportArgumentType]
    correct = held_out.logits.argmax(1) == digits.split("test").y  # pyright: ignore[reportOptionalMemberAccess]
    assert certificate["accuracy"] == correct.double().mean()
    assert (certificate["n"], certificate["n_against"]) == (450, 897)


@pytest.mark.parametrize("name", ["digits", "digits-b"])
def test_the_shipped_extractors_of_the_digits_reproduce_their_certificates(digits, name: str) -> None:
    known = shipped_classifiers()[name]["certificate"]
    assert certificate_deviations(measure_certificate(Shipped(name), digits), known) == {}


def test_every_shipped_extractor_has_a_plausible_certificate() -> None:
    for name, facts in shipped_classifiers().items():
        if "column" in facts:  # of other classes than those of the data: it measures no distance
            assert facts["test_accuracy"] > 0.9
            continue
        known = facts["certificate"]
        assert known["n"] == facts["sizes"]["test"], name
        assert round(known["accuracy"], 4) == pytest.approx(facts["test_accuracy"], abs=1e-4), name
        assert 0 < known["fid"] < 1, name
        assert 5 < known["inception_score"] < 10, name


@pytest.mark.parametrize("change", ["scale", "noise"])
def test_a_slightly_changed_extractor_is_detected(digits, change: str) -> None:
    """Weights scaled by 99%, or rounded to two decimals."""
    known = shipped_classifiers()["digits"]["certificate"]
    changed = Shipped("digits")
    first = next(module for module in changed.network.modules() if isinstance(module, nn.Conv2d))
    weight = first.weight.data
    first.weight.data = weight * 0.99 if change == "scale" else (weight * 100).round() / 100
    assert "fid" in certificate_deviations(measure_certificate(changed, digits), known)


def test_deviations_are_reported_only_beyond_the_tolerance() -> None:
    known = {"fid": 0.5, "inception_score": 9.0, "accuracy": 0.98, "n": 450}
    assert certificate_deviations({**known, "fid": 0.50049}, known) == {}
    assert certificate_deviations({**known, "fid": 0.49949}, known) == {"fid": (0.49949, 0.5)}
    assert set(certificate_deviations({**known, "accuracy": 0.97, "inception_score": 9.1}, known)) == {
        "accuracy",
        "inception_score",
    }


def test_a_certificate_is_written_into_the_entry_of_its_extractor(stripes, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_and_save(name, stripes, BRIEF, tmp_path, "command")
    before = shipped_classifiers(tmp_path)
    certificate = measure_and_write_certificate("a", stripes, tmp_path)
    assert certificate["accuracy"] == 1.0
    after = shipped_classifiers(tmp_path)
    assert after["a"] == before["a"] | {"certificate": certificate}
    assert after["b"] == before["b"]
    assert Shipped("a", tmp_path).sha256 == before["a"]["sha256"]


def test_images_without_classes_give_no_certificate(points) -> None:
    class Blank(Identity):
        weight = nn.Parameter(torch.zeros(1))

        def parameters(self, recurse: bool = True):
            return iter([self.weight])

    with pytest.raises(Mistake, match="images with classes"):
        measure_certificate(Blank((3,)), points())


def test_the_inception_score_of_ten_certain_classes_is_ten_whatever_the_batch() -> None:
    class Certain(Extractor):
        name, sha256, dim, classes = "certain", "00", 1, 10

        def forward(self, x: torch.Tensor) -> Features:
            return Features(x.float().flatten(1)[:, :1], nn.functional.one_hot(x[:, 0, 0, 0].long(), 10) * 1e4)

    x = (torch.arange(1000) % 10).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    reports: list[tuple[str, int, int]] = []
    for batch in (100, 7):
        score = measure_inception_score(Certain(), x, batch, lambda *report: reports.append(report))
        assert score == pytest.approx(10, rel=1e-9)
        assert reports[-1] == ("certifying inception", 1000, 1000)


def test_the_weights_folder_contains_listed_files_only(tmp_path: Path) -> None:
    assert {file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors")} == set(shipped_classifiers())
    shutil.copy(WEIGHTS_FOLDER / "classifiers.json", tmp_path)
    with pytest.raises(Mistake, match="missing"):
        Shipped("digits", tmp_path)
    assert module.TOLERANCE == 1e-3
