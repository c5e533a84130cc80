"""Class agreement after the best permutation: 1 for a permuted generator, the largest of all permutations otherwise."""

from itertools import permutations
from types import SimpleNamespace

import torch
from torch.nn.functional import one_hot

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.permuted_class_agreement import PermutedClassAgreement


def result(label, predicted, classes):
    metric = PermutedClassAgreement()
    metric.setup(SimpleNamespace(classes=classes))
    for rows in torch.arange(len(label)).split(7):
        logits = one_hot(predicted[rows], classes).double()
        metric.update(Features(torch.zeros(len(rows), 1), logits, y=label[rows]), real=False)
    return metric.compute()


def test_exchanged_classes_agree_after_a_permutation():
    label = torch.arange(40) % 4
    exchanged = torch.tensor([2, 0, 3, 1])
    measured = result(label, exchanged[label], 4)
    assert (float(measured.value), measured.detail["permutation"]) == (1.0, exchanged.tolist())


def test_the_permutation_is_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    label, predicted = (torch.randint(4, (50,), generator=generator) for _ in range(2))
    shares = [(torch.tensor(p)[label] == predicted).double().mean().item() for p in permutations(range(4))]
    assert float(result(label, predicted, 4).value) == max(shares)
