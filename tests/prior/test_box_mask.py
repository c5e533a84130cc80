"""Laws of the box mask: its size and position, and draws that do not depend on the number of ranks."""

from __future__ import annotations

import pytest
import torch

from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream


def draw(n, *arguments, rank=0, world=1, **settings):
    return BoxMask(*arguments, **settings).sample(n, Stream(0, "hole", rank, world, joint=True))


def test_the_centred_box_has_half_of_each_side_and_equal_margins():
    mask = draw(3, [3, 8, 12])
    assert mask.shape == (3, 1, 8, 12)
    expected = torch.zeros(8, 12)
    expected[2:6, 3:9] = 1
    assert torch.equal(mask, expected.expand(3, 1, 8, 12))


def test_random_masks_are_complete_boxes_at_uniform_positions():
    n = 20_000
    mask = draw(n, [1, 4, 6], fraction=0.5, place="random")
    assert torch.equal(mask.sum((1, 2, 3)), torch.full((n,), 6.0))
    rows, columns = mask[:, 0].amax(2), mask[:, 0].amax(1)
    assert torch.equal(mask[:, 0], rows[:, :, None] * columns[:, None]), "a box"
    first = rows.argmax(1) * 4 + columns.argmax(1)  # 3 places along one side, 4 along the other
    counts = torch.bincount(first, minlength=12).float()
    assert len(counts) == 12
    assert ((counts / n - 1 / 12).abs() < 5 * (1 / 12 * 11 / 12 / n) ** 0.5).all()
    assert torch.equal(rows.diff().clamp(min=0).sum(1) + rows[:, 0], torch.ones(n)), "in one piece"


def test_a_waveform_mask_has_a_gap_and_fraction_1_masks_everything():
    assert torch.equal(draw(2, [1, 8])[:, 0], torch.tensor([0, 0, 1, 1, 1, 1, 0, 0.0]).expand(2, 8))
    assert draw(2, [1, 4, 4], fraction=1.0).all()
    assert draw(2, [1, 4, 4], fraction=0.01).sum() == 2, "a hole has a pixel at least"


@pytest.mark.parametrize("place", ["centre", "random"])
def test_masks_do_not_depend_on_ranks_or_on_the_split_of_draws(place):
    full = draw(8, [1, 6, 6], place=place)
    assert torch.equal(torch.cat([draw(4, [1, 6, 6], place=place, rank=r, world=2) for r in (0, 1)]), full)
    stream, mask = Stream(0, "hole", joint=True), BoxMask([1, 6, 6], place=place)
    assert torch.equal(torch.cat([mask.sample(3, stream), mask.sample(5, stream)]), full)


def test_invalid_arguments_are_refused():
    for arguments, match in (
        (([2],), "no spatial axes"),
        (([1, 4, 4], 0.0), "fraction=0.0"),
        (([1, 4, 4], 1.5), "1.5"),
    ):
        with pytest.raises(ValueError, match=match):
            BoxMask(*arguments)
    with pytest.raises(ValueError, match="place=center must be centre or random"):
        BoxMask([1, 4, 4], place="center")
