"""DRAGAN, the zero-centred penalty, LeCam, orthogonal regularization and mode seeking: closed forms."""

from dataclasses import replace

import play
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from saddlepoint.error import Mistake
from saddlepoint.layer.adaptive_augment import AdaptiveAugment
from saddlepoint.layer.conditional_batch_norm import ConditionalBatchNorm
from saddlepoint.objective import hinge
from saddlepoint.prior.prior import Prior
from saddlepoint.prior.uniform import Uniform
from saddlepoint.regularizer.dragan import Dragan
from saddlepoint.regularizer.lecam import LeCam
from saddlepoint.regularizer.mode_seeking import ModeSeeking
from saddlepoint.regularizer.orthogonal import Orthogonal
from saddlepoint.regularizer.path_length import PathLength
from saddlepoint.regularizer.seeded_noise import seeded_noise
from saddlepoint.regularizer.zero_centered_gradient_penalty import ZeroCenteredGradientPenalty
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Sample


def turn_of(logits, real, fake, drawn=None, **more):
    judge = play.judge(logits)
    return play.turn(drawn=drawn, real=Sample(real, {}, judge), fake=Sample(fake, {}, judge), **more)


@pytest.mark.parametrize("target", [0.0, 1.0, 7.5])  # slopes above and below it count
def test_dragan_is_the_deviation_of_the_slope_of_a_linear_discriminator(target: float) -> None:
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64)
    real, fake = torch.randn(2, 8, 2, dtype=torch.float64)
    term = Dragan(target=target)
    assert term(turn_of(lambda x: x @ weight, real, fake, term.draw(8, Stream(0, "a")))).item() == pytest.approx(
        (5 - target) ** 2
    )


def test_dragan_looks_at_reals_moved_by_up_to_half_a_standard_deviation_upwards() -> None:
    seen = []

    def logits(x):
        seen.append(x.detach())
        return x.sum(1)

    noise = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    real = 3 * noise + torch.tensor([5.0, 0.0])  # the deviation is over all entries, from one mean
    term = Dragan(scale=0.5)
    term(turn_of(logits, real, real, term.draw(4000, Stream(0, "a"))))
    moved = (seen[-1] - real) / real.std(correction=0)
    assert moved.min() >= 0
    assert moved.max() <= 0.5
    assert moved.mean().item() == pytest.approx(0.25, abs=0.01)  # U(0, 1/2)
    assert moved.std().item() == pytest.approx(0.5 / 12**0.5, abs=0.01)


def test_dragan_is_refused_with_chunks_of_a_batch_whose_deviations_would_be_others() -> None:
    with pytest.raises(ValueError, match="dragan depends on the whole batch"):
        play.game(hinge, {"dragan": Dragan()}, d={"accumulate": 2})


def test_the_zero_centred_penalty_is_the_squared_slope_and_vanishes_for_a_constant() -> None:
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64)
    real, fake = torch.randn(2, 8, 2, dtype=torch.float64)
    term = ZeroCenteredGradientPenalty()
    drawn = term.draw(8, Stream(0, "a"))
    assert term(turn_of(lambda x: x @ weight, real, fake, drawn)).item() == pytest.approx(25)
    assert term(turn_of(lambda x: (x * 0).sum(1), real, fake, drawn)).item() == 0


def test_lecam_compares_each_side_with_the_average_of_the_other() -> None:
    term = LeCam(decay=0.9)
    first = term(turn_of(lambda x: x[:, 0], torch.full((4, 1), 2.0), torch.full((4, 1), -1.0)))
    assert first.item() == pytest.approx(9 + 9)  # the averages start at the first means: 2 and -1
    second = term(turn_of(lambda x: x[:, 0], torch.full((4, 1), 1.0), torch.full((4, 1), 0.0)))
    a_real, a_fake = 0.9 * 2 + 0.1 * 1, 0.9 * -1 + 0.1 * 0
    assert second.item() == pytest.approx((1 - a_fake) ** 2 + (0 - a_real) ** 2, rel=1e-6)


def test_lecams_averages_are_constants_and_part_of_its_state() -> None:
    term, again = LeCam(), LeCam()
    real = torch.tensor([[1.0], [3.0]], requires_grad=True)
    loss = term(turn_of(lambda x: x[:, 0], real, torch.zeros(2, 1)))
    (gradient,) = torch.autograd.grad(loss, real)
    assert torch.allclose(gradient.flatten(), torch.tensor([1.0, 3.0]))  # 2 (x - 0) / 2: nothing through the averages
    again.load_state_dict(term.state_dict())
    assert torch.equal(again.averages, term.averages)
    assert again.turns == 1
    with pytest.raises(ValueError, match="decay=1"):
        LeCam(decay=1.0)


@pytest.mark.parametrize(("identity", "expected"), [(False, 2 * 0.6**2), (True, 2 * 0.6**2 + 0 + 3**2)])
def test_orthogonal_is_the_gram_matrix_off_the_diagonal_or_off_the_identity(identity: bool, expected: float) -> None:
    player = nn.Module()
    player.network = nn.Linear(2, 2)
    player.network.weight.data = torch.tensor([[1.0, 0.0], [0.6, 3.64**0.5]])  # rows of squared norm 1 and 4
    real = torch.zeros(1, 1)
    turn = turn_of(lambda x: x, real, real, player=player)
    assert Orthogonal(identity=identity)(turn).item() == pytest.approx(expected, rel=1e-5)


def test_orthogonal_is_zero_for_orthogonal_rows_of_any_length_and_sees_no_bias() -> None:
    player = nn.Module()
    player.network = nn.Linear(3, 3)
    player.network.weight.data = torch.diag(torch.tensor([1.0, 5.0, 0.1]))
    turn = turn_of(lambda x: x, torch.zeros(1, 1), torch.zeros(1, 1), player=player)
    assert Orthogonal()(turn).item() == 0


@pytest.mark.parametrize("identity", [False, True])
def test_orthogonal_and_mode_seeking_are_in_full_precision_under_autocast(identity: bool) -> None:
    torch.manual_seed(0)
    player, z = nn.Module(), torch.randn(10, 3)
    player.network = nn.Linear(50, 20)
    nn.init.orthogonal_(player.network.weight)
    player.network.weight.data += 1e-3 * torch.randn(20, 50)
    turn = turn_of(lambda x: x, z, z, player=player)
    half = turn_of(lambda x: x, z, (z / 1000).to(torch.bfloat16), latent={"z": z})
    plain = Orthogonal(identity=identity)(turn).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Orthogonal(identity=identity)(turn).item() == pytest.approx(plain, rel=1e-5)
        assert ModeSeeking()(half).dtype == torch.float32


def test_orthogonal_has_a_row_per_output_of_a_transposed_convolution() -> None:
    """W W^T is the Gram matrix of the outputs' kernels, which are images of one-hot inputs."""
    player = nn.Module()
    player.network = layer = nn.ConvTranspose2d(3, 2, 2, bias=False)
    patches = layer(torch.eye(3).view(3, 3, 1, 1)).detach()  # [inputs, outputs, 2, 2]
    overlap = (patches[:, 0] * patches[:, 1]).sum().item()
    turn = turn_of(lambda x: x, torch.zeros(1, 1), torch.zeros(1, 1), player=player)
    assert Orthogonal()(turn).item() == pytest.approx(2 * overlap**2, rel=1e-4)


def test_orthogonal_has_no_term_for_tables_of_classes_and_frozen_weights_and_counts_a_normalised_weight_once() -> None:
    player, normalised = nn.Module(), nn.Linear(3, 2)
    player.network = nn.Sequential(ConditionalBatchNorm(6, classes=4), nn.Embedding(4, 6), spectral_norm(normalised),
                                   nn.Linear(3, 2).requires_grad_(False))  # fmt: skip
    turn = turn_of(lambda x: x, torch.zeros(1, 1), torch.zeros(1, 1), player=player)
    rows = normalised.parametrizations.weight.original
    assert Orthogonal()(turn).item() == pytest.approx(2 * (rows[0] @ rows[1]).item() ** 2, rel=1e-5)


def test_mode_seeking_of_a_generator_that_scales_its_latent_is_the_inverse_of_the_scale() -> None:
    z = torch.randn(10, 3, dtype=torch.float64)
    for scale in (0.5, 1.0, 4.0):
        turn = turn_of(
            lambda x: x.sum(1), z, scale * z.repeat(1, 2), latent={"z": z}
        )  # distances are means over entries
        assert ModeSeeking()(turn).item() == pytest.approx(1 / (scale + 1e-5), rel=1e-9)


def test_mode_seeking_is_large_and_finite_when_the_generator_ignores_its_latent() -> None:
    z, same = torch.randn(10, 3), torch.ones(10, 3)
    assert ModeSeeking()(turn_of(lambda x: x.sum(1), z, same, latent={"z": z})).item() == pytest.approx(1e5, rel=1e-3)
    with pytest.raises(Mistake, match="batch"):
        ModeSeeking()(turn_of(lambda x: x.sum(1), z, same[:1], latent={"z": z}))


class Scaled(nn.Module):
    """G(z, y) = scale z + 100 y; returned with w = z, which path length needs."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, latent, condition):
        w = latent["z"]
        return self.scale * w + (100.0 * condition["label"][:, None] if "label" in condition else 0), w


def generator_turn(game, batch):
    ((made, _),) = game.build_turns(batch, ["generator"])
    return replace(made, player=game.player("generator"))


@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_mode_seeking_compares_two_samples_of_one_class_given_an_even_number_per_real_and_warns_otherwise(multiple):
    term = ModeSeeking()
    nets = Scaled(2.0), play.networks(z=2)[1]
    game = play.game(hinge, nets=nets, z=2, sides=play.BY_CLASS, conditions="labels", classes={"y": 6},
                     g={"regularizers": {"mode_seeking": term}, "multiple": multiple})  # fmt: skip
    value = term(generator_turn(game, Batch(torch.randn(6, 2), torch.arange(6)))).item()
    if multiple == 1:  # the classes are 100 apart
        assert value < 0.1
        assert "have different y: set multiple=2" in str(term.check_game(game))
    else:
        assert value == pytest.approx(0.5, rel=1e-4)
        assert term.check_game(game) is None


def test_mode_seeking_and_path_length_are_of_the_samples_before_an_augmentation() -> None:
    """With a factor of G of 2 and shifts by 100 N(0, 1) in front of D; the lengths |J^T y| are 2 |y|."""
    sides = {
        "real": {"of": "x", "judge": "discriminator"},
        "fake": {"by": "generator"},
        "augmented_fake": {
            "of": "fake", "by": "augment", "condition": {"numbers": "u.z"},
            "judge": {"player": "discriminator", "condition": {}},
        },
    }  # fmt: skip
    sees = {"sees": {"fake": "augmented_fake"}}
    path = PathLength(every=1)
    game = play.game(
        hinge, nets=(Scaled(2.0), play.networks(z=2)[1]), z=2, sides=sides, d=sees,
        g={**sees, "regularizers": {"path": path}},
        makers={"augment": AdaptiveAugment(start=1.0, shift=100.0)}, draws={"u": Prior(z=Uniform(3, 0.0, 1.0))},
    )  # fmt: skip
    made = generator_turn(game, Batch(torch.randn(6, 2)))
    assert (made["fake"].x - made.side_sample("fake").x).abs().max() > 10
    assert ModeSeeking()(made).item() == pytest.approx(0.5, rel=1e-4)
    path(replace(made, term_draw=torch.arange(6)))
    assert path.mean.item() == pytest.approx(
        2 * seeded_noise(torch.arange(6), torch.zeros(6, 2)).norm(dim=1).mean().item()
    )
    game.player("generator").network = nn.Sequential(nn.BatchNorm1d(2))
    with pytest.raises(Mistake, match="BatchNorm1d at generator"):
        path.check_game(game)
