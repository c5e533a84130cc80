"""Class modes: k classes give k and ln(K / k); expected values of perfect samplers; real stacks of Stacked-MNIST."""

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


def predicted(classes: Tensor, k: int = K) -> Features:
    """Features with the logits of a perfect classifier for samples of these classes."""
    return Features(torch.zeros(len(classes), 1), 9.0 * torch.nn.functional.one_hot(classes, k))


def scores(classes: Tensor, metric: ClassModes | None = None, k: int = K) -> dict[str, float]:
    metric = metric or ClassModes()
    for chunk in classes.split(1000):
        metric.update(predicted(chunk, k), real=False)
    return {suffix: float(result.value) for suffix, result in metric.results().items()}


def uniform_classes(k: int, n: int, seed: int = 0) -> Tensor:
    return torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))


def test_one_class_is_one_mode_with_a_kl_of_log_k() -> None:
    results = scores(torch.full((2600,), 123))
    assert results == {"captured": 1, "captured_20": 1, "kl": pytest.approx(math.log(1000))}


@pytest.mark.parametrize("k", [10, 100, 500, 1000])
def test_a_sampler_of_k_classes_captures_k_with_the_expected_kl(k: int) -> None:
    n = 26_000
    even = scores(torch.arange(n // k * k) % k)
    assert even == {"captured": k, "captured_20": k, "kl": pytest.approx(math.log(K / k), abs=1e-9)}
    results = scores(uniform_classes(k, n))
    assert results["captured"] == k
    deviation = ((k - 1) / 2) ** 0.5 / n  # of the KL: 2 n KL is chi-square with k - 1 degrees of freedom
    assert results["kl"] - math.log(K / k) == pytest.approx((k - 1) / (2 * n), abs=5 * deviation + 3e-4)


def test_counts_are_of_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [-3.0, -1.0, -2.0], [5.0, 4.0, 3.0]])
    assert class_counts(Features(logits, logits)).tolist() == [[1, 2, 0]]


def test_twenty_samples_count_and_nineteen_do_not() -> None:
    results = scores(torch.tensor([0] * 20 + [1] * 19 + [2] * 21))
    assert (results["captured"], results["captured_20"]) == (3, 2)


def test_the_anchor_of_a_perfect_sampler_has_the_known_values() -> None:
    metric = ClassModes()
    assert metric.anchor_scores(100) == {}  # the number of classes is not known yet
    results = scores(uniform_classes(K, 26_000, seed=5), metric)
    floors = metric.anchor_scores(26_000)["perfect sampler"]
    assert floors["captured"] == pytest.approx(1000, abs=1e-6)
    assert floors["kl"] == pytest.approx(0.0192, abs=3e-4)
    assert results["kl"] == pytest.approx(floors["kl"], abs=5 * 0.0009)
    assert results["captured_20"] == pytest.approx(floors["captured_20"], abs=50)
    assert metric.anchor_scores(2500)["perfect sampler"]["captured"] == pytest.approx(918, abs=0.1)


def test_a_sampler_of_the_data_frequencies_has_a_small_kl_against_the_data_only() -> None:
    p = torch.linspace(1, 3, 50)
    draws = torch.Generator().manual_seed(0)
    reals, fakes = (
        torch.multinomial(p, 200_000, True, generator=draws),
        torch.multinomial(p, 20_000, True, generator=draws),
    )
    metric = ClassModes(against="data")
    metric.update(predicted(reals, 50), real=True)
    results = scores(fakes, metric, 50)
    assert results["kl"] == pytest.approx(49 / 40_000 + 49 / 400_000, abs=5e-4)
    assert scores(fakes, k=50)["kl"] > 0.04
    cached = ClassModes(against="data")
    cached.set_reference(metric.reference(20_000))
    assert scores(fakes, cached, 50) == results
    assert metric.needs_reals
    assert not ClassModes().needs_reals


def test_a_class_without_reals_leaves_out_the_kl_with_a_note() -> None:
    metric = ClassModes(against="data")
    metric.update(predicted(torch.tensor([0, 0, 1]), 3), real=True)
    metric.update(predicted(torch.tensor([0, 1, 2]), 3), real=False)
    results = metric.results()
    assert set(results) == {"captured", "captured_20"}
    assert "infinite" in results["captured"].detail["note"]


def test_ranks_give_the_scores_of_one_process() -> None:
    classes = uniform_classes(30, 900)
    ranks = [ClassModes(), ClassModes()]
    for rank, chunk in zip(ranks, (classes[:500], classes[500:]), strict=True):
        for batch in chunk.split(130):
            rank.update(predicted(batch), real=False)
    rows = [torch.cat(list(ranks[1].fake))]  # pyright: ignore[reportArgumentType]
    other_rank = {"fake": iter(rows)}
    ranks[0].sync(
        dist_sync_fn=lambda mine, group: [mine, next(other_rank["fake"], mine[:0])] if mine.numel() else [mine],
        distributed_available=lambda: True,
    )
    ranks[0]._to_sync = False
    assert {suffix: float(result.value) for suffix, result in ranks[0].results().items()} == scores(classes)


class Brightest(Extractor):
    """Predicts the index of the largest of four numbers as the class."""

    name, sha256, classes = "brightest", "0" * 64, 4
    dim, shape = 4, (4,)

    def forward(self, x: Tensor) -> Features:
        return Features(x, x)


def test_an_evaluation_returns_all_three_scores_and_the_anchor(points) -> None:
    data = points(dim=4)
    evaluator = Evaluator(Brightest(), {"class_modes": ClassModes()}, n=80)
    results = evaluator(lambda n: torch.eye(4)[torch.arange(n) % 2] + torch.zeros(n, 4), data)
    assert {key: score.value for key, score in results.items()} == {
        "class_modes_captured_brightest_80_train": 2,
        "class_modes_captured_20_brightest_80_train": 2,
        "class_modes_kl_brightest_80_train": pytest.approx(math.log(2)),
    }
    perfect = evaluator.measure_anchors(data)["perfect sampler"]
    assert perfect["class_modes_kl_brightest_80_train"].value == pytest.approx(3 / 160, rel=0.05)
    assert results["class_modes_captured_brightest_80_train"].detail["counts"] == [40, 40, 0, 0]
    against = Evaluator(Brightest(), {"class_modes": ClassModes("data")}, n=80)
    scores_by_suffix = against(lambda n: data.split("train").x[:n], data)
    assert scores_by_suffix["class_modes_kl_brightest_80_train"].contract.settings == {"against": "data"}
    assert 0 < scores_by_suffix["class_modes_kl_brightest_80_train"].value < 0.1


def test_an_unknown_distribution_is_refused() -> None:
    with pytest.raises(Mistake, match="choose uniform or data"):
        ClassModes(against="train")


def score_real_stacks(n: int) -> tuple[dict[str, float], float, list[int]]:
    """Return the scores of the first n real test stacks, the extractor's accuracy, and the number of each class."""
    split = StackedMNIST(REAL, number=1).split("test")
    extractor, metric, n_correct = Stacked(Shipped("mnist")), ClassModes(), 0
    labels: list[Tensor] = []
    with torch.no_grad():
        for index in torch.arange(n).split(500):
            x, y = split[index]
            assert y is not None
            results = extractor(x)
            assert results.logits is not None
            n_correct += int((results.logits.argmax(1) == y).sum())
            labels.append(y)
            metric.update(results, real=False)
    scores_by_suffix = {suffix: float(result.value) for suffix, result in metric.results().items()}
    return scores_by_suffix, n_correct / n, torch.cat(labels).bincount(minlength=K).tolist()


@real
def test_a_few_real_stacks_are_classified_as_labelled() -> None:
    results, accuracy, counts = score_real_stacks(1000)
    assert accuracy > 0.97  # .9954 cubed is .986
    assert results["captured"] == pytest.approx(sum(count > 0 for count in counts), abs=20)


@real
@pytest.mark.slow  # 78,000 digits: one to two minutes on an idle core
@pytest.mark.timeout(1200)
def test_26000_held_out_real_stacks_reach_all_modes_at_the_floor() -> None:
    results, accuracy, _ = score_real_stacks(26_000)
    assert results["captured"] == 1000
    assert 0.019 < results["kl"] < 0.03
    assert accuracy == pytest.approx(0.9954**3, abs=0.002)
