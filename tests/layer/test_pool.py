"""Laws of a pool of past fakes."""

from __future__ import annotations

import pytest
import torch

from saddlepoint.layer.pool import Pool


def rows(start, n=4):
    return torch.arange(start, start + n, dtype=torch.float32)[:, None]


def test_until_the_pool_is_full_every_fake_is_returned_and_stored():
    pool = Pool(size=8)
    assert torch.equal(pool(rows(0)), rows(0))
    assert torch.equal(pool(rows(4)), rows(4))
    assert torch.equal(pool.kept, rows(0, 8))


def test_a_full_pool_returns_and_replaces_an_earlier_fake_half_of_the_time():
    pool, outputs = Pool(size=50, seed=3), []
    for i in range(0, 4000, 4):
        outputs.append(pool(rows(i)))
    returned = torch.cat(outputs)[:, 0]
    new = (returned == torch.arange(4000)).float()[50:].mean().item()
    assert new == pytest.approx(0.5, abs=4 * (0.25 / 3950) ** 0.5)
    pooled = set(pool.kept[:, 0].tolist())
    assert set(returned.tolist()) == set(range(4000)) - {fake for fake in pooled if fake >= 50}
    assert (returned <= torch.arange(4000)).all()
    assert len(pool.kept) == 50


def test_stored_and_returned_fakes_together_are_all_inputs():
    pool, returned = Pool(size=5, seed=1), set()
    for i in range(0, 200, 4):
        returned |= set(pool(rows(i))[:, 0].tolist())
    assert returned | set(pool.kept[:, 0].tolist()) == set(range(200))


def test_at_size_0_and_in_evaluation_mode_x_is_returned_without_gradient():
    x = rows(0).requires_grad_()
    assert not Pool(4)(x).requires_grad
    full = Pool(4)
    full(rows(0))
    assert torch.equal(full.eval()(rows(100)), rows(100))
    assert torch.equal(Pool(0)(rows(7)), rows(7))
    assert len(full.kept) == 4


def test_a_restored_pool_continues_bit_for_bit():
    one, other = Pool(size=6, seed=2), Pool(size=6, seed=9)
    for i in range(0, 40, 4):
        one(rows(i))
    other.load_state_dict(one.state_dict())
    for i in range(40, 80, 4):
        assert torch.equal(one(rows(i)), other(rows(i)))


@pytest.mark.parametrize("size", [-1, 2.5])
def test_an_invalid_size_is_refused(size):
    with pytest.raises(ValueError, match=f"size={size}"):
        Pool(size)
