"""Hooks are called for every module of a game: networks, layers, terms, makers and averages."""

from functools import partial

import pytest
import torch
from play import BY_CLASS, Critic, Maker, batches, fit, game, networks
from torch import nn

from saddlepoint.callback.health_probe import HealthProbe
from saddlepoint.data.data import Data, Split
from saddlepoint.game.average import Average
from saddlepoint.game.game import Game
from saddlepoint.game.hooks import ROUND_HOOKS, Hooks, modules_with_hook
from saddlepoint.game.player import Player
from saddlepoint.game.side import TWO_PLAYER
from saddlepoint.objective import hinge, nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Batch


class PointData(Data):
    """A few random points."""

    def __init__(self):
        super().__init__((2,), None, batch=4)

    def splits(self):
        return {name: Split(name, torch.randn(16, 2)) for name in ("train", "validation", "test")}


SGD = partial(torch.optim.SGD, lr=0.1)


class Recorder(nn.Module):
    """A layer, or a maker, that records the calls of its hooks; it doubles x from 40 images on."""

    def __init__(self):
        super().__init__()
        self.clock, self.turns, self.images = [], [], 0

    def at_images(self, images):
        self.clock.append(images)
        self.images = images

    def after_turn(self, player, turn):
        self.turns.append((player, turn["real"].logits.detach().clone() if "real" in turn.samples else None))

    def forward(self, x, condition=None):
        return 2 * x if self.images >= 40 else x


class Twice(nn.Module):
    def forward(self, x, condition):
        return 2 * x


class Term(Regularizer, Recorder):
    def __init__(self):
        Regularizer.__init__(self)
        self.clock, self.turns, self.images = [], [], 0

    def forward(self, turn):
        return 0 * turn["fake"].logits.sum()


def trained_game(rounds=3, **g):
    maker = Maker(nn.Sequential(nn.Linear(3, 2), Recorder()))
    judge = Critic(nn.Sequential(nn.Linear(2, 4), Recorder()), nn.Linear(4, 1))
    players = {
        "discriminator": Player(judge, SGD, hinge.discriminator, {"term": Term()}, every=2),
        "generator": Player(maker, SGD, hinge.generator, average=partial(Average, half_life=10), **g),
    }
    sides = {**TWO_PLAYER, "fake": {"by": ["generator", "through"], "judge": "discriminator"}}
    plays = Game(players, Prior(z=Normal(3)), sides=sides, makers={"through": Recorder()})
    fit(plays, batches(rounds, n=16))
    return plays


def test_at_images_is_called_for_every_module_before_each_round():
    plays = trained_game()
    modules = modules_with_hook(plays, "at_images")
    assert len(modules) == 5  # in G, in its average, in D, the term, the maker
    for module in modules:
        assert module.clock == [0, 16, 32]


def test_after_turn_is_called_for_every_module_after_each_step():
    plays = trained_game()
    for module in modules_with_hook(plays, "after_turn"):
        assert [player for player, _ in module.turns] == ["generator", "discriminator", "generator", "generator"]
        assert [logits is not None for _, logits in module.turns] == [False, True, False, False]
    logits = {module.turns[1][1].sum().item() for module in modules_with_hook(plays, "after_turn")}
    assert len(logits) == 1


def test_after_turn_gets_the_sides_that_its_player_sees():
    class Roles(nn.Identity):
        def after_turn(self, player, turn):
            results.append((player, torch.equal(turn["real"].x, turn.side_sample("doubled").x)))

    results = []
    players = {
        "discriminator": Player(networks()[1], SGD, hinge.discriminator, sees={"real": "doubled"}),
        "generator": Player(networks()[0], SGD, hinge.generator),
    }
    sides = {**TWO_PLAYER, "doubled": {"of": "x", "by": "twice", "judge": "discriminator"}}
    plays = Game(players, Prior(z=Normal(3)), sides=sides, makers={"twice": Twice(), "roles": Roles()})
    fit(plays, batches(1))
    assert results == [("discriminator", True), ("generator", False)]


def test_after_turn_is_called_once_per_chunk():
    plays = trained_game(rounds=2, accumulate=2)
    (layer,) = modules_with_hook(plays.generator.network, "after_turn")
    assert [player for player, _ in layer.turns].count("generator") == 4


def test_at_images_is_called_before_sampling_from_any_restored_game():
    plays = trained_game(rounds=2)
    before = plays.sample(4, average=False)
    restored = trained_game(rounds=0)
    restored.load_state_dict(plays.state_dict())
    restored.images = plays.images = 48
    assert torch.equal(restored.sample(4, average=False), plays.sample(4, average=False))
    assert torch.equal(restored.sample(4, average=False), 4 * before)  # the layer and the maker double it
    assert torch.equal(restored.sample(4), plays.sample(4))


def test_at_images_is_called_for_every_module_of_a_loaded_game():
    plays, checkpoint = trained_game(rounds=4), {}
    plays.on_save_checkpoint(checkpoint)
    restored = trained_game(rounds=0)
    restored.load_state_dict(plays.state_dict())
    restored.on_load_checkpoint(checkpoint)
    assert [module.images for module in modules_with_hook(restored, "at_images")] == [64] * 5


def test_at_images_is_called_before_health_readings():
    plays = trained_game(rounds=3)
    assert {module.images for module in modules_with_hook(plays, "at_images")} == {32}
    HealthProbe(PointData(), 8, "validation", print).readings(plays)
    assert {module.images for module in modules_with_hook(plays, "at_images")} == {48}


def test_a_game_without_hooks_keeps_no_turn():
    plays = game(nonsaturating)
    fit(plays, batches(1))
    assert plays.hooked_modules == {method: [] for method in ROUND_HOOKS}
    assert plays.compute_gradients(["generator"], batches(1)[0]) == []


def test_hooks_do_not_change_the_game():
    def weights(layer):
        torch.manual_seed(0)
        maker, judge = networks()
        plays = game(hinge, nets=(Maker(nn.Sequential(maker.network, layer)), judge))
        fit(plays, batches(2))
        return [p.detach() for p in plays.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(weights(Recorder()), weights(nn.Identity()), strict=True))


def test_the_protocol_declares_every_hook():
    defined = {name for name in vars(Hooks) if not name.startswith("_")}
    assert defined == {"set_reference", "data_dependent_init", "at_images", "after_turn"}
    assert set(ROUND_HOOKS) <= defined
    layer = Recorder()
    modules = {hook: modules_with_hook(nn.Sequential(layer), hook) for hook in ROUND_HOOKS}
    assert modules == {"at_images": [layer], "after_turn": [layer]}


class Starting(Recorder):
    """A layer, a module in a term, or a maker that records the inputs of its initialisation hooks; 6 latents."""

    reference = 6

    def __init__(self):
        super().__init__()
        self.inputs = {}

    def set_reference(self, network, latent, condition):
        self.inputs["reference"] = network, latent, condition

    def data_dependent_init(self, network, x, condition):
        self.inputs["start"] = network, x, condition

    def __deepcopy__(self, memo):
        return type(self)()


class StartingTerm(Term):
    def __init__(self):
        super().__init__()
        self.inner = Starting()


def test_initialisation_hooks_are_called_for_layers_terms_makers_and_averages_with_conditions():
    maker, judge = Maker(nn.Sequential(nn.Linear(2, 2), Starting())), networks()[1]
    players = {
        "discriminator": Player(judge, SGD, hinge.discriminator, {"term": StartingTerm()}),
        "generator": Player(maker, SGD, hinge.generator, average=partial(Average, half_life=10)),
    }
    sides = {**BY_CLASS, "fake": {**BY_CLASS["fake"], "by": ["generator", "through"]}}
    plays = Game(players, Prior(z=Normal(2)), sides=sides, makers={"through": Starting()}, conditions="labels",
                 classes={"y": 3})  # fmt: skip
    layer, through = plays.generator.network.network[1], plays.makers["through"]
    (copy,) = modules_with_hook(plays.generator.average, "set_reference")
    (inner,) = modules_with_hook(plays.discriminator.regularizers, "set_reference")
    for module, network in ((layer, maker), (copy, plays.generator.average.network), (inner, judge)):
        received, latent, condition = module.inputs["reference"]
        assert received is network
        assert (latent["z"].shape, condition["label"].shape) == ((6, 2), (6,))
    received, x, condition = through.inputs["reference"]  # the output of the generator for them
    assert received is through
    torch.testing.assert_close(x, maker(layer.inputs["reference"][1]))
    fit(plays, [Batch(torch.randn(4, 2), torch.tensor([0, 1, 2, 0]))])
    assert layer.inputs["start"][1]["z"].shape == (500, 2)
    received, x, condition = inner.inputs["start"]  # the first reals, as inputs of its player's network
    assert received is judge
    assert (x.shape, condition["label"].tolist()) == ((4, 2), [0, 1, 2, 0])
    assert "start" not in copy.inputs  # it takes the state of its network
    assert through.inputs["start"][1].shape == (500, 2)


def test_a_layer_with_reference_latents_is_refused_in_a_network_that_makes_no_samples():
    judge = Critic(nn.Sequential(nn.Linear(2, 4), Starting()), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="Starting needs reference latents: use it only in the generator"):
        game(hinge, nets=(networks()[0], judge))
