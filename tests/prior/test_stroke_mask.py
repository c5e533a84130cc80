"""Laws of the free-form mask: its pixels are those near the segments, and its draws do not depend on the ranks."""

from __future__ import annotations

import math

import pytest
import torch

from saddlepoint.prior.stroke_mask import StrokeMask
from saddlepoint.stream import Stream


def draw(n, *arguments, rank=0, world=1, **settings):
    return StrokeMask(*arguments, **settings).sample(n, Stream(0, "hole", rank, world, joint=True))


def stroke_distance(u, settings, shape):
    """The least distance, less the radius, of each pixel to the strokes of one row of numbers, from points on them."""
    side, best = max(shape), torch.full(shape, math.inf)
    centre = torch.stack(torch.meshgrid(*(torch.arange(n) + 0.5 for n in shape), indexing="ij"), -1)
    per_stroke = u[1:].view(settings["strokes"], -1)
    for stroke in per_stroke[: int(u[0] * settings["strokes"]) + 1]:
        place = stroke[:2] * torch.tensor(shape)
        turn = math.pi if stroke[3] < 0.5 else 0
        for i in range(int(stroke[2] * settings["vertices"]) + 1):
            angle, length, brush = stroke[4 + 3 * i : 7 + 3 * i].tolist()
            direction = turn + settings["angle"] * angle * (1 if i % 2 == 0 else -1)
            step = settings["length"] * side * length * torch.tensor([math.sin(direction), math.cos(direction)])
            radius = max(0.5, settings["brush"] * side * brush / 2)
            for t in torch.linspace(0, 1, 400):
                gap = (centre - place - t * step).square().sum(-1).sqrt() - radius
                best = torch.minimum(best, gap)
            place = place + step
    return best


def test_a_pixel_is_masked_if_it_is_within_the_brush_of_a_segment():
    settings = {"strokes": 3, "vertices": 4, "length": 0.5, "brush": 0.3, "angle": 2.0}
    masks = draw(6, [3, 16, 24], **settings)
    numbers = Stream(0, "hole", joint=True).uniform(6, 1 + 3 * (4 + 3 * 4))
    for mask, u in zip(masks[:, 0], numbers, strict=True):
        distance = stroke_distance(u, settings, (16, 24))
        certain = distance.abs() > 0.02  # the points of the oracle are 0.03 pixels apart at most
        assert torch.equal(mask.bool()[certain], (distance < 0)[certain])
    assert masks.shape == (6, 1, 16, 24)
    assert set(masks.unique().tolist()) == {0.0, 1.0}


def test_masks_differ_and_cover_neither_nothing_nor_everything():
    mask = draw(200, [1, 32, 32])
    share = mask.mean((1, 2, 3))
    assert (share > 0).float().mean() > 0.98, "a stroke may leave the image at once"
    assert share.max() < 1
    assert share.std() > 0.03
    longer, wider = (draw(200, [1, 32, 32], **{key: 0.8}).mean() for key in ("length", "brush"))
    assert min(longer, wider) > share.mean()


def test_the_number_of_strokes_and_vertices_is_bounded_by_the_settings():
    one, many = draw(200, [1, 32, 32], strokes=1, vertices=1), draw(200, [1, 32, 32], strokes=8, vertices=12)
    assert many.mean() > 2 * one.mean()
    # one segment of at most 2 pixels, a pixel wide, touches few pixels
    assert draw(200, [1, 32, 32], strokes=1, vertices=1, length=2 / 32, brush=0.01).sum((1, 2, 3)).max() <= 6


def test_masks_do_not_depend_on_ranks_or_on_the_split_of_draws():
    full = draw(8, [1, 6, 6])
    assert torch.equal(torch.cat([draw(4, [1, 6, 6], rank=r, world=2) for r in (0, 1)]), full)
    stream, mask = Stream(0, "hole", joint=True), StrokeMask([1, 6, 6])
    assert torch.equal(torch.cat([mask.sample(3, stream), mask.sample(5, stream)]), full)


def test_invalid_arguments_are_refused():
    for settings, match in (
        ({"shape": [2]}, "must be that of images"),
        ({"strokes": 0}, "strokes=0"),
        ({"vertices": 0}, "vertices=0"),
        ({"length": 0.0}, "length=0.0"),
        ({"brush": 1.5}, "brush=1.5"),
        ({"angle": -1.0}, "angle=-1.0"),
    ):
        with pytest.raises(ValueError, match=match):
            StrokeMask(**{"shape": [1, 4, 4], **settings})
