"""Class modes: k classes read as k and ln(K / k); the floors; Stacked-MNIST's real control."""

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from saddlepoint.data.stacked_mnist import StackedMNIST
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.extractor.stacked import Stacked
from saddlepoint.metric.class_modes import ClassModes
from saddlepoint.metric.per_class import class_counts

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))
real = pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}: set SADDLEPOINT_DATA")
K = 1000


def read(classes: Tensor, k: int = K) -> Features:
    """What a perfect labeller says of samples of these classes."""
    return Features(torch.zeros(len(classes), 1), 9.0 * torch.nn.functional.one_hot(classes, k))


def scores(classes: Tensor, metric: ClassModes | None = None, k: int = K) -> dict[str, float]:
    metric = metric or ClassModes()
    for part in classes.split(1000):
        metric.update(read(part, k), real=False)
    return {suffix: float(result.value) for suffix, result in metric.results().items()}


def drawn(k: int, n: int, seed: int = 0) -> Tensor:
    return torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))


def test_one_class_is_one_mode_and_the_log_of_all() -> None:
    found = scores(torch.full((2600,), 123))
    assert found == {"captured": 1, "captured_20": 1, "kl": pytest.approx(math.log(1000))}


@pytest.mark.parametrize("k", [10, 100, 500, 1000])
def test_a_sampler_on_k_classes_reports_k_and_the_log_of_the_ratio_above_its_floor(k: int) -> None:
    n = 26_000
    even = scores(torch.arange(n // k * k) % k)
    assert even == {"captured": k, "captured_20": k, "kl": pytest.approx(math.log(K / k), abs=1e-9)}
    found = scores(drawn(k, n))
    assert found["captured"] == k
    deviation = ((k - 1) / 2) ** 0.5 / n  # of the floor: 2 n KL is chi-square with k - 1 degrees of freedom
    assert found["kl"] - math.log(K / k) == pytest.approx((k - 1) / (2 * n), abs=5 * deviation + 3e-4)


def test_counts_are_of_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [-3.0, -1.0, -2.0], [5.0, 4.0, 3.0]])
    assert class_counts(Features(logits, logits)).tolist() == [[1, 2, 0]]


def test_twenty_samples_count_and_nineteen_do_not() -> None:
    found = scores(torch.tensor([0] * 20 + [1] * 19 + [2] * 21))
    assert (found["captured"], found["captured_20"]) == (3, 2)


def test_the_anchor_of_a_perfect_sampler_is_the_known_floor() -> None:
    metric = ClassModes()
    assert metric.anchor_values(100) == {}  # how many classes there are is not yet known
    found = scores(drawn(K, 26_000, seed=5), metric)
    floors = metric.anchor_values(26_000)["perfect sampler"]
    assert floors["captured"] == pytest.approx(1000, abs=1e-6)
    assert floors["kl"] == pytest.approx(0.0192, abs=3e-4)
    assert found["kl"] == pytest.approx(floors["kl"], abs=5 * 0.0009)
    assert found["captured_20"] == pytest.approx(floors["captured_20"], abs=50)
    assert metric.anchor_values(2500)["perfect sampler"]["captured"] == pytest.approx(918, abs=0.1)


def test_against_the_data_a_sampler_of_their_frequencies_is_at_the_floor_and_against_uniform_it_is_not() -> None:
    p = torch.linspace(1, 3, 50)
    draws = torch.Generator().manual_seed(0)
    reals, fakes = (
        torch.multinomial(p, 200_000, True, generator=draws),
        torch.multinomial(p, 20_000, True, generator=draws),
    )
    metric = ClassModes(against="data")
    metric.update(read(reals, 50), real=True)
    found = scores(fakes, metric, 50)
    assert found["kl"] == pytest.approx(49 / 40_000 + 49 / 400_000, abs=5e-4)
    assert scores(fakes, k=50)["kl"] > 0.04
    cached = ClassModes(against="data")
    cached.set_reference(metric.reference(20_000))
    assert scores(fakes, cached, 50) == found
    assert metric.needs_reals
    assert not ClassModes().needs_reals


def test_a_class_that_no_real_has_leaves_the_kl_out_and_says_so() -> None:
    metric = ClassModes(against="data")
    metric.update(read(torch.tensor([0, 0, 1]), 3), real=True)
    metric.update(read(torch.tensor([0, 1, 2]), 3), real=False)
    found = metric.results()
    assert set(found) == {"captured", "captured_20"}
    assert "infinite" in found["captured"].detail["note"]


def test_ranks_that_take_parts_of_the_samples_give_what_one_process_does() -> None:
    classes = drawn(30, 900)
    ranks = [ClassModes(), ClassModes()]
    for rank, part in zip(ranks, (classes[:500], classes[500:]), strict=True):
        for batch in part.split(130):
            rank.update(read(batch), real=False)
    rows = [torch.cat(list(ranks[1].fake))]  # pyright: ignore[reportArgumentType]
    theirs = {"fake": iter(rows)}
    ranks[0].sync(
        dist_sync_fn=lambda mine, group: [mine, next(theirs["fake"], mine[:0])] if mine.numel() else [mine],
        distributed_available=lambda: True,
    )
    ranks[0]._to_sync = False
    assert {suffix: float(result.value) for suffix, result in ranks[0].results().items()} == scores(classes)


class Brightest(Extractor):
    """Takes the index of the largest of four numbers for the class."""

    name, sha256, classes = "brightest", "0" * 64, 4
    dim, shape = 4, (4,)

    def forward(self, x: Tensor) -> Features:
        return Features(x, x)


def test_an_evaluation_gives_all_three_with_the_perfect_sampler_beside_them(points) -> None:
    data = points(dim=4)
    evaluator = Evaluator(Brightest(), {"class_modes": ClassModes()}, n=80)
    found = evaluator(lambda n: torch.eye(4)[torch.arange(n) % 2] + torch.zeros(n, 4), data)
    assert {key: score.value for key, score in found.items()} == {
        "class_modes_captured_brightest_80_train": 2,
        "class_modes_captured_20_brightest_80_train": 2,
        "class_modes_kl_brightest_80_train": pytest.approx(math.log(2)),
    }
    perfect = evaluator.anchor_scores(data)["perfect sampler"]
    assert perfect["class_modes_kl_brightest_80_train"].value == pytest.approx(3 / 160, rel=0.05)
    assert found["class_modes_captured_brightest_80_train"].detail["counts"] == [40, 40, 0, 0]
    against = Evaluator(Brightest(), {"class_modes": ClassModes("data")}, n=80)
    scored = against(lambda n: data.split("train").x[:n], data)
    assert scored["class_modes_kl_brightest_80_train"].contract.settings == {"against": "data"}
    assert 0 < scored["class_modes_kl_brightest_80_train"].value < 0.1


def test_a_law_of_another_name_is_refused() -> None:
    with pytest.raises(Mistake, match="choose uniform or data"):
        ClassModes(against="train")


def controlled(n: int) -> tuple[dict[str, float], float, list[int]]:
    """The scores of the first n real test stacks, how often they are read right, and how many are of each class."""
    split = StackedMNIST(REAL, number=1).split("test")
    ruler, metric, right = Stacked(Shipped("mnist")), ClassModes(), 0
    labels: list[Tensor] = []
    with torch.no_grad():
        for index in torch.arange(n).split(500):
            x, y = split[index]
            assert y is not None
            found = ruler(x)
            assert found.logits is not None
            right += int((found.logits.argmax(1) == y).sum())
            labels.append(y)
            metric.update(found, real=False)
    scored = {suffix: float(result.value) for suffix, result in metric.results().items()}
    return scored, right / n, torch.cat(labels).bincount(minlength=K).tolist()


@real
def test_few_real_stacks_are_read_as_their_labels_say() -> None:
    found, right, counts = controlled(1000)
    assert right > 0.97  # .9954 cubed is .986
    assert found["captured"] == pytest.approx(sum(count > 0 for count in counts), abs=20)


@real
@pytest.mark.slow  # 78,000 digits: a minute or two on a free core
@pytest.mark.timeout(1200)
def test_26000_held_out_real_stacks_reach_all_modes_at_the_floor() -> None:
    found, right, _ = controlled(26_000)
    assert found["captured"] == 1000
    assert 0.019 < found["kl"] < 0.03
    assert right == pytest.approx(0.9954**3, abs=0.002)
