"""Reconstruction inside a mask and between features: against PyTorch's losses on crops, and what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from play import turn
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build
from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.regularizer.reconstruction import Reconstruction
from saddlepoint.stream import Stream
from saddlepoint.turn import Sample, Turn


def sample(x: Tensor) -> Sample:
    return Sample(x, {}, None)


def masked(fake: Tensor, real: Tensor, mask: Tensor) -> Turn:
    return replace(turn(fake=sample(fake), real=sample(real)), draws={"hole": {"mask": mask}})


def test_inside_a_mask_it_is_the_loss_of_the_cropped_hole() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 3, 8, 6, requires_grad=True), torch.randn(5, 3, 8, 6)
    mask = BoxMask((3, 8, 6)).sample(5, Stream(0, "mask"))  # rows 2 to 5, columns 1 to 3
    sides = masked(a, b, mask)
    hole = (..., slice(2, 6), slice(1, 4))
    for absolute, loss in ((True, l1_loss), (False, mse_loss)):
        value = Reconstruction(absolute=absolute, mask="hole.mask")(sides)
        assert torch.allclose(value, loss(a[hole], b[hole]))
        (gradient,) = torch.autograd.grad(value, a)
        assert bool((gradient[hole] != 0).all())
        assert float(gradient.abs().sum()) == pytest.approx(float(gradient[hole].abs().sum()))


def test_each_sample_counts_alike_whatever_the_size_of_its_mask() -> None:
    """So that the loss of a batch is the mean over its halves, on two ranks too; an empty mask has distance 0."""
    a, b = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    mask = torch.zeros(3, 1, 4, 4)
    mask[0, 0, 0, 0], mask[1] = 1, 1
    value = Reconstruction(mask="hole.mask")(masked(a, b, mask))
    expected = ((a[0, 0, 0, 0] - b[0, 0, 0, 0]).abs() + (a[1] - b[1]).abs().mean()) / 3
    assert torch.allclose(value, expected)


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (self.weight * x).flatten(1), x.new_zeros(len(x), 3)


def test_between_features_it_is_the_distance_of_the_features() -> None:
    """Features 2 x have four times the squared distance; the extractor is no part of the term's state."""
    a, b = torch.randn(4, 1, 5, 5, requires_grad=True), torch.randn(4, 1, 5, 5)
    term = Reconstruction(absolute=False, extractor="doubled")
    extractor = SimpleNamespace(network=Doubled())
    term.load_extractor = lambda: extractor
    value = term(turn(fake=sample(a), real=sample(b)))
    assert torch.allclose(value, 4 * mse_loss(a, b))
    assert torch.allclose(torch.autograd.grad(value, a)[0], 8 * (a - b) / a.numel(), atol=1e-6)
    assert not term.state_dict()
    assert not list(term.parameters())


def test_features_have_no_position_and_need_a_network() -> None:
    with pytest.raises(ValueError, match="mask=hole has no meaning for features"):
        Reconstruction(mask="hole", extractor="digits")
    term = Reconstruction(extractor="identity")
    term.load_extractor = lambda: SimpleNamespace(network=None)
    with pytest.raises(Mistake, match="no gradient flows through the extractor identity"):
        term(turn(fake=sample(torch.zeros(1, 1, 2, 2)), real=sample(torch.zeros(1, 1, 2, 2))))


FEATURES = ["regularizer=[reconstruction]", "regularizer.generator.reconstruction.extractor=digits", "cache=null"]


@pytest.mark.parametrize("scoring", [[], ["evaluation.extractor=digits-b"]])
def test_an_extractor_that_also_scores_is_refused(scoring: list[str]) -> None:
    """Also as the second extractor: digits-b has digits as its pair."""
    with pytest.raises(Mistake, match="this network also measures the scores"):
        build(compose([*FEATURES, *scoring]))


def test_with_another_extractor_for_scores_the_game_is_built() -> None:
    experiment = build(compose([*FEATURES, "evaluation.extractor=digits-b", "evaluation.second_extractor=null"]))
    term = experiment.game.player("generator").terms["reconstruction"]
    assert isinstance(term, Reconstruction)
    assert term.loaded_extractor().name == "digits"
    assert not any("classifier" in name or "network.trunk" in name for name in term.state_dict())
