"""Games whose source is made from x: the source of each row is the maker's, in a turn and in samples."""

import pytest
import torch
from torch import nn

from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.data.data import Data, Split
from saddlepoint.layer.downscale import Downscale
from saddlepoint.layer.grey import Grey

OWN = ["data._target_=test_derived_sources.Colours", "data.shape=[3,8,8]", "data.classes=null", "data.extractor=null",
       "allow_target=[test_derived_sources]", "architecture.generator._target_=test_derived_sources.Enlarge",
       "logger=none"]  # fmt: skip
GAMES = {"colourisation": Grey(), "super_resolution": Downscale(4)}


class Colours(Data):
    """Random colour images, 8 x 8."""

    name = "colours"

    def __init__(self, shape, classes, extractor, batch=8, seed=0, **rest):
        super().__init__(shape, classes, extractor, batch, seed)

    def splits(self):
        draw = torch.Generator().manual_seed(0)
        return {
            name: Split(name, torch.randint(256, (20, 3, 8, 8), generator=draw, dtype=torch.uint8))
            for name in ("train", "validation", "test")
        }


class Enlarge(nn.Module):
    """A source of any channels and size -> [N, 3, 8, 8]: its mean over channels, each pixel repeated, times a gain."""

    def __init__(self, latent, shape, widths=(8,), norm=None, condition=None, bounded=None):
        super().__init__()
        self.gain, self.side = nn.Parameter(torch.ones(3, 1, 1)), shape[1]

    def forward(self, x, condition):
        return self.gain * nn.functional.interpolate(x.mean(1, keepdim=True), (self.side, self.side))


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
