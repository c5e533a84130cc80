"""Laws of progressive growing: a level at both ends of its fade, and which parameters move when."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from play import Watch, fit
from torch.nn.functional import avg_pool2d

from saddlepoint.architecture.growing import Discriminator, Generator
from saddlepoint.game.average import Average
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import Batch

SHAPE, CLOCK = (2, 8, 16), {"levels": 3, "period": 100, "fade": 40}
Z = {"z": torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)}
X = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def networks():
    torch.manual_seed(2)
    return Generator(3, SHAPE, width=4, **CLOCK).double(), Discriminator(SHAPE, width=4, **CLOCK).double()


def at(network, images):
    """Return the output of a network after a number of images."""
    for module in network.modules():
        if hasattr(module, "at_images"):
            module.at_images(images)
    return network(Z) if isinstance(network, Generator) else network(X).logits


@pytest.mark.parametrize("level", [1, 2])
def test_a_new_level_starts_with_the_output_of_the_level_below(level):
    generator, discriminator = networks()
    start = level * CLOCK["period"]
    assert torch.equal(at(generator, start), at(generator, start - 1))
    torch.testing.assert_close(at(discriminator, start), at(discriminator, start - 1), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(at(generator, start + 20), at(generator, start))
    assert not torch.allclose(at(discriminator, start + 20), at(discriminator, start))


@pytest.mark.parametrize("level", [1, 2])
def test_during_a_fade_the_image_is_the_weighted_mean_of_both_sizes(level):
    generator, _ = networks()
    start = level * CLOCK["period"]
    below, above = at(generator, start), at(generator, start + CLOCK["fade"])
    torch.testing.assert_close(at(generator, start + 10), 0.75 * below + 0.25 * above)
    assert torch.equal(at(generator, start + 99), above), "and behind the fade nothing is left to change"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_at_each_level_images_are_blocks_and_d_depends_on_block_means_only(level):
    generator, discriminator = networks()
    images, block = level * CLOCK["period"] + CLOCK["fade"], 2 ** (2 - level)
    x = at(generator, images)
    assert x.shape == (5, *SHAPE)
    small = avg_pool2d(x, block)
    torch.testing.assert_close(x, small.repeat_interleave(block, 2).repeat_interleave(block, 3))
    if level < 2:
        assert not torch.allclose(small, avg_pool2d(small, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))
    averaged = avg_pool2d(X, block).repeat_interleave(block, 2).repeat_interleave(block, 3)
    torch.testing.assert_close(at(discriminator, images), discriminator(averaged).logits)


@pytest.mark.parametrize(
    ("images", "blocks", "edges"),
    [(0, [0], [0]), (99, [0], [0]), (100, [0, 1], [0, 1]), (139, [0, 1], [0, 1]), (140, [0, 1], [1]),
     (200, [0, 1, 2], [1, 2]), (240, [0, 1, 2], [2]), (10**9, [0, 1, 2], [2])],
)  # fmt: skip
def test_unused_layers_are_dormant_without_gradient_and_all_others_have_one(images, blocks, edges):
    for network in networks():
        at(network, images).sum().backward()
        grown = network if isinstance(network, Generator) else network.trunk["flat"]
        for modules, used in ((grown.blocks, blocks), (grown.edges, edges)):
            for k, module in enumerate(modules):
                assert all(layer.dormant == (k not in used) for layer in module.modules())
                assert all((p.grad is not None) == (k in used) for p in module.parameters()), k


def game(seed=0):
    generator, discriminator = networks()
    adam = partial(torch.optim.Adam, lr=1e-2)
    players = {
        "discriminator": Player(discriminator.float(), adam, nonsaturating.discriminator),
        "generator": Player(generator.float(), adam, nonsaturating.generator, average=partial(Average, half_life=20)),
    }
    return Game(players, Prior(z=Normal(3)), seed)


def batches(rounds):
    stream = torch.Generator().manual_seed(3)
    return [Batch(torch.randn(10, *SHAPE, generator=stream)) for _ in range(rounds)]


def test_in_a_game_parameters_first_move_when_their_level_starts_and_the_average_has_the_same_level():
    plays, moved = game(), {}
    dry_run(plays, batches(1)[0])
    start = {name: p.detach().clone() for name, p in plays.named_parameters()}

    def after(game, i):
        for name, p in game.named_parameters():
            if not torch.equal(p, start[name]):
                moved.setdefault(name, i)
        for player in game.players.values():
            for network in (player.network, *([player.average.network] if player.average else [])):
                grown = network if isinstance(network, Generator) else network.trunk["flat"]
                expected = (
                    min(2, i // 10),
                    1.0 if i < 10 else min(1.0, i % 10 / 4),
                )  # 10 rounds of 10 images per level
                assert (grown.level, grown.alpha) == expected

    fit(plays, batches(25), [Watch(after=after)])
    assert moved.keys() == start.keys()
    for name, i in moved.items():
        level = next((int(name.split(prefix)[1][0]) for prefix in ("blocks.", "edges.") if prefix in name), 0)
        assert i == (10 * level + 1 if level else 0), f"{name}: at alpha = 0 its gradient is 0, and Adam stands"


def test_the_level_of_samples_follows_from_the_number_of_images():
    plays = game()
    fit(plays, batches(12))
    assert plays.images == 120
    x = plays.sample(4)
    torch.testing.assert_close(x, avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))
    other = game()
    other.load_state_dict(plays.state_dict())
    other.images = 120
    assert torch.equal(other.sample(4), x)


def test_growing_networks_take_a_condition_and_a_norm():
    net = Generator(3, SHAPE, 4, **CLOCK, norm=torch.nn.BatchNorm2d, condition={"label": 3})
    judge = Discriminator(SHAPE, 4, **CLOCK, condition={"label": 3}, heads={"label": 3})
    label = {"label": torch.tensor([0, 1, 2, 0, 1])}
    for module in (net, judge.trunk["flat"]):
        module.at_images(150)
    x = net({"z": torch.randn(5, 3)}, label)
    assert judge(x, label).heads["label"].shape == (5, 3)
    assert not torch.equal(judge(x, label).logits, judge(x, {"label": label["label"].flip(0)}).logits)


def test_invalid_levels_and_shapes_are_refused():
    for shape in ((2, 8, 6), (2,)):
        with pytest.raises(ValueError, match=r"levels=3 needs an image height and width divisible by 4"):
            Generator(3, shape, 4, levels=3)
    for clock in ({"levels": 0}, {"period": 0}, {"fade": 0}, {"period": 10, "fade": 11}):
        with pytest.raises(ValueError, match="growing: "):
            Generator(3, SHAPE, 4, **{**CLOCK, **clock})
