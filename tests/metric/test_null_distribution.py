"""p values: they count draws, are never 0, and are uniform if the score is a null draw."""

import pytest
import torch

from saddlepoint.metric.per_class import null_comparison, p_value


def test_p_counts_the_draws_that_are_as_bad_plus_one() -> None:
    null, observed = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor(3.0)
    assert p_value(observed, null, higher_is_better=False).item() == pytest.approx(3 / 5)  # 3, 4 and itself
    assert p_value(observed, null, higher_is_better=True).item() == pytest.approx(4 / 5)  # 1, 2, 3 and itself
    assert p_value(torch.tensor(9.0), null, higher_is_better=False).item() == pytest.approx(1 / 5)


def test_p_is_uniform_if_the_score_is_a_null_draw() -> None:
    draws = torch.randn(20, 5000, generator=torch.Generator().manual_seed(0))
    for higher in (True, False):
        p = p_value(draws[0], draws[1:], higher)
        counts = (p * 20).round().to(torch.int64).bincount(minlength=21)[1:]
        assert counts.sum() == 5000
        assert (counts - 250).abs().max() < 5 * 250**0.5


def test_a_null_comparison_has_plain_values() -> None:
    comparison = null_comparison(torch.tensor(0.5), torch.arange(101) / 100, higher_is_better=False)
    assert comparison["p"] == pytest.approx(52 / 102)
    assert comparison["null"] == pytest.approx({"mean": 0.5, "5%": 0.05, "50%": 0.5, "95%": 0.95, "draws": 101})
