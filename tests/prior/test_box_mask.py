"""Laws of a box to be filled in: its size, its places, and that it is drawn for the batch of all ranks."""

from __future__ import annotations

import pytest
import torch

from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream


def draw(n, *arguments, rank=0, world=1, **settings):
    return BoxMask(*arguments, **settings).sample(n, Stream(0, "hole", rank, world, joint=True))


def test_in_the_centre_it_is_half_of_each_side_with_as_much_room_on_both_ends():
    mask = draw(3, [3, 8, 12])
    assert mask.shape == (3, 1, 8, 12)
    expected = torch.zeros(8, 12)
    expected[2:6, 3:9] = 1
    assert torch.equal(mask, expected.expand(3, 1, 8, 12))


def test_at_random_each_mask_is_one_whole_box_and_every_place_is_as_likely_as_the_other():
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


def test_a_waveform_has_a_gap_and_a_whole_fraction_hides_all():
    assert torch.equal(draw(2, [1, 8])[:, 0], torch.tensor([0, 0, 1, 1, 1, 1, 0, 0.0]).expand(2, 8))
    assert draw(2, [1, 4, 4], fraction=1.0).all()
    assert draw(2, [1, 4, 4], fraction=0.01).sum() == 2, "a hole has a pixel at least"


@pytest.mark.parametrize("place", ["centre", "random"])
def test_two_ranks_draw_the_masks_of_one_and_n_then_m_are_n_plus_m(place):
    whole = draw(8, [1, 6, 6], place=place)
    assert torch.equal(torch.cat([draw(4, [1, 6, 6], place=place, rank=r, world=2) for r in (0, 1)]), whole)
    stream, part = Stream(0, "hole", joint=True), BoxMask([1, 6, 6], place=place)
    assert torch.equal(torch.cat([part.sample(3, stream), part.sample(5, stream)]), whole)


def test_what_makes_no_box_is_refused():
    for arguments, match in (
        (([2],), "no spatial axes"),
        (([1, 4, 4], 0.0), "fraction=0.0"),
        (([1, 4, 4], 1.5), "1.5"),
    ):
        with pytest.raises(ValueError, match=match):
            BoxMask(*arguments)
    with pytest.raises(ValueError, match="place=center must be centre or random"):
        BoxMask([1, 4, 4], place="center")
