"""An exported generator makes the samples of the original: each format, each kind of network, any batch size."""

from __future__ import annotations

import zipfile
from functools import partial

import pytest
import torch
from conditional import Generator as Conditional
from play import BY_CLASS, Critic, game
from torch import nn

from saddlepoint.architecture import conv28, dcgan, dirac, mlp, pacgan_toy, salimans2016_cifar, salimans2016_mnist
from saddlepoint.error import Mistake
from saddlepoint.export import agreement
from saddlepoint.export.format import onnx, program
from saddlepoint.export.frozen_virtual_batch_norm import (
    FrozenVirtualBatchNorm,
    freeze_for_export,
    frozen_state_dict,
)
from saddlepoint.export.generator import wrap_positional
from saddlepoint.export.sampling_module import SamplingModule, Wiring
from saddlepoint.game.lineage import condition_entries, upstream_sides
from saddlepoint.game.sampling import draw_condition, generate, prepare_sampling_networks
from saddlepoint.layer.virtual_batch_norm import VirtualBatchNorm
from saddlepoint.layer.weight_norm import WeightNorm
from saddlepoint.objective import nonsaturating
from saddlepoint.stream import Stream

VIRTUAL = partial(VirtualBatchNorm, reference=16)
FREE = {"affine": False}
MAKERS = {
    "perceptron": lambda: mlp.Generator(5, [1, 8, 8], (16,)),
    "perceptron, virtual": lambda: mlp.Generator(5, [1, 8, 8], (16, 16), VIRTUAL),
    "points": lambda: mlp.Generator(5, [2], (16,)),
    "points, batch norm": lambda: pacgan_toy.Generator(5, [2], (16, 16), nn.BatchNorm1d),
    "one point": lambda: dirac.Generator([2]),
    "weight norm": lambda: mlp.Generator(5, [1, 8, 8], (16,), partial(WeightNorm, trainable=True, start=None)),
    "conditional": lambda: Conditional(5, [1, 8, 8]),
    "conditional, virtual": lambda: Conditional(5, [1, 8, 8], norm=VIRTUAL),
    "conditional, batch norm": lambda: Conditional(5, [1, 8, 8], norm=nn.BatchNorm1d),
    "conv28": lambda: conv28.Generator(5, [1, 28, 28], nn.BatchNorm2d),
    "conv28, virtual": lambda: conv28.Generator(5, [1, 28, 28], VIRTUAL),
    "dcgan": lambda: dcgan.Generator(5, [3, 32, 32], 4, nn.BatchNorm2d),
    "dcgan, virtual": lambda: dcgan.Generator(5, [3, 32, 32], 4, VIRTUAL),
    "salimans2016_mnist": lambda: salimans2016_mnist.Generator(
        5, [1, 28, 28], (16, 16), partial(nn.BatchNorm1d, **FREE)
    ),
    "salimans2016_cifar": lambda: salimans2016_cifar.Generator(5, [3, 32, 32], 8, partial(nn.BatchNorm2d, **FREE)),
}
QUICK = ("conditional, virtual",)  # for ONNX, which takes seconds; slow tests run all of them
BIG = ("conv28", "conv28, virtual", "dcgan, virtual", "salimans2016_cifar")  # slow: a thousand images of each


def used_game(name: str, average: str | None = None):
    """Return a game with a generator of MAKERS, whose statistics and weights have changed since its start."""
    torch.manual_seed(0)
    network = MAKERS[name]()
    average_factory = None
    if average:
        from saddlepoint.game.average import Average

        average_factory = partial(Average, statistics=average)
    settings = (
        {"sides": BY_CLASS, "conditions": "labels", "classes": {"y": 10}} if name.startswith("conditional") else {}
    )
    nets = (network, Critic(nn.Flatten(), nn.LazyLinear(1)))
    original = game(nonsaturating, nets=nets, z=5, g={"average": average_factory}, **settings)
    stream = Stream(1, "life")
    with torch.no_grad():
        for _ in range(3):
            network.train()(original.prior.sample(32, stream), draw_condition(original, 32, stream))
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return original


def draw_inputs(original):
    stream = Stream(2, "export")
    return original.prior.sample(agreement.ROWS, stream), draw_condition(original, agreement.ROWS, stream)


def export_module(original, name: str, average: bool = True) -> nn.Module:
    network = freeze_for_export(MAKERS[name]())
    network.load_state_dict(frozen_state_dict(prepare_sampling_networks(original, average)[0]["generator"]))
    return SamplingModule(
        Wiring(upstream_sides(original), original.samples, original.priors, original.conditions), {"generator": network}
    )


def expected_samples(original, latent, condition, average=True):
    return agreement.original_samples(partial(generate, original, average=average), latent, condition)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in MAKERS])
def test_a_generator_without_its_game_makes_the_same_samples(name: str) -> None:
    original = used_game(name)
    latent, condition = draw_inputs(original)
    assert (
        agreement.measure_max_difference(
            export_module(original, name), latent, condition, expected_samples(original, latent, condition)
        )
        <= agreement.TOLERANCE
    )


@pytest.mark.parametrize("name", ["points, batch norm", "one point"])
def test_a_program_makes_the_same_samples_without_our_code(name: str, tmp_path) -> None:
    original = used_game(name)
    latent, condition = draw_inputs(original)
    program.save_program(program.trace_program(export_module(original, name), latent, condition), tmp_path / "g.pt2")
    loaded = wrap_positional(program.load_program(tmp_path / "g.pt2"))
    assert (
        agreement.measure_max_difference(loaded, latent, condition, expected_samples(original, latent, condition))
        <= agreement.TOLERANCE
    )


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MAKERS])
def test_onnx_and_the_program_make_the_same_samples_and_contain_no_local_path(name: str, tmp_path, checkout) -> None:
    original = used_game(name)
    latent, condition = draw_inputs(original)
    traced = program.trace_program(export_module(original, name), latent, condition)
    onnx.save_onnx(traced, tmp_path / "g.onnx", ["z", *condition_entries(original)])
    program.save_program(traced, tmp_path / "g.pt2")
    expected = expected_samples(original, latent, condition)
    differences = [
        agreement.measure_max_difference(wrap_positional(load(tmp_path / file)), latent, condition, expected)
        for load, file in ((onnx.load_onnx, "g.onnx"), (program.load_program, "g.pt2"))
    ]
    print(f"{name}: ONNX {differences[0]:.2g}, program {differences[1]:.2g}")
    assert max(differences) <= agreement.TOLERANCE
    with zipfile.ZipFile(tmp_path / "g.pt2") as archive:
        content = b"".join(archive.read(file) for file in archive.namelist())
        examples = [entry.file_size for entry in archive.infolist() if "sample_inputs" in entry.filename]
    assert sum(examples) < 10_000  # three rows, not all 1,000
    for data in (content, (tmp_path / "g.onnx").read_bytes()):
        assert str(checkout).encode() not in data


# ------------------------------------------------------------------------------------------------- virtual batch norm


def test_a_frozen_virtual_batch_norm_does_not_depend_on_the_rest_of_the_batch() -> None:
    original = used_game("dcgan, virtual")
    network = export_module(original, "dcgan, virtual")
    latent, _ = draw_inputs(original)
    first = {"z": latent["z"][:1]}
    with_others = {"z": torch.cat([latent["z"][:1], 9 * torch.ones(5, 5)])}
    with torch.no_grad():
        assert (network(first) - network(with_others)[:1]).abs().max() < 1e-6


def test_the_frozen_state_dict_has_statistics_for_every_layer_and_no_reference_latents() -> None:
    original = used_game("dcgan, virtual")
    state = frozen_state_dict(original.generator.network)
    assert not [name for name in state if name.startswith("reference_batch")]
    layers = [name for name, m in original.generator.network.named_modules() if isinstance(m, VirtualBatchNorm)]
    assert layers
    assert all(f"{name}.{kind}" in state for name in layers for kind in ("mean", "variance"))
    assert all(state[f"{name}.mean"].abs().sum() > 0 for name in layers)


def test_freezing_does_not_change_the_original() -> None:
    original = used_game("conditional, virtual")
    network = original.generator.network
    before = {name: t.clone() for name, t in network.state_dict().items()}
    x = original.sample(8)
    frozen_state_dict(network)
    assert torch.equal(x, original.sample(8))
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert not any(isinstance(m, FrozenVirtualBatchNorm) for m in network.modules())


def test_batch_norm_statistics_are_reestimated_before_they_are_frozen_also_with_classes() -> None:
    original = used_game("conditional, batch norm", "reestimated")
    _, weights = prepare_sampling_networks(original)
    assert weights == "averaged"
    latent, condition = draw_inputs(original)
    averaged = export_module(original, "conditional, batch norm")
    assert (
        agreement.measure_max_difference(averaged, latent, condition, expected_samples(original, latent, condition))
        <= 1e-6
    )
    raw = export_module(original, "conditional, batch norm", average=False)
    assert (
        agreement.measure_max_difference(raw, latent, condition, expected_samples(original, latent, condition)) > 1e-2
    )


# -------------------------------------------------------------------------------------------------------- differences


def test_the_difference_is_the_largest_of_all_rows_and_infinite_for_invalid_outputs() -> None:
    original = used_game("perceptron")
    latent, condition = draw_inputs(original)
    expected = expected_samples(original, latent, condition)
    network = partial(generate, original)

    def wrong_for_one(z, condition):
        return network(z, condition) + (3e-4 if len(z["z"]) == 1 else 0.0)

    assert agreement.measure_max_difference(wrong_for_one, latent, condition, expected) == pytest.approx(3e-4, rel=1e-2)
    assert agreement.measure_max_difference(
        lambda z, c: network(z, c) * float("nan"), latent, condition, expected
    ) == float("inf")
    assert agreement.measure_max_difference(lambda z, c: network(z, c)[:, 0], latent, condition, expected) == float(
        "inf"
    )


@pytest.mark.parametrize(
    ("kind", "message"), [("Moody", "branches on the values"), ("Counting", "uses the batch size as a constant")]
)
def test_a_network_that_cannot_be_traced_is_reported_in_one_line(kind: str, message: str) -> None:
    import conditional

    network = getattr(conditional, kind)(5, [1, 2, 2]).eval()
    with pytest.raises(Mistake, match=message) as error:
        program.trace_program(network, {"z": torch.zeros(10, 5)})
    assert "\n" not in str(error.value)


def test_an_operator_that_onnx_lacks_is_named_with_its_layer(tmp_path) -> None:
    import conditional

    traced = program.trace_program(conditional.Waves(5, [1, 2, 2]).eval(), {"z": torch.randn(10, 5)})
    with pytest.raises(Mistake, match=r"ONNX has no operator bessel_j0, which between \(Bessel\) uses"):
        onnx.save_onnx(traced, tmp_path / "g.onnx", ["z"])
