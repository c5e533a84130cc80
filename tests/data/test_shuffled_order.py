import pytest
import torch

from saddlepoint.data.shuffled_order import ShuffledOrder


def test_each_epoch_has_every_item_once():
    order = ShuffledOrder(37, seed=5)
    for epoch in range(4):
        items = order.indices(37 * epoch, 37 * (epoch + 1))
        assert items.sort().values.equal(torch.arange(37))
        assert items.equal(order.permutation(epoch))


def test_the_order_depends_on_seed_and_epoch_only():
    forwards, backwards = ShuffledOrder(50, seed=1), ShuffledOrder(50, seed=1)
    for epoch in (0, 1, 2, 3):
        forwards.permutation(epoch)
    torch.manual_seed(123)
    for epoch in (3, 0, 2, 1):
        assert backwards.permutation(epoch).equal(forwards.permutation(epoch))
    assert not ShuffledOrder(50, seed=2).permutation(0).equal(forwards.permutation(0))
    assert not forwards.permutation(1).equal(forwards.permutation(0))


@pytest.mark.parametrize("n", [1, 7, 40])
def test_indices_in_chunks_equal_the_indices_at_once_across_epochs(n):
    order = ShuffledOrder(n, seed=3)
    whole = order.indices(0, 3 * n + 5)
    for a, b, c in [(0, 0, 3), (1, n, n + 2), (n - 1, 2 * n + 1, 3 * n + 5), (2, 3, 3 * n)]:
        joined = torch.cat([order.indices(a, b), ShuffledOrder(n, seed=3).indices(b, c)])
        assert joined.equal(order.indices(a, c))
        assert joined.equal(whole[a:c])


def test_drawing_an_order_does_not_change_the_global_generator():
    before = torch.get_rng_state()
    ShuffledOrder(100, seed=0).indices(0, 1000)
    assert torch.get_rng_state().equal(before)


def test_the_order_is_fixed_across_versions():
    assert ShuffledOrder(10, seed=0).indices(8, 14).tolist() == [4, 3, 7, 4, 0, 9]
