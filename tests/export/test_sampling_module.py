"""The sampling module: chains of networks and makers, named inputs, and the detection of noise in layers."""

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
from saddlepoint.game.lineage import condition_entries, latent_part_names, upstream_sides
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
    """x, or its parts, and the entries `reads` of the condition -> [N, dim]; if `code`, as part `z` of a mapping."""

    def __init__(self, inputs, dim, reads=(), code=False, inside=None):
        super().__init__()
        self.reads, self.code = reads, code
        self.inside = inside or nn.Identity()
        self.linear = nn.Linear(inputs, dim)

    def forward(self, x, condition):
        parts = [*(x.values() if isinstance(x, dict) else [x]), *(condition[name] for name in self.reads)]
        output = self.inside(self.linear(torch.cat([part.flatten(1) for part in parts], 1)))
        return ({"z": output}, "beside") if self.code else output


class Blend(nn.Module):
    """A maker: interpolates between x and the entry `known` of the condition, by the entry `share`."""

    def forward(self, x, condition):
        return torch.lerp(x, condition["known"], condition["share"])


class Twice(nn.Module):
    """A maker without a condition."""

    def forward(self, x, condition):
        return 2 * x


def chained(names=("share", "source"), **settings):
    """Return a game: a code is encoded from a column and a part of the latent; samples are made from it and blended."""
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


def module_of(original):
    networks, _ = prepare_sampling_networks(original)
    sides = upstream_sides(original)
    wiring = Wiring(sides, original.samples, original.priors, original.conditions, original.images)
    return SamplingModule(wiring, networks).eval()


def inputs_of(original, n=1000, **columns):
    stream = Stream(0, "test")
    latent = original.prior.sample(n, stream)
    columns = {name: torch.randn(n, 2) for name in columns.get("names", ("source",))}
    return latent, ordered_condition(original, draw_condition(original, n, stream, columns))


def test_a_chain_of_players_and_makers_makes_the_samples_of_its_game_in_every_format(tmp_path):
    original = chained()
    latents, condition = inputs_of(original)
    expected = agreement.original_samples(partial(generate, original), latents, condition)
    module = module_of(original)
    assert set(module.networks) == {"encoder", "generator", "twice", "blend"}
    assert module.wiring.input_names() == [
        "style",
        "share",
        "source",
    ]  # z and the draw's part `spare` are unused
    latent = {name: latents[name] for name in latent_part_names(original)}
    assert agreement.measure_max_difference(module, latent, condition, expected) <= 1e-6

    state = sampling_state(module.networks)
    assert set(state) == {f"{name}.linear.{kind}" for name in ("encoder", "generator") for kind in ("weight", "bias")}
    safetensors.save_weights(state, tmp_path / "g.safetensors")
    other = module_of(chained())
    for p in other.parameters():
        p.data.zero_()
    safetensors.load_weights(other.networks, tmp_path / "g.safetensors")
    assert agreement.measure_max_difference(other, latent, condition, expected) <= 1e-6

    traced = program.trace_program(module, latent, condition)
    program.save_program(traced, tmp_path / "g.pt2")
    onnx.save_onnx(traced, tmp_path / "g.onnx", module.wiring.input_names())
    for load, file in ((program.load_program, "g.pt2"), (onnx.load_onnx, "g.onnx")):
        assert (
            agreement.measure_max_difference(wrap_positional(load(tmp_path / file)), latent, condition, expected)
            <= 1e-5
        )


@pytest.mark.parametrize("names", [("x", "class"), ("add", "linear"), ("mul", "hair-colour")])
def test_an_input_has_the_name_of_its_condition(names, tmp_path):
    original = chained(names)
    latents, condition = inputs_of(original, 10, names=names[1:])
    latent = {name: latents[name] for name in latent_part_names(original)}
    module = module_of(original)
    expected = agreement.original_samples(module, latent, condition)
    onnx.save_onnx(program.trace_program(module, latent, condition), tmp_path / "g.onnx", module.wiring.input_names())
    session = onnxruntime.InferenceSession(str(tmp_path / "g.onnx"))
    assert [node.name for node in session.get_inputs()] == ["style", "share", names[1]]
    (x,) = session.run(None, {name: rows.numpy() for name, rows in {**latent, **condition}.items()})
    assert np.abs(x - expected.numpy()).max() < 1e-5


def test_a_condition_with_the_name_of_a_latent_part_is_refused():
    original = chained()
    sides = {
        **upstream_sides(original),
        "fake": original.sides["fake"].__class__("code", ("generator",), {"style": "mix.share"}),
    }
    wiring = Wiring(sides, "fake", original.priors, original.conditions)
    assert list(condition_entries(wiring)) == ["style", "source"]
    with pytest.raises(Mistake, match="style is the name of a part of the latent and of a condition"):
        wiring.input_names()


# ------------------------------------------------------------------------------------------------------ agreement


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 11, 100, 330, 331, 450, 999, 1000])
def test_the_batches_have_each_row_once_and_one_batch_has_a_single_row(n):
    sizes = agreement.batch_sizes(n)
    assert sum(sizes) == n
    assert sizes[0] == 1
    assert min(sizes) > 0
    latent = {"z": torch.arange(n)}
    parts = [part["z"] for part, _ in agreement.batches(latent, {}, sizes)]
    assert torch.equal(torch.cat(parts), latent["z"])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_split_of_very_few_rows_is_enough_to_write_and_check_a_program(n, tmp_path):
    original = chained()
    latents, condition = inputs_of(original, n)
    latent = {name: latents[name] for name in latent_part_names(original)}
    module = module_of(original)
    expected = agreement.original_samples(module, latent, condition)
    traced = program.trace_program(module, latent, condition)
    assert agreement.measure_max_difference(wrap_positional(traced.module()), latent, condition, expected) <= 1e-6
    latents, condition = inputs_of(original, 20)
    assert len(traced.module()(latents["style"], *condition.values())) == 20


def test_a_network_whose_rows_affect_each_other_differs():
    def centred(latent, condition):
        return latent["z"] - latent["z"].mean(0)

    latent = {"z": torch.randn(450, 3)}
    expected = agreement.original_samples(centred, latent, {})
    assert agreement.measure_max_difference(centred, latent, {}, expected) > 0.1


# ---------------------------------------------------------------------------------------------------------- noise


class TorchNoise(nn.Module):
    def forward(self, x):
        return x + torch.rand(())


class NumpyNoise(nn.Module):
    def forward(self, x):
        return x + float(np.random.rand())


class PythonNoise(nn.Module):
    def forward(self, x):
        return x + random.random()


class OwnGeneratorNoise(nn.Module):
    """From a generator whose state changes with each call."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return x + torch.rand((), generator=self.generator)


class Counting(nn.Module):
    """No random numbers, but a different output at each call."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.calls


def module_with_layer(inside):
    """Return the sampling module of a generator that contains a layer."""
    torch.manual_seed(0)
    nets = (
        Net(3, 2, inside=nn.Sequential(nn.Linear(2, 2), inside, nn.Linear(2, 2))),
        Critic(nn.Identity(), nn.Linear(2, 1)),
    )
    return module_of(game(nonsaturating, nets=nets))


@pytest.mark.parametrize("kind", [TorchNoise, NumpyNoise, PythonNoise, OwnGeneratorNoise, Counting])
def test_noise_from_any_source_is_detected_and_its_layer_named(kind):
    module, latent = module_with_layer(kind()), {"z": torch.randn(9, 3)}
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with pytest.raises(Mistake, match=rf"^generator\.inside\.1 \({kind.__name__}\) makes different samples") as error:
        check_deterministic(module.networks, module, latent, {})
    assert "\n" not in str(error.value)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_noise_between_layers_is_attributed_to_the_network():
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, latent, condition):
            return self.last(self.first(latent["z"]) + torch.randn(2))

    module = module_of(game(nonsaturating, nets=(Between(), Critic(nn.Identity(), nn.Linear(2, 1)))))
    with pytest.raises(Mistake, match=r"^generator \(Between\) makes different samples"):
        check_deterministic(module.networks, module, {"z": torch.randn(9, 3)}, {})


def test_deterministic_layers_are_accepted_including_disabled_dropout():
    for layer in (nn.ReLU(), nn.Dropout(0.5)):
        module = module_with_layer(layer)
        check_deterministic(module.networks, module, {"z": torch.randn(9, 3)}, {})


def test_nan_is_not_noise():
    module = module_with_layer(nn.Identity())
    next(module.parameters()).data.fill_(float("nan"))
    check_deterministic(module.networks, module, {"z": torch.randn(9, 3)}, {})


def test_active_dropout_is_refused_with_its_layer_but_not_with_probability_0():
    check_no_dropout(module_with_layer(nn.Dropout(0.0)).networks)
    with pytest.raises(Mistake, match=r"generator\.inside\.1 \(Dropout2d\) is on while samples are made"):
        check_no_dropout(module_with_layer(nn.Dropout2d(0.1)).networks)
