"""Class agreement: a share of fakes, per class, that neither batches nor reals change."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import one_hot

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.class_agreement import ClassAgreement

PREDICTED = torch.tensor([0, 0, 1, 1, 2, 0])
LABEL = torch.tensor([0, 0, 1, 0, 2, 2])  # class 0: two of three, class 1: one of one, class 2: one of two


def agreement(size: int) -> ClassAgreement:
    metric = ClassAgreement()
    assert metric.setup(SimpleNamespace(classes=4)) is None  # pyright: ignore[reportArgumentType]
    for rows in torch.arange(len(LABEL)).split(size):
        logits = one_hot(PREDICTED[rows], 4).float()
        metric.update(Features(torch.zeros(len(rows), 1), logits, y=LABEL[rows]), real=False)
        metric.update(Features(torch.zeros(len(rows), 1), -logits, y=LABEL[rows]), real=True)
    return metric


@pytest.mark.parametrize("size", [1, 4, 6])
def test_the_agreement_is_the_share_of_fakes_predicted_to_be_of_their_class(size: int) -> None:
    result = agreement(size).compute()
    assert float(result.value) == pytest.approx(4 / 6)
    assert result.detail == {"class_agreement": [2 / 3, 1.0, 0.5, None]}
    assert result.n == 6


def test_data_without_classes_and_fakes_without_classes_are_refused() -> None:
    metric = ClassAgreement()
    assert "no labels" in str(metric.setup(SimpleNamespace(classes=None)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="these have none"):
        metric.update(Features(torch.zeros(2, 1), torch.zeros(2, 4)), real=False)
