"""Wirings as YAML alone (conf/game beside this): each gradient is that of a loss written by hand; ranks; resume."""

from __future__ import annotations

import copy
from functools import cache, partial

import numpy as np
import pytest
import torch
import wired
from wired import CONF, GAMES, N, all_weights, batches, game_of

from play import Watch, fit
from ranked import played
from saddlepoint.command.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.game.sampling import judge
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch


def draws(game, group):
    """What the turns of `group` draw in the first round, by an own reading of the streams."""
    torch.set_default_dtype(torch.float64)
    try:
        streams = {name: Stream(0, name, joint=True) for name in game.streams}
        latent = {}
        for own in game.order:
            z = game.prior.sample(N, streams["latent"])["z"]
            others = {n: p.sample(N, streams[f"latent/{n}"])["z"] for n, p in game.priors.items() if n != "latent"}
            if own == group:
                latent = {"latent": z, **others}
        return latent
    finally:
        torch.set_default_dtype(torch.float32)


SIDES = {"real": {"of": "x", "judge": "discriminator"}, "fake": {"by": "generator", "judge": "discriminator"}}
HAND = {name: getattr(wired, name) for name in GAMES}


@pytest.mark.parametrize("name", GAMES)
def test_each_players_gradient_is_that_of_its_loss_written_by_hand(name):
    torch.set_default_dtype(torch.float64)
    try:
        game = game_of(name)
        for player in game.players.values():
            player._optimizer.keywords["lr"] = 0.0  # all look from one place
        networks = {own: copy.deepcopy(player.network) for own, player in game.players.items()}
        (batch,) = batches(1)
        fit(game, [batch])
    finally:
        torch.set_default_dtype(torch.float32)
    for group in game.order:
        losses = HAND[name](networks, draws(game, group), batch.x, batch.more["source"])
        assert set(losses) == set(game.players)
        for own in group:
            weights = list(networks[own].parameters())
            expected = torch.autograd.grad(losses[own], weights, retain_graph=True)
            for place, (p, gradient) in enumerate(zip(game.player(own).network.parameters(), expected, strict=True)):
                torch.testing.assert_close(p.grad, gradient, rtol=1e-9, atol=1e-12, msg=f"{own}, parameter {place}")
            assert any(gradient.any() for gradient in expected), own


@pytest.mark.parametrize("name", GAMES)
def test_a_dry_run_finds_nothing_wrong_with_it(name):
    dry_run(
        game_of(name).float(), Batch(*(part.float() for part in (batches(1)[0].x,)), more={"source": torch.randn(N, 1)})
    )


# ---------------------------------------------------------------------------------------------- ranks, resume, refusals


@cache
def _weights(world):
    return played(all_weights, world)


@pytest.mark.parametrize("name", GAMES)
def test_two_ranks_end_where_one_process_does_a_pool_included(name):
    (alone,) = _weights(1)
    for own in _weights(2):
        assert own[name].keys() == alone[name].keys()
        for key, value in alone[name].items():
            np.testing.assert_allclose(own[name][key], value, rtol=1e-8, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("name", ["vae_gan", "cycle"])
def test_two_n_images_equal_n_then_a_stop_then_two_n_bit_for_bit(name, tmp_path):
    from runs import assert_equal, rows, state

    from saddlepoint.command.train import train

    def run(folder, images):
        words = [f"game={name}", "data=gaussians", "data.number=500", "batch=8", f"images={images}", "logger=none",
                 f"prior.z.dim={2 if name == 'cycle' else 3}", "metric=[]", "callback=[finite,journal,checkpoint]",
                 "callback.journal.images_between=16", "callback.checkpoint.images_between=80"]  # fmt: skip
        words.append(f"outputs={folder}")
        return train(compose([*words, "allow_target=[wired]"], CONF))

    straight = run(tmp_path / "a", 320)
    run(tmp_path / "b", 160)
    resumed = run(tmp_path / "b", 320)
    assert_equal(state(straight), state(resumed))
    assert rows(straight) == rows(resumed)
    if name == "cycle":
        assert any("pool_a.kept" in key for key in state(straight))


def test_a_game_whose_judge_sees_more_than_samples_is_trained_sampled_and_watched(tmp_path):
    from runs import rows

    from saddlepoint.command.build import load
    from saddlepoint.command.train import train

    words = ["game=bigan", "data=gaussians", "data.number=500", "batch=8", "images=160", "logger=none", "prior.z.dim=3",
             "metric=[]", "callback=[finite,journal,checkpoint,health]", "callback.health.images_between=80",
             "callback.journal.images_between=80", f"outputs={tmp_path}"]  # fmt: skip
    run = train(compose([*words, "allow_target=[wired]"], CONF))
    assert load(run, allow=["wired"]).sample(4).shape == (4, 2)
    with pytest.raises(Mistake, match=r"samples=fake: discriminator judges it beside latent\.z"):
        judge(load(run, allow=["wired"]))
    shown = {key for row in rows(run) for key in row}
    assert any("diversity" in key for key in shown)
    assert not any("real_over_fake" in key for key in shown)


@pytest.mark.parametrize(
    ("side", "line"),
    [
        ({"by": "frozen", "judge": "discriminator"}, "starts from latent by frozen"),
        ({**SIDES["fake"], "condition": {"n": "noise.z"}}, r"is made under noise\.z as a mapping"),
    ],
)
def test_samples_that_latents_alone_do_not_make_are_refused_in_a_line(side, line):
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(wired.Judge(2), sgd, nonsaturating.discriminator),
        "generator": Player(wired.Net(3, 2), sgd, nonsaturating.generator),
    }
    own = {"makers": {"frozen": wired.Net(3, 2)}, "draws": {"noise": Prior(z=Normal(2))}}
    with pytest.raises(Mistake, match=line):
        Game(players, Prior(z=Normal(3)), sides={**SIDES, "fake": side}, **own).sample(2)


REFUSED = {  # what is wrong with the wiring, and the line that says so
    "a maker that is no player": (
        {"sides": {**SIDES, "fake": {"by": "generatr"}}}, r"fake\.by=generatr.*mean generator",
    ),
    "a judge that is no player": (
        {"sides": {**SIDES, "real": {"of": "x", "judge": "critic"}}}, r"real\.judge=critic: no player",
    ),
    "sides in a circle": (
        {"sides": {**SIDES, "a": {"by": "generator", "of": "b"}, "b": {"by": "generator", "of": "a"}}}, r"a -> b -> a",
    ),
    "a side made by nobody": ({"sides": {**SIDES, "code": {}}}, r"code is made by nobody"),
    "an objective without its side": ({"sides": {"fake": SIDES["fake"]}}, r"discriminator: its .* looks at real"),
    "a side that nobody judges": ({"sides": {**SIDES, "real": {"of": "x"}}}, r"real, which nobody judges"),
    "a key that a side has not": ({"sides": {**SIDES, "real": {"off": "x"}}}, r"sides\.real\.off.*mean of"),
    "an order that names nobody": ({"order": [["discriminatr"], ["generator"]]}, r"order: there is no .* discriminatr"),
    "an order that leaves one out": ({"order": [["discriminator"]]}, r"order leaves out generator"),
    "an order that names one twice": (
        {"order": [["discriminator", "generator"], ["generator"]]}, r"generator stands in it twice",
    ),
    "samples of no side": ({"samples": "fakes"}, r"samples=fakes.*mean fake"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_wiring_that_cannot_be_is_refused_in_a_line(what):
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(wired.Judge(2), sgd, nonsaturating.discriminator),
        "generator": Player(wired.Net(3, 2), sgd, nonsaturating.generator),
    }
    wiring, line = REFUSED[what]
    with pytest.raises(Mistake, match=line) as mistake:
        Game(players, Prior(z=Normal(3)), **{"sides": SIDES, **wiring})
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize("objective", [None, lambda: torch.zeros(())])
def test_a_player_that_sees_nothing_is_refused(objective):
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(wired.Judge(2), sgd, nonsaturating.discriminator),
        "generator": Player(wired.Net(3, 2), sgd, objective),
    }
    with pytest.raises(Mistake, match=r"^generator sees nothing"):
        Game(players, Prior(z=Normal(3)), sides=SIDES)


def test_a_column_that_the_data_do_not_have_is_refused_before_a_round():
    with pytest.raises(Mistake, match=r"sides\.real needs source, which is no column.*There are: x, y"):
        dry_run(game_of("pix2pix").float(), Batch(torch.randn(4, 2)))


def test_a_player_whose_losses_do_not_reach_it_is_refused_by_name():
    game = game_of("vae_gan").float()
    for term in game.player("encoder").terms.values():
        term.weight = 1.0
    game.player("encoder").regularizers.pop("kl")
    game.player("encoder").regularizers["reconstruction"].side = "fake"
    with pytest.raises(Mistake, match="no loss of encoder reaches any"):
        dry_run(game, Batch(torch.randn(4, 2)))


def test_what_nobody_looks_at_is_not_made_and_a_side_is_made_and_judged_once():
    game = game_of("vae_gan").float()
    asked = []
    for name, player in game.players.items():
        player.network.register_forward_hook(lambda *_, name=name: asked.append(name))
    fit(game, [Batch(torch.randn(4, 2))], [Watch()])
    d = [
        "generator",
        "encoder",
        "generator",
        "discriminator",
        "discriminator",
        "discriminator",
    ]  # fake, code, its x; judged
    assert sorted(asked[:6]) == sorted(d)
    assert asked.count("discriminator") == 3 + 2  # and two fakes on the generator's turn
    assert asked.count("encoder") == 3


def test_entries_that_share_a_fake_side_are_both_descended_and_one_that_stands_twice_is_refused():
    sgd = partial(torch.optim.SGD, lr=0.1)
    sees = [{"real": "a"}, {"real": "b", "weight": 0.5}]
    player = Player(wired.Judge(2), sgd, nonsaturating.discriminator, sees=sees)
    assert player.keys == ["adversarial/a+fake", "adversarial/b+fake"]
    with pytest.raises(ValueError, match="twice"):
        Player(wired.Judge(2), sgd, nonsaturating.generator, sees=sees)
