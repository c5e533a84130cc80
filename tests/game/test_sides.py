"""Wirings written in YAML (tests/game/conf/game): gradients equal those of losses written by hand; ranks; resume."""

from __future__ import annotations

import copy
from functools import cache, partial

import numpy as np
import pytest
import torch
import wired
from play import Watch, fit
from ranked import run_on_ranks
from wired import CONF, GAMES, N, all_weights, batches, game_of

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.game.unrolled import Unrolled
from saddlepoint.layer.pool import Pool
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.path_length import PathLength
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.reconstruction import Reconstruction
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, DiscriminatorOutput


def draws(game, group):
    """The draws of the turn of `group` in the first round, computed independently from the streams."""
    torch.set_default_dtype(torch.float64)
    try:
        streams = {name: Stream(0, name, joint=True) for name in game.streams}
        latent = {}
        for movers in game.order:
            z = game.prior.sample(N, streams["latent"])["z"]
            others = {n: p.sample(N, streams[f"latent/{n}"])["z"] for n, p in game.priors.items() if n != "latent"}
            if movers == group:
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
            player._optimizer.keywords["lr"] = 0.0  # so that all gradients are at the initial weights
        networks = {key: copy.deepcopy(player.network) for key, player in game.players.items()}
        (batch,) = batches(1)
        fit(game, [batch])
    finally:
        torch.set_default_dtype(torch.float32)
    for group in game.order:
        losses = HAND[name](networks, draws(game, group), batch.x, batch.extra_columns["source"])
        assert set(losses) == set(game.players)
        for mover in group:
            weights = list(networks[mover].parameters())
            expected = torch.autograd.grad(losses[mover], weights, retain_graph=True)
            for i, (p, gradient) in enumerate(zip(game.player(mover).network.parameters(), expected, strict=True)):
                torch.testing.assert_close(p.grad, gradient, rtol=1e-9, atol=1e-12, msg=f"{mover}, parameter {i}")
            assert any(gradient.any() for gradient in expected), mover


@pytest.mark.parametrize("name", GAMES)
def test_a_dry_run_accepts_each_wiring(name):
    dry_run(
        game_of(name).float(),
        Batch(batches(1)[0].x.float(), extra_columns={"source": torch.randn(N, 1)}),
    )


# ---------------------------------------------------------------------------------------------- ranks, resume, refusals


@cache
def _weights(world):
    return run_on_ranks(all_weights, world)


@pytest.mark.parametrize("name", GAMES)
def test_two_ranks_match_one_process_with_a_pool_too(name):
    (expected,) = _weights(1)
    for actual in _weights(2):
        assert actual[name].keys() == expected[name].keys()
        for key, value in expected[name].items():
            np.testing.assert_allclose(actual[name][key], value, rtol=1e-8, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("name", ["vae_gan_points", "cycle_points"])
def test_a_run_of_two_n_images_equals_one_resumed_at_n_bit_for_bit(name, tmp_path):
    from runs import assert_equal, rows, state

    from saddlepoint.experiment.train import train

    def run(folder, images):
        overrides = [f"game={name}", "data=gaussians", "data.number=500", "batch=8", f"images={images}", "logger=none",
                 f"prior.z.dim={2 if name == 'cycle_points' else 3}", "metric=[]",
                 "callback=[finite,journal,checkpoint]", "callback.journal.images_between=16",
                 "callback.checkpoint.images_between=80"]  # fmt: skip
        overrides.append(f"outputs={folder}")
        return train(compose([*overrides, "allow_target=[wired]"], CONF))

    straight = run(tmp_path / "a", 160)
    run(tmp_path / "b", 80)
    resumed = run(tmp_path / "b", 160)
    assert_equal(state(straight), state(resumed))
    assert rows(straight) == rows(resumed)
    if name == "cycle_points":
        assert any("pool_a.kept" in key for key in state(straight))


def test_a_game_whose_judge_needs_more_than_samples_trains_samples_and_has_health_checks(tmp_path):
    from runs import rows

    from saddlepoint.experiment.restore import load
    from saddlepoint.experiment.train import train

    overrides = ["game=bigan_points", "data=gaussians", "data.number=500", "batch=8", "images=160", "logger=none",
                 "prior.z.dim=3", "metric=[]", "callback=[finite,journal,checkpoint,health]",
                 "callback.health.images_between=80", "callback.journal.images_between=80",
                 f"outputs={tmp_path}"]  # fmt: skip
    run = train(compose([*overrides, "allow_target=[wired]"], CONF))
    assert load(run, allow=["wired"]).sample(4).shape == (4, 2)
    shown = {key for row in rows(run) for key in row}
    assert any("diversity" in key for key in shown)
    assert any("real_over_fake" in key for key in shown)  # D is asked beside E(x) and z, as it is in training


def test_samples_that_no_player_makes_are_refused():
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(wired.Judge(2), sgd, nonsaturating.discriminator),
        "generator": Player(wired.Net(3, 2), sgd, nonsaturating.generator),
    }
    side = {"by": "frozen", "judge": "discriminator"}
    with pytest.raises(Mistake, match="samples=fake: no player makes this side"):
        Game(players, Prior(z=Normal(3)), sides={**SIDES, "fake": side}, makers={"frozen": wired.Net(3, 2)}).sample(2)


REFUSED = {  # the error in the wiring, and its message
    "a maker that is no player": (
        {"sides": {**SIDES, "fake": {"by": "generatr"}}}, r"fake\.by=generatr.*mean generator",
    ),
    "a judge that is no player": (
        {"sides": {**SIDES, "real": {"of": "x", "judge": "critic"}}}, r"real\.judge=critic: there is no such player",
    ),
    "sides in a circle": (
        {"sides": {**SIDES, "a": {"by": "generator", "of": "b"}, "b": {"by": "generator", "of": "a"}}}, r"a -> b -> a",
    ),
    "a maker called like a method of torch's": ({"makers": {"double": wired.Net(3, 2)}}, r"double: torch\.nn\.Module"),
    "a side made by nobody": ({"sides": {**SIDES, "code": {}}}, r"code starts from the latent and is unchanged"),
    "an objective without its side": ({"sides": {"fake": SIDES["fake"]}}, r"discriminator: its .* uses real=real"),
    "a side that nobody judges": ({"sides": {**SIDES, "real": {"of": "x"}}}, r"real, which has no judge"),
    "a key that a side has not": ({"sides": {**SIDES, "real": {"off": "x"}}}, r"sides\.real\.off.*mean of"),
    "an order that names nobody": ({"order": [["discriminatr"], ["generator"]]}, r"order: there is no .* discriminatr"),
    "an order that leaves one out": ({"order": [["discriminator"]]}, r"order lacks generator"),
    "an order that names one twice": (
        {"order": [["discriminator", "generator"], ["generator"]]}, r"order has generator twice",
    ),
    "an order without groups": ({"order": ["discriminator", "generator"]}, r"order: discriminator is not in a group"),
    "a draw called as the latents": ({"draws": {"latent": Prior(z=Normal(5))}}, r"game\.draws\.latent: .* latents"),
    "a draw called as a side": ({"draws": {"fake": Prior(z=Normal(5))}}, r"game\.draws\.fake: a side has this name"),
    "a draw called as a column": ({"draws": {"x": Prior(z=Normal(5))}}, r"game\.draws\.x: a column"),
    "a maker called as a player": ({"makers": {"generator": Pool()}}, r"game\.makers\.generator: a player"),
    "a side called as the latents": (
        {"sides": {**SIDES, "latent": {"by": "generator", "of": "x"}}}, r"game\.sides\.latent: .* latents",
    ),
    "samples of no side": ({"samples": "fakes"}, r"samples=fakes.*mean fake"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_an_impossible_wiring_is_refused(what):
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(wired.Judge(2), sgd, nonsaturating.discriminator),
        "generator": Player(wired.Net(3, 2), sgd, nonsaturating.generator),
    }
    wiring, line = REFUSED[what]
    with pytest.raises(Mistake, match=line) as mistake:
        Game(players, Prior(z=Normal(3)), **{"sides": SIDES, **wiring})
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize(("objective", "line"), [(None, "no loss"), (lambda: torch.zeros(()), "no samples")])
def test_a_player_without_losses_or_samples_is_refused(objective, line):
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(wired.Judge(2), sgd, nonsaturating.discriminator),
        "generator": Player(wired.Net(3, 2), sgd, objective),
    }
    with pytest.raises(Mistake, match=f"^generator has {line}"):
        Game(players, Prior(z=Normal(3)), sides=SIDES)


def test_a_missing_column_is_refused_before_a_round():
    with pytest.raises(Mistake, match=r"sides\.real needs source, which is not a column.*There are: x, y"):
        dry_run(game_of("pix2pix").float(), Batch(torch.randn(4, 2)))


def test_a_player_without_gradients_is_refused_by_name():
    game = game_of("vae_gan_points").float()
    for term in game.player("encoder").terms.values():
        term.weight = 1.0
    game.player("encoder").regularizers.pop("kl")
    game.player("encoder").regularizers["reconstruction"].side = "fake"
    with pytest.raises(Mistake, match="no loss of encoder reaches any"):
        dry_run(game, Batch(torch.randn(4, 2)))


def test_a_side_is_made_and_judged_at_most_once_and_only_if_it_is_used():
    game = game_of("vae_gan_points").float()
    calls = []
    for name, player in game.players.items():
        player.network.register_forward_hook(lambda *_, name=name: calls.append(name))
    fit(game, [Batch(torch.randn(4, 2))], [Watch()])
    made = ["generator", "encoder", "generator"]  # fake, code, reconstruction
    assert sorted(calls[:6]) == sorted([*made, *["discriminator"] * 3])
    assert calls.count("discriminator") == 3 + 2  # and two fakes on the turn of the generator
    assert calls.count("encoder") == 3


def test_entries_of_sees_may_share_a_fake_side_and_a_duplicate_is_refused():
    sgd = partial(torch.optim.SGD, lr=0.1)
    sees = [{"real": "a"}, {"real": "b", "weight": 0.5}]
    player = Player(wired.Judge(2), sgd, nonsaturating.discriminator, sees=sees)
    assert player.adversarial_keys == ["adversarial/a+fake", "adversarial/b+fake"]
    with pytest.raises(ValueError, match="twice"):
        Player(wired.Judge(2), sgd, nonsaturating.generator, sees=sees)


SGD = partial(torch.optim.SGD, lr=0.1)


def two_players(d=None, g=None):
    """A discriminator and a generator of points, with these settings."""
    return {
        "discriminator": Player(wired.Judge(2), SGD, nonsaturating.discriminator, **(d or {})),
        "generator": Player(wired.Net(3, 2), SGD, nonsaturating.generator, **(g or {})),
    }


def test_a_player_in_the_group_of_the_unrolled_one_is_refused():
    order = [["discriminator", "generator"]]
    with pytest.raises(Mistake, match="generator and discriminator move at once, so no player moves against"):
        Unrolled(two_players(), Prior(z=Normal(3)), sides=SIDES, order=order)
    Unrolled(two_players(), Prior(z=Normal(3)), sides=SIDES, order=order, steps=0)


def test_unrolled_steps_do_not_change_a_head_whose_term_is_not_due():
    class Headed(wired.Judge):
        def __init__(self):
            super().__init__(2)
            self.head = torch.nn.Linear(2, 1)

        def forward(self, x, condition=None):
            return DiscriminatorOutput(super().forward(x).logits, heads={"head": self.head(x)})

    class Head(Regularizer):
        def forward(self, turn):
            return turn["real"].output.heads["head"].square().mean()

    players = two_players()
    players["discriminator"] = Player(Headed(), SGD, nonsaturating.discriminator, {"head": Head(every=2)})
    game = Unrolled(players, Prior(z=Normal(3)), sides=SIDES, steps=2)
    fit(game, [Batch(torch.randn(8, 2)) for _ in range(4)])
    assert game.rounds == 4


def test_a_slope_may_be_taken_at_a_side_with_several_parts():
    class Encoder(wired.Net):
        def forward(self, x, condition=None):
            return {"z": super().forward(x)}

    class SlopePenalty(Regularizer):
        slope_at = frozenset({"code"})

        def forward(self, turn):
            x, code = turn["decoded"].x, turn["code"].x["z"]
            (slope,) = torch.autograd.grad(x.sum(), code, create_graph=True)
            return slope.square().sum(1).mean()

    players = two_players(g={"regularizers": {"slope": SlopePenalty()}})
    players["encoder"] = Player(Encoder(2, 3), SGD, None, {"back": Reconstruction(side="decoded")})
    sides = {**SIDES, "code": {"by": "encoder", "of": "x"}, "decoded": {"by": "generator", "of": "code"}}
    game = Game(players, Prior(z=Normal(3)), sides=sides)
    batch = Batch(torch.randn(8, 2))
    dry_run(game, batch)
    fit(game, [batch])
    assert game.last_losses["generator"][0]["slope"] > 0


def test_a_slope_at_an_unknown_side_is_refused():
    sides = {"source": SIDES["real"], "fake": SIDES["fake"]}
    players = two_players({"sees": {"real": "source"}}, {"regularizers": {"r1": R1()}})
    with pytest.raises(Mistake, match="there is no side real"):
        dry_run(Game(players, Prior(z=Normal(3)), sides=sides), Batch(torch.randn(4, 2)))


def test_a_role_that_only_regularizers_use_must_be_a_side_too():
    with pytest.raises(Mistake, match=r"generator: sees real=reel: there is no such side.*mean real"):
        Game(two_players(g={"sees": {"real": "reel"}}), Prior(z=Normal(3)), sides=SIDES)


def test_a_reconstruction_compares_what_its_player_sees():
    far = {"of": "source", "judge": "discriminator"}
    players = two_players(g={"sees": {"real": "far"}, "regularizers": {"l1": Reconstruction()}})
    game = Game(players, Prior(z=Normal(3)), sides={**SIDES, "far": far})
    fit(game, [Batch(torch.zeros(8, 2), extra_columns={"source": torch.full((8, 2), 1000.0)})])
    assert game.last_losses["generator"][0]["l1"] > 900


def test_path_length_trains_with_compiled_networks():
    players = two_players(g={"regularizers": {"path": PathLength(every=1)}})
    players["generator"].network = wired.Mapped(3, 2)
    game = Game(players, Prior(z=Normal(3)), sides=SIDES)
    game.compile_players("aot_eager")
    fit(game, [Batch(torch.randn(8, 2)) for _ in range(2)])
    assert game.rounds == 2


@pytest.mark.parametrize("name", ["pix2pix", "vae_gan_points", "bigan_points"])
def test_multiple_fakes_per_real_do_not_change_the_rows_of_a_side_of_the_batch(name):
    game = game_of(name).float()
    game.player("discriminator").multiple = 2
    batch = Batch(torch.randn(N, 2), extra_columns={"source": torch.randn(N, 1)})
    fit(game, [batch, batch])
    ((turn, _),) = game.build_turns(batch, ["discriminator"])
    side = {"pix2pix": "fake", "vae_gan_points": "reconstruction", "bigan_points": "real"}[name]
    assert len(turn.latent["z"]) == 2 * N
    assert len(turn[side].x) == len(turn[side].logits) == N


def test_reals_for_the_judge_come_from_the_side_that_it_sees_as_real():
    from saddlepoint.game.sampling import reals_for_judge
    from saddlepoint.stream import Stream

    game, (batch,) = game_of("cycle_points"), batches(1)
    sample = reals_for_judge(game, batch, Stream(0, "health"))
    torch.testing.assert_close(sample.x, batch.x)
    torch.testing.assert_close(sample.logits, game.player("d_a").network(batch.x, {}).logits.float(), check_dtype=False)
