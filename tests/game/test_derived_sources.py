"""Games whose source is made from x: the source of each row is the maker's, in a turn and in samples."""

import pytest
import torch

from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.layer.downscale import Downscale
from saddlepoint.layer.grey import Grey

OWN = ["data._target_=derived.Colours", "data.shape=[3,8,8]", "data.classes=null", "data.extractor=null",
       "allow_target=[derived]", "architecture.generator._target_=derived.Enlarge",
       "logger=none"]  # fmt: skip
GAMES = {"colourisation": Grey(), "super_resolution": Downscale(4)}


def game_of(name):
    config = compose([f"game={name}", *OWN])
    torch.manual_seed(0)
    game, data = instantiate(config.game, "game"), instantiate(config.data, "data")
    data.setup("fit")
    game.conditions.data = data
    return game, data


@pytest.mark.parametrize("name", GAMES)
def test_the_source_is_the_makers_and_has_no_gradient(name):
    game, data = game_of(name)
    batch = data.first_batch(8)
    ((turn, _),) = game.build_turns(batch, ["generator"], 1)
    expected = GAMES[name](batch.x)
    assert torch.equal(turn["source"].x, expected)
    assert not turn["source"].x.requires_grad
    assert torch.equal(turn["fake"].x, game.players["generator"].network(expected, {}))
    assert turn["fake"].x.requires_grad
    judged = turn["fake"].condition
    assert list(judged) == (["source"] if name == "colourisation" else [])


@pytest.mark.parametrize("name", GAMES)
def test_samples_are_made_from_held_out_images_in_order_and_from_those_that_are_passed(name):
    game, data = game_of(name)
    network, maker = game.players["generator"].network, GAMES[name]
    held_out = data.batch_at("validation", torch.arange(12)).x
    assert torch.allclose(game.sample(12), network(maker(held_out), {}))
    passed = data.batch_at("test", torch.arange(5)).x
    assert torch.allclose(game.sample(5, {"x": passed}), network(maker(passed), {}))


def test_d_of_a_translation_gets_the_source_and_that_of_the_variant_does_not():
    sides = {name: compose([f"game={name}", *OWN]).game.sides for name in ("translation", "unconditional_translation")}
    assert sides["translation"].real.condition == sides["translation"].fake.condition == {"source": "source"}
    assert sides["translation"].fake.of == sides["unconditional_translation"].fake.of == "source"
    assert not sides["unconditional_translation"].real.condition
    assert not sides["unconditional_translation"].fake.condition
