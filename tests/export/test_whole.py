"""All that makes samples as one module: chains of networks and makers, their inputs by name, and noise inside them."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from play import Critic, game
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.export import agreement
from saddlepoint.export.determinism import check_deterministic, check_no_dropout
from saddlepoint.export.format import onnx, program, safetensors
from saddlepoint.export.generator import wrap_positional
from saddlepoint.export.sampling_module import SamplingModule, Wiring
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import condition_entries, latent_parts, upstream_sides
from saddlepoint.game.player import Player
from saddlepoint.game.sampling import (
    draw_condition,
    generate,
    ordered_condition,
    prepare_sampling_networks,
    sampling_state,
)
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream

SGD = partial(torch.optim.SGD, lr=0.1)


class Net(nn.Module):
    """x, or its parts, and the entries `reads` of the condition -> `dim` numbers; a mapping of part `z` if `code`."""

    def __init__(self, inputs, dim, reads=(), code=False, inside=None):
        super().__init__()
        self.reads, self.code = reads, code
        self.inside = inside or nn.Identity()
        self.linear = nn.Linear(inputs, dim)

    def forward(self, x, condition):
        parts = [*(x.values() if isinstance(x, dict) else [x]), *(condition[name] for name in self.reads)]
        made = self.inside(self.linear(torch.cat([part.flatten(1) for part in parts], 1)))
        return ({"z": made}, "beside") if self.code else made


class Blend(nn.Module):
    """A maker: x, and the entry `share` of the condition, by a share that is drawn."""

    def forward(self, x, condition):
        return torch.lerp(x, condition["known"], condition["share"])


class Twice(nn.Module):
    """A maker without a condition."""

    def forward(self, x, condition):
        return 2 * x


def chained(names=("share", "source"), **settings):
    """A code is encoded from a source column; samples are generated from it and a latent part, and blended."""
    share, source = names
    sides = {
        "real": {"of": "x", "judge": "discriminator"},
        "known": {"of": source, "by": "twice"},
        "code": {"of": source, "by": "encoder", "condition": {"style": "latent.style"}},
        "fake": {"of": "code", "by": ["generator", "blend"], "judge": "discriminator",
                 "condition": {"known": "known", "share": f"mix.{share}"}},
        "other": {"by": "generator"},
    }  # fmt: skip
    torch.manual_seed(0)
    players = {
        "encoder": Player(Net(2 + 3, 4, ("style",), code=True), SGD, nonsaturating.generator),
        "discriminator": Player(Critic(nn.Identity(), nn.Linear(2, 1)), SGD, nonsaturating.discriminator),
        "generator": Player(Net(4, 2), SGD, nonsaturating.generator),
    }
    makers = {"twice": Twice(), "blend": Blend(), "idle": Twice()}
    priors = {"mix": Prior(**{share: Normal(2), "spare": Normal(5)})}
    return Game(players, Prior(z=Normal(4), style=Normal(3)), sides=sides, makers=makers, draws=priors, **settings)


def whole_of(made):
    networks, _ = prepare_sampling_networks(made)
    return SamplingModule(
        Wiring(upstream_sides(made), made.samples, made.priors, made.conditions, made.images), networks
    ).eval()


def inputs_of(made, n=1000, **columns):
    stream = Stream(0, "test")
    latent = made.prior.sample(n, stream)
    given = {name: torch.randn(n, 2) for name in columns.get("names", ("source",))}
    return latent, ordered_condition(made, draw_condition(made, n, stream, given))


def test_a_chain_of_players_and_makers_makes_the_samples_of_its_game_in_every_format(tmp_path):
    made = chained()
    latents, condition = inputs_of(made)
    expected = agreement.original_samples(partial(generate, made), latents, condition)
    whole = whole_of(made)
    assert set(whole.networks) == {"encoder", "generator", "twice", "blend"}
    assert whole.wiring.inputs() == [
        "style",
        "share",
        "source",
    ]  # neither z nor the draw's part `spare`: nobody uses them
    latent = {name: latents[name] for name in latent_parts(made)}
    assert agreement.max_difference(whole, latent, condition, expected) <= 1e-6

    state = sampling_state(whole.networks)
    assert set(state) == {f"{name}.linear.{kind}" for name in ("encoder", "generator") for kind in ("weight", "bias")}
    safetensors.save_weights(state, tmp_path / "g.safetensors")
    other = whole_of(chained())
    for p in other.parameters():
        p.data.zero_()
    safetensors.load_weights(other.networks, tmp_path / "g.safetensors")
    assert agreement.max_difference(other, latent, condition, expected) <= 1e-6

    found = program.trace_program(whole, latent, condition)
    program.save_program(found, tmp_path / "g.pt2")
    onnx.save_onnx(found, tmp_path / "g.onnx", whole.wiring.inputs())
    for read, file in ((program.load_program, "g.pt2"), (onnx.load_onnx, "g.onnx")):
        assert agreement.max_difference(wrap_positional(read(tmp_path / file)), latent, condition, expected) <= 1e-5


@pytest.mark.parametrize("names", [("x", "class"), ("add", "linear"), ("mul", "hair-colour")])
def test_any_name_of_a_condition_is_the_name_of_its_input(names, tmp_path):
    made = chained(names)
    latents, condition = inputs_of(made, 10, names=names[1:])
    latent = {name: latents[name] for name in latent_parts(made)}
    whole = whole_of(made)
    expected = agreement.original_samples(whole, latent, condition)
    onnx.save_onnx(program.trace_program(whole, latent, condition), tmp_path / "g.onnx", whole.wiring.inputs())
    session = onnxruntime.InferenceSession(str(tmp_path / "g.onnx"))
    assert [one.name for one in session.get_inputs()] == ["style", "share", names[1]]
    (x,) = session.run(None, {name: rows.numpy() for name, rows in {**latent, **condition}.items()})
    assert np.abs(x - expected.numpy()).max() < 1e-5


def test_one_name_for_a_part_of_the_latent_and_a_condition_is_refused():
    made = chained()
    sides = {
        **upstream_sides(made),
        "fake": made.sides["fake"].__class__("code", ("generator",), {"style": "mix.share"}),
    }
    wiring = Wiring(sides, "fake", made.priors, made.conditions)
    assert list(condition_entries(wiring)) == ["style", "source"]
    with pytest.raises(Mistake, match="style is a part of the latent and a condition"):
        wiring.inputs()


# ------------------------------------------------------------------------------------------------------ agreement


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 11, 100, 330, 331, 450, 999, 1000])
def test_the_batches_hold_each_row_once_and_one_of_them_is_a_single_row(n):
    sizes = agreement.batch_sizes(n)
    assert sum(sizes) == n
    assert sizes[0] == 1
    assert min(sizes) > 0
    latent = {"z": torch.arange(n)}
    parts = [part["z"] for part, _ in agreement.batches(latent, {}, sizes)]
    assert torch.equal(torch.cat(parts), latent["z"])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_split_of_very_few_rows_is_enough_to_write_and_check_a_program(n, tmp_path):
    made = chained()
    latents, condition = inputs_of(made, n)
    latent = {name: latents[name] for name in latent_parts(made)}
    whole = whole_of(made)
    expected = agreement.original_samples(whole, latent, condition)
    found = program.trace_program(whole, latent, condition)
    assert agreement.max_difference(wrap_positional(found.module()), latent, condition, expected) <= 1e-6
    many, more = inputs_of(made, 20)
    assert len(found.module()(many["style"], *more.values())) == 20


def test_a_row_that_sees_its_neighbours_differs():
    def centred(latent, condition):
        return latent["z"] - latent["z"].mean(0)

    latent = {"z": torch.randn(450, 3)}
    expected = agreement.original_samples(centred, latent, {})
    assert agreement.max_difference(centred, latent, {}, expected) > 0.1


# ---------------------------------------------------------------------------------------------------------- noise


class OfTorch(nn.Module):
    def forward(self, x):
        return x + torch.rand(())


class OfNumpy(nn.Module):
    def forward(self, x):
        return x + float(np.random.rand())


class OfPython(nn.Module):
    def forward(self, x):
        return x + random.random()


class OfItsOwn(nn.Module):
    """Of a generator that goes on from call to call."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return x + torch.rand((), generator=self.generator)


class Counting(nn.Module):
    """No random numbers, but another answer each time."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.calls


def alone(inside):
    """A generator with a layer inside, as a whole."""
    torch.manual_seed(0)
    nets = (
        Net(3, 2, inside=nn.Sequential(nn.Linear(2, 2), inside, nn.Linear(2, 2))),
        Critic(nn.Identity(), nn.Linear(2, 1)),
    )
    return whole_of(game(nonsaturating, nets=nets))


@pytest.mark.parametrize("kind", [OfTorch, OfNumpy, OfPython, OfItsOwn, Counting])
def test_noise_is_found_whoever_draws_it_and_its_layer_named(kind):
    whole, latent = alone(kind()), {"z": torch.randn(9, 3)}
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with pytest.raises(Mistake, match=rf"^generator\.inside\.1 \({kind.__name__}\) makes another sample") as told:
        check_deterministic(whole.networks, whole, latent, {})
    assert "\n" not in str(told.value)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_noise_that_a_network_draws_itself_between_its_layers_is_the_networks():
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, latent, condition):
            return self.last(self.first(latent["z"]) + torch.randn(2))

    whole = whole_of(game(nonsaturating, nets=(Between(), Critic(nn.Identity(), nn.Linear(2, 1)))))
    with pytest.raises(Mistake, match=r"^generator \(Between\) makes another sample"):
        check_deterministic(whole.networks, whole, {"z": torch.randn(9, 3)}, {})


def test_what_gives_the_same_again_is_let_through_dropout_that_is_off_too():
    for layer in (nn.ReLU(), nn.Dropout(0.5)):
        whole = alone(layer)
        check_deterministic(whole.networks, whole, {"z": torch.randn(9, 3)}, {})


def test_values_that_are_no_numbers_are_no_noise():
    whole = alone(nn.Identity())
    next(whole.parameters()).data.fill_(float("nan"))
    check_deterministic(whole.networks, whole, {"z": torch.randn(9, 3)}, {})


def test_dropout_that_samples_keep_on_is_refused_with_its_layer_and_one_that_drops_nothing_is_not():
    check_no_dropout(alone(nn.Dropout(0.0)).networks)
    with pytest.raises(Mistake, match=r"generator\.inside\.1 \(Dropout2d\) is on where samples are made"):
        check_no_dropout(alone(nn.Dropout2d(0.1)).networks)
