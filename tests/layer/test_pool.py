"""Laws of a pool of past fakes."""

from __future__ import annotations

import pytest
import torch

from saddlepoint.layer.pool import Pool


def rows(start, n=4):
    return torch.arange(start, start + n, dtype=torch.float32)[:, None]


def test_until_it_is_full_every_fake_is_shown_as_it_is_and_kept():
    pool = Pool(size=8)
    assert torch.equal(pool(rows(0)), rows(0))
    assert torch.equal(pool(rows(4)), rows(4))
    assert torch.equal(pool.kept, rows(0, 8))


def test_a_full_pool_shows_half_of_the_time_an_earlier_one_whose_place_the_new_one_takes():
    pool, shown = Pool(size=50, seed=3), []
    for i in range(0, 4000, 4):
        shown.append(pool(rows(i)))
    at = torch.cat(shown)[:, 0]
    new = (at == torch.arange(4000)).float()[50:].mean().item()
    assert new == pytest.approx(0.5, abs=4 * (0.25 / 3950) ** 0.5)
    held = set(pool.kept[:, 0].tolist())
    assert set(at.tolist()) == set(range(4000)) - {fake for fake in held if fake >= 50}
    assert (at <= torch.arange(4000)).all()
    assert len(pool.kept) == 50


def test_what_is_kept_and_what_was_shown_are_together_all_that_was_handed_over():
    pool, shown = Pool(size=5, seed=1), set()
    for i in range(0, 200, 4):
        shown |= set(pool(rows(i))[:, 0].tolist())
    assert shown | set(pool.kept[:, 0].tolist()) == set(range(200))


def test_it_is_a_constant_and_shows_everything_as_it_is_at_size_0_and_in_evaluation_mode():
    x = rows(0).requires_grad_()
    assert not Pool(4)(x).requires_grad
    full = Pool(4)
    full(rows(0))
    assert torch.equal(full.eval()(rows(100)), rows(100))
    assert torch.equal(Pool(0)(rows(7)), rows(7))
    assert len(full.kept) == 4


def test_a_pool_goes_on_from_its_state_bit_for_bit():
    one, other = Pool(size=6, seed=2), Pool(size=6, seed=9)
    for i in range(0, 40, 4):
        one(rows(i))
    other.load_state_dict(one.state_dict())
    for i in range(40, 80, 4):
        assert torch.equal(one(rows(i)), other(rows(i)))


@pytest.mark.parametrize("size", [-1, 2.5])
def test_a_size_that_makes_no_pool_is_refused(size):
    with pytest.raises(ValueError, match=f"size={size}"):
        Pool(size)
