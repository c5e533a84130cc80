"""The extractor of Stacked-MNIST applies the classifier of digits to each channel independently."""

import hashlib

import pytest
import torch
from torch import Tensor, nn

from saddlepoint.extractor.classifier import Classifier, Shipped
from saddlepoint.extractor.stacked import Stacked
from saddlepoint.pixel import to_float


class Projection(nn.Module):
    """Features and logits that differ between random images."""

    def __init__(self) -> None:
        super().__init__()
        self.neck, self.readout = nn.Linear(784, 16), nn.Linear(16, 10)
        draws = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2, generator=draws)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.neck(x.flatten(1)).tanh()
        return features, self.readout(features)


@pytest.fixture(scope="module")
def digit() -> Classifier:
    return Classifier("mnist", "5" * 64, (1, 28, 28), Projection())  # pyright: ignore[reportArgumentType]


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (n, 3, 28, 28), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_the_softmax_is_the_product_of_the_channels_probabilities(digit: Classifier) -> None:
    x = images(7)
    output = Stacked(digit)(x)
    assert output.logits is not None
    alone = [digit.network(to_float(x[:, channel : channel + 1])) for channel in range(3)]
    red, green, blue = (logits.softmax(1) for _, logits in alone)
    joint = torch.einsum("na,nb,nc->nabc", red, green, blue).reshape(7, 1000)
    assert torch.allclose(output.logits.softmax(1), joint, atol=1e-7)
    assert torch.allclose(output.logits.exp().sum(1), torch.ones(7), atol=1e-5)
    assert torch.allclose(output.features, torch.cat([features for features, _ in alone], 1), atol=1e-5)


def test_the_class_is_the_three_most_probable_digits(digit: Classifier) -> None:
    x = images(64)
    output = Stacked(digit)(x)
    a, b, c = (digit.network(to_float(x[:, channel : channel + 1]))[1].argmax(1) for channel in range(3))
    assert output.logits is not None
    assert output.logits.argmax(1).tolist() == (100 * a + 10 * b + c).tolist()
    assert len(set(output.logits.argmax(1).tolist())) > 20


def test_permuted_channels_permute_features_and_digits(digit: Classifier) -> None:
    x, extractor = images(9), Stacked(digit)
    output, permuted = extractor(x), extractor(x[:, [2, 0, 1]])
    assert output.logits is not None
    assert permuted.logits is not None
    assert torch.allclose(permuted.features.view(9, 3, 16)[:, [1, 2, 0]], output.features.view(9, 3, 16), atol=1e-5)
    assert torch.allclose(
        permuted.logits.view(9, 10, 10, 10).permute(0, 2, 3, 1), output.logits.view(9, 10, 10, 10), atol=1e-5
    )


def test_name_and_hash_follow_the_classifier_and_the_shape_is_that_of_a_stack(digit: Classifier) -> None:
    extractor = Stacked(digit)
    assert (extractor.name, extractor.dim, extractor.classes, extractor.shape) == (
        "stacked-mnist",
        48,
        1000,
        (3, 28, 28),
    )
    assert extractor.sha256 == hashlib.sha256(b"stacked " + b"5" * 64).hexdigest() != digit.sha256
    assert not extractor.train().training
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert Stacked(Shipped("mnist")).dim == 384


def test_the_accuracy_of_the_extractor_reaches_the_metrics() -> None:
    from saddlepoint.evaluation.evaluator import Evaluator
    from saddlepoint.metric.class_modes import ClassModes

    digit = Shipped("mnist")
    assert digit.accuracy == 0.9954
    metric = ClassModes()
    Evaluator(Stacked(digit), {"class_modes": metric}, n=2)
    assert metric.extractor_accuracy == 0.9954**3
