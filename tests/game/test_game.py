"""Laws of the game that hold for every objective and penalty."""

import copy
from functools import partial
from importlib import import_module

import pytest
import torch
from play import BY_CLASS, RULES, Critic, Maker, Watch, batches, fit, game, networks
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.objective import hinge, minimax, nonsaturating, relativistic
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.schedule.linear import Linear
from saddlepoint.schedule.step import Step
from saddlepoint.turn import Batch

OBJECTIVES = ["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"]
TERMS = {"r1": R1, "r2": R2, "gradient_penalty": GradientPenalty}
SETS = [
    (),
    ("r1",),
    ("r2",),
    ("gradient_penalty",),
    ("r1", "r2"),
    ("r1", "gradient_penalty"),
    ("r1", "r2", "gradient_penalty"),
]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("terms", SETS, ids="+".join)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_plays_a_round_with_every_set_of_penalties_under_every_rule_and_precision(
    objective, terms, rule, precision, monkeypatch
):
    slopes = []

    def recorded(sample):
        slopes.append((sample.x.detach(), squared_slope(sample)))
        return slopes[-1][1]

    for name in terms:
        monkeypatch.setattr(f"saddlepoint.regularizer.{name}.squared_slope", recorded)
    plays = game(import_module(f"saddlepoint.objective.{objective}"), {name: TERMS[name]() for name in terms}, rule)
    before, critic = copy.deepcopy(plays.state_dict()), copy.deepcopy(plays.discriminator.network)
    fit(plays, batches(1), precision=precision)
    assert set(plays.last_losses["discriminator"][0]) == {"adversarial", *terms}
    assert len(slopes) == len(terms)
    for x, slope in slopes:  # the slope of D at exactly these points, in float32 whatever the precision
        x = x.float().requires_grad_()
        (exact,) = torch.autograd.grad(critic(x).logits.sum(), x)
        torch.testing.assert_close(slope, exact.square().sum(1), rtol=1e-5, atol=1e-7)
    assert all(torch.isfinite(value).all() for value in plays.state_dict().values())
    for player in plays.players:
        keys = [key for key in before if key.startswith(f"players.{player}.network") and key.endswith("weight")]
        assert any(not torch.equal(before[key], plays.state_dict()[key]) for key in keys)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mover", ["discriminator", "generator"])
def test_a_turn_moves_only_its_player(mover, rule):
    other = {"discriminator": "generator", "generator": "discriminator"}[mover]
    plays = game(hinge, {"r1": R1()}, rule, **{other[0]: {"every": 10**9}})
    before = copy.deepcopy(dict(plays.named_parameters()))
    fit(plays, batches(3))
    for name, parameter in plays.named_parameters():
        moved = not torch.equal(parameter, before[name])
        if name.startswith(f"players.{other}"):
            assert not moved, name
            assert parameter.grad is None, name
    assert any(not torch.equal(p, before[n]) for n, p in plays.named_parameters() if n.startswith(f"players.{mover}"))


def test_with_every_five_the_generator_first_moves_in_the_fifth_round():
    plays = game(minimax, g={"every": 5})
    weight = plays.generator.network.network[0].weight
    weights = []
    fit(plays, batches(11), [Watch(after=lambda g, i: weights.append(weight.detach().clone()))])
    moved = [i + 1 for i in range(1, 11) if not torch.equal(weights[i], weights[i - 1])]
    assert moved == [5, 10]
    assert plays.rounds == 11
    assert plays.images == 11 * 16


def test_accumulating_over_chunks_does_not_change_the_game():
    torch.manual_seed(0)
    nets = Maker(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))), networks()[1]
    ends = []
    for chunks in (1, 4):
        plays = game(
            nonsaturating,
            {"r1": R1(), "gp": GradientPenalty()},
            nets=copy.deepcopy(nets),
            d={"accumulate": chunks},
            g={"accumulate": chunks},
        )
        fit(plays, batches(5))
        ends.append(nn.utils.parameters_to_vector(plays.parameters()))
    assert torch.allclose(ends[0], ends[1], atol=1e-6)


def test_a_batch_that_cannot_be_split_evenly_is_refused():
    with pytest.raises(ValueError, match="16 does not divide into accumulate=3"):
        fit(game(minimax, nets=(Maker(nn.Linear(3, 2)), networks()[1]), d={"accumulate": 3}), batches(1))


def test_a_term_that_uses_the_whole_batch_forbids_accumulation():
    class Whole(Regularizer):
        coupled = True

    with pytest.raises(ValueError, match="whole batch, and accumulate=2"):
        game(minimax, {"whole": Whole()}, d={"accumulate": 2})


@pytest.mark.parametrize("rule", RULES)
def test_clipping_bounds_the_gradient_of_the_step(rule):
    free, bound = game(minimax, rule=rule), game(minimax, rule=rule, d={"clip": 1e-2})
    bound.load_state_dict(free.state_dict())
    moves = []
    for plays in (free, bound):
        start = nn.utils.parameters_to_vector(plays.discriminator.network.parameters()).detach().clone()
        fit(plays, batches(1))
        moves.append(nn.utils.parameters_to_vector(plays.discriminator.network.parameters()) - start)
    assert moves[1].norm().item() == pytest.approx(0.1 * 1e-2, rel=1e-3)  # SGD with lr 0.1
    assert torch.allclose(moves[1] / moves[1].norm(), moves[0] / moves[0].norm(), atol=1e-3)
    assert bound.report()["discriminator/gradient_norm"] == pytest.approx(
        free.report()["discriminator/gradient_norm"], rel=1e-4
    )


def test_schedules_move_learning_rates_betas_and_weights_by_images():
    adam = partial(torch.optim.Adam, lr=Linear(1.0, 0.0, images=160), betas=(Step(0.5, [32], 0.5), 0.9))
    plays = game(minimax, {"r1": R1(Linear(10.0, 0.0, images=160))}, optimizer=adam)
    settings = []

    def after(g, i):
        (group,) = g.optimizers(use_pl_optimizer=False)[0].param_groups
        settings.append((group["lr"], group["betas"]))

    fit(plays, batches(12), [Watch(after=after)])
    assert [lr for lr, _ in settings] == pytest.approx([max(1 - 0.1 * i, 0) for i in range(12)])
    assert [betas for _, betas in settings[:3]] == [(0.5, 0.9), (0.5, 0.9), (0.25, 0.9)]
    assert plays.last_losses["discriminator"][0]["r1"].item() == 0.0


def test_the_discriminator_sees_real_then_fake_whatever_the_penalties():
    order = []

    class Recorder(nn.Module):
        def forward(self, x):
            order.append(float(x.detach().mean()))
            return x

    critic = Critic(Recorder(), nn.Linear(2, 1))
    maker = Maker(nn.Linear(3, 2))
    nn.init.zeros_(maker.network.weight)
    nn.init.constant_(maker.network.bias, -7.0)
    plays = game(hinge, {"r2": R2(), "gp": GradientPenalty()}, nets=(maker, critic), g={"every": 10**9})
    fit(plays, [Batch(torch.full((4, 2), 5.0))])
    assert order[:2] == [5.0, -7.0]
    assert -7 < order[2] < 5


def test_an_objective_gets_only_the_sides_of_its_arguments():
    inputs = []

    class Recorder(nn.Module):
        def forward(self, x):
            inputs.append(x)
            return x

    plays = game(nonsaturating, nets=(Maker(nn.Linear(3, 2)), Critic(Recorder(), nn.Linear(2, 1))))
    fit(plays, batches(1))
    assert len(inputs) == 3  # real and fake for D, fake alone for G
    plays = game(relativistic, nets=(Maker(nn.Linear(3, 2)), Critic(Recorder(), nn.Linear(2, 1))))
    fit(plays, batches(1))
    assert len(inputs) == 3 + 4


def test_input_gradients_are_computed_only_for_a_due_penalty():
    requires_grad = []

    class Recorder(nn.Module):
        def forward(self, x):
            requires_grad.append(x.requires_grad)
            return x

    def recorded(terms):
        requires_grad.clear()
        critic = Critic(Recorder(), nn.Linear(2, 1))
        fit(game(minimax, terms, nets=(Maker(nn.Linear(3, 2)), critic), g={"every": 10**9}), batches(2))
        return list(requires_grad)

    assert recorded({}) == [False] * 4
    assert recorded({"r1": R1(every=2)}) == [True, False, False, False]
    assert recorded({"r2": R2()}) == [False, True, False, True]


def test_a_penalty_does_not_change_the_latents():
    """With and without interpolation coefficients the generator starts from the same latents."""
    latents = []
    for terms in ({}, {"gp": GradientPenalty()}):
        plays = game(minimax, terms)
        fit(plays, batches(4))
        latents.append(plays.prior.sample(3, plays.streams["latent"])["z"])
    assert torch.equal(*latents)


def test_a_generator_may_use_a_multiple_of_the_batch():
    sizes = []

    class Recorder(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x

    plays = game(hinge, nets=(Maker(nn.Linear(3, 2)), Critic(Recorder(), nn.Linear(2, 1))), g={"multiple": 2})
    fit(plays, batches(1))
    assert sizes == [16, 16, 32]
    with pytest.raises(ValueError, match="same multiple"):
        game(hinge, rule="simultaneous", g={"multiple": 2})


def test_the_weight_of_an_objective_scales_its_gradient():
    moves = []
    torch.manual_seed(3)
    nets = networks()
    for weight in (1.0, 0.5):
        generator, discriminator = copy.deepcopy(nets)
        start = nn.utils.parameters_to_vector(discriminator.parameters()).detach().clone()
        fit(game(minimax, nets=(generator, discriminator), d={"weight": weight}, g={"every": 10**9}), batches(1))
        moves.append(nn.utils.parameters_to_vector(discriminator.parameters()) - start)
    assert torch.allclose(moves[1], moves[0] / 2, atol=1e-7)


def test_a_player_without_an_objective_minimises_its_regularizers_only():
    class Pull(Regularizer):
        def forward(self, turn):
            return turn["fake"].x.square().mean()

    plays = game(minimax)
    plays.generator.objective, plays.generator.sides = None, ()
    plays.generator.regularizers["pull"] = Pull()
    fit(plays, batches(1))
    assert set(plays.last_losses["generator"][0]) == {"pull"}
    plays.generator.regularizers.pop("pull")
    before = copy.deepcopy(plays.generator.network.state_dict())
    fit(plays, batches(1))
    assert all(torch.equal(v, before[k]) for k, v in plays.generator.network.named_parameters())


def test_sampling_changes_no_mode_no_buffer_and_no_stream():
    plays = game(minimax)
    plays.train()
    plays.generator.network.network[3].eval()  # a frozen layer stays frozen
    state, stream = copy.deepcopy(plays.state_dict()), plays.streams["latent"].state
    rng = torch.get_rng_state()
    assert torch.equal(plays.sample(9), plays.sample(9))
    assert plays.generator.network.training
    assert not plays.generator.network.network[3].training
    assert all(torch.equal(value, state[key]) for key, value in plays.state_dict().items())
    assert torch.equal(plays.streams["latent"].state, stream)
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize(
    ("key", "value"), [("every", 0), ("every", 2.5), ("multiple", 0), ("accumulate", -1), ("clip", 0)]
)
def test_invalid_settings_are_refused_by_name(key, value):
    with pytest.raises(ValueError, match=key):
        game(minimax, d={key: value})


def test_a_checkpoint_of_a_later_format_is_refused():
    plays = game(minimax)
    checkpoint = {}
    plays.on_save_checkpoint(checkpoint)
    checkpoint["saddlepoint"]["format"] += 1
    with pytest.raises(Mistake, match="format 3, and this version reads 1 and 2"):
        plays.on_load_checkpoint(checkpoint)


def test_a_checkpoint_of_format_1_resumes_like_one_of_format_2():
    def after_ten_rounds(migrate):
        torch.manual_seed(0)
        saved, resumed, checkpoint = game(minimax), game(minimax), {}
        saved.on_save_checkpoint(checkpoint)
        torch.manual_seed(1)
        if migrate:  # format 1 has the generators of one process, not a list by rank
            (checkpoint["saddlepoint"]["global"],) = checkpoint["saddlepoint"]["global"]
            checkpoint["saddlepoint"]["format"] = 1
        resumed.load_state_dict(saved.state_dict())
        resumed.on_load_checkpoint(checkpoint)
        draws = []
        fit(resumed, batches(10), [Watch(after=lambda *_: draws.append(torch.rand(1).item()))])
        return draws, resumed.report()

    assert after_ten_rounds(migrate=True) == after_ten_rounds(migrate=False)


def test_an_objective_with_other_arguments_than_real_and_fake_is_refused():
    class Strange:
        generator = staticmethod(lambda fake: fake.mean())
        discriminator = staticmethod(lambda real, generated: real.mean())

    with pytest.raises(ValueError, match="generated"):
        game(Strange)


def test_batch_statistics_normalise_by_the_batch_and_do_not_change_the_running_ones():
    plays = game(hinge, g={"average": None})
    fit(plays, batches(3))
    before = copy.deepcopy(plays.state_dict())
    norm = plays.generator.network.network[1]
    outputs = []
    norm.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    running, batch = plays.sample(64, average=False), plays.sample(64, average=False, batch_norm="batch")
    assert not torch.allclose(running, batch)
    plain = (outputs[1] - norm.bias) / norm.weight
    assert torch.allclose(plain.mean(0), torch.zeros(8), atol=1e-5)
    assert torch.allclose(plain.var(0, correction=0), torch.ones(8), atol=1e-2)
    assert not torch.allclose(((outputs[0] - norm.bias) / norm.weight).mean(0), torch.zeros(8), atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in plays.state_dict().items())


class Echo(nn.Module):
    """A generator that returns its condition."""

    def forward(self, latent, condition):
        return condition["label"].float()[:, None].repeat(1, 2) + 0 * latent["z"].sum()


def test_a_generator_with_classes_samples_them_uniformly():
    from saddlepoint.callback.evaluation import Sampler

    plays = game(hinge, nets=(Echo(), networks()[1]), sides=BY_CLASS, conditions="labels", classes={"y": 5})
    sample = Sampler(plays, average=False)
    x, y = sample(5_000)
    assert torch.equal(x[:, 0].long(), y)
    assert (y.bincount(minlength=5) / 5_000 - 0.2).abs().max() < 0.03
    sample = Sampler(plays, average=False)
    labels = [sample(n)[1] for n in (100, 400)]
    assert torch.equal(torch.cat(labels), y[:500])
    assert plays.sample(7).shape == (7, 2)
    assert Sampler(game(hinge))(3)[1] is None


def test_hooks_of_an_optimizer_are_called_at_each_step():
    def steps(*hooked):
        torch.manual_seed(0)
        plays, seen = game(minimax), []

        def register(plays, index):
            for name in hooked if index == 0 else ():
                plays.optimizer(name).register_step_post_hook(lambda *_: seen.append(1))

        fit(plays, batches(4), [Watch(before=register)])
        return len(seen), plays.state_dict()

    (without, one), (twice, other) = steps(), steps("discriminator", "generator")
    assert (without, twice) == (0, 8)
    assert all(torch.equal(one[key], other[key]) for key in one)
