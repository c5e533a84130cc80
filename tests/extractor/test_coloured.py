"""The extractor of coloured digits: the digit is recognised in either colour, and the features differ by colour."""

import torch

from saddlepoint.data.coloured_digits import ColouredDigits, paint
from saddlepoint.data.digits import Digits
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.coloured import Coloured


def test_logits_are_those_of_the_grey_image_and_features_are_of_each_channel() -> None:
    digit = Shipped("digits")
    extractor, grey = Coloured(digit), Digits().split("test").x[:6]
    plain, blank = digit(grey), digit(torch.zeros_like(grey[:1])).features[0]
    for colour in (0, 1):
        output = extractor(paint(grey, torch.full((6,), colour)))
        assert output.logits is not None
        assert plain.logits is not None
        assert torch.allclose(output.logits, plain.logits, atol=1e-5)
        halves = output.features.view(6, 2, digit.dim)
        assert torch.allclose(halves[:, colour], plain.features, atol=1e-5)
        assert torch.allclose(halves[:, 1 - colour], blank.expand(6, -1), atol=1e-5)


def test_name_and_hash_derive_from_the_classifier() -> None:
    digit = Shipped("digits")
    extractor = Coloured(digit)
    assert (extractor.name, extractor.shape, extractor.classes) == ("coloured-digits", (3, 8, 8), 10)
    assert (extractor.dim, extractor.accuracy) == (2 * digit.dim, digit.accuracy)
    assert extractor.sha256 != Coloured(Shipped("digits-b")).sha256
    assert ColouredDigits().extractor == extractor.name
