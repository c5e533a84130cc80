"""Phase shuffle: a shift in time with reflected ends, from named numbers, and none in evaluation."""

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.layer.phase_shuffle import PhaseShuffle


def test_each_sample_is_shifted_by_its_number_and_reflected() -> None:
    x = torch.arange(10.0).repeat(5, 2, 1)
    u = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.99])[:, None]  # shifts -2, -1, 0, 1, 2
    y = PhaseShuffle(2)(x, {"numbers": u})
    expected = [
        [2, 1, 0, 1, 2, 3, 4, 5, 6, 7],
        [1, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 8],
        [2, 3, 4, 5, 6, 7, 8, 9, 8, 7],
    ]
    assert y[:, 0].tolist() == expected
    assert torch.equal(y[:, 0], y[:, 1]), "channels are shifted alike"


def test_all_shifts_have_equal_probability() -> None:
    u = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0))
    y = PhaseShuffle(2)(torch.arange(7.0).expand(20_000, 1, 7), {"numbers": u})
    share = y[:, 0, 3].long().bincount(minlength=7)[1:6] / 20_000
    assert (share - 0.2).abs().max() < 0.01


def test_layers_read_their_own_column_and_evaluation_does_not_shuffle() -> None:
    x, u = torch.arange(10.0).view(1, 1, 10), torch.tensor([[0.5, 0.0]])
    assert torch.equal(PhaseShuffle(2)(x, {"numbers": u}), x)
    assert PhaseShuffle(2, column=1)(x, {"numbers": u})[0, 0, 0] == 2
    assert torch.equal(PhaseShuffle(2).eval()(x, {}), x)
    assert torch.equal(PhaseShuffle(0)(x, {}), x)


def test_what_cannot_be_shuffled_is_refused() -> None:
    with pytest.raises(ValueError, match="radius=-1 must be at least 0"):
        PhaseShuffle(-1)
    with pytest.raises(Mistake, match="2 positions cannot be shifted by radius=2"):
        PhaseShuffle(2)(torch.zeros(1, 1, 2), {"numbers": torch.zeros(1, 1)})
    with pytest.raises(Mistake, match="numbers"):
        PhaseShuffle(2)(torch.zeros(1, 1, 9), {})
