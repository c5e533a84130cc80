import pytest
import torch

from saddlepoint.data.order import Order


def test_each_epoch_shows_every_item_once():
    order = Order(37, seed=5)
    for epoch in range(4):
        items = order.indices(37 * epoch, 37 * (epoch + 1))
        assert items.sort().values.equal(torch.arange(37))
        assert items.equal(order.permutation(epoch))


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    forwards, backwards = Order(50, seed=1), Order(50, seed=1)
    for epoch in (0, 1, 2, 3):
        forwards.permutation(epoch)
    torch.manual_seed(123)
    for epoch in (3, 0, 2, 1):
        assert backwards.permutation(epoch).equal(forwards.permutation(epoch))
    assert not Order(50, seed=2).permutation(0).equal(forwards.permutation(0))
    assert not forwards.permutation(1).equal(forwards.permutation(0))


@pytest.mark.parametrize("n", [1, 7, 40])
def test_a_stretch_is_the_sum_of_its_parts_across_epochs(n):
    order = Order(n, seed=3)
    whole = order.indices(0, 3 * n + 5)
    for a, b, c in [(0, 0, 3), (1, n, n + 2), (n - 1, 2 * n + 1, 3 * n + 5), (2, 3, 3 * n)]:
        joined = torch.cat([order.indices(a, b), Order(n, seed=3).indices(b, c)])
        assert joined.equal(order.indices(a, c))
        assert joined.equal(whole[a:c])


def test_drawing_an_order_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Order(100, seed=0).indices(0, 1000)
    assert torch.get_rng_state().equal(before)


def test_the_order_is_kept_across_versions():
    assert Order(10, seed=0).indices(8, 14).tolist() == [4, 3, 7, 4, 0, 9]
