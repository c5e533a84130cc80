"""CIFAR-10 as JPEG: a separate data set with a fixed split of one zip."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data.cifar10_jpeg import CIFAR10JPEG, FILE
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.error import Mistake

ROOT = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPLITS = ("train", "validation", "test")
HERE = pytest.mark.skipif(not (ROOT / FILE).is_file(), reason=f"no {ROOT / FILE}: set SADDLEPOINT_DATA")


def small(root: Path, each: int = 4, edge: int = 32) -> Path:
    """Write a zip of ten classes with `each` images per class, whose colour identifies the class."""
    with zipfile.ZipFile(root / FILE, "w") as pack:
        for label in range(10):
            for number in range(each):
                content = io.BytesIO()
                Image.fromarray(np.full((edge, edge, 3), 20 * label, dtype=np.uint8)).save(content, "jpeg", quality=95)
                pack.writestr(f"class{label}/{number}.jpg", content.getvalue())
    return root


def test_a_missing_zip_is_refused_with_its_expected_path(tmp_path: Path) -> None:
    data = CIFAR10JPEG(root=tmp_path)
    assert data.missing_files == [FILE]
    with pytest.raises(Mistake) as refused:
        data.prepare_data()
    for word in (FILE, str(tmp_path), "data.root=", "data=image_folder"):
        assert word in str(refused.value)


def test_the_facts_are_known_before_loading_and_checked_after(tmp_path: Path) -> None:
    data = CIFAR10JPEG(root=tmp_path)
    assert (data.name, data.shape, data.classes, data.extractor) == ("cifar10_jpeg", (3, 32, 32), 10, "cifar10-jpeg")
    other = CIFAR10JPEG(root=small(tmp_path, edge=16))
    with pytest.raises(Mistake, match="16"):
        other.split("train")


def test_labels_are_the_sorted_folder_names_and_a_tenth_each_is_held_out(tmp_path: Path) -> None:
    data = CIFAR10JPEG(root=small(tmp_path))
    assert data.missing_files == []
    assert data.describe()["sizes"] == {"train": 32, "validation": 4, "test": 4}
    for name in SPLITS:
        x, y = data.split(name)[torch.arange(len(data.split(name)))]
        assert y is not None
        assert torch.equal((x.float().mean((1, 2, 3)) / 20).round().long(), y)


def test_the_split_depends_on_names_only_and_equals_that_of_image_folder(tmp_path: Path) -> None:
    data = CIFAR10JPEG(root=small(tmp_path), seed=7)
    for other in (CIFAR10JPEG(root=tmp_path), ImageFolder(tmp_path / FILE, size=32)):
        assert all(other.split(name).sha256 == data.split(name).sha256 for name in SPLITS)


@HERE
@pytest.mark.slow  # every one of the 50,000 is decoded
def test_the_real_data_split_40_5_5_and_trained_the_shipped_extractor() -> None:
    from saddlepoint.extractor.classifier import shipped_classifiers

    data = CIFAR10JPEG(root=ROOT, workers=0)
    assert data.describe()["sizes"] == {"train": 40_000, "validation": 5_000, "test": 5_000}
    counts = [torch.bincount(data.split(name).y, minlength=10) for name in SPLITS]  # pyright: ignore[reportArgumentType]
    assert torch.stack(counts).sum(0).tolist() == [5_000] * 10
    x, _ = data.split("train")[torch.arange(3)]
    assert (x.shape, x.dtype) == ((3, 3, 32, 32), torch.uint8)
    assert data.split("train").sha256 == shipped_classifiers()["cifar10-jpeg"]["data_sha256"]
