"""Variants that only need a config: the property that each is made for, several ranks, and resuming."""

from __future__ import annotations

import copy
import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import variants
from play import Watch, fit
from ranked import run_on_ranks
from torch import nn
from torch.nn.functional import cross_entropy, softplus
from variants import CONFIGS, batches, game_of

from saddlepoint.config.compose import compose
from saddlepoint.game.dry_run import dry_run
from saddlepoint.turn import Sample

NAMES = [name for name in CONFIGS if name != "plain"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_accepts_each_variant_and_finds_no_unused_condition(name):
    game, data = game_of(name)
    assert dry_run(game, data.first_batch(8)) == []


@cache
def _weights():
    return [variants.weights_on_rank(0, NAMES), *run_on_ranks(variants.weights_on_rank, 2, NAMES)]


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_match_one_process_with_masks_and_probabilities_of_the_global_batch(name):
    expected, rank_0, rank_1 = _weights()
    for key, value in expected[name].items():
        assert (rank_0[name][key] == rank_1[name][key]).all(), key
        np.testing.assert_allclose(rank_0[name][key], value, rtol=1e-8, atol=1e-8, err_msg=key)
    if name.startswith("adaptive"):
        (p,) = (value for key, value in expected[name].items() if key.startswith("makers.") and key.endswith(".p"))
        assert p != 0.5, "p must have moved"


# ---------------------------------------------------------------------------------------------- conditions on a class


def test_a_projection_game_whose_embedding_is_0_is_the_unconditional_game_bit_for_bit():
    game, data = game_of("projection")
    nn.init.zeros_(game.player("discriminator").network.readout.embedding.weight).requires_grad_(False)
    plain, _ = game_of("projection", "architecture.discriminator.readout=null")
    plain.load_state_dict({key: value for key, value in game.state_dict().items() if "embedding" not in key})
    for plays in (game, plain):
        fit(plays, batches(data, 8))
    for key, value in plain.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(game.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("overrides", "classes"),
    [(["data=digits"], 10), (["data=gaussians"], 8), (["data=gaussians", "data.kind=ring-U"], 7),
     (["data=gaussians", "data.kind=grid-P", "data.classes=25"], 25)],
)  # fmt: skip
def test_layers_have_the_number_of_classes_of_the_data_or_modes_of_a_mixture(overrides, classes):
    config = compose([*CONFIGS["projection"], *overrides, "+layer@architecture.generator.norm=conditional_batch_norm"])
    assert config.architecture.discriminator.readout.classes == classes
    assert config.architecture.generator.norm.classes == classes
    assert config.game.classes.y == classes


@pytest.mark.parametrize("name", ["cgan", "projection", "acgan"])
def test_samples_follow_the_requested_class(name):
    game, data = game_of(name)
    fit(game, batches(data, 4))
    latent = {name: z[:1].expand(10, -1) for name, z in game.latent(1).items()}
    x = game(latent, {"label": torch.arange(10)})
    assert len(x.flatten(1).unique(dim=0)) == 10, "one latent, ten classes"
    threes = game.sample(5, {"label": torch.full((5,), 3)})
    assert threes.shape == (5, 1, 8, 8)


def test_acgans_terms_are_cross_entropies_of_reals_and_fakes_and_gs_gradient_is_that_of_the_fakes():
    torch.set_default_dtype(torch.float64)
    try:
        game, data = game_of("acgan", "optimizer.discriminator.lr=0", "optimizer.generator.lr=0")
        game.double()
        networks = {name: copy.deepcopy(game.player(name).network) for name in game.players}
        (batch,) = batches(data, 1)
        calls = {}
        for player in ("discriminator", "generator"):
            term = game.player(player).terms["classification"]
            term.register_forward_hook(
                lambda term, turns, value, player=player: calls.update({player: (turns[0], value)})
            )
        fit(game, [batch])
    finally:
        torch.set_default_dtype(torch.float32)
    discriminator, generator = networks["discriminator"], networks["generator"]
    y = batch.y
    for player in ("discriminator", "generator"):
        turn, value = calls[player]
        fake = generator(turn.latent, {"label": y})
        fake_loss = cross_entropy(discriminator(fake).heads["label"], y)
        real_loss = cross_entropy(discriminator(batch.x).heads["label"], y)
        expected = real_loss + fake_loss if player == "discriminator" else fake_loss
        torch.testing.assert_close(value, expected)
    loss = softplus(-discriminator(fake).logits).mean() + fake_loss
    gradients = torch.autograd.grad(loss, list(generator.parameters()))
    for p, gradient in zip(game.player("generator").network.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient)


# -------------------------------------------------------------------------------------------------------- inpainting


@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_of_several_fakes_equals_its_real_outside_its_own_mask(accumulate):
    overrides = [f"game.players.generator.{key}" for key in ("multiple=2", f"accumulate={accumulate}")]
    game, data = game_of("inpainting", *overrides)
    (batch,) = batches(data, 1)
    reconstruction = game.player("generator").terms["reconstruction"]
    for turn, _ in game.build_turns(batch, ["generator"], accumulate):
        gap = turn["fake"].x - turn.batch.x.repeat(2, 1, 1, 1)
        torch.testing.assert_close(reconstruction(turn), gap.square().mean())
        x, known = turn["fake"].x, turn.batch.x.repeat(2, 1, 1, 1)
        hole = turn["fake"].condition["mask"].expand_as(x) > 0
        assert torch.equal(x[~hole], known[~hole])
        assert not torch.isclose(x[hole], known[hole]).any()


def test_known_pixels_are_unchanged_in_training_and_in_samples_bit_for_bit():
    game, data = game_of("inpainting")
    (batch,) = batches(data, 1)
    turns = []
    term = game.player("generator").terms["reconstruction"]
    term.register_forward_pre_hook(lambda _, arguments: turns.append(arguments[0]))
    fit(game, [batch])
    turn = turns[0]
    hole = turn.draws["hole"]["mask"].bool()
    assert hole.flatten(1).unique(dim=0).shape[0] > 1, "each sample has its own hole"
    fake = turn["fake"].x
    assert torch.equal(fake[~hole], batch.x[~hole])
    assert not torch.isclose(fake[hole], batch.x[hole]).any(), "the hole is filled in"
    assert (turn["known"].x[hole] == 0).all(), "G does not see the hole"

    n = 40
    x = data.batch_at("validation", torch.arange(n)).x
    filled = game.sample(n)
    same = filled == x
    assert torch.equal(same.flatten(1).double().mean(1) >= 0.75, torch.ones(n, dtype=torch.bool)), "16 of 64 pixels"
    mask = torch.zeros(n, 1, 8, 8)
    mask[:, :, 1:3, 5:7] = 1
    samples = game.sample(n, {"mask": mask, "x": x})
    assert torch.equal(samples[mask == 0], x[mask == 0])
    assert torch.equal(game.sample(n, {"mask": 0 * mask, "x": x}), x)


# ---------------------------------------------------------------------------------------------- adaptive augmentation


def probabilities(game, data, rounds):
    """p after each round."""
    values = []
    fit(game, data, [Watch(after=lambda game, i: values.append(game.makers["augment"].p.item()))])
    assert len(values) == rounds
    return values


def test_p_rises_if_d_overfits_and_falls_if_it_cannot_separate():
    overrides = [
        "game.makers.augment.start=0",
        "game.makers.augment.speed=4000",
        "optimizer.discriminator.lr=0.3",
        "optimizer.generator.lr=0",
    ]
    game, data = game_of("adaptive augmentation on digits", *overrides)
    few = batches(data, 1)
    rising = probabilities(game, few * 150, 150)
    assert rising[-1] > 0.2
    assert rising[-1] == max(rising)

    overrides = ["game.makers.augment.start=0.5", "game.makers.augment.speed=4000", "optimizer.discriminator.lr=0"]
    game, data = game_of("adaptive augmentation on digits", *overrides)
    nn.init.zeros_(game.player("discriminator").network.readout.linear.weight)
    nn.init.zeros_(game.player("discriminator").network.readout.linear.bias)
    falling = probabilities(game, batches(data, 40), 40)
    assert falling[-1] == pytest.approx(0.5 - 40 * 16 / 4000)
    assert falling == sorted(falling, reverse=True)


def test_reals_and_fakes_are_augmented_for_d_and_g_and_samples_are_not():
    game, data = game_of("adaptive augmentation on digits", "game.makers.augment.start=1.0")
    (batch,) = batches(data, 1)
    ((turn, _),) = game.build_turns(batch, ["generator"])
    real, fake = turn["augmented_real"].x, turn["augmented_fake"].x
    assert not torch.equal(real, batch.x)
    assert not torch.equal(fake, turn["fake"].x)
    draws = turn.draws
    assert not torch.equal(draws["augment_real"]["z"], draws["augment_fake"]["z"])
    gradients = torch.autograd.grad(
        turn["augmented_fake"].logits.sum(), list(game.player("generator").network.parameters())
    )
    assert any(gradient.any() for gradient in gradients)
    x = game.sample(4)
    network = game.player("generator").average.network
    assert torch.equal(x, network(game.latent(4)))


def test_at_p_0_the_game_is_the_one_without_augmentation_bit_for_bit():
    game, data = game_of(
        "adaptive augmentation on digits", "game.makers.augment.speed=null", "game.makers.augment.start=0"
    )
    fit(game, batches(data, 6))
    plain, _ = game_of("plain")
    fit(plain, batches(data, 6))
    for key, value in plain.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(game.state_dict()[key], value), key


def test_a_penalty_at_the_reals_is_computed_at_the_augmented_reals():
    game, data = game_of("adaptive augmentation on digits", "regularizer=[r1]", "game.makers.augment.start=0.5")
    assert dry_run(game, data.first_batch(8)) == []
    samples = []
    term = game.player("discriminator").terms["r1"]
    term.register_forward_pre_hook(lambda _, arguments: samples.append(arguments[0]["real"]))
    fit(game, batches(data, 1))
    assert isinstance(samples[0], Sample)
    assert samples[0].x.requires_grad
    assert not torch.equal(samples[0].x, batches(data, 1)[0].x)


# ------------------------------------------------------------------------------------------- as documented, resumed


EXTENDING = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
COMMANDS = re.findall(r"^\| [^|]*\(\w[^|]* \d{4}\) \| `([^`]+)` \|$", EXTENDING.read_text(), re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_variant_in_the_documents_trains_and_gives_samples(command, tmp_path):
    from saddlepoint.experiment.restore import load
    from saddlepoint.experiment.train import train

    overrides = ["images=192", "logger=none", "metric=[]", "evaluation.extractor=null", "callback=[finite,checkpoint]"]
    run = train(compose([*shlex.split(command), *overrides, f"outputs={tmp_path}"]))
    game = load(run)
    assert game.images == 192
    assert torch.isfinite(game.sample(3)).all()


def test_every_documented_variant_has_a_test():
    assert len(COMMANDS) == 15


@pytest.mark.parametrize(
    "name", ["adaptive augmentation on points", "projection", "inpainting", "growing", "tokens", "vae"]
)
def test_a_run_of_two_n_images_equals_one_resumed_at_n_bit_for_bit(name, tmp_path):
    from runs import assert_equal, rows, state

    from saddlepoint.experiment.train import train

    def run(folder, images):
        overrides = [f"images={images}", "batch=16", "evaluation.extractor=null", "metric=[]", f"outputs={folder}"]
        overrides += ["callback=[finite,journal,checkpoint]", "callback.journal.images_between=16"]
        return train(variants.config_of(name, *overrides, "callback.checkpoint.images_between=1_000_000"))

    straight = run(tmp_path / "a", 192)
    run(tmp_path / "b", 96)
    resumed = run(tmp_path / "b", 192)
    assert_equal(state(straight), state(resumed))
    assert rows(straight) == rows(resumed)
