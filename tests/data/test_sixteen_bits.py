"""Images with 16 bits, further columns of an npz, and user-defined data whose modality does not fit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from saddlepoint.config.compose import compose
from saddlepoint.config.training_keys import training_keys
from saddlepoint.data.data import Data, Split
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.data.samples import load_samples_for
from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import check_measurable
from saddlepoint.extractor.identity import Identity
from saddlepoint.extractor.inception import Inception
from saddlepoint.modality import Audio, Image, Modality, Tokens

X = np.random.default_rng(0).integers(0, 65536, (12, 6, 10, 5)).astype(np.uint16)


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path / "x.npz", **arrays)
    return path / "x.npz"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_every_value_is_kept_in_both_layouts(tmp_path: Path, order: tuple[int, ...]) -> None:
    data = ImageFolder(saved(tmp_path, x=X.transpose(order)), channels=5)
    assert (data.shape, data.modality.describe()) == ((5, 6, 10), {"name": "image", "bits": 16})
    x = torch.cat([data.split(name).x for name in ("train", "validation", "test")])
    assert {row.numpy().tobytes() for row in x} == {row.transpose(2, 0, 1).tobytes() for row in X}
    assert torch.equal(data.first_batch(3).x, data.split("train").x[:3].float() / 32767.5 - 1)


def test_the_bits_are_a_fact_and_8_bits_do_not_change_the_identity(tmp_path: Path) -> None:
    overrides = ["data=image_folder", "data.channels=5"]
    deep = compose([*overrides, f"data.folder={saved(tmp_path, x=X)}"])
    assert deep.data.bits == 16
    (tmp_path / "other").mkdir()
    flat = compose([*overrides, f"data.folder={saved(tmp_path / 'other', x=(X // 256).astype(np.uint8))}"])
    assert flat.data.bits == 8
    assert "bits" not in training_keys({"data": {"bits": 8}})["data"]
    assert training_keys({"data": {"bits": 16}})["data"] == {"bits": 16}


def test_uint16_with_values_of_8_bits_is_read_as_8_bits_and_noted(tmp_path: Path) -> None:
    for name, most, bits in (("flat", 255, 8), ("deep", 256, 16)):
        (tmp_path / name).mkdir()
        data = ImageFolder(saved(tmp_path / name, x=np.minimum(X, most)), channels=5)
        assert data.modality.describe() == {"name": "image", "bits": bits}
        assert data.split("train").x.dtype == (torch.uint8 if bits == 8 else torch.uint16)
        assert any("uint16 of integers from" in note for note in data.notes) == (bits == 8)


def test_a_run_with_16_bits_is_built_if_its_file_is_deleted(tmp_path: Path) -> None:
    assert ImageFolder(tmp_path / "gone.npz", channels=5, shape=[5, 6, 10], bits=16).modality.has_stored_form(
        torch.zeros(1, 5, 6, 10, dtype=torch.uint16)
    )


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (X, {"bits": 8}, "more than 8 bits, so set data.bits=16"),
        ((X // 256).astype(np.uint8), {"bits": 16}, "the data have 16 bits: provide uint16"),
        (X / 65535, {}, "np.round\\(65535 \\* x\\) as uint16, which keeps 16 bits"),
        (X / 32767.5 - 1, {}, "np.round\\(32767.5 \\* \\(x \\+ 1\\)\\) as uint16"),
        (X, {"bits": 12}, "8 or 16 bits"),
    ],
)
def test_values_that_would_be_rounded_are_refused_with_a_remedy(tmp_path: Path, x, options, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        ImageFolder(saved(tmp_path, x=x), channels=5, **options).split("train")


def test_samples_of_8_bits_are_refused_for_data_of_16_bits(tmp_path: Path) -> None:
    data = ImageFolder(saved(tmp_path, x=X), channels=5)
    assert load_samples_for(data, tmp_path / "x.npz").x.dtype == torch.uint16
    (tmp_path / "flat").mkdir()
    with pytest.raises(Mistake, match="the data have 16 bits: provide uint16"):
        load_samples_for(data, saved(tmp_path / "flat", x=(X // 256).astype(np.uint8)))


def test_further_arrays_are_columns_aligned_with_the_samples(tmp_path: Path) -> None:
    n = np.arange(12)
    columns = {
        "source": (X // 256).astype(np.uint8), "mask": (X[..., 0] > 9).astype(np.uint8), "attributes": n[:, None] > 5,
        "number": n.astype(np.int16), "weight": n / 2,
    }  # fmt: skip
    x = X.copy()
    x[:, 0, 0, 0] = n
    data = ImageFolder(saved(tmp_path, x=x, y=n % 3, **columns), channels=5)
    assert data.classes == 3
    batch = data.batch_at("train", torch.arange(5))
    assert "further columns source, mask, attributes, number, weight" in data.notes[0]
    rows = data.split("train").x[:5, 0, 0, 0].long()
    assert torch.equal(batch.extra_columns["number"], rows)
    assert torch.equal(batch.extra_columns["weight"], rows / 2)
    assert torch.equal(batch.extra_columns["attributes"], (rows > 5).float()[:, None])
    assert batch.extra_columns["source"].shape == (5, 5, 6, 10)
    assert float(batch.extra_columns["source"].abs().max()) <= 1
    assert batch.extra_columns["mask"].shape == (5, 1, 6, 10)


def test_a_column_of_images_may_be_named_like_a_fact_of_audio(tmp_path: Path) -> None:
    data = ImageFolder(saved(tmp_path, x=X, rate=np.arange(12), vocabulary=np.arange(12)), channels=5)
    assert set(data.split("train").extra_columns) == {"rate", "vocabulary"}


def test_a_colour_column_of_grey_images_keeps_its_layout(tmp_path: Path) -> None:
    for name, source in {"last": X, "first": X.transpose(0, 3, 1, 2)}.items():
        (tmp_path / name).mkdir()
        data = ImageFolder(saved(tmp_path / name, x=X[..., 0], source=source), channels=1)
        split = data.split("all")
        assert torch.equal(split.extra_columns["source"][:, :1], split[torch.arange(12)][0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": np.where(np.arange(12) > 5, np.nan, 0)}, "a holds values that are not finite"),
        ({"a": np.zeros(11)}, "a column needs one row per sample, 12"),
        ({"a": np.array(["x"] * 12)}, "a column must hold numbers"),
    ],
)
def test_an_invalid_column_is_refused(tmp_path: Path, columns, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        ImageFolder(saved(tmp_path, x=X, **columns), channels=5).split("train")


class Own(Data):
    """User-defined data: the tensor `stored` in every split."""

    stored: torch.Tensor

    def splits(self) -> dict[str, Split]:
        return {name: Split(name, self.stored) for name in ("train", "validation", "test")}


Own.__module__ = "mine"  # built-in data are not checked


@pytest.mark.parametrize(
    ("x", "shape", "modality", "message"),
    [
        (torch.zeros(4, 1, 8, 8), (1, 8, 8), None, "Floats would be rounded to 256 levels.*Image.16. keeps 16 bits"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint16), (1, 8, 8), None, "modality = saddlepoint.modality.Image.16."),
        (torch.zeros(4, 1, 9, dtype=torch.int16), (1, 9), None, "Audio.rate, bits=16."),
        (torch.full((4, 1, 9), 3.0), (1, 9), None, "float audio must be in .-1, 1."),
        (torch.zeros(4, 9), (1, 9), Audio(), "A channel axis is missing"),
        (torch.rand(4, 5, 3), (5, 3), Tokens(["", "a", "b"]), "use x.argmax"),
        (torch.full((4, 5), 3), (5, 3), Tokens(["", "a", "b"]), "token numbers are from 3 to 3"),
        (torch.zeros(4, 2, dtype=torch.float64), (2,), None, "float32"),
        (torch.tensor([[0.0, torch.nan]] * 4), (2,), None, "its train split: some values are not finite"),
    ],
)
def test_data_in_another_stored_form_are_refused_with_a_remedy(
    x: torch.Tensor, shape: tuple[int, ...], modality: Modality | None, message: str
) -> None:
    data = type("Mine", (Own,), {"modality": modality, "stored": x})(shape, None)
    with pytest.raises(Mistake, match=re.compile(message, re.S)):
        data.split("train")


@pytest.mark.parametrize("modality", [Image, "image", torch.nn.Identity()])
def test_a_modality_that_is_no_modality_object_is_refused(modality: object) -> None:
    with pytest.raises(Mistake, match=r"Mine: modality is .*, but must be an object, such as .*Image\(16\)"):
        type("Mine", (Own,), {"modality": modality})((1, 8, 8), None)


def test_user_defined_data_use_the_stored_form_of_their_modality() -> None:
    x = torch.randint(0, 65536, (4, 1, 8, 8)).to(torch.uint16)
    data = type("Mine", (Own,), {"modality": Image(16), "stored": x})((1, 8, 8), None)
    assert torch.equal(data.modality.to_stored(data.first_batch(4).x), x)
    assert data.split("all").shape == (1, 8, 8)


def test_an_extractor_of_8_bits_is_refused_with_one_for_16_bits() -> None:
    with pytest.raises(
        Mistake, match=re.compile("inception measures images of 8 bits, but these have 16.*identity", re.S)
    ):
        check_measurable(Inception, (3, 8, 8), Image(16))
    with pytest.raises(Mistake, match=r"identity compares up to 4,096 numbers, but a sample of 3x64x64 has 12,288"):
        Identity((3, 64, 64))


@pytest.mark.parametrize(
    ("shape", "bits", "named"),
    [((3, 8, 8), 8, True), ((5, 8, 8), 8, False), ((3, 8, 8), 16, False), ((5, 8, 8), 16, False)],
)
def test_inception_is_suggested_if_it_fits(shape: tuple[int, ...], bits: int, named: bool) -> None:
    with pytest.raises(Mistake) as caught:
        check_measurable(Identity((2, 2, 2)), shape, Image(bits))
    assert ("inception" in str(caught.value)) == named


@pytest.mark.parametrize(("modality", "shape"), [(Audio(), (1, 9)), (Tokens(["", "a"]), (9, 2))])
def test_only_images_are_mirrored(modality: Modality, shape: tuple[int, ...]) -> None:
    with pytest.raises(Mistake, match=r"data.flip=True: must be true or false, and true is for images only"):
        type("Mine", (Own,), {"modality": modality})(shape, None, flip=True)
