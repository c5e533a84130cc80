"""An exported generator is the original: each format, each kind of network, one latent or many."""

from __future__ import annotations

import zipfile
from functools import partial

import pytest
import torch
from conditional import Generator as Asked
from play import BY_CLASS, Critic, game
from torch import nn

from saddlepoint.architecture import conv28, dcgan, dirac, mlp, pacgan_toy, salimans2016_cifar, salimans2016_mnist
from saddlepoint.error import Mistake
from saddlepoint.export import agreement
from saddlepoint.export.format import onnx, program
from saddlepoint.export.frozen_virtual_batch_norm import (
    FrozenVirtualBatchNorm,
    frozen_state_dict,
    replace_virtual_batch_norm,
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
    "asked": lambda: Asked(5, [1, 8, 8]),
    "asked, virtual": lambda: Asked(5, [1, 8, 8], norm=VIRTUAL),
    "asked, batch norm": lambda: Asked(5, [1, 8, 8], norm=nn.BatchNorm1d),
    "conv28": lambda: conv28.Generator(5, [1, 28, 28], nn.BatchNorm2d),
    "conv28, virtual": lambda: conv28.Generator(5, [1, 28, 28], VIRTUAL),
    "dcgan": lambda: dcgan.Generator(5, [3, 32, 32], 4, nn.BatchNorm2d),
    "dcgan, virtual": lambda: dcgan.Generator(5, [3, 32, 32], 4, VIRTUAL),
    "salimans2016_mnist": lambda: salimans2016_mnist.Generator(
        5, [1, 28, 28], (16, 16), partial(nn.BatchNorm1d, **FREE)
    ),
    "salimans2016_cifar": lambda: salimans2016_cifar.Generator(5, [3, 32, 32], 8, partial(nn.BatchNorm2d, **FREE)),
}
QUICK = ("asked, virtual",)  # through ONNX, which takes seconds; all of them when slow tests run
BIG = ("conv28", "conv28, virtual", "dcgan, virtual", "salimans2016_cifar")  # a thousand images of each are too many


def lived(name: str, average: str | None = None):
    """A game whose generator is that of MAKERS, its statistics no longer those it began with."""
    torch.manual_seed(0)
    network = MAKERS[name]()
    kept = None
    if average:
        from saddlepoint.game.average import Average

        kept = partial(Average, statistics=average)
    asked = {"sides": BY_CLASS, "conditions": "labels", "classes": {"y": 10}} if name.startswith("asked") else {}
    nets = (network, Critic(nn.Flatten(), nn.LazyLinear(1)))
    made = game(nonsaturating, nets=nets, z=5, g={"average": kept}, **asked)
    stream = Stream(1, "life")
    with torch.no_grad():
        for _ in range(3):
            network.train()(made.prior.sample(32, stream), draw_condition(made, 32, stream))
        for own in network.parameters():
            own.add_(0.05 * torch.randn_like(own))
    return made


def asked_of(made):
    stream = Stream(2, "export")
    return made.prior.sample(agreement.ROWS, stream), draw_condition(made, agreement.ROWS, stream)


def alone(made, name: str, average: bool = True) -> nn.Module:
    fresh = replace_virtual_batch_norm(MAKERS[name]())
    fresh.load_state_dict(frozen_state_dict(prepare_sampling_networks(made, average)[0]["generator"]))
    return SamplingModule(
        Wiring(upstream_sides(made), made.samples, made.priors, made.conditions), {"generator": fresh}
    )


def expected_of(made, latent, condition, average=True):
    return agreement.original_samples(partial(generate, made, average=average), latent, condition)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in MAKERS])
def test_a_generator_without_its_game_makes_the_same_samples(name: str) -> None:
    made = lived(name)
    latent, condition = asked_of(made)
    assert (
        agreement.max_difference(alone(made, name), latent, condition, expected_of(made, latent, condition))
        <= agreement.TOLERANCE
    )


@pytest.mark.parametrize("name", ["points, batch norm", "one point"])
def test_a_program_makes_the_same_samples_without_our_code(name: str, tmp_path) -> None:
    made = lived(name)
    latent, condition = asked_of(made)
    program.save_program(program.trace_program(alone(made, name), latent, condition), tmp_path / "g.pt2")
    read = wrap_positional(program.load_program(tmp_path / "g.pt2"))
    assert (
        agreement.max_difference(read, latent, condition, expected_of(made, latent, condition)) <= agreement.TOLERANCE
    )


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MAKERS])
def test_onnx_and_the_program_make_the_same_samples_and_name_no_folder_of_ours(name: str, tmp_path, checkout) -> None:
    made = lived(name)
    latent, condition = asked_of(made)
    found = program.trace_program(alone(made, name), latent, condition)
    onnx.save_onnx(found, tmp_path / "g.onnx", ["z", *condition_entries(made)])
    program.save_program(found, tmp_path / "g.pt2")
    expected = expected_of(made, latent, condition)
    far = [
        agreement.max_difference(wrap_positional(read(tmp_path / file)), latent, condition, expected)
        for read, file in ((onnx.load_onnx, "g.onnx"), (program.load_program, "g.pt2"))
    ]
    print(f"{name}: ONNX {far[0]:.2g}, program {far[1]:.2g}")
    assert max(far) <= agreement.TOLERANCE
    with zipfile.ZipFile(tmp_path / "g.pt2") as archive:
        inside = b"".join(archive.read(file) for file in archive.namelist())
        examples = [entry.file_size for entry in archive.infolist() if "sample_inputs" in entry.filename]
    assert sum(examples) < 10_000  # three rows, and not the 1,000 that were tried
    for content in (inside, (tmp_path / "g.onnx").read_bytes()):
        assert str(checkout).encode() not in content


# ------------------------------------------------------------------------------------------------- virtual batch norm


def test_a_frozen_virtual_batch_norm_looks_at_no_other_latent() -> None:
    made = lived("dcgan, virtual")
    network = alone(made, "dcgan, virtual")
    latent, _ = asked_of(made)
    first = {"z": latent["z"][:1]}
    beside = {"z": torch.cat([latent["z"][:1], 9 * torch.ones(5, 5)])}
    with torch.no_grad():
        assert (network(first) - network(beside)[:1]).abs().max() < 1e-6


def test_no_reference_latent_is_left_in_the_state_and_every_layer_has_its_statistics() -> None:
    made = lived("dcgan, virtual")
    state = frozen_state_dict(made.generator.network)
    assert not [name for name in state if name.startswith("reference_batch")]
    layers = [name for name, m in made.generator.network.named_modules() if isinstance(m, VirtualBatchNorm)]
    assert layers
    assert all(f"{name}.{kind}" in state for name in layers for kind in ("mean", "variance"))
    assert all(state[f"{name}.mean"].abs().sum() > 0 for name in layers)


def test_freezing_leaves_the_original_as_it_was() -> None:
    made = lived("asked, virtual")
    network = made.generator.network
    before = {name: t.clone() for name, t in network.state_dict().items()}
    x = made.sample(8)
    frozen_state_dict(network)
    assert torch.equal(x, made.sample(8))
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert not any(isinstance(m, FrozenVirtualBatchNorm) for m in network.modules())


def test_statistics_that_are_reestimated_are_so_before_they_are_frozen_also_where_classes_are_asked_for() -> None:
    made = lived("asked, batch norm", "reestimated")
    _, weights = prepare_sampling_networks(made)
    assert weights == "averaged"
    latent, condition = asked_of(made)
    fresh = alone(made, "asked, batch norm")
    assert agreement.max_difference(fresh, latent, condition, expected_of(made, latent, condition)) <= 1e-6
    raw = alone(made, "asked, batch norm", average=False)
    assert agreement.max_difference(raw, latent, condition, expected_of(made, latent, condition)) > 1e-2


# -------------------------------------------------------------------------------------------------- what is no network


def test_a_difference_is_seen_wherever_it_is_and_whatever_is_no_number_is_infinite() -> None:
    made = lived("perceptron")
    latent, condition = asked_of(made)
    expected = expected_of(made, latent, condition)
    network = partial(generate, made)

    def wrong_for_one(z, condition):
        return network(z, condition) + (3e-4 if len(z["z"]) == 1 else 0.0)

    assert agreement.max_difference(wrong_for_one, latent, condition, expected) == pytest.approx(3e-4, rel=1e-2)
    assert agreement.max_difference(lambda z, c: network(z, c) * float("nan"), latent, condition, expected) == float(
        "inf"
    )
    assert agreement.max_difference(lambda z, c: network(z, c)[:, 0], latent, condition, expected) == float("inf")


@pytest.mark.parametrize(
    ("kind", "said"), [("Moody", "branches on the values"), ("Counting", "takes the batch's size for a constant")]
)
def test_what_no_graph_can_say_is_told_in_a_line(kind: str, said: str) -> None:
    import conditional

    network = getattr(conditional, kind)(5, [1, 2, 2]).eval()
    with pytest.raises(Mistake, match=said) as told:
        program.trace_program(network, {"z": torch.zeros(10, 5)})
    assert "\n" not in str(told.value)


def test_an_operator_that_onnx_lacks_is_named_with_the_layer_that_asks_for_it(tmp_path) -> None:
    import conditional

    found = program.trace_program(conditional.Waves(5, [1, 2, 2]).eval(), {"z": torch.randn(10, 5)})
    with pytest.raises(Mistake, match=r"ONNX has no operator bessel_j0, which between \(Bessel\) asks for"):
        onnx.save_onnx(found, tmp_path / "g.onnx", ["z"])
