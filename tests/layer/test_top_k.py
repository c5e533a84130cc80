"""Top-k: the objective of the largest logits alone, by sorting; a gradient for these samples only; k by a schedule."""

from functools import partial

import play
import pytest
import torch

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.layer.top_k import TopK
from saddlepoint.objective import hinge, least_squares, nonsaturating, relativistic
from saddlepoint.schedule.linear import Linear


@pytest.mark.parametrize("objective", [nonsaturating, hinge, least_squares])
@pytest.mark.parametrize(("fraction", "k"), [(1.0, 10), (0.5, 5), (0.41, 4), (0.01, 1)])
def test_the_loss_is_that_of_the_k_largest_logits(objective, fraction: float, k: int) -> None:
    fake = torch.randn(10, dtype=torch.float64, requires_grad=True)
    loss = TopK(objective.generator, fraction)(fake=fake)
    largest = torch.tensor(sorted(fake.tolist(), reverse=True)[:k], dtype=torch.float64)
    assert loss.item() == pytest.approx(objective.generator(largest).item())
    (slope,) = torch.autograd.grad(loss, fake)
    assert (slope != 0).tolist() == [value >= largest[-1] for value in fake.tolist()]


def test_maps_are_ranked_by_their_mean_and_reals_keep_their_partners() -> None:
    fake = torch.tensor([[0.0, 9.0], [4.0, 4.0], [6.0, 6.0], [-9.0, 9.0]])
    assert TopK(nonsaturating.generator, 0.5)(fake=fake) == nonsaturating.generator(fake[:3:2])
    real, logits = torch.randn(2, 6)
    best = logits.argsort(descending=True)[:3]
    loss = TopK(relativistic.generator, 0.5)(real=real, fake=logits)
    assert loss.item() == pytest.approx(relativistic.generator(real[best], logits[best]).item())


def test_the_fraction_follows_its_schedule_in_a_game_and_only_the_best_fakes_move_the_generator() -> None:
    used = []

    def generator(fake):
        used.append(len(fake))
        return -fake.mean()

    objective = type("Objective", (), {"discriminator": staticmethod(hinge.discriminator)})
    objective.generator = TopK(generator, Linear(1.0, 0.25, 32))
    game = play.game(objective)
    play.fit(game, play.batches(4))  # of 16 reals: at 0, 16, 32 and 48 images
    assert used == [16, 10, 4, 4]
    game.images = 16
    game.run_at_images_hooks()  # as on resume
    assert objective.generator.current == pytest.approx(0.625)


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for fraction in (0.0, 1.5, Linear(2.0, 0.5, 10)):
        with pytest.raises(ValueError, match="fraction="):
            TopK(hinge.generator, fraction)
    with pytest.raises(ValueError, match="argument fake"):
        TopK(lambda real: real.mean())
    with pytest.raises(Mistake, match="as many reals as fakes"):
        TopK(partial(relativistic.generator), 0.5)(real=torch.zeros(2), fake=torch.zeros(4))
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    with pytest.raises(Mistake, match="train on one device"):
        TopK(hinge.generator)(fake=torch.zeros(4))
