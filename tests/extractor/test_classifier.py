"""Training a classifier is repeatable without side effects, and shipped classifiers have their listed accuracy."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.extractor.classifier import WEIGHTS_FOLDER, Shipped, shipped_classifiers
from saddlepoint.extractor.training import (
    Network,
    Recipe,
    accuracy,
    default_recipe,
    random_flip,
    random_shift,
    train_and_save,
    train_classifier,
)

BRIEF = Recipe(dim=8, epochs=12, shift=1, batch=20)
MNIST_ROOT = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def test_training_is_repeatable_and_leaves_the_global_generators_unchanged(stripes) -> None:
    x, y = stripes.split("train")[torch.arange(120)]
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    trained = train_classifier(x, y, 2, BRIEF, stripes.split("test")[torch.arange(30)])
    torch.rand(1)
    torch.random.set_rng_state(before)
    again, other = train_classifier(x, y, 2, BRIEF), train_classifier(x, y, 2, replace(BRIEF, seed=1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(trained.state[name], again.state[name]) for name in trained.state)
    assert not torch.equal(trained.state["readout.weight"], other.state["readout.weight"])
    assert trained.accuracy == 1.0
    assert again.accuracy is None


def test_training_works_under_no_grad_and_reports_progress(stripes) -> None:
    x, y = stripes.split("train")[torch.arange(101)]  # not a multiple of the batch
    reports = []
    with torch.no_grad():
        train_classifier(x, y, 2, replace(BRIEF, epochs=1), progress=lambda *report: reports.append(report))
    assert reports[-1] == ("training the classifier", 6, 6)


def test_at_most_limit_images_are_used(stripes) -> None:
    x, y = stripes.split("train")[torch.arange(120)]
    reports = []
    train_classifier(x, y, 2, replace(BRIEF, limit=40), progress=lambda *report: reports.append(report))
    assert reports[-1][2] == 12 * 2


def test_a_shifted_image_is_a_crop_of_the_padded_image() -> None:
    x = torch.arange(2 * 3 * 6 * 5, dtype=torch.uint8).view(2, 3, 6, 5).repeat(50, 1, 1, 1)
    moved = random_shift(x, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x.float(), (2, 2, 2, 2), mode="replicate").to(torch.uint8)
    windows = {(i, j): padded[:, :, i : i + 6, j : j + 5] for i in range(5) for j in range(5)}
    hits = torch.stack([(window == moved).all(-1).all(-1).all(-1) for window in windows.values()])
    assert hits.any(0).all()
    assert hits.any(1).all()  # every shift occurs
    assert torch.equal(random_shift(x, 0, torch.Generator()), x)


def test_random_flip_mirrors_half_of_the_images() -> None:
    x = torch.arange(3 * 2 * 5, dtype=torch.uint8).view(1, 3, 2, 5).repeat(4000, 1, 1, 1)
    flipped = random_flip(x, torch.Generator().manual_seed(0))
    same, mirrored = ((flipped == expected).flatten(1).all(1) for expected in (x, x.flip(3)))
    assert (same ^ mirrored).all()
    assert abs(float(mirrored.double().mean()) - 0.5) < 5 * 0.5 / 4000**0.5
    assert flipped.dtype == torch.uint8
    assert torch.equal(random_flip(x, torch.Generator().manual_seed(0)), flipped)


def test_a_recipe_with_flip_cannot_tell_left_from_right(stripes) -> None:
    """Classes that are mirror images cannot be separated with flip, and can without it."""
    y = torch.arange(120) % 2
    x = torch.zeros(120, 1, 6, 6, dtype=torch.uint8)
    x[y == 0, :, :, :2] = 255
    x[y == 1, :, :, -2:] = 255
    certainty = []
    for flip in (False, True):
        recipe = replace(BRIEF, shift=0, flip=flip, epochs=20, batch=10)
        network = Network((1, 6, 6), 2, recipe.dim)
        network.load_state_dict(train_classifier(x, y, 2, recipe).state)
        with torch.no_grad():
            certainty.append(float(network.eval()(x.float() / 127.5 - 1)[1].softmax(1).max()))
    assert certainty[0] > 0.9
    assert certainty[1] < 0.7


def test_a_recipe_without_flip_draws_no_numbers_for_it(stripes, monkeypatch) -> None:
    # so that weights shipped before the option `flip` existed stay reproducible
    monkeypatch.setattr("saddlepoint.extractor.training.random_flip", None)
    x, y = stripes.split("train")[torch.arange(40)]
    train_classifier(x, y, 2, replace(BRIEF, epochs=1))


def test_a_wide_network_multiplies_the_channels_and_keeps_the_readout() -> None:
    def channels(wide: int) -> list[int]:
        network = Network((3, 32, 32), 10, 128, wide)
        return [layer.out_channels for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]

    assert channels(1) == [16, 32, 64]
    assert channels(2) == [32, 64, 128]
    features, logits = Network((3, 32, 32), 10, 128, 2).eval()(torch.zeros(2, 3, 32, 32))
    assert (features.shape, logits.shape) == ((2, 128), (2, 10))


def test_a_wide_classifier_is_saved_and_loaded_again(tmp_path: Path, stripes) -> None:
    train_and_save("wide", stripes, replace(BRIEF, wide=2, epochs=1), tmp_path, "command")
    train_and_save("narrow", stripes, replace(BRIEF, epochs=1), tmp_path, "command")
    assert shipped_classifiers(tmp_path)["wide"]["recipe"]["wide"] == 2
    sizes = [sum(p.numel() for p in Shipped(n, tmp_path).parameters()) for n in ("wide", "narrow")]
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 20, 17), (1, 4, 4), (1, 2, 2)])
def test_a_network_takes_images_of_any_size_and_is_under_a_megabyte(shape: tuple[int, int, int]) -> None:
    network = Network(shape, 10, default_recipe(shape).dim).eval()
    features, logits = network(torch.zeros(3, *shape))
    assert logits.shape == (3, 10)
    assert (features >= 0).all()
    assert sum(parameter.numel() for parameter in network.parameters()) * 4 < 1e6


def test_the_shipped_files_are_the_listed_ones() -> None:
    assert set(shipped_classifiers()) >= {"digits", "digits-b", "mnist", "cifar10-jpeg", "spoken-digits"}
    for name, facts in shipped_classifiers().items():
        content = (WEIGHTS_FOLDER / f"{name}.safetensors").read_bytes()
        assert len(content) == facts["bytes"] <= (1_500_000 if facts["recipe"].get("wide", 1) > 1 else 400_000)
        assert hashlib.sha256(content).hexdigest() == facts["sha256"]
        classifier = Shipped(name)
        assert (classifier.sha256, classifier.dim, classifier.classes) == (
            facts["sha256"],
            facts["dim"],
            facts["classes"],
        )
        assert facts["classes"] == 10 or "column" in facts


def test_the_digits_classifier_has_its_listed_accuracy() -> None:
    from saddlepoint.data.digits import Digits

    data, facts = Digits(), shipped_classifiers()["digits"]
    data.setup()
    features = Shipped("digits")(data.split("test")[torch.arange(450)][0]).features
    assert (features.amax(0) > 0).all()  # there are no dead units
    score = accuracy(Shipped("digits").network, *data.split("test")[torch.arange(450)])  # pyright: ignore[reportArgumentType]
    assert score == pytest.approx(facts["test_accuracy"], abs=1e-4)
    assert score > 0.97
    assert data.split("train").sha256 == facts["data_sha256"]


def test_the_mnist_classifier_has_its_listed_accuracy() -> None:
    from saddlepoint.data.mnist import MNIST

    if not (MNIST_ROOT / "MNIST" / "raw" / "t10k-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is missing; set SADDLEPOINT_DATA to its folder")
    data, facts = MNIST(root=MNIST_ROOT), shipped_classifiers()["mnist"]
    data.setup()
    score = accuracy(Shipped("mnist").network, *data.split("test")[torch.arange(10_000)])  # pyright: ignore[reportArgumentType]
    assert score == pytest.approx(facts["test_accuracy"], abs=3e-4)  # rounding differs between machines
    assert score >= 0.99
    assert data.split("train").sha256 == facts["data_sha256"]


def test_training_again_writes_the_same_file_and_keeps_other_entries(tmp_path: Path, stripes) -> None:
    entries = [train_and_save("stripes", stripes, BRIEF, tmp_path, "command") for _ in range(2)]
    train_and_save("others", stripes, replace(BRIEF, seed=1), tmp_path, "command")
    assert entries[0] == entries[1] == shipped_classifiers(tmp_path)["stripes"]
    assert entries[0]["test_accuracy"] == 1.0
    assert Shipped("stripes", tmp_path).sha256 == entries[0]["sha256"]
    assert Shipped("others", tmp_path).sha256 != entries[0]["sha256"]


def test_weights_that_are_not_the_listed_ones_are_refused_with_both_hashes(tmp_path: Path, stripes) -> None:
    entry = train_and_save("stripes", stripes, BRIEF, tmp_path, "command")
    file = tmp_path / "stripes.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(Mistake) as refused:
        Shipped("stripes", tmp_path)
    for text in (str(file), entry["sha256"], hashlib.sha256(file.read_bytes()).hexdigest(), "Reinstall", "=trained"):
        assert text in str(refused.value)
    file.unlink()
    with pytest.raises(Mistake, match="missing"):
        Shipped("stripes", tmp_path)
