"""Grey equals Pillow's conversion to L, up to its rounding, and returns the levels of an 8-bit file."""

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.error import Mistake
from saddlepoint.layer.grey import Grey
from saddlepoint.pixel import to_float, to_uint8


def test_grey_is_pillows_luma():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 3, 9, 7), dtype=np.uint8))
    grey = Grey()(to_float(x))
    assert grey.shape == (20, 1, 9, 7)
    for image, luma in zip(x, to_uint8(grey), strict=True):
        expected = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")).astype(int)
        assert abs(luma[0].numpy() - expected).max() <= 1
        assert (luma[0].numpy() != expected).mean() < 0.05
    assert to_float(to_uint8(grey)).equal(grey)


def test_an_image_with_equal_channels_is_unchanged():
    x = to_float(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16))
    assert Grey()(x.expand(1, 3, 16, 16)).equal(x)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 3, 4), (2, 4, 4, 4)])
def test_other_channels_are_refused(shape):
    with pytest.raises(Mistake, match="needs RGB"):
        Grey()(torch.zeros(shape))
