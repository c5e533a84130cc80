"""A folder of one's own pictures, as a newcomer has it: a run ends with a score, or says what can be done."""

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
    """40 JPEGs of various sizes without classes, and a GIF."""
    draws = np.random.default_rng(0)
    place = tmp_path / "photos"
    place.mkdir()
    for i in range(40):
        height, width = draws.integers(40, 90, 2)
        pixels = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"IMG_{i}.jpg")
    Image.fromarray(pixels).save(place / "moving.gif")
    return place


def words(place, *more):
    return ["data=image_folder", f"data.folder={place}", "images=128", *more]


def test_pictures_of_various_sizes_are_refused_with_the_sizes_to_choose_and_what_they_cost(photos, tmp_path):
    with pytest.raises(Mistake, match="images of different sizes") as caught:
        run(tmp_path / "out", *words(photos))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Say data.size=32 to crop and resize every image, or data.size=16, a quarter of the")


def test_a_folder_without_classes_ends_with_scores_of_the_nearest_extractor_and_says_so(photos, tmp_path):
    record = run(tmp_path / "out", *words(photos, "data.size=16", "data.flip=true"))
    final = record.summary["final"]
    names = {key: score["contract"] for key, score in final.items()}
    assert {f"{m}_cifar10-jpeg_8_train" for m in ("fid", "kid", "coverage")} <= names.keys()
    assert all(c["resizer"] == "bicubic-antialias-32" for c in names.values())
    assert any(c["extractor"] == "cifar10-jpeg-b" for c in names.values())
    kid = names["kid_cifar10-jpeg_8_train"]
    assert kid["settings"]["subset_size"] == "all"
    assert "40 images (40 .jpg), no classes; left out: 1 .gif." in record.said
    assert "reduced to 16x16" in record.said
    assert "measured by cifar10-jpeg, the shipped extractor of the nearest size" in record.said


def test_data_that_no_shipped_extractor_takes_train_and_say_what_can_be_done(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (40, 6, 9, 5), dtype=np.uint8))
    record = run(tmp_path / "out", *words(tmp_path / "x.npy", "data.channels=5"))
    assert record.summary["status"] == "finished"
    line = next(line for line in record.said.splitlines() if "no scores" in line)
    assert "no shipped extractor takes samples of shape 5x6x9" in line
    assert "evaluation.extractor=trained learns for some minutes" in line
    with Image.open(record.samples / "real.png") as image:
        assert image.size[0] > 9


def test_a_kernel_distance_stands_beside_a_frechet_distance_of_few_images_unless_metrics_are_chosen(photos):
    plain = compose(words(photos, "data.size=16"))
    assert list(plain.metric) == ["fid", "inception_score", "coverage", "kid"]
    assert plain.choice.metric[-1] == "kernel_distance"
    assert plain.metric.kid.subset_size is None
    chosen = compose(words(photos, "data.size=16", "metric=[frechet_distance]"))
    assert list(chosen.metric) == ["fid"]
    assert plain.name == chosen.name
    assert list(compose(["data=image_folder", "data.shape=[3,16,16]"]).metric) == ["fid", "inception_score", "coverage"]
    assert list(compose().metric) == ["fid", "inception_score", "coverage"]
    split = compose(words(photos, "data.size=16", "protocol=10k_test_5k"))
    assert "10k_test_5k" in str(split.choice.protocol)


def test_a_network_that_cannot_make_such_images_says_which_it_makes(photos, tmp_path):
    for architecture, made in (("dcgan", "32 x 32 or 64 x 64"), ("conv28", "28 x 28")):
        config = compose([*words(photos, "data.size=[16,24]", f"architecture={architecture}"), f"outputs={tmp_path}"])
        with pytest.raises(Mistake, match=rf"{made} images, the data are \[3, 16, 24\]") as caught:
            train(config, Console(quiet=True))
        assert len(str(caught.value).splitlines()) <= 2
