"""Images come to another size by a filter that has a name, and that other libraries' images agree with."""

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
def test_images_of_the_right_size_are_left_alone(name: str) -> None:
    x = noise()
    assert resize(x, (16, 24), name) is x


@pytest.mark.parametrize("name", RESIZERS)
def test_an_image_of_one_colour_keeps_it_at_any_size(name: str) -> None:
    x = torch.full((2, 1, 9, 7), 201, dtype=torch.uint8)
    for size in ((3, 3), (20, 31)):
        found = resize(x, size, name)
        assert found.dtype == torch.uint8
        assert found.shape == (2, 1, *size)
        assert (found == 201).all()


def test_bilinear_without_antialiasing_sees_the_four_middle_pixels_of_sixteen_only() -> None:
    x = noise(height=16, width=16)
    middle = x.view(3, 3, 4, 4, 4, 4)[:, :, :, 1:3, :, 1:3].float().mean((3, 5))
    assert torch.equal(resize(x, (4, 4), "bilinear"), middle.round().to(torch.uint8))


def test_bilinear_with_antialiasing_weighs_by_a_triangle_as_wide_as_the_scale() -> None:
    x = noise(n=1, channels=1, height=1, width=16)
    weight = torch.tensor([1.0, 3, 5, 7, 7, 5, 3, 1]) / 32  # of the pixels 2 to 9, about the centre of the second part
    expected = (x[0, 0, 0, 2:10].float() * weight).sum()
    assert resize(x, (1, 4), "bilinear-antialias")[0, 0, 0, 1] == expected.round()


@pytest.mark.parametrize("size", [(7, 9), (5, 24), (40, 50)])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("bilinear-antialias", Image.Resampling.BILINEAR), ("bicubic-antialias", Image.Resampling.BICUBIC)],
)
def test_antialiased_images_are_pillows_of_floats(name: str, theirs: Image.Resampling, size: tuple[int, int]) -> None:
    """Of bytes Pillow rounds and clips between its two passes; floats are what clean-fid gives it."""
    x = noise()
    planes = [Image.fromarray(plane.numpy()).resize(size[::-1], theirs) for plane in x.float().flatten(0, 1)]
    expected = torch.stack([torch.from_numpy(np.array(plane)) for plane in planes]).view(3, 3, *size).clamp(0, 255)
    assert (resize(x, size, name) - expected).abs().max() < 0.501


def test_a_set_in_parts_is_the_set_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(n=7)
    whole = resize(x, (8, 8), "bicubic-antialias")
    monkeypatch.setattr(resizer, "PART", 2)
    assert torch.equal(resize(x, (8, 8), "bicubic-antialias"), whole)


def test_a_resizer_that_does_not_exist_is_a_mistake_that_names_the_nearest() -> None:
    with pytest.raises(Mistake, match=r"no resizer bicubic\. Did you mean bicubic-antialias"):
        check_resizer("bicubic")
    with pytest.raises(Mistake, match="Choose one of bilinear, bilinear-antialias, bicubic-antialias, or null"):
        resize(noise(), (4, 4), "zzz")
