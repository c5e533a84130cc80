"""A folder of a new user's images: a run ends with scores, or with an error that gives a remedy."""

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from runs import run

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train


@pytest.fixture
def photos(tmp_path):
    """40 JPEGs of different sizes without classes, and a GIF."""
    draws = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(40):
        height, width = draws.integers(40, 90, 2)
        pixels = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"IMG_{i}.jpg")
    Image.fromarray(pixels).save(folder / "moving.gif")
    return folder


def overrides(folder, *more):
    return ["data=image_folder", f"data.folder={folder}", "images=128", *more]


def test_images_of_different_sizes_are_refused_with_possible_sizes_and_their_cost(photos, tmp_path):
    with pytest.raises(Mistake, match="images of different sizes") as caught:
        run(tmp_path / "out", *overrides(photos))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Set data.size=32 to crop and resize every image, or data.size=16, with a quarter of")


def test_a_folder_without_classes_is_measured_by_the_nearest_extractor_with_a_message(photos, tmp_path):
    record = run(tmp_path / "out", *overrides(photos, "data.size=16", "data.flip=true"))
    final = record.summary["final"]
    names = {key: score["contract"] for key, score in final.items()}
    assert {f"{m}_cifar10-jpeg_8_train" for m in ("fid", "kid", "coverage")} <= names.keys()
    assert all(c["resizer"] == "bicubic-antialias-32" for c in names.values())
    assert any(c["extractor"] == "cifar10-jpeg-b" for c in names.values())
    kid = names["kid_cifar10-jpeg_8_train"]
    assert kid["settings"]["subset_size"] == "all"
    assert "40 images (40 .jpg), no classes; left out: 1 .gif." in record.said
    assert "reduced to 16x16" in record.said
    assert "using cifar10-jpeg, the shipped extractor of the nearest size" in record.said


def test_data_without_a_shipped_extractor_are_trained_with_a_remedy(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (40, 6, 9, 5), dtype=np.uint8))
    record = run(tmp_path / "out", *overrides(tmp_path / "x.npy", "data.channels=5"))
    assert record.summary["status"] == "finished"
    line = next(line for line in record.said.splitlines() if "no scores" in line)
    assert "no shipped extractor takes samples of shape 5x6x9" in line
    assert "evaluation.extractor=trained learns in a few minutes" in line
    with Image.open(record.samples / "real.png") as image:
        assert image.size[0] > 9


def test_few_images_add_a_kernel_distance_to_the_default_metrics(photos):
    plain = compose(overrides(photos, "data.size=16"))
    assert list(plain.metric) == ["fid", "inception_score", "coverage", "kid"]
    assert plain.choice.metric[-1] == "kernel_distance"
    assert plain.metric.kid.subset_size is None
    chosen = compose(overrides(photos, "data.size=16", "metric=[frechet_distance]"))
    assert list(chosen.metric) == ["fid"]
    assert plain.name == chosen.name
    assert list(compose(["data=image_folder", "data.shape=[3,16,16]"]).metric) == ["fid", "inception_score", "coverage"]
    assert list(compose().metric) == ["fid", "inception_score", "coverage"]
    split = compose(overrides(photos, "data.size=16", "protocol=10k_test_5k"))
    assert "10k_test_5k" in str(split.choice.protocol)


def test_a_network_for_other_image_sizes_names_its_sizes(photos, tmp_path):
    for architecture, sizes in (("dcgan", "32 x 32 or 64 x 64"), ("conv28", "28 x 28")):
        config = compose(
            [*overrides(photos, "data.size=[16,24]", f"architecture={architecture}"), f"outputs={tmp_path}"]
        )
        with pytest.raises(Mistake, match=rf"{sizes} images, but the data have shape \[3, 16, 24\]") as caught:
            train(config, Console(quiet=True))
        assert len(str(caught.value).splitlines()) <= 2
