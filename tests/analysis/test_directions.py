"""Directions: known for a linear generator, orthonormal, and the same whatever the batch size of the computation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import run
from torch import Tensor, nn

from saddlepoint.analysis.directions import DirectionRequest, find_directions, measure_effect, traverse
from saddlepoint.analysis.latent_space import LatentSpace
from saddlepoint.cli import main
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.experiment.sample import draw_samples
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import draw_condition
from saddlepoint.modality import Image
from saddlepoint.stream import Stream

MLP = ["architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]"]
INFOGAN = [
    "prior=[infogan]", "prior.z.dim=3", "regularizer=[mutual_information]",
    "architecture.discriminator.heads={category: 10, style: 2}",
    *(f"regularizer.{player}.mutual_information.codes=[category,style]" for player in ("generator", "discriminator")),
]  # fmt: skip
STYLE = ["architecture=style", *(f"architecture.{p}.width=8" for p in ("generator", "discriminator")),
         "architecture.generator.depth=2", "prior.z.dim=5"]  # fmt: skip


def game_of(*overrides: str) -> Game:
    return build_game(check(compose(["data=digits", *overrides])))


def draws(game: Game, n: int, seed: int = 0) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """Latents and conditions as `saddlepoint sample` draws them."""
    stream = Stream(seed, "sample")
    condition = draw_condition(game, n, stream)
    return dict(game.prior.sample(n, stream)), condition


def linear_game(a: Tensor) -> Game:
    """G(z) = A z + 1 for A [64, d]."""
    game = game_of(
        "architecture.generator.widths=[]", "architecture.generator.bounded=false", f"prior.z.dim={a.shape[1]}",
        "architecture.discriminator.widths=[16]", "game.players.generator.average=null",
    )  # fmt: skip
    (linear,) = (module for module in game.player("generator").network.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        linear.weight.copy_(a)
        linear.bias.fill_(1.0)
    return game


def matrix(values: list[float]) -> tuple[Tensor, Tensor]:
    """A [64, d] with these singular values, and its right singular vectors, in rows."""
    generator = torch.Generator().manual_seed(0)
    d = len(values)
    u = torch.linalg.qr(torch.randn(64, d, generator=generator, dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    return (u * torch.tensor(values) @ v.T).to(torch.float32), v.T.to(torch.float32)


def vectors(directions: list[Any]) -> Tensor:
    return torch.stack([direction.vector for direction in directions])


SINGULAR = [8.0, 4.0, 2.0, 1.0, 0.5]


def test_the_jacobian_of_a_linear_generator_gives_its_right_singular_vectors() -> None:
    a, v = matrix(SINGULAR)
    game = linear_game(a)
    directions = find_directions(LatentSpace(game), *draws(game, 8), DirectionRequest("jacobian", 5, latents=8))
    assert torch.allclose((vectors(directions[:5]) * v).sum(1).abs(), torch.ones(5), atol=1e-5)
    squares = torch.tensor(SINGULAR).square()
    assert [one.share for one in directions[:5]] == pytest.approx((squares / squares.sum()).tolist(), abs=1e-6)
    u = directions[-1].vector
    assert directions[-1].name == "random"
    assert directions[-1].share == pytest.approx(float((a @ u).square().sum() / squares.sum()), abs=1e-6)


def test_features_of_a_linear_generator_give_its_right_singular_vectors() -> None:
    """Up to the sample covariance of 20,000 latents, which is not exactly the identity."""
    a, v = matrix(SINGULAR)
    game = linear_game(a)
    directions = find_directions(
        LatentSpace(game), *draws(game, 20_000), DirectionRequest("features", 5, latents=20_000)
    )
    assert ((vectors(directions[:5]) * v).sum(1).abs() > 0.999).all()
    squares = torch.tensor(SINGULAR).square()
    assert [one.share for one in directions[:5]] == pytest.approx((squares / squares.sum()).tolist(), abs=0.01)


@pytest.mark.parametrize("kind", ["features", "jacobian"])
@pytest.mark.parametrize(
    "overrides", [MLP, ["game=cgan", *MLP], STYLE], ids=["plain", "conditional", "mapping network"]
)
def test_directions_are_orthonormal_and_do_not_depend_on_the_batch_size(kind: str, overrides: list[str]) -> None:
    game = game_of("prior.z.dim=5", *overrides)
    space, request = LatentSpace(game), DirectionRequest(kind, 4, latents=30)
    directions, other, again = (find_directions(space, *draws(game, 40), request, batch) for batch in (7, 30, 7))
    u = vectors(directions[:4])
    assert torch.allclose(u @ u.T, torch.eye(4), atol=1e-5)
    assert torch.allclose(u, vectors(other[:4]), atol=1e-4)
    assert [one.share for one in directions] == pytest.approx([one.share for one in other], abs=1e-6)
    assert [one.share for one in directions[:4]] == sorted((one.share for one in directions[:4]), reverse=True)
    assert torch.equal(vectors(directions), vectors(again))
    assert vectors(directions[-1:]).norm().item() == pytest.approx(1)


def test_the_jacobian_is_that_of_finite_differences() -> None:
    game = game_of("prior.z.dim=4", "game=cgan", *MLP)
    space, (latent, condition) = LatentSpace(game), draws(game, 6)
    step = 1e-2 * torch.eye(4)[:, None].expand(-1, 6, -1)
    ends = ((space.samples(latent, condition, one), space.samples(latent, condition, -one)) for one in step)
    columns = [(plus - minus).flatten(1) / 2e-2 for plus, minus in ends]
    j = torch.stack(columns, 2).double()
    expected = torch.einsum("bik,bil->kl", j, j) / 6
    assert torch.allclose(space.squared_jacobian(latent, condition), expected, rtol=1e-2, atol=1e-4)
    assert all(p.requires_grad for p in game.player("generator").network.parameters())


def test_with_a_mapping_network_features_are_the_principal_components_of_w() -> None:
    game = game_of(*STYLE)
    space, (latent, condition) = LatentSpace(game), draws(game, 50)
    w = space.coordinates(latent, condition)
    assert w.shape == (50, 8)
    directions = find_directions(space, latent, condition, DirectionRequest("features", 3, latents=50))
    _, values, vt = torch.linalg.svd(w - w.mean(0))
    assert torch.allclose((vectors(directions[:3]) * vt[:3].float()).sum(1).abs(), torch.ones(3), atol=1e-3)
    assert [one.share for one in directions[:3]] == pytest.approx(
        (values.square() / values.square().sum())[:3].tolist()
    )


@pytest.mark.parametrize(
    "overrides", [MLP, ["game=cgan", *MLP], STYLE], ids=["plain", "conditional", "mapping network"]
)
def test_the_middle_column_of_the_sheet_is_the_plain_sample(overrides: list[str]) -> None:
    game, modality = game_of(*overrides), Image()
    space, (latent, condition) = LatentSpace(game), draws(game, 40)
    request = DirectionRequest("features", 3, latents=40, steps=5)
    plain = draw_samples(game, 4, seed=0, modality=modality)[0]
    for direction in find_directions(space, latent, condition, request):
        tiles = modality.to_stored(traverse(space, direction, latent, condition, request))
        assert tiles.shape == (5, 1, 8, 8)
        assert torch.equal(tiles[2], plain)
        assert not torch.equal(tiles[0], plain)


def test_the_columns_of_the_sheet_are_standard_deviations_apart() -> None:
    a, _ = matrix([3.0, 2.0])
    game = linear_game(a)
    space, (latent, condition) = LatentSpace(game), draws(game, 300)
    request = DirectionRequest("jacobian", 2, latents=4, steps=3, span=2.0)
    direction = find_directions(space, latent, condition, request)[0]
    x = traverse(space, direction, latent, condition, request).flatten(1)
    std = float((latent["z"] @ direction.vector).std())
    assert torch.allclose(x[2] - x[1], 2 * std * a @ direction.vector, atol=1e-4)
    assert torch.allclose(x[1] - x[0], x[2] - x[1], atol=1e-4)


def test_the_effect_on_attributes_is_the_central_difference_of_class_probabilities() -> None:
    """A classifier that is exact: the probability of class 1 is half of one plus t, the coordinate, clipped."""
    a, v = matrix([1.0, 0.5])
    game = linear_game(a)
    space, (latent, condition) = LatentSpace(game), draws(game, 64)

    def probabilities(x: Tensor) -> Tensor:
        t = (x.flatten(1) - 1) @ (a @ v[0]) * 0.05  # sigma_1^2 = 1: a v_0 . x = t
        return torch.stack([0.5 - t, 0.5 + t], 1)

    directions = find_directions(space, latent, condition, DirectionRequest("jacobian", 2, latents=4))
    first, second = (measure_effect(space, one, latent, condition, probabilities, ["a", "b"]) for one in directions[:2])
    sign, std = float((directions[0].vector * v[0]).sum().sign()), float(directions[0].std or 0)
    assert first.moved == pytest.approx(2 * 0.05 * std, rel=1e-3)
    assert first.change == pytest.approx({"a": -sign * 0.05 * std, "b": sign * 0.05 * std}, rel=1e-3)
    assert second.moved == pytest.approx(0, abs=1e-4)


def test_codes_are_each_entry_and_each_value_of_the_parts_that_d_predicts() -> None:
    game = game_of(*INFOGAN, *MLP)
    space, (latent, condition) = LatentSpace(game), draws(game, 20)
    request = DirectionRequest("codes", latents=20)
    directions = find_directions(space, latent, condition, request)
    assert [one.name for one in directions] == ["category", "style.0", "style.1", "random"]
    assert space.dim == 5  # z and style: the category is no coordinate
    assert directions[1].vector.tolist() == [0, 0, 0, 1, 0]
    tiles = traverse(space, directions[0], latent, condition, request)
    for value in range(10):
        one = {**{name: z[:1] for name, z in latent.items()}, "category": torch.eye(10)[value : value + 1]}
        assert torch.allclose(tiles[value], game(one, {}).cpu()[0], atol=1e-6)
    x = traverse(space, directions[2], latent, condition, request)
    moved = {name: z[:1].clone() for name, z in latent.items()}
    moved["style"][0, 1] += 3 * directions[2].std
    assert torch.allclose(x[-1], game(moved, {}).cpu()[0], atol=1e-6)

    def probabilities(x: Tensor) -> Tensor:
        logits = Shipped("digits")(Image().to_stored(x)).logits
        assert logits is not None
        return logits.softmax(1)

    effect = measure_effect(space, directions[0], latent, condition, probabilities, list("0123456789"))
    assert list(effect.values) == list("0123456789")
    assert 0 < effect.moved < 1


def test_what_cannot_be_found_is_reported_in_a_line() -> None:
    game = game_of("prior.z.dim=4", *MLP)
    space, (latent, condition) = LatentSpace(game), draws(game, 20)
    for request, message in (
        (DirectionRequest("features", 5, latents=20), "n=5: the latent of this run has 4 continuous entries. Set n=4"),
        (DirectionRequest("jacobian", None, latents=20), r"n=6 \(the default is 6\): the latent of this run has 4"),
        (DirectionRequest("codes"), "D of this run predicts no part of its latent"),
        (DirectionRequest("features", 2, layer="layers.9", latents=20), "no such layer. Did you mean layers"),
    ):
        with pytest.raises(Mistake, match=message):
            find_directions(space, latent, condition, request)
    with pytest.raises(Mistake, match="not made from latents, so there are no directions"):
        LatentSpace(build_game(check(compose(["experiment=openmoji_pix2pix"]))))


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("directions"), "prior.z.dim=4", "game=cgan", "images=64", "metric=[]").folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kind=jacobain"], "Did you mean jacobian?"),
        (["n=5"], "has 4 continuous entries"),
        (["n=4", "steps=4"], "an odd number"),
        (["kind=jacobian", "layer=layers.0"], "layer=layers.0: it belongs to kind=features"),
        (["to=sheet.txt"], "the sheet is a file that ends in .png or .jpg"),
        (["n=4", "label=11"], "the classes are 0 to 9"),
    ],
)
def test_a_wrong_argument_is_one_line_and_writes_nothing(
    trained: Path, arguments: list[str], message: str, capsys
) -> None:
    before = set(trained.rglob("*"))
    assert main(["directions", f"run={trained}", *arguments]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert set(trained.rglob("*")) == before


def test_the_command_writes_a_sheet_and_its_json(trained: Path, tmp_path: Path, capsys) -> None:
    import json

    from PIL import Image as Pillow

    sheet = tmp_path / "sheet.png"
    assert (
        main(["directions", f"run={trained}", "kind=jacobian", "n=2", "label=3", "latents=8", f"to={sheet}", "--json"])
        == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in answer["directions"]] == ["1", "2", "random"]
    assert set(answer["directions"][0]["change"]) == set("0123456789")
    with Pillow.open(sheet) as picture:
        assert picture.height > 3 * 56
