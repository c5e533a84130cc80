"""Resizers agree with closed forms and with other libraries."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor import resizer
from saddlepoint.extractor.resizer import RESIZERS, check_resizer, resize


def noise(n: int = 3, channels: int = 3, height: int = 16, width: int = 24) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, channels, height, width), dtype=torch.uint8, generator=draws)


@pytest.mark.parametrize("name", RESIZERS)
def test_images_of_the_right_size_are_unchanged(name: str) -> None:
    x = noise()
    assert resize(x, (16, 24), name) is x


@pytest.mark.parametrize("name", RESIZERS)
def test_an_image_of_one_colour_keeps_it_at_any_size(name: str) -> None:
    x = torch.full((2, 1, 9, 7), 201, dtype=torch.uint8)
    for size in ((3, 3), (20, 31)):
        y = resize(x, size, name)
        assert y.dtype == torch.uint8
        assert y.shape == (2, 1, *size)
        assert (y == 201).all()


def test_bilinear_without_antialiasing_uses_only_the_4_middle_pixels_of_16() -> None:
    x = noise(height=16, width=16)
    middle = x.view(3, 3, 4, 4, 4, 4)[:, :, :, 1:3, :, 1:3].float().mean((3, 5))
    assert torch.equal(resize(x, (4, 4), "bilinear"), middle.round().to(torch.uint8))


def test_bilinear_with_antialiasing_weighs_by_a_triangle_as_wide_as_the_scale() -> None:
    x = noise(n=1, channels=1, height=1, width=16)
    weight = torch.tensor([1.0, 3, 5, 7, 7, 5, 3, 1]) / 32  # of pixels 2 to 9, around the second output pixel
    expected = (x[0, 0, 0, 2:10].float() * weight).sum()
    assert resize(x, (1, 4), "bilinear-antialias")[0, 0, 0, 1] == expected.round()


@pytest.mark.parametrize("size", [(7, 9), (5, 24), (40, 50)])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("bilinear-antialias", Image.Resampling.BILINEAR), ("bicubic-antialias", Image.Resampling.BICUBIC)],
)
def test_antialiased_images_equal_those_of_pillow(name: str, theirs: Image.Resampling, size: tuple[int, int]) -> None:
    """Compare in float, as clean-fid does: for bytes, Pillow rounds and clips between its two passes."""
    x = noise()
    planes = [Image.fromarray(plane.numpy()).resize(size[::-1], theirs) for plane in x.float().flatten(0, 1)]
    expected = torch.stack([torch.from_numpy(np.array(plane)) for plane in planes]).view(3, 3, *size).clamp(0, 255)
    assert (resize(x, size, name) - expected).abs().max() < 0.501


def test_resizing_in_chunks_equals_resizing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(n=7)
    expected = resize(x, (8, 8), "bicubic-antialias")
    monkeypatch.setattr(resizer, "CHUNK", 2)
    assert torch.equal(resize(x, (8, 8), "bicubic-antialias"), expected)


def test_an_unknown_resizer_is_refused_with_the_closest_name() -> None:
    with pytest.raises(Mistake, match=r"no resizer bicubic\. Did you mean bicubic-antialias"):
        check_resizer("bicubic")
    with pytest.raises(Mistake, match="Choose one of bilinear, bilinear-antialias, bicubic-antialias, or null"):
        resize(noise(), (4, 4), "zzz")
