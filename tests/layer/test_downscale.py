"""Down-scaled images: box is the mean, bicubic Pillow's anti-aliased resize; both have the levels of an 8-bit file."""

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.error import Mistake
from saddlepoint.layer.downscale import Downscale
from saddlepoint.pixel import to_float, to_uint8


@pytest.mark.parametrize(("method", "resample"), [("box", Image.Resampling.BOX), ("bicubic", Image.Resampling.BICUBIC)])
@pytest.mark.parametrize("factor", [2, 4])
def test_each_method_is_that_of_pillow(method, resample, factor):
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 16, 24), dtype=np.uint8))
    small = Downscale(factor, method)(to_float(x))
    assert small.shape == (5, 3, 16 // factor, 24 // factor)
    for image, result in zip(x, to_uint8(small), strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((24 // factor, 16 // factor), resample)
        gap = abs(result.permute(1, 2, 0).numpy().astype(int) - np.asarray(pillow).astype(int))
        assert gap.max() <= 1
    assert to_float(to_uint8(small)).equal(small)


def test_frequencies_above_the_new_limit_vanish():
    stripes = torch.ones(1, 1, 8, 32)
    stripes[..., ::2] = -1
    for method in ("box", "bicubic"):
        assert Downscale(4, method)(stripes)[..., 2:-2].abs().max() < 0.02


@pytest.mark.parametrize("shape", [(1, 3, 10, 8), (1, 3, 8, 10), (3, 8)])
def test_sides_that_do_not_divide_are_refused(shape):
    with pytest.raises(Mistake, match="factor=4 must divide"):
        Downscale(4)(torch.zeros(shape))


@pytest.mark.parametrize("settings", [{"factor": 1}, {"factor": 2.0}, {"method": "lanczos"}])
def test_unknown_settings_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        Downscale(**settings)
