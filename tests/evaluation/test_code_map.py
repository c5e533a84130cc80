"""Maps from codes to classes: the best one-to-one map, against all permutations, and the majority."""

from itertools import permutations

import pytest
import torch

from saddlepoint.evaluation.code_map import CodeMap, confusion, majority, one_to_one


@pytest.mark.parametrize("seed", range(4))
def test_the_one_to_one_map_has_the_most_agreements_of_all_permutations(seed: int) -> None:
    counts = torch.randint(0, 50, (5, 5), generator=torch.Generator().manual_seed(seed))
    most = max(sum(int(counts[code, y]) for code, y in enumerate(order)) for order in permutations(range(5)))
    best = one_to_one(counts)
    assert best.classes.sort().values.tolist() == [0, 1, 2, 3, 4]
    assert best.accuracy(counts) == most / int(counts.sum())
    assert majority(counts).accuracy(counts) == int(counts.max(1).values.sum()) / int(counts.sum())
    assert majority(counts).accuracy(counts) >= best.accuracy(counts)


def test_renaming_the_codes_changes_no_accuracy() -> None:
    counts = torch.randint(0, 50, (6, 6), generator=torch.Generator().manual_seed(1))
    renamed = counts[torch.tensor([3, 0, 5, 1, 4, 2])]
    for fit in (one_to_one, majority):
        assert fit(renamed).accuracy(renamed) == fit(counts).accuracy(counts)


def test_a_map_is_scored_on_other_samples_than_it_is_fitted_on() -> None:
    fitted = confusion(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0]), 2, 2)
    measured = confusion(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 0, 1, 1]), 2, 2)
    assert fitted.tolist() == [[0, 2], [1, 0]]
    assert one_to_one(fitted).classes.tolist() == [1, 0]
    assert one_to_one(fitted).accuracy(measured) == 1 / 4


def test_a_code_without_a_class_is_always_wrong() -> None:
    counts = torch.tensor([[9, 0], [0, 8], [5, 1]])
    assert one_to_one(counts).classes.tolist() == [0, 1, -1]
    assert one_to_one(counts).accuracy(counts) == 17 / 23
    assert CodeMap(torch.tensor([-1, -1, -1])).accuracy(counts) == 0
