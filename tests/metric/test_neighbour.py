"""Nearest neighbours match their definition, including ties; order and batches do not change the metrics."""

import math

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric import neighbour
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.density import Density
from saddlepoint.metric.neighbour import NeighbourMetric, count_balls, kth_nearest, neighbour_radius
from saddlepoint.metric.precision import Precision
from saddlepoint.metric.recall import Recall

PIECES = [Precision, Recall, Density, Coverage]


def gaussian(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def grid(n: int, seed: int = 0) -> Tensor:
    """Integer points in a small box, with many copies and equal distances."""
    return torch.randint(-3, 4, (n, 3), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize("rank", [1, 2, 6])
def test_the_nearest_match_the_definition(rank: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "ROWS", rows)
    x, y = gaussian(30), gaussian(25, seed=1)
    distance, index = kth_nearest(x, y, rank)
    for i, one in enumerate(x.double().tolist()):
        order = sorted((math.dist(one, other), j) for j, other in enumerate(y.double().tolist()))
        assert distance[i].item() == pytest.approx(order[rank - 1][0], rel=1e-14)
        assert index[i] == order[rank - 1][1]


@pytest.mark.parametrize("d", [1, 128, 2048])
def test_a_copy_is_at_distance_exactly_zero(d: int) -> None:
    x = 1e3 + gaussian(40, d)
    distance, index = kth_nearest(x, x)
    assert (distance == 0).all()
    assert torch.equal(index, torch.arange(40))
    assert (neighbour_radius(x.repeat(2, 1), 1) == 0).all()


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize("offset", [0, 10**6])
def test_ties_between_integers_are_decided_exactly(
    closed: bool, rows: int, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbour, "ROWS", rows)
    x, centre = grid(80), grid(60, seed=1)
    kth_distance = (centre[:, None] - centre).square().sum(2).sort(1).values[:, 2]  # integers: no rounding
    between = (x[:, None] - centre).square().sum(2)
    ties = (between == kth_distance) & (between > 0)
    assert ties.sum() > 100
    inside = (between < kth_distance) | (between == 0) | (ties if closed else torch.zeros_like(ties))
    counts = count_balls(x + offset, centre + offset, neighbour_radius(centre + offset, 2), closed)
    assert torch.equal(counts, inside.sum(1))


@pytest.mark.parametrize("d", [1, 3, 128, 2048])
def test_a_copy_of_the_kth_neighbour_lies_on_the_boundary_of_the_ball(d: int) -> None:
    x = gaussian(60, d)
    distance, index = kth_nearest(x, x, 4)
    for i in range(60):
        edge = x[index[i : i + 1]]
        assert count_balls(edge, x[i : i + 1], distance[i : i + 1], closed=True) == 1
        assert count_balls(edge, x[i : i + 1], distance[i : i + 1], closed=False) == 0


def test_a_distant_centre_does_not_change_the_others() -> None:
    x, centre = gaussian(80), gaussian(60, seed=1)
    far = torch.full((1, 4), 1e9)
    before = count_balls(x, centre, neighbour_radius(centre, 3), closed=True)
    after = count_balls(
        x, torch.cat([centre, far]), torch.cat([neighbour_radius(centre, 3), torch.zeros(1).double()]), closed=True
    )
    assert torch.equal(before, after)


def test_fewer_samples_than_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="need at least 4 samples, and there are 3: lower k"):
        neighbour_radius(gaussian(3), 3)


def compute(metric: NeighbourMetric, real: Tensor, fake: Tensor, batch: int = 1000) -> float:
    for chunk in real.split(batch):
        metric.update(Features(chunk), real=True)
    for chunk in fake.split(batch):
        metric.update(Features(chunk), real=False)
    return metric.compute().item()


@pytest.mark.parametrize("piece", PIECES)
def test_neither_order_nor_batches_matter(piece: type[NeighbourMetric]) -> None:
    real, fake = gaussian(90), 0.7 * gaussian(90, seed=1)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(2))
    value = compute(piece(), real, fake)  # pyright: ignore[reportCallIssue]
    assert 0.1 < value < 3
    assert value != 1
    assert compute(piece(), real, fake, batch=7) == value  # pyright: ignore[reportCallIssue]
    assert compute(piece(), real[order], fake[order.flip(0)]) == pytest.approx(value, rel=1e-12)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("n_fake", [50, 130])
def test_two_ranks_give_the_result_of_one_process(piece: type[NeighbourMetric], n_fake: int) -> None:
    real, fake = gaussian(90), 0.7 * gaussian(n_fake, seed=1)
    ranks = [piece(), piece()]  # pyright: ignore[reportCallIssue]
    reference = piece()  # pyright: ignore[reportCallIssue]
    reference.update(Features(real), real=True)
    for rank, chunk in zip(ranks, fake.tensor_split(2), strict=True):
        rank.set_reference(reference.reference(n_fake))
        rank.update(Features(chunk), real=False)
    others = iter([torch.cat(list(ranks[1].fake))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(
        dist_sync_fn=lambda mine, group: [mine, next(others)] if len(mine) else [mine],
        distributed_available=lambda: True,
    )
    ranks[0]._to_sync = False
    assert ranks[0].compute().item() == compute(piece(), real, fake)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("piece", PIECES)
def test_as_many_reals_as_fakes_are_chosen_and_the_same_for_every_metric(piece: type[NeighbourMetric]) -> None:
    metric, other = piece(), Coverage()  # pyright: ignore[reportCallIssue]
    for one in (metric, other):
        one.update(Features(gaussian(100)), real=True)
    chosen = metric.reference(40)["real"]
    assert len(chosen) == len(chosen.unique(dim=0)) == 40
    assert torch.equal(chosen, other.reference(40)["real"])
    assert not torch.equal(chosen, gaussian(100)[:40])
    assert metric.settings(100, 40) == {"k": metric.k, "N": 40, "M": 40, "seed": 0}


@pytest.mark.parametrize("piece", PIECES)
def test_too_few_samples_of_either_side_are_reported(piece: type[NeighbourMetric]) -> None:
    metric = piece()  # pyright: ignore[reportCallIssue]
    for n in ((metric.k, 100), (100, metric.k)):
        assert f"need {metric.k + 1} samples, and there are {metric.k}" in str(metric.why_not(*n))
    assert metric.why_not(metric.k + 1, metric.k + 1) is None
