"""The multi-class hinge loss: an independent implementation, and the binary hinge loss as its case of one class."""

import numpy as np
import play
import pytest
import torch

from saddlepoint.architecture import mlp
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, load_data
from saddlepoint.game.dry_run import dry_run
from saddlepoint.objective import hinge
from saddlepoint.regularizer.multi_hinge import MultiHinge
from saddlepoint.turn import DiscriminatorOutput, Sample


def judged(logits, label=None):
    """A sample whose judge gives these logits in the head `label`."""
    output = DiscriminatorOutput(logits[:, 0], heads={"label": logits})
    condition = {} if label is None else {"label": label}
    return Sample(torch.zeros(len(logits), 2), condition, lambda x, condition: output)


def turn(k, n=20, seed=0):
    stream = torch.Generator().manual_seed(seed)
    real, fake = (2 * torch.randn(n, k, generator=stream, dtype=torch.float64) for _ in range(2))
    y, wanted = (torch.randint(3, (n,), generator=stream) for _ in range(2))
    return play.turn(real=judged(real, y), fake=judged(fake, wanted)), real, fake, y, wanted


def margin(logits, classes):
    """By hand, sample by sample."""
    losses = []
    for row, c in zip(logits.tolist(), classes, strict=True):
        losses.append(max(0.0, 1 - row[c] + max(value for k, value in enumerate(row) if k != c)))
    return np.mean(losses)


def test_discriminator_and_generator_equal_the_sums_by_hand():
    seen, real, fake, y, wanted = turn(4)
    d = MultiHinge(sides=["real", "fake"], fake_class=3)(seen)
    assert d.item() == pytest.approx(margin(real, y.tolist()) + margin(fake, [3] * len(fake)), abs=1e-12)
    g = MultiHinge(sides=["fake"])(seen)
    assert g.item() == pytest.approx(margin(fake, wanted.tolist()), abs=1e-12)


def test_with_one_class_it_is_the_hinge_loss_of_the_difference():
    stream = torch.Generator().manual_seed(1)
    real, fake = (2 * torch.randn(30, 2, generator=stream, dtype=torch.float64) for _ in range(2))
    first = torch.zeros(30, dtype=torch.int64)
    seen = play.turn(real=judged(real, first), fake=judged(fake))  # the fakes need no class
    loss = MultiHinge(sides=["real", "fake"], fake_class=1)(seen)
    expected = hinge.discriminator(real[:, 0] - real[:, 1], fake[:, 0] - fake[:, 1])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)


def test_only_differences_count_and_a_margin_of_1_is_enough():
    term = MultiHinge()
    logits, label = torch.tensor([[2.0, 1.0, -5.0], [0.0, 0.0, 1.0]]), torch.tensor([0, 2])
    assert term.loss(logits, label) == 0
    assert term.loss(logits + 7, label) == 0
    assert term.loss(logits, torch.tensor([0, 0])) == pytest.approx(1.0)  # (0 + 2) / 2
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(term.loss(logits, torch.tensor([1, 2])), logits)
    assert gradient.tolist() == [[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]  # only the class and its nearest rival


def test_a_missing_class_and_a_small_head_are_refused():
    seen = play.turn(real=judged(torch.zeros(3, 4)), fake=judged(torch.zeros(3, 4)))
    with pytest.raises(Mistake, match="no condition label"):
        MultiHinge(sides=["real"])(seen)
    with pytest.raises(Mistake, match=r"heads=\{label: 11\}"):
        MultiHinge(sides=["fake"], fake_class=10)(seen)
    with pytest.raises(Mistake, match=r"heads=\{label: 2\}"):
        MultiHinge(sides=["fake"]).check_output(mlp.Discriminator([2], heads={"label": 1})(torch.zeros(3, 2)))


@pytest.mark.parametrize(
    "form",
    [
        [
            "architecture.discriminator.heads={label: 11}",
            "objective.discriminator=null",
            "objective.generator=null",
            "+layer@architecture.discriminator.readout=log_sum_exp",
        ],
        [
            "architecture.discriminator.heads={label: 10}",
            "regularizer.discriminator.multi_hinge.sides=[real]",
            "regularizer.discriminator.multi_hinge.fake_class=null",
        ],
    ],
)
def test_both_forms_play_on_labelled_data(form):
    small = ["architecture.discriminator.widths=[8]", "architecture.generator.widths=[8]", "batch=8"]
    config = compose(
        ["game=conditional", "objective=hinge", "regularizer=[multi_hinge]", *small, *form,
         "architecture.generator.condition={label: 10}"]
    )  # fmt: skip
    data, game = load_data(config), build_game(config)
    batch = next(data.training_batches(0))
    assert dry_run(game, batch) == []
    play.fit(game, [batch])
    assert game.last_losses["generator"][0]["multi_hinge"] > 0
