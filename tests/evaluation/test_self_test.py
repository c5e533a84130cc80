"""A certificate holds what a ruler read off known images, and notices a ruler that reads something else."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.evaluation import self_test as module
from saddlepoint.evaluation.self_test import (
    certificate_deviations,
    measure_certificate,
    measure_inception_score,
    write_certificate,
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


def test_a_certificate_is_made_of_the_test_split_against_the_train_split(digits) -> None:
    ruler = Shipped("digits")
    found = measure_certificate(ruler, digits)
    real, held = (ruler(digits.split(part).x) for part in ("train", "test"))
    gaussians = [(f.double().mean(0), f.double().T.cov()) for f in (real.features, held.features)]
    assert found["fid"] == pytest.approx(float(frechet_distance(*gaussians[0], *gaussians[1])), rel=1e-6)
    assert found["inception_score"] == pytest.approx(float(inception_score(held.logits)[0]), rel=1e-6)  # pyright: ignore[reportArgumentType]
    right = held.logits.argmax(1) == digits.split("test").y  # pyright: ignore[reportOptionalMemberAccess]
    assert found["accuracy"] == right.double().mean()
    assert (found["n"], found["n_against"]) == (450, 897)


@pytest.mark.parametrize("name", ["digits", "digits-b"])
def test_the_shipped_rulers_of_the_digits_read_what_they_read_when_they_were_made(digits, name: str) -> None:
    assert (
        certificate_deviations(measure_certificate(Shipped(name), digits), shipped_classifiers()[name]["certificate"])
        == {}
    )


def test_every_shipped_ruler_has_a_certificate_that_a_good_ruler_could_have() -> None:
    for name, facts in shipped_classifiers().items():
        known = facts["certificate"]
        assert known["n"] == facts["sizes"]["test"], name
        assert round(known["accuracy"], 4) == pytest.approx(facts["test_accuracy"], abs=1e-4), name
        assert 0 < known["fid"] < 1, name
        assert 5 < known["inception_score"] < 10, name


@pytest.mark.parametrize("change", ["scale", "noise"])
def test_a_ruler_that_is_slightly_off_is_noticed(digits, change: str) -> None:
    """Pixels read at 99% of their contrast, or weights that lost all but three digits."""
    known = shipped_classifiers()["digits"]["certificate"]
    off = Shipped("digits")
    first = next(part for part in off.network.modules() if isinstance(part, nn.Conv2d))
    weight = first.weight.data
    first.weight.data = weight * 0.99 if change == "scale" else (weight * 100).round() / 100
    assert "fid" in certificate_deviations(measure_certificate(off, digits), known)


def test_figures_deviate_by_more_than_the_tolerance_only() -> None:
    known = {"fid": 0.5, "inception_score": 9.0, "accuracy": 0.98, "n": 450}
    assert certificate_deviations({**known, "fid": 0.50049}, known) == {}
    assert certificate_deviations({**known, "fid": 0.49949}, known) == {"fid": (0.49949, 0.5)}
    assert set(certificate_deviations({**known, "accuracy": 0.97, "inception_score": 9.1}, known)) == {
        "accuracy",
        "inception_score",
    }


def test_a_certificate_is_written_into_the_rulers_own_entry(stripes, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_and_save(name, stripes, BRIEF, tmp_path, "command")
    before = shipped_classifiers(tmp_path)
    found = write_certificate("a", stripes, tmp_path)
    assert found["accuracy"] == 1.0
    after = shipped_classifiers(tmp_path)
    assert after["a"] == before["a"] | {"certificate": found}
    assert after["b"] == before["b"]
    assert Shipped("a", tmp_path).sha256 == before["a"]["sha256"]


def test_images_without_classes_certify_nothing(points) -> None:
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
    told: list[tuple[str, int, int]] = []
    for batch in (100, 7):
        score = measure_inception_score(Certain(), x, batch, lambda *report: told.append(report))
        assert score == pytest.approx(10, rel=1e-9)
        assert told[-1] == ("certifying inception", 1000, 1000)


def test_the_weights_folder_holds_no_file_that_is_not_listed(tmp_path: Path) -> None:
    assert {file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors")} == set(shipped_classifiers())
    shutil.copy(WEIGHTS_FOLDER / "classifiers.json", tmp_path)
    with pytest.raises(Mistake, match="missing"):
        Shipped("digits", tmp_path)
    assert module.TOLERANCE == 1e-3
