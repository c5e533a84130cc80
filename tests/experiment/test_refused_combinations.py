"""Combinations of components that are mathematically wrong are refused with the reason; unfavourable ones only warn."""

from functools import partial
from importlib import import_module

import pytest
from play import Critic, Maker, batches, game, networks
from torch import nn

from saddlepoint.config import catalogue
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import check_networks_fit, check_terms_and_makers, objective_warnings
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.layer.adaptive_augment import AdaptiveAugment
from saddlepoint.layer.spectral_norm import SpectralNorm
from saddlepoint.layer.weight_clip import WeightClip
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.path_length import PathLength

OBJECTIVES = {name: import_module(f"saddlepoint.objective.{name}") for name in catalogue.option_names("objective")}

# those whose optimum is between the bounds: targets of logits, or of differences of logits, that the range contains
REACHED = {
    nn.Sigmoid: {"least_squares", "relativistic_average_least_squares", "relativistic_average_hinge"},
    nn.Tanh: {"least_squares", "hinge", "relativistic_average_least_squares", "relativistic_average_hinge"},
}


@pytest.mark.parametrize("end", REACHED)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_discriminator_of_bounded_output_is_refused_if_the_optimum_is_outside(
    name: str, end: type[nn.Module]
) -> None:
    critic = Critic(nn.Sequential(nn.Linear(2, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 1), end()))
    plays = game(OBJECTIVES[name], nets=(networks()[0], critic))
    if name in REACHED[end]:
        check_networks_fit(plays, (2,), None)
    else:
        with pytest.raises(
            Mistake, match=f"objective.discriminator: its optimum .* ends with a {end.__name__.lower()}"
        ):
            check_networks_fit(plays, (2,), None)


def test_a_bounded_hidden_layer_is_no_bound() -> None:
    critic = Critic(nn.Linear(2, 8), nn.Sequential(nn.Sigmoid(), nn.Linear(8, 1)))
    check_networks_fit(game(OBJECTIVES["f_gan_kl"], nets=(networks()[0], critic)), (2,), None)


def test_a_generator_with_the_network_of_the_discriminator_is_refused_with_the_setting() -> None:
    wrapped = SpectralNorm(networks()[1])
    with pytest.raises(Mistake, match=r"network\.network='\$\{architecture\.generator\}'"):
        check_networks_fit(game(OBJECTIVES["hinge"], nets=(wrapped, networks()[1])), (2,), None)


# objectives of differences of logits, and those whose logit for equal reals and fakes is above 0
SIGNLESS = {name for name in OBJECTIVES if name.startswith(("relativistic", "wasserstein"))}
POSITIVE = {"least_squares", "f_gan_kl"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_adaptive_augmentation_is_refused_if_the_sign_of_a_logit_means_nothing(name: str) -> None:
    makers = {"augment": AdaptiveAugment()}
    plays = game(OBJECTIVES[name], makers=makers)
    if name in SIGNLESS | POSITIVE:
        with pytest.raises(
            Mistake, match=f"game.makers.augment: .* {'any' if name in SIGNLESS else 'a positive'} sign"
        ):
            check_terms_and_makers(plays)
        makers["augment"].speed = None  # p is constant
    assert check_terms_and_makers(plays) == []


def test_adaptive_augmentation_accepts_least_squares_with_targets_around_0() -> None:
    plays = game(OBJECTIVES["least_squares"], makers={"augment": AdaptiveAugment()})
    plays.discriminator.objective = partial(plays.discriminator.objective, a=-1.0)
    assert check_terms_and_makers(plays) == []


def with_path_length(network: nn.Module) -> Game:
    plays = game(OBJECTIVES["hinge"], nets=(Maker(network), networks()[1]))
    plays.generator.regularizers["path"] = PathLength()
    return plays


def test_path_length_needs_a_mapping_network_and_a_slope_of_each_sample_alone() -> None:
    linear, normed = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    with pytest.raises(Mistake, match=r"path_length .* of a mapping network, and .* none: choose architecture=style"):
        dry_run(with_path_length(linear), batches(1)[0])
    plays = with_path_length(normed)
    with pytest.raises(Mistake, match=r"path: .*BatchNorm1d at generator.network.1\): remove this layer"):
        check_terms_and_makers(plays)
    plays.generator.regularizers["path"].weight = 0
    assert check_terms_and_makers(plays) == dry_run(plays, batches(1)[0]) == []


def test_a_loss_without_a_minimum_warns_unless_something_limits_the_slope() -> None:
    warned = {name for name, objective in OBJECTIVES.items() if objective_warnings(game(objective))}
    assert warned == {"wasserstein", "f_gan_kl", "f_gan_pearson", "f_gan_reverse_kl"}
    wasserstein = OBJECTIVES["wasserstein"]
    assert objective_warnings(game(wasserstein, {"penalty": GradientPenalty()})) == []
    for layer in (SpectralNorm, WeightClip):
        assert objective_warnings(game(wasserstein, nets=(networks()[0], layer(networks()[1])))) == []
