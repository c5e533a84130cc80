"""Modes of rings and grids: k of M modes give k and ln(M / k), and perfect samplers the expected scores."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from saddlepoint.data.gaussians import Gaussians
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric.modes import Modes, mode_counts

GOOD = 1 - math.exp(-9 / 2)


def sampler(data: Gaussians, k: int, n: int = 2500, seed: int = 0, width: float = 1.0) -> Tensor:
    """Return n points, equally many of each of the first k modes."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return data.modes[torch.arange(n) % k] + width * data.sigma * noise


def scores(data: Gaussians, x: Tensor, **settings: float) -> dict[str, float]:
    metric = Modes(**settings)
    assert metric.setup(data) is None
    for chunk in x.split(700):
        metric.update(Features(torch.zeros(len(chunk), 1), x=chunk), real=False)
    return {suffix: float(result.value) for suffix, result in metric.results().items()}


@pytest.mark.parametrize(("kind", "m"), [("ring-P", 8), ("ring-W", 8), ("grid-P", 25), ("grid-W", 25)])
def test_a_sampler_of_k_modes_captures_k_with_the_expected_kl(kind: str, m: int) -> None:
    data = Gaussians(kind)
    for k in range(1, m + 1):
        results = scores(data, sampler(data, k))
        assert results["captured"] == k
        assert results["reverse_kl"] == pytest.approx(math.log(m / k), abs=0.01)
        assert results["high_quality"] == pytest.approx(GOOD, abs=5 * (GOOD * (1 - GOOD) / 2500) ** 0.5)


def test_a_ring_of_unequal_weights_has_kl_zero_only_with_its_weights() -> None:
    data = Gaussians("ring-U")
    slots = torch.tensor(data.slots)
    matching = data.modes[slots[torch.arange(2400) % 8]]
    assert scores(data, matching) == {"captured": 7, "high_quality": 1, "reverse_kl": pytest.approx(0, abs=1e-12)}
    even = data.modes[torch.arange(2100) % 7]
    expected = sum(math.log((1 / 7) / weight) / 7 for weight in data.weights.tolist())
    assert scores(data, even)["reverse_kl"] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("kind", "floor"), [("ring-P", 0.00141), ("ring-U", 0.00121), ("grid-P", 0.0048)])
def test_perfect_samplers_have_the_expected_scores(kind: str, floor: float) -> None:
    data = Gaussians(kind)
    metric = Modes()
    metric.setup(data)
    expected = metric.anchor_scores(2500)["perfect sampler"]
    assert expected["high_quality"] == pytest.approx(GOOD, abs=1e-12)
    assert expected["high_quality"] == pytest.approx(0.9889, abs=5e-5)
    assert expected["captured"] == pytest.approx(len(data.modes), abs=1e-9)
    assert expected["reverse_kl"] == pytest.approx(floor, rel=0.02)
    points = data.split("train").x  # drawn from the mixture with its weights
    results = [scores(data, chunk) for chunk in points.split(2500)]
    for suffix, value in expected.items():
        observed = torch.tensor([one[suffix] for one in results], dtype=torch.float64)
        assert abs(observed.mean() - value) <= 4 * observed.std() / len(results) ** 0.5 + 1e-12


def test_a_narrower_sampler_has_a_higher_quality_than_the_data() -> None:
    data = Gaussians()
    assert scores(data, sampler(data, 8, width=0.5))["high_quality"] > 0.9995
    assert scores(data, sampler(data, 8, width=2.0))["high_quality"] == pytest.approx(1 - math.exp(-9 / 8), abs=0.03)


def test_points_on_the_boundary_are_not_of_high_quality() -> None:
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    x = torch.tensor([[0.0, 2.9], [0.0, 3.0], [4.0, 0.0], [9.0, 1.0], [6.0, 0.0], [10.0, 0.0], [float("nan"), 0.0]])
    assert mode_counts(x, modes, 1.0).tolist() == [1, 2, 4]
    assert mode_counts(x, modes, 1.0, deviations=5.0).tolist() == [3, 3, 1]
    assert mode_counts(x, modes, 0.5).tolist() == [0, 2, 5]


def test_without_points_of_high_quality_there_is_a_note_and_no_reverse_kl() -> None:
    data = Gaussians()
    metric = Modes()
    metric.setup(data)
    metric.update(Features(torch.zeros(5, 2), x=torch.zeros(5, 2)), real=False)
    results = metric.results()
    assert {suffix: float(result.value) for suffix, result in results.items()} == {"captured": 0, "high_quality": 0}
    assert "no reverse KL" in results["captured"].detail["note"]


def test_the_detail_has_the_points_of_each_mode() -> None:
    data = Gaussians()
    metric = Modes()
    metric.setup(data)
    metric.update(Features(torch.zeros(800, 1), x=data.modes[torch.arange(800) % 4]), real=False)
    rows = metric.results()["captured"].detail["modes"]
    assert [row["points"] for row in rows] == [200] * 4 + [0] * 4
    assert rows[0] == {"mode": "1, 0", "points": 200, "weight": 0.125}
    assert [row["mode"] for row in rows[2:5]] == ["0, 1", "-0.707, 0.707", "-1, 0"]  # and not 6.12e-17


def test_ranks_give_the_scores_of_one_process() -> None:
    data, x = Gaussians(), sampler(Gaussians(), 5, 900)
    ranks = [Modes(), Modes()]
    for rank, chunk in zip(ranks, (x[:500], x[500:]), strict=True):
        rank.setup(data)
        for batch in chunk.split(130):
            rank.update(Features(batch, x=batch), real=False)
    others = iter([torch.cat(list(ranks[1].counts))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    joined = {suffix: float(result.value) for suffix, result in ranks[0].results().items()}
    assert joined == scores(data, x)


def test_data_without_modes_are_left_out_with_a_reason(points) -> None:
    assert "do not define any" in str(Modes().setup(points()))
    messages: list[str] = []
    evaluator = Evaluator(Identity((3,)), {"modes": Modes()}, n=40, log=messages.append)
    x = points().split("test").x
    assert evaluator(lambda n: x[:n], points()) == {}
    assert messages == [
        "modes is left out: it needs to know the modes, and these data do not define any (data=gaussians does)."
    ]
    alone = Evaluator(Identity((2,)), {"modes": Modes()}, n=40, log=messages.append)
    assert alone(lambda n: torch.zeros(n, 2), Gaussians(number=50).split("train")) == {}  # a split has no modes
    with pytest.raises(ValueError, match="setup"):
        Modes().update(Features(x, x=x), real=False)


def test_an_evaluation_returns_all_three_scores_and_the_anchor() -> None:
    data = Gaussians(number=500)
    evaluator = Evaluator(Identity((2,)), {"modes": Modes()}, n=2500)
    stream = torch.Generator().manual_seed(3)
    results = evaluator(lambda n: data.modes[torch.randint(6, (n,), generator=stream)], data)
    names = [f"modes_{suffix}_identity_2500_train" for suffix in ("captured", "high_quality", "reverse_kl")]
    assert sorted(results) == names
    assert results[names[0]].value == 6
    assert results[names[0]].contract.settings == {"deviations": 3.0}
    assert evaluator.higher_is_better == {"modes_captured": True, "modes_high_quality": True, "modes_reverse_kl": False}
    anchors = evaluator.measure_anchors(data)
    assert anchors["perfect sampler"][names[1]].value == pytest.approx(GOOD)
    assert anchors["10 memorised"][names[0]].value <= 8
    assert set(anchors["real"]) == set(anchors["perfect sampler"])


def test_the_quality_of_a_perfect_sampler_depends_on_the_dimension() -> None:
    """99.73% within 3 deviations in 1-D; in 3-D by the chi-square distribution with 3 degrees of freedom."""
    for dim in (1, 3):
        metric = Modes()
        metric.setup(SimpleNamespace(modes=torch.eye(2, dim) * 100, sigma=1.0))  # pyright: ignore[reportArgumentType]
        draws = torch.randn(200_000, dim, generator=torch.Generator().manual_seed(0))
        observed = (draws.norm(dim=1) < 3).double().mean().item()
        assert metric.anchor_scores(100)["perfect sampler"]["high_quality"] == pytest.approx(observed, abs=1e-3)


def test_a_radius_that_is_not_positive_is_refused() -> None:
    with pytest.raises(Mistake, match=r"modes\.deviations=0"):
        Modes(deviations=0)
