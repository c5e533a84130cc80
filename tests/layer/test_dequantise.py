"""Uniform dequantisation: every value of 256 is spread over its own bin."""

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.layer.dequantise import Dequantise
from saddlepoint.pixel import to_float


def test_every_value_of_256_fills_its_bin_and_the_bins_tile_the_range() -> None:
    k = torch.arange(256, dtype=torch.uint8)
    layer, x = Dequantise(), to_float(k).double()[:, None]
    low, middle, high = (layer(x, {"numbers": torch.full((256, 1), u).double()})[:, 0] for u in (0.0, 0.5, 1.0))
    assert torch.allclose(low, k.double() / 128 - 1, atol=1e-5)
    assert torch.allclose(high[:-1], low[1:], atol=1e-5)
    assert torch.allclose(middle - low, torch.full((256,), 1 / 256).double(), atol=1e-6)
    assert low[0] == pytest.approx(-1, abs=1e-6)
    assert high[-1] == pytest.approx(1, abs=1e-6)


def test_uniform_bytes_become_uniform_on_the_range() -> None:
    """Mean 0 and variance 1/3, the moments of U[-1, 1), and no two values on a common grid."""
    stream = torch.Generator().manual_seed(0)
    x = to_float(torch.randint(256, (500, 3, 8, 8), generator=stream, dtype=torch.uint8))
    y = Dequantise()(x, {"numbers": torch.rand(500, 192, generator=stream)})
    assert y.shape == x.shape
    assert y.mean().item() == pytest.approx(0, abs=0.01)
    assert y.var().item() == pytest.approx(1 / 3, abs=0.005)
    assert len(y.unique()) > 90_000
    assert y.min() >= -1
    assert y.max() < 1


def test_evaluation_leaves_samples_unchanged_and_a_wrong_draw_is_refused_with_its_size() -> None:
    x = torch.zeros(2, 3, 4, 4)
    assert Dequantise().eval()(x, {"numbers": torch.rand(2, 48)}) is x
    with pytest.raises(Mistake, match=r"48 per sample, but its draw has 7"):
        Dequantise()(x, {"numbers": torch.rand(2, 7)})
